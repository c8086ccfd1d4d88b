//! What is made for an instance: healed, changed only where it must be, and left or taken along.

use serde_json::{Value, json};

use super::{CHATHOOKS, DISPATCHER, Scene, TEAM, instance, subscription};
use crate::support::cluster::{PATIENCE, condition, wait_for};

const CLAIM: &str = "team-dispatcher-data";
const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// Waits until something is in an object; gives it back.
async fn holds(scene: &Scene, (api_version, kind, name): (&str, &str, &str), pointer: &str, expected: Value) {
    wait_for(&format!("{kind} {name} has {expected} at {pointer}"), PATIENCE, async || {
        let object = scene.get(api_version, kind, name).await;
        (object.pointer(pointer).unwrap_or(&Value::Null) == &expected).then_some(())
    })
    .await;
}

fn with_dispatcher(more: Value) -> Value {
    instance(TEAM, json!({"dispatcher": more}))
}

#[tokio::test]
async fn what_is_deleted_or_edited_by_hand_is_put_right() {
    let scene = Scene::with_team().await;
    scene.apply(subscription("alerts", &scene.receiver.url("/in"), json!({}))).await;
    scene.becomes("WebhookSubscription", "alerts", "Ready", "True").await;
    let made = [
        ("v1", "Service", DISPATCHER),
        ("v1", "ServiceAccount", DISPATCHER),
        (RBAC, "Role", DISPATCHER),
        (RBAC, "RoleBinding", DISPATCHER),
        ("v1", "Secret", "team-plan-0"),
        ("v1", "Secret", "team-plan-1"),
    ];
    for (api_version, kind, name) in made {
        let before = scene.get(api_version, kind, name).await;
        scene.delete(api_version, kind, name).await;
        wait_for(&format!("{kind} {name} is made again"), PATIENCE, async || {
            let now = scene.get(api_version, kind, name).await;
            (!now.is_null() && now["metadata"]["uid"] != before["metadata"]["uid"]).then_some(())
        })
        .await;
    }
    let service = ("v1", "Service", DISPATCHER);
    let target = scene.get("v1", "Service", DISPATCHER).await["spec"]["ports"][0]["targetPort"].clone();
    scene
        .patch("v1", "Service", DISPATCHER, json!({"spec": {"ports": [{"port": 81, "targetPort": 1}]}}))
        .await;
    holds(&scene, service, "/spec/ports/0/port", json!(80)).await;
    holds(&scene, service, "/spec/ports/0/targetPort", target).await;
    scene.patch(RBAC, "Role", DISPATCHER, json!({"rules": []})).await;
    wait_for("the Role has its rules", PATIENCE, async || {
        let role = scene.get(RBAC, "Role", DISPATCHER).await;
        role["rules"].as_array().is_some_and(|rules| !rules.is_empty()).then_some(())
    })
    .await;
    scene.patch("v1", "Secret", "team-plan-0", json!({"data": {"plan": "YnJva2Vu"}})).await;
    wait_for("the plan is put right", PATIENCE, async || {
        let secret = scene.get("v1", "Secret", "team-plan-0").await;
        (secret["data"]["plan"] != "YnJva2Vu").then_some(())
    })
    .await;
    scene.post("e1", "chat.created").await;
    scene.delivered("e1", "/in").await;
    assert_eq!(scene.starts().await, 1);
    scene.end();
}

#[tokio::test]
async fn only_a_change_of_the_pod_restarts_it() {
    let scene = Scene::with_team().await;
    scene.apply(subscription("alerts", &scene.receiver.url("/in"), json!({}))).await;
    scene.becomes("WebhookSubscription", "alerts", "Ready", "True").await;
    let ready = async || {
        scene.becomes("ChatInstance", TEAM, "Ready", "True").await;
        scene.becomes("ChatInstance", TEAM, "Programmed", "True").await;
    };
    scene.apply(with_dispatcher(json!({"egress": {"allowedHosts": ["siem.example.com"]}}))).await;
    ready().await;
    scene
        .apply(instance(
            TEAM,
            json!({"attach": [{"kinds": ["WebhookSubscription"], "namespaces": {"from": "All"}}]}),
        ))
        .await;
    ready().await;
    scene.apply(with_dispatcher(json!({"retention": {"delivered": "1h"}}))).await;
    ready().await;
    assert_eq!(scene.starts().await, 1);

    let template = json!({"annotations": {"team": "chat"}});
    scene.apply(with_dispatcher(json!({"podTemplate": template}))).await;
    wait_for("the pod is started again", PATIENCE, async || (scene.starts().await == 2).then_some(())).await;
    scene.kubelet.ready(&scene.namespace, DISPATCHER).await;
    scene.becomes("ChatInstance", TEAM, "DispatcherAvailable", "True").await;
    scene.post("e1", "chat.created").await;
    scene.delivered("e1", "/in").await;

    // A volume grows while its pod runs, and does not shrink.
    let sized =
        |size: &str| with_dispatcher(json!({"podTemplate": template, "queue": {"embedded": {"size": size}}}));
    scene.apply(sized("2Gi")).await;
    let claim = ("v1", "PersistentVolumeClaim", CLAIM);
    holds(&scene, claim, "/spec/resources/requests/storage", json!("2Gi")).await;
    scene.becomes("ChatInstance", TEAM, "Ready", "True").await;
    scene.apply(sized("1Gi")).await;
    let why = scene.says("ChatInstance", TEAM, "Programmed", "VolumeCannotChange").await;
    assert_eq!(
        why,
        "spec.dispatcher.queue.embedded.size: the volume has 2Gi and volumes do not shrink; write 2Gi or more."
    );
    let object = scene.get(CHATHOOKS, "ChatInstance", TEAM).await;
    assert_eq!(condition(&object, "Stalled").unwrap()["message"], why.as_str());
    assert_eq!(condition(&object, "DispatcherAvailable").unwrap()["status"], "True");
    scene.event(TEAM, &format!("Warning VolumeCannotChange {why}")).await;
    scene.apply(subscription("second", &scene.receiver.url("/second"), json!({}))).await;
    scene.becomes("WebhookSubscription", "second", "Ready", "True").await;
    scene.post("e2", "chat.created").await;
    scene.delivered("e2", "/second").await;
    holds(&scene, claim, "/spec/resources/requests/storage", json!("2Gi")).await;
    scene.apply(sized("2Gi")).await;
    scene.becomes("ChatInstance", TEAM, "Ready", "True").await;
    assert_eq!(scene.starts().await, 2);
    scene.end();
}

#[tokio::test]
async fn a_volume_outlives_its_instance_unless_it_shall_not() {
    let scene = Scene::with_team().await;
    let suspended = json!({"suspend": true});
    scene.apply(subscription("alerts", &scene.receiver.url("/in"), suspended)).await;
    scene.becomes("WebhookSubscription", "alerts", "Ready", "True").await;
    scene.post("kept", "chat.created").await;

    let claim = ("v1", "PersistentVolumeClaim", CLAIM);
    let owner = "/metadata/ownerReferences/0/kind";
    let on_delete = |what: &str| with_dispatcher(json!({"queue": {"embedded": {"onDelete": what}}}));
    scene.apply(on_delete("Delete")).await;
    holds(&scene, claim, owner, json!("ChatInstance")).await;
    scene.apply(on_delete("Retain")).await;
    holds(&scene, claim, owner, Value::Null).await;
    let volume = scene.get("v1", "PersistentVolumeClaim", CLAIM).await["metadata"]["uid"].clone();

    // Made again before what it had is gone: that is waited for.
    scene.delete(CHATHOOKS, "ChatInstance", TEAM).await;
    scene.says("WebhookSubscription", "alerts", "ResolvedRefs", "InstanceNotFound").await;
    scene.apply(on_delete("Retain")).await;
    wait_for("the new one says what it waits for", PATIENCE, async || {
        let object = scene.get(CHATHOOKS, "ChatInstance", TEAM).await;
        assert_eq!(condition(&object, "Stalled"), None, "{object:#}");
        let message = condition(&object, "ResolvedRefs")?["message"].as_str()?.to_owned();
        message.contains("belongs to an earlier ChatInstance of this name").then_some(())
    })
    .await;
    let collected = scene.collect_garbage().await;
    assert!(collected.contains(&format!("StatefulSet {DISPATCHER}")), "{collected:?}");
    assert!(!collected.iter().any(|one| one.starts_with("PersistentVolumeClaim")), "{collected:?}");
    scene.becomes("ChatInstance", TEAM, "Ready", "True").await;
    assert_eq!(scene.get("v1", "PersistentVolumeClaim", CLAIM).await["metadata"]["uid"], volume);
    scene.becomes("WebhookSubscription", "alerts", "Programmed", "True").await;
    scene.apply(subscription("alerts", &scene.receiver.url("/in"), json!({}))).await;
    scene.delivered("kept", "/in").await;

    scene.apply(on_delete("Delete")).await;
    holds(&scene, claim, owner, json!("ChatInstance")).await;
    scene.delete(CHATHOOKS, "ChatInstance", TEAM).await;
    let collected = scene.collect_garbage().await;
    assert!(collected.contains(&format!("PersistentVolumeClaim {CLAIM}")), "{collected:?}");
    scene.end();
}

//! What somebody else made is left alone, and told.

use serde_json::{Value, json};

use super::{CHATHOOKS, Scene, instance, secret, subscription};
use crate::support::cluster::condition;

#[tokio::test]
async fn a_secret_of_somebody_else_is_neither_used_nor_overwritten() {
    let scene = Scene::with_team().await;
    let stranger = scene.apply(secret("alerts-signing", json!({"signing-secret": "mine"}))).await;
    scene.apply(subscription("alerts", &scene.receiver.url("/in"), json!({}))).await;
    let why = scene.says("WebhookSubscription", "alerts", "ResolvedRefs", "SecretNotOwned").await;
    assert_eq!(
        why,
        "Secret \"alerts-signing\" exists and was not made by chathooks, so it is neither used nor overwritten: name \
         it in spec.signing.secretRefs, or give it another name."
    );
    let object = scene.get(CHATHOOKS, "WebhookSubscription", "alerts").await;
    assert_eq!(condition(&object, "Stalled").unwrap()["reason"], "SecretNotOwned");
    assert_eq!(scene.get("v1", "Secret", "alerts-signing").await["metadata"], stranger["metadata"]);
    scene.delete("v1", "Secret", "alerts-signing").await;
    scene.becomes("WebhookSubscription", "alerts", "Ready", "True").await;
    assert!(scene.secret("alerts-signing", "signing-secret").await.starts_with("whsec_"));

    // The same with what an instance needs.
    let stranger = scene.apply(secret("second-admin", json!({"token": "mine"}))).await;
    scene.apply(instance("second", json!({}))).await;
    let why = scene.says("ChatInstance", "second", "ResolvedRefs", "NotOwned").await;
    assert_eq!(
        why,
        "Secret \"second-admin\" exists and was not made for this ChatInstance, so it is neither used nor \
         overwritten: delete or rename it."
    );
    assert_eq!(scene.get("v1", "Secret", "second-admin").await["metadata"], stranger["metadata"]);
    scene.delete("v1", "Secret", "second-admin").await;
    scene.becomes("ChatInstance", "second", "Ready", "True").await;
    scene.end();
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_touched() {
    let scene = Scene::start().await;
    let container = json!({
        "name": "c", "image": "x", "args": ["check", "/nowhere"],
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 1000, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    let labels = json!({"app": "mine"});
    let strangers: [(&str, &str, &str, Value); 3] = [
        ("v1", "Service", "a-dispatcher", json!({"selector": labels, "ports": [{"port": 1}]})),
        (
            "apps/v1",
            "StatefulSet",
            "b-dispatcher",
            json!({
                "replicas": 0, "serviceName": "x", "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            }),
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            "c-dispatcher-data",
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}),
        ),
    ];
    for (api_version, kind, name, spec) in &strangers {
        let manifest =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec});
        scene.apply(manifest).await;
    }
    for name in ["a", "b", "c"] {
        scene.apply(instance(name, json!({}))).await;
    }
    for ((api_version, kind, name, _), of) in strangers.iter().zip(["a", "b", "c"]) {
        let why = scene.says("ChatInstance", of, "Programmed", "NotOwned").await;
        assert_eq!(
            why,
            format!(
                "{kind} {name:?} exists and was not made for this ChatInstance, so it is neither used nor overwritten: \
                 delete or rename it, or give the ChatInstance another name."
            )
        );
        let object = scene.get(CHATHOOKS, "ChatInstance", of).await;
        assert_eq!(condition(&object, "Stalled").unwrap()["reason"], "NotOwned");
        assert_eq!(condition(&object, "Ready").unwrap()["reason"], "NotOwned");
        let stranger = scene.get(api_version, kind, name).await;
        assert_eq!(stranger["metadata"]["generation"].as_i64().unwrap_or(1), 1);
        assert_eq!(stranger["metadata"]["labels"].get("app.kubernetes.io/managed-by"), None, "{kind}");
        let managers = stranger["metadata"]["managedFields"].as_array().unwrap();
        assert!(managers.iter().all(|one| one["manager"] != "chathooks-operator"), "{kind}");
    }
    let set = scene.get("apps/v1", "StatefulSet", "c-dispatcher").await;
    assert_eq!(set, Value::Null, "no pod may write to somebody else's volume");

    // Put right by whoever owns it.
    scene.delete("v1", "Service", "a-dispatcher").await;
    scene
        .patch(
            CHATHOOKS,
            "ChatInstance",
            "a",
            json!({"metadata": {"annotations": {"chathooks.dev/reconcile": "1"}}}),
        )
        .await;
    scene.becomes("ChatInstance", "a", "Ready", "True").await;
    scene.end();
}

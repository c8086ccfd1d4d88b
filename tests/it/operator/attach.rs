//! Who may hang what on an instance, and what is said to whoever may not.

use serde_json::json;

use super::{CHATHOOKS, Scene, TEAM, instance, subscription};
use crate::support::cluster::{ControlPlane, condition};

#[tokio::test]
async fn an_instance_lets_in_whom_its_owner_names() {
    let plane = ControlPlane::shared().await;
    let other = plane.namespace().await;
    let scene = Scene::watching(&[&other]).await;
    let home = scene.namespace.clone();
    scene.apply(instance(TEAM, json!({}))).await;
    let guest = |name: &str, events: serde_json::Value| {
        let more = json!({"instanceRef": {"name": TEAM, "namespace": home}, "events": events});
        let mut manifest = subscription(name, &scene.receiver.url(&format!("/{name}")), more);
        manifest["metadata"]["namespace"] = json!(other);
        manifest
    };
    scene.apply(guest("users", json!(["user.*"]))).await;
    scene.apply(guest("chats", json!(["user.*", "chat.*"]))).await;
    let says = async |name: &str, reason: &str| {
        scene.says_in(&other, "WebhookSubscription", name, "ResolvedRefs", reason).await
    };
    let refused = format!(
        "spec.instanceRef: ChatInstance \"team\" in namespace {home:?} does not let a WebhookSubscription of namespace \
         {other:?} attach; its owner allows it by adding to its spec.attach: {{kinds: [WebhookSubscription], \
         namespaces: {{from: Selector, selector: {{matchLabels: {{kubernetes.io/metadata.name: {other}}}}}}}}}"
    );
    assert_eq!(says("users", "RefNotPermitted").await, refused);
    // What a stranger refers to is not looked at.
    let mut nosy = guest("nosy", json!(["user.*"]));
    nosy["spec"]["target"]["http"]["auth"] =
        json!({"bearer": {"secretRef": {"name": "none", "key": "token"}}});
    scene.apply(nosy).await;
    assert_eq!(says("nosy", "RefNotPermitted").await, refused);

    // A label that the namespace does not have yet.
    let namespaces = json!({"from": "Selector", "selector": {"matchLabels": {"chat": "team"}}});
    let rule = json!({"kinds": ["WebhookSubscription"], "namespaces": namespaces, "events": ["user.*"]});
    scene.apply(instance(TEAM, json!({"attach": [rule]}))).await;
    scene.becomes("ChatInstance", TEAM, "Ready", "True").await;
    assert_eq!(says("users", "RefNotPermitted").await, refused);
    let label = json!({"metadata": {"labels": {"chat": "team"}}});
    let all: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(scene.client.clone());
    all.patch(&other, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(label)).await.unwrap();
    says("users", "ResolvedRefs").await;
    scene.says_in(&other, "WebhookSubscription", "users", "Ready", "Ready").await;
    assert_eq!(
        says("chats", "RefNotPermitted").await,
        format!(
            "spec.events[1]: ChatInstance \"team\" in namespace {home:?} lets namespace {other:?} subscribe only to \
             user.*; narrow \"chat.*\", or ask its owner to add it to spec.attach."
        )
    );
    let api = scene.api_in(&other, CHATHOOKS, "WebhookSubscription");
    let object = serde_json::to_value(api.get("chats").await.unwrap()).unwrap();
    assert_eq!(
        condition(&object, "Reconciling").unwrap()["reason"],
        "RefNotPermitted",
        "the owner may allow it yet"
    );

    scene.post("e1", "user.created").await;
    scene.delivered("e1", "/users").await;
    scene.post("e2", "chat.created").await;
    scene.apply(guest("chats", json!(["user.*"]))).await;
    scene.says_in(&other, "WebhookSubscription", "chats", "Ready", "Ready").await;
    scene.post("e3", "user.created").await;
    scene.delivered("e3", "/chats").await;
    scene.delivered("e3", "/users").await;
    assert_eq!(scene.receiver.ids().get("e2"), None);
    scene.end();
}

#[tokio::test]
async fn a_subscription_may_come_before_its_instance() {
    let scene = Scene::start().await;
    scene.apply(subscription("alerts", &scene.receiver.url("/in"), json!({}))).await;
    let says =
        async |name: &str| scene.says("WebhookSubscription", name, "ResolvedRefs", "InstanceNotFound").await;
    let missing = |name: &str, hint: &str| {
        format!(
            "spec.instanceRef.name: there is no ChatInstance {name:?} in namespace {:?}; {hint}",
            scene.namespace
        )
    };
    assert_eq!(says("alerts").await, missing("team", "create it, or name another."));
    let object = scene.get(CHATHOOKS, "WebhookSubscription", "alerts").await;
    assert_eq!(condition(&object, "Reconciling").unwrap()["reason"], "InstanceNotFound");
    let types: Vec<_> =
        object["status"]["conditions"].as_array().unwrap().iter().map(|one| &one["type"]).collect();
    assert_eq!(types, ["Accepted", "ResolvedRefs", "Programmed", "Ready", "Delivering", "Reconciling"]);

    scene.apply(instance(TEAM, json!({}))).await;
    scene.becomes("WebhookSubscription", "alerts", "Ready", "True").await;
    let misspelt = json!({"instanceRef": {"name": "taem"}});
    scene.apply(subscription("misspelt", &scene.receiver.url("/m"), misspelt)).await;
    assert_eq!(says("misspelt").await, missing("taem", "did you mean \"team\"?"));
    scene.apply(subscription("misspelt", &scene.receiver.url("/m"), json!({}))).await;
    scene.becomes("WebhookSubscription", "misspelt", "Ready", "True").await;

    // Its instance goes.
    scene.delete(CHATHOOKS, "ChatInstance", TEAM).await;
    assert_eq!(says("alerts").await, missing("team", "create it, or name another."));
    scene.end();
}

//! Secrets that come late, change, and go.

use std::time::Instant;

use serde_json::json;

use super::{CHATHOOKS, Scene, secret, subscription};
use crate::support::cluster::{PATIENCE, condition, wait_for};

const PAUSED: &str = "Paused; Accepted and ResolvedRefs say why.";

#[tokio::test]
async fn a_secret_may_come_late_change_and_go() {
    let scene = Scene::with_team().await;
    let auth = json!({
        "signing": {"scheme": "None"},
        "target": {"http": {"auth": {"bearer": {"secretRef": {"name": "late", "key": "token"}}}}},
    });
    scene.apply(subscription("alerts", &scene.receiver.url("/in"), auth)).await;
    let says = async |reason: &str| scene.says("WebhookSubscription", "alerts", "ResolvedRefs", reason).await;
    let field = "spec.target.http.auth.bearer.secretRef";
    let missing = format!(
        "{field}: there is no Secret \"late\" in namespace {:?}; create it, or name another.",
        scene.namespace
    );
    assert_eq!(says("SecretNotFound").await, missing);
    let object = scene.get(CHATHOOKS, "WebhookSubscription", "alerts").await;
    assert_eq!(condition(&object, "Ready").unwrap()["message"], missing.as_str());
    assert_eq!(condition(&object, "Reconciling").unwrap()["status"], "True", "it may come later");
    assert_eq!(condition(&object, "Stalled"), None);
    assert_eq!(condition(&object, "Programmed").unwrap()["message"], PAUSED);
    scene.event("alerts", &format!("Warning SecretNotFound {missing}")).await;

    // Kept while it is paused.
    scene.post("e0", "chat.created").await;
    let begun = Instant::now();
    scene.apply(secret("late", json!({"token": "one"}))).await;
    scene.becomes("WebhookSubscription", "alerts", "Ready", "True").await;
    eprintln!("late Secret → Ready {} ms", begun.elapsed().as_millis());
    assert_eq!(scene.delivered("e0", "/in").await.header("authorization"), "Bearer one");

    scene.apply(secret("late", json!({"token": "two"}))).await;
    let begun = Instant::now();
    let mut number = 0;
    wait_for("the new value is used", PATIENCE, async || {
        number += 1;
        scene.post(&format!("r{number}"), "chat.created").await;
        let received = scene.receiver.received();
        received.iter().any(|one| one.header("authorization") == "Bearer two").then_some(())
    })
    .await;
    eprintln!("rotated Secret → used {} ms", begun.elapsed().as_millis());
    let object = scene.get(CHATHOOKS, "WebhookSubscription", "alerts").await;
    assert_eq!(condition(&object, "Ready").unwrap()["status"], "True");

    scene.delete("v1", "Secret", "late").await;
    assert_eq!(says("SecretNotFound").await, missing);
    assert_eq!(scene.says("WebhookSubscription", "alerts", "Delivering", "Paused").await, PAUSED);
    wait_for("the pause is served", PATIENCE, async || {
        number += 1;
        let id = format!("p{number}");
        scene.post(&id, "chat.created").await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        (!scene.receiver.ids().contains_key(&id)).then_some(())
    })
    .await;
    scene.apply(secret("late", json!({"tokn": "three"}))).await;
    let why = says("KeyNotFound").await;
    assert_eq!(why, format!("{field}: Secret \"late\" has no key \"token\"; did you mean \"tokn\"?"));
    scene.apply(secret("late", json!({"token": "three four"}))).await;
    let why = says("InvalidSecretValue").await;
    assert!(why.ends_with("a token consists of visible ASCII characters without spaces; this one does not."));
    assert!(!why.contains("three"), "{why}");
    scene.apply(secret("late", json!({"token": "five"}))).await;
    scene.becomes("WebhookSubscription", "alerts", "Ready", "True").await;
    let kept = scene.delivered(&format!("p{number}"), "/in").await;
    assert_eq!(kept.header("authorization"), "Bearer five");
    assert_eq!(scene.starts().await, 1);
    scene.end();
}

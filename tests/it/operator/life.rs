//! From `kubectl apply` to signed deliveries, and through everything that happens to a subscription.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Scene, TEAM, instance, subscription};
use crate::support::cluster::{PATIENCE, binaries, condition, wait_for};

/// The types of the conditions, from the moment at which there is a first one.
async fn first_seen(scene: &Scene, kind: &str, name: &str) -> Vec<String> {
    wait_for(&format!("{kind} {name} has a status"), PATIENCE, async || {
        let object = scene.get(super::CHATHOOKS, kind, name).await;
        let conditions = object["status"]["conditions"].as_array()?;
        Some(conditions.iter().map(|one| one["type"].as_str().unwrap().to_owned()).collect())
    })
    .await
}

fn kubectl(scene: &Scene, arguments: &[&str]) -> Vec<Vec<String>> {
    let output = Command::new(binaries::folder().join("kubectl"))
        .arg("--kubeconfig")
        .arg(scene.plane.admin_kubeconfig())
        .args(["--namespace", &scene.namespace])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

async fn messages(scene: &Scene, kind: &str, name: &str) -> Vec<String> {
    let object = scene.get(super::CHATHOOKS, kind, name).await;
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().map(|one| one["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_subscription_lives_from_apply_to_deletion_and_again() {
    let scene = Scene::start().await;
    let at = |path: &str| scene.receiver.url(path);
    scene.apply(instance(TEAM, json!({}))).await;
    scene.apply(subscription("alerts", &at("/one"), json!({}))).await;
    let common = ["Accepted", "ResolvedRefs", "Programmed", "Ready"];
    let seen = first_seen(&scene, "ChatInstance", TEAM).await;
    assert_eq!(seen[..4], common);
    assert_eq!(seen[4..7], ["Reachable", "IntakeReady", "DispatcherAvailable"]);
    let seen = first_seen(&scene, "WebhookSubscription", "alerts").await;
    assert_eq!(seen[..5], ["Accepted", "ResolvedRefs", "Programmed", "Ready", "Delivering"]);

    scene.becomes("ChatInstance", TEAM, "Ready", "True").await;
    scene.becomes("WebhookSubscription", "alerts", "Ready", "True").await;
    scene.becomes("ChatInstance", TEAM, "IntakeReady", "True").await;
    let object = scene.get(super::CHATHOOKS, "ChatInstance", TEAM).await;
    assert_eq!(object["status"]["observedGeneration"], 1);
    assert_eq!(object["status"]["dispatcher"], json!({"replicas": 1, "readyReplicas": 1}));
    assert_eq!(object["status"]["attached"]["webhookSubscriptions"], 1);
    let url = format!("http://team-dispatcher.{}.svc/v1/events", scene.namespace);
    assert_eq!(object["status"]["intakeURL"], url);
    assert_eq!(condition(&object, "DispatcherAvailable").unwrap()["status"], "True");
    for type_ in ["Reconciling", "Stalled"] {
        assert_eq!(condition(&object, type_), None);
    }
    scene.event("alerts", "Normal Ready Ready is true.").await;
    scene.event(TEAM, "Normal Ready Ready is true.").await;

    scene.post("e1", "chat.created").await;
    let received = scene.delivered("e1", "/one").await;
    let key = scene.secret("alerts-signing", "signing-secret").await;
    let webhook = standardwebhooks::Webhook::new(&key).unwrap();
    webhook.verify(&received.body, &received.headers).expect("the published library verifies the signature");
    scene.becomes("WebhookSubscription", "alerts", "Delivering", "True").await;

    let rows = kubectl(&scene, &["get", "webhooksubscriptions"]);
    assert_eq!(rows[0], ["NAME", "INSTANCE", "READY", "STATUS", "AGE"]);
    assert_eq!(rows[1][..4], ["alerts", "team", "True", "Ready"]);
    let rows = kubectl(&scene, &["get", "chatinstances"]);
    assert_eq!(rows[0], ["NAME", "PLATFORM", "READY", "STATUS", "REACHABLE", "VERSION", "AGE"]);
    assert_eq!(rows[1][..4], ["team", "Generic", "True", "Ready"]);

    // An edit.
    scene.apply(subscription("alerts", &at("/two"), json!({}))).await;
    scene.becomes("WebhookSubscription", "alerts", "Ready", "True").await;
    let object = scene.get(super::CHATHOOKS, "WebhookSubscription", "alerts").await;
    assert_eq!(object["status"]["observedGeneration"], 2);
    scene.post("e2", "chat.created").await;
    scene.delivered("e2", "/two").await;

    // Suspended, by itself and with its instance; events are kept.
    scene.apply(subscription("alerts", &at("/two"), json!({"suspend": true}))).await;
    let why = scene.says("WebhookSubscription", "alerts", "Delivering", "Suspended").await;
    assert_eq!(why, "spec.suspend is true; events are kept.");
    scene.becomes("WebhookSubscription", "alerts", "Ready", "True").await;
    scene.post("e3", "chat.created").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(scene.receiver.ids().get("e3"), None);
    scene.apply(subscription("alerts", &at("/two"), json!({}))).await;
    scene.delivered("e3", "/two").await;
    scene.apply(instance(TEAM, json!({"suspend": true}))).await;
    let why = scene.says("WebhookSubscription", "alerts", "Delivering", "Suspended").await;
    assert_eq!(why, "spec.suspend of ChatInstance \"team\" is true; events are kept.");
    scene.apply(instance(TEAM, json!({}))).await;
    scene.becomes("WebhookSubscription", "alerts", "Delivering", "True").await;

    let token = scene.secret("team-intake", "token").await;
    for (kind, name) in [("ChatInstance", TEAM), ("WebhookSubscription", "alerts")] {
        for message in messages(&scene, kind, name).await {
            assert!(!message.contains(&token) && !message.contains(&key), "{message}");
            assert!(!message.contains("2026-") && !message.contains("T0"), "{message}");
        }
    }

    // Deleted, and made again before what it had is gone: that is waited for, and nothing of the old one is used.
    scene.delete(super::CHATHOOKS, "WebhookSubscription", "alerts").await;
    wait_for("the deletion is served", PATIENCE, async || {
        let object = scene.get(super::CHATHOOKS, "ChatInstance", TEAM).await;
        (object["status"]["attached"]["webhookSubscriptions"] == 0).then_some(())
    })
    .await;
    scene.apply(subscription("alerts", &at("/three"), json!({}))).await;
    let why = scene.says("WebhookSubscription", "alerts", "ResolvedRefs", "SecretPending").await;
    assert_eq!(why, "Secret \"alerts-signing\" is being made.");
    let object = scene.get(super::CHATHOOKS, "WebhookSubscription", "alerts").await;
    assert_eq!(condition(&object, "Reconciling").unwrap()["status"], "True");
    assert_eq!(scene.collect_garbage().await, ["Secret alerts-signing"]);
    scene.becomes("WebhookSubscription", "alerts", "Ready", "True").await;
    assert_ne!(scene.secret("alerts-signing", "signing-secret").await, key);
    scene.post("e5", "chat.created").await;
    scene.delivered("e5", "/three").await;
    let third: Vec<String> = scene
        .receiver
        .received()
        .into_iter()
        .filter(|one| one.path == "/three")
        .map(|one| one.header("webhook-id").to_owned())
        .collect();
    assert_eq!(third, ["e5"], "a new subscription starts with what comes after it");
    assert_eq!(scene.starts().await, 1);
    scene.end();
}

#[tokio::test]
async fn a_target_that_fails_and_a_spec_that_cannot_work_are_told() {
    let scene = Scene::with_team().await;
    scene.receiver.answer(|received, _| {
        let fails = received.path == "/fails";
        (if fails { http::StatusCode::INTERNAL_SERVER_ERROR } else { http::StatusCode::OK }, Duration::ZERO)
    });
    let retry = json!({"delivery": {"retry": {"schedule": ["1h"]}}});
    scene.apply(subscription("fails", &scene.receiver.url("/fails"), retry.clone())).await;
    scene.becomes("WebhookSubscription", "fails", "Ready", "True").await;
    scene.post("e1", "chat.created").await;
    let why = scene.says("WebhookSubscription", "fails", "Delivering", "HttpError").await;
    assert!(why.contains("500"), "{why}");
    let object = scene.get(super::CHATHOOKS, "WebhookSubscription", "fails").await;
    assert_eq!(condition(&object, "Ready").unwrap()["status"], "True", "its target is not our affair");
    assert_eq!(object["status"]["lastFailure"]["attempts"], 1);
    scene.event("fails", "Warning HttpError").await;

    // What cannot work is stalled, whatever the API server takes; the next spec is looked at anew.
    let expression = json!({"filter": {"expression": "event.data.("}});
    scene.apply(subscription("broken", &scene.receiver.url("/ok"), expression)).await;
    let why = scene.says("WebhookSubscription", "broken", "Accepted", "InvalidFilter").await;
    assert!(why.starts_with("spec.filter.expression"), "{why}");
    let object: Value = scene.get(super::CHATHOOKS, "WebhookSubscription", "broken").await;
    assert_eq!(condition(&object, "Stalled").unwrap()["message"], why.as_str());
    scene.event("broken", &format!("Warning InvalidFilter {}", &why[..20])).await;
    scene.apply(subscription("broken", &scene.receiver.url("/ok"), json!({}))).await;
    scene.becomes("WebhookSubscription", "broken", "Ready", "True").await;
    scene.post("e2", "chat.created").await;
    scene.delivered("e2", "/ok").await;
    scene.end();
}

#[tokio::test]
async fn a_slip_in_a_reference_costs_no_events() {
    let scene = Scene::with_team().await;
    let url = scene.receiver.url("/in");
    scene.apply(subscription("alerts", &url, json!({"suspend": true}))).await;
    scene.becomes("WebhookSubscription", "alerts", "Programmed", "True").await;
    scene.post("e1", "user.created").await;
    scene.apply(subscription("alerts", &url, json!({"instanceRef": {"name": "taem"}}))).await;
    scene.says("WebhookSubscription", "alerts", "ResolvedRefs", "InstanceNotFound").await;
    // Long enough for the dispatcher to have a plan without it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.apply(subscription("alerts", &url, json!({}))).await;
    scene.delivered("e1", "/in").await;
    scene.end();
}

//! Nothing is written without a change.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::{CHATHOOKS, Scene, TEAM, instance, subscription};
use crate::support::cluster::{Operator, PATIENCE, wait_for};

/// How often each kind was reconciled, by its label.
async fn reconciles(operator: &Operator) -> BTreeMap<String, u64> {
    let text = operator.get("metrics").await.unwrap_or_default();
    let lines = text.lines().filter(|line| line.contains("_reconciled_total{"));
    lines
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.split('"').nth(1)?.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// Waits until each kind was reconciled at least so often more than `before`, and then was left in peace.
async fn reconciled(operator: &Operator, before: &BTreeMap<String, u64>, more: u64) {
    wait_for("both kinds are reconciled", PATIENCE, async || {
        let now = reconciles(operator).await;
        let grown =
            |kind: &str| now.get(kind).copied().unwrap_or(0) >= before.get(kind).copied().unwrap_or(0) + more;
        (grown("ChatInstance") && grown("WebhookSubscription")).then_some(())
    })
    .await;
    settled(operator).await;
}

/// Waits until nothing is reconciled any more for a while.
async fn settled(operator: &Operator) {
    let mut last = reconciles(operator).await;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = reconciles(operator).await;
        if now == last {
            return;
        }
        last = now;
    }
}

#[tokio::test]
async fn nothing_is_written_without_a_change() {
    let mut scene = Scene::start().await;
    // Values that read differently in the API server than they were written.
    let dispatcher = json!({
        "resources": {"requests": {"cpu": "0.1", "memory": "1024Ki"}, "limits": {"memory": "1024Mi"}},
        "queue": {"embedded": {"size": "1024Mi", "onDelete": "Delete"}},
        "podTemplate": {
            "labels": {"team": "chat"}, "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "chat", "operator": "Exists"}], "imagePullSecrets": [{"name": "pull"}],
        },
    });
    scene.apply(instance(TEAM, json!({"dispatcher": dispatcher}))).await;
    scene.becomes("ChatInstance", TEAM, "Ready", "True").await;
    for name in ["one", "two"] {
        scene.apply(subscription(name, &scene.receiver.url("/in"), json!({}))).await;
        scene.becomes("WebhookSubscription", name, "Ready", "True").await;
    }
    scene.post("e1", "chat.created").await;
    for name in ["one", "two"] {
        scene.becomes("WebhookSubscription", name, "Delivering", "True").await;
    }
    scene.becomes("ChatInstance", TEAM, "IntakeReady", "True").await;
    settled(&scene.operator).await;

    let user = scene.installation.user();
    let mark = scene.audit().mark();
    for number in 0..3 {
        let before = reconciles(&scene.operator).await;
        let touch = json!({"metadata": {"annotations": {"chathooks.dev/reconcile": number.to_string()}}});
        scene.patch(CHATHOOKS, "ChatInstance", TEAM, touch.clone()).await;
        scene.patch(CHATHOOKS, "WebhookSubscription", "one", touch).await;
        reconciled(&scene.operator, &before, 1).await;
    }
    assert_eq!(scene.audit().writes(mark, &user), BTreeMap::new());

    // Events that are delivered are no change either.
    for number in 0..20 {
        scene.post(&format!("f{number}"), "chat.created").await;
        scene.delivered(&format!("f{number}"), "/in").await;
    }
    settled(&scene.operator).await;
    assert_eq!(scene.audit().writes(mark, &user), BTreeMap::new());

    // Neither is another leader.
    assert!(scene.operator.terminate().await);
    scene.operator = scene.installation.start("second").await;
    reconciled(&scene.operator, &BTreeMap::new(), 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    settled(&scene.operator).await;
    assert_eq!(scene.audit().writes(mark, &user), BTreeMap::new());

    // Nor another pod: what it has not tried yet is as it was.
    scene.kubelet.kill(&scene.namespace, super::DISPATCHER).await;
    scene.kubelet.ready(&scene.namespace, super::DISPATCHER).await;
    scene.becomes("ChatInstance", TEAM, "IntakeReady", "True").await;
    scene.becomes("WebhookSubscription", "one", "Delivering", "True").await;
    assert_eq!(scene.starts().await, 2);
    scene.end();
}

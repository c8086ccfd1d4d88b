//! An operator that is installed before what it needs.

use super::Bench;
use crate::support::cluster::{ControlPlane, PATIENCE, wait_for};

#[tokio::test]
async fn an_operator_waits_for_its_kinds_and_says_so() {
    let plane = ControlPlane::bare().await;
    let bench = Bench::new(&plane).await;
    let mut operator = bench.installation.start("early").await;
    let waiting = wait_for("it says what it waits for", PATIENCE, async || {
        operator.get("readyz").await.filter(|text| text.contains("CustomResourceDefinition"))
    })
    .await;
    for kind in ["chatinstances", "webhooksubscriptions"] {
        let line = format!(
            "waiting for CustomResourceDefinition {kind}.chathooks.dev: install charts/chathooks-crds, or \
             `chathooks crds | kubectl apply -f -`\n"
        );
        assert!(waiting.contains(&line), "{waiting}");
    }
    assert!(!operator.is_ready().await && operator.is_running());
    assert_eq!(operator.get("livez").await.unwrap(), "ok\n");
    assert_eq!(bench.holder().await, None, "one that cannot work lets others lead");

    plane.install().await;
    wait_for("it is ready", PATIENCE, async || operator.is_ready().await.then_some(())).await;
    bench.leads("early").await;
    bench.chat().await;
    bench.subscribe("siem").await;
    bench.ready("siem").await;
}

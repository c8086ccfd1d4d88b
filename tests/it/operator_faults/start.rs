//! An operator that is installed before what it needs.

use super::Bench;
use crate::support::cluster::{ControlPlane, Installation, PATIENCE, Rights, collector, wait_for};

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

#[tokio::test]
async fn a_watched_namespace_that_is_gone_keeps_no_other_waiting() {
    let plane = ControlPlane::shared().await;
    let (gone, stays) = (plane.namespace().await, plane.namespace().await);
    let installation = Installation::new(plane, Rights::of_the_chart(), &[&gone, &stays]).await;
    collector::delete_namespace(&plane.admin().await, &gone).await;
    let operator = installation.start("first").await;
    wait_for("it is ready", PATIENCE, async || operator.is_ready().await.then_some(())).await;
    assert!(operator.log().contains(&format!("namespace {gone} is to be watched and is not there")));
}

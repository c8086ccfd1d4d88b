//! The API server goes away and comes back while events are taken and delivered.

use std::time::Instant;

use super::{Bench, DISPATCHER};
use crate::support::cluster::ControlPlane;

fn ids(batch: &str) -> Vec<String> {
    (0..20).map(|number| format!("{batch}-{number}")).collect()
}

async fn post(bench: &Bench, ids: &[String]) {
    for id in ids {
        bench.post(id).await;
    }
}

#[tokio::test]
async fn events_flow_while_the_api_server_is_away_and_changes_are_served_when_it_is_back() {
    let plane = ControlPlane::private().await;
    let bench = Bench::new(&plane).await;
    let mut operator = bench.installation.start("only").await;
    bench.chat().await;
    bench.subscribe("siem").await;
    bench.ready("siem").await;
    let before = ids("before");
    post(&bench, &before).await;

    plane.stop_api_server().await;
    let during = ids("during");
    post(&bench, &during).await;
    bench.delivered("siem", &[before.clone(), during.clone()].concat()).await;

    // A dispatcher that starts now knows what to serve from its mounts.
    bench.kubelet.kill(&bench.namespace, DISPATCHER).await;
    bench.kubelet.ready(&bench.namespace, DISPATCHER).await;
    assert_eq!(bench.kubelet.starts(&bench.namespace, DISPATCHER).await, 2);
    let restarted = ids("restarted");
    post(&bench, &restarted).await;
    bench.delivered("siem", &restarted).await;
    assert!(operator.is_running(), "{}", operator.log());

    plane.start_api_server().await;
    let back = Instant::now();
    bench.subscribe("late").await;
    bench.ready("late").await;
    eprintln!("API server is back -> new subscription Ready: {:?}", back.elapsed());
    let after = ids("after");
    post(&bench, &after).await;
    bench.delivered("late", &after).await;
    bench.delivered("siem", &[before, during, restarted, after].concat()).await;
    assert!(operator.is_running(), "{}", operator.log());

    // Each watch tells of an outage once, however often it tried.
    let log = operator.log();
    let told = log.matches("the watch on WebhookSubscriptions was interrupted").count();
    assert!(told <= 1, "{told} times in\n{log}");
}

//! The patrol acts on plans, hints and time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chathooks::platform::open_webui::RelayState;
use chathooks::platform::patrol::{Beat, WhenGone, patrol};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::{GATE, hello, id, relayed};
use crate::support::eventually;
use crate::support::open_webui::shared;
use crate::support::receiver::Receiver;

#[tokio::test]
async fn a_plan_is_acted_on_a_hint_heals_and_what_is_gone_is_removed() {
    let platform = shared().await;
    let receiver = Receiver::start().await;
    let (name, id) = ("patrolled", id("patrolled"));
    let key = ("ai".to_owned(), name.to_owned());
    let (plans, plans_seen) = watch::channel(vec![]);
    let (_heard, heard) = watch::channel(BTreeSet::from([key.clone()]));
    let (hints, wake) = mpsc::channel(16);
    let (reports, mut seen) = watch::channel(BTreeMap::new());
    let beat = Beat {
        plans: plans_seen,
        heard,
        wake,
        cluster: "cluster-1".into(),
        gate: Arc::new(GATE),
        when_gone: WhenGone::Remove,
    };
    let task = tokio::spawn(patrol(beat, reports));

    plans.send(vec![relayed(platform, name, &receiver, &["user.*"])]).unwrap();
    let report = seen.wait_for(|reports| reports.contains_key(&key)).await.unwrap()[&key].clone();
    assert!(matches!(report.relay, RelayState::Installed { .. }), "{report:?}");
    hello(&receiver, "a hello", |_| true).await;

    // The relay itself tells that it is switched off; its dispatcher hands that on.
    platform.ok("POST", &format!("/api/v1/functions/id/{id}/toggle"), &Value::Null).await;
    hello(&receiver, "the farewell", |hello| hello["relay"]["state"] == json!("Off")).await;
    hints.send(key.clone()).await.unwrap();
    let healed = |report: &Vec<String>| report.iter().any(|change| change.contains("switched on again"));
    seen.wait_for(|reports| reports.get(&key).is_some_and(|report| healed(&report.changes))).await.unwrap();

    plans.send(vec![]).unwrap();
    eventually("it is removed", async || {
        let (status, _) = platform.call("GET", &format!("/api/v1/functions/id/{id}"), &Value::Null).await;
        (status == 401).then_some(())
    })
    .await;
    assert!(!seen.borrow().contains_key(&key));
    drop(plans);
    task.await.unwrap();
}

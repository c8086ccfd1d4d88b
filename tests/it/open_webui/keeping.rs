//! The relay is installed, kept right, left alone where it is not ours, and removed.

use std::time::Duration;

use chathooks::plan::platform::{DriftPlan, PlatformPlan};
use chathooks::platform::open_webui::{Keeper, RELAY_SOURCE, RelayState};
use chathooks::platform::{Alone, Owner};
use serde_json::{Value, json};

use super::{GATE, hello, id, installed, owner, relayed};
use crate::support::open_webui::{OpenWebUi, shared};
use crate::support::receiver::Receiver;

async fn function(platform: &OpenWebUi, id: &str) -> Option<Value> {
    let (status, function) = platform.call("GET", &format!("/api/v1/functions/id/{id}"), &Value::Null).await;
    (status == 200).then_some(function)
}

async fn post(platform: &OpenWebUi, id: &str, what: &str, body: &Value) {
    platform.ok("POST", &format!("/api/v1/functions/id/{id}/{what}"), body).await;
}

#[tokio::test]
async fn what_someone_changes_is_put_right_and_told() {
    let platform = shared().await;
    let receiver = Receiver::start().await;
    let (name, id) = ("healed", id("healed"));
    let plan = relayed(platform, name, &receiver, &["user.*"]);
    let mut keeper = Keeper::new();
    let report = keeper.sync(&plan, &owner(name), &GATE).await;
    let config = installed(&report);
    assert_eq!(report.changes, [format!("The relay {id} was installed in Open WebUI.")]);
    hello(&receiver, "the hello of the installation", |hello| hello["relay"]["config"] == json!(config))
        .await;

    let quiet = keeper.sync(&plan, &owner(name), &GATE).await;
    assert_eq!((installed(&quiet), quiet.changes.len(), quiet.calls), (config.clone(), 0, 4));
    let other = Keeper::new().sync(&plan, &owner(name), &GATE).await;
    assert_eq!(other.changes.len(), 0, "nor does a keeper write that has seen nothing yet");

    // The platform's editor sends the meta along with the edited text.
    let mut edited = function(platform, &id).await.unwrap();
    edited["content"] = json!(format!("{RELAY_SOURCE}\n# edited\n"));
    post(platform, &id, "update", &edited).await;
    let report = keeper.sync(&plan, &owner(name), &GATE).await;
    assert_eq!(
        report.changes,
        [format!("The relay {id} had been edited in Open WebUI; it was written again.")]
    );
    assert_eq!(function(platform, &id).await.unwrap()["content"], json!(RELAY_SOURCE));

    post(platform, &id, "toggle", &Value::Null).await;
    let report = keeper.sync(&plan, &owner(name), &GATE).await;
    let sentence = format!("The relay {id} had been switched off in Open WebUI; it was switched on again.");
    assert_eq!(report.changes, [sentence]);
    assert_eq!(function(platform, &id).await.unwrap()["is_active"], json!(true));

    post(platform, &id, "valves/update", &json!({"patterns": "*"})).await;
    let report = keeper.sync(&plan, &owner(name), &GATE).await;
    let sentence =
        format!("The valves of the relay {id} had been changed in Open WebUI; they were written again.");
    assert_eq!(report.changes, [sentence]);

    platform.ok("DELETE", &format!("/api/v1/functions/id/{id}/delete"), &Value::Null).await;
    let report = keeper.sync(&plan, &owner(name), &GATE).await;
    assert_eq!(report.changes, [format!("The relay {id} was missing and is installed again in Open WebUI.")]);

    // A new list of patterns is no drift, and a hello tells that it is in force.
    let wider = relayed(platform, name, &receiver, &["user.*", "note.created"]);
    let report = keeper.sync(&wider, &owner(name), &GATE).await;
    let newer = installed(&report);
    assert_ne!(newer, config);
    assert_eq!(report.changes, [format!("The relay {id} was updated in Open WebUI.")]);
    hello(&receiver, "the hello of the update", |hello| hello["relay"]["config"] == json!(newer)).await;

    let report_only = PlatformPlan { drift: DriftPlan::Report, ..wider.clone() };
    post(platform, &id, "toggle", &Value::Null).await;
    let report = keeper.sync(&report_only, &owner(name), &GATE).await;
    let RelayState::Refused(state) = &report.relay else { panic!("{:?}", report.relay) };
    assert_eq!(state.reason, "RelayDrifted");
    assert!(state.message.contains("was switched off in Open WebUI"), "{}", state.message);
    assert_eq!(report.reachable.status, Some(true));
    assert_eq!(function(platform, &id).await.unwrap()["is_active"], json!(false));

    let suspended = PlatformPlan { suspended: true, ..wider.clone() };
    let report = keeper.sync(&suspended, &owner(name), &GATE).await;
    assert!(matches!(&report.relay, RelayState::Unknown(state) if state.reason == "Suspended"));
    let closed = keeper.sync(&wider, &owner(name), &Alone(Duration::ZERO)).await;
    assert!(matches!(&closed.relay, RelayState::Unknown(state) if state.reason == "Pending"));
    assert_eq!(function(platform, &id).await.unwrap()["is_active"], json!(false), "nothing was written");

    let gone = PlatformPlan { relay: None, ..wider };
    let report = keeper.sync(&gone, &owner(name), &GATE).await;
    assert_eq!((report.relay, report.changes.len()), (RelayState::NotWanted, 1));
    assert!(function(platform, &id).await.is_none());
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() {
    let platform = shared().await;
    let receiver = Receiver::start().await;
    let (name, id) = ("owned", id("owned"));
    let plan = relayed(platform, name, &receiver, &["user.*"]);
    installed(&Keeper::new().sync(&plan, &owner(name), &GATE).await);

    let other_cluster = Owner { cluster: "cluster-2".into(), ..owner(name) };
    let mut keeper = Keeper::new();
    let report = keeper.sync(&plan, &other_cluster, &GATE).await;
    let RelayState::Refused(state) = &report.relay else { panic!("{:?}", report.relay) };
    assert_eq!(state.reason, "RelayNotOwned");
    assert!(state.message.contains("another cluster"), "{}", state.message);
    keeper.remove(&plan, &other_cluster, &GATE).await.unwrap();
    assert!(function(platform, &id).await.is_some(), "the other cluster's removal leaves it");

    let mut keeper = Keeper::new();
    keeper.remove(&plan, &owner(name), &GATE).await.unwrap();
    assert!(function(platform, &id).await.is_none());

    let form = json!({"id": id, "name": "mine", "content": "class Event:\n    pass\n", "meta": {"description": "x"}});
    platform.ok("POST", "/api/v1/functions/create", &form).await;
    let report = keeper.sync(&plan, &owner(name), &GATE).await;
    let RelayState::Refused(state) = &report.relay else { panic!("{:?}", report.relay) };
    assert!(state.message.contains("was not made by chathooks"), "{}", state.message);
    assert_eq!(function(platform, &id).await.unwrap()["name"], json!("mine"));
}

//! What the relay sends, and what it does while nobody takes it.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use chathooks::platform::open_webui::Keeper;
use serde_json::json;

use super::{GATE, events, hello, hellos, installed, owner, relayed};
use crate::support::eventually;
use crate::support::open_webui::{OpenWebUi, environment, shared};
use crate::support::receiver::Receiver;

fn titles(receiver: &Receiver) -> BTreeSet<String> {
    let titled = events(receiver).into_iter().filter(|event| event["event"] == "note.created");
    titled.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_sign_up_arrives_signed_and_hints_come_unasked() {
    let platform = shared().await;
    let receiver = Receiver::start().await;
    let plan = relayed(platform, "signup", &receiver, &["user.*"]);
    let config = installed(&Keeper::new().sync(&plan, &owner("signup"), &GATE).await);
    let first = hello(&receiver, "a hello", |hello| hello["relay"]["config"] == json!(config)).await;
    assert_eq!((&first["relay"]["state"], &first["relay"]["dropped"]), (&json!("Active"), &json!(0)));
    assert_eq!(first["relay"]["platformVersion"], json!("0.12.4"));

    platform.add_user("ada").await;
    platform.make_note("not subscribed").await;
    let created = eventually("the sign-up arrives", async || {
        events(&receiver).into_iter().find(|event| event["event"] == "user.created")
    })
    .await;
    assert_eq!(created["actor"]["role"], json!("admin"));
    assert!(created["id"].is_string() && created["schema"] == json!("0.12.4"));

    platform.set("ui.default_user_role", json!("pending")).await;
    let hint = json!({"event": "config.imported", "subject": "import"});
    hello(&receiver, "a hint", |hello| hello["hints"].as_array().unwrap().contains(&hint)).await;
    assert!(events(&receiver).iter().all(|event| event["resource"] == "user"), "only what is subscribed");
}

#[tokio::test]
async fn a_receiver_that_is_away_for_a_while_gets_everything_once_it_is_back() {
    let platform = shared().await;
    let receiver = Receiver::start().await;
    let plan = relayed(platform, "away", &receiver, &["note.created"]);
    installed(&Keeper::new().sync(&plan, &owner("away"), &GATE).await);
    hello(&receiver, "a hello", |_| true).await;
    receiver.answer(|_, _| (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO));
    for n in 0..120 {
        platform.make_note(&format!("away {n}")).await;
    }
    let tried = receiver.received().len();
    assert!(tried < 60, "it backs off: {tried} requests");
    let kept = platform.data.path().join("chathooks-relay").join(super::id("away"));
    assert!(kept.exists(), "what cannot be sent is in files");
    receiver.answer(|received, _| {
        let status = if received.path == "/v1/events" { StatusCode::ACCEPTED } else { StatusCode::OK };
        (status, Duration::ZERO)
    });
    eventually("all of them arrive", async || (titles(&receiver).len() >= 120).then_some(())).await;
}

#[tokio::test]
async fn an_event_that_is_refused_for_good_holds_nothing_back() {
    let platform = shared().await;
    let receiver = Receiver::start().await;
    let plan = relayed(platform, "refused", &receiver, &["function.valves_updated", "group.created"]);
    installed(&Keeper::new().sync(&plan, &owner("refused"), &GATE).await);
    hello(&receiver, "a hello", |_| true).await;
    receiver.answer(|received, _| {
        let bad =
            received.path == "/v1/events" && String::from_utf8_lossy(&received.body).contains("bad one");
        (if bad { StatusCode::BAD_REQUEST } else { StatusCode::OK }, Duration::ZERO)
    });
    for name in ["good one", "bad one", "good two"] {
        platform.ok("POST", "/api/v1/groups/create", &json!({"name": name, "description": ""})).await;
    }
    eventually("the last one arrives", async || {
        events(&receiver).iter().any(|event| event["data"]["name"] == "good two").then_some(())
    })
    .await;
    platform.set("ui.default_user_role", json!("pending")).await;
    hello(&receiver, "the drop is told", |hello| hello["relay"]["dropped"] == json!(1)).await;
}

/// Two processes on one database; both are killed while nobody takes their events, and started again.
#[tokio::test]
async fn several_workers_and_what_a_killed_one_leaves() {
    let mut platform = OpenWebUi::new();
    platform.start(&[("UVICORN_WORKERS", "2")]).await;
    platform.make_key().await;
    let receiver = Receiver::start().await;
    let plan = relayed(&platform, "workers", &receiver, &["note.created"]);
    let config = installed(&Keeper::new().sync(&plan, &owner("workers"), &GATE).await);
    let workers = |receiver: &Receiver| -> BTreeSet<String> {
        let active = hellos(receiver).into_iter().filter(|hello| hello["relay"]["config"] == json!(config));
        active.map(|hello| hello["relay"]["worker"].as_str().unwrap().to_owned()).collect()
    };
    let mut made = 0;
    eventually("both workers say hello", async || {
        platform.make_note("for a hello").await;
        made += 1;
        (workers(&receiver).len() == 2).then_some(())
    })
    .await;
    eventually("what both sent arrives", async || (titles(&receiver).len() == made).then_some(())).await;

    receiver.answer(|_, _| (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO));
    for n in 0..20 {
        platform.make_note(&format!("left {n}")).await;
    }
    let folder = platform.data.path().join("chathooks-relay");
    let spilled = || {
        let mut events = 0;
        for entry in walk(&folder) {
            events += std::fs::read_to_string(entry).unwrap_or_default().lines().count();
        }
        events
    };
    eventually("they are in files", async || (spilled() >= 20).then_some(())).await;
    platform.kill().await;
    receiver.answer(|_, _| (StatusCode::OK, Duration::ZERO));
    platform.start(&[]).await;
    eventually("what was left arrives", async || (titles(&receiver).len() == made + 20).then_some(())).await;
    eventually("the files are gone", async || (spilled() == 0).then_some(())).await;
    platform.stop().await;
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// What takes too long or too much to reach through a platform.
#[test]
fn the_relay_keeps_its_bounds() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = std::process::Command::new(format!("{}/bin/python", environment()))
        .arg("-B")
        .arg(root.join("tests/scripts/relay_bounds.py"))
        .arg(root.join("src/platform/open_webui/relay.py"))
        .env("DATA_DIR", tempfile::tempdir().unwrap().path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

//! A thousand subscriptions on one instance.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::json;

use super::{Bench, create, secret, subscription};
use crate::support::cluster::{ControlPlane, PATIENCE, condition, wait_for};

const MANY: usize = 1000;

/// Longest that all of them may take on a machine that does other things too.
const ALL: Duration = Duration::from_mins(3);

/// Writes that the operator may make for each: its status when it is seen, served, and one to spare.
const WRITES_EACH: usize = 3;

/// Writes for the instance: children, pieces of the plan as subscriptions come in, its own status.
const WRITES_ELSE: usize = 800;

/// How long nothing may happen, once everything has settled.
const STILL: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_thousand_subscriptions_become_ready_and_then_cost_nothing() {
    let plane = ControlPlane::shared().await;
    let bench = Bench::new(plane).await;
    let operator = bench.installation.start("only").await;
    let user = bench.installation.user();
    bench.chat().await;
    let key = json!({"current": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="});
    secret(&bench.client, &bench.namespace, "signing", key).await;
    let mark = plane.audit().mark();
    let begun = Instant::now();
    let api = bench.subscriptions();
    stream::iter(0..MANY)
        .for_each_concurrent(16, async |number| {
            let name = format!("s-{number}");
            let mut object = subscription(&name, &bench.receiver.url(&format!("/{name}")));
            // Every tenth wants a secret of its own.
            object["spec"]["signing"] = match number % 10 {
                0 => json!({}),
                _ => json!({"secretRefs": [{"name": "signing", "key": "current"}]}),
            };
            object["spec"]["events"] = json!([if number == 0 { "chat.finished" } else { "auth.login" }]);
            create(&api, object).await;
        })
        .await;
    let made = begun.elapsed();
    wait_for("all of them are Ready", ALL, async || {
        let list = api.list(&ListParams::default()).await.ok()?;
        let ready = |one: &kube::api::DynamicObject| {
            let object = serde_json::to_value(one).unwrap();
            condition(&object, "Ready").is_some_and(|ready| ready["status"] == "True")
        };
        // Asking for all of them keeps the API server busy too.
        tokio::time::sleep(Duration::from_secs(2)).await;
        list.items.iter().all(ready).then_some(())
    })
    .await;
    eprintln!("{MANY} subscriptions: made in {made:?}, all Ready after {:?}", begun.elapsed());

    let settled = wait_for("writes end", PATIENCE, async || {
        let before = plane.audit().writes(mark, &user);
        tokio::time::sleep(STILL).await;
        (plane.audit().writes(mark, &user) == before).then_some(before)
    })
    .await;
    eprintln!("writes: {settled:?}; resident: {} MiB", operator.resident_kib() / 1024);
    eprintln!("{}", counters(&operator.get("metrics").await.unwrap()));
    let total: usize = settled.values().sum();
    assert!(total <= MANY * WRITES_EACH + WRITES_ELSE, "{total} writes: {settled:?}");
    assert_eq!(plane.audit().forbidden(mark, &user), Vec::<String>::new());

    let mark = plane.audit().mark();
    let begun = Instant::now();
    let changed = bench.change("s-1", &json!({"spec": {"events": ["chat.finished"]}})).await.unwrap();
    wait_for("the change is served", PATIENCE, async || {
        let object = serde_json::to_value(api.get(&changed.name_any()).await.ok()?).unwrap();
        let ready = condition(&object, "Ready")?.clone();
        (ready["status"] == "True" && ready["observedGeneration"] == json!(changed.metadata.generation))
            .then_some(())
    })
    .await;
    eprintln!("one more change -> Ready: {:?}", begun.elapsed());
    bench.post("event").await;
    for name in ["s-0", "s-1"] {
        bench.delivered(name, &["event".to_owned()]).await;
    }
    tokio::time::sleep(STILL).await;
    let writes = plane.audit().writes(mark, &user);
    // One piece of the plan and one status; Delivering of the two that delivered for the first time.
    let most = BTreeMap::from([
        ("patch secrets", 1),
        ("patch webhooksubscriptions/status", 6),
        ("create events", 4),
        ("patch events", 4),
    ]);
    for (what, count) in &writes {
        assert!(most.get(what.as_str()).is_some_and(|most| count <= most), "{writes:?}");
    }
}

fn counters(metrics: &str) -> String {
    metrics.lines().filter(|line| line.starts_with("chathooks_operator_")).collect::<Vec<_>>().join("\n")
}

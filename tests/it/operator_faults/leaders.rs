//! Two operators: one leads, the other takes over, and never do both write.

use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{Bench, is_leading};
use crate::support::cluster::audit::{Mark, Request};
use crate::support::cluster::{ControlPlane, PATIENCE, wait_for};

/// Subscriptions that change all the time.
const BUSY: usize = 8;

/// Keeps the leader writing: every change of a subscription is a new plan and a new status.
fn keep_busy(bench: &Bench) -> JoinHandle<()> {
    let api = bench.subscriptions();
    tokio::spawn(async move {
        for round in 0_u32.. {
            for number in 0..BUSY {
                let patch =
                    kube::api::Patch::Merge(json!({"spec": {"events": [format!("chat.round{round}")]}}));
                let _ =
                    api.patch(&format!("busy-{number}"), &kube::api::PatchParams::default(), &patch).await;
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    })
}

async fn busy(bench: &Bench) -> JoinHandle<()> {
    bench.chat().await;
    for number in 0..BUSY {
        bench.subscribe(&format!("busy-{number}")).await;
    }
    bench.ready("busy-0").await;
    keep_busy(bench)
}

/// Writes of the operators in the order in which they were answered; with `leases`, of the Lease, and else of the rest.
fn writes(bench: &Bench, plane: &ControlPlane, mark: Mark, leases: bool) -> Vec<Request> {
    let all = plane.audit().requests(mark, &bench.installation.user());
    let mut writes: Vec<Request> =
        all.into_iter().filter(|one| one.is_write() && (one.resource == "leases") == leases).collect();
    writes.sort_by_key(|one| one.answered);
    writes
}

fn identity(request: &Request) -> &str {
    let (_, rest) =
        request.user_agent.split_once('(').unwrap_or_else(|| panic!("{request:?} names no replica"));
    rest.trim_end_matches(')')
}

/// Every write reached the API server and was answered while the last to write the Lease was who wrote.
fn assert_one_writer(bench: &Bench, plane: &ControlPlane, mark: Mark) {
    let terms: Vec<(Timestamp, String)> =
        writes(bench, plane, mark, true).iter().map(|one| (one.answered, identity(one).to_owned())).collect();
    let leader_at =
        |moment: Timestamp| terms.iter().rfind(|(since, _)| *since <= moment).map(|(_, who)| who.as_str());
    let all = writes(bench, plane, mark, false);
    assert!(all.len() > 20, "only {} writes: there is nothing to see here", all.len());
    for write in &all {
        for moment in [write.received, write.answered] {
            assert_eq!(
                leader_at(moment),
                Some(identity(write)),
                "who led at {moment}? {write:?}; terms: {terms:#?}"
            );
        }
    }
}

/// Waits until a replica has written something since `mark`.
async fn writes_again(bench: &Bench, plane: &ControlPlane, mark: Mark, who: &str) {
    wait_for(&format!("{who} writes"), PATIENCE, async || {
        writes(bench, plane, mark, false).iter().any(|one| identity(one) == who).then_some(())
    })
    .await;
}

#[tokio::test]
async fn whoever_leads_hands_over_and_is_followed_when_killed() {
    let plane = ControlPlane::shared().await;
    let bench = Bench::new(plane).await;
    let mark = plane.audit().mark();
    let mut first = bench.installation.start("first").await;
    bench.leads("first").await;
    let mut second = bench.installation.start("second").await;
    let busy = busy(&bench).await;

    // A follower watches, is ready, and counts what it does.
    wait_for("the follower is ready", PATIENCE, async || second.is_ready().await.then_some(())).await;
    assert_eq!(second.get("livez").await.unwrap(), "ok\n");
    assert!(is_leading(&first).await && !is_leading(&second).await);
    for step in ["apply a plan Secret", "write the status", "apply a StatefulSet"] {
        let series = format!("chathooks_operator_writes_total{{step=\"{step}\"}}");
        assert!(first.metric(&series).await > 0, "{step}: {:?}", first.get("metrics").await);
        assert_eq!(second.metric(&series).await, 0, "{step}");
    }
    for kind in ["ChatInstance", "WebhookSubscription"] {
        for count in ["enqueued", "reconciled"] {
            let series = format!("chathooks_operator_{count}_total{{kind=\"{kind}\"}}");
            assert!(first.metric(&series).await > 0, "{series}: {:?}", first.get("metrics").await);
        }
    }

    let told = plane.audit().mark();
    let begun = Instant::now();
    assert!(first.terminate().await, "{}", first.log());
    bench.leads("second").await;
    eprintln!("SIGTERM -> the other leads: {:?}", begun.elapsed());
    writes_again(&bench, plane, told, "second").await;
    eprintln!("SIGTERM -> the other writes: {:?}", begun.elapsed());

    let third = bench.installation.start("third").await;
    wait_for("the third is ready", PATIENCE, async || third.is_ready().await.then_some(())).await;
    let killed = plane.audit().mark();
    let begun = Instant::now();
    second.kill();
    writes_again(&bench, plane, killed, "third").await;
    eprintln!("SIGKILL -> the other writes: {:?}", begun.elapsed());
    busy.abort();
    assert_one_writer(&bench, plane, mark);
}

#[tokio::test]
async fn a_leader_that_was_paused_does_not_write_when_it_wakes() {
    let plane = ControlPlane::shared().await;
    let bench = Bench::new(plane).await;
    let mark = plane.audit().mark();
    let mut first = bench.installation.start("first").await;
    bench.leads("first").await;
    let _second = bench.installation.start("second").await;
    let busy = busy(&bench).await;

    let paused = plane.audit().mark();
    first.pause();
    let begun = Instant::now();
    writes_again(&bench, plane, paused, "second").await;
    eprintln!("SIGSTOP -> the other writes: {:?}", begun.elapsed());
    let woken = plane.audit().mark();
    first.resume();
    wait_for("the woken one knows", PATIENCE, async || (!is_leading(&first).await).then_some(())).await;
    // It has looked at the Lease again, and the other has gone on meanwhile.
    for _ in 0..3 {
        writes_again(&bench, plane, plane.audit().mark(), "second").await;
    }
    busy.abort();
    let written: Vec<Request> =
        writes(&bench, plane, woken, false).into_iter().filter(|one| identity(one) == "first").collect();
    assert!(written.is_empty(), "{written:#?}");
    assert!(first.is_running() && first.is_ready().await);
    assert_eq!(bench.holder().await.as_deref(), Some("second"));
    assert_one_writer(&bench, plane, mark);
}

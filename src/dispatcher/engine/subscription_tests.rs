//! The state machine of a subscription, step by step.

use super::*;
use crate::plan::model::{HttpTargetPlan, MatchPlan, SensitiveText};

fn plan() -> SubscriptionPlan {
    SubscriptionPlan {
        identity: "ai/s".to_owned(),
        namespace: "ai".to_owned(),
        name: "s".to_owned(),
        generation: 1,
        paused: None,
        rejected: false,
        suspended: false,
        rules: MatchPlan { events: vec!["*".to_owned()], exclude: vec![], equals: vec![], expression: None },
        target: None,
        signing_keys: vec![],
        timeout_ms: 1_000,
        retry_schedule_ms: vec![100, 1_000],
        retry_jitter_percent: 0,
        concurrency: 2,
        backlog_max_age_ms: 10_000,
        backlog_max_bytes: 100_000,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as a plan has it")]
fn target() -> Option<Arc<HttpTarget>> {
    let plan = HttpTargetPlan {
        url: SensitiveText("http://receiver.example.com/".to_owned()),
        method: "POST".to_owned(),
        headers: vec![],
    };
    Some(Arc::new(HttpTarget::new(&plan, &[]).unwrap()))
}

fn recorder() -> Arc<ClientRecorder> {
    crate::metrics::Metrics::new("").client("ai", "s")
}

fn with(plan: SubscriptionPlan) -> Subscription {
    Subscription::new(Arc::new(plan), target(), 1, recorder())
}

fn arrive(subscription: &mut Subscription, positions: impl IntoIterator<Item = Seq>) {
    for seq in positions {
        subscription.enqueue(Arrival { seq, bytes: 100, appended_ms: seq });
    }
}

fn failure() -> Outcome {
    Outcome::Failed(Failure { reason: "HttpError", status: Some(500), ..Failure::default() })
}

/// The moment that `ms` stands for, by both clocks.
fn at(ms: u64) -> (Instant, u64) {
    static BEGUN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    (*BEGUN.get_or_init(Instant::now) + Duration::from_millis(ms), ms)
}

fn complete(s: &mut Subscription, seq: Seq, outcome: Outcome, ms: u64) -> Next {
    s.complete(seq, s.spec, outcome, at(ms), 0.5)
}

/// Begins what can begin and returns the positions.
fn begin_all(subscription: &mut Subscription) -> Vec<Seq> {
    subscription.refill();
    let mut begun = Vec::new();
    while let Some((seq, _)) = subscription.peek_ready() {
        subscription.begin();
        begun.push(seq);
    }
    begun
}

/// A new subscription from what the other has committed so far.
fn restart_at(
    (now, now_ms): (Instant, u64),
    subscription: &mut Subscription,
    committed: &mut std::collections::BTreeMap<Vec<u8>, Vec<u8>>,
) -> Subscription {
    let mut deltas = Vec::new();
    subscription.take_changes(&mut deltas);
    for delta in deltas {
        match delta {
            Delta::Put(key, value) => committed.insert(key, value),
            Delta::Delete(key) => committed.remove(&key),
        };
    }
    let (_, mut stored, unknown) = journal::read(committed.clone().into_iter().collect());
    assert_eq!(unknown, 0);
    let mut restored = Subscription::new(Arc::clone(&subscription.plan), target(), 999, recorder());
    restored.restore(stored.remove("ai/s").unwrap(), now, now_ms);
    restored
}

#[test]
fn concurrency_bounds_what_is_under_way() {
    let mut s = with(plan());
    arrive(&mut s, 1..=5);
    assert_eq!(begin_all(&mut s), [1, 2]);
    assert_eq!(complete(&mut s, 1, Outcome::Delivered(204), 0), Next::Nothing);
    assert_eq!(begin_all(&mut s), [3]);
    assert_eq!(s.pending(), 4);
}

#[test]
fn attempts_are_one_more_than_steps_then_a_dead_letter() {
    let mut s = with(plan());
    arrive(&mut s, [1]);
    for (now, due) in [(0, 100), (100, 1_100)] {
        assert_eq!(begin_all(&mut s), [1]);
        assert_eq!(complete(&mut s, 1, failure(), now), Next::Retry);
        assert_eq!(s.next_due(), Some(at(due).0));
        s.fire_timers(at(due - 1).0);
        assert_eq!(begin_all(&mut s), Vec::<Seq>::new());
        s.fire_timers(at(due).0);
    }
    assert_eq!(begin_all(&mut s), [1]);
    assert!(matches!(complete(&mut s, 1, failure(), 0), Next::DeadLetter(_)));
    assert_eq!(begin_all(&mut s), Vec::<Seq>::new());
    s.finish_dead_letter(1, true, at(0), Duration::ZERO);
    assert_eq!(
        (s.pending(), s.counters.dead_lettered, s.counters.failed_attempts, s.in_flight),
        (0, 1, 3, 0)
    );
}

#[test]
fn a_dead_letter_that_cannot_be_written_is_not_lost() {
    let mut s = with(SubscriptionPlan { retry_schedule_ms: vec![], ..plan() });
    arrive(&mut s, [1]);
    begin_all(&mut s);
    assert!(matches!(complete(&mut s, 1, failure(), 0), Next::DeadLetter(_)));
    s.finish_dead_letter(1, false, at(0), Duration::from_secs(5));
    assert_eq!((s.pending(), s.counters.dead_lettered, s.in_flight), (1, 0, 0));
    s.fire_timers(at(5_000).0);
    assert_eq!(begin_all(&mut s), [1]);
}

#[test]
fn suspended_events_wait_in_runs_and_are_delivered_in_order_on_resume() {
    let mut s = with(SubscriptionPlan { suspended: true, backlog_max_age_ms: 3_600_000, ..plan() });
    arrive(&mut s, (1..=600).chain(700..=702));
    assert_eq!(begin_all(&mut s), Vec::<Seq>::new());
    assert_eq!(s.waiting.len(), 4, "runs of 256, 256, 88 and 3");
    assert_eq!((s.pending(), s.counters.matched), (603, 603));
    s.replan(Arc::new(SubscriptionPlan { generation: 2, ..plan() }), target());
    let mut order = Vec::new();
    loop {
        let begun = begin_all(&mut s);
        if begun.is_empty() {
            break;
        }
        for seq in begun {
            complete(&mut s, seq, Outcome::Delivered(204), 0);
            order.push(seq);
        }
    }
    assert_eq!(order, (1..=600).chain(700..=702).collect::<Vec<_>>());
    assert_eq!((s.waiting_bytes, s.open_bytes, s.pending()), (0, 0, 0));
}

#[test]
fn what_is_open_is_bounded() {
    let mut s = with(SubscriptionPlan { backlog_max_bytes: u64::MAX, ..plan() });
    arrive(&mut s, 1..=MAX_OPEN as u64 + 500);
    assert_eq!(s.open.len(), MAX_OPEN);
    assert_eq!(s.pending(), MAX_OPEN as u64 + 500);
}

#[test]
fn everything_comes_back_after_a_restart() {
    let mut committed = std::collections::BTreeMap::new();
    let mut s = with(plan());
    arrive(&mut s, 1..=3);
    begin_all(&mut s);
    complete(&mut s, 1, Outcome::Delivered(204), 0);
    assert_eq!(complete(&mut s, 2, failure(), 7_000), Next::Retry);
    let mut restored = restart_at(at(7_000), &mut s, &mut committed);
    assert_eq!(restored.start, 1);
    assert_eq!(restored.counters.delivered, 1);
    restored.fire_timers(at(7_000).0);
    assert_eq!(begin_all(&mut restored), [3], "2 is due in 100 ms");
    restored.fire_timers(at(7_100).0);
    assert_eq!(begin_all(&mut restored), [2]);
    assert_eq!(complete(&mut restored, 2, failure(), 0), Next::Retry, "attempts are kept");
    complete(&mut restored, 3, Outcome::Delivered(204), 0);
    let again = restart_at(at(7_000), &mut restored, &mut committed);
    assert_eq!(again.pending(), 1);
    assert_eq!(committed.len(), 2, "the record and one open delivery");
}

#[test]
fn a_clock_that_jumped_does_not_strand_a_retry() {
    let mut committed = std::collections::BTreeMap::new();
    let mut s = with(plan());
    arrive(&mut s, [1]);
    begin_all(&mut s);
    complete(&mut s, 1, failure(), 1_000_000_000);
    let restored = restart_at(at(500), &mut s, &mut committed);
    assert_eq!(restored.next_due(), Some(at(600).0), "no longer than the pause it was given");
}

#[test]
fn waiting_events_come_back_and_leave_no_trace_when_done() {
    let mut committed = std::collections::BTreeMap::new();
    let mut s = with(SubscriptionPlan { suspended: true, ..plan() });
    arrive(&mut s, 1..=10);
    let mut s = restart_at(at(7_000), &mut s, &mut committed);
    s.replan(Arc::new(plan()), target());
    for _ in 0..10 {
        s.fire_timers(at(7_000).0);
        for seq in begin_all(&mut s) {
            complete(&mut s, seq, Outcome::Delivered(204), 0);
        }
        s = restart_at(at(7_000), &mut s, &mut committed);
    }
    assert_eq!((s.pending(), s.counters.delivered), (0, 10));
    assert_eq!(committed.len(), 1);
}

#[test]
fn the_oldest_expire_by_bytes_and_by_age() {
    let mut s = with(SubscriptionPlan { backlog_max_bytes: 1_000, ..plan() });
    arrive(&mut s, 1..=4);
    begin_all(&mut s);
    arrive(&mut s, 5..=15);
    assert_eq!(s.expire(20), 5, "1,000 bytes hold ten of 100; those under way are left alone");
    assert_eq!(s.open.keys().copied().collect::<Vec<_>>(), [1, 2, 8, 9, 10, 11, 12, 13, 14, 15]);
    complete(&mut s, 1, Outcome::Delivered(204), 0);
    complete(&mut s, 2, failure(), 0);
    assert_eq!(s.expire(10_012), 5, "2 and what is older than ten seconds");
    assert_eq!(s.counters.expired, 10);
}

#[test]
fn waiting_events_expire_too() {
    let mut s = with(SubscriptionPlan { suspended: true, backlog_max_bytes: 1_000, ..plan() });
    arrive(&mut s, 1..=300);
    assert_eq!(s.expire(300), 290);
    assert_eq!(s.pending(), 10);
    let mut needed = Vec::new();
    s.needed(&mut needed);
    assert_eq!(needed.into_iter().flatten().collect::<Vec<_>>(), (291..=300).collect::<Vec<_>>());
}

#[test]
fn gone_stops_without_using_up_attempts() {
    let mut s = with(plan());
    arrive(&mut s, 1..=3);
    begin_all(&mut s);
    complete(&mut s, 1, Outcome::Gone(Failure::default()), 0);
    complete(&mut s, 2, failure(), 0);
    assert_eq!(begin_all(&mut s), Vec::<Seq>::new());
    assert_eq!(s.pending(), 3);
    s.replan(Arc::new(SubscriptionPlan { generation: 2, ..plan() }), target());
    assert_eq!(begin_all(&mut s), Vec::<Seq>::new(), "nothing has changed but the number");
    s.replan(Arc::new(SubscriptionPlan { timeout_ms: 2_000, ..plan() }), target());
    assert_eq!(begin_all(&mut s), [1, 3]);
    let old = Subscription::new(Arc::new(plan()), target(), 1, recorder()).spec;
    s.complete(1, old, Outcome::Gone(Failure::default()), at(0), 0.5);
    assert!(s.deliverable(), "an answer to what the spec said before stops nothing");
}

#[test]
fn gone_is_known_after_a_restart() {
    let mut committed = std::collections::BTreeMap::new();
    let mut s = with(plan());
    arrive(&mut s, [1]);
    begin_all(&mut s);
    complete(&mut s, 1, Outcome::Gone(Failure::default()), 0);
    let restored = restart_at(at(0), &mut s, &mut committed);
    assert!(!restored.deliverable());
    assert_eq!(restored.health.as_ref().map(|health| health.reason.as_str()), Some("Gone"));
}

#[test]
fn a_rejected_spec_pauses_and_changes_nothing_else() {
    let mut s = with(SubscriptionPlan { backlog_max_bytes: 5_000, ..plan() });
    arrive(&mut s, 1..=30);
    let rejected = SubscriptionPlan {
        paused: Some("bad".to_owned()),
        rejected: true,
        backlog_max_bytes: 100,
        generation: 2,
        ..plan()
    };
    s.replan(Arc::new(rejected.clone()), None);
    assert_eq!((s.expire(30), s.pending(), s.deliverable()), (0, 30, false));
    let mut committed = std::collections::BTreeMap::new();
    s.plan = Arc::new(SubscriptionPlan { backlog_max_bytes: 5_000, ..rejected });
    let mut restored = restart_at(at(30), &mut s, &mut committed);
    assert_eq!(restored.expire(30), 0, "the bounds last in force are on record");
}

#[test]
fn events_far_apart_expire_one_by_one() {
    let mut s = with(SubscriptionPlan { suspended: true, ..plan() });
    for seq in 1..=10 {
        s.enqueue(Arrival { seq, bytes: 100, appended_ms: seq * 1_000 });
    }
    assert_eq!((s.expire(13_500), s.pending()), (3, 7));
}

#[test]
fn a_run_that_was_read_in_part_keeps_its_rest() {
    let mut s = with(SubscriptionPlan { paused: Some("bad".to_owned()), ..plan() });
    arrive(&mut s, 1..=100);
    s.replan(Arc::new(SubscriptionPlan { generation: 2, ..plan() }), target());
    s.refill_matched(vec![], 61);
    assert_eq!((s.pending(), s.next_loose_run()), (40, Some((61, 40))));
}

#[test]
fn retries_of_expired_events_leave_no_timer() {
    let mut s = with(plan());
    arrive(&mut s, [1]);
    begin_all(&mut s);
    complete(&mut s, 1, failure(), 0);
    assert_eq!(s.expire(100_000), 1);
    assert_eq!(s.next_due(), None);
}

#[test]
fn events_of_a_paused_subscription_are_matched_again() {
    let mut s = with(SubscriptionPlan { paused: Some("bad".to_owned()), ..plan() });
    arrive(&mut s, 1..=3);
    assert_eq!((s.pending(), s.counters.matched), (3, 0));
    s.replan(Arc::new(SubscriptionPlan { generation: 2, ..plan() }), target());
    assert_eq!(begin_all(&mut s), Vec::<Seq>::new());
    assert_eq!(s.next_loose_run(), Some((1, 3)));
    s.refill_matched(vec![Arrival { seq: 2, bytes: 100, appended_ms: 2 }], 4);
    assert_eq!(begin_all(&mut s), [2]);
    assert_eq!((s.pending(), s.counters.matched), (1, 1));
}

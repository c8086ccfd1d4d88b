//! The state of one subscription: what is open, what waits behind it, its counters and its limits.
//!
//! A state machine without IO: time and randomness come in, [`Delta`]s and decisions come out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::journal::{self, OpenRecord, RunRecord, SubscriptionRecord};
use crate::dispatcher::delivery::{Failure, Outcome};
use crate::dispatcher::retry;
use crate::dispatcher::snapshot::{Counters, Gauge, Health};
use crate::dispatcher::targets::http::HttpTarget;
use crate::event::digest;
use crate::log::{Delta, Seq};
use crate::metrics::ClientRecorder;
use crate::plan::model::SubscriptionPlan;

/// Open deliveries (being tried or waiting for a retry) a subscription may have; what comes after waits in runs,
/// which cost a few bytes however long they are.
pub(super) const MAX_OPEN: usize = 10_000;
/// Events in one run; it bounds how far the byte count of a partly used run can be off.
const MAX_RUN: u32 = 256;
/// Milliseconds one run may span, or a 64th of the backlog's age limit if that is less: it bounds how far the age of an
/// event in it can be off.
const MAX_RUN_SPAN_MS: u64 = 60_000;
/// Runs of one subscription; beyond them the oldest events expire. Where only every second event matches, each is a run
/// of its own.
const MAX_RUNS: usize = 100_000;

fn spec_digest(plan: &SubscriptionPlan) -> u64 {
    // A plan is plain data and always serialises; were it not so, all would be equal, which only delays a resume.
    let plan = SubscriptionPlan { generation: 0, paused: None, suspended: false, ..plan.clone() };
    let digest = digest(&[&serde_json::to_vec(&plan).unwrap_or_default()]);
    u128::from_be_bytes(digest) as u64
}

/// What a 410 means.
const WANTS_NO_MORE: &str =
    "It wants no more events: nothing is sent until the subscription's spec is changed.";

/// One subscription's state.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) plan: Arc<SubscriptionPlan>,
    pub(super) target: Option<Arc<HttpTarget>>,
    /// First position it may see: it was not there before.
    pub(super) start: Seq,
    pub(super) gauge: Arc<Gauge>,
    pub(super) recorder: Arc<ClientRecorder>,
    pub(super) in_flight: u32,
    /// In the engine's line for slots of the process.
    pub(super) starved: bool,
    counters: Counters,
    health: Option<Health>,
    /// Digest of what the plan says, generation apart: tells whether an answer is to what it says now.
    pub(super) spec: u64,
    /// The `spec` that was answered 410; nothing is sent until it changes.
    gone: Option<u64>,
    open: BTreeMap<Seq, Open>,
    ready: VecDeque<Seq>,
    /// When retries are due.
    timers: BTreeSet<(Instant, Seq)>,
    waiting: BTreeMap<Seq, Run>,
    open_bytes: u64,
    waiting_bytes: u64,
    waiting_events: u64,
    dirty_open: BTreeSet<Seq>,
    dirty_runs: BTreeSet<Seq>,
    dirty: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    record: OpenRecord,
    /// When it is due, while it waits for that.
    timer: Option<Instant>,
    in_flight: bool,
    persisted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    record: RunRecord,
    persisted: bool,
}

/// An event as the subscription counts it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) seq: Seq,
    pub(super) bytes: u32,
    pub(super) appended_ms: u64,
}

/// What is to be done after an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: delivered, or the subscription takes nothing any more.
    Nothing,
    /// It is tried again when it is due.
    Retry,
    /// All attempts are used up: copy it to the dead letters, then call `finish_dead_letter`.
    DeadLetter(Box<Failure>),
}

impl Subscription {
    pub(super) fn new(
        plan: Arc<SubscriptionPlan>,
        target: Option<Arc<HttpTarget>>,
        start: Seq,
        recorder: Arc<ClientRecorder>,
    ) -> Self {
        Self {
            spec: spec_digest(&plan),
            plan,
            target,
            start,
            gauge: Arc::default(),
            recorder,
            in_flight: 0,
            counters: Counters::default(),
            health: None,
            gone: None,
            open: BTreeMap::new(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            starved: false,
            waiting: BTreeMap::new(),
            open_bytes: 0,
            waiting_bytes: 0,
            waiting_events: 0,
            dirty_open: BTreeSet::new(),
            dirty_runs: BTreeSet::new(),
            dirty: true,
        }
    }

    /// Puts back what was committed. Retries are due as they were, but never later than their pause from now on: the
    /// wall clock may have jumped.
    pub(super) fn restore(&mut self, stored: journal::Stored, now: Instant, now_ms: u64) {
        if let Some(record) = stored.record {
            self.start = record.start;
            self.counters = record.counters;
            self.gone = record.gone.filter(|spec| *spec == self.spec);
            self.dirty = self.gone != record.gone;
            if self.plan.rejected
                && let Some((max_age, max_bytes)) = record.limits
            {
                let plan = Arc::make_mut(&mut self.plan);
                (plan.backlog_max_age_ms, plan.backlog_max_bytes) = (max_age, max_bytes);
            }
        }
        for (seq, record) in stored.open {
            self.open_bytes += u64::from(record.bytes);
            self.open.insert(seq, Open { record, timer: None, in_flight: false, persisted: true });
            let pause = record.due_ms.saturating_sub(now_ms).min(record.pause_ms);
            self.set_timer(seq, now + Duration::from_millis(pause));
        }
        for (start, record) in stored.waiting {
            self.waiting_bytes += record.bytes;
            self.waiting_events += u64::from(record.count);
            self.waiting.insert(start, Run { record, persisted: true });
        }
        if self.gone.is_some() {
            self.unhealthy("Gone", format!("The target answered HTTP 410. {WANTS_NO_MORE}"), now_ms);
        }
    }

    fn set_timer(&mut self, seq: Seq, due: Instant) {
        if let Some(open) = self.open.get_mut(&seq) {
            if let Some(before) = open.timer.replace(due) {
                self.timers.remove(&(before, seq));
            }
            self.timers.insert((due, seq));
        }
    }

    /// When the next retry is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Makes everything ready that is due.
    pub(super) fn fire_timers(&mut self, now: Instant) {
        while let Some((due, seq)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.pop_first();
            if let Some(open) = self.open.get_mut(&seq) {
                open.timer = None;
                self.ready.push_back(seq);
            }
        }
    }

    /// Takes a new plan for the same object. Of a rejected one only the pause counts: its rules and bounds are not what
    /// anyone asked for.
    pub(super) fn replan(&mut self, plan: Arc<SubscriptionPlan>, target: Option<Arc<HttpTarget>>) {
        self.dirty = true;
        if plan.rejected {
            let before = Arc::make_mut(&mut self.plan);
            before.generation = plan.generation;
            before.paused.clone_from(&plan.paused);
            before.rejected = true;
        } else {
            self.spec = spec_digest(&plan);
            self.gone = self.gone.filter(|spec| *spec == self.spec);
            self.plan = plan;
            self.target = target;
        }
    }

    /// Whether deliveries may begin (the instance may still say no).
    pub(super) fn deliverable(&self) -> bool {
        self.plan.paused.is_none() && !self.plan.suspended && self.gone.is_none() && self.target.is_some()
    }

    /// Takes in an event that matched.
    pub(super) fn enqueue(&mut self, arrival: Arrival) {
        let loose = self.plan.paused.is_some();
        if !loose {
            self.counters.matched += 1;
        }
        if self.deliverable() && self.waiting.is_empty() && self.open.len() < MAX_OPEN {
            self.open_now(arrival);
        } else {
            self.wait(arrival, loose);
        }
        self.dirty = true;
    }

    /// The filter failed on an event. Returns whether that should be told: ever more rarely, the more there are.
    pub(super) fn filter_failed(&mut self) -> bool {
        self.counters.filter_errors += 1;
        self.dirty = true;
        self.counters.filter_errors.is_power_of_two()
    }

    fn open_now(&mut self, arrival: Arrival) {
        let record = OpenRecord {
            attempts: 0,
            due_ms: 0,
            pause_ms: 0,
            bytes: arrival.bytes,
            appended_ms: arrival.appended_ms,
        };
        self.open.insert(arrival.seq, Open { record, timer: None, in_flight: false, persisted: false });
        self.open_bytes += u64::from(arrival.bytes);
        self.ready.push_back(arrival.seq);
        self.dirty_open.insert(arrival.seq);
    }

    fn wait(&mut self, arrival: Arrival, loose: bool) {
        self.waiting_bytes += u64::from(arrival.bytes);
        self.waiting_events += 1;
        if let Some((start, run)) = self.waiting.iter_mut().next_back()
            && start + u64::from(run.record.count) == arrival.seq
            && run.record.count < MAX_RUN
            && run.record.loose == loose
            && arrival.appended_ms.saturating_sub(run.record.first_ms)
                <= MAX_RUN_SPAN_MS.min(self.plan.backlog_max_age_ms / 64)
        {
            run.record.count += 1;
            run.record.bytes += u64::from(arrival.bytes);
            self.dirty_runs.insert(*start);
            return;
        }
        let record =
            RunRecord { count: 1, bytes: u64::from(arrival.bytes), first_ms: arrival.appended_ms, loose };
        self.waiting.insert(arrival.seq, Run { record, persisted: false });
        self.dirty_runs.insert(arrival.seq);
    }

    /// Whether waiting events should be opened now: enough are ready to keep every slot busy otherwise.
    pub(super) fn wants_refill(&self) -> bool {
        self.deliverable()
            && !self.waiting.is_empty()
            && self.open.len() < MAX_OPEN
            && self.ready.len() < self.plan.concurrency as usize
    }

    /// If the next waiting events were let in by looser rules than the current ones (the object was paused then):
    /// their first position and number. They must be matched again and given to [`Self::refill_matched`].
    pub(super) fn next_loose_run(&self) -> Option<(Seq, u32)> {
        let (start, run) = self.waiting.first_key_value()?;
        run.record.loose.then_some((*start, run.record.count))
    }

    /// Opens waiting events, oldest first, until every slot has one to follow.
    pub(super) fn refill(&mut self) {
        while self.wants_refill() && self.next_loose_run().is_none() {
            let Some((seq, bytes, appended_ms)) = self.take_waiting() else { break };
            self.open_now(Arrival { seq, bytes, appended_ms });
        }
        self.dirty = true;
    }

    /// Replaces what was read of the first waiting run, everything below `read_to`, by those events that match after all.
    pub(super) fn refill_matched(&mut self, matched: Vec<Arrival>, read_to: Seq) {
        if let Some((start, run)) = self.waiting.pop_first() {
            let read = read_to.saturating_sub(start).min(u64::from(run.record.count));
            let bytes = run.record.bytes * read / u64::from(run.record.count.max(1));
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
            self.waiting_events = self.waiting_events.saturating_sub(read);
            self.dirty_runs.insert(start);
            let rest = run.record.count - read as u32;
            if rest > 0 {
                let record = RunRecord { count: rest, bytes: run.record.bytes - bytes, ..run.record };
                self.waiting.insert(start + read, Run { record, persisted: false });
                self.dirty_runs.insert(start + read);
            }
        }
        for arrival in matched {
            self.counters.matched += 1;
            self.open_now(arrival);
        }
        self.dirty = true;
    }

    /// Takes the oldest waiting event out of its run. A run knows its bytes only in sum, so an event's are its share.
    fn take_waiting(&mut self) -> Option<(Seq, u32, u64)> {
        let (start, run) = self.waiting.pop_first()?;
        let bytes = run.record.bytes / u64::from(run.record.count.max(1));
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        self.waiting_events = self.waiting_events.saturating_sub(1);
        self.dirty_runs.insert(start);
        if run.record.count > 1 {
            let record =
                RunRecord { count: run.record.count - 1, bytes: run.record.bytes - bytes, ..run.record };
            self.waiting.insert(start + 1, Run { record, persisted: false });
            self.dirty_runs.insert(start + 1);
        }
        Some((start, bytes as u32, run.record.first_ms))
    }

    /// The next delivery to begin, if a slot is free.
    pub(super) fn peek_ready(&mut self) -> Option<(Seq, u32)> {
        if !self.deliverable() || self.in_flight >= self.plan.concurrency {
            return None;
        }
        while let Some(seq) = self.ready.front() {
            match self.open.get(seq) {
                Some(open) if !open.in_flight => return Some((*seq, open.record.bytes)),
                _ => self.ready.pop_front(),
            };
        }
        None
    }

    /// Begins the delivery that `peek_ready` named.
    pub(super) fn begin(&mut self) {
        if let Some(seq) = self.ready.pop_front()
            && let Some(open) = self.open.get_mut(&seq)
        {
            open.in_flight = true;
            self.in_flight += 1;
        }
    }

    /// Takes in what came of an attempt that was made for what `spec` stood for. `random` is uniform in `0.0..1.0`.
    pub(super) fn complete(
        &mut self,
        seq: Seq,
        spec: u64,
        outcome: Outcome,
        (now, now_ms): (Instant, u64),
        random: f64,
    ) -> Next {
        self.counters.attempts += 1;
        let again = self.open.get(&seq).is_some_and(|open| open.record.attempts > 0);
        self.counters.retried += u64::from(again);
        self.dirty = true;
        let failure = match outcome {
            Outcome::Delivered(_) => {
                self.counters.delivered += 1;
                self.healthy(now_ms);
                self.close(seq);
                return Next::Nothing;
            }
            Outcome::Gone(failure) if spec == self.spec => {
                self.gone = Some(spec);
                self.unhealthy("Gone", format!("{} {WANTS_NO_MORE}", failure.message), now_ms);
                self.counters.failed_attempts += 1;
                self.reopen(seq, 0, now_ms, Duration::ZERO);
                self.ready.push_front(seq);
                return Next::Nothing;
            }
            // An answer to what the spec said before says nothing of what it says now.
            Outcome::Gone(failure) | Outcome::Failed(failure) => failure,
        };
        self.counters.failed_attempts += 1;
        self.unhealthy(failure.reason, failure.message.clone(), now_ms);
        let failed = self.open.get(&seq).map_or(1, |open| open.record.attempts + 1);
        let pause = retry::pause(
            &self.plan.retry_schedule_ms,
            self.plan.retry_jitter_percent,
            failed,
            failure.retry_after,
            random,
        );
        if let Some(pause) = pause {
            self.reopen(seq, failed, now_ms, pause);
            self.set_timer(seq, now + pause);
            Next::Retry
        } else {
            Next::DeadLetter(Box::new(failure))
        }
    }

    /// The dead letter is written, or could not be and is tried again after `pause`.
    pub(super) fn finish_dead_letter(
        &mut self,
        seq: Seq,
        written: bool,
        (now, now_ms): (Instant, u64),
        pause: Duration,
    ) {
        if written {
            self.counters.dead_lettered += 1;
            if self.counters.dead_lettered.is_power_of_two() {
                tracing::warn!(
                    namespace = self.plan.namespace,
                    subscription = self.plan.name,
                    dead_lettered = self.counters.dead_lettered,
                    "events were given up after their last attempt and are kept as dead letters (told ever more rarely)"
                );
            }
            self.close(seq);
        } else {
            let attempts = self.open.get(&seq).map_or(0, |open| open.record.attempts);
            self.reopen(seq, attempts, now_ms, pause);
            self.set_timer(seq, now + pause);
        }
        self.dirty = true;
    }

    fn reopen(&mut self, seq: Seq, attempts: u32, now_ms: u64, pause: Duration) {
        if let Some(open) = self.open.get_mut(&seq) {
            open.record.attempts = open.record.attempts.max(attempts);
            open.record.pause_ms = pause.as_millis() as u64;
            open.record.due_ms = now_ms + open.record.pause_ms;
            open.in_flight = false;
            self.in_flight = self.in_flight.saturating_sub(1);
            self.dirty_open.insert(seq);
        }
    }

    fn close(&mut self, seq: Seq) {
        if let Some(open) = self.open.remove(&seq) {
            if let Some(due) = open.timer {
                self.timers.remove(&(due, seq));
            }
            self.open_bytes = self.open_bytes.saturating_sub(u64::from(open.record.bytes));
            if open.in_flight {
                self.in_flight = self.in_flight.saturating_sub(1);
            }
            if open.persisted {
                self.dirty_open.insert(seq);
            } else {
                self.dirty_open.remove(&seq);
            }
        }
    }

    fn healthy(&mut self, now_ms: u64) {
        if self.health.as_ref().is_none_or(|health| !health.ok) {
            if self.health.is_some() {
                tracing::info!(
                    namespace = self.plan.namespace,
                    subscription = self.plan.name,
                    "deliveries succeed again"
                );
            }
            self.set_health(Health {
                ok: true,
                reason: "Delivering".to_owned(),
                message: String::new(),
                since_ms: now_ms,
                failures: 0,
            });
        }
    }

    fn unhealthy(&mut self, reason: &str, message: String, now_ms: u64) {
        let before = self.health.as_ref().filter(|health| !health.ok);
        if before.is_none_or(|health| health.reason != reason) {
            tracing::warn!(
                namespace = self.plan.namespace,
                subscription = self.plan.name,
                reason,
                "a delivery failed: {message}"
            );
        }
        let health = Health {
            ok: false,
            since_ms: before.map_or(now_ms, |health| health.since_ms),
            failures: before.map_or(0, |health| health.failures).saturating_add(1),
            reason: reason.to_owned(),
            message,
        };
        self.set_health(health);
    }

    fn set_health(&mut self, health: Health) {
        self.gauge.publish_health(Some(health.clone()));
        self.health = Some(health);
    }

    /// Bytes of events that are not finished.
    pub(super) fn bytes(&self) -> u64 {
        self.open_bytes + self.waiting_bytes
    }

    /// Drops the oldest events beyond the backlog's limits; deliveries under way are left to end. Returns how many.
    pub(super) fn expire(&mut self, now_ms: u64) -> u64 {
        self.expire_beyond(now_ms, self.plan.backlog_max_bytes)
    }

    /// The same, with another bound of bytes.
    pub(super) fn expire_beyond(&mut self, now_ms: u64, max_bytes: u64) -> u64 {
        let too_old = now_ms.saturating_sub(self.plan.backlog_max_age_ms);
        let mut expired = 0;
        loop {
            let over = self.bytes() > max_bytes || self.waiting.len() > MAX_RUNS;
            let oldest_open = self.open.iter().find(|(_, open)| !open.in_flight);
            if let Some((seq, open)) = oldest_open {
                if !over && open.record.appended_ms >= too_old {
                    break;
                }
                self.close(*seq);
            } else if let Some((_, run)) = self.waiting.first_key_value() {
                if !over && run.record.first_ms >= too_old {
                    break;
                }
                if run.record.loose {
                    self.counters.matched += 1;
                }
                self.take_waiting();
            } else {
                break;
            }
            expired += 1;
        }
        while self.ready.front().is_some_and(|seq| !self.open.contains_key(seq)) {
            self.ready.pop_front();
        }
        self.counters.expired += expired;
        self.dirty |= expired > 0;
        expired
    }

    /// Events that are not finished.
    pub(super) fn pending(&self) -> u64 {
        self.open.len() as u64 + self.waiting_events
    }

    /// Positions it still needs.
    pub(super) fn needed(&self, into: &mut Vec<Range<Seq>>) {
        into.extend(self.open.keys().map(|seq| *seq..seq + 1));
        into.extend(self.waiting.iter().map(|(start, run)| *start..start + u64::from(run.record.count)));
    }

    /// Publishes the counters.
    pub(super) fn publish(&mut self) {
        self.counters.pending = self.pending();
        self.gauge.publish(&self.counters, u64::from(self.in_flight));
    }

    /// What changed since the last call, as state to commit.
    pub(super) fn take_changes(&mut self, deltas: &mut Vec<Delta>) {
        if !self.dirty {
            return;
        }
        self.dirty = false;
        let identity = &self.plan.identity;
        let record = SubscriptionRecord {
            start: self.start,
            counters: self.counters,
            gone: self.gone,
            limits: Some((self.plan.backlog_max_age_ms, self.plan.backlog_max_bytes)),
        };
        deltas.push(Delta::Put(journal::subscription_key(identity), record.encode()));
        for seq in std::mem::take(&mut self.dirty_open) {
            let key = journal::open_key(identity, seq);
            deltas.push(match self.open.get_mut(&seq) {
                Some(open) => {
                    open.persisted = true;
                    Delta::Put(key, open.record.encode())
                }
                None => Delta::Delete(key),
            });
        }
        for start in std::mem::take(&mut self.dirty_runs) {
            let key = journal::run_key(identity, start);
            match self.waiting.get_mut(&start) {
                Some(run) => {
                    run.persisted = true;
                    deltas.push(Delta::Put(key, run.record.encode()));
                }
                None => deltas.push(Delta::Delete(key)),
            }
        }
    }

    /// The changes that forget it.
    pub(super) fn forget(&self, deltas: &mut Vec<Delta>) {
        let identity = &self.plan.identity;
        deltas.push(Delta::Delete(journal::subscription_key(identity)));
        let open = self.open.keys().chain(&self.dirty_open).map(|seq| journal::open_key(identity, *seq));
        let runs =
            self.waiting.keys().chain(&self.dirty_runs).map(|start| journal::run_key(identity, *start));
        deltas.extend(open.chain(runs).map(Delta::Delete));
    }
}

#[cfg(test)]
#[path = "subscription_tests.rs"]
mod tests;

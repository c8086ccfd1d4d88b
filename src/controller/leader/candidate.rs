//! What one process may do with the Lease, from what it has seen of it. Pure: records and readings of the clock come in,
//! steps and drafts go out.
//!
//! The rules that keep two processes from leading at once:
//! - Another's Lease has expired when *this* process has seen no change of it for the `leaseDurationSeconds` it carries,
//!   on its own clock; timestamps in the record are for people.
//! - A write is guarded by the resourceVersion of the record the decision was made on.
//! - A term counts from before the write that won it was sent, and is shorter than the lease.
//! - `acquireTime` marks what this process took. A record with our identity and another mark is someone else's, except
//!   the first one we see: that is our predecessor's, which has ended or would not have left us its name.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use tokio::time::Instant;

use super::term::{Moment, Term};

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look at the Lease first.
    Look,
    /// Someone else holds it, or may.
    Wait,
    /// There is none: make it.
    Create,
    /// It is free or has expired: put our name on it.
    Take,
    /// It is ours: renew it.
    Renew,
}

/// One process that wants the Lease.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    lease: Duration,
    /// The `acquireTime` of what we took or are about to take.
    claim: Timestamp,
    seen: Option<Sight>,
    term: Option<Term>,
}

/// The record as last seen; `None` where there was none.
#[derive(Debug)]
struct Sight {
    record: Option<Lease>,
    since: Instant,
    /// How long after `since` it may be another's.
    wait: Duration,
}

impl Candidate {
    /// `lease` is what the record tells the others to wait, in whole seconds.
    pub(super) fn new(identity: String, lease: Duration, wall: Timestamp) -> Self {
        Self { identity, lease, claim: micros(wall), seen: None, term: None }
    }

    /// The term under way or past, `None` when it was lost.
    pub(super) fn term(&self) -> Option<Term> {
        self.term
    }

    /// Whether the last record seen was written by this process.
    pub(super) fn holds_record(&self) -> bool {
        matches!(&self.seen, Some(Sight { record: Some(record), .. }) if self.is_ours(record))
    }

    /// Takes in what a read returned. A record that is not ours ends the term at once, and so does its absence.
    pub(super) fn observe(&mut self, record: Option<Lease>, now: Moment, wall: Timestamp) {
        if self.seen.as_ref().is_some_and(|seen| version(seen.record.as_ref()) == version(record.as_ref())) {
            return;
        }
        let wait = self.wait_for(record.as_ref(), now);
        if !record.as_ref().is_some_and(|record| self.is_ours(record)) {
            self.term = None;
            // What we may have sent before was guarded by the version that is gone.
            self.claim = micros(wall);
        }
        self.seen = Some(Sight { record, since: now.clock, wait });
    }

    /// Takes in the answer to a successful write that was sent at `started`.
    pub(super) fn wrote(&mut self, record: Lease, started: Moment, now: Moment, term: Duration) {
        self.term = Some(Term::new(started, term));
        self.seen = Some(Sight { record: Some(record), since: now.clock, wait: Duration::ZERO });
    }

    /// Gives leadership up, before the record says so.
    pub(super) fn resign(&mut self) {
        self.term = None;
    }

    /// What to do now.
    pub(super) fn step(&self, now: Moment) -> Step {
        match &self.seen {
            None => Step::Look,
            Some(Sight { record: Some(record), .. }) if self.is_ours(record) => Step::Renew,
            Some(seen) if now.clock.saturating_duration_since(seen.since) < seen.wait => Step::Wait,
            Some(Sight { record: Some(_), .. }) => Step::Take,
            Some(Sight { record: None, .. }) => Step::Create,
        }
    }

    /// The record that names us, made from the one last seen.
    pub(super) fn draft(&self, namespace: &str, name: &str, wall: Timestamp) -> Lease {
        let mut lease = self.seen.as_ref().and_then(|seen| seen.record.clone()).unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            let before = spec.lease_transitions;
            spec.lease_transitions = Some(before.map_or(0, |count| count.saturating_add(1).max(0)));
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = Some(whole_seconds(self.lease));
        spec.acquire_time = Some(MicroTime(self.claim));
        spec.renew_time = Some(MicroTime(micros(wall)));
        lease
    }

    /// The record that names nobody; `None` if the last one seen is not ours to give.
    pub(super) fn release(&self, wall: Timestamp) -> Option<Lease> {
        let record = self.seen.as_ref()?.record.as_ref().filter(|record| self.is_ours(record))?;
        let mut lease = record.clone();
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(micros(wall)));
        Some(lease)
    }

    fn is_ours(&self, record: &Lease) -> bool {
        let spec = record.spec.as_ref();
        holder(record) == self.identity
            && spec.and_then(|spec| spec.acquire_time.as_ref()).is_some_and(|time| time.0 == self.claim)
    }

    /// How long a change that was just seen keeps us from writing.
    fn wait_for(&self, record: Option<&Lease>, now: Moment) -> Duration {
        match (&self.seen, record) {
            (_, Some(record)) if holder(record).is_empty() || self.is_ours(record) => Duration::ZERO,
            (None, Some(record)) if holder(record) == self.identity => Duration::ZERO,
            (_, Some(record)) => self.duration_of(record),
            (None | Some(Sight { record: None, .. }), None) => Duration::ZERO,
            // Deleted. Within our term nobody else can have held it; otherwise its holder learns of it a little later.
            (Some(Sight { record: Some(before), .. }), None) => {
                let was_ours =
                    self.is_ours(before) && self.term.is_some_and(|term| term.deadline(now).is_some());
                if was_ours || holder(before).is_empty() { Duration::ZERO } else { self.duration_of(before) }
            }
        }
    }

    /// What the record asks others to wait; ours where it does not say.
    fn duration_of(&self, record: &Lease) -> Duration {
        let seconds = record.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map_or(self.lease, Duration::from_secs)
    }
}

fn holder(record: &Lease) -> &str {
    let spec: Option<&LeaseSpec> = record.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// Every write changes the version, and a Lease made again has another.
fn version(record: Option<&Lease>) -> Option<&str> {
    record.map(|record| record.metadata.resource_version.as_deref().unwrap_or_default())
}

fn whole_seconds(duration: Duration) -> i32 {
    let rounded_up = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(rounded_up.max(1)).unwrap_or(i32::MAX)
}

/// As exact as the API keeps it.
fn micros(wall: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(wall.as_microsecond()).unwrap_or(wall)
}

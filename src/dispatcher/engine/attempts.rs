//! The tasks an engine starts: attempts and dead letters. Each reports exactly once, whatever happens to it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{READ_AGAIN, Slots, Storage, now_ms};
use crate::dispatcher::delivery::{self, Failure, Outcome};
use crate::dispatcher::targets::http::HttpTarget;
use crate::egress::EgressClient;
use crate::event::{Event, digest::digest};
use crate::log::{Appended, BatchMode, Entry, EventLog, LogError, NewRecord, Seq};
use crate::metrics::ClientRecorder;
use crate::plan::model::SubscriptionPlan;

/// Subscription and position.
pub(super) type DeliveryId = (u32, Seq);

/// What a task says when it ends.
#[derive(Debug)]
pub(super) enum Report {
    /// An attempt was made.
    Attempted { id: DeliveryId, spec: u64, outcome: Outcome },
    /// A dead letter was written, or not.
    DeadLetter { id: DeliveryId, written: bool },
}

/// A slot of the process's caps, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    bytes: u64,
}

impl Slot {
    pub(super) fn new(slots: Arc<Slots>, bytes: u64) -> Self {
        Self { slots, bytes }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.give_back(self.bytes);
    }
}

/// Everything one attempt needs.
pub(super) struct Attempt {
    pub(super) id: DeliveryId,
    /// What the subscription's plan stood for.
    pub(super) spec: u64,
    pub(super) events: Arc<dyn EventLog>,
    pub(super) client: EgressClient,
    pub(super) target: Arc<HttpTarget>,
    pub(super) timeout: Duration,
    pub(super) recorder: Arc<ClientRecorder>,
    pub(super) slot: Slot,
}

/// Makes one attempt in a task of its own.
pub(super) fn spawn(attempt: Attempt, reports: mpsc::Sender<Report>) {
    let Attempt { id, spec, events, client, target, timeout, recorder, slot } = attempt;
    tokio::spawn(async move {
        let attempt = async {
            match read(&*events, id.1).await {
                Ok(event) => {
                    let begun = Instant::now();
                    let outcome = delivery::attempt(&client, &target, &event, timeout).await;
                    record(&recorder, &target, &outcome, begun.elapsed());
                    outcome
                }
                Err(failure) => Outcome::Failed(failure),
            }
        };
        let outcome = AssertUnwindSafe(attempt).catch_unwind().await.unwrap_or_else(|_| {
            Outcome::Failed(Failure {
                reason: "InternalError",
                message: "The attempt ended with an internal error; the log has it.".to_owned(),
                ..Failure::default()
            })
        });
        drop(slot);
        // The engine outlives its tasks except when the process ends.
        let _ = reports.send(Report::Attempted { id, spec, outcome }).await;
    });
}

fn record(recorder: &ClientRecorder, target: &HttpTarget, outcome: &Outcome, took: Duration) {
    let (status, error) = match outcome {
        Outcome::Delivered(status) => (Some(*status), None),
        Outcome::Gone(failure) | Outcome::Failed(failure) => match failure.status {
            Some(status) => (Some(status), None),
            None => (None, Some(failure.reason)),
        },
    };
    recorder.observe(target.method().as_str(), status, error, took.as_secs_f64());
}

async fn read(events: &dyn EventLog, seq: Seq) -> Result<Event, Failure> {
    let problem = match get(events, seq).await {
        Ok(Some(entry)) => match Event::from_record(entry.payload) {
            Some(event) => return Ok(event),
            None => "The event's record is not readable by this version.".to_owned(),
        },
        Ok(None) => "The event is not in the log any more.".to_owned(),
        Err(error) => format!("The event could not be read: {error}."),
    };
    tracing::error!(seq, "{problem}");
    Err(Failure { reason: "EventUnreadable", message: problem, ..Failure::default() })
}

/// Reads a record, several times if the disk will not have it now.
async fn get(events: &dyn EventLog, seq: Seq) -> Result<Option<Entry>, LogError> {
    for _ in 1..READ_TRIES {
        match events.get(seq).await {
            Err(LogError::Unreadable { .. }) => tokio::time::sleep(READ_AGAIN).await,
            read => return read,
        }
    }
    events.get(seq).await
}

/// What is kept of a delivery that was given up. Version 1, JSON; the event's record follows in the same payload.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeadLetter<'a> {
    version: u32,
    namespace: &'a str,
    subscription: &'a str,
    seq: Seq,
    attempts: usize,
    dead_lettered_ms: u64,
    reason: &'a str,
    message: &'a str,
    status: Option<u16>,
    response: std::borrow::Cow<'a, str>,
}

/// Copies a delivery to the dead letters in a task of its own.
pub(super) fn spawn_dead_letter(
    id: DeliveryId,
    storage: Storage,
    plan: Arc<SubscriptionPlan>,
    failure: Box<Failure>,
    reports: mpsc::Sender<Report>,
) {
    tokio::spawn(async move {
        let write = write_dead_letter(id.1, &storage, &plan, &failure);
        let written = AssertUnwindSafe(write).catch_unwind().await.unwrap_or(false);
        let _ = reports.send(Report::DeadLetter { id, written }).await;
    });
}

async fn write_dead_letter(seq: Seq, storage: &Storage, plan: &SubscriptionPlan, failure: &Failure) -> bool {
    let record = match get(&*storage.events, seq).await {
        Ok(Some(entry)) => entry.payload,
        // Damaged for good: that there was one is kept.
        Ok(None) | Err(LogError::Corrupt { .. }) => bytes::Bytes::new(),
        Err(_) => return false,
    };
    let head = DeadLetter {
        version: 1,
        namespace: &plan.namespace,
        subscription: &plan.name,
        seq,
        attempts: plan.retry_schedule_ms.len() + 1,
        dead_lettered_ms: now_ms(),
        reason: failure.reason,
        message: &failure.message,
        status: failure.status,
        response: String::from_utf8_lossy(failure.response.get(..MAX_KEPT).unwrap_or(&failure.response)),
    };
    let Ok(head) = serde_json::to_vec(&head) else { return false };
    let mut payload = Vec::with_capacity(4 + head.len() + record.len());
    payload.extend((head.len() as u32).to_be_bytes());
    payload.extend(&head);
    payload.extend(&record);
    // The same delivery given up twice (after a crash) is one dead letter: only identity and position make the key.
    let key = digest(&[b"dead-letter", plan.identity.as_bytes(), &seq.to_be_bytes()]);
    let offered = NewRecord { key, body_hash: key, payload: payload.into() };
    match storage.dead_letters.append(vec![offered], BatchMode::Whole).await {
        Ok(verdicts) => !verdicts.contains(&Appended::Conflict),
        Err(error) => {
            tracing::error!(
                namespace = plan.namespace,
                subscription = plan.name,
                "a dead letter could not be kept and is tried again: {error}"
            );
            false
        }
    }
}

/// How often a record is asked for.
const READ_TRIES: u32 = 5;

/// Bytes of a response kept with a dead letter: what fits beside an event of any allowed size.
const MAX_KEPT: usize = 4 * 1024;

//! Offers the events to the log and says what became of them. 202 is said here and nowhere else.

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use super::events::{Decoded, sentence};
use super::{IntakeInstance, MAX_ERRORS};
use crate::dispatcher::problem::{EventError, Problem};
use crate::log::{Appended, BatchMode, LogError};
use crate::metrics::{EventResult, Metrics};

/// Seconds after which a sender tries again while the log's queue is full.
const RETRY_BUSY: u32 = 1;

/// Seconds after which a sender tries again while there is no room, or no log.
const RETRY_NO_ROOM: u32 = 5;

/// What became of the events of a request.
#[derive(Debug, Default, Serialize)]
pub(super) struct Taken {
    accepted: usize,
    duplicates: usize,
    /// Those that were not taken; only told to who asked for a verdict each.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<EventError>>,
}

impl IntoResponse for Taken {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self)).into_response()
    }
}

/// Appends what is good; when this returns, every event counted in [`Taken`] is durable.
pub(super) async fn store(
    decoded: Decoded,
    partial: bool,
    instance: &IntakeInstance,
    metrics: &Metrics,
) -> Result<Taken, Problem> {
    let Decoded { batch, records, positions, mut errors, status } = decoded;
    let count = |result, events: usize| {
        metrics.intake_events(&instance.namespace, &instance.name, result, events as u64);
    };
    let partial = partial && batch;
    let total = records.len() + errors.len();
    count(EventResult::Refused, errors.len());
    if !partial && !errors.is_empty() {
        return Err(refused(status, errors, batch, total));
    }
    let mode = if partial { BatchMode::Partial } else { BatchMode::Whole };
    let verdicts = if records.is_empty() {
        Vec::new()
    } else {
        instance.log.append(records, mode).await.map_err(unavailable)?
    };

    let mut taken = Taken::default();
    let mut conflicts = Vec::new();
    for (index, verdict) in positions.into_iter().zip(verdicts) {
        match verdict {
            Appended::Accepted(_) => taken.accepted += 1,
            Appended::Duplicate => taken.duplicates += 1,
            Appended::Conflict => conflicts.push(EventError {
                index,
                pointer: "/id".to_owned(),
                detail: Cow::Borrowed(
                    "an event with this source and id was taken before with another body; a new event needs a new id",
                ),
            }),
        }
    }
    count(EventResult::Conflict, conflicts.len());
    if !partial && !conflicts.is_empty() {
        return Err(refused(StatusCode::CONFLICT, conflicts, batch, total));
    }
    count(EventResult::Accepted, taken.accepted);
    count(EventResult::Duplicate, taken.duplicates);
    if partial {
        errors.append(&mut conflicts);
        errors.sort_by_key(|error| error.index);
        taken.errors = Some(errors);
    }
    Ok(taken)
}

/// The answer to a request of which nothing was taken.
fn refused(status: StatusCode, mut errors: Vec<EventError>, batch: bool, total: usize) -> Problem {
    let detail = match errors.as_slice() {
        [only] if !batch => sentence(&only.detail),
        all => format!(
            "Nothing was taken: {} of {total} events are refused. Correct them, or post with ?partial=true to have the \
             others taken.",
            all.len()
        ),
    };
    errors.truncate(MAX_ERRORS);
    Problem::new(status, detail).with_errors(errors)
}

/// 503 and never 429: some senders drop what is answered with 4xx.
fn unavailable(error: LogError) -> Problem {
    match error {
        LogError::Full { .. } => Problem::unavailable(
            RETRY_NO_ROOM,
            "The event log is full of unfinished deliveries; send it again later, or give the instance a larger queue.",
        ),
        LogError::DiskFull { .. } => Problem::unavailable(
            RETRY_NO_ROOM,
            "The disk of the event log is full; free some space, then send it again.",
        ),
        LogError::TooLarge { .. } => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "An event is larger than what the event log takes; send smaller events.",
        ),
        LogError::Busy => {
            Problem::unavailable(RETRY_BUSY, "Too many events are waiting to be written; send it again.")
        }
        LogError::Corrupt { .. } | LogError::Unreadable { .. } | LogError::Fatal(_) => Problem::unavailable(
            RETRY_NO_ROOM,
            "The event log failed and the dispatcher is about to restart; send it again later.",
        ),
    }
}

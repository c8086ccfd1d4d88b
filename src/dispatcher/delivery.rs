//! One attempt at one delivery: send, read the answer within the deadline, say what came of it.
//!
//! It keeps no state and decides no retry; that is the engine's.

use std::error::Error as _;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::RETRY_AFTER;
use tokio::time::Instant;

use super::retry::{self, Meaning};
use super::targets::http::HttpTarget;
use crate::egress::{EgressClient, refusal};
use crate::event::Event;

/// Bytes of a response body that are read and kept.
pub const MAX_RESPONSE: usize = 64 * 1024;

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx within the deadline; which one.
    Delivered(u16),
    /// 410.
    Gone(Failure),
    /// Anything else.
    Failed(Failure),
}

/// Why an attempt failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// CamelCase, for conditions.
    pub reason: &'static str,
    /// A sentence for the administrator, without remote text.
    pub message: String,
    /// Status code, if there was an answer.
    pub status: Option<u16>,
    /// Beginning of the answer's body, at most [`MAX_RESPONSE`] bytes.
    pub response: Bytes,
    /// What `Retry-After` asked for.
    pub retry_after: Option<Duration>,
}

/// Makes one attempt. The whole exchange, response body included, ends within `timeout`.
pub async fn attempt(
    client: &EgressClient,
    target: &HttpTarget,
    event: &Event,
    timeout: Duration,
) -> Outcome {
    let deadline = Instant::now() + timeout;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let request = match target.request(client, event, now.cast_signed()) {
        Ok(request) => request,
        Err(refused) => return failed("EgressRefused", refused),
    };
    let response = match tokio::time::timeout_at(deadline, request.send()).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return unsent(&error, target.host()),
        Err(_) => return no_answer(timeout, target.host()),
    };
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| retry::retry_after(value, now));
    let body = read_body(response, deadline).await;
    let failure = || Failure {
        reason: "HttpError",
        message: answered(target.host(), status),
        status: Some(status.as_u16()),
        response: body,
        retry_after,
    };
    match retry::meaning(status) {
        Meaning::Delivered => Outcome::Delivered(status.as_u16()),
        Meaning::Gone => Outcome::Gone(failure()),
        Meaning::Failed => Outcome::Failed(failure()),
    }
}

fn answered(host: &str, status: StatusCode) -> String {
    let hint = if status.is_redirection() {
        " Redirects are not followed: write the final address into spec.target.http.url."
    } else {
        ""
    };
    format!("{host} answered HTTP {}.{hint}", status.as_u16())
}

/// Reads up to [`MAX_RESPONSE`] bytes until the deadline. The status has already decided, so errors only cut it short.
async fn read_body(mut response: reqwest::Response, deadline: Instant) -> Bytes {
    let mut body = BytesMut::new();
    while body.len() < MAX_RESPONSE {
        let Ok(Ok(Some(chunk))) = tokio::time::timeout_at(deadline, response.chunk()).await else { break };
        let room = MAX_RESPONSE - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
    }
    body.freeze()
}

fn failed(reason: &'static str, message: String) -> Outcome {
    Outcome::Failed(Failure { reason, message, ..Failure::default() })
}

fn no_answer(timeout: Duration, host: &str) -> Outcome {
    failed("Timeout", format!("{host} gave no answer within {} (spec.delivery.timeout).", human(timeout)))
}

fn unsent(error: &reqwest::Error, host: &str) -> Outcome {
    if let Some(refusal) = refusal(error) {
        return failed("EgressRefused", refusal.to_string());
    }
    if error.is_connect() {
        return match io_kind(error) {
            Some(io::ErrorKind::ConnectionRefused) => failed(
                "ConnectionRefused",
                format!("{host} refused the connection: is the receiver running?"),
            ),
            Some(_) => failed("ConnectionFailed", format!("No connection to {host} could be made.")),
            None if error.is_timeout() => {
                failed("Timeout", format!("No connection to {host} was made in time."))
            }
            None => failed(
                "ConnectionFailed",
                format!(
                    "No connection to {host} could be made: check that the name resolves and that its certificate is trusted."
                ),
            ),
        };
    }
    failed("ConnectionLost", format!("The connection to {host} ended before there was an answer."))
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        source = error.source();
    }
    None
}

fn human(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}

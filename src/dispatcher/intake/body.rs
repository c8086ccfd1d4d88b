//! Reads a request body within its bounds: size, memory over all requests, and pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::{IntakeLimits, IntakeState};
use crate::dispatcher::problem::Problem;

/// Seconds after which a sender tries again while too much is in memory.
const RETRY_MEMORY: u32 = 1;

/// How long a refused body is still read and thrown away, so that the sender gets to see the answer: closing a socket
/// with unread bytes resets it, and the answer is lost (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(5);

/// Bytes of a refused body that are thrown away at most.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of bodies that may be in memory at once.
#[derive(Debug)]
pub struct BodyBudget {
    left: AtomicUsize,
}

impl BodyBudget {
    /// All of it is left.
    pub fn new(bytes: usize) -> Self {
        Self { left: AtomicUsize::new(bytes) }
    }
}

/// What one request holds of the budget; given back when dropped.
pub(super) struct Share {
    budget: Arc<BodyBudget>,
    held: usize,
}

impl Share {
    pub(super) fn new(budget: &Arc<BodyBudget>) -> Self {
        Self { budget: Arc::clone(budget), held: 0 }
    }

    /// Takes more, or says that memory is short.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let taken =
            self.budget.left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if taken.is_err() {
            return Err(Problem::unavailable(
                RETRY_MEMORY,
                "Too many request bodies are being read at this moment; send it again.",
            ));
        }
        self.held += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.held, Ordering::Relaxed);
    }
}

/// A body that may have to be thrown away.
pub(super) struct Incoming {
    body: Body,
    declared: Option<usize>,
    /// Whether the sender is, or soon will be, sending: not one that waits for `100 Continue` (hyper sends that when
    /// the body is first asked for), nor one that was too slow.
    flows: bool,
}

impl Incoming {
    pub(super) fn new(headers: &HeaderMap, body: Body) -> Self {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        Self {
            body,
            // hyper has checked the digits; what does not fit is too large in any case.
            declared: length.map(|digits| digits.parse().unwrap_or(usize::MAX)),
            flows: !headers.contains_key(header::EXPECT),
        }
    }

    /// 413 if the declared length is too large already.
    pub(super) fn check_declared(&self, limits: &IntakeLimits) -> Result<(), Problem> {
        match self.declared {
            Some(length) if length > limits.max_body => Err(too_large(limits)),
            _ => Ok(()),
        }
    }

    /// The whole body, its bytes counted in `share`.
    pub(super) async fn read(&mut self, state: &IntakeState, share: &mut Share) -> Result<Bytes, Problem> {
        let limits = &state.limits;
        let began = Instant::now();
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        self.flows = true;
        loop {
            let length = first.len() + rest.len();
            let paced = Duration::from_secs_f64(length as f64 / f64::from(limits.body_rate.max(1)));
            let deadline = began + (limits.body_grace + paced).min(limits.body_deadline);
            let Ok(frame) = timeout_at(deadline, self.body.frame()).await else {
                self.flows = false;
                return Err(too_slow(limits));
            };
            let Some(frame) = frame else { break };
            // Trailers carry nothing for us.
            let Ok(data) = frame.map_err(|_| cut_off())?.into_data() else { continue };
            if length + data.len() > limits.max_body {
                return Err(too_large(limits));
            }
            share.grow(data.len())?;
            if length == 0 {
                // Most bodies come in one piece, which is then not copied.
                first = data;
                continue;
            }
            if rest.is_empty() {
                rest.reserve(length + data.len());
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            // Doubles, but not beyond what was declared.
            let expected = self.declared.unwrap_or(limits.max_body).saturating_sub(rest.len());
            rest.reserve(data.len().max(expected.min(rest.len())));
            rest.extend_from_slice(&data);
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    }

    /// Throws away what is left of a body after a refusal, in bounded time.
    pub(super) fn discard(self) {
        use http_body::Body as _;
        if !self.flows || self.body.is_end_stream() {
            return;
        }
        let mut body = self.body;
        tokio::spawn(timeout(LINGER, async move {
            let mut left = LINGER_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(less) = left.checked_sub(length) else { return };
                left = less;
            }
        }));
    }
}

/// 413 for a request.
pub(super) fn too_large(limits: &IntakeLimits) -> Problem {
    let detail = format!(
        "The body is larger than {} bytes, also after inflating; send smaller batches.",
        limits.max_body
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// 408; the connection is not usable afterwards (RFC 9110, section 15.5.9).
fn too_slow(limits: &IntakeLimits) -> Problem {
    let detail = format!(
        "The body came too slowly: at least {} bytes a second after {} s, and all of it within {} s.",
        limits.body_rate,
        limits.body_grace.as_secs_f32(),
        limits.body_deadline.as_secs_f32(),
    );
    Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
        .with_header(header::CONNECTION, HeaderValue::from_static("close"))
}

/// Nobody may be left to read this.
fn cut_off() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "The body ended early or was framed wrongly; nothing was taken.")
}

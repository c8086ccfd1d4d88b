//! From a body to the records that the log is offered, and the errors of those events that are none.
//!
//! Pure but for the memory it counts, so that it can run on any thread.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::auth::Signed;
use super::body::Share;
use super::content::{Encoding, Shape};
use super::{IntakeInstance, IntakeLimits, MAX_EVENT, MAX_EVENTS, inflate};
use crate::dispatcher::problem::{EventError, Problem};
use crate::event::{EnvelopeError, Event, cloud_events, digest, split_batch};
use crate::log::{MAX_PAYLOAD, NewRecord};

/// Everything it takes to read a body.
pub(super) struct Job {
    pub(super) body: Bytes,
    /// What the body must match before anything else is done with it.
    pub(super) signed: Option<Signed>,
    pub(super) encoding: Encoding,
    pub(super) shape: Shape,
    /// Headers, where they hold the attributes of a CloudEvent.
    pub(super) binary: Option<Box<HeaderMap>>,
    pub(super) instance: Arc<IntakeInstance>,
    pub(super) limits: IntakeLimits,
    /// Unix seconds.
    pub(super) now: i64,
    pub(super) share: Share,
}

/// What was in a body.
#[derive(Default)]
pub(super) struct Decoded {
    /// Whether it was an array.
    pub(super) batch: bool,
    /// The events, with their positions in the batch.
    pub(super) records: Vec<NewRecord>,
    /// Position in the batch of each record.
    pub(super) positions: Vec<usize>,
    /// What is not an event, ascending by position.
    pub(super) errors: Vec<EventError>,
    /// 400 or 413: what the first error is.
    pub(super) status: StatusCode,
}

/// Why one event is refused.
struct Refusal {
    status: StatusCode,
    pointer: String,
    detail: Cow<'static, str>,
}

impl From<EnvelopeError> for Refusal {
    fn from(error: EnvelopeError) -> Self {
        Self { status: StatusCode::BAD_REQUEST, pointer: error.pointer, detail: error.detail.into() }
    }
}

impl Job {
    /// Verifies, inflates and parses. The share comes back with the result: its bytes are in memory until the log has answered.
    pub(super) fn run(mut self) -> Result<(Decoded, Share), Problem> {
        let body = std::mem::take(&mut self.body);
        if let Some(signed) = &self.signed {
            signed.verify(&self.instance.auth.signing_keys, &body)?;
        }
        let body = inflate::inflate(body, self.encoding, &self.limits, &mut self.share)?;
        // Some senders begin UTF-8 with a byte order mark; a parser may ignore it (RFC 8259, section 8.1).
        let body = if body.starts_with(b"\xef\xbb\xbf") { body.slice(3..) } else { body };
        let batch = match self.shape {
            Shape::CloudEventBatch => true,
            Shape::Json => body.trim_ascii_start().first() == Some(&b'['),
            Shape::CloudEvent | Shape::CloudEventBinary => false,
        };
        let items = if batch { split_batch(&body, MAX_EVENTS).map_err(refused)? } else { vec![body] };
        let mut decoded = Decoded {
            batch,
            records: Vec::with_capacity(items.len()),
            positions: Vec::with_capacity(items.len()),
            ..Decoded::default()
        };
        for (index, item) in items.into_iter().enumerate() {
            match self.record(item) {
                Ok(record) => {
                    decoded.records.push(record);
                    decoded.positions.push(index);
                }
                Err(refusal) => {
                    if decoded.errors.is_empty() {
                        decoded.status = refusal.status;
                    }
                    let Refusal { pointer, detail, .. } = refusal;
                    decoded.errors.push(EventError { index, pointer, detail });
                }
            }
        }
        Ok((decoded, self.share))
    }

    /// One event as the log is to keep it.
    fn record(&self, received: Bytes) -> Result<NewRecord, Refusal> {
        if received.len() > MAX_EVENT {
            return Err(too_large());
        }
        let (event, body_hash) = match (self.shape, &self.binary) {
            (Shape::CloudEventBinary, Some(headers)) => self.binary(headers, &received)?,
            (Shape::Json, _) => (self.envelope(&received)?, digest(&[received.trim_ascii()])),
            _ => (cloud_events::structured(&received, self.now)?, digest(&[received.trim_ascii()])),
        };
        let payload = event.to_record();
        // A CloudEvent may grow on its way into an envelope.
        if event.json.len() > MAX_EVENT || payload.len() > MAX_PAYLOAD {
            return Err(too_large());
        }
        let IntakeInstance { namespace, name, .. } = &*self.instance;
        let key =
            digest(&[namespace.as_bytes(), name.as_bytes(), event.source.as_bytes(), event.id.as_bytes()]);
        Ok(NewRecord { key, body_hash, payload })
    }

    /// An envelope, or a CloudEvent that was sent as plain JSON.
    fn envelope(&self, received: &Bytes) -> Result<Event, Refusal> {
        Event::parse(received.clone()).or_else(|error| {
            if looks_like_cloud_event(received) {
                Ok(cloud_events::structured(received, self.now)?)
            } else {
                Err(error.into())
            }
        })
    }

    /// A CloudEvent in binary mode. Its hash covers the attributes in an order of their own: proxies reorder headers.
    fn binary(&self, headers: &HeaderMap, body: &[u8]) -> Result<(Event, [u8; 16]), Refusal> {
        let mut attributes = attributes(headers)?;
        attributes.sort_unstable();
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let event = cloud_events::binary(&attributes, content_type, body, self.now)?;
        let mut parts = vec![content_type.unwrap_or_default().as_bytes()];
        for (name, value) in &attributes {
            parts.extend([name.as_bytes(), value.as_bytes()]);
        }
        parts.push(body);
        Ok((event, digest(&parts)))
    }
}

/// What is no batch at all.
fn refused(error: EnvelopeError) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, sentence(&error.detail))
}

/// The `ce-` headers (CloudEvents HTTP binding 1.0, section 3.1.3): names without the prefix, values as received.
fn attributes(headers: &HeaderMap) -> Result<Vec<(String, String)>, Refusal> {
    let mut attributes = Vec::new();
    for name in headers.keys() {
        let Some(short) = name.as_str().strip_prefix("ce-") else { continue };
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(bad_header(format!("the header ce-{short} is sent more than once")));
        };
        let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
            return Err(bad_header(format!("the header ce-{short} is not UTF-8; percent-encode its value")));
        };
        attributes.push((short.to_owned(), value.to_owned()));
    }
    Ok(attributes)
}

fn bad_header(detail: String) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, pointer: String::new(), detail: detail.into() }
}

fn too_large() -> Refusal {
    Refusal {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        pointer: String::new(),
        detail: Cow::Borrowed("an event may have 1 MiB (1048576 bytes); this one is larger"),
    }
}

/// Asked only of what is not an envelope.
fn looks_like_cloud_event(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Probe {
        specversion: Option<IgnoredAny>,
        event: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Probe>(json)
        .is_ok_and(|probe| probe.specversion.is_some() && probe.event.is_none())
}

/// What completes a message elsewhere, as a sentence of its own.
pub(super) fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

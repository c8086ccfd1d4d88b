//! The envelope: what makes a JSON document an event, and what we read of it.
//!
//! It is read in one pass and never rebuilt, so that a delivery carries the very bytes that came in.

use std::borrow::Cow;

use bytes::Bytes;

use super::json_walk::{self, Fault, Scalar};
use super::name;

/// Longest `id`, in characters.
pub const MAX_ID: usize = 256;

/// Last second of the year 9999. Beyond it a number is taken for milliseconds.
const LAST_SECOND: i64 = 253_402_300_799;

/// First second of the year 1.
const FIRST_SECOND: i64 = -62_135_596_800;

/// One event, checked, with its JSON exactly as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `id` of the envelope, 1–256 characters.
    pub id: String,
    /// `event`: a dotted name of at most 128 characters.
    pub name: String,
    /// `source` of the envelope, empty where there is none.
    pub source: String,
    /// When it happened, Unix seconds.
    pub created_at: i64,
    /// The envelope as received (a CloudEvent: the envelope made from it).
    pub json: Bytes,
}

/// Why a JSON document is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct EnvelopeError {
    /// JSON pointer (RFC 6901) to what is wrong, empty for the whole document.
    pub pointer: String,
    /// A sentence that says what was expected. It quotes nothing of the event but names of fields.
    pub detail: String,
}

impl EnvelopeError {
    pub(super) fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

impl Event {
    /// Parses one envelope; white space around the document is dropped, nothing else.
    ///
    /// The document is an object without duplicate keys at any depth, at most 127 levels deep, with `id` (a string of
    /// 1–256 characters), `event` (see [`name::check`]) and `created_at` (Unix seconds) or `time` (RFC 3339).
    pub fn parse(json: Bytes) -> Result<Self, EnvelopeError> {
        let json = trim(json);
        let text = as_text(&json)?;
        let found = json_walk::object(text, &["id", "event", "created_at", "time", "source", "specversion"])
            .map_err(unreadable)?;
        let field = |name: &str| {
            found.iter().find(|(key, _)| *key == name).map(|(_, v)| v).filter(|v| **v != Scalar::Null)
        };
        if field("event").is_none() && field("specversion").is_some() {
            return Err(EnvelopeError::new(
                "/event",
                "an event needs `event`; this looks like a CloudEvent: send it as \
                 `Content-Type: application/cloudevents+json`",
            ));
        }
        let id = read_id(field("id"))?;
        let name = read_name(field("event"))?;
        let created_at = read_time(field("created_at"), field("time"))?;
        let source = read_source(field("source"))?;
        Ok(Self { id, name, source, created_at, json: json.clone() })
    }
}

/// Drops JSON's white space at both ends, without copying.
pub(super) fn trim(json: Bytes) -> Bytes {
    let space = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let Some(first) = json.iter().position(|b| !space(b)) else {
        return Bytes::new();
    };
    let last = json.iter().rposition(|b| !space(b)).unwrap_or(first);
    json.slice(first..=last)
}

pub(super) fn as_text(json: &[u8]) -> Result<&str, EnvelopeError> {
    if json.is_empty() {
        return Err(EnvelopeError::new(
            "",
            "the body is empty; expected a JSON object with `id`, `event` and `created_at`",
        ));
    }
    std::str::from_utf8(json)
        .map_err(|_| EnvelopeError::new("", "the body is not UTF-8; JSON is sent as UTF-8"))
}

/// The sentence for what a walk over the JSON found wrong.
pub(super) fn unreadable(fault: Fault) -> EnvelopeError {
    match fault {
        Fault::Duplicate { pointer } => {
            EnvelopeError::new(pointer, "this key stands twice in its object; every key may stand there once")
        }
        Fault::NotAnObject(what) => EnvelopeError::new(
            "",
            format!("an event is a JSON object with `id`, `event` and `created_at`; found {what}"),
        ),
        Fault::Syntax(error) => EnvelopeError::new("", syntax(&error)),
    }
}

/// `serde_json` tells position and expectation, never content.
pub(super) fn syntax(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("recursion limit") {
        return "the JSON is nested too deep; at most 127 levels are taken".to_owned();
    }
    format!("the body is not valid JSON: {text}")
}

pub(super) fn check_id(id: &str) -> Result<(), EnvelopeError> {
    let problem = if id.is_empty() {
        "the event's `id` is empty; it needs 1 to 256 characters"
    } else if id.len() > MAX_ID && id.chars().count() > MAX_ID {
        "the event's `id` is longer than 256 characters"
    } else if id.chars().any(char::is_control) || id.trim() != id {
        // It travels in the header `webhook-id`, and is signed as it stands there.
        "the event's `id` holds control characters or white space at an end, which no header can carry"
    } else {
        return Ok(());
    };
    Err(EnvelopeError::new("/id", problem))
}

fn read_id(value: Option<&Scalar<'_>>) -> Result<String, EnvelopeError> {
    match value {
        Some(Scalar::Text(id)) => check_id(id).map(|()| id.clone().into_owned()),
        None => Err(EnvelopeError::new(
            "/id",
            "an event needs `id`: a string of 1 to 256 characters, unique per event",
        )),
        Some(other) => Err(EnvelopeError::new(
            "/id",
            format!("an event needs `id` as a string of 1 to 256 characters; found {}", other.what()),
        )),
    }
}

fn read_name(value: Option<&Scalar<'_>>) -> Result<String, EnvelopeError> {
    const EXPECTED: &str = "a dotted name of at most 128 characters such as `chat.finished`";
    match value {
        Some(Scalar::Text(text)) => match name::check(text) {
            Ok(()) => Ok(text.clone().into_owned()),
            Err(problem) => {
                let detail = format!("the event's name in `event` {problem}; expected {EXPECTED}");
                Err(EnvelopeError::new("/event", detail))
            }
        },
        None => Err(EnvelopeError::new("/event", format!("an event needs `event`: {EXPECTED}"))),
        Some(other) => {
            let detail = format!("an event needs `event` as {EXPECTED}; found {}", other.what());
            Err(EnvelopeError::new("/event", detail))
        }
    }
}

fn read_time(created_at: Option<&Scalar<'_>>, time: Option<&Scalar<'_>>) -> Result<i64, EnvelopeError> {
    const NEEDED: &str =
        "an event needs `created_at` in Unix seconds (or `time` as RFC 3339, `2026-11-21T09:30:00Z`)";
    let wrong = |pointer: &str, detail: String| Err(EnvelopeError::new(pointer, detail));
    match (created_at, time) {
        (Some(Scalar::Int(seconds)), _) => in_range(*seconds),
        (Some(Scalar::Float(seconds)), _) => in_range(seconds.floor() as i64),
        (Some(Scalar::Text(text)), _) if text.trim().parse::<f64>().is_ok() => {
            wrong("/created_at", format!("{NEEDED}; found a string: write the number without quotes"))
        }
        (Some(Scalar::Text(_)), _) => wrong(
            "/created_at",
            format!(
                "{NEEDED}; found a string that is no number: write Unix seconds, or put a date into `time`"
            ),
        ),
        (Some(other), _) => wrong("/created_at", format!("{NEEDED}; found {}", other.what())),
        (None, Some(Scalar::Text(text))) => parse_time(text),
        (None, Some(other)) => {
            wrong("/time", format!("`time` is an RFC 3339 string; found {}", other.what()))
        }
        (None, None) => wrong("/created_at", NEEDED.to_owned()),
    }
}

fn in_range(seconds: i64) -> Result<i64, EnvelopeError> {
    if (FIRST_SECOND..=LAST_SECOND).contains(&seconds) {
        return Ok(seconds);
    }
    Err(EnvelopeError::new(
        "/created_at",
        "`created_at` is in Unix seconds, and this number is outside the years 1 to 9999; divide milliseconds by 1000",
    ))
}

/// RFC 3339 to Unix seconds, rounded down.
pub(super) fn parse_time(text: &str) -> Result<i64, EnvelopeError> {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(time.as_second() - i64::from(time.subsec_nanosecond() < 0)),
        Err(_) => Err(EnvelopeError::new(
            "/time",
            "`time` is not RFC 3339; expected date, time and offset, such as `2026-11-21T09:30:00Z`",
        )),
    }
}

fn read_source(value: Option<&Scalar<'_>>) -> Result<String, EnvelopeError> {
    match value {
        None => Ok(String::new()),
        Some(Scalar::Text(source)) => Ok(Cow::clone(source).into_owned()),
        Some(other) => {
            let detail = format!("`source` is a string where it is given; found {}", other.what());
            Err(EnvelopeError::new("/source", detail))
        }
    }
}

#[cfg(test)]
mod tests;

//! CloudEvents 1.0 over HTTP, structured and binary, made into envelopes.
//!
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>, with its JSON format and HTTP binding.
//! `id` → `id`, `type` → `event`, `source` → `source`, `time` → `created_at` (its absence: the time of receipt),
//! `subject` → `subject.id`, `data` → `data`, `dataschema` and a `datacontenttype` other than JSON stay as they are,
//! everything else goes under `extensions`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::envelope::{as_text, syntax, trim, unreadable};
use super::raw::Members;
use super::{EnvelopeError, Event, json_walk};

mod attributes;
mod header;

use attributes::Attributes;

/// A CloudEvent in structured JSON, made into an envelope. `now` (Unix seconds) stands in for a missing `time`.
pub fn structured(json: &Bytes, now: i64) -> Result<Event, EnvelopeError> {
    let json = trim(json.clone());
    let text = as_text(&json)?;
    json_walk::object(text, &[]).map_err(unreadable)?;
    let Members(members) = serde_json::from_str(text).map_err(|e| EnvelopeError::new("", syntax(&e)))?;
    let mut attributes = Attributes::default();
    let mut data = Data::default();
    for (name, value) in members {
        match name.as_ref() {
            "data" => data.json = Some(value.to_owned()),
            "data_base64" => data.base64 = read_base64(value)?,
            _ => attributes.take(&name, serde_json::from_str(value.get()).unwrap_or_default())?,
        }
    }
    if data.json.is_some() && data.base64.is_some() {
        return Err(EnvelopeError::new(
            "/data_base64",
            "a CloudEvent carries `data` or `data_base64`, not both",
        ));
    }
    data.decode(attributes.content_type())?;
    attributes.into_event(data, now)
}

/// A CloudEvent in binary mode, made into an envelope: `ce-*` headers (name without prefix, value as received),
/// content type, body. `now` (Unix seconds) stands in for a missing `ce-time`.
pub fn binary(
    headers: &[(String, String)],
    content_type: Option<&str>,
    body: &[u8],
    now: i64,
) -> Result<Event, EnvelopeError> {
    let mut attributes = Attributes::default();
    for (name, value) in headers {
        attributes.take(&name.to_ascii_lowercase(), Value::String(header::decode(value)?))?;
    }
    if let Some(content_type) = content_type {
        attributes.set_content_type(content_type);
    }
    let data = read_body(attributes.content_type(), body)?;
    attributes.into_event(data, now)
}

/// What the event carries: JSON or base64, if anything.
#[derive(Default)]
struct Data {
    json: Option<Box<RawValue>>,
    base64: Option<String>,
}

impl Data {
    /// Base64 of JSON becomes JSON. Without a content type it is JSON if it can be.
    fn decode(&mut self, content_type: Option<&str>) -> Result<(), EnvelopeError> {
        let Some(base64) = &self.base64 else {
            return Ok(());
        };
        if content_type.is_some_and(|text| !is_json(text)) {
            return Ok(());
        }
        let bytes = STANDARD.decode(base64).map_err(|_| not_base64())?;
        match read_json(&bytes) {
            Ok(json) => *self = Self { json: Some(json), base64: None },
            Err(_) if content_type.is_none() => {}
            Err(error) => return Err(EnvelopeError::new("/data_base64", error.detail)),
        }
        Ok(())
    }
}

fn read_base64(value: &RawValue) -> Result<Option<String>, EnvelopeError> {
    match serde_json::from_str(value.get()) {
        Ok(Value::Null) => Ok(None),
        Ok(Value::String(text)) if STANDARD.decode(&text).is_ok() => Ok(Some(text)),
        _ => Err(not_base64()),
    }
}

fn not_base64() -> EnvelopeError {
    EnvelopeError::new("/data_base64", "`data_base64` is not base64 in a string (RFC 4648, with padding)")
}

/// JSON stays JSON, text becomes a string, everything else base64; an empty body is no data.
fn read_body(content_type: Option<&str>, body: &[u8]) -> Result<Data, EnvelopeError> {
    if body.is_empty() {
        return Ok(Data::default());
    }
    if content_type.is_none_or(is_json) {
        return Ok(Data { json: Some(read_json(body)?), base64: None });
    }
    let is_text =
        content_type.is_some_and(|text| text.trim_start().to_ascii_lowercase().starts_with("text/"));
    match std::str::from_utf8(body) {
        Ok(text) if is_text => Ok(Data { json: to_raw_value(text).ok(), base64: None }),
        _ => Ok(Data { json: None, base64: Some(STANDARD.encode(body)) }),
    }
}

fn read_json(bytes: &[u8]) -> Result<Box<RawValue>, EnvelopeError> {
    let text = as_text(bytes.trim_ascii())?;
    json_walk::check(text).map_err(unreadable)?;
    RawValue::from_string(text.to_owned()).map_err(|e| EnvelopeError::new("", syntax(&e)))
}

/// `application/json`, `text/json` and everything that ends in `+json`, with parameters or without.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

#[cfg(test)]
mod tests;

//! stub
use bytes::Bytes;
use super::{EnvelopeError, Event};

/// A CloudEvent in structured JSON, made into an envelope.
pub fn structured(json: &Bytes) -> Result<Event, EnvelopeError> {
    let _ = json;
    todo!()
}

/// A CloudEvent in binary mode: `ce-*` headers (name without prefix, percent-decoded value), content type, body.
pub fn binary(
    attributes: &[(String, String)],
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Event, EnvelopeError> {
    let _ = (attributes, content_type, body);
    todo!()
}

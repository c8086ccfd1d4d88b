//! stub
use bytes::Bytes;

/// One event, checked, with its JSON exactly as it came.
#[derive(Clone, Debug)]
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
    /// A sentence that says what was expected.
    pub detail: String,
}

impl Event {
    /// Parses one envelope.
    pub fn parse(json: Bytes) -> Result<Self, EnvelopeError> {
        let _ = json;
        todo!()
    }

    /// What the log keeps: the fields above, length-prefixed, then the JSON. Versioned by its first byte.
    pub fn to_record(&self) -> Bytes {
        todo!()
    }

    /// The inverse of [`Event::to_record`]; `None` if the bytes are not such a record. Copies no JSON.
    pub fn from_record(record: Bytes) -> Option<Self> {
        let _ = record;
        todo!()
    }
}

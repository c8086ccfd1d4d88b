//! A batch, split into its items without copying or building them.

use std::fmt;

use bytes::Bytes;
use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::EnvelopeError;
use super::envelope::{as_text, syntax, trim};

/// Splits a JSON array into its items, each a slice of the body; an empty array is an empty batch. More than `max`
/// items are an error and take no memory: two bytes of a body could cost fifty.
///
/// The array's syntax is checked to its end; what the items are is for [`super::Event::parse`] or
/// [`super::cloud_events::structured`] to say.
pub fn split_batch(body: &Bytes, max: usize) -> Result<Vec<Bytes>, EnvelopeError> {
    let body = trim(body.clone());
    let text = as_text(&body)?;
    if !text.starts_with('[') {
        return Err(EnvelopeError::new("", "a batch is a JSON array of events, `[{…}, {…}]`"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let split =
        json.deserialize_seq(Splitter { body: &body, max }).and_then(|items| json.end().map(|()| items));
    let (items, count) = split.map_err(|error| EnvelopeError::new("", syntax(&error)))?;
    if count > max {
        let detail =
            format!("a batch may hold {max} events and this one holds {count}; send smaller batches");
        return Err(EnvelopeError::new("", detail));
    }
    Ok(items)
}

/// Collects the first `max` items and counts all.
struct Splitter<'a> {
    body: &'a Bytes,
    max: usize,
}

impl<'de> Visitor<'de> for Splitter<'_> {
    type Value = (Vec<Bytes>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        let mut count = 0;
        while let Some(item) = seq.next_element::<&RawValue>()? {
            if count < self.max {
                items.push(self.body.slice_ref(item.get().as_bytes()));
            }
            count += 1;
        }
        Ok((items, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_the_body() {
        let body = Bytes::from_static(b" [ {\"a\":[1, 2]} ,\n3,\"x\"] ");
        let items = split_batch(&body, 3).unwrap();
        assert_eq!(items, [&b"{\"a\":[1, 2]}"[..], b"3", b"\"x\""]);
        assert_eq!(items[0].as_ptr(), body[3..].as_ptr());
        assert_eq!(split_batch(&Bytes::from_static(b"[]"), 0), Ok(vec![]));
    }

    #[test]
    fn refuses_what_is_not_an_array() {
        for body in ["", "{}", "[", "[1", "[1,]", "[1] 2", "[{\"a\":}]"] {
            assert!(split_batch(&Bytes::from_static(body.as_bytes()), 9).is_err(), "{body}");
        }
        let deep = Bytes::from("[".repeat(100_000));
        assert!(split_batch(&deep, 9).is_err());
        let error = split_batch(&Bytes::from_static(b"[1,2,3]"), 2).unwrap_err();
        assert_eq!(error.detail, "a batch may hold 2 events and this one holds 3; send smaller batches");
    }
}

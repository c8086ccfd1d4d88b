//! A batch, split into its items without copying or building them.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::EnvelopeError;
use super::envelope::{as_text, syntax, trim};

/// Splits a JSON array into its items, each a slice of the body; an empty array is an empty batch.
///
/// The array's syntax is checked to its end; what the items are is for [`super::Event::parse`] or
/// [`super::cloud_events::structured`] to say.
pub fn split_batch(body: &Bytes) -> Result<Vec<Bytes>, EnvelopeError> {
    let body = trim(body.clone());
    let text = as_text(&body)?;
    if !text.starts_with('[') {
        return Err(EnvelopeError::new("", "a batch is a JSON array of events, `[{…}, {…}]`"));
    }
    let items: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| EnvelopeError::new("", syntax(&error)))?;
    Ok(items.into_iter().map(|item| body.slice_ref(item.get().as_bytes())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_the_body() {
        let body = Bytes::from_static(b" [ {\"a\":[1, 2]} ,\n3,\"x\"] ");
        let items = split_batch(&body).unwrap();
        assert_eq!(items, [&b"{\"a\":[1, 2]}"[..], b"3", b"\"x\""]);
        assert_eq!(items[0].as_ptr(), body[3..].as_ptr());
        assert_eq!(split_batch(&Bytes::from_static(b"[]")), Ok(vec![]));
    }

    #[test]
    fn refuses_what_is_not_an_array() {
        for body in ["", "{}", "[", "[1", "[1,]", "[1] 2", "[{\"a\":}]"] {
            assert!(split_batch(&Bytes::from_static(body.as_bytes())).is_err(), "{body}");
        }
        let deep = Bytes::from("[".repeat(100_000));
        assert!(split_batch(&deep).is_err());
    }
}

//! What the log keeps of an event.
//!
//! Version (1 byte) · created_at (8) · length of id (2) · length of name (1) · length of source (4) · id · name ·
//! source · JSON up to the end; integers are little endian. The fields stand before the JSON so that recovery and
//! matching need not parse it.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::Event;

/// Version of the record, its first byte.
const VERSION: u8 = 1;

/// Bytes before the id.
const HEAD: usize = 16;

impl Event {
    /// What the log keeps: the fields, length-prefixed, then the JSON. Versioned by its first byte.
    ///
    /// Lengths hold for every event that passed [`Event::parse`]: an id has at most 1,024 bytes, a name 128.
    pub fn to_record(&self) -> Bytes {
        let size = HEAD + self.id.len() + self.name.len() + self.source.len() + self.json.len();
        let mut record = BytesMut::with_capacity(size);
        record.put_u8(VERSION);
        record.put_i64_le(self.created_at);
        record.put_u16_le(self.id.len() as u16);
        record.put_u8(self.name.len() as u8);
        record.put_u32_le(self.source.len() as u32);
        for part in [self.id.as_bytes(), self.name.as_bytes(), self.source.as_bytes(), &self.json] {
            record.put_slice(part);
        }
        record.freeze()
    }

    /// The inverse of [`Event::to_record`]; `None` if the bytes are not such a record. Copies no JSON.
    pub fn from_record(record: Bytes) -> Option<Self> {
        let (version, rest) = record.split_first_chunk::<1>()?;
        let (created_at, rest) = rest.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk()?;
        let (name, rest) = rest.split_first_chunk()?;
        let (source, rest) = rest.split_first_chunk()?;
        if *version != [VERSION] {
            return None;
        }
        let (id, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*id)))?;
        let (name, rest) = rest.split_at_checked(usize::from(u8::from_le_bytes(*name)))?;
        let (source, json) = rest.split_at_checked(u32::from_le_bytes(*source) as usize)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(Self {
            id: text(id)?,
            name: text(name)?,
            source: text(source)?,
            created_at: i64::from_le_bytes(*created_at),
            json: record.slice_ref(json),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn has_this_form() {
        let event = Event {
            id: "ab".into(),
            name: "c.d".into(),
            source: "e".into(),
            created_at: 258,
            json: Bytes::from_static(b"{}"),
        };
        let bytes = b"\x01\x02\x01\0\0\0\0\0\0\x02\0\x03\x01\0\0\0abc.de{}";
        assert_eq!(event.to_record(), &bytes[..]);
        assert_eq!(Event::from_record(Bytes::from_static(bytes)), Some(event));
    }

    #[test]
    fn refuses_other_bytes() {
        let whole = b"\x01\0\0\0\0\0\0\0\0\x02\0\x03\x01\0\0\0abc.de";
        for cut in 0..whole.len() {
            assert_eq!(Event::from_record(Bytes::copy_from_slice(&whole[..cut])), None, "{cut}");
        }
        let mut other = whole.to_vec();
        other[0] = 2;
        assert_eq!(Event::from_record(other.into()), None);
    }

    proptest! {
        #[test]
        fn comes_back_as_it_went(id in "\\PC{1,256}", name in "[a-z.]{1,128}", source in "\\PC{0,40}",
                                 created_at: i64, json: Vec<u8>) {
            let event = Event { id, name, source, created_at, json: json.into() };
            prop_assert_eq!(Event::from_record(event.to_record()), Some(event));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = Event::from_record(bytes.into());
        }
    }
}

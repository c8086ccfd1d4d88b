//! How one record lies in a segment: an 88-byte header with its own checksum, then the payload, padded to eight
//! bytes. Encoding and decoding only; no files.

use crate::log::Seq;

/// Bytes before the payload.
pub(super) const HEADER: usize = 88;

/// What records are aligned to, in bytes.
pub(super) const ALIGN: usize = 8;

const MAGIC: u32 = 0x6b48_4331; // "1CHk"

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An appended event, in order of position.
    Event = 1,
    /// A survivor, copied out of a segment that was recycled; same position.
    Copy = 2,
    /// No payload: says on a clean stop that everything before it is durable.
    Mark = 3,
    /// No payload: says that this position was never promised and holds nothing.
    Absent = 4,
    /// No payload: says that the positions from the last record up to this one are not in this log, and that this is
    /// right.
    Gap = 5,
}

/// Everything about a record except its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Random for each use of a segment file, so that bytes of an earlier use and bytes that a sender made up
    /// are never taken for a record.
    pub(super) generation: u64,
    pub(super) seq: Seq,
    pub(super) appended_ms: u64,
    /// Highest position that was known durable when this was written: damage up to there is loss of what was
    /// promised, damage beyond may be a write that a crash cut short.
    pub(super) durable: Seq,
    pub(super) key: [u8; 16],
    pub(super) body_hash: [u8; 16],
}

/// A header that was read, with what it says of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) header: Header,
    length: u32,
    payload_crc: u32,
}

impl Decoded {
    /// Bytes that the record takes in the segment.
    pub(super) fn size(&self) -> usize {
        size(self.length as usize)
    }

    /// The payload, given the bytes from the header on; `None` if it is cut short or damaged.
    pub(super) fn payload<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let payload = bytes.get(HEADER..HEADER.checked_add(self.length as usize)?)?;
        (crc32c::crc32c(payload) == self.payload_crc).then_some(payload)
    }
}

/// Bytes that a payload of this length takes in a segment, header and padding included.
pub(super) const fn size(payload: usize) -> usize {
    HEADER + payload.next_multiple_of(ALIGN)
}

/// Appends a record to a buffer.
pub(super) fn encode(buffer: &mut Vec<u8>, header: &Header, payload: &[u8]) {
    let start = buffer.len();
    buffer.reserve(size(payload.len()));
    buffer.extend_from_slice(&MAGIC.to_le_bytes());
    buffer.extend_from_slice(&(header.kind as u32).to_le_bytes());
    buffer.extend_from_slice(&header.generation.to_le_bytes());
    buffer.extend_from_slice(&header.seq.to_le_bytes());
    buffer.extend_from_slice(&header.appended_ms.to_le_bytes());
    buffer.extend_from_slice(&header.durable.to_le_bytes());
    buffer.extend_from_slice(&header.key);
    buffer.extend_from_slice(&header.body_hash);
    buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    let crc = crc32c::crc32c(buffer.get(start..).unwrap_or_default());
    buffer.extend_from_slice(&crc.to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(payload);
    buffer.resize(start + size(payload.len()), 0);
}

/// Reads the header at the start of the bytes; `None` if it is not whole, not one, or of another generation.
pub(super) fn decode(bytes: &[u8], generation: u64) -> Option<Decoded> {
    if u32_at(bytes, 0)? != MAGIC || u64_at(bytes, 8)? != generation {
        return None;
    }
    if crc32c::crc32c(bytes.get(..80)?) != u32_at(bytes, 80)? {
        return None;
    }
    let kind = match u32_at(bytes, 4)? {
        1 => Kind::Event,
        2 => Kind::Copy,
        3 => Kind::Mark,
        4 => Kind::Absent,
        5 => Kind::Gap,
        _ => return None,
    };
    let header = Header {
        kind,
        generation,
        seq: u64_at(bytes, 16)?,
        appended_ms: u64_at(bytes, 24)?,
        durable: u64_at(bytes, 32)?,
        key: array_at(bytes, 40)?,
        body_hash: array_at(bytes, 56)?,
    };
    Some(Decoded { header, length: u32_at(bytes, 72)?, payload_crc: u32_at(bytes, 76)? })
}

/// Little-endian number at an offset.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

/// Little-endian number at an offset.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

/// Fixed number of bytes at an offset.
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(generation: u64) -> Header {
        Header {
            kind: Kind::Event,
            generation,
            seq: 7,
            appended_ms: 1_700_000_000_000,
            durable: 6,
            key: [1; 16],
            body_hash: [2; 16],
        }
    }

    #[test]
    fn a_record_reads_back_and_is_aligned() {
        let mut buffer = Vec::new();
        encode(&mut buffer, &header(9), b"hello");
        assert_eq!(buffer.len(), 96);
        let read = decode(&buffer, 9).unwrap();
        assert_eq!(read.header, header(9));
        assert_eq!(read.payload(&buffer), Some(&b"hello"[..]));
    }

    #[test]
    fn another_generation_is_not_a_record() {
        let mut buffer = Vec::new();
        encode(&mut buffer, &header(9), b"hello");
        assert_eq!(decode(&buffer, 10), None);
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let mut buffer = Vec::new();
        encode(&mut buffer, &header(9), b"hello");
        // 84..88 and the last three bytes are padding.
        for at in (0..84).chain(88..93) {
            let mut damaged = buffer.clone();
            damaged[at] ^= 0x10;
            let whole = decode(&damaged, 9).is_some_and(|read| read.payload(&damaged).is_some());
            assert!(!whole, "byte {at}");
        }
    }
}

//! Reads a whole segment and says what is in it: intact records, damaged ones, and the stretches where it had to
//! search for the next header. Judges nothing: whether damage is loss or a write cut short is for `recover`.

use std::io;

use super::file::{DATA_START, SegmentFile};
use super::record::{self, ALIGN, HEADER, Header};

/// A record whose header is intact.
pub(super) struct Found {
    pub(super) header: Header,
    pub(super) offset: u32,
    /// Bytes from the header on, padding included.
    pub(super) size: u32,
    /// Whether the payload is intact, too.
    pub(super) intact: bool,
}

/// What a segment holds.
pub(super) struct Scan {
    /// In order of offset.
    pub(super) found: Vec<Found>,
    /// Offsets where no header was but a later one followed.
    pub(super) unreadable: Vec<u32>,
    /// Where the last intact record ends.
    pub(super) end: u32,
}

/// Scans a segment; `buffer` is working space, used again and again.
pub(super) fn scan(segment: &SegmentFile, buffer: &mut Vec<u8>) -> io::Result<Scan> {
    buffer.clear();
    buffer.resize(segment.size as usize, 0);
    segment.file.read_at(0, buffer)?;
    Ok(scan_bytes(buffer, segment.generation))
}

fn scan_bytes(bytes: &[u8], generation: u64) -> Scan {
    let start = DATA_START as usize;
    let mut scan = Scan { found: Vec::new(), unreadable: Vec::new(), end: DATA_START };
    let mut at = start;
    let mut lost_at = None;
    while at + HEADER <= bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(decoded) = record::decode(rest, generation) else {
            lost_at.get_or_insert(at as u32);
            at += ALIGN;
            continue;
        };
        if let Some(offset) = lost_at.take() {
            scan.unreadable.push(offset);
        }
        let intact = decoded.payload(rest).is_some();
        scan.found.push(Found {
            header: decoded.header,
            offset: at as u32,
            size: decoded.size() as u32,
            intact,
        });
        at += decoded.size();
        if intact {
            scan.end = at as u32;
        }
    }
    scan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segment::record::Kind;

    fn segment(payloads: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = vec![0; DATA_START as usize];
        let mut offsets = Vec::new();
        for (seq, payload) in (1..).zip(payloads) {
            offsets.push(bytes.len());
            let header = Header {
                kind: Kind::Event,
                generation: 5,
                seq,
                appended_ms: 0,
                durable: 0,
                key: [0; 16],
                body_hash: [0; 16],
            };
            record::encode(&mut bytes, &header, payload);
        }
        bytes.resize(2 * DATA_START as usize, 0);
        (bytes, offsets)
    }

    fn intact(scan: &Scan) -> Vec<u64> {
        scan.found.iter().filter(|f| f.intact).map(|f| f.header.seq).collect()
    }

    #[test]
    fn a_damaged_header_costs_one_record() {
        let (mut bytes, offsets) = segment(&[b"one", b"two", b"three"]);
        bytes[offsets[1] + 20] ^= 1;
        let scan = scan_bytes(&bytes, 5);
        assert_eq!(intact(&scan), [1, 3]);
        assert_eq!(scan.unreadable, [offsets[1] as u32]);
    }

    #[test]
    fn a_damaged_payload_costs_one_record_and_keeps_its_name() {
        let (mut bytes, offsets) = segment(&[b"one", b"two", b"three"]);
        bytes[offsets[1] + HEADER] ^= 1;
        let scan = scan_bytes(&bytes, 5);
        assert_eq!(intact(&scan), [1, 3]);
        assert_eq!(scan.found[1].header.seq, 2);
        assert!(scan.unreadable.is_empty());
    }

    #[test]
    fn a_record_inside_a_payload_is_not_found() {
        let (inner, _) = segment(&[b"forged"]);
        let (bytes, _) = segment(&[&inner[DATA_START as usize..DATA_START as usize + 96], b"two"]);
        assert_eq!(intact(&scan_bytes(&bytes, 5)), [1, 2]);
    }

    #[test]
    fn bytes_of_an_earlier_use_are_nothing() {
        let (bytes, _) = segment(&[b"one", b"two"]);
        let scan = scan_bytes(&bytes, 6);
        assert!(scan.found.is_empty());
        assert_eq!(scan.end, DATA_START);
    }
}

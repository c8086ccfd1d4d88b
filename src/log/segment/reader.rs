//! Reads records from segment files. Blocking; runs where blocking is allowed. Changes nothing but the list of
//! records found damaged.

use std::io;

use bytes::Bytes;

use super::index::Place;
use super::record::{self, Decoded, Header};
use super::shared::Shared;
use super::sync::read;
use crate::log::{Entry, LogError, Page, Seq};

/// Bytes of neighbouring records fetched by one system call.
const SPAN: u32 = 256 * 1024;

/// Reads one record; `None` if what is there is not it, or damaged. An error says nothing about the record.
pub(super) fn read_record(place: &Place, seq: Seq) -> io::Result<Option<(Header, Bytes)>> {
    let mut buffer = vec![0; place.length as usize];
    match place.file.file.read_at(u64::from(place.offset), &mut buffer) {
        // The file was cut off.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    Ok(own(&buffer, place, seq).and_then(|decoded| {
        let payload = decoded.payload(&buffer)?;
        Some((decoded.header, Bytes::copy_from_slice(payload)))
    }))
}

fn own(bytes: &[u8], place: &Place, seq: Seq) -> Option<Decoded> {
    record::decode(bytes, place.file.generation).filter(|decoded| decoded.header.seq == seq)
}

/// One record by position.
pub(super) fn get(shared: &Shared, seq: Seq) -> Result<Option<Entry>, LogError> {
    let mut failed = None;
    loop {
        let place = {
            let index = read(&shared.index);
            if let Some((number, offset)) = index.damaged.get(&seq).copied() {
                drop(index);
                return Err(shared.report_damage(seq, number, offset));
            }
            index.place(seq)
        };
        let Some(place) = place else { return Ok(None) };
        if failed == Some((place.file.number, place.offset)) {
            // Not recycled while we looked: it is what lies there that is wrong.
            return Err(shared.report_damage(seq, place.file.number, place.offset));
        }
        let record = read_record(&place, seq)
            .map_err(|error| LogError::Unreadable { seq, reason: error.to_string() })?;
        if let Some((header, payload)) = record {
            return Ok(Some(Entry { seq, appended_ms: header.appended_ms, payload }));
        }
        failed = Some((place.file.number, place.offset));
    }
}

/// Records from a position on, up to `end`, as [`crate::log::EventLog::read_from`] promises. It stops in front of a
/// record that the disk does not let us read now.
pub(super) fn page(
    shared: &Shared,
    from: Seq,
    end: Seq,
    max_records: usize,
    max_bytes: usize,
) -> Result<Page, LogError> {
    let mut page = Page { entries: Vec::new(), next: from };
    let mut bytes = 0;
    let mut span = Span::default();
    while page.entries.len() < max_records && (page.entries.is_empty() || bytes < max_bytes) {
        let (seq, place) = {
            let index = read(&shared.index);
            let Some(seq) = index.first_from(page.next).filter(|seq| *seq < end) else {
                page.next = end;
                return Ok(page);
            };
            (seq, index.place(seq))
        };
        page.next = seq + 1;
        let entry = match place.and_then(|place| span.read(&place, seq, max_bytes)) {
            Some(entry) => Some(entry),
            // Damaged or just recycled or copied: look again, and have it reported.
            None => match get(shared, seq) {
                Err(LogError::Unreadable { .. }) if !page.entries.is_empty() => {
                    page.next = seq;
                    return Ok(page);
                }
                Err(error @ LogError::Unreadable { .. }) => return Err(error),
                read => read.ok().flatten(),
            },
        };
        if let Some(entry) = entry {
            bytes += entry.payload.len();
            page.entries.push(entry);
        }
    }
    if page.next > end {
        page.next = end;
    }
    Ok(page)
}

/// A stretch of a segment, read ahead.
#[derive(Default)]
struct Span {
    number: u64,
    start: u32,
    bytes: Vec<u8>,
}

impl Span {
    fn read(&mut self, place: &Place, seq: Seq, max_bytes: usize) -> Option<Entry> {
        let holds = self.number == place.file.number
            && place.offset >= self.start
            && (place.offset + place.length) as usize <= self.start as usize + self.bytes.len();
        if !holds {
            let ahead = SPAN.min(u32::try_from(max_bytes).unwrap_or(SPAN));
            let length = place.length.max(ahead).min(place.file.size - place.offset);
            self.bytes.resize(length as usize, 0);
            self.number = 0;
            place.file.file.read_at(u64::from(place.offset), &mut self.bytes).ok()?;
            self.number = place.file.number;
            self.start = place.offset;
        }
        let bytes = self.bytes.get((place.offset - self.start) as usize..)?;
        let decoded = own(bytes, place, seq)?;
        let payload = Bytes::copy_from_slice(decoded.payload(bytes)?);
        Some(Entry { seq, appended_ms: decoded.header.appended_ms, payload })
    }
}

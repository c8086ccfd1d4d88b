//! Where each record lies: four bytes of memory per record, plus a map of the few that were copied out.
//! No files are touched here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::file::{DATA_START, SegmentFile};
use super::record;
use crate::log::{Seq, within};

/// A segment and what is known about its records.
pub(super) struct Segment {
    pub(super) file: Arc<SegmentFile>,
    /// Position of the first event in it; meaningless while there is none.
    pub(super) base: Seq,
    /// Offset of each event by position from `base`; 0 where there is none.
    pub(super) offsets: Vec<u32>,
    /// Where its records end.
    pub(super) used: u32,
    /// Bytes of records in it that are not released.
    pub(super) live: u64,
    /// When the newest record in it was appended, Unix milliseconds.
    pub(super) last_ms: u64,
    /// Whether it may still grow (or is kept to do so).
    pub(super) open: bool,
}

impl Segment {
    pub(super) fn new(file: Arc<SegmentFile>) -> Self {
        Self { file, base: 0, offsets: Vec::new(), used: DATA_START, live: 0, last_ms: 0, open: true }
    }

    fn offset_of(&self, seq: Seq) -> Option<(usize, u32)> {
        let at = usize::try_from(seq.checked_sub(self.base)?).ok()?;
        self.offsets.get(at).filter(|offset| **offset != 0).map(|offset| (at, *offset))
    }

    /// Offset and length of an event, padding (and damaged bytes after it) included.
    fn extent(&self, seq: Seq) -> Option<(u32, u32)> {
        let (at, offset) = self.offset_of(seq)?;
        let end = self.offsets.get(at + 1..)?.iter().find(|next| **next != 0).unwrap_or(&self.used);
        Some((offset, end.saturating_sub(offset)))
    }

    fn first_from(&self, seq: Seq) -> Option<Seq> {
        let skip = usize::try_from(seq.saturating_sub(self.base)).ok()?;
        let at = self.offsets.iter().skip(skip).position(|offset| *offset != 0)?;
        Some(self.base + (skip + at) as u64)
    }

    /// Where the first event at or after a position begins; where the records end if there is none.
    fn offset_from(&self, seq: Seq) -> u32 {
        let first = self.first_from(seq).and_then(|first| self.offset_of(first));
        first.map_or(self.used, |(_, offset)| offset)
    }

    /// Bytes of events at or after a position.
    fn bytes_from(&self, seq: Seq) -> u64 {
        u64::from(self.used.saturating_sub(self.offset_from(seq)))
    }
}

/// A survivor in a segment of copies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub(super) number: u64,
    pub(super) offset: u32,
    pub(super) length: u32,
}

/// Where to read a record.
pub(super) struct Place {
    pub(super) file: Arc<SegmentFile>,
    pub(super) offset: u32,
    /// Bytes from the header on; the record is not longer.
    pub(super) length: u32,
}

/// What is not needed any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Released {
    /// Everything below this,
    pub(super) below: Seq,
    /// except these, ascending and disjoint.
    pub(super) keep: Vec<Range<Seq>>,
}

impl Released {
    pub(super) fn is_live(&self, seq: Seq) -> bool {
        seq >= self.below || within(&self.keep, seq)
    }
}

/// What the kept ranges hold, counted piece by piece so that nobody waits long for the index. Only the keeper changes
/// what lies below the log's end, and it is the one who counts.
#[derive(Default)]
pub(super) struct Kept {
    /// Bytes by segment.
    bytes: BTreeMap<u64, u64>,
    oldest: Option<Seq>,
}

/// Everything in a log.
#[derive(Default)]
pub(super) struct Index {
    /// By number, which for events is also the order of positions.
    pub(super) segments: BTreeMap<u64, Segment>,
    by_base: BTreeMap<Seq, u64>,
    moved: BTreeMap<Seq, Moved>,
    /// Records that were promised and are damaged: file number and offset.
    pub(super) damaged: BTreeMap<Seq, (u64, u32)>,
    pub(super) released: Released,
    /// The oldest record that is not released, and when it was appended.
    pub(super) oldest: Option<(Seq, u64)>,
    /// Bytes of records that are not released.
    pub(super) live: u64,
}

impl Index {
    /// Adds events that were written to a segment one after another.
    pub(super) fn publish(&mut self, number: u64, first: Seq, offsets: &[u32], used: u32, now_ms: u64) {
        let Some(segment) = self.segments.get_mut(&number) else { return };
        if segment.offsets.is_empty() {
            segment.base = first;
            self.by_base.insert(first, number);
        }
        // Positions that a torn write took before a restart stay empty.
        let gap = usize::try_from(first - segment.base).unwrap_or(0);
        segment.offsets.resize(gap.max(segment.offsets.len()), 0);
        segment.offsets.extend_from_slice(offsets);
        let bytes = u64::from(used - segment.used);
        segment.used = used;
        segment.live += bytes;
        segment.last_ms = segment.last_ms.max(now_ms);
        self.live += bytes;
        if self.oldest.is_none() {
            self.oldest = Some((first, now_ms));
        }
    }

    /// Adds events that were found in a segment after a restart.
    pub(super) fn place_events(&mut self, number: u64, first: Seq, found: &[(Seq, u32)]) {
        let Some(segment) = self.segments.get_mut(&number) else { return };
        segment.base = first;
        for (seq, offset) in found {
            segment.offsets.resize(usize::try_from(seq - first).unwrap_or(0), 0);
            segment.offsets.push(*offset);
        }
        self.by_base.insert(first, number);
    }

    /// Points positions at their copies.
    pub(super) fn publish_copies(&mut self, copies: &[(Seq, Moved)], used: u32, last_ms: u64) {
        for (seq, moved) in copies {
            self.moved.insert(*seq, *moved);
            if let Some(segment) = self.segments.get_mut(&moved.number) {
                segment.live += u64::from(moved.length);
                segment.last_ms = segment.last_ms.max(last_ms);
                segment.used = segment.used.max(used);
                self.live += u64::from(moved.length);
            }
        }
    }

    /// Whether the event itself is here, not a copy.
    pub(super) fn contains_event(&self, seq: Seq) -> bool {
        let number = self.by_base.range(..=seq).next_back().map(|(_, number)| number);
        number.and_then(|number| self.segments.get(number)).is_some_and(|s| s.extent(seq).is_some())
    }

    /// Whether an event or a copy of it is here.
    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.place(seq).is_some()
    }

    /// Where a record lies. A copy counts more than the original, whose segment is about to go.
    pub(super) fn place(&self, seq: Seq) -> Option<Place> {
        if let Some(moved) = self.moved.get(&seq) {
            let segment = self.segments.get(&moved.number)?;
            return Some(Place { file: segment.file.clone(), offset: moved.offset, length: moved.length });
        }
        let (_, number) = self.by_base.range(..=seq).next_back()?;
        let segment = self.segments.get(number)?;
        let (offset, length) = segment.extent(seq)?;
        let length = length.min(record::size(crate::log::MAX_PAYLOAD) as u32);
        Some(Place { file: segment.file.clone(), offset, length })
    }

    /// The first record at or after a position.
    pub(super) fn first_from(&self, seq: Seq) -> Option<Seq> {
        let moved = self.moved.range(seq..).next().map(|(seq, _)| *seq);
        let own = self.by_base.range(..=seq).next_back();
        let event = own
            .into_iter()
            .chain(self.by_base.range(seq..))
            .find_map(|(_, number)| self.segments.get(number)?.first_from(seq));
        match (moved, event) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Counts what ranges below the log's end hold: by segments, not by records, except for copies.
    pub(super) fn count_kept(&self, ranges: &[Range<Seq>], kept: &mut Kept) {
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let own = self.by_base.range(..=range.start).next_back();
            let further = self.by_base.range(range.start + 1..range.end);
            for (_, number) in own.into_iter().chain(further) {
                let Some(segment) = self.segments.get(number) else { continue };
                let bytes = segment.bytes_from(range.start).saturating_sub(segment.bytes_from(range.end));
                *kept.bytes.entry(*number).or_default() += bytes;
            }
            for moved in self.moved.range(range.clone()).map(|(_, moved)| moved) {
                *kept.bytes.entry(moved.number).or_default() += u64::from(moved.length);
            }
            if kept.oldest.is_none() {
                kept.oldest = self.first_from(range.start).filter(|first| *first < range.end);
            }
        }
    }

    /// Takes note of what is released, given what its ranges below `below` hold. Returns the oldest record if that
    /// changed; `oldest` is then to be set with its time.
    pub(super) fn release(&mut self, released: Released, kept: &Kept) -> Option<Seq> {
        self.released = Released { below: released.below.max(self.released.below), ..released };
        let below = self.released.below;
        for (number, segment) in &mut self.segments {
            segment.live = segment.bytes_from(below) + kept.bytes.get(number).unwrap_or(&0);
        }
        for moved in self.moved.range(below..).map(|(_, moved)| moved) {
            if let Some(segment) = self.segments.get_mut(&moved.number) {
                segment.live += u64::from(moved.length);
            }
        }
        self.live = self.segments.values().map(|segment| segment.live).sum();
        let oldest = kept.oldest.or_else(|| self.first_from(below));
        match (oldest, self.oldest) {
            (Some(seq), Some((known, _))) if seq == known => None,
            (None, _) => {
                self.oldest = None;
                None
            }
            (Some(seq), _) => Some(seq),
        }
    }

    /// The unreleased records of a segment with their places.
    pub(super) fn live_in(&self, number: u64) -> Vec<Seq> {
        let Some(segment) = self.segments.get(&number) else { return Vec::new() };
        let events = (segment.base..)
            .zip(&segment.offsets)
            .filter(|(_, offset)| **offset != 0)
            .map(|(seq, _)| seq)
            .filter(|seq| !self.moved.contains_key(seq));
        let copies = self.moved.iter().filter(|(_, moved)| moved.number == number).map(|(seq, _)| *seq);
        events.chain(copies).filter(|seq| self.released.is_live(*seq)).collect()
    }

    /// Forgets a segment and all that is in it.
    pub(super) fn remove(&mut self, number: u64) -> Option<Arc<SegmentFile>> {
        let segment = self.segments.remove(&number)?;
        self.by_base.remove(&segment.base);
        self.moved.retain(|_, moved| moved.number != number);
        self.live -= segment.live;
        self.damaged.retain(|_, (damaged, _)| *damaged != number);
        Some(segment.file)
    }

    /// The segment with the newest event.
    pub(super) fn newest_events(&self) -> Option<u64> {
        self.by_base.last_key_value().map(|(_, number)| *number)
    }

    /// Bytes of all segments on disk.
    pub(super) fn bytes_on_disk(&self) -> u64 {
        self.segments.values().map(|segment| u64::from(segment.file.size)).sum()
    }

    /// Bytes of the segments that hold something live or may grow.
    pub(super) fn bytes_in_use(&self) -> u64 {
        let used = self.segments.values().filter(|segment| segment.live > 0);
        used.map(|segment| u64::from(segment.file.size)).sum()
    }
}

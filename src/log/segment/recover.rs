//! What a log folder holds when it is opened: reads every segment once, tells damage to what was promised from
//! writes that a crash cut short, and leaves the disk so that what it found is durable. Starts no threads.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, write_zeros};
use super::file::{self, DATA_START, Opened, SegmentFile, Spare};
use super::ids_file;
use super::index::{Index, Kept, Moved, Released, Segment};
use super::keeper::IdsFile;
use super::record::{self, Header, Kind};
use super::scan::{Found, Scan, scan};
use crate::log::Seq;
use crate::log::known_ids::KnownIds;

/// A log as it was found.
pub(super) struct Recovered {
    pub(super) index: Index,
    /// Position of the next record.
    pub(super) end: Seq,
    pub(super) known: KnownIds,
    /// Where to go on writing.
    pub(super) active: Option<(Arc<SegmentFile>, u32)>,
    pub(super) spares: Vec<Spare>,
    pub(super) ids_files: BTreeMap<u64, IdsFile>,
    pub(super) next_number: u64,
    /// Damaged records that were promised, and damaged files.
    pub(super) corrupt: u64,
}

/// Positions that should be there and are not.
struct Missing {
    seqs: RangeInclusive<Seq>,
    number: u64,
    offset: u32,
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    log: Recovered,
    buffer: Vec<u8>,
    /// The highest position that any record says was durable.
    durable: Seq,
    missing: Vec<Missing>,
    /// Survivors, in order of copying: position, place, time, whether intact.
    copies: Vec<(Seq, Moved, bool)>,
    chain: Chain,
    /// In the newest segment with events: where to write again what may not be durable.
    newest: Option<Newest>,
}

/// The last event seen in segments that followed each other without a gap, and where something was off since.
#[derive(Default)]
struct Chain {
    last: Option<Seq>,
    number: u64,
    damage: Option<(u64, u32)>,
}

struct Newest {
    file: Arc<SegmentFile>,
    offsets: Vec<(Seq, u32)>,
    holes: Vec<Hole>,
    end: u32,
    torn: bool,
}

/// Positions missing between two intact records, and the stretch between those.
struct Hole {
    seqs: RangeInclusive<Seq>,
    from: u32,
    to: u32,
}

/// What is gathered of the events in one segment.
struct Events {
    number: u64,
    offsets: Vec<(Seq, u32)>,
    holes: Vec<Hole>,
    /// Whether it begins behind a gap that is right.
    gap: bool,
    /// Where the last intact record ends.
    end: u32,
}

/// Reads a log folder.
pub(super) fn recover(disk: &dyn Disk, dir: &Path, known: KnownIds, now_ms: u64) -> io::Result<Recovered> {
    file::remove_unfinished(disk, dir);
    let log = Recovered {
        index: Index::default(),
        end: 1,
        known,
        active: None,
        spares: Vec::new(),
        ids_files: BTreeMap::new(),
        next_number: 1,
        corrupt: 0,
    };
    let mut recovery = Recovery {
        disk,
        dir,
        log,
        buffer: Vec::new(),
        durable: 0,
        missing: Vec::new(),
        copies: Vec::new(),
        chain: Chain::default(),
        newest: None,
    };
    // Per number: whether there are identities, whether there is a segment.
    let mut numbers: BTreeMap<u64, (bool, bool)> = BTreeMap::new();
    for name in disk.list(dir)? {
        if let Some(number) = file::number_in(&name, "ids") {
            numbers.entry(number).or_default().0 = true;
        } else if let Some(number) = file::number_in(&name, "seg") {
            numbers.entry(number).or_default().1 = true;
        } else if file::is_spare(&name) {
            recovery.log.spares.push(file::open_spare(disk, dir.join(name))?);
        }
    }
    for (number, (ids, segment)) in numbers {
        recovery.log.next_number = number + 1;
        if ids {
            recovery.read_ids(number, !segment, now_ms)?;
        }
        if segment {
            recovery.read_segment(number)?;
        }
        recovery.log.known.prune(now_ms);
    }
    recovery.finish()
}

impl Recovery<'_> {
    fn read_ids(&mut self, number: u64, count: bool, now_ms: u64) -> io::Result<()> {
        let Some(ids) = ids_file::read(self.disk, self.dir, number)? else {
            tracing::error!(file = %self.dir.join(file::ids_name(number)).display(), "a file of identities is damaged");
            self.log.known.lost_until(now_ms);
            self.log.corrupt += 1;
            return Ok(());
        };
        let last_ms = ids.iter().map(|id| id.at_ms).max().unwrap_or(0);
        self.log.ids_files.insert(number, IdsFile { count: ids.len(), last_ms });
        // With the segment still there, its records say the same.
        for id in ids.iter().filter(|_| count) {
            self.log.known.push(id.key, id.body_hash, id.at_ms);
        }
        Ok(())
    }

    fn read_segment(&mut self, number: u64) -> io::Result<()> {
        if self.chain.number + 1 != number {
            self.chain = Chain::default();
        }
        self.chain.number = number;
        match file::open(self.disk, self.dir, number)? {
            Opened::Spare(spare) => {
                self.log.spares.push(spare);
                self.chain = Chain::default();
                Ok(())
            }
            Opened::Damaged => {
                let name = file::segment_name(number);
                let path = self.dir.join(&name);
                tracing::error!(file = %path.display(), "the header of a segment is damaged; the file was set aside");
                self.log.corrupt += 1;
                self.chain.damage.get_or_insert((number, 0));
                self.disk.rename(&path, &self.dir.join(format!("{name}.damaged")))?;
                self.disk.sync_dir(self.dir)
            }
            Opened::Segment(segment) => {
                let segment = Arc::new(segment);
                let scan = scan(&segment, &mut self.buffer)?;
                self.take_scan(&segment, &scan);
                if self.log.index.segments.contains_key(&number) {
                    return Ok(());
                }
                // Prepared but never written to, or with nothing that survived.
                self.log.spares.push(file::open_spare(self.disk, self.dir.join(file::segment_name(number)))?);
                Ok(())
            }
        }
    }

    fn take_scan(&mut self, file: &Arc<SegmentFile>, scan: &Scan) {
        let number = file.number;
        let used = scan.found.iter().any(|found| found.intact);
        let mut unreadable = scan.unreadable.iter().copied().peekable();
        let mut segment = Segment::new(file.clone());
        segment.open = false;
        segment.used = scan.end;
        let mut events =
            Events { number, offsets: Vec::new(), holes: Vec::new(), gap: false, end: DATA_START };
        for found in &scan.found {
            let header = found.header;
            while let Some(offset) = unreadable.next_if(|offset| *offset < found.offset) {
                self.chain.damage.get_or_insert((number, offset));
            }
            self.durable = self.durable.max(header.durable);
            self.log.end = self.log.end.max(header.durable + 1);
            if used {
                self.log.end = self.log.end.max(header.seq + 1);
            }
            match header.kind {
                Kind::Mark => {}
                Kind::Copy => {
                    let moved = Moved { number, offset: found.offset, length: found.size };
                    self.copies.push((header.seq, moved, found.intact));
                }
                Kind::Gap => {
                    self.chain.last = self.chain.last.max(Some(header.seq));
                    self.chain.damage = None;
                    events.gap = true;
                }
                Kind::Event | Kind::Absent => self.take_event(found, &mut events),
            }
            if found.intact {
                events.end = found.offset + found.size;
            }
            segment.last_ms = segment.last_ms.max(header.appended_ms);
        }
        if !used {
            return;
        }
        self.log.index.segments.insert(number, segment);
        let Events { offsets, holes, gap, .. } = events;
        if let Some((first, _)) = offsets.first() {
            self.log.index.place_events(number, *first, &offsets);
        }
        if gap || !offsets.is_empty() {
            let torn = scan.found.last().is_some_and(|found| !found.intact);
            self.newest = Some(Newest { file: file.clone(), offsets, holes, end: scan.end, torn });
        }
    }

    fn take_event(&mut self, found: &Found, events: &mut Events) {
        let seq = found.header.seq;
        if !found.intact {
            self.missing.push(Missing { seqs: seq..=seq, number: events.number, offset: found.offset });
            return;
        }
        if let Some(last) = self.chain.last {
            if seq <= last {
                return;
            }
            if seq > last + 1 {
                let (number, offset) = self.chain.damage.unwrap_or((events.number, found.offset));
                let seqs = last + 1..=seq - 1;
                self.missing.push(Missing { seqs: seqs.clone(), number, offset });
                events.holes.push(Hole { seqs, from: events.end, to: found.offset });
            }
        }
        self.chain.last = Some(seq);
        self.chain.damage = None;
        let header = found.header;
        if header.kind == Kind::Event {
            events.offsets.push((seq, found.offset));
            self.log.known.push(header.key, header.body_hash, header.appended_ms);
        }
    }

    fn finish(mut self) -> io::Result<Recovered> {
        if let Some(last) = self.chain.last
            && last < self.durable
        {
            let (number, offset) = self.chain.damage.unwrap_or((self.chain.number, 0));
            self.missing.push(Missing { seqs: last + 1..=self.durable, number, offset });
        }
        self.place_copies()?;
        self.report_missing();
        self.settle_newest()?;
        let index = &mut self.log.index;
        if let Some(oldest) = index.release(Released::default(), &Kept::default()) {
            let place = index.place(oldest);
            let read = place.and_then(|place| super::reader::read_record(&place, oldest).ok().flatten());
            index.oldest = Some((oldest, read.map_or(0, |(header, _)| header.appended_ms)));
        }
        Ok(self.log)
    }

    /// A copy counts only when the original is gone: else it may be one that was not finished. Such a torn one is
    /// overwritten, or it would look like a loss once the original is released and gone.
    fn place_copies(&mut self) -> io::Result<()> {
        for (seq, moved, intact) in std::mem::take(&mut self.copies) {
            let original = self.log.index.contains_event(seq);
            if intact && !original {
                self.log.index.publish_copies(&[(seq, moved)], 0, 0);
            } else if !intact && original {
                let segment = self.log.index.segments.get(&moved.number);
                let Some(file) = segment.map(|segment| segment.file.clone()) else { continue };
                let header = self.header(Kind::Mark, file.generation, self.durable);
                let mut bytes = Vec::new();
                record::encode(&mut bytes, &header, &vec![0; moved.length as usize - record::HEADER]);
                file.file.write_at(u64::from(moved.offset), &bytes)?;
                file.file.sync()?;
            } else if !intact {
                self.missing.push(Missing { seqs: seq..=seq, number: moved.number, offset: moved.offset });
            }
        }
        Ok(())
    }

    fn report_missing(&mut self) {
        for missing in std::mem::take(&mut self.missing) {
            for seq in missing.seqs {
                // Beyond the mark it was never promised; elsewhere intact it is not lost.
                if seq > self.durable || self.log.index.contains(seq) {
                    continue;
                }
                if let Entry::Vacant(damaged) = self.log.index.damaged.entry(seq) {
                    damaged.insert((missing.number, missing.offset));
                    self.log.corrupt += 1;
                    let place = self.dir.join(file::segment_name(missing.number));
                    tracing::error!(seq, place = %place.display(), offset = missing.offset, "a record is damaged and was skipped");
                }
            }
        }
    }

    /// Makes sure that what is reported from now on as durable is. A process before us may have died of a failed
    /// fdatasync, after which the page cache shows bytes that the disk does not have and calls them clean: so
    /// whatever is not known durable is written again, not only synced.
    fn settle_newest(&mut self) -> io::Result<()> {
        let Some(newest) = self.newest.take() else { return Ok(()) };
        let file = &newest.file.file;
        if let Some((_, from)) = newest.offsets.iter().find(|(seq, _)| *seq > self.durable) {
            let mut bytes = vec![0; (newest.end - from) as usize];
            file.read_at(u64::from(*from), &mut bytes)?;
            file.write_at(u64::from(*from), &bytes)?;
        }
        for hole in &newest.holes {
            self.fill_hole(&newest.file, hole)?;
        }
        let end = self.end_tail(&newest)?;
        file.sync()?;
        if let Some(segment) = self.log.index.segments.get_mut(&newest.file.number) {
            segment.open = true;
        }
        self.log.active = Some((newest.file, end));
        Ok(())
    }

    /// Notes in the place of records that a crash tore that they were never promised, so that the next recovery,
    /// with later records around, does not take them for lost. Each had room for a header.
    fn fill_hole(&self, file: &SegmentFile, hole: &Hole) -> io::Result<()> {
        let absent = self.absent(file.generation, hole.seqs.clone());
        let start = u64::from(hole.to).saturating_sub(absent.len() as u64);
        if absent.is_empty() || start < u64::from(hole.from) {
            return Ok(());
        }
        write_zeros(&*file.file, u64::from(hole.from), start)?;
        file.file.write_at(start, &absent)
    }

    /// The same behind the last intact record, where the rest is zeroed: else the header of a torn record could
    /// turn up again behind what is appended now.
    fn end_tail(&self, newest: &Newest) -> io::Result<u32> {
        let file = &newest.file;
        let last = self.chain.last.unwrap_or(0);
        let absent = self.absent(file.generation, last + 1..=self.log.end - 1);
        let end = newest.end + absent.len() as u32;
        if newest.torn {
            write_zeros(&*file.file, u64::from(newest.end), u64::from(file.size))?;
        }
        if end > file.size {
            return Ok(newest.end);
        }
        file.file.write_at(u64::from(newest.end), &absent)?;
        Ok(end)
    }

    fn absent(&self, generation: u64, seqs: RangeInclusive<Seq>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for seq in seqs.filter(|seq| *seq > self.durable) {
            record::encode(&mut bytes, &self.header(Kind::Absent, generation, seq), &[]);
        }
        bytes
    }

    fn header(&self, kind: Kind, generation: u64, seq: Seq) -> Header {
        let durable = self.durable;
        Header { kind, generation, seq, appended_ms: 0, durable, key: [0; 16], body_hash: [0; 16] }
    }
}

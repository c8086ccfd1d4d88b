//! Makes state operations durable: frames in a pre-zeroed journal, and snapshots of the whole table from which the
//! journal can start anew. A journal is a segment file whose records are frames, numbered without gaps.
//!
//! The last two snapshots and the journal between them are kept, so that one damaged file loses nothing. Where a
//! frame in the middle is damaged, what follows it is not used: an older state delivers something again, a state
//! with a hole could forget an event.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::disk::{Disk, is_full, read_all, replace, write_zeros};
use super::super::file::{self, DATA_START, Opened, SegmentFile, Spare};
use super::super::record::{self, Header, Kind, u64_at};
use super::super::scan::scan;
use super::codec;
use crate::log::table::Table;

const SNAPSHOT_MAGIC: u64 = u64::from_le_bytes(*b"chatsnp1");
const SNAPSHOT_HEADER: usize = 24;
/// A file that is only there to be given up when the disk is full, so that a snapshot finds room.
const BALLAST: &str = "ballast";

/// A journal grows with the state up to this size in bytes, so that offsets in it fit into 32 bits.
const MAX_BYTES: usize = 1024 * 1024 * 1024;

/// Journal files and snapshots of one folder.
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Bytes of a journal at least.
    min_bytes: u32,
    /// The one that is written to, and where the next frame goes; none until the first rotation.
    current: Option<(SegmentFile, u32)>,
    /// Journals before it that are still kept, oldest first.
    older: Vec<SegmentFile>,
    spares: Vec<Spare>,
    /// Snapshots by the frame they go before, oldest first.
    snapshots: Vec<u64>,
    next_number: u64,
    next_frame: u64,
    ballast_bytes: u64,
    buffer: Vec<u8>,
}

fn snapshot_name(next_frame: u64) -> String {
    format!("{next_frame:016}.snapshot")
}

fn encode_snapshot(next_frame: u64, table: &Table) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SNAPSHOT_HEADER + table.bytes() + 1024);
    bytes.extend_from_slice(&SNAPSHOT_MAGIC.to_le_bytes());
    bytes.extend_from_slice(&next_frame.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    codec::encode_table(&mut bytes, table);
    let crc = u64::from(crc32c::crc32c(&bytes));
    if let Some(field) = bytes.get_mut(16..SNAPSHOT_HEADER) {
        field.copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}

fn decode_snapshot(mut bytes: Vec<u8>) -> Option<Table> {
    let crc = u64_at(&bytes, 16)?;
    bytes.get_mut(16..SNAPSHOT_HEADER)?.fill(0);
    if u64_at(&bytes, 0)? != SNAPSHOT_MAGIC || u64::from(crc32c::crc32c(&bytes)) != crc {
        return None;
    }
    let mut table = Table::default();
    for op in codec::decode(bytes.get(SNAPSHOT_HEADER..)?)? {
        table.apply(op);
    }
    Some(table)
}

impl Journal {
    /// Reads what is there and starts a journal of its own, so that nothing of a torn end can come back.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: PathBuf, min_bytes: u32) -> io::Result<(Self, Table)> {
        disk.create_dir(&dir)?;
        file::remove_unfinished(&*disk, &dir);
        let mut journal = Self {
            disk,
            dir,
            min_bytes,
            current: None,
            older: Vec::new(),
            spares: Vec::new(),
            snapshots: Vec::new(),
            next_number: 1,
            next_frame: 1,
            ballast_bytes: 0,
            buffer: Vec::new(),
        };
        let mut numbers = Vec::new();
        for name in journal.disk.list(&journal.dir)? {
            if let Some(number) = file::number_in(&name, "seg") {
                numbers.push(number);
            } else if let Some(frame) = file::number_in(&name, "snapshot") {
                journal.snapshots.push(frame);
            } else if file::is_spare(&name) {
                journal.spares.push(file::open_spare(&*journal.disk, journal.dir.join(name))?);
            } else if name == BALLAST {
                journal.ballast_bytes = journal.disk.open(&journal.dir.join(name))?.len()?;
            }
        }
        numbers.sort_unstable();
        journal.snapshots.sort_unstable();
        let mut table = journal.read_snapshot()?;
        journal.replay(&numbers, &mut table)?;
        journal.rotate(&table, 0)?;
        Ok((journal, table))
    }

    fn read_snapshot(&mut self) -> io::Result<Table> {
        for frame in self.snapshots.clone().into_iter().rev() {
            let path = self.dir.join(snapshot_name(frame));
            if let Some(table) = decode_snapshot(read_all(&*self.disk.open(&path)?)?) {
                self.next_frame = frame;
                return Ok(table);
            }
            tracing::error!(file = %path.display(), "a snapshot of delivery state is damaged; going back to the one before");
            self.snapshots.retain(|kept| *kept != frame);
            self.disk.rename(&path, &path.with_extension("damaged"))?;
            if self.snapshots.is_empty() {
                let message = format!(
                    "{} is damaged and no earlier snapshot is left; move the folder {} away to start with all events undelivered",
                    path.with_extension("damaged").display(),
                    self.dir.display()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(Table::default())
    }

    fn replay(&mut self, numbers: &[u64], table: &mut Table) -> io::Result<()> {
        let mut seen = self.next_frame;
        let mut whole = true;
        for number in numbers {
            self.next_number = number + 1;
            let segment = match file::open(&*self.disk, &self.dir, *number)? {
                Opened::Segment(segment) => segment,
                Opened::Spare(spare) => {
                    self.spares.push(spare);
                    continue;
                }
                Opened::Damaged => {
                    let path = self.dir.join(file::segment_name(*number));
                    tracing::error!(file = %path.display(), "the header of a state journal is damaged; the file was set aside");
                    self.disk.rename(&path, &path.with_extension("damaged"))?;
                    continue;
                }
            };
            let scan = scan(&segment, &mut self.buffer)?;
            for found in &scan.found {
                let frame = found.header.seq;
                seen = seen.max(frame + 1);
                whole &= found.header.durable < self.next_frame;
                if !found.intact || frame != self.next_frame {
                    whole &= frame <= self.next_frame;
                    continue;
                }
                let start = found.offset as usize;
                let bytes = self.buffer.get(start..).unwrap_or_default();
                let decoded = record::decode(bytes, segment.generation);
                let ops = decoded.and_then(|d| codec::decode(d.payload(bytes)?));
                if let Some(ops) = ops {
                    for op in ops {
                        table.apply(op);
                    }
                    self.next_frame += 1;
                }
            }
            self.older.push(segment);
        }
        if !whole {
            let frame = self.next_frame;
            tracing::error!(dir = %self.dir.display(), frame, "the state journal is damaged; what came after this frame is not used and some events are delivered again");
        }
        // Numbers of frames that do not count any more are not used again.
        self.next_frame = seen;
        Ok(())
    }

    /// Whether a frame with this many bytes of operations fits into the journal.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let room = self.current.as_ref().map_or(0, |(file, at)| file.size - at);
        record::size(bytes) <= room as usize
    }

    /// Writes a frame that fits and syncs it. After an error without room the journal takes nothing until the next
    /// [`Journal::rotate`]; any other error is for good.
    pub(super) fn write(&mut self, ops: &[u8]) -> io::Result<()> {
        let Some((file, at)) = &mut self.current else { return Err(io::ErrorKind::StorageFull.into()) };
        let header = Header {
            kind: Kind::Event,
            generation: file.generation,
            seq: self.next_frame,
            appended_ms: 0,
            durable: self.next_frame - 1,
            key: [0; 16],
            body_hash: [0; 16],
        };
        self.buffer.clear();
        record::encode(&mut self.buffer, &header, ops);
        self.next_frame += 1;
        if let Err(error) = file.file.write_at(u64::from(*at), &self.buffer) {
            if is_full(&error)
                && let Some((file, _)) = self.current.take()
            {
                self.older.push(file);
            }
            return Err(error);
        }
        // An error here is never one of room: the space is there.
        file.file.sync().map_err(io::Error::other)?;
        *at += self.buffer.len() as u32;
        Ok(())
    }

    /// Writes a snapshot and starts a journal in which a frame of `bytes` fits.
    pub(super) fn rotate(&mut self, table: &Table, bytes: usize) -> io::Result<()> {
        self.write_snapshot(table)?;
        let wanted =
            table.bytes().saturating_mul(2).min(MAX_BYTES).max(DATA_START as usize + record::size(bytes));
        let wanted = wanted.max(self.min_bytes as usize).next_multiple_of(4096);
        let wanted = u32::try_from(wanted).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
        let spare = self.find_spare(wanted, DATA_START as usize + record::size(bytes))?;
        let file = file::put_to_use(&*self.disk, &self.dir, spare, self.next_number)?;
        self.next_number += 1;
        if let Some((old, _)) = self.current.replace((file, DATA_START)) {
            self.older.push(old);
        }
        while self.older.len() > 1 {
            let spare = file::make_spare(&*self.disk, &self.dir, &self.older.remove(0))?;
            self.spares.push(spare);
        }
        while self.spares.len() > 1 {
            file::remove_spare(&*self.disk, &self.dir, self.spares.remove(0))?;
        }
        self.make_ballast(u64::from(wanted))
    }

    fn write_snapshot(&mut self, table: &Table) -> io::Result<()> {
        let name = snapshot_name(self.next_frame);
        let bytes = encode_snapshot(self.next_frame, table);
        let mut written = replace(&*self.disk, &self.dir, &name, &bytes);
        if written.as_ref().is_err_and(is_full) && self.ballast_bytes > 0 {
            self.give_up_ballast()?;
            written = replace(&*self.disk, &self.dir, &name, &bytes);
        }
        if written.as_ref().is_err_and(is_full) {
            self.forget_snapshots(1)?;
            written = replace(&*self.disk, &self.dir, &name, &bytes);
        }
        written?;
        self.snapshots.retain(|kept| *kept != self.next_frame);
        self.snapshots.push(self.next_frame);
        self.forget_snapshots(2)
    }

    fn forget_snapshots(&mut self, keep: usize) -> io::Result<()> {
        while self.snapshots.len() > keep {
            self.disk.remove(&self.dir.join(snapshot_name(self.snapshots.remove(0))))?;
        }
        self.disk.sync_dir(&self.dir)
    }

    /// A spare file of the wanted size; without room for one, any in which the next frame fits.
    fn find_spare(&mut self, wanted: u32, needed: usize) -> io::Result<Spare> {
        if let Some(at) = self.spares.iter().position(|spare| spare.size >= wanted) {
            return Ok(self.spares.swap_remove(at));
        }
        let mut created = file::create_spare(&*self.disk, &self.dir, wanted);
        if created.as_ref().is_err_and(is_full) && self.ballast_bytes > 0 {
            self.give_up_ballast()?;
            created = file::create_spare(&*self.disk, &self.dir, wanted);
        }
        let error = match created {
            Err(error) if is_full(&error) => error,
            created => return created,
        };
        if let Some(at) = self.spares.iter().position(|spare| spare.size as usize >= needed) {
            return Ok(self.spares.swap_remove(at));
        }
        // With the snapshot, the journals so far are only needed should it get damaged.
        if let Some((current, _)) = self.current.take() {
            self.older.push(current);
        }
        match self.older.iter().position(|file| file.size as usize >= needed) {
            Some(at) => file::make_spare(&*self.disk, &self.dir, &self.older.remove(at)),
            None => Err(error),
        }
    }

    fn give_up_ballast(&mut self) -> io::Result<()> {
        tracing::warn!(dir = %self.dir.display(), "the disk is full; delivery state goes on with the space kept for that");
        self.ballast_bytes = 0;
        self.disk.remove(&self.dir.join(BALLAST))?;
        self.disk.sync_dir(&self.dir)
    }

    /// Keeps room for the next snapshot; without room for that now, it is tried again with the next rotation.
    fn make_ballast(&mut self, bytes: u64) -> io::Result<()> {
        if self.ballast_bytes >= bytes {
            return Ok(());
        }
        let path = self.dir.join(BALLAST);
        let made = self.disk.create(&path).and_then(|file| {
            write_zeros(&*file, 0, bytes)?;
            file.sync()
        });
        self.ballast_bytes = if made.is_ok() { bytes } else { 0 };
        match made {
            Err(error) if is_full(&error) => self.disk.remove(&path)?,
            made => made?,
        }
        self.disk.sync_dir(&self.dir)
    }
}

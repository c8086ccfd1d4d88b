//! The thread that keeps room: prepares the next segment ahead of the writer, takes segments back when nobody needs
//! them, copies sparse survivors out of the way. It never appends events.
//!
//! When room is wanted: a spare file; else a new one within the capacity; else the oldest segment that is released;
//! else the sparsest that is less than half live, after copying what lives; else, if the log may drop, the oldest.
//! One spare file is kept for the copying, so that it can always proceed.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::disk::is_full;
use super::file::{self, DATA_START, SegmentFile, Spare};
use super::ids_file::{self, Id};
use super::index::{Kept, Moved, Released};
use super::reader::read_record;
use super::record::{self, Header, Kind};
use super::scan::scan;
use super::shared::{Next, Overflow, Refusal, Shared};
use super::sync::{EndsProperly, lock, read, write};
use super::writer::add_open;

/// How often segments past retention are looked for when nothing else happens.
const TICK: Duration = Duration::from_secs(30);
/// How long a full disk is not tried again: each try fills what is left of it.
const DISK_FULL_PAUSE: Duration = Duration::from_millis(100);
/// Released ranges counted while the writer may have to wait for the index.
const RANGES_AT_ONCE: usize = 1024;
/// Bytes of survivors written at once.
const COPY_CHUNK: usize = 1024 * 1024;

/// A file with the identities of a recycled segment.
#[derive(Clone, Copy)]
pub(super) struct IdsFile {
    pub(super) count: usize,
    pub(super) last_ms: u64,
}

/// The keeper's own state.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) spares: Vec<Spare>,
    pub(super) ids_files: BTreeMap<u64, IdsFile>,
    pub(super) next_number: u64,
    /// Where survivors are copied to, and where the next goes in it.
    survivors: Option<(Arc<SegmentFile>, u32)>,
    disk_full: Option<Instant>,
}

/// Tells the writer, should it wait, that nobody will come.
struct Gone<'a>(&'a Shared);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        lock(&self.0.orders).gone = true;
        self.0.ordered.notify_all();
    }
}

impl Keeper {
    pub(super) fn new(
        shared: Arc<Shared>,
        spares: Vec<Spare>,
        ids_files: BTreeMap<u64, IdsFile>,
        next_number: u64,
    ) -> Self {
        Self { shared, spares, ids_files, next_number, survivors: None, disk_full: None }
    }

    /// The segment a new log starts with, made before the thread runs.
    pub(super) fn first_segment(&mut self) -> io::Result<Arc<SegmentFile>> {
        self.drop_misfits()?;
        let spare = match self.spares.pop() {
            Some(spare) => spare,
            None => file::create_spare(&*self.shared.disk, &self.shared.dir, self.shared.segment_size())?,
        };
        self.open_segment(spare)
    }

    /// Runs until closed.
    pub(super) fn run(mut self) {
        let shared = self.shared.clone();
        let _gone = Gone(&shared);
        let _guard = EndsProperly { failure: &shared.failure, thread: "keeper" };
        while let Some((release, wanted)) = self.await_orders() {
            if let Err(error) = self.work(release, wanted) {
                let reason = format!("keeping room in {} failed: {error}", shared.dir.display());
                let reason = shared.failure.set(reason);
                lock(&shared.orders).next = Next::Refused(Refusal::Failed(reason));
                shared.ordered.notify_all();
                return;
            }
        }
    }

    /// What was released meanwhile, and whether a segment is wanted; `None` once closed.
    fn await_orders(&self) -> Option<(Option<Released>, bool)> {
        let shared = &self.shared;
        let mut orders = lock(&shared.orders);
        loop {
            if orders.closed {
                return None;
            }
            if orders.changed {
                orders.changed = false;
                let wanted = match &orders.next {
                    Next::Wanted => true,
                    // There may be room now.
                    Next::Refused(refusal) => refusal.is_for_room(),
                    Next::Ready(_) => false,
                };
                return Some((orders.release.take(), wanted));
            }
            let (guard, timeout) =
                shared.ordered.wait_timeout(orders, TICK).unwrap_or_else(PoisonError::into_inner);
            orders = guard;
            orders.changed |= timeout.timed_out();
        }
    }

    fn work(&mut self, release: Option<Released>, wanted: bool) -> io::Result<()> {
        if let Some(released) = release {
            self.release(released);
        }
        if wanted {
            let next = match self.obtain()? {
                Ok(file) => Next::Ready(file),
                Err(refusal) => Next::Refused(refusal),
            };
            let mut orders = lock(&self.shared.orders);
            if matches!(next, Next::Ready(_)) {
                self.shared.counters.refusing.store(false, Ordering::Relaxed);
            }
            orders.next = next;
            drop(orders);
            self.shared.ordered.notify_all();
        }
        self.expire()?;
        self.fill_reserve()
    }

    fn release(&self, mut released: Released) {
        released.below = released.below.min(*self.shared.end.borrow());
        released.keep.retain(|range| range.start < released.below);
        if let Some(last) = released.keep.last_mut() {
            last.end = last.end.min(released.below);
        }
        let mut kept = Kept::default();
        for ranges in released.keep.chunks(RANGES_AT_ONCE) {
            read(&self.shared.index).count_kept(ranges, &mut kept);
        }
        let Some(oldest) = write(&self.shared.index).release(released, &kept) else { return };
        let place = read(&self.shared.index).place(oldest);
        let appended_ms = place
            .and_then(|place| read_record(&place, oldest).ok().flatten())
            .map(|(header, _)| header.appended_ms);
        write(&self.shared.index).oldest = Some((oldest, appended_ms.unwrap_or(0)));
    }

    fn reserve(&self) -> usize {
        match self.shared.options.overflow {
            Overflow::Refuse => 1,
            Overflow::DropOldest => 0,
        }
    }

    fn bytes_on_disk(&self) -> u64 {
        let spares: u64 = self.spares.iter().map(|spare| u64::from(spare.size)).sum();
        spares + read(&self.shared.index).bytes_on_disk()
    }

    fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// A segment to write to, or why there is none.
    fn obtain(&mut self) -> io::Result<Result<Arc<SegmentFile>, Refusal>> {
        let shared = self.shared.clone();
        self.drop_misfits()?;
        let mut disk_full = false;
        loop {
            if self.spares.len() > self.reserve()
                && let Some(spare) = self.spares.pop()
            {
                return self.open_segment(spare).map(Ok);
            }
            if !disk_full {
                match self.create(self.reserve())? {
                    Created::Yes => continue,
                    Created::DiskFull => disk_full = true,
                    Created::AtCapacity => {}
                }
            }
            if let Some(number) = self.oldest_released() {
                self.retire(number)?;
                continue;
            }
            if self.reserve() > 0 && self.copy_survivors_out()? {
                continue;
            }
            if shared.options.overflow == Overflow::DropOldest
                && let Some(number) = self.oldest_finished()
            {
                let lost = read(&shared.index).live_in(number).len() as u64;
                shared.counters.dropped.fetch_add(lost, Ordering::Relaxed);
                self.retire(number)?;
                continue;
            }
            return Ok(Err(if disk_full { Refusal::DiskFull } else { Refusal::Full }));
        }
    }

    fn open_segment(&mut self, spare: Spare) -> io::Result<Arc<SegmentFile>> {
        let number = self.take_number();
        let segment = Arc::new(file::put_to_use(&*self.shared.disk, &self.shared.dir, spare, number)?);
        add_open(&self.shared, &segment);
        Ok(segment)
    }

    /// Removes spare files that are of another size than is wanted now, or more than may be.
    fn drop_misfits(&mut self) -> io::Result<()> {
        let size = self.shared.segment_size();
        let (fitting, misfits) =
            std::mem::take(&mut self.spares).into_iter().partition(|spare| spare.size == size);
        self.spares = fitting;
        for spare in misfits {
            file::remove_spare(&*self.shared.disk, &self.shared.dir, spare)?;
        }
        while self.bytes_on_disk() > self.shared.limits().capacity_bytes
            && let Some(spare) = self.spares.pop()
        {
            file::remove_spare(&*self.shared.disk, &self.shared.dir, spare)?;
        }
        Ok(())
    }

    /// Adds a spare file if the capacity allows that and the missing ones of the reserve.
    fn create(&mut self, reserve: usize) -> io::Result<Created> {
        let size = self.shared.segment_size();
        let missing = reserve.saturating_sub(self.spares.len()) as u64 + 1;
        if self.bytes_on_disk() + missing * u64::from(size) > self.shared.limits().capacity_bytes {
            return Ok(Created::AtCapacity);
        }
        if self.disk_full.is_some_and(|since| since.elapsed() < DISK_FULL_PAUSE) {
            return Ok(Created::DiskFull);
        }
        match file::create_spare(&*self.shared.disk, &self.shared.dir, size) {
            Ok(spare) => {
                self.spares.push(spare);
                Ok(Created::Yes)
            }
            Err(error) if is_full(&error) => {
                self.disk_full = Some(Instant::now());
                Ok(Created::DiskFull)
            }
            Err(error) => Err(error),
        }
    }

    /// Without room for it now, it is tried again with the next order.
    fn fill_reserve(&mut self) -> io::Result<()> {
        if self.spares.len() < self.reserve() {
            self.create(0)?;
        }
        Ok(())
    }

    /// Finished segments that may go, oldest first. The one with the newest event stays, as it alone tells a
    /// restart which positions are taken.
    fn finished(&self) -> Vec<(u64, u64, u64, u32)> {
        let index = read(&self.shared.index);
        let newest = index.newest_events();
        let finished =
            index.segments.iter().filter(|(number, segment)| !segment.open && Some(**number) != newest);
        finished.map(|(number, s)| (*number, s.live, s.last_ms, s.file.size)).collect()
    }

    fn oldest_released(&self) -> Option<u64> {
        self.finished().into_iter().find(|(_, live, ..)| *live == 0).map(|(number, ..)| number)
    }

    fn oldest_finished(&self) -> Option<u64> {
        self.finished().first().map(|(number, ..)| *number)
    }

    /// Takes back what is past retention.
    fn expire(&mut self) -> io::Result<()> {
        let now_ms = (self.shared.clock)();
        let retention_ms = self.shared.limits().retention_ms;
        let drops = self.shared.options.overflow == Overflow::DropOldest;
        for (number, live, last_ms, _) in self.finished() {
            if (live == 0 || drops) && last_ms.saturating_add(retention_ms) <= now_ms {
                self.retire(number)?;
            }
        }
        while self.spares.len() > self.reserve() + 1
            && let Some(spare) = self.spares.pop()
        {
            file::remove_spare(&*self.shared.disk, &self.shared.dir, spare)?;
        }
        self.expire_ids(now_ms)
    }

    /// Turns a segment into a spare file (or removes it, if it is of the wrong size or there is too much).
    fn retire(&mut self, number: u64) -> io::Result<()> {
        let shared = self.shared.clone();
        self.save_ids(number)?;
        let Some(segment) = write(&shared.index).remove(number) else { return Ok(()) };
        let spare = file::make_spare(&*shared.disk, &shared.dir, &segment)?;
        self.spares.push(spare);
        self.drop_misfits()
    }

    fn save_ids(&mut self, number: u64) -> io::Result<()> {
        let shared = &self.shared;
        let (segment, last_ms) = {
            let index = read(&shared.index);
            match index.segments.get(&number) {
                Some(segment) if !segment.offsets.is_empty() => (segment.file.clone(), segment.last_ms),
                _ => return Ok(()),
            }
        };
        let dedup = shared.options.dedup;
        if dedup.max_ids == 0 || last_ms.saturating_add(dedup.window_ms) < (shared.clock)() {
            return Ok(());
        }
        let events = scan(&segment, &mut Vec::new())?.found.into_iter().filter(|found| found.intact);
        let ids: Vec<Id> = events
            .map(|found| found.header)
            .filter(|header| header.kind == Kind::Event)
            .map(|h| Id { key: h.key, body_hash: h.body_hash, at_ms: h.appended_ms })
            .collect();
        match ids_file::write(&*shared.disk, &shared.dir, number, &ids) {
            Ok(()) => {
                self.ids_files.insert(number, IdsFile { count: ids.len(), last_ms });
                Ok(())
            }
            Err(error) if is_full(&error) => {
                let dir = shared.dir.display();
                tracing::warn!(%dir, "no room to keep identities; after a restart repeats are recognised less far back");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Removes identities that are too old or too many anyway.
    fn expire_ids(&mut self, now_ms: u64) -> io::Result<()> {
        let dedup = self.shared.options.dedup;
        let mut newer = 0;
        let mut superfluous = Vec::new();
        for (number, ids) in self.ids_files.iter().rev() {
            if newer >= dedup.max_ids || ids.last_ms.saturating_add(dedup.window_ms) < now_ms {
                superfluous.push(*number);
            }
            newer += ids.count;
        }
        for number in superfluous {
            self.ids_files.remove(&number);
            self.shared.disk.remove(&self.shared.dir.join(file::ids_name(number)))?;
        }
        Ok(())
    }

    /// Copies the survivors of the sparsest segment that is less than half live, and takes it back.
    /// `false` if there is none or no room for the copies. As the survivors of two such segments fit into one, every
    /// second call at least wins a segment.
    fn copy_survivors_out(&mut self) -> io::Result<bool> {
        let half = self.shared.segment_room() as u64 / 2;
        let sparse = self
            .finished()
            .into_iter()
            .filter(|(_, live, _, size)| *live <= half.min(u64::from(*size - DATA_START) / 2));
        let Some((victim, live, last_ms, _)) = sparse.min_by_key(|(_, live, ..)| *live) else {
            return Ok(false);
        };
        let room = self.survivors.as_ref().map_or(0, |(file, at)| u64::from(file.size - at));
        if live > room {
            self.finish_survivors();
            let Some(spare) = self.spares.pop() else { return Ok(false) };
            let segment = self.open_segment(spare)?;
            self.survivors = Some((segment, DATA_START));
        }
        if !self.copy(victim, last_ms)? {
            return Ok(false);
        }
        self.retire(victim)?;
        Ok(true)
    }

    fn finish_survivors(&mut self) {
        if let Some((file, _)) = self.survivors.take()
            && let Some(segment) = write(&self.shared.index).segments.get_mut(&file.number)
        {
            segment.open = false;
        }
    }

    /// `false` if the disk does not let us read a survivor now: then nothing is given up.
    fn copy(&mut self, victim: u64, last_ms: u64) -> io::Result<bool> {
        let shared = self.shared.clone();
        let Some((to, mut at)) = self.survivors.clone() else { return Ok(false) };
        let durable = shared.counters.durable.load(Ordering::Relaxed);
        let survivors = read(&shared.index).live_in(victim);
        let mut buffer = Vec::new();
        let mut start = at;
        let mut copies = Vec::new();
        for seq in survivors {
            let Some(place) = read(&shared.index).place(seq) else { continue };
            let record = match read_record(&place, seq) {
                Ok(record) => record,
                Err(error) => {
                    tracing::warn!(seq, %error, "a record cannot be read now; its segment is not recycled");
                    return Ok(false);
                }
            };
            let Some((header, payload)) = record else {
                shared.report_damage(seq, place.file.number, place.offset);
                continue;
            };
            let length = record::size(payload.len()) as u32;
            let header = Header { kind: Kind::Copy, generation: to.generation, durable, ..header };
            record::encode(&mut buffer, &header, &payload);
            copies.push((seq, Moved { number: to.number, offset: at, length }));
            at += length;
            if buffer.len() >= COPY_CHUNK {
                to.file.write_at(u64::from(start), &buffer)?;
                buffer.clear();
                start = at;
            }
        }
        to.file.write_at(u64::from(start), &buffer)?;
        to.file.sync()?;
        write(&shared.index).publish_copies(&copies, at, last_ms);
        self.survivors = Some((to, at));
        Ok(true)
    }
}

enum Created {
    Yes,
    AtCapacity,
    DiskFull,
}

/// Asks the keeper for something.
pub(super) fn order(shared: &Shared, change: impl FnOnce(&mut super::shared::Orders)) {
    let mut orders = lock(&shared.orders);
    change(&mut orders);
    orders.changed = true;
    shared.ordered.notify_all();
}

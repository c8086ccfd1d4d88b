//! The one thread that appends: takes everything that waits, decides repeats and conflicts, writes and syncs it as
//! one group, and only then lets anyone know. It never creates or recycles files; the keeper hands it prepared ones.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::disk::{is_full, write_zeros};
use super::file::SegmentFile;
use super::index::Segment;
use super::record::{self, Header, Kind};
use super::shared::{Job, Next, Refusal, Shared};
use super::sync::{EndsProperly, lock, read, wait, write};
use crate::log::known_ids::{Known, KnownIds};
use crate::log::{Appended, BatchMode, Entry, LogError, NewRecord, Seq};

/// Bytes taken into one group, that is, written by one write and one sync, unless a single batch is larger.
const GROUP_BYTES: usize = 2 * 1024 * 1024;

type Reply = oneshot::Sender<Result<Vec<Appended>, LogError>>;

/// What is written next, all of it by one sync.
#[derive(Default)]
struct Group {
    buffer: Vec<u8>,
    offsets: Vec<u32>,
    /// Whether it notes a gap in the positions.
    gap: bool,
    entries: Vec<Entry>,
    /// Batches whose verdicts become true with this group.
    replies: Vec<(Reply, Vec<Appended>)>,
}

/// The writer's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// What is written to, and where the next group goes in it; none at the very start.
    segment: Arc<SegmentFile>,
    at: u32,
    /// Position of the next record.
    next: Seq,
    /// Whether the positions before it are not in the log and that is not noted yet.
    gap: bool,
    known: KnownIds,
    group: Group,
    /// A stretch that a write without room may have half filled, to be zeroed before anything else is written.
    unclean: Option<(u32, u32)>,
    now_ms: u64,
    failed: Option<String>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        segment: Arc<SegmentFile>,
        at: u32,
        next: Seq,
        known: KnownIds,
    ) -> Self {
        let group = Group::default();
        Self { shared, segment, at, next, gap: false, known, group, unclean: None, now_ms: 0, failed: None }
    }

    /// Runs until the inbox is closed and empty.
    pub(super) fn run(mut self) {
        let shared = self.shared.clone();
        let _guard = EndsProperly { failure: &shared.failure, thread: "writer" };
        let mut jobs = Vec::new();
        self.count_ids();
        while shared.jobs.take(&mut jobs, GROUP_BYTES) {
            self.now_ms = (shared.clock)();
            self.known.prune(self.now_ms);
            self.skip_to_floor();
            // Without room for one batch, the next ones of this round are not worth asking for again.
            let mut refused = None;
            for job in jobs.drain(..) {
                self.admit(job, &mut refused);
            }
            // Those who wait have been told.
            let _ = self.flush();
        }
        self.mark();
    }

    fn skip_to_floor(&mut self) {
        let floor = self.shared.counters.floor.load(Ordering::Relaxed);
        if self.next < floor {
            self.next = floor;
            self.gap = true;
        }
    }

    fn count_ids(&self) {
        self.shared.counters.known_ids.store(self.known.len(), Ordering::Relaxed);
        self.shared.counters.forgot_ms.store(self.known.forgot_ms(), Ordering::Relaxed);
    }

    fn admit(&mut self, job: Job, refused: &mut Option<Refusal>) {
        if let Some(reason) = self.failed.clone().or_else(|| self.shared.failure.get()) {
            let _ = job.reply.send(Err(LogError::Fatal(reason)));
            return;
        }
        let mut verdicts = self.decide(&job.batch, job.mode);
        let new = |(record, verdict): (NewRecord, &Appended)| {
            matches!(verdict, Appended::Accepted(_)).then_some(record)
        };
        let whole = job.mode == BatchMode::Whole && verdicts.contains(&Appended::Conflict);
        let records: Vec<NewRecord> =
            if whole { Vec::new() } else { job.batch.into_iter().zip(&verdicts).filter_map(new).collect() };
        let mut seqs = Vec::with_capacity(records.len());
        let outcome = self.put(&records, &mut seqs, refused);
        if let Err(refusal) = outcome {
            self.known.forget_last(records.len() - seqs.len());
            let _ = job.reply.send(Err(self.shared.refuse(&refusal)));
            return;
        }
        let mut seqs = seqs.into_iter();
        for verdict in &mut verdicts {
            if let Appended::Accepted(seq) = verdict {
                *seq = seqs.next().unwrap_or(0);
            }
        }
        self.group.replies.push((job.reply, verdicts));
    }

    /// One verdict per record. What is new is remembered at once, so that a repeat further on is one.
    fn decide(&mut self, batch: &[NewRecord], mode: BatchMode) -> Vec<Appended> {
        let mut added = 0;
        let mut verdicts = Vec::with_capacity(batch.len());
        for record in batch {
            verdicts.push(match self.known.check(&record.key, &record.body_hash) {
                Known::Same => Appended::Duplicate,
                Known::Other => Appended::Conflict,
                Known::New => {
                    self.known.push(record.key, record.body_hash, self.now_ms);
                    added += 1;
                    Appended::Accepted(0)
                }
            });
        }
        if mode == BatchMode::Whole && verdicts.contains(&Appended::Conflict) {
            self.known.forget_last(added);
        }
        verdicts
    }

    /// Puts records into the group. A batch is not spread over two segments unless it is larger than one, so that
    /// it is refused as a whole; of a larger one, what was written before the refusal stays and is a repeat when
    /// the sender tries again.
    fn put(
        &mut self,
        records: &[NewRecord],
        seqs: &mut Vec<Seq>,
        refused: &mut Option<Refusal>,
    ) -> Result<(), Refusal> {
        if !records.is_empty() {
            self.note_gap(refused)?;
        }
        let total: usize = records.iter().map(|record| record::size(record.payload.len())).sum();
        if !self.fits(total) && total <= self.shared.segment_room() {
            self.next_segment(refused)?;
        }
        for record in records {
            if !self.fits(record::size(record.payload.len())) {
                self.next_segment(refused)?;
            }
            self.encode(record);
            seqs.push(self.next - 1);
        }
        Ok(())
    }

    /// Begins a segment that says that the positions before it are rightly missing.
    fn note_gap(&mut self, refused: &mut Option<Refusal>) -> Result<(), Refusal> {
        if !self.gap || self.group.gap {
            return Ok(());
        }
        let number = self.segment.number;
        let begun = |segment: &Segment| !segment.offsets.is_empty();
        if read(&self.shared.index).segments.get(&number).is_some_and(begun) {
            self.next_segment(refused)?;
        }
        let header = self.note(Kind::Gap, self.now_ms);
        record::encode(&mut self.group.buffer, &header, &[]);
        self.group.gap = true;
        Ok(())
    }

    /// The header of a record without payload, about everything before the next position.
    fn note(&self, kind: Kind, now_ms: u64) -> Header {
        Header {
            kind,
            generation: self.segment.generation,
            seq: self.next - 1,
            appended_ms: now_ms,
            durable: self.next - 1,
            key: [0; 16],
            body_hash: [0; 16],
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        self.at as usize + self.group.buffer.len() + bytes <= self.segment.size as usize
    }

    fn encode(&mut self, record: &NewRecord) {
        let group = &mut self.group;
        group.offsets.push(self.at + group.buffer.len() as u32);
        let first = self.next - group.entries.len() as u64;
        let header = Header {
            kind: Kind::Event,
            generation: self.segment.generation,
            seq: self.next,
            appended_ms: self.now_ms,
            durable: first - 1,
            key: record.key,
            body_hash: record.body_hash,
        };
        record::encode(&mut group.buffer, &header, &record.payload);
        let payload = record.payload.clone();
        group.entries.push(Entry { seq: self.next, appended_ms: self.now_ms, payload });
        self.next += 1;
    }

    /// Writes what is in the group and goes on in the next segment.
    fn next_segment(&mut self, refused: &mut Option<Refusal>) -> Result<(), Refusal> {
        self.flush()?;
        self.clean()?;
        if let Some(refusal) = refused {
            return Err(refusal.clone());
        }
        let file = match self.await_segment() {
            Ok(file) => file,
            Err(refusal) => {
                *refused = Some(refusal.clone());
                return Err(refusal);
            }
        };
        let mut index = write(&self.shared.index);
        if let Some(old) = index.segments.get_mut(&self.segment.number) {
            old.open = false;
        }
        drop(index);
        self.at = super::file::DATA_START;
        self.segment = file;
        Ok(())
    }

    fn await_segment(&self) -> Result<Arc<SegmentFile>, Refusal> {
        let shared = &self.shared;
        let mut orders = lock(&shared.orders);
        if matches!(orders.next, Next::Refused(_)) {
            // That was then; there may be room now.
            orders.next = Next::Wanted;
            orders.changed = true;
            shared.ordered.notify_all();
        }
        loop {
            match &orders.next {
                Next::Ready(file) => {
                    let file = file.clone();
                    orders.next = Next::Wanted;
                    orders.changed = true;
                    shared.ordered.notify_all();
                    return Ok(file);
                }
                Next::Refused(refusal) => {
                    shared.counters.refusing.store(refusal.is_for_room(), Ordering::Relaxed);
                    return Err(refusal.clone());
                }
                Next::Wanted if orders.gone => {
                    return Err(Refusal::Failed("its keeper thread is gone".into()));
                }
                Next::Wanted => orders = wait(&shared.ordered, orders),
            }
        }
    }

    /// Writes, syncs, publishes, answers: in this order. On an error nothing of the group is remembered.
    fn flush(&mut self) -> Result<(), Refusal> {
        let written = if self.group.buffer.is_empty() { Ok(()) } else { self.write_group() };
        if let Err(refusal) = &written {
            if matches!(refusal, Refusal::DiskFull) {
                self.shared.counters.refusing.store(true, Ordering::Relaxed);
            }
            let count = self.group.entries.len();
            self.known.forget_last(count);
            self.next -= count as u64;
            self.group.gap = false;
            self.group.offsets.clear();
            self.group.entries.clear();
            self.group.buffer.clear();
            for (reply, _) in self.group.replies.drain(..) {
                let _ = reply.send(Err(self.shared.refuse(refusal)));
            }
            return written;
        }
        self.publish();
        self.count_ids();
        for (reply, verdicts) in self.group.replies.drain(..) {
            let _ = reply.send(Ok(verdicts));
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), Refusal> {
        self.clean()?;
        let end = self.at + self.group.buffer.len() as u32;
        match self.segment.file.write_at(u64::from(self.at), &self.group.buffer) {
            Ok(()) => self.sync(),
            // Cannot happen in pre-zeroed files except on file systems that write elsewhere.
            Err(error) if is_full(&error) => {
                self.unclean = Some((self.at, end));
                Err(Refusal::DiskFull)
            }
            Err(error) => Err(self.fail(format!("writing to {} failed: {error}", self.place()))),
        }
    }

    /// Zeroes what a refused write may have left, so that it is never found and taken for records.
    fn clean(&mut self) -> Result<(), Refusal> {
        let Some((from, to)) = self.unclean else { return Ok(()) };
        match write_zeros(&*self.segment.file, u64::from(from), u64::from(to)) {
            Ok(()) => {
                self.unclean = None;
                self.sync()
            }
            Err(error) if is_full(&error) => Err(Refusal::DiskFull),
            Err(error) => Err(self.fail(format!("writing to {} failed: {error}", self.place()))),
        }
    }

    /// Never tried again: after a failed fdatasync the kernel may call lost pages clean.
    fn sync(&mut self) -> Result<(), Refusal> {
        let synced = self.segment.file.sync();
        synced.map_err(|error| self.fail(format!("fdatasync of {} failed: {error}", self.place())))
    }

    fn place(&self) -> String {
        self.shared.dir.join(super::file::segment_name(self.segment.number)).display().to_string()
    }

    fn fail(&mut self, reason: String) -> Refusal {
        let reason = self.shared.failure.set(reason);
        self.failed = Some(reason.clone());
        Refusal::Failed(reason)
    }

    fn publish(&mut self) {
        let group = &mut self.group;
        if group.buffer.is_empty() {
            return;
        }
        let used = self.at + group.buffer.len() as u32;
        if let Some(first) = group.entries.first().map(|entry| entry.seq) {
            let mut index = write(&self.shared.index);
            index.publish(self.segment.number, first, &group.offsets, used, self.now_ms);
        }
        write(&self.shared.tail).push(group.entries.drain(..));
        self.at = used;
        group.offsets.clear();
        group.buffer.clear();
        group.buffer.shrink_to(2 * GROUP_BYTES);
        self.shared.counters.refusing.store(false, Ordering::Relaxed);
        self.gap &= !std::mem::take(&mut group.gap);
        self.shared.counters.durable.store(self.next - 1, Ordering::Relaxed);
        self.shared.raise_end(self.next);
    }

    /// Leaves word that everything is durable, so that damage to the last records is told from a torn write.
    fn mark(&mut self) {
        if self.failed.is_some() || self.gap || self.unclean.is_some() || !self.fits(record::HEADER) {
            return;
        }
        let header = self.note(Kind::Mark, (self.shared.clock)());
        let mut buffer = Vec::new();
        record::encode(&mut buffer, &header, &[]);
        // A mark that is lost costs nothing but a less precise report.
        let _ =
            self.segment.file.write_at(u64::from(self.at), &buffer).and_then(|()| self.segment.file.sync());
    }
}

/// Makes a segment known as the one that is written to.
pub(super) fn add_open(shared: &Shared, file: &Arc<SegmentFile>) {
    write(&shared.index).segments.insert(file.number, Segment::new(file.clone()));
}

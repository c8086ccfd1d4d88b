//! What the writer, the keeper and the readers of one log share.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};

use tokio::sync::{oneshot, watch};

use super::disk::Disk;
use super::file::{DATA_START, SegmentFile, segment_name};
use super::index::{Index, Released};
use super::sync::{Failure, Inbox, lock, read, write};
use crate::log::{Appended, BatchMode, Clock, DedupLimits, Entry, LogError, NewRecord, Seq};

/// Batches that may wait for the writer.
const MAX_WAITING_BATCHES: usize = 4096;
/// Bytes that may wait for the writer.
const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;
/// What an entry of the tail takes besides its payload, in bytes.
const ENTRY_COST: usize = 64;
/// A log is cut into about this many segments,
const SEGMENTS: u64 = 16;
/// none smaller than this,
const MIN_SEGMENT: u64 = 4 * 1024 * 1024;
/// and none larger than this.
const MAX_SEGMENT: u64 = 16 * 1024 * 1024;
/// Segments needed at least: one to write to, one prepared, one finished, one in reserve.
const MIN_SEGMENTS: u64 = 4;

/// What happens when a log has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Appending is refused with [`LogError::Full`].
    Refuse,
    /// The oldest segment is given up, released or not, and what was in it is counted. Segments past retention
    /// go as well.
    DropOldest,
}

/// How large a log may get and how long released records stay; may change at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on disk, at least four segments.
    pub capacity_bytes: u64,
    /// Milliseconds that released records stay readable while room is not wanted.
    pub retention_ms: u64,
}

/// How one log is made.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// How large, how long.
    pub limits: Limits,
    /// What happens without room.
    pub overflow: Overflow,
    /// Which repeats are recognised.
    pub dedup: DedupLimits,
    /// Size of new segments; `None` derives it from the capacity (a sixteenth of it, 4 to 16 MiB).
    pub segment_bytes: Option<u32>,
    /// Bytes of the newest records kept in memory, so that reading along costs no system call.
    pub tail_bytes: usize,
}

impl LogOptions {
    fn segment_size(&self, limits: Limits) -> u32 {
        let derived = (limits.capacity_bytes / SEGMENTS).clamp(MIN_SEGMENT, MAX_SEGMENT) as u32;
        self.segment_bytes.unwrap_or(derived) / 4096 * 4096
    }
}

/// A batch that waits for the writer.
pub(super) struct Job {
    pub(super) batch: Vec<NewRecord>,
    pub(super) mode: BatchMode,
    pub(super) reply: oneshot::Sender<Result<Vec<Appended>, LogError>>,
}

/// The prepared segment, between keeper and writer.
pub(super) enum Next {
    /// The keeper is to prepare one.
    Wanted,
    /// Here it is.
    Ready(Arc<SegmentFile>),
    /// There is none, and why.
    Refused(Refusal),
}

/// Why there is no room for an append.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    Full,
    DiskFull,
    Failed(String),
}

impl Refusal {
    /// Whether it may end by itself.
    pub(super) fn is_for_room(&self) -> bool {
        matches!(self, Self::Full | Self::DiskFull)
    }
}

/// What the keeper is asked to do.
pub(super) struct Orders {
    pub(super) release: Option<Released>,
    pub(super) next: Next,
    /// Something changed that the keeper has to look at.
    pub(super) changed: bool,
    pub(super) closed: bool,
    /// The keeper has ended, for whatever reason.
    pub(super) gone: bool,
}

/// Counters that are read without asking a thread.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) known_ids: AtomicU64,
    pub(super) forgot_ms: AtomicU64,
    pub(super) corrupt: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// The last append was refused for want of room.
    pub(super) refusing: AtomicBool,
    /// The next record gets at least this position.
    pub(super) floor: AtomicU64,
    /// The highest position that is not used again after a power loss.
    pub(super) durable: AtomicU64,
}

/// One log.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) clock: Clock,
    pub(super) failure: Arc<Failure>,
    pub(super) options: LogOptions,
    pub(super) limits: Mutex<Limits>,
    pub(super) index: RwLock<Index>,
    pub(super) tail: RwLock<Tail>,
    pub(super) end: watch::Sender<Seq>,
    pub(super) jobs: Inbox<Job>,
    pub(super) orders: Mutex<Orders>,
    pub(super) ordered: Condvar,
    pub(super) counters: Counters,
}

impl Shared {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        clock: Clock,
        failure: Arc<Failure>,
        options: LogOptions,
        index: Index,
        end: Seq,
    ) -> Self {
        let orders = Orders { release: None, next: Next::Wanted, changed: true, closed: false, gone: false };
        Self {
            disk,
            dir,
            clock,
            failure,
            options,
            limits: Mutex::new(options.limits),
            index: RwLock::new(index),
            tail: RwLock::new(Tail { entries: VecDeque::new(), bytes: 0, max_bytes: options.tail_bytes }),
            end: watch::Sender::new(end),
            jobs: Inbox::new(MAX_WAITING_BATCHES, MAX_WAITING_BYTES),
            orders: Mutex::new(orders),
            ordered: Condvar::new(),
            counters: Counters { durable: AtomicU64::new(end - 1), ..Counters::default() },
        }
    }

    /// The limits in force; the capacity is never less than what the engine needs to move.
    pub(super) fn limits(&self) -> Limits {
        let limits = *lock(&self.limits);
        let least = MIN_SEGMENTS * u64::from(self.options.segment_size(limits));
        Limits { capacity_bytes: limits.capacity_bytes.max(least), ..limits }
    }

    /// Tells the log's end; it never falls.
    pub(super) fn raise_end(&self, to: Seq) {
        self.end.send_if_modified(|end| {
            let rises = to > *end;
            *end = to.max(*end);
            rises
        });
    }

    pub(super) fn segment_size(&self) -> u32 {
        self.options.segment_size(*lock(&self.limits))
    }

    /// Bytes of records, headers included, that fit into a new segment.
    pub(super) fn segment_room(&self) -> usize {
        (self.segment_size() - DATA_START) as usize
    }

    pub(super) fn refuse(&self, refusal: &Refusal) -> LogError {
        match refusal {
            Refusal::Full => {
                LogError::Full { used: read(&self.index).live, capacity: self.limits().capacity_bytes }
            }
            Refusal::DiskFull => LogError::DiskFull { path: self.dir.display().to_string() },
            Refusal::Failed(reason) => LogError::Fatal(reason.clone()),
        }
    }

    /// Notes that a record cannot be read, once, and returns the error that names it.
    pub(super) fn report_damage(&self, seq: Seq, number: u64, offset: u32) -> LogError {
        let place = format!("{} at byte {offset}", self.dir.join(segment_name(number)).display());
        if write(&self.index).damaged.insert(seq, (number, offset)).is_none() {
            self.counters.corrupt.fetch_add(1, Ordering::Relaxed);
            tracing::error!(seq, %place, "a record is damaged and was skipped");
        }
        LogError::Corrupt { seq, place }
    }
}

/// The newest records, in memory, without gaps.
pub(super) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    max_bytes: usize,
}

impl Tail {
    pub(super) fn push(&mut self, entries: impl Iterator<Item = Entry>) {
        for entry in entries {
            if self.entries.back().is_some_and(|last| last.seq + 1 != entry.seq) {
                self.entries.clear();
                self.bytes = 0;
            }
            self.bytes += entry.payload.len() + ENTRY_COST;
            self.entries.push_back(entry);
        }
        while self.bytes > self.max_bytes
            && let Some(entry) = self.entries.pop_front()
        {
            self.bytes -= entry.payload.len() + ENTRY_COST;
        }
    }

    /// The newest records from a position on, if that position is among them.
    pub(super) fn from(&self, seq: Seq) -> Option<impl Iterator<Item = &Entry>> {
        let first = self.entries.front()?.seq;
        let skip = usize::try_from(seq.checked_sub(first)?).ok()?;
        (skip < self.entries.len()).then(|| self.entries.range(skip..))
    }
}

//! The engine that forgets: everything in memory, for tests and for showing what the traits mean. Nothing survives
//! the process, so nothing in production may use it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tokio::sync::watch;

use super::known_ids::{Known, KnownIds, real_window};
use super::table::Table;
use super::{
    Appended, BatchMode, Claimed, Claims, Clock, DedupLimits, Delta, Entry, EventLog, Held, LogError,
    MAX_PAYLOAD, NewRecord, Page, Pairs, Seq, State, StateError, Usage, within,
};

/// An [`EventLog`] in memory. Released records are forgotten when room is wanted.
pub struct MemoryLog {
    kept: Mutex<Kept>,
    end: watch::Sender<Seq>,
    capacity_bytes: u64,
    dedup: DedupLimits,
    clock: Clock,
}

struct Kept {
    entries: BTreeMap<Seq, Entry>,
    /// Bytes of all entries.
    bytes: u64,
    known: KnownIds,
    next: Seq,
    refusing: bool,
    below: Seq,
    keep: Vec<Range<Seq>>,
}

impl Kept {
    fn is_live(&self, seq: Seq) -> bool {
        seq >= self.below || within(&self.keep, seq)
    }

    fn live(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| self.is_live(entry.seq))
    }

    fn live_bytes(&self) -> u64 {
        self.live().map(|entry| entry.payload.len() as u64).sum()
    }

    fn forget_released(&mut self) {
        let live: BTreeMap<Seq, Entry> = self.live().map(|entry| (entry.seq, entry.clone())).collect();
        self.entries = live;
        self.bytes = self.live_bytes();
    }

    /// Appends all or, without room, nothing.
    fn append(
        &mut self,
        batch: &[NewRecord],
        mode: BatchMode,
        capacity_bytes: u64,
        now_ms: u64,
    ) -> Result<Vec<Appended>, LogError> {
        self.known.prune(now_ms);
        let mut new = Vec::new();
        let mut verdicts = Vec::with_capacity(batch.len());
        for record in batch {
            verdicts.push(match self.known.check(&record.key, &record.body_hash) {
                Known::Same => Appended::Duplicate,
                Known::Other => Appended::Conflict,
                Known::New => {
                    self.known.push(record.key, record.body_hash, now_ms);
                    new.push(record);
                    Appended::Accepted(0)
                }
            });
        }
        if mode == BatchMode::Whole && verdicts.contains(&Appended::Conflict) {
            self.known.forget_last(new.len());
            return Ok(verdicts);
        }
        let wanted: u64 = new.iter().map(|record| record.payload.len() as u64).sum();
        if self.bytes + wanted > capacity_bytes {
            self.forget_released();
        }
        if self.bytes + wanted > capacity_bytes {
            self.known.forget_last(new.len());
            return Err(LogError::Full { used: self.bytes, capacity: capacity_bytes });
        }
        self.bytes += wanted;
        for record in new {
            let entry = Entry { seq: self.next, appended_ms: now_ms, payload: record.payload.clone() };
            self.entries.insert(self.next, entry);
            self.next += 1;
        }
        let mut seq =
            self.next - verdicts.iter().filter(|v| matches!(v, Appended::Accepted(_))).count() as u64;
        for verdict in &mut verdicts {
            if let Appended::Accepted(at) = verdict {
                *at = seq;
                seq += 1;
            }
        }
        Ok(verdicts)
    }
}

impl MemoryLog {
    /// An empty log that takes so many bytes of payload.
    pub fn new(capacity_bytes: u64, dedup: DedupLimits, clock: Clock) -> Self {
        let kept = Kept {
            entries: BTreeMap::new(),
            bytes: 0,
            known: KnownIds::new(dedup),
            next: 1,
            refusing: false,
            below: 0,
            keep: Vec::new(),
        };
        Self { kept: Mutex::new(kept), end: watch::Sender::new(1), capacity_bytes, dedup, clock }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventLog for MemoryLog {
    fn append(
        &self,
        batch: Vec<NewRecord>,
        mode: BatchMode,
    ) -> BoxFuture<'_, Result<Vec<Appended>, LogError>> {
        if let Some(size) = batch.iter().map(|r| r.payload.len()).find(|size| *size > MAX_PAYLOAD) {
            return ready(Err(LogError::TooLarge { size, max: MAX_PAYLOAD })).boxed();
        }
        let mut kept = self.kept();
        let verdicts = kept.append(&batch, mode, self.capacity_bytes, (self.clock)());
        kept.refusing = verdicts.is_err();
        self.end.send_if_modified(|end| std::mem::replace(end, kept.next) != kept.next);
        ready(verdicts).boxed()
    }

    fn read_from(
        &self,
        from: Seq,
        max_records: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Page, LogError>> {
        let kept = self.kept();
        let mut page = Page { entries: Vec::new(), next: kept.next };
        let mut bytes = 0;
        for entry in kept.entries.range(from..).map(|(_, entry)| entry) {
            if page.entries.len() >= max_records || (bytes >= max_bytes && !page.entries.is_empty()) {
                page.next = entry.seq;
                break;
            }
            bytes += entry.payload.len();
            page.entries.push(entry.clone());
        }
        ready(Ok(page)).boxed()
    }

    fn get(&self, seq: Seq) -> BoxFuture<'_, Result<Option<Entry>, LogError>> {
        ready(Ok(self.kept().entries.get(&seq).cloned())).boxed()
    }

    fn release(&self, below: Seq, keep: Vec<Range<Seq>>) {
        let mut kept = self.kept();
        kept.below = below.min(kept.next).max(kept.below);
        kept.keep = keep;
        kept.refusing &= kept.live_bytes() >= self.capacity_bytes;
    }

    fn continue_from(&self, at_least: Seq) {
        let mut kept = self.kept();
        kept.next = kept.next.max(at_least);
        self.end.send_if_modified(|end| std::mem::replace(end, kept.next) != kept.next);
    }

    fn end(&self) -> watch::Receiver<Seq> {
        self.end.subscribe()
    }

    fn usage(&self) -> Usage {
        let kept = self.kept();
        Usage {
            capacity_bytes: self.capacity_bytes,
            live_bytes: kept.live_bytes(),
            used_bytes: kept.live_bytes(),
            refusing: kept.refusing,
            oldest_ms: kept.live().next().map(|entry| entry.appended_ms),
            corrupt_records: 0,
            dropped_records: 0,
            known_ids: kept.known.len(),
            dedup_window_ms: real_window(self.dedup, kept.known.forgot_ms(), (self.clock)()),
        }
    }
}

/// [`State`] and [`Claims`] in memory.
#[derive(Default)]
pub struct MemoryState {
    table: Mutex<Table>,
}

impl MemoryState {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State for MemoryState {
    fn acquire(&self, shard: u32) -> BoxFuture<'_, Result<Held, StateError>> {
        let mut table = self.table();
        let (held, op) = table.acquire(shard);
        table.apply(op);
        ready(Ok(held)).boxed()
    }

    fn load(&self, held: Held) -> BoxFuture<'_, Result<Pairs, StateError>> {
        ready(self.table().load(held)).boxed()
    }

    fn commit(&self, held: Held, deltas: Vec<Delta>) -> BoxFuture<'_, Result<(), StateError>> {
        let mut table = self.table();
        let committed = table.commit(held, deltas).map(|op| table.apply(op));
        ready(committed).boxed()
    }
}

impl Claims for MemoryState {
    fn claim(
        &self,
        key: &str,
        claimant: &str,
        window_ms: u64,
        lease_ms: u64,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Claimed, StateError>> {
        let mut table = self.table();
        let claimed = table.claim(key, claimant, window_ms, lease_ms, now_ms).map(|(claimed, op)| {
            if let Some(op) = op {
                table.apply(op);
            }
            claimed
        });
        ready(claimed).boxed()
    }

    fn settle(&self, key: &str, claimant: &str, now_ms: u64) -> BoxFuture<'_, Result<bool, StateError>> {
        let mut table = self.table();
        let op = table.settle(key, claimant, now_ms);
        ready(Ok(op.map(|op| table.apply(op)).is_some())).boxed()
    }
}

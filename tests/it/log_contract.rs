//! What every engine promises, checked on every engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chathooks::log::memory::MemoryLog;
use chathooks::log::segment::{self, Limits, LogOptions, Options, Overflow};
use chathooks::log::{Appended, BatchMode, Clock, DedupLimits, EventLog, LogError, NewRecord, Usage};

/// 2026-11-21 in Unix milliseconds.
pub(crate) const START_MS: u64 = 1_795_219_200_000;

/// A clock that tests move.
pub(crate) fn clock() -> (Clock, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(START_MS));
    let reads = now.clone();
    (Arc::new(move || reads.load(Ordering::SeqCst)), now)
}

/// A record with an identity and a body made from numbers.
pub(crate) fn record(id: u64, body: u64, size: usize) -> NewRecord {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&id.to_le_bytes());
    let mut body_hash = [1; 16];
    body_hash[..8].copy_from_slice(&body.to_le_bytes());
    NewRecord { key, body_hash, payload: payload(id, size) }
}

/// Bytes that tell which record they belong to.
pub(crate) fn payload(id: u64, size: usize) -> Bytes {
    id.to_le_bytes().iter().copied().cycle().take(size).collect()
}

/// Small limits, so that they are met within a test.
pub(crate) fn options(clock: Clock) -> Options {
    let limits = Limits { capacity_bytes: 8 * 64 * 1024, retention_ms: 60_000 };
    let dedup = DedupLimits { max_ids: 1000, window_ms: 3_600_000 };
    let events = LogOptions {
        limits,
        overflow: Overflow::Refuse,
        dedup,
        segment_bytes: Some(64 * 1024),
        tail_bytes: 32 * 1024,
    };
    let dead_letters = LogOptions { overflow: Overflow::DropOldest, ..events };
    Options { events, dead_letters, journal_bytes: 16 * 1024, clock }
}

/// An engine under test.
struct Fixture {
    log: Arc<dyn EventLog>,
    now: Arc<AtomicU64>,
    _kept: Option<(segment::Embedded, tempfile::TempDir)>,
}

impl Fixture {
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Appended> {
        self.log.append(records, BatchMode::Partial).await.unwrap()
    }

    async fn ids(&self, from: u64, max_records: usize, max_bytes: usize) -> (Vec<u64>, u64) {
        let page = self.log.read_from(from, max_records, max_bytes).await.unwrap();
        (page.entries.iter().map(|entry| entry.seq).collect(), page.next)
    }
}

fn memory() -> Fixture {
    let (clock, now) = clock();
    let options = options(clock.clone());
    let log = MemoryLog::new(options.events.limits.capacity_bytes, options.events.dedup, clock);
    Fixture { log: Arc::new(log), now, _kept: None }
}

fn embedded() -> Fixture {
    let (clock, now) = clock();
    let folder = tempfile::tempdir().unwrap();
    let opened = segment::open(folder.path(), options(clock)).unwrap();
    Fixture { log: opened.events.clone(), now, _kept: Some((opened, folder)) }
}

macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod memory { $(#[tokio::test] async fn $name() { super::$name(super::memory()).await; })* }
        mod embedded { $(#[tokio::test] async fn $name() { super::$name(super::embedded()).await; })* }
    };
}

contract!(
    appended_records_are_read_back,
    a_repeat_is_a_duplicate,
    a_conflict_refuses_a_whole_batch,
    a_conflict_leaves_the_rest_of_a_partial_batch,
    identities_are_forgotten_after_the_window,
    identities_are_forgotten_when_there_are_too_many,
    reading_stops_at_the_bounds,
    the_end_is_seen_by_watchers,
    usage_follows_release,
    full_and_drained,
    refusing_is_told_until_there_is_room,
    what_is_kept_stays_readable,
    too_large_a_record_is_refused,
    an_empty_batch_is_fine,
);

async fn appended_records_are_read_back(f: Fixture) {
    let verdicts = f.append(vec![record(1, 1, 10), record(2, 2, 0), record(3, 3, 700)]).await;
    assert_eq!(verdicts, [Appended::Accepted(1), Appended::Accepted(2), Appended::Accepted(3)]);
    let page = f.log.read_from(1, 10, 10_000).await.unwrap();
    assert_eq!(page.next, 4);
    assert_eq!(page.entries.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(page.entries[2].payload, payload(3, 700));
    assert_eq!(page.entries[0].appended_ms, START_MS);
    assert_eq!(f.log.get(1).await.unwrap().unwrap().payload, payload(1, 10));
    assert!(f.log.get(4).await.unwrap().is_none());
    assert!(f.log.get(0).await.unwrap().is_none());
}

async fn a_repeat_is_a_duplicate(f: Fixture) {
    let verdicts = f.append(vec![record(1, 1, 10), record(1, 1, 10)]).await;
    assert_eq!(verdicts, [Appended::Accepted(1), Appended::Duplicate]);
    assert_eq!(f.append(vec![record(1, 1, 10)]).await, [Appended::Duplicate]);
    assert_eq!(f.append(vec![record(2, 1, 10)]).await, [Appended::Accepted(2)]);
}

async fn a_conflict_refuses_a_whole_batch(f: Fixture) {
    f.append(vec![record(1, 1, 10)]).await;
    let batch = vec![record(2, 2, 10), record(1, 9, 10), record(1, 1, 10)];
    let verdicts = f.log.append(batch, BatchMode::Whole).await.unwrap();
    assert_eq!(verdicts, [Appended::Accepted(0), Appended::Conflict, Appended::Duplicate]);
    assert_eq!(*f.log.end().borrow(), 2);
    assert_eq!(f.append(vec![record(2, 2, 10)]).await, [Appended::Accepted(2)]);
}

async fn a_conflict_leaves_the_rest_of_a_partial_batch(f: Fixture) {
    let verdicts = f.append(vec![record(1, 1, 10), record(1, 2, 10), record(3, 3, 10)]).await;
    assert_eq!(verdicts, [Appended::Accepted(1), Appended::Conflict, Appended::Accepted(2)]);
}

async fn identities_are_forgotten_after_the_window(f: Fixture) {
    f.append(vec![record(1, 1, 10)]).await;
    f.now.fetch_add(3_600_000, Ordering::SeqCst);
    assert_eq!(f.append(vec![record(1, 1, 10)]).await, [Appended::Duplicate]);
    f.now.fetch_add(1, Ordering::SeqCst);
    assert_eq!(f.append(vec![record(1, 1, 10)]).await, [Appended::Accepted(2)]);
}

async fn identities_are_forgotten_when_there_are_too_many(f: Fixture) {
    f.append(vec![record(0, 0, 1)]).await;
    assert_eq!(f.log.usage().dedup_window_ms, 3_600_000);
    f.now.fetch_add(5000, Ordering::SeqCst);
    f.append((1..=1000).map(|id| record(id, id, 1)).collect()).await;
    assert_eq!(f.append(vec![record(0, 0, 1), record(1, 1, 1)]).await[0], Appended::Accepted(1002));
    assert_eq!(f.log.usage().dedup_window_ms, 5000);
}

async fn reading_stops_at_the_bounds(f: Fixture) {
    f.append((1..=10).map(|id| record(id, id, 100)).collect()).await;
    assert_eq!(f.ids(1, 3, 10_000).await, (vec![1, 2, 3], 4));
    assert_eq!(f.ids(4, 10, 250).await, (vec![4, 5, 6], 7));
    assert_eq!(f.ids(7, 10, 1).await, (vec![7], 8));
    assert_eq!(f.ids(8, 10, 10_000).await, (vec![8, 9, 10], 11));
    assert_eq!(f.ids(11, 10, 10_000).await, (vec![], 11));
}

async fn the_end_is_seen_by_watchers(f: Fixture) {
    let mut end = f.log.end();
    assert_eq!(*end.borrow_and_update(), 1);
    f.append(vec![record(1, 1, 10), record(2, 2, 10)]).await;
    end.changed().await.unwrap();
    assert_eq!(*end.borrow_and_update(), 3);
}

/// Usage once an earlier release is done; an engine may take its time.
async fn usage_after_release(f: &Fixture) -> Usage {
    for _ in 0..10_000 {
        if f.log.usage().live_bytes == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    f.log.usage()
}

async fn usage_follows_release(f: Fixture) {
    assert_eq!(f.log.usage().oldest_ms, None);
    f.append(vec![record(1, 1, 1000)]).await;
    f.now.fetch_add(7, Ordering::SeqCst);
    f.append(vec![record(2, 2, 1000)]).await;
    let usage = f.log.usage();
    assert!((2000..2400).contains(&usage.live_bytes), "{usage:?}");
    assert_eq!((usage.oldest_ms, usage.known_ids), (Some(START_MS), 2));
    f.log.release(3, Vec::new());
    let usage = usage_after_release(&f).await;
    assert_eq!((usage.live_bytes, usage.used_bytes, usage.oldest_ms), (0, 0, None));
}

/// Fills the log with records of 8,000 bytes and returns how many it took.
async fn fill(f: &Fixture, first_id: u64) -> u64 {
    for id in first_id..first_id + 1000 {
        match f.log.append(vec![record(id, id, 8000)], BatchMode::Whole).await {
            Ok(verdicts) => assert_eq!(verdicts, [Appended::Accepted(id)]),
            Err(LogError::Full { used, capacity }) => {
                assert!(used > capacity / 2 && used <= capacity, "{used} of {capacity}");
                return id - first_id;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("never full");
}

async fn full_and_drained(f: Fixture) {
    let mut next = 1;
    for _ in 0..5 {
        let took = fill(&f, next).await;
        assert!((40..=65).contains(&took), "{took}");
        next += took;
        assert_eq!(f.ids(next - 1, 10, 10_000).await, (vec![next - 1], next));
        f.log.release(next, Vec::new());
    }
}

async fn refusing_is_told_until_there_is_room(f: Fixture) {
    assert!(!f.log.usage().refusing);
    let took = fill(&f, 1).await;
    assert!(f.log.usage().refusing);
    f.log.release(took + 1, Vec::new());
    assert_eq!(f.append(vec![record(9001, 1, 8000)]).await, [Appended::Accepted(took + 1)]);
    assert!(!f.log.usage().refusing);
    assert!(fill(&f, took + 2).await > 30);
    assert!(f.log.usage().refusing);
    f.log.release(*f.log.end().borrow(), Vec::new());
    for _ in 0..10_000 {
        if !f.log.usage().refusing {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("there is room and it still says that it refuses");
}

/// Ascending positions as ranges.
pub(crate) fn runs(positions: &[u64]) -> Vec<std::ops::Range<u64>> {
    positions.chunk_by(|a, b| a + 1 == *b).map(|run| run[0]..run[run.len() - 1] + 1).collect()
}

async fn what_is_kept_stays_readable(f: Fixture) {
    let mut next = 1;
    let mut kept = Vec::new();
    for _ in 0..6 {
        let took = fill(&f, next).await;
        assert!(took > 20, "{took}");
        kept.extend([next + 3, next + took / 2, next + took / 2 + 1]);
        next += took;
        f.log.release(next, runs(&kept));
    }
    fill(&f, next).await;
    for seq in &kept {
        let entry = f.log.get(*seq).await.unwrap().unwrap();
        assert_eq!((entry.seq, entry.payload), (*seq, payload(*seq, 8000)));
    }
    assert!(f.log.get(2).await.unwrap().is_none());
    let (read, _) = f.ids(1, 4, usize::MAX).await;
    assert_eq!(read, kept[..4]);
}

async fn too_large_a_record_is_refused(f: Fixture) {
    let refused = f.log.append(vec![record(1, 1, 2_000_000)], BatchMode::Whole).await;
    assert!(matches!(refused, Err(LogError::TooLarge { size: 2_000_000, .. })), "{refused:?}");
}

async fn an_empty_batch_is_fine(f: Fixture) {
    assert_eq!(f.append(Vec::new()).await, []);
}

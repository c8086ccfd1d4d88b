//! Where events and delivery state live: three small traits and the engines behind them.
//!
//! Everything the dispatcher knows how to do stands above [`EventLog`], [`State`] and [`Claims`]; an engine
//! must not know what a subscription is. One contract suite (`tests/it/log_contract.rs`) runs over every engine.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;

mod claim;
mod known_ids;
pub mod memory;
pub mod segment;
mod table;

/// Whether a position is in one of the ranges, which ascend and are disjoint.
fn within(ranges: &[Range<Seq>], seq: Seq) -> bool {
    let after = ranges.partition_point(|range| range.start <= seq);
    ranges.get(..after).and_then(<[_]>::last).is_some_and(|range| range.contains(&seq))
}

pub use known_ids::DedupLimits;

/// Now, in Unix milliseconds; comes in from outside so that tests can move it.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Position of a record in a log. Starts at 1, grows by one per accepted record, is never reused.
pub type Seq = u64;

/// A record offered to [`EventLog::append`].
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// Identity for idempotency: the first 16 bytes of SHA-256 over everything that names the event.
    pub key: [u8; 16],
    /// First 16 bytes of SHA-256 over the body as received; tells a repeat from a conflict.
    pub body_hash: [u8; 16],
    /// What is kept, at most [`MAX_PAYLOAD`] bytes. Readers share it for a while, so it should not be a slice of
    /// something much larger.
    pub payload: Bytes,
}

/// Largest payload of one record, in bytes: a 1 MiB event, plus what is kept beside it.
pub const MAX_PAYLOAD: usize = 1024 * 1024 + 16 * 1024;

/// What became of one offered record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// New: durable under this position.
    Accepted(Seq),
    /// Known with the same body (also earlier in the same call): durable already, nothing appended.
    Duplicate,
    /// Known with another body: not appended.
    Conflict,
}

/// How a batch with a conflicting record is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchMode {
    /// One conflict and nothing of the batch is appended; the records that would have been are reported as
    /// `Accepted(0)`.
    Whole,
    /// Everything but the conflicts is appended.
    Partial,
}

/// A record read back.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its position.
    pub seq: Seq,
    /// When it was appended, Unix milliseconds.
    pub appended_ms: u64,
    /// What was kept.
    pub payload: Bytes,
}

/// A stretch of the log.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Durable records in order of position. Positions that are unreadable, or released and gone, are left out.
    pub entries: Vec<Entry>,
    /// Where to read on; equals the log's end when there is no more.
    pub next: Seq,
}

/// How full a log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes it may take.
    pub capacity_bytes: u64,
    /// Bytes of records that are not released, as they lie on disk.
    pub live_bytes: u64,
    /// Bytes of segments that cannot be recycled now.
    pub used_bytes: u64,
    /// Whether the last append was refused for want of room and there has been none since.
    pub refusing: bool,
    /// When the oldest unreleased record was appended, Unix milliseconds.
    pub oldest_ms: Option<u64>,
    /// Records found unreadable since start.
    pub corrupt_records: u64,
    /// Records given up unreleased since start, by a log that drops its oldest instead of refusing.
    pub dropped_records: u64,
    /// Identities remembered for idempotency.
    pub known_ids: u64,
    /// How far back repeats are recognised at least, in milliseconds.
    pub dedup_window_ms: u64,
}

/// Why a log refuses. All messages are sentences for the administrator.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No room; try again when deliveries have made some. Nothing was appended.
    #[error("the event log is full ({used} of {capacity} bytes are unfinished deliveries)")]
    Full {
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        capacity: u64,
    },
    /// The disk has no room for another segment. Nothing was appended.
    #[error("the disk below {path} is full; free some space and the log goes on by itself")]
    DiskFull {
        /// The data folder.
        path: String,
    },
    /// A record can never be stored. Nothing was appended.
    #[error("a record of {size} bytes is larger than the {max} bytes the event log takes")]
    TooLarge {
        /// Bytes of the payload.
        size: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// More is waiting to be written than the bound allows. Nothing was appended.
    #[error("too many events are waiting to be written")]
    Busy,
    /// The record is there but its bytes are damaged.
    #[error("record {seq} in {place} is damaged and was skipped")]
    Corrupt {
        /// Its position.
        seq: Seq,
        /// File and offset.
        place: String,
    },
    /// The disk did not let us read the record now; it may be fine.
    #[error("record {seq} cannot be read now ({reason}); try again")]
    Unreadable {
        /// Its position.
        seq: Seq,
        /// What the disk said.
        reason: String,
    },
    /// The log can no longer promise anything (fdatasync failed, its thread is gone): the process must end.
    #[error("the event log failed and the process must be restarted: {0}")]
    Fatal(String),
}

/// An append-only, bounded log of events with idempotent append.
pub trait EventLog: Send + Sync {
    /// Appends a batch; when this returns, every `Accepted` and every `Duplicate` of it survives power loss.
    /// One verdict per record, in order. On an error nothing of the batch is promised: trying again is right. (Of a
    /// batch larger than a segment, at least 4 MiB, some may have been appended, and are repeats then.)
    fn append(
        &self,
        batch: Vec<NewRecord>,
        mode: BatchMode,
    ) -> BoxFuture<'_, Result<Vec<Appended>, LogError>>;

    /// Reads durable records from `from` on: at most `max_records`, and no further once `max_bytes` are reached
    /// (one record is always returned if there is one).
    fn read_from(
        &self,
        from: Seq,
        max_records: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Page, LogError>>;

    /// One record, `None` if it was released and is gone.
    fn get(&self, seq: Seq) -> BoxFuture<'_, Result<Option<Entry>, LogError>>;

    /// Says that everything below `below`, except the positions in `keep` (ascending, disjoint), is needed by nobody.
    /// Released records stay readable until their space is wanted or the retention is over.
    fn release(&self, below: Seq, keep: Vec<Range<Seq>>);

    /// Says that everything below `at_least` may be known to somebody as a position: should damage or loss have let
    /// the end fall back below it, the end moves there and the next record gets at least that position. To be
    /// called before the first append after a start.
    fn continue_from(&self, at_least: Seq);

    /// The position the next record will get: everything below it is durable. Changes are seen by all receivers.
    fn end(&self) -> watch::Receiver<Seq>;

    /// How full it is.
    fn usage(&self) -> Usage;
}

/// A change of one key of a [`State`] shard. Keys and values are small (a key ≤ 512, a value ≤ 64 KiB bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Sets the key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes the key; removing what is not there is fine.
    Delete(Vec<u8>),
}

/// A shard held by this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which shard.
    pub shard: u32,
    /// Which acquisition of it; a later one fences this one off.
    pub epoch: u64,
}

/// Why state was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Somebody acquired the shard after us; stop delivering from it.
    #[error("shard {shard} was taken over by a later owner (epoch {epoch})")]
    Fenced {
        /// The shard.
        shard: u32,
        /// The epoch that now holds it.
        epoch: u64,
    },
    /// No room even in the reserve; kept in memory and to be tried again.
    #[error("the disk below {path} is full and the reserve for delivery state is used up")]
    DiskFull {
        /// The data folder.
        path: String,
    },
    /// More keys are claimed at once than are kept.
    #[error("{max} keys are claimed already; claim again when some of their windows are over")]
    TooManyClaims {
        /// How many are kept.
        max: usize,
    },
    /// As [`LogError::Fatal`].
    #[error("the delivery state failed and the process must be restarted: {0}")]
    Fatal(String),
}

/// All keys of a shard with their values, ascending by key.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// What is open or lagging, as keys and values in shards that have one owner at a time.
pub trait State: Send + Sync {
    /// Takes the shard and fences off whoever had it.
    fn acquire(&self, shard: u32) -> BoxFuture<'_, Result<Held, StateError>>;

    /// Everything in it as of the last commit.
    fn load(&self, held: Held) -> BoxFuture<'_, Result<Pairs, StateError>>;

    /// Applies all changes or none, durably.
    fn commit(&self, held: Held, deltas: Vec<Delta>) -> BoxFuture<'_, Result<(), StateError>>;
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Do it, and settle before the lease ends.
    Granted {
        /// When the lease ends, Unix milliseconds.
        lease_until_ms: u64,
    },
    /// Someone else is at it until then, Unix milliseconds.
    Held {
        /// When their lease ends.
        until_ms: u64,
    },
    /// Done in this window.
    Settled {
        /// When the window ends, Unix milliseconds.
        until_ms: u64,
    },
}

/// "Once per key and window for the whole fleet".
pub trait Claims: Send + Sync {
    /// Asks to do `key` now. The window opens with the first grant; a lease that ends unsettled goes to the next who asks.
    /// The same claimant asking again while it holds the lease is granted again.
    fn claim(
        &self,
        key: &str,
        claimant: &str,
        window_ms: u64,
        lease_ms: u64,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Claimed, StateError>>;

    /// Says it is done. `false` if the claimant no longer holds the lease (someone else may do it again).
    fn settle(&self, key: &str, claimant: &str, now_ms: u64) -> BoxFuture<'_, Result<bool, StateError>>;
}

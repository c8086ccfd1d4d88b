//! The embedded engine: everything in one data folder, for one process.
//!
//! ```text
//! lock               held while a process uses the folder
//! format             version of everything below
//! events/            the event log: segments, spare files, identities of recycled segments
//! dead-letters/      the same for dead letters, dropping the oldest instead of refusing
//! state/             journal and snapshots of delivery state and claims
//! ```
//!
//! Format, recovery rules and the life cycle of space: `docs/decisions/0001-embedded-log.md`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log::{Clock, DedupLimits};

pub mod disk;
mod engine;
mod file;
mod ids_file;
mod index;
mod keeper;
mod reader;
mod record;
mod recover;
mod scan;
mod shared;
mod state;
mod sync;
mod writer;

pub use engine::SegmentLog;
pub use shared::{Limits, LogOptions, Overflow};
pub use state::SegmentState;

use disk::{Disk, LockGuard, RealDisk};
use sync::Failure;

const FORMAT: &str = "chathooks data 1\n";

/// How a data folder is used.
#[derive(Clone)]
pub struct Options {
    /// The event log.
    pub events: LogOptions,
    /// The log of dead letters.
    pub dead_letters: LogOptions,
    /// Bytes of a state journal at least; it grows to twice the state.
    pub journal_bytes: u32,
    /// What time it is.
    pub clock: Clock,
}

impl Default for Options {
    /// 1 GiB for events and a day for what was delivered, 128 MiB and a week for dead letters.
    fn default() -> Self {
        let day_ms = 24 * 60 * 60 * 1000;
        let dedup = DedupLimits::default();
        Self {
            events: LogOptions {
                limits: Limits { capacity_bytes: 1024 * 1024 * 1024, retention_ms: day_ms },
                overflow: Overflow::Refuse,
                dedup,
                segment_bytes: None,
                tail_bytes: 8 * 1024 * 1024,
            },
            dead_letters: LogOptions {
                limits: Limits { capacity_bytes: 128 * 1024 * 1024, retention_ms: 7 * day_ms },
                overflow: Overflow::DropOldest,
                dedup: DedupLimits { max_ids: 50_000, ..dedup },
                segment_bytes: None,
                tail_bytes: 256 * 1024,
            },
            journal_bytes: 4 * 1024 * 1024,
            clock: Arc::new(system_clock),
        }
    }
}

fn system_clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data folder {} is in use by another chathooks; stop that one, or give this one a folder of its own", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Written by a version that we do not know.
    #[error("the data folder {} has the format {found:?}, this chathooks reads {expected:?}; use the chathooks that wrote it, or an empty folder", path.display())]
    Format {
        /// The folder.
        path: PathBuf,
        /// What its `format` file says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// The file system refused.
    #[error("the data folder {} cannot be used: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// An open data folder. Closing or dropping it writes what waits, stops its threads and lets go of the folder.
pub struct Embedded {
    /// The events.
    pub events: Arc<SegmentLog>,
    /// The dead letters.
    pub dead_letters: Arc<SegmentLog>,
    /// Delivery state and claims.
    pub state: Arc<SegmentState>,
    failure: Arc<Failure>,
    _lock: LockGuard,
}

/// Opens a folder on this machine's disk, making it if it is not there. Reads all of it, so it blocks for a while.
pub fn open(dir: &Path, options: Options) -> Result<Embedded, OpenError> {
    open_on(Arc::new(RealDisk), dir, options)
}

/// Opens a folder on any [`Disk`].
pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: Options) -> Result<Embedded, OpenError> {
    let io_error = |source| OpenError::Io { path: dir.to_owned(), source };
    disk.create_dir(dir).map_err(io_error)?;
    let lock = disk.lock(&dir.join("lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse { path: dir.to_owned() },
        _ => io_error(error),
    })?;
    check_format(&*disk, dir)?;
    let failure = Arc::new(Failure::new());
    let log = |name, log_options| {
        SegmentLog::open(disk.clone(), dir.join(name), log_options, options.clock.clone(), failure.clone())
            .map(Arc::new)
            .map_err(io_error)
    };
    let events = log("events", options.events)?;
    let dead_letters = log("dead-letters", options.dead_letters)?;
    let state = SegmentState::open(disk.clone(), dir.join("state"), options.journal_bytes, failure.clone());
    let state = state.map(Arc::new).map_err(io_error)?;
    disk.sync_dir(dir).map_err(io_error)?;
    Ok(Embedded { events, dead_letters, state, failure, _lock: lock })
}

fn check_format(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    let io_error = |source| OpenError::Io { path: dir.to_owned(), source };
    let file = match disk.open(&dir.join("format")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return disk::replace(disk, dir, "format", FORMAT.as_bytes()).map_err(io_error);
        }
        Err(error) => return Err(io_error(error)),
    };
    let found = disk::read_all(&*file).map_err(io_error)?;
    if found == FORMAT.as_bytes() {
        return Ok(());
    }
    Err(OpenError::Format {
        path: dir.to_owned(),
        found: String::from_utf8_lossy(&found).trim().chars().take(100).collect(),
        expected: FORMAT.trim().to_owned(),
    })
}

impl Embedded {
    /// Waits until the engine can promise nothing any more, and says why; the process must end then. Never
    /// resolves otherwise.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(reason) = failure.borrow_and_update().clone() {
                return reason;
            }
            if failure.changed().await.is_err() {
                return "its threads are gone".to_owned();
            }
        }
    }

    /// Writes what waits and stops the threads. Later calls are refused. Blocks until done.
    pub fn close(&self) {
        self.state.close();
        self.events.close();
        self.dead_letters.close();
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

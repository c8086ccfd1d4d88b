//! The embedded engine's [`EventLog`]: starts the threads of one log folder, hands calls to them, stops them.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{oneshot, watch};

use super::disk::Disk;
use super::file::DATA_START;
use super::index::Released;
use super::keeper::{Keeper, order};
use super::reader;
use super::record;
use super::recover::recover;
use super::shared::{Job, Limits, LogOptions, Shared};
use super::sync::{Failure, Rejected, lock, read};
use super::writer::Writer;
use crate::log::known_ids::{KnownIds, real_window};
use crate::log::{
    Appended, BatchMode, Clock, Entry, EventLog, LogError, MAX_PAYLOAD, NewRecord, Page, Seq, Usage,
};

/// A log in a folder of its own.
pub struct SegmentLog {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SegmentLog {
    /// Recovers the folder and starts the threads.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: LogOptions,
        clock: Clock,
        failure: Arc<Failure>,
    ) -> io::Result<Self> {
        disk.create_dir(&dir)?;
        let recovered = recover(&*disk, &dir, KnownIds::new(options.dedup), clock())?;
        let shared =
            Arc::new(Shared::new(disk, dir, clock, failure, options, recovered.index, recovered.end));
        shared.counters.corrupt.store(recovered.corrupt, Ordering::Relaxed);
        let mut keeper =
            Keeper::new(shared.clone(), recovered.spares, recovered.ids_files, recovered.next_number);
        let (segment, at) = match recovered.active {
            Some(active) => active,
            None => (keeper.first_segment()?, DATA_START),
        };
        let writer = Writer::new(shared.clone(), segment, at, recovered.end, recovered.known);
        let threads = vec![
            std::thread::Builder::new().name("log-writer".into()).spawn(move || writer.run())?,
            std::thread::Builder::new().name("log-keeper".into()).spawn(move || keeper.run())?,
        ];
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Changes the limits; a smaller capacity takes effect as segments become free.
    pub fn set_limits(&self, limits: Limits) {
        *lock(&self.shared.limits) = limits;
        order(&self.shared, |_| {});
    }

    /// Writes what waits, then stops; later calls are refused with [`LogError::Fatal`]. Blocks until done.
    pub fn close(&self) {
        self.shared.jobs.close();
        let mut threads = lock(&self.threads);
        if threads.is_empty() {
            return;
        }
        // The writer first: it may still need the keeper.
        let keeper = threads.pop();
        for thread in threads.drain(..) {
            let _ = thread.join();
        }
        order(&self.shared, |orders| orders.closed = true);
        if let Some(keeper) = keeper {
            let _ = keeper.join();
        }
    }

    fn check_sizes(&self, batch: &[NewRecord]) -> Result<(), LogError> {
        let room = self.shared.segment_room();
        let max = MAX_PAYLOAD.min(room - record::size(0)) / record::ALIGN * record::ALIGN;
        match batch.iter().map(|record| record.payload.len()).max() {
            Some(size) if size > max => Err(LogError::TooLarge { size, max }),
            _ => Ok(()),
        }
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.close();
    }
}

fn closed() -> LogError {
    LogError::Fatal("it was closed".into())
}

impl EventLog for SegmentLog {
    fn append(
        &self,
        batch: Vec<NewRecord>,
        mode: BatchMode,
    ) -> BoxFuture<'_, Result<Vec<Appended>, LogError>> {
        async move {
            if batch.is_empty() {
                return Ok(Vec::new());
            }
            self.check_sizes(&batch)?;
            let cost = batch.iter().map(|record| record::size(record.payload.len())).sum();
            let (reply, answer) = oneshot::channel();
            match self.shared.jobs.push(Job { batch, mode, reply }, cost) {
                Ok(()) => {}
                Err(Rejected::Busy) => return Err(LogError::Busy),
                Err(Rejected::Closed) => return Err(closed()),
            }
            answer.await.unwrap_or_else(|_| {
                let reason = self.shared.failure.get();
                Err(LogError::Fatal(reason.unwrap_or_else(|| "its writer thread is gone".into())))
            })
        }
        .boxed()
    }

    fn read_from(
        &self,
        from: Seq,
        max_records: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Page, LogError>> {
        async move {
            let end = *self.shared.end.borrow();
            if from >= end {
                return Ok(Page { entries: Vec::new(), next: end });
            }
            if let Some(page) = self.page_from_tail(from, max_records, max_bytes) {
                return Ok(page);
            }
            let shared = self.shared.clone();
            blocking(move || reader::page(&shared, from, end, max_records, max_bytes)).await
        }
        .boxed()
    }

    fn get(&self, seq: Seq) -> BoxFuture<'_, Result<Option<Entry>, LogError>> {
        async move {
            if let Some(entry) = read(&self.shared.tail).from(seq).and_then(|mut entries| entries.next()) {
                return Ok(Some(entry.clone()));
            }
            let shared = self.shared.clone();
            blocking(move || reader::get(&shared, seq)).await
        }
        .boxed()
    }

    fn release(&self, below: Seq, keep: Vec<Range<Seq>>) {
        order(&self.shared, |orders| orders.release = Some(Released { below, keep }));
    }

    fn continue_from(&self, at_least: Seq) {
        let end = *self.shared.end.borrow();
        if at_least <= end {
            return;
        }
        let dir = self.shared.dir.display();
        tracing::error!(%dir, from = end, to = at_least - 1, "events at these positions were accepted and are lost with the files that held them; their positions are not used again");
        self.shared.counters.floor.fetch_max(at_least, Ordering::Relaxed);
        self.shared.raise_end(at_least);
    }

    fn end(&self) -> watch::Receiver<Seq> {
        self.shared.end.subscribe()
    }

    fn usage(&self) -> Usage {
        let counters = &self.shared.counters;
        let now_ms = (self.shared.clock)();
        let index = read(&self.shared.index);
        Usage {
            capacity_bytes: self.shared.limits().capacity_bytes,
            live_bytes: index.live,
            used_bytes: index.bytes_in_use(),
            refusing: counters.refusing.load(Ordering::Relaxed),
            oldest_ms: index.oldest.map(|(_, appended_ms)| appended_ms),
            corrupt_records: counters.corrupt.load(Ordering::Relaxed),
            dropped_records: counters.dropped.load(Ordering::Relaxed),
            known_ids: counters.known_ids.load(Ordering::Relaxed),
            dedup_window_ms: real_window(
                self.shared.options.dedup,
                counters.forgot_ms.load(Ordering::Relaxed),
                now_ms,
            ),
        }
    }
}

impl SegmentLog {
    fn page_from_tail(&self, from: Seq, max_records: usize, max_bytes: usize) -> Option<Page> {
        let tail = read(&self.shared.tail);
        let mut page = Page { entries: Vec::new(), next: from };
        let mut bytes = 0;
        for entry in tail.from(from)?.take(max_records) {
            if bytes >= max_bytes && !page.entries.is_empty() {
                break;
            }
            bytes += entry.payload.len();
            page.next = entry.seq + 1;
            page.entries.push(entry.clone());
        }
        Some(page)
    }
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(LogError::Fatal(format!("reading ended: {error}"))))
}

//! The embedded engine's [`State`] and [`Claims`]: the table in memory, one thread that changes it and makes every
//! change durable before it answers. What waits together is written and synced together.

mod codec;
mod journal;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::disk::{Disk, is_full};
use super::sync::{EndsProperly, Failure, Inbox, lock};
use crate::log::table::{Op, Table};
use crate::log::{Claimed, Claims, Delta, Held, Pairs, State, StateError};
use journal::Journal;

/// Calls that may wait for the thread; further callers wait for one of them to be answered.
const MAX_WAITING: usize = 1024;

/// Bytes of operations written as one frame, unless a single commit is larger.
const FRAME_BYTES: usize = 1024 * 1024;

/// What a caller asks of the thread. Runs on it, and returns how to answer once all is durable.
type Ask = Box<dyn FnOnce(&mut Keeper) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), StateError>) + Send>;

/// Delivery state and claims in a folder of their own.
pub struct SegmentState {
    inbox: Arc<Inbox<(Ask, OwnedSemaphorePermit)>>,
    waiting: Arc<Semaphore>,
    failure: Arc<Failure>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The thread's own state.
struct Keeper {
    table: Table,
    journal: Journal,
    dir: PathBuf,
    failure: Arc<Failure>,
    /// Operations that are applied to the table and not yet written.
    frame: Vec<u8>,
    scratch: Vec<u8>,
    answers: Vec<Answer>,
}

impl Keeper {
    fn run(mut self, inbox: &Inbox<(Ask, OwnedSemaphorePermit)>) {
        let failure = self.failure.clone();
        let _guard = EndsProperly { failure: &failure, thread: "state" };
        let mut asked = Vec::new();
        while inbox.take(&mut asked, MAX_WAITING) {
            for (ask, _permit) in asked.drain(..) {
                let answer = ask(&mut self);
                self.answers.push(answer);
            }
            // Those who wait have been told.
            let _ = self.flush();
        }
    }

    /// Applies an operation and puts it where the next [`Keeper::flush`] makes it durable. Room is made before, so
    /// that an operation without room is not applied.
    fn change(&mut self, op: Op) -> Result<(), StateError> {
        self.check()?;
        self.scratch.clear();
        codec::encode(&mut self.scratch, &op);
        let together = self.frame.len() + self.scratch.len();
        if together > FRAME_BYTES || !self.journal.has_room(together) {
            self.flush()?;
        }
        if !self.journal.has_room(self.scratch.len()) {
            let rotated = self.journal.rotate(&self.table, self.scratch.len());
            rotated.map_err(|error| self.error(&error))?;
        }
        self.frame.append(&mut self.scratch);
        self.table.apply(op);
        Ok(())
    }

    fn check(&self) -> Result<(), StateError> {
        self.failure.get().map_or(Ok(()), |reason| Err(StateError::Fatal(reason)))
    }

    fn error(&self, error: &io::Error) -> StateError {
        if is_full(error) {
            return StateError::DiskFull { path: self.dir.display().to_string() };
        }
        StateError::Fatal(
            self.failure.set(format!("writing state to {} failed: {error}", self.dir.display())),
        )
    }

    fn flush(&mut self) -> Result<(), StateError> {
        let written = if self.frame.is_empty() { Ok(()) } else { self.journal.write(&self.frame) };
        self.frame.clear();
        self.frame.shrink_to(FRAME_BYTES);
        let written = match written {
            Ok(()) => self.check(),
            Err(error) => Err(self.error(&error)),
        };
        let outcome = || match &written {
            Ok(()) => Ok(()),
            Err(StateError::Fatal(reason)) => Err(StateError::Fatal(reason.clone())),
            Err(_) => Err(StateError::DiskFull { path: self.dir.display().to_string() }),
        };
        for answer in self.answers.drain(..) {
            answer(outcome());
        }
        written
    }
}

impl SegmentState {
    /// Recovers the folder and starts the thread.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        journal_bytes: u32,
        failure: Arc<Failure>,
    ) -> io::Result<Self> {
        let (journal, table) = Journal::open(disk, dir.clone(), journal_bytes)?;
        let keeper = Keeper {
            table,
            journal,
            dir,
            failure: failure.clone(),
            frame: Vec::new(),
            scratch: Vec::new(),
            answers: Vec::new(),
        };
        let inbox = Arc::new(Inbox::new(MAX_WAITING, MAX_WAITING));
        let waits = inbox.clone();
        let thread =
            std::thread::Builder::new().name("log-state".into()).spawn(move || keeper.run(&waits))?;
        Ok(Self {
            inbox,
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            failure,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Writes what waits, then stops; later calls are refused. Blocks until done.
    pub fn close(&self) {
        self.inbox.close();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }

    /// Runs something on the thread and returns its outcome once everything up to it is durable.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Keeper) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let (reply, answer) = oneshot::channel();
        let ask: Ask = Box::new(move |keeper| {
            let outcome = ask(keeper);
            Box::new(move |durable| {
                // Nobody listening any more is fine.
                let _ = reply.send(outcome.and_then(|value| durable.map(|()| value)));
            })
        });
        let gone = || StateError::Fatal(self.failure.get().unwrap_or_else(|| "it was closed".into()));
        let permit = self.waiting.clone().acquire_owned().await.map_err(|_| gone())?;
        self.inbox.push((ask, permit), 1).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for SegmentState {
    fn drop(&mut self) {
        self.close();
    }
}

impl State for SegmentState {
    fn acquire(&self, shard: u32) -> BoxFuture<'_, Result<Held, StateError>> {
        self.ask(move |keeper| {
            let (held, op) = keeper.table.acquire(shard);
            keeper.change(op).map(|()| held)
        })
        .boxed()
    }

    fn load(&self, held: Held) -> BoxFuture<'_, Result<Pairs, StateError>> {
        self.ask(move |keeper| keeper.table.load(held)).boxed()
    }

    fn commit(&self, held: Held, deltas: Vec<Delta>) -> BoxFuture<'_, Result<(), StateError>> {
        self.ask(move |keeper| {
            let op = keeper.table.commit(held, deltas)?;
            keeper.change(op)
        })
        .boxed()
    }
}

impl Claims for SegmentState {
    fn claim(
        &self,
        key: &str,
        claimant: &str,
        window_ms: u64,
        lease_ms: u64,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Claimed, StateError>> {
        let (key, claimant) = (key.to_owned(), claimant.to_owned());
        self.ask(move |keeper| {
            let (claimed, op) = keeper.table.claim(&key, &claimant, window_ms, lease_ms, now_ms)?;
            op.map_or(Ok(()), |op| keeper.change(op))?;
            Ok(claimed)
        })
        .boxed()
    }

    fn settle(&self, key: &str, claimant: &str, now_ms: u64) -> BoxFuture<'_, Result<bool, StateError>> {
        let (key, claimant) = (key.to_owned(), claimant.to_owned());
        self.ask(move |keeper| match keeper.table.settle(&key, &claimant, now_ms) {
            Some(op) => keeper.change(op).map(|()| true),
            None => Ok(false),
        })
        .boxed()
    }
}

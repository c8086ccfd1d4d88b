//! What the engine's threads share to talk to each other: locks that outlive a panic, a bounded inbox, and the
//! one place where a failure is kept.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

/// Locks; a panic of another holder does not matter, as every change under our locks is complete in itself.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading, as [`lock`].
pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing, as [`lock`].
pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on a condition, as [`lock`].
pub(super) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Why an [`Inbox`] did not take something.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    /// The bound is reached.
    Busy,
    /// The engine was closed.
    Closed,
}

/// What waits for a thread: bounded by count and cost, taken all at once.
pub(super) struct Inbox<T> {
    waiting: Mutex<Waiting<T>>,
    arrived: Condvar,
    max_items: usize,
    max_cost: usize,
}

struct Waiting<T> {
    items: VecDeque<(T, usize)>,
    cost: usize,
    closed: bool,
}

impl<T> Inbox<T> {
    pub(super) fn new(max_items: usize, max_cost: usize) -> Self {
        let waiting = Waiting { items: VecDeque::new(), cost: 0, closed: false };
        Self { waiting: Mutex::new(waiting), arrived: Condvar::new(), max_items, max_cost }
    }

    /// Puts an item in; one item is always taken if nothing else waits, whatever its cost.
    pub(super) fn push(&self, item: T, cost: usize) -> Result<(), Rejected> {
        let mut waiting = lock(&self.waiting);
        if waiting.closed {
            return Err(Rejected::Closed);
        }
        let full = waiting.items.len() >= self.max_items || waiting.cost + cost > self.max_cost;
        if full && !waiting.items.is_empty() {
            return Err(Rejected::Busy);
        }
        waiting.items.push_back((item, cost));
        waiting.cost += cost;
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for items and moves them out, at least one and no more once their cost reaches `cost`.
    /// `false` once the inbox is closed and empty.
    pub(super) fn take(&self, into: &mut Vec<T>, cost: usize) -> bool {
        let mut waiting = lock(&self.waiting);
        while waiting.items.is_empty() {
            if waiting.closed {
                return false;
            }
            waiting = wait(&self.arrived, waiting);
        }
        let mut taken = 0;
        while taken < cost
            && let Some((item, item_cost)) = waiting.items.pop_front()
        {
            into.push(item);
            taken += item_cost.max(1);
            waiting.cost -= item_cost;
        }
        true
    }

    /// Takes nothing more in; what waits is still handed out.
    pub(super) fn close(&self) {
        lock(&self.waiting).closed = true;
        self.arrived.notify_all();
    }
}

/// The first failure after which nothing can be promised any more; shared by all parts of a data folder.
#[derive(Debug)]
pub(super) struct Failure(watch::Sender<Option<String>>);

impl Failure {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Keeps the reason unless there is one already, and returns the one that counts.
    pub(super) fn set(&self, reason: String) -> String {
        self.0.send_if_modified(|kept| {
            let first = kept.is_none();
            if first {
                tracing::error!(%reason, "the embedded log failed");
                *kept = Some(reason);
            }
            first
        });
        self.get().unwrap_or_default()
    }

    pub(super) fn get(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.0.subscribe()
    }
}

/// Turns the end of a thread that was not asked to end (a panic) into a [`Failure`].
pub(super) struct EndsProperly<'a> {
    pub(super) failure: &'a Failure,
    pub(super) thread: &'static str,
}

impl Drop for EndsProperly<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failure.set(format!("its {} thread panicked", self.thread));
        }
    }
}

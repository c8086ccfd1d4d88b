//! What has to be looked at again: a set, so that it is bounded by the number of objects however often they change.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::Stream;

use crate::plan::Key;

/// A set of objects of one kind that is emptied by whoever reads it as a stream.
#[derive(Clone, Default)]
pub struct Dirty(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    keys: HashSet<Key>,
    waker: Option<Waker>,
    closed: bool,
    total: u64,
}

impl Dirty {
    /// Asks for another look at an object.
    pub fn mark(&self, key: Key) {
        let mut inner = self.lock();
        inner.keys.insert(key);
        inner.total += 1;
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }

    /// Ends the stream; what is under way may end.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }

    /// How often something was asked for.
    pub fn total(&self) -> u64 {
        self.lock().total
    }

    /// The objects, each once per time that it was marked and not yet taken.
    pub fn stream(&self) -> DirtyStream {
        DirtyStream(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Dirty::stream`].
pub struct DirtyStream(Dirty);

impl Stream for DirtyStream {
    type Item = Key;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Key>> {
        let mut inner = self.0.lock();
        if inner.closed {
            return Poll::Ready(None);
        }
        if let Some(key) = inner.keys.iter().next().cloned() {
            inner.keys.remove(&key);
            return Poll::Ready(Some(key));
        }
        inner.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};

    use super::*;

    #[test]
    fn an_object_that_changes_often_is_looked_at_once() {
        let dirty = Dirty::default();
        let mut stream = dirty.stream();
        assert!(stream.next().now_or_never().is_none());
        let key: Key = ("ai".into(), "team".into());
        for _ in 0..3 {
            dirty.mark(key.clone());
        }
        assert_eq!(stream.next().now_or_never(), Some(Some(key.clone())));
        assert!(stream.next().now_or_never().is_none());
        dirty.mark(key.clone());
        assert_eq!(stream.next().now_or_never(), Some(Some(key)));
        assert_eq!(dirty.total(), 4);
        dirty.close();
        assert_eq!(stream.next().now_or_never(), Some(None));
    }
}

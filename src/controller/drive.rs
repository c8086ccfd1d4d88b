//! Runs a reconciler over what is marked: each object one at a time, several objects side by side, and again after a
//! failure with growing pauses.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use kube::Resource;
use kube::runtime::controller::{self, Action, Error as RunError, applier};
use kube::runtime::reflector::{ObjectRef, Store};

use super::context::Context;
use super::dirty::Dirty;
use super::error::Error;
use super::stores::{key_of, reference};
use crate::plan::Key;

/// Objects of one kind that are reconciled side by side.
const SIDE_BY_SIDE: u16 = 16;

/// Longest that one reconcile may take.
const RECONCILE: Duration = Duration::from_mins(1);

/// First and longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_mins(1));

/// Failures in a row, by object.
type Failures = Arc<Mutex<HashMap<Key, u32>>>;

/// Runs until the marks are closed and what is under way has ended. `left` forgets what is known of an object that is gone.
pub async fn drive<K, F>(
    kind: &'static str,
    ctx: Arc<Context>,
    store: Store<K>,
    marks: Dirty,
    reconcile: fn(Arc<K>, Arc<Context>) -> F,
    left: fn(&Context, &Key),
) -> &'static str
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let failures = Failures::default();
    let (forgiven, lasting) = (Arc::clone(&failures), Arc::clone(&failures));
    let (ending, now) = (Arc::clone(&ctx), store.clone());
    let bounded = move |object: Arc<K>, ctx: Arc<Context>| {
        let (failures, key) = (Arc::clone(&forgiven), key_of(&*object));
        Box::pin(async move {
            ctx.metrics.reconciled(kind);
            let done = tokio::time::timeout(RECONCILE, reconcile(object, ctx)).await;
            let done = done.unwrap_or(Err(Error::Timeout("reconcile")));
            if done.is_ok() {
                failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            }
            done
        })
    };
    let policy = move |object: Arc<K>, error: &Error, ctx: Arc<Context>| {
        ctx.metrics.failed(kind, error.category());
        if matches!(error, Error::NotLeading) {
            // Whoever leads next looks at everything.
            return Action::await_change();
        }
        let (namespace, name) = key_of(&*object);
        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry((namespace.clone(), name.clone())).or_default();
        *count = count.saturating_add(1);
        let pause = pause_after(*count);
        tracing::warn!(kind, namespace, name, %error, again_in = ?pause, "reconciling failed");
        Action::requeue(pause)
    };
    let queue = marks.stream().map(|key| Ok::<ObjectRef<K>, Infallible>(reference(&key)));
    let config = controller::Config::default().concurrency(SIDE_BY_SIDE);
    applier(bounded, policy, ctx, store, queue, config)
        .for_each(|result| {
            match result {
                Ok(_) | Err(RunError::ReconcilerFailed(..)) => {}
                // Its deletion was seen before its turn came. What a reconcile that was under way then has left behind
                // is forgotten here, since this comes after it.
                Err(RunError::ObjectNotFound(gone)) => {
                    let key = (gone.namespace.unwrap_or_default(), gone.name);
                    lasting.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                    if now.get(&reference(&key)).is_none() {
                        left(&ending, &key);
                    }
                }
                Err(error) => tracing::error!(kind, %error, "the queue failed"),
            }
            std::future::ready(())
        })
        .await;
    kind
}

fn pause_after(failures: u32) -> Duration {
    PAUSES.0.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSES.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let millis: Vec<u128> = [1, 2, 3, 10, 1000].map(|count| pause_after(count).as_millis()).to_vec();
        assert_eq!(millis, [200, 400, 800, 60_000, 60_000]);
    }
}

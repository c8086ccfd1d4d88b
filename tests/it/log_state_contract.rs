//! What every engine promises about state and claims, checked on every engine.

use std::sync::Arc;

use chathooks::log::memory::MemoryState;
use chathooks::log::segment::{self, SegmentState};
use chathooks::log::{Claimed, Claims, Delta, Held, State, StateError};

use crate::log_contract::{clock, options};

fn memory() -> (Arc<MemoryState>, ()) {
    (Arc::new(MemoryState::default()), ())
}

fn embedded() -> (Arc<SegmentState>, (segment::Embedded, tempfile::TempDir)) {
    let folder = tempfile::tempdir().unwrap();
    let opened = segment::open(folder.path(), options(clock().0)).unwrap();
    (opened.state.clone(), (opened, folder))
}

macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod memory { $(#[tokio::test] async fn $name() { let (state, _kept) = super::memory(); super::$name(&*state).await; })* }
        mod embedded { $(#[tokio::test] async fn $name() { let (state, _kept) = super::embedded(); super::$name(&*state).await; })* }
    };
}

contract!(
    what_is_committed_is_loaded,
    a_later_owner_fences_off_the_earlier,
    a_shard_nobody_acquired_is_fenced,
    shards_do_not_see_each_other,
    a_claim_is_granted_once_in_its_window,
    an_unsettled_claim_goes_to_the_next,
    a_new_window_opens_after_the_old,
);

pub(crate) fn put(key: &str, value: &str) -> Delta {
    Delta::Put(key.into(), value.into())
}

pub(crate) async fn pairs(state: &dyn State, held: Held) -> Vec<(String, String)> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let loaded = state.load(held).await.unwrap();
    loaded.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

async fn what_is_committed_is_loaded(state: &dyn State) {
    let held = state.acquire(1).await.unwrap();
    assert_eq!(pairs(state, held).await, []);
    state.commit(held, vec![put("b", "2"), put("a", "1"), put("c", "")]).await.unwrap();
    state
        .commit(held, vec![put("a", "3"), Delta::Delete("b".into()), Delta::Delete("x".into())])
        .await
        .unwrap();
    assert_eq!(pairs(state, held).await, [pair("a", "3"), pair("c", "")]);
}

async fn a_later_owner_fences_off_the_earlier(state: &dyn State) {
    let first = state.acquire(1).await.unwrap();
    state.commit(first, vec![put("a", "1")]).await.unwrap();
    let second = state.acquire(1).await.unwrap();
    assert!(second.epoch > first.epoch);
    let refused = state.commit(first, vec![put("a", "2")]).await;
    assert!(matches!(refused, Err(StateError::Fenced { shard: 1, epoch }) if epoch == second.epoch));
    assert!(matches!(state.load(first).await, Err(StateError::Fenced { .. })));
    assert_eq!(pairs(state, second).await, [pair("a", "1")]);
}

async fn a_shard_nobody_acquired_is_fenced(state: &dyn State) {
    let made_up = Held { shard: 9, epoch: 1 };
    assert!(matches!(state.commit(made_up, vec![]).await, Err(StateError::Fenced { shard: 9, epoch: 0 })));
}

async fn shards_do_not_see_each_other(state: &dyn State) {
    let one = state.acquire(1).await.unwrap();
    let two = state.acquire(2).await.unwrap();
    state.commit(one, vec![put("a", "1")]).await.unwrap();
    assert_eq!(pairs(state, two).await, []);
}

async fn a_claim_is_granted_once_in_its_window(claims: &dyn Claims) {
    let granted = claims.claim("k", "a", 1000, 100, 5000).await.unwrap();
    assert_eq!(granted, Claimed::Granted { lease_until_ms: 5100 });
    assert_eq!(claims.claim("k", "b", 1000, 100, 5050).await.unwrap(), Claimed::Held { until_ms: 5100 });
    let again = claims.claim("k", "a", 1000, 100, 5060).await.unwrap();
    assert_eq!(again, Claimed::Granted { lease_until_ms: 5160 });
    assert!(!claims.settle("k", "b", 5070).await.unwrap());
    assert!(claims.settle("k", "a", 5070).await.unwrap());
    assert!(claims.settle("k", "a", 5080).await.unwrap());
    for claimant in ["a", "b"] {
        let settled = claims.claim("k", claimant, 1000, 100, 5999).await.unwrap();
        assert_eq!(settled, Claimed::Settled { until_ms: 6000 });
    }
    assert!(matches!(claims.claim("other", "b", 1000, 100, 5050).await.unwrap(), Claimed::Granted { .. }));
}

async fn an_unsettled_claim_goes_to_the_next(claims: &dyn Claims) {
    claims.claim("k", "a", 1000, 100, 5000).await.unwrap();
    let taken = claims.claim("k", "b", 1000, 100, 5100).await.unwrap();
    assert_eq!(taken, Claimed::Granted { lease_until_ms: 5200 });
    assert!(!claims.settle("k", "a", 5110).await.unwrap());
    assert!(claims.settle("k", "b", 5110).await.unwrap());
    assert_eq!(claims.claim("k", "a", 1000, 100, 5120).await.unwrap(), Claimed::Settled { until_ms: 6000 });
}

async fn a_new_window_opens_after_the_old(claims: &dyn Claims) {
    claims.claim("k", "a", 1000, 100, 5000).await.unwrap();
    claims.settle("k", "a", 5010).await.unwrap();
    let granted = claims.claim("k", "b", 1000, 100, 6000).await.unwrap();
    assert_eq!(granted, Claimed::Granted { lease_until_ms: 6100 });
}

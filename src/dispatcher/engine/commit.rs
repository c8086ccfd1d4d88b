//! Commits state beside the engine's loop: at most one commit under way, nothing forgotten when one fails.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::journal::CURSOR_KEY;
use super::{Engine, EngineError, Shard};
use crate::log::{Delta, Seq, StateError};

/// What may be released once a commit is durable: everything below a position but these ranges, ascending.
pub(super) type Release = Option<(Seq, Vec<Range<Seq>>)>;

/// Pause after a commit that found no room.
const REST: Duration = Duration::from_secs(1);

/// What was to be committed, and whether it is.
type Ended = (Vec<Delta>, Result<(), StateError>);

#[derive(Default)]
pub(super) struct Committer {
    shard: Option<Shard>,
    /// Changes of a commit that failed for want of space; they go first next time.
    kept: Vec<Delta>,
    under_way: Option<JoinHandle<Ended>>,
    release: Release,
    cursor: Seq,
    dirty: bool,
    /// Something changed since the log was last told what is needed.
    releasable: bool,
    /// After a commit without room: no other before this.
    rest_until: Option<Instant>,
}

impl Committer {
    pub(super) fn new(shard: Shard, cursor: Seq) -> Self {
        // What a log has released is not persisted: after a start it must be told.
        Self { shard: Some(shard), cursor, releasable: true, ..Self::default() }
    }

    /// Something changed: the next tick commits.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
        self.releasable = true;
    }

    /// Whether a commit should begin now; `release`: one that also releases, if anything can be.
    pub(super) fn wants(&self, release: bool) -> bool {
        self.under_way.is_none()
            && self.rest_until.is_none_or(|until| until <= Instant::now())
            && (self.dirty || !self.kept.is_empty() || (release && self.releasable))
    }

    /// Begins a commit.
    pub(super) fn commit(&mut self, changes: Vec<Delta>, cursor: Seq, needed: Option<Vec<Range<Seq>>>) {
        let Some((state, held)) = self.shard.clone() else { return };
        let mut deltas = std::mem::take(&mut self.kept);
        deltas.extend(changes);
        self.dirty = false;
        self.cursor = cursor;
        self.releasable &= needed.is_none();
        self.release = needed.map(|needed| (cursor, needed));
        self.under_way = Some(tokio::spawn(async move {
            let result = state.commit(held, deltas.clone()).await;
            (deltas, result)
        }));
    }

    /// The end of the commit under way; never, if there is none.
    pub(super) async fn finished(&mut self) -> Result<Release, StateError> {
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let ended = under_way.await;
        self.under_way = None;
        match ended {
            Ok((_, Ok(()))) => {
                self.rest_until = None;
                Ok(self.release.take())
            }
            Ok((deltas, Err(error @ StateError::DiskFull { .. }))) => {
                tracing::error!("delivery state is not saved, deliveries go on: {error}");
                self.kept = fold(deltas);
                self.releasable |= self.release.take().is_some();
                self.rest_until = Some(Instant::now() + REST);
                Ok(None)
            }
            Ok((_, Err(error))) => Err(error),
            Err(error) => Err(StateError::Fatal(format!("a commit ended abnormally: {error}"))),
        }
    }

    /// Waits for the commit under way, if any; what it returns is to be released.
    pub(super) async fn settle(&mut self) -> Result<Release, StateError> {
        if self.under_way.is_some() { self.finished().await } else { Ok(None) }
    }

    /// Commits and waits.
    pub(super) async fn commit_now(&mut self, changes: Vec<Delta>) -> Result<(), StateError> {
        self.commit(changes, self.cursor, None);
        self.finished().await?;
        if self.kept.is_empty() {
            Ok(())
        } else {
            Err(StateError::Fatal("the disk is full and the last state could not be saved".to_owned()))
        }
    }
}

/// The last change of each key: all that another try must bring.
fn fold(deltas: Vec<Delta>) -> Vec<Delta> {
    let mut last = BTreeMap::new();
    for delta in deltas {
        let (Delta::Put(key, _) | Delta::Delete(key)) = &delta;
        last.insert(key.clone(), delta);
    }
    last.into_values().collect()
}

impl Engine {
    /// Everything that changed since the last call.
    pub(super) fn changes(&mut self) -> Vec<Delta> {
        let mut deltas = vec![Delta::Put(CURSOR_KEY.to_vec(), self.cursor.to_be_bytes().to_vec())];
        for subscription in self.subscriptions.values_mut() {
            subscription.take_changes(&mut deltas);
        }
        deltas
    }

    /// Positions below the cursor that some subscription still needs: ascending, disjoint.
    pub(super) fn needed(&self) -> Vec<Range<Seq>> {
        let mut all = Vec::new();
        for subscription in self.subscriptions.values() {
            subscription.needed(&mut all);
        }
        all.sort_unstable_by_key(|range| range.start);
        let mut merged: Vec<Range<Seq>> = Vec::new();
        for range in all {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }

    pub(super) fn committed(&mut self, result: Result<Release, StateError>) -> Result<(), EngineError> {
        let release = result?;
        self.release(release);
        Ok(())
    }

    pub(super) fn release(&self, release: Release) {
        if let Some((below, needed)) = release {
            self.storage.events.release(below, needed);
        }
    }
}

//! Commits state beside the engine's loop: at most one commit under way, nothing forgotten when one fails.

use tokio::task::JoinHandle;

use super::journal::CURSOR_KEY;
use super::{Engine, EngineError, Shard};
use crate::log::{Delta, Seq, StateError};

/// What may be released once a commit is durable: everything below the cursor but these positions, ascending.
type Release = Option<Vec<Seq>>;

/// What was to be committed, and whether it is.
type Ended = (Vec<Delta>, Result<(), StateError>);

#[derive(Default)]
pub(super) struct Committer {
    shard: Option<Shard>,
    /// Changes of a commit that failed for want of space; they go first next time.
    kept: Vec<Delta>,
    under_way: Option<JoinHandle<Ended>>,
    release: Option<(Seq, Vec<Seq>)>,
    cursor: Seq,
    dirty: bool,
    /// Something changed since the log was last told what is needed.
    releasable: bool,
}

impl Committer {
    pub(super) fn new(shard: Shard, cursor: Seq) -> Self {
        Self { shard: Some(shard), cursor, ..Self::default() }
    }

    /// Something changed: the next tick commits.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
        self.releasable = true;
    }

    /// Whether a commit should begin now; `release`: one that also releases, if anything can be.
    pub(super) fn wants(&self, release: bool) -> bool {
        self.under_way.is_none() && (self.dirty || !self.kept.is_empty() || (release && self.releasable))
    }

    /// Begins a commit.
    pub(super) fn commit(&mut self, changes: Vec<Delta>, cursor: Seq, release: Release) {
        let Some((state, held)) = self.shard.clone() else { return };
        let mut deltas = std::mem::take(&mut self.kept);
        deltas.extend(changes);
        self.dirty = false;
        self.cursor = cursor;
        self.releasable &= release.is_none();
        self.release = release.map(|needed| (cursor, needed));
        self.under_way = Some(tokio::spawn(async move {
            let result = state.commit(held, deltas.clone()).await;
            (deltas, result)
        }));
    }

    /// The end of the commit under way; never, if there is none.
    pub(super) async fn finished(&mut self) -> Result<Option<(Seq, Vec<Seq>)>, StateError> {
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let ended = under_way.await;
        self.under_way = None;
        match ended {
            Ok((_, Ok(()))) => Ok(self.release.take()),
            Ok((deltas, Err(error @ StateError::DiskFull { .. }))) => {
                tracing::error!("delivery state is not saved, deliveries go on: {error}");
                self.kept = deltas;
                Ok(None)
            }
            Ok((_, Err(error))) => Err(error),
            Err(error) => Err(StateError::Fatal(format!("a commit ended abnormally: {error}"))),
        }
    }

    /// Waits for the commit under way, if any.
    pub(super) async fn settle(&mut self) -> Result<(), StateError> {
        if self.under_way.is_some() {
            self.finished().await?;
        }
        Ok(())
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

impl Engine {
    /// Everything that changed since the last call.
    pub(super) fn changes(&mut self) -> Vec<Delta> {
        let mut deltas = vec![Delta::Put(CURSOR_KEY.to_vec(), self.cursor.to_be_bytes().to_vec())];
        for subscription in self.subscriptions.values_mut() {
            subscription.take_changes(&mut deltas);
        }
        deltas
    }

    /// Positions below the cursor that some subscription still needs, ascending.
    pub(super) fn needed(&self) -> Vec<Seq> {
        let mut needed = Vec::new();
        for subscription in self.subscriptions.values() {
            subscription.needed(&mut needed);
        }
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    pub(super) fn committed(
        &mut self,
        result: Result<Option<(Seq, Vec<Seq>)>, StateError>,
    ) -> Result<(), EngineError> {
        if let Some((below, needed)) = result? {
            self.storage.events.release(below, ranges(&needed));
        }
        Ok(())
    }
}

/// Merges ascending positions into ranges.
fn ranges(positions: &[Seq]) -> Vec<std::ops::Range<Seq>> {
    let runs = positions.chunk_by(|a, b| a + 1 == *b);
    runs.filter_map(|run| Some(*run.first()?..run.last()? + 1)).collect()
}

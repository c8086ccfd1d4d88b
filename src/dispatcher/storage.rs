//! Where engines keep what they must not lose: one folder per ChatInstance below one data folder.
//!
//! `<data>/instances/<namespace>/<name>/` is an embedded engine of its own, with its own bounds, so that one
//! instance's backlog cannot take another's room.

use std::path::PathBuf;
use std::sync::Arc;

use super::engine::Storage;
use crate::log::segment::{self, Embedded, Limits, OpenError, Options};
use crate::plan::model::InstancePlan;

/// Room for dead letters, as a share of the event log's.
const DEAD_LETTER_SHARE: u64 = 8;

/// Storage of one ChatInstance.
pub struct InstanceStorage {
    embedded: Arc<Embedded>,
}

impl InstanceStorage {
    /// Opens the folder of an instance, making it if it is not there. Takes as long as reading what is in it.
    pub async fn open(data_dir: PathBuf, plan: &InstancePlan) -> Result<Self, OpenError> {
        let folder = data_dir.join("instances").join(&plan.namespace).join(&plan.name);
        let mut options = Options::default();
        (options.events.limits, options.dead_letters.limits) = limits(plan);
        let opened = tokio::task::spawn_blocking({
            let folder = folder.clone();
            move || segment::open(&folder, options)
        });
        let embedded = opened.await.unwrap_or_else(|error| {
            Err(OpenError::Io { path: folder, source: std::io::Error::other(error) })
        })?;
        Ok(Self { embedded: Arc::new(embedded) })
    }

    /// What an engine stands on.
    pub fn parts(&self) -> Storage {
        Storage {
            events: Arc::clone(&self.embedded.events) as _,
            dead_letters: Arc::clone(&self.embedded.dead_letters) as _,
            state: Arc::clone(&self.embedded.state) as _,
        }
    }

    /// Changes the bounds; what is stored beyond smaller ones goes as it is finished.
    pub fn set_limits(&self, plan: &InstancePlan) {
        let (events, dead_letters) = limits(plan);
        self.embedded.events.set_limits(events);
        self.embedded.dead_letters.set_limits(dead_letters);
    }

    /// Resolves when the storage can promise nothing any more; the process must end then.
    pub async fn failed(&self) -> String {
        self.embedded.failed().await
    }

    /// Writes what waits and lets go of the folder.
    pub async fn close(&self) {
        let embedded = Arc::clone(&self.embedded);
        // The task only panics if the engine did, and then nothing is left to write.
        let _ = tokio::task::spawn_blocking(move || embedded.close()).await;
    }
}

fn limits(plan: &InstancePlan) -> (Limits, Limits) {
    let events = Limits { capacity_bytes: plan.queue_bytes, retention_ms: plan.retention_delivered_ms };
    let dead_letters = Limits {
        capacity_bytes: plan.queue_bytes / DEAD_LETTER_SHARE,
        retention_ms: plan.retention_dead_letter_ms,
    };
    (events, dead_letters)
}

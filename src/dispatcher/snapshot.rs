//! What a dispatcher tells of itself: counters that live as long as a subscription's state, and how delivery goes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::log::Usage;
use crate::status::observed::ObservedHealth;

/// Counters of one subscription; they survive restarts, at most 100 ms behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counters {
    /// Events that matched.
    pub matched: u64,
    /// Events answered with 2xx.
    pub delivered: u64,
    /// Events that wait for a first or another attempt, or are under way.
    pub pending: u64,
    /// Attempts finished.
    pub attempts: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Attempts that were not the first for their event.
    pub retried: u64,
    /// Events given up after the last attempt.
    pub dead_lettered: u64,
    /// Events dropped because the backlog's limits were passed.
    pub expired: u64,
    /// Events on which the filter failed.
    pub filter_errors: u64,
}

/// How the last attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it succeeded.
    pub ok: bool,
    /// CamelCase reason for the `Delivering` condition.
    pub reason: String,
    /// A sentence, without remote text.
    pub message: String,
    /// When it turned, Unix milliseconds.
    pub since_ms: u64,
    /// Attempts that failed in a row.
    pub failures: u32,
}

impl From<&Health> for ObservedHealth {
    fn from(health: &Health) -> Self {
        Self {
            ok: health.ok,
            reason: health.reason.clone(),
            message: health.message.clone(),
            since_ms: health.since_ms,
            failures: health.failures,
        }
    }
}

/// One subscription, as of now.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionSnapshot {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Generation that is served.
    pub generation: i64,
    /// Counters.
    pub counters: Counters,
    /// Deliveries under way.
    pub in_flight: u64,
    /// `None` before the first attempt.
    pub health: Option<Health>,
}

/// One ChatInstance, as of now.
#[derive(Clone, Debug, Default)]
pub struct InstanceSnapshot {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Generation that is served.
    pub generation: i64,
    /// When this was taken, Unix milliseconds.
    pub taken_ms: u64,
    /// How full the event log is.
    pub usage: Usage,
    /// Events accepted but not yet matched.
    pub unmatched: u64,
    /// Workers of the platform whose relay said hello within the last minute.
    pub relay_workers: u64,
    /// Events that relays dropped, since this process runs.
    pub relay_dropped: u64,
    /// Its subscriptions.
    pub subscriptions: Vec<SubscriptionSnapshot>,
}

impl InstanceSnapshot {
    /// What `/v1/status` counts for a ChatInstance.
    pub fn counters(&self) -> serde_json::Value {
        serde_json::json!({
            "unmatched": self.unmatched,
            "logBytes": self.usage.live_bytes,
            "logCapacityBytes": self.usage.capacity_bytes,
        })
    }
}

/// The live side of [`SubscriptionSnapshot`]: written by the engine alone, a few times a second, and read by anyone.
#[derive(Debug, Default)]
pub struct Gauge(Mutex<(Counters, u64, Option<Health>)>);

impl Gauge {
    /// Publishes the counters and the deliveries under way.
    pub fn publish(&self, counters: &Counters, in_flight: u64) {
        let mut shown = self.lock();
        (shown.0, shown.1) = (*counters, in_flight);
    }

    /// Publishes how the last attempt went.
    pub fn publish_health(&self, health: Option<Health>) {
        self.lock().2 = health;
    }

    /// Reads everything back.
    pub fn read(&self) -> (Counters, u64, Option<Health>) {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, (Counters, u64, Option<Health>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What a dispatcher tells of itself at `/v1/observed`: the one channel from the dispatcher to the operator.
//!
//! Only what changes when something turns, never counters: those are metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything one dispatcher process has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    /// Random, new with every process: after a restart `sequence` begins again.
    pub process: String,
    /// Grows with every change of what follows.
    pub sequence: u64,
    /// What it serves.
    pub instances: Vec<ObservedInstance>,
}

/// One ChatInstance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObservedInstance {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Generation that is served.
    pub generation: i64,
    /// Revision of each piece of the plan that is served, by its number.
    pub shards: BTreeMap<u8, String>,
    /// Why the newest plan is not served, in one sentence.
    pub problem: Option<String>,
    /// The event log has no room for new events.
    pub log_full: bool,
    /// Relays that said hello within the last minute, by worker.
    pub relays: Vec<ObservedRelay>,
    /// What relays saw change in the platform, oldest first; the last 64.
    pub hints: Vec<Hint>,
    /// Its subscriptions.
    pub subscriptions: Vec<ObservedSubscription>,
}

/// One worker process of the platform in which the relay runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObservedRelay {
    /// Identifies the worker process.
    pub worker: String,
    /// The relay's own version.
    pub version: String,
    /// Hash of the configuration it works with.
    pub config: String,
    /// The platform's version.
    pub platform_version: Option<String>,
    /// Events it has dropped because its buffer was full.
    pub dropped: u64,
}

/// Something changed in the platform that chathooks may have to look at. A hint, never a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hint {
    /// Grows by one with each.
    pub sequence: u64,
    /// Name of the event.
    pub event: String,
    /// Id of what it is about.
    pub subject: Option<String>,
}

/// One subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObservedSubscription {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Generation that is served.
    pub generation: i64,
    /// How delivery goes; absent before the first attempt.
    pub health: Option<ObservedHealth>,
}

/// How the last attempt went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObservedHealth {
    /// Whether it succeeded.
    pub ok: bool,
    /// CamelCase reason of the `Delivering` condition.
    pub reason: String,
    /// A sentence, without remote text.
    pub message: String,
    /// When it turned, Unix milliseconds.
    pub since_ms: u64,
    /// Attempts that failed in a row when this was told.
    pub failures: u32,
}

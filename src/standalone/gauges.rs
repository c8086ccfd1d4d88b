//! The dispatcher's snapshot as `/metrics` wants it.

use std::sync::Arc;
use std::time::SystemTime;

use crate::dispatcher::Dispatcher;
use crate::dispatcher::snapshot;
use crate::metrics::{InstanceSnapshot, Snapshot, SubscriptionSnapshot};

/// Asks a dispatcher when somebody asks for metrics.
pub struct Gauges(pub Arc<Dispatcher>);

impl Snapshot for Gauges {
    fn snapshot(&self) -> Vec<InstanceSnapshot> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let taken_ms = now.map_or(0, |now| now.as_millis() as u64);
        self.0.snapshot().into_iter().map(|instance| convert(instance, taken_ms)).collect()
    }
}

fn convert(instance: snapshot::InstanceSnapshot, taken_ms: u64) -> InstanceSnapshot {
    let lag = instance.unmatched;
    let subscriptions = instance.subscriptions.into_iter().map(|one| SubscriptionSnapshot {
        namespace: one.namespace,
        name: one.name,
        open: one.counters.pending,
        lag,
        matched: one.counters.matched,
        delivered: one.counters.delivered,
        attempts: one.counters.attempts,
        failed_attempts: one.counters.failed_attempts,
        // Every failure but an event's last one is followed by another attempt.
        retried: one.counters.failed_attempts.saturating_sub(one.counters.dead_lettered),
        dead_lettered: one.counters.dead_lettered,
        expired: one.counters.expired,
        filter_errors: one.counters.filter_errors,
    });
    InstanceSnapshot {
        namespace: instance.namespace,
        name: instance.name,
        taken_ms,
        usage: instance.usage,
        subscriptions: subscriptions.collect(),
    }
}

//! What logs and deliveries know of themselves, gathered when somebody asks.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{MAX_SUBSCRIPTION_SERIES, OTHER};
use crate::dispatcher::snapshot::{InstanceSnapshot, SubscriptionSnapshot};

/// Where instances and subscriptions are asked how they stand; called with every scrape, must not block.
pub type Source = Arc<dyn Fn() -> Vec<InstanceSnapshot> + Send + Sync>;

/// Sums what has no series of its own.
fn add(sum: &mut SubscriptionSnapshot, one: &SubscriptionSnapshot) {
    let (sum, one) = (&mut sum.counters, &one.counters);
    sum.pending += one.pending;
    sum.matched += one.matched;
    sum.delivered += one.delivered;
    sum.attempts += one.attempts;
    sum.failed_attempts += one.failed_attempts;
    sum.retried += one.retried;
    sum.dead_lettered += one.dead_lettered;
    sum.expired += one.expired;
    sum.filter_errors += one.filter_errors;
}

/// The collector over whatever [`super::Metrics::set_snapshot`] was given.
pub(super) struct Gathered(pub(super) Arc<OnceLock<Source>>);

impl fmt::Debug for Gathered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gathered")
    }
}

/// Name, help, value.
type Series<T> = (&'static str, &'static str, fn(&T) -> f64);

const INSTANCE_GAUGES: [Series<InstanceSnapshot>; 8] = [
    ("chathooks_log_unmatched_events", "Events accepted and not matched yet", |i| i.unmatched as f64),
    ("chathooks_log_capacity_bytes", "Bytes the event log may take", |i| i.usage.capacity_bytes as f64),
    ("chathooks_log_used_bytes", "Bytes of segments that cannot be recycled now", |i| {
        i.usage.used_bytes as f64
    }),
    ("chathooks_log_live_bytes", "Bytes of events that are not finished", |i| i.usage.live_bytes as f64),
    ("chathooks_log_oldest_age_seconds", "Age of the oldest event that is not finished, 0 if none", |i| {
        i.usage.oldest_ms.map_or(0.0, |oldest| i.taken_ms.saturating_sub(oldest) as f64 / 1000.0)
    }),
    ("chathooks_log_known_ids", "Event ids remembered to recognise repeats", |i| i.usage.known_ids as f64),
    ("chathooks_log_dedup_window_seconds", "How far back repeats are recognised at least", |i| {
        i.usage.dedup_window_ms as f64 / 1000.0
    }),
    (
        "chathooks_relay_workers",
        "Workers of the platform whose relay said hello within the last minute",
        |i| i.relay_workers as f64,
    ),
];

const INSTANCE_COUNTERS: [Series<InstanceSnapshot>; 3] = [
    ("chathooks_log_corrupt_records", "Records found unreadable and skipped", |i| {
        i.usage.corrupt_records as f64
    }),
    ("chathooks_log_dropped_records", "Records given up to make room", |i| i.usage.dropped_records as f64),
    ("chathooks_relay_dropped_events", "Events that relays dropped because their buffer was full", |i| {
        i.relay_dropped as f64
    }),
];

const SUBSCRIPTION_GAUGES: [Series<SubscriptionSnapshot>; 2] = [
    ("chathooks_subscription_pending_events", "Events matched and not finished", |s| {
        s.counters.pending as f64
    }),
    ("chathooks_subscription_active_attempts", "Requests under way", |s| s.in_flight as f64),
];

const SUBSCRIPTION_COUNTERS: [Series<SubscriptionSnapshot>; 8] = [
    ("chathooks_subscription_matched_events", "Events the subscription wanted", |s| {
        s.counters.matched as f64
    }),
    ("chathooks_subscription_delivered_events", "Events delivered", |s| s.counters.delivered as f64),
    ("chathooks_subscription_attempts", "Requests sent", |s| s.counters.attempts as f64),
    ("chathooks_subscription_failed_attempts", "Requests that failed", |s| s.counters.failed_attempts as f64),
    ("chathooks_subscription_retried_attempts", "Requests that were not the first for their event", |s| {
        s.counters.retried as f64
    }),
    ("chathooks_subscription_dead_lettered_events", "Events given up after the last attempt", |s| {
        s.counters.dead_lettered as f64
    }),
    ("chathooks_subscription_expired_events", "Events that left the backlog undelivered", |s| {
        s.counters.expired as f64
    }),
    ("chathooks_subscription_filter_errors", "Events on which the filter failed", |s| {
        s.counters.filter_errors as f64
    }),
];

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(source) = self.0.get() else { return Ok(()) };
        let instances = source();
        let logs: Vec<_> = instances
            .iter()
            .map(|i| ([("namespace", &*i.namespace), ("chat_instance", &*i.name)], i))
            .collect();
        write(&mut encoder, MetricType::Gauge, &INSTANCE_GAUGES, &logs)?;
        write(&mut encoder, MetricType::Counter, &INSTANCE_COUNTERS, &logs)?;

        let mut all = instances.iter().flat_map(|i| &i.subscriptions);
        let mut shown: Vec<_> = all.by_ref().take(MAX_SUBSCRIPTION_SERIES).collect();
        let mut rest = SubscriptionSnapshot {
            namespace: OTHER.to_owned(),
            name: OTHER.to_owned(),
            ..SubscriptionSnapshot::default()
        };
        let mut hidden = all.peekable();
        if hidden.peek().is_some() {
            hidden.for_each(|one| add(&mut rest, one));
            shown.push(&rest);
        }
        let labelled: Vec<_> = shown
            .into_iter()
            .map(|s| ([("namespace", &*s.namespace), ("subscription", &*s.name)], s))
            .collect();
        write(&mut encoder, MetricType::Gauge, &SUBSCRIPTION_GAUGES, &labelled)?;
        write(&mut encoder, MetricType::Counter, &SUBSCRIPTION_COUNTERS, &labelled)
    }
}

/// Writes every series for every labelled object.
fn write<T>(
    encoder: &mut DescriptorEncoder<'_>,
    kind: MetricType,
    series: &[Series<T>],
    objects: &[([(&str, &str); 2], &T)],
) -> Result<(), fmt::Error> {
    for (name, help, value) in series {
        let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, object) in objects {
            let metric = metric.encode_family(labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(value(object)).encode(metric)?,
                _ => ConstGauge::new(value(object)).encode(metric)?,
            }
        }
    }
    Ok(())
}

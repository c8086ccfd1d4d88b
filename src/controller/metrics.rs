//! What the operator counts: its queue, its reconciles, its writes, its calls to platforms.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

/// The operator's metrics. Every label has a bounded set of values.
pub struct Metrics {
    registry: Registry,
    enqueued: Family<KindLabel, Counter>,
    reconciled: Family<KindLabel, Counter>,
    failed: Family<FailureLabels, Counter>,
    written: Family<StepLabel, Counter>,
    skipped: Counter,
    platform_calls: Counter,
    leading: Gauge,
}

impl Metrics {
    /// Nothing counted; `revision` is the commit this was built from, empty if unknown.
    pub fn new(revision: &str) -> Self {
        let mut registry = Registry::default();
        let build =
            vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("revision", revision.to_owned())];
        registry.register("chathooks_build", "What is running", Info::new(build));
        let metrics = Self {
            registry: Registry::default(),
            enqueued: Family::default(),
            reconciled: Family::default(),
            failed: Family::default(),
            written: Family::default(),
            skipped: Counter::default(),
            platform_calls: Counter::default(),
            leading: Gauge::default(),
        };
        let operator = registry.sub_registry_with_prefix("chathooks_operator");
        operator.register("enqueued", "Objects asked to be looked at", metrics.enqueued.clone());
        operator.register("reconciled", "Objects reconciled", metrics.reconciled.clone());
        operator.register("failed", "Objects whose reconcile failed, by reason", metrics.failed.clone());
        operator.register("writes", "Writes to the Kubernetes API, by step", metrics.written.clone());
        operator.register("writes_skipped", "Writes left out: nothing differed", metrics.skipped.clone());
        operator.register("platform_calls", "Requests to chat platforms", metrics.platform_calls.clone());
        operator.register("leading", "1 while this replica leads", metrics.leading.clone());
        Self { registry, ..metrics }
    }

    pub(super) fn enqueued(&self, kind: &'static str) {
        self.enqueued.get_or_create(&KindLabel { kind }).inc();
    }

    pub(super) fn reconciled(&self, kind: &'static str) {
        self.reconciled.get_or_create(&KindLabel { kind }).inc();
    }

    pub(super) fn failed(&self, kind: &'static str, reason: &'static str) {
        self.failed.get_or_create(&FailureLabels { kind, reason }).inc();
    }

    pub(super) fn written(&self, step: &'static str) {
        self.written.get_or_create(&StepLabel { step }).inc();
    }

    pub(super) fn skipped(&self) {
        self.skipped.inc();
    }

    pub(super) fn platform_calls(&self, calls: u32) {
        self.platform_calls.inc_by(u64::from(calls));
    }

    pub(super) fn leading(&self, leads: bool) {
        self.leading.set(leads.into());
    }

    /// Everything, as OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

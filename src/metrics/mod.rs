//! What `/metrics` shows, named as OpenTelemetry's semantic conventions name it where they have a name.
//!
//! Every label has a bounded set of values: nothing a sender or a target can choose becomes a series. What the log and
//! the deliveries know already is not counted twice but gathered when somebody asks ([`Source`]).

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

mod client;
mod server;
mod snapshot;
#[cfg(test)]
mod tests;

pub use client::ClientRecorder;
pub use server::{ActiveRequest, EventResult};
pub use snapshot::Source;

/// Subscriptions with series of their own; the rest share [`OTHER`].
pub const MAX_SUBSCRIPTION_SERIES: usize = 1000;

/// Label value of everything beyond [`MAX_SUBSCRIPTION_SERIES`].
pub const OTHER: &str = "_other";

/// Media type of [`Metrics::encode`].
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Buckets of durations in seconds, as the semantic conventions advise.
/// <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>
const DURATION_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// All metrics of the process. Cheap to record into from any thread.
pub struct Metrics {
    registry: Registry,
    server: server::ServerMetrics,
    client: client::ClientMetrics,
    snapshot: Arc<OnceLock<Source>>,
}

impl Metrics {
    /// Nothing recorded; `revision` is the commit this was built from, empty if unknown.
    pub fn new(revision: &str) -> Self {
        let mut registry = Registry::default();
        let build =
            vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("revision", revision.to_owned())];
        registry.register("chathooks_build", "What is running", Info::new(build));
        let server = server::ServerMetrics::register(&mut registry);
        let client = client::ClientMetrics::default();
        registry.register_collector(Box::new(client.clone()));
        let snapshot = Arc::new(OnceLock::new());
        registry.register_collector(Box::new(snapshot::Gathered(Arc::clone(&snapshot))));
        Self { registry, server, client, snapshot }
    }

    /// Where logs and deliveries are asked from now on. The first call counts.
    pub fn set_snapshot(&self, source: Source) {
        let _ = self.snapshot.set(source);
    }

    /// A request has come; it counts as active until the returned value is dropped.
    pub fn server_request(&self, method: &http::Method, route: &'static str) -> ActiveRequest<'_> {
        self.server.begin(method, route)
    }

    /// `count` events of an instance came to this result.
    pub fn intake_events(&self, namespace: &str, instance: &str, result: EventResult, count: u64) {
        self.server.events(namespace, instance, result, count);
    }

    /// Where a subscription's requests are recorded. Its series live as long as the recorder.
    pub fn client(&self, namespace: &str, subscription: &str) -> Arc<ClientRecorder> {
        self.client.recorder(namespace, subscription)
    }

    /// Everything, as OpenMetrics text ([`OPEN_METRICS`]).
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The method as a label: what the semantic conventions know, everything else `_OTHER`.
fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("_OTHER")
}

//! Requests that come in, and what became of the events in them.

use std::sync::atomic::AtomicU64;

use http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::{DURATION_BUCKETS, method_label};

/// What became of an event that was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventResult {
    /// New and durable.
    Accepted,
    /// Known with the same body.
    Duplicate,
    /// Not an event, or too large.
    Refused,
    /// Known with another body.
    Conflict,
}

impl EncodeLabelValue for EventResult {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    http_request_method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    http_request_method: &'static str,
    http_route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(clippy::struct_field_names, reason = "they are the labels")]
struct ResponseLabels {
    http_request_method: &'static str,
    http_route: &'static str,
    http_response_status_code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    namespace: String,
    chat_instance: String,
    result: EventResult,
}

type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;

pub(super) struct ServerMetrics {
    durations: HistogramFamily<ResponseLabels>,
    body_sizes: HistogramFamily<RouteLabels>,
    active: Family<MethodLabels, Gauge>,
    events: Family<EventLabels, Counter<u64, AtomicU64>>,
}

impl ServerMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let durations: HistogramFamily<_> = Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS));
        // 64 bytes to 16 MiB.
        let body_sizes: HistogramFamily<_> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(64.0, 4.0, 10)));
        let active = Family::default();
        let events = Family::default();
        registry.register(
            "http_server_request_duration_seconds",
            "Duration of HTTP requests answered",
            durations.clone(),
        );
        registry.register(
            "http_server_request_body_size_bytes",
            "Size of HTTP request bodies as they came over the wire",
            body_sizes.clone(),
        );
        registry.register("http_server_active_requests", "HTTP requests under way", active.clone());
        registry.register("chathooks_intake_events", "Events posted, by what became of them", events.clone());
        Self { durations, body_sizes, active, events }
    }

    pub(super) fn begin(&self, method: &Method, route: &'static str) -> ActiveRequest<'_> {
        let method = method_label(method.as_str());
        let active = self.active.get_or_create_owned(&MethodLabels { http_request_method: method });
        active.inc();
        ActiveRequest { metrics: self, method, route, active, began: Instant::now() }
    }

    pub(super) fn events(&self, namespace: &str, instance: &str, result: EventResult, count: u64) {
        if count > 0 {
            let labels =
                EventLabels { namespace: namespace.to_owned(), chat_instance: instance.to_owned(), result };
            self.events.get_or_create(&labels).inc_by(count);
        }
    }
}

/// A request under way. Dropped without [`ActiveRequest::answered`], the sender went away first.
pub struct ActiveRequest<'a> {
    metrics: &'a ServerMetrics,
    method: &'static str,
    route: &'static str,
    active: Gauge,
    began: Instant,
}

impl ActiveRequest<'_> {
    /// The body was read: so many bytes.
    pub fn body(&self, bytes: usize) {
        let labels = RouteLabels { http_request_method: self.method, http_route: self.route };
        self.metrics.body_sizes.get_or_create(&labels).observe(bytes as f64);
    }

    /// The response is ready.
    pub fn answered(self, status: StatusCode) {
        let labels = ResponseLabels {
            http_request_method: self.method,
            http_route: self.route,
            http_response_status_code: status.as_u16(),
        };
        self.metrics.durations.get_or_create(&labels).observe(self.began.elapsed().as_secs_f64());
    }
}

impl Drop for ActiveRequest<'_> {
    fn drop(&mut self) {
        self.active.dec();
    }
}

//! Requests that go out, per subscription.
//!
//! A target may answer with any status it likes, and subscriptions come and go: statuses outside the registered ones
//! share a series, and a subscription's series end with its [`ClientRecorder`].

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;

use super::{DURATION_BUCKETS, MAX_SUBSCRIPTION_SERIES, OTHER, method_label};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    method: &'static str,
    status: Option<u16>,
    error: Option<&'static str>,
}

/// Records the requests of one subscription.
#[derive(Debug)]
pub struct ClientRecorder {
    namespace: String,
    subscription: String,
    durations: Mutex<HashMap<Kind, Histogram>>,
}

impl ClientRecorder {
    fn new(namespace: &str, subscription: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            subscription: subscription.to_owned(),
            durations: Mutex::default(),
        }
    }

    /// One attempt is over after `seconds`: with a status, or with an error of a fixed set (`timeout`, `connect`, …).
    pub fn observe(&self, method: &str, status: Option<u16>, error: Option<&'static str>, seconds: f64) {
        let status = status.map(known_status);
        let kind = Kind { method: method_label(method), status, error };
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.entry(kind).or_insert_with(|| Histogram::new(DURATION_BUCKETS)).observe(seconds);
    }
}

/// A status with a registered meaning as it is, any other as the first of its class (RFC 9110, section 15: that is
/// how it is to be understood). <https://www.iana.org/assignments/http-status-codes>
fn known_status(status: u16) -> u16 {
    match status {
        100..=103
        | 200..=208
        | 226
        | 300..=308
        | 400..=418
        | 421..=426
        | 428
        | 429
        | 431
        | 451
        | 500..=508
        | 510
        | 511 => status,
        other => other / 100 * 100,
    }
}

/// All recorders that are alive.
#[derive(Clone, Debug)]
pub(super) struct ClientMetrics {
    recorders: Arc<Mutex<Vec<Weak<ClientRecorder>>>>,
    overflow: Arc<ClientRecorder>,
}

impl Default for ClientMetrics {
    fn default() -> Self {
        Self { recorders: Arc::default(), overflow: Arc::new(ClientRecorder::new(OTHER, OTHER)) }
    }
}

impl ClientMetrics {
    pub(super) fn recorder(&self, namespace: &str, subscription: &str) -> Arc<ClientRecorder> {
        let mut recorders = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
        recorders.retain(|recorder| recorder.strong_count() > 0);
        let known = recorders
            .iter()
            .filter_map(Weak::upgrade)
            .find(|recorder| recorder.namespace == namespace && recorder.subscription == subscription);
        if let Some(recorder) = known {
            return recorder;
        }
        if recorders.len() >= MAX_SUBSCRIPTION_SERIES {
            return Arc::clone(&self.overflow);
        }
        let recorder = Arc::new(ClientRecorder::new(namespace, subscription));
        recorders.push(Arc::downgrade(&recorder));
        recorder
    }
}

impl Collector for ClientMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut metric = encoder.encode_descriptor(
            "http_client_request_duration_seconds",
            "Duration of delivery attempts, response included",
            None,
            MetricType::Histogram,
        )?;
        let mut recorders: Vec<Arc<ClientRecorder>> = {
            let recorders = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
            recorders.iter().filter_map(Weak::upgrade).collect()
        };
        recorders.push(Arc::clone(&self.overflow));
        for recorder in recorders {
            let durations = recorder.durations.lock().unwrap_or_else(PoisonError::into_inner);
            for (kind, histogram) in durations.iter() {
                let status = kind.status.map(|status| status.to_string()).unwrap_or_default();
                // `error.type` of a response is its status.
                let failed = if kind.status >= Some(400) { status.as_str() } else { "" };
                let labels = [
                    ("http_request_method", kind.method),
                    ("http_response_status_code", &status),
                    ("error_type", kind.error.unwrap_or(failed)),
                    ("namespace", &recorder.namespace),
                    ("subscription", &recorder.subscription),
                ];
                histogram.encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

//! How deliveries are timed, retried and bounded.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::common::{Duration, Quantity};
use crate::api::rules;

/// How deliveries are timed, retried and bounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Deadline of the whole exchange, connection and answer included, 100ms to 5m.
    #[serde(default = "timeout")]
    #[x_kube(validation = rules::duration_between("100ms", "5m"))]
    pub timeout: Duration,
    /// When a failed delivery is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// Deliveries under way at once, 1 to 1000.
    #[serde(default = "concurrency")]
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: i32,
    /// How much may wait for delivery. Beyond it the oldest expire, counted and told; no other subscription feels it.
    #[serde(default)]
    pub backlog: Backlog,
}

fn timeout() -> Duration {
    Duration::from_secs(30)
}

fn concurrency() -> i32 {
    16
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            timeout: timeout(),
            retry: Retry::default(),
            concurrency: concurrency(),
            backlog: Backlog::default(),
        }
    }
}

/// When a failed delivery is tried again. Attempts are one more than the steps of the schedule; after the last one
/// the event becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Pauses between attempts, at most 32, each 10ms to 168h; an empty list means one attempt. Default: the schedule
    /// of the Standard Webhooks specification.
    #[serde(default = "schedule")]
    #[schemars(schema_with = "rules::retry_schedule")]
    pub schedule: Vec<Duration>,
    /// Spread of each pause in percent, both ways, 0 to 100.
    #[serde(default = "jitter")]
    #[schemars(range(min = 0, max = 100))]
    pub jitter: i32,
}

/// The schedule that the Standard Webhooks specification recommends, section "Deliverability and reliability".
fn schedule() -> Vec<Duration> {
    [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].map(Duration::from_secs).to_vec()
}

fn jitter() -> i32 {
    20
}

impl Default for Retry {
    fn default() -> Self {
        Self { schedule: schedule(), jitter: jitter() }
    }
}

/// How much may wait for delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    /// Oldest event that may still wait, 1s to 8760h.
    #[serde(default = "max_age")]
    #[x_kube(validation = rules::duration_between("1s", "8760h"))]
    pub max_age: Duration,
    /// Bytes of events that may wait, 1Mi to 1Ti.
    #[serde(default = "max_bytes")]
    #[x_kube(validation = rules::size_between("1Mi", "1Ti"))]
    pub max_bytes: Quantity,
}

fn max_age() -> Duration {
    Duration::from_hours(72)
}

fn max_bytes() -> Quantity {
    Quantity::from_mib(128)
}

impl Default for Backlog {
    fn default() -> Self {
        Self { max_age: max_age(), max_bytes: max_bytes() }
    }
}

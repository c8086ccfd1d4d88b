//! `spec.dispatcher`: what keeps and delivers the events of an instance.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PodTemplate, Resources};
use crate::api::common::{Duration, Quantity};
use crate::api::rules;

/// What keeps and delivers the events of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dispatcher {
    /// Number of dispatcher pods.
    #[serde(default = "one")]
    #[x_kube(validation = rules::rule(
        "self <= 1",
        "replicas must be 1: the embedded queue lives on one volume, which one pod holds",
    ))]
    #[x_kube(validation = rules::rule("self >= 1", "replicas must be 1; to stop deliveries set suspend: true"))]
    pub replicas: i32,
    /// Where events are kept until they are delivered.
    #[serde(default)]
    #[x_kube(validation = rules::rule("has(self.embedded)", "name the queue: embedded: {size: 1Gi}"))]
    pub queue: Queue,
    /// How long finished events stay, while there is room.
    #[serde(default)]
    pub retention: Retention,
    /// Where deliveries may go.
    #[serde(default)]
    pub egress: Egress,
    /// What a dispatcher pod asks for and may use. Ignored by standalone.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// What dispatcher pods carry beside their own. Ignored by standalone.
    #[serde(default, skip_serializing_if = "PodTemplate::is_empty")]
    pub pod_template: PodTemplate,
}

fn one() -> i32 {
    1
}

impl Default for Dispatcher {
    fn default() -> Self {
        Self {
            replicas: one(),
            queue: Queue::default(),
            retention: Retention::default(),
            egress: Egress::default(),
            resources: Resources::default(),
            pod_template: PodTemplate::default(),
        }
    }
}

/// An engine that keeps events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Queue {
    /// A log on the dispatcher's own volume.
    Embedded(EmbeddedQueue),
}

impl Default for Queue {
    fn default() -> Self {
        Self::Embedded(EmbeddedQueue::default())
    }
}

/// A log on the dispatcher's own volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmbeddedQueue {
    /// Disk space for the log, 64Mi to 1Ti. In a cluster this is the size of the volume, of which the log takes 85 %. When
    /// it is full of unfinished deliveries, new events are answered 503 until there is room. It may grow, not shrink.
    #[serde(default = "queue_size")]
    #[x_kube(validation = rules::size_between("64Mi", "1Ti"))]
    pub size: Quantity,
    /// StorageClass of the volume; left out, the cluster's default. It cannot be changed once the volume is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// What becomes of the volume when the ChatInstance is deleted: Retain keeps it, and an instance made again under
    /// the same name takes it up; Delete removes it with all that was not delivered.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// What becomes of the volume when the ChatInstance is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// It stays.
    #[default]
    Retain,
    /// It goes.
    Delete,
}

fn queue_size() -> Quantity {
    Quantity::from_mib(1024)
}

impl Default for EmbeddedQueue {
    fn default() -> Self {
        Self { size: queue_size(), storage_class_name: None, on_delete: OnDelete::default() }
    }
}

/// How long finished events stay, while there is room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Delivered events, 0s to 8760h.
    #[serde(default = "retention_delivered")]
    #[x_kube(validation = rules::duration_between("0s", "8760h"))]
    pub delivered: Duration,
    /// Events whose last attempt failed, 0s to 8760h.
    #[serde(default = "retention_dead_letter")]
    #[x_kube(validation = rules::duration_between("0s", "8760h"))]
    pub dead_letter: Duration,
}

fn retention_delivered() -> Duration {
    Duration::from_hours(24)
}

fn retention_dead_letter() -> Duration {
    Duration::from_hours(168)
}

impl Default for Retention {
    fn default() -> Self {
        Self { delivered: retention_delivered(), dead_letter: retention_dead_letter() }
    }
}

/// Where deliveries may go. Metadata services, link-local, multicast and unspecified addresses are always refused;
/// public addresses are allowed; private, loopback and other special ranges must be named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Whether targets may be http:// instead of https://: Deny or Allow.
    #[serde(default)]
    pub plain_http: PlainHttp,
    /// Names that may resolve to private addresses: a host, or *.suffix for everything below it.
    #[serde(default, rename = "allowedHosts", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rules::hosts")]
    pub allowed_hosts: Vec<String>,
    /// Private ranges that are allowed, such as 10.0.0.0/8.
    #[serde(default, rename = "allowedCIDRs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rules::cidrs")]
    pub allowed_cidrs: Vec<String>,
    /// Ranges that are refused, also where allowedHosts or allowedCIDRs would allow them.
    #[serde(default, rename = "deniedCIDRs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rules::cidrs")]
    pub denied_cidrs: Vec<String>,
}

/// Whether `http://` targets are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PlainHttp {
    /// Refused.
    #[default]
    Deny,
    /// Allowed.
    Allow,
}

//! `ChatInstance`: one chat platform, how its events reach us, and the dispatcher that serves it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Duration, Quantity, SecretKeyRef, SecretSource};
use super::rules;

/// One chat platform, how its events reach chathooks, and the dispatcher that serves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "chathooks.dev",
    version = "v1alpha1",
    kind = "ChatInstance",
    plural = "chatinstances",
    shortname = "ci",
    category = "chathooks",
    namespaced,
    derive = "PartialEq",
    status = "ChatInstanceStatus",
    doc = "A ChatInstance is one chat platform: how its events reach chathooks, and the dispatcher that keeps and delivers them.",
    printcolumn(name = "Platform", type_ = "string", json_path = ".spec.platform"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = "1"),
    printcolumn(name = "Intake", type_ = "string", json_path = ".status.intakeURL", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::rule_at(
    "url",
    "self.platform != 'Generic' || !has(self.url)",
    "platform Generic has no URL: remove url, or set platform to OpenWebUI",
))]
pub struct ChatInstanceSpec {
    /// The chat platform: OpenWebUI, or Generic for anything that posts its events itself.
    pub platform: Platform,
    /// Address of the platform, as chathooks reaches it: http://open-webui.ai.svc:80. Not for platform Generic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::http_url())]
    #[x_kube(validation = rules::no_space())]
    pub url: Option<String>,
    /// How events reach chathooks.
    #[serde(default)]
    pub intake: Intake,
    /// The dispatcher: what keeps the events of this instance and delivers them.
    #[serde(default)]
    pub dispatcher: Dispatcher,
    /// True stops all deliveries. Events are still taken, and kept within each subscription's backlog.
    #[serde(default)]
    pub suspend: bool,
}

/// A kind of chat platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Platform {
    /// Open WebUI.
    OpenWebUI,
    /// Anything that posts envelopes or CloudEvents.
    Generic,
}

/// How events reach chathooks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Intake {
    /// Push: someone posts events to POST /v1/events.
    #[serde(default)]
    pub mode: IntakeMode,
    /// Who may post. Any one that holds is enough. Left out, a Secret <name>-intake with the keys token and
    /// signing-secret is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::rule(
        "has(self.bearer) || has(self.standardWebhooks)",
        "name bearer or standardWebhooks, or leave auth out: then a Secret <name>-intake is made",
    ))]
    pub auth: Option<IntakeAuth>,
}

/// A way in which events reach chathooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IntakeMode {
    /// Someone posts them.
    #[default]
    Push,
}

/// Who may post events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntakeAuth {
    /// A token that senders put into the Authorization header (Bearer) or into the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<SecretSource>,
    /// Signatures as the Standard Webhooks specification describes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_webhooks: Option<StandardWebhooksAuth>,
}

/// Signing secrets that senders may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StandardWebhooksAuth {
    /// Secrets of which any one may have signed: whsec_ and base64 of 24 to 64 bytes, or the base64 alone.
    #[schemars(length(min = 1, max = 8))]
    pub secret_refs: Vec<SecretKeyRef>,
}

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
    /// Disk space the log may take, 64Mi to 1Ti. When it is full of unfinished deliveries, new events are answered
    /// 503 until there is room.
    #[serde(default = "queue_size")]
    #[x_kube(validation = rules::size_between("64Mi", "1Ti"))]
    pub size: Quantity,
}

fn queue_size() -> Quantity {
    Quantity::from_mib(1024)
}

impl Default for EmbeddedQueue {
    fn default() -> Self {
        Self { size: queue_size() }
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

/// What is known of a ChatInstance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatInstanceStatus {
    /// Generation of the spec that this status was computed from; -1 before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the platform, or whoever pushes, posts events.
    #[serde(default, rename = "intakeURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub intake_url: Option<String>,
    /// Accepted, ResolvedRefs, Programmed and Ready are always present; IntakeReady and DispatcherAvailable say more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

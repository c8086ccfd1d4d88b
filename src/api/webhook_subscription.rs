//! `WebhookSubscription`: which events go out, to where, in which form, signed and retried how.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::SecretKeyRef;
use super::rules;

mod delivery;
mod target;

pub use delivery::{Backlog, Delivery, Retry};
pub use target::{BasicAuth, Header, HttpMethod, HttpTarget, Target, TargetAuth};

/// Which events go out, to where, in which form, signed and retried how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "chathooks.dev",
    version = "v1alpha1",
    kind = "WebhookSubscription",
    plural = "webhooksubscriptions",
    shortname = "whs",
    category = "chathooks",
    namespaced,
    derive = "PartialEq",
    status = "WebhookSubscriptionStatus",
    selectable = ".spec.instanceRef.name",
    doc = "A WebhookSubscription sends events of a ChatInstance out: which events, to where, signed and retried how. It starts with the events that arrive after it.",
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instanceRef.name"),
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
    printcolumn(name = "Events", type_ = "string", json_path = ".spec.events", priority = "1"),
    printcolumn(
        name = "Delivering",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Delivering")].status"#,
        priority = "1"
    ),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSubscriptionSpec {
    /// The ChatInstance whose events these are.
    pub instance_ref: InstanceRef,
    /// Which events: exact names (user.role_updated), prefixes of any depth (auth.*), or * for all. 1 to 64.
    #[schemars(schema_with = "rules::event_patterns")]
    pub events: Vec<String>,
    /// Which of those not; wins over events. 1 to 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rules::event_patterns")]
    pub exclude: Vec<String>,
    /// What else must hold of an event. All that is given must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::rule(
        "has(self.match) || has(self.expression)",
        "name match or expression, or remove filter",
    ))]
    pub filter: Option<Filter>,
    /// Where to: exactly one of http.
    #[x_kube(validation = rules::rule("has(self.http)", "name exactly one target: http: {url: https://...}"))]
    pub target: Target,
    /// What a delivery carries.
    #[serde(default)]
    pub payload: Payload,
    /// How deliveries are signed.
    #[serde(default)]
    #[x_kube(validation = rules::rule(
        "self.scheme != 'None' || !has(self.secretRefs) || size(self.secretRefs) == 0",
        "scheme None signs nothing: remove secretRefs, or set scheme to StandardWebhooks",
    ))]
    pub signing: Signing,
    /// How deliveries are timed, retried and bounded.
    #[serde(default)]
    pub delivery: Delivery,
    /// True stops deliveries. Events are kept, within the backlog, and delivered on resume.
    #[serde(default)]
    pub suspend: bool,
}

/// A ChatInstance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceRef {
    /// Name of the ChatInstance.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace, where that is not the namespace of this object and its spec.attach allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// What must hold of an event beside its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Equality by path; all must hold. 1 to 32.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    pub equals: Vec<PathMatch>,
    /// A CEL expression over the variable event (the envelope) that yields true or false, at most 4 KiB:
    /// event.actor.role == "admin" && event.data.role != "pending"
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub expression: Option<String>,
}

/// Equality of one scalar of the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathMatch {
    /// Path from the envelope's root, with dots between keys: data.endpoint. A dot within a key is written \. instead.
    #[schemars(length(min = 1, max = 512))]
    pub path: String,
    /// The scalar's text, always quoted in YAML: "openAI", "42", "false", "null".
    #[schemars(length(max = 1024))]
    pub value: String,
}

/// What a delivery carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// Envelope: the event as JSON, exactly as it came.
    #[serde(default)]
    pub format: PayloadFormat,
}

/// A form of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PayloadFormat {
    /// The envelope as it came.
    #[default]
    Envelope,
}

/// How deliveries are signed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signing {
    /// StandardWebhooks (headers webhook-id, webhook-timestamp, webhook-signature) or None.
    #[serde(default)]
    pub scheme: SigningScheme,
    /// Secrets that all sign, the current one first, so that a secret is rotated without a gap; at most 8. Each is
    /// whsec_ and base64 of 24 to 64 bytes, or the base64 alone. None named: a Secret <name>-signing is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub secret_refs: Vec<SecretKeyRef>,
}

/// A way of signing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SigningScheme {
    /// <https://www.standardwebhooks.com>, symmetric.
    #[default]
    StandardWebhooks,
    /// Not signed.
    None,
}

/// What is known of a WebhookSubscription.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSubscriptionStatus {
    /// Generation of the spec that this status was computed from; -1 before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The delivery that last turned the state from well to failing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
    /// Accepted, ResolvedRefs, Programmed and Ready are always present; Delivering says how deliveries fare.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A failed delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastFailure {
    /// When it failed.
    pub time: Time,
    /// What failed, without anything the target said beyond its status: HTTP 500.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Attempts made for that delivery by then.
    pub attempts: i32,
}

//! The plan: the only thing a dispatcher knows. Data without behaviour; serialised, it is what a plan Secret holds.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Version of this format; a dispatcher reads its own and the one before.
pub const PLAN_VERSION: u32 = 1;

/// Everything that dispatchers serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// [`PLAN_VERSION`] of the writer.
    pub version: u32,
    /// Whether every manifest could be read and placed. If not, what is absent may just be misspelt: nobody forgets it.
    pub complete: bool,
    /// One entry per ChatInstance, ascending by namespace and name.
    pub instances: Vec<InstancePlan>,
}

/// Bytes that must not be printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sensitive(#[serde(with = "base64_bytes")] pub Vec<u8>);

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Text that must not be printed (a URL may carry a secret).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SensitiveText(pub String);

impl fmt::Debug for SensitiveText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One ChatInstance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstancePlan {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// `metadata.generation` this was made from.
    pub generation: i64,
    /// Why it is paused (not accepted, or a reference does not resolve): intake answers 503, nothing is delivered.
    pub paused: Option<String>,
    /// Its spec could not be read, so bounds below are defaults: who knows the last good ones keeps those.
    pub rejected: bool,
    /// `spec.suspend`: intake goes on, nothing is delivered.
    pub suspended: bool,
    /// Who may post events.
    pub intake: IntakePlan,
    /// Bytes the event log may take.
    pub queue_bytes: u64,
    /// How long delivered events stay, in milliseconds, while there is room.
    pub retention_delivered_ms: u64,
    /// How long dead letters stay, in milliseconds, while there is room.
    pub retention_dead_letter_ms: u64,
    /// Where deliveries may go.
    pub egress: EgressPlan,
    /// Bearer tokens of the administrator's port; with none, whoever reaches the port may read it (standalone).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admin_tokens: Vec<Sensitive>,
    /// Ascending by namespace and name.
    pub subscriptions: Vec<SubscriptionPlan>,
}

/// Who may post events: any one that holds is enough; with none, nobody may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntakePlan {
    /// Accepted bearer tokens.
    pub bearer_tokens: Vec<Sensitive>,
    /// Keys of accepted Standard Webhooks signatures, decoded.
    pub signing_keys: Vec<Sensitive>,
}

/// Where deliveries may go, beyond what is always refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressPlan {
    /// Whether `http://` is allowed.
    pub plain_http: bool,
    /// Names (`host` or `*.suffix`, lower case) that may resolve to private addresses.
    pub allowed_hosts: Vec<String>,
    /// Private ranges that are allowed.
    pub allowed_cidrs: Vec<IpNet>,
    /// Ranges that are refused, before what is allowed.
    pub denied_cidrs: Vec<IpNet>,
}

/// One WebhookSubscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionPlan {
    /// What its state is kept under: the uid, or namespace/name where there is none.
    pub identity: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// `metadata.generation` this was made from.
    pub generation: i64,
    /// Why it is paused (not accepted, or a reference does not resolve): its events are kept within its backlog.
    pub paused: Option<String>,
    /// Its spec could not be read, so rules and bounds below are defaults: who knows the last good ones keeps those.
    pub rejected: bool,
    /// `spec.suspend`: its events are kept within its backlog.
    pub suspended: bool,
    /// Which events.
    pub rules: MatchPlan,
    /// Where to; absent only while paused.
    pub target: Option<TargetPlan>,
    /// Decoded signing keys, the current one first; empty: deliveries are not signed.
    pub signing_keys: Vec<Sensitive>,
    /// Deadline of the whole exchange in milliseconds.
    pub timeout_ms: u64,
    /// Pauses between attempts in milliseconds; attempts are one more.
    pub retry_schedule_ms: Vec<u64>,
    /// Spread of each pause in percent, both ways.
    pub retry_jitter_percent: u8,
    /// Deliveries under way at once.
    pub concurrency: u32,
    /// Oldest event it may still wait for, in milliseconds.
    pub backlog_max_age_ms: u64,
    /// Bytes of events it may wait for.
    pub backlog_max_bytes: u64,
}

/// Which events a subscription wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchPlan {
    /// Patterns, at least one.
    pub events: Vec<String>,
    /// Patterns that win over `events`.
    pub exclude: Vec<String>,
    /// Equality by path; all must hold.
    pub equals: Vec<PathEquals>,
    /// CEL over `event`, already checked.
    pub expression: Option<String>,
}

/// Equality of a scalar by path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathEquals {
    /// Dotted path from the envelope's root; `\.` is a dot in a key.
    pub path: String,
    /// Text the scalar must equal.
    pub value: String,
}

/// Where deliveries go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TargetPlan {
    /// An HTTP endpoint.
    Http(HttpTargetPlan),
}

/// An HTTP endpoint. Authentication is already a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpTargetPlan {
    /// Absolute http or https URL.
    pub url: SensitiveText,
    /// `POST`, `PUT` or `PATCH`.
    pub method: String,
    /// Headers to send, values resolved.
    pub headers: Vec<(String, SensitiveText)>,
}

mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(d)?).map_err(de::Error::custom)
    }
}

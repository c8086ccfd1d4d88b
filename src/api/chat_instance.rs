//! `ChatInstance`: one chat platform, how its events reach us, and the dispatcher that serves it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{ConfigMapKeyRef, Duration, SecretSource};
use super::rules;

mod attach;
mod dispatcher;
mod intake;
mod pod_template;

pub use attach::{AttachKind, AttachRule, Namespaces, NamespacesFrom};
pub use dispatcher::{Dispatcher, Egress, EmbeddedQueue, OnDelete, PlainHttp, Queue, Retention};
pub use intake::{Intake, IntakeAuth, IntakeMode, StandardWebhooksAuth};
pub use pod_template::{Amount, LocalSecretRef, PodTemplate, Resources, Toleration};

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
    printcolumn(
        name = "Reachable",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Reachable")].status"#
    ),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.platformVersion"),
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
#[x_kube(validation = rules::rule_at(
    "credentials",
    "self.platform != 'Generic' || !has(self.credentials)",
    "platform Generic has nothing to sign in to: remove credentials, or set platform to OpenWebUI",
))]
#[x_kube(validation = rules::rule_at(
    "url",
    "!has(self.credentials) || has(self.url) || self.platform == 'Generic'",
    "credentials are for the platform at url: write url, such as http://open-webui.ai.svc:80",
))]
#[x_kube(validation = rules::rule_at(
    "intake.mode",
    "!has(self.intake.mode) || self.intake.mode != 'Relay' || self.platform != 'Generic'",
    "platform Generic runs no relay: set mode to Push, or platform to OpenWebUI",
))]
#[x_kube(validation = rules::rule_at(
    "credentials",
    "!has(self.intake.mode) || self.intake.mode != 'Relay' || self.platform == 'Generic' || has(self.credentials)",
    "mode Relay installs a function in the platform: name an administrator's apiKey or password in credentials, or set intake.mode to Push",
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
    /// How the platform's certificate is checked, where it is not a public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<PlatformTls>,
    /// How chathooks signs in to the platform, as an administrator: exactly one of apiKey and password. Needed for
    /// intake mode Relay and for everything that is managed in the platform; not for Push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::rule(
        "has(self.apiKey) != has(self.password)",
        "name exactly one of apiKey and password",
    ))]
    pub credentials: Option<Credentials>,
    /// How events reach chathooks.
    #[serde(default)]
    pub intake: Intake,
    /// Who may hang what on this instance. Left out: everything in the namespace of the instance. Given: only what one
    /// of these rules names. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub attach: Vec<AttachRule>,
    /// What is done when something of ours in the platform is changed by hand: Correct puts it right, Report tells.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// How often everything in the platform is compared with what is wanted, 5s to 24h. Changes that the platform
    /// reports are looked at at once.
    #[serde(default = "resync_interval")]
    #[x_kube(validation = rules::duration_between("5s", "24h"))]
    pub resync_interval: Duration,
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

impl ChatInstanceSpec {
    /// How events come: as `intake.mode` says; left out, by the relay where there is a platform to sign in to, and
    /// pushed otherwise.
    pub fn intake_mode(&self) -> IntakeMode {
        self.intake.mode.unwrap_or(match (self.platform, &self.credentials) {
            (Platform::OpenWebUI, Some(_)) => IntakeMode::Relay,
            (Platform::OpenWebUI | Platform::Generic, _) => IntakeMode::Push,
        })
    }
}

fn resync_interval() -> Duration {
    Duration::from_minutes(10)
}

/// How the platform's certificate is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformTls {
    /// Authorities to trust beside the public ones.
    pub ca_from: CaSource,
}

/// Certificates of authorities, as PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaSource {
    /// ConfigMap and key that hold them.
    pub config_map_ref: ConfigMapKeyRef,
}

/// How chathooks signs in: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// API key of an administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretSource>,
    /// E-mail address and password of an administrator. The token is cached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordCredentials>,
}

/// E-mail address and password of an administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordCredentials {
    /// Where the e-mail address is kept.
    pub email_from: SecretSource,
    /// Where the password is kept.
    pub password_from: SecretSource,
}

/// What is done about drift in the platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// It is put right.
    #[default]
    Correct,
    /// It is told in the conditions.
    Report,
}

/// What is known of a ChatInstance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatInstanceStatus {
    /// Generation of the spec that this status was computed from; -1 before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Version that the platform told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub platform_version: Option<String>,
    /// Where the platform, or whoever pushes, posts events.
    #[serde(default, rename = "intakeURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub intake_url: Option<String>,
    /// Pods of the dispatcher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatcher: Option<DispatcherStatus>,
    /// What hangs on this instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<Attached>,
    /// Accepted, ResolvedRefs, Programmed and Ready are always present; Reachable, IntakeReady and
    /// DispatcherAvailable say more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Pods of the dispatcher.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DispatcherStatus {
    /// Pods that are wanted.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready_replicas: i32,
}

/// What hangs on an instance: objects that name it and may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attached {
    /// WebhookSubscriptions.
    pub webhook_subscriptions: i32,
}

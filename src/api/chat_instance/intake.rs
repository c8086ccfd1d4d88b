//! `spec.intake`: how events reach chathooks, and who may post them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::common::{SecretKeyRef, SecretSource};
use crate::api::rules;

/// How events reach chathooks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Intake {
    /// Relay: a function that chathooks installs in the platform sends them. Push: someone posts them to POST
    /// /v1/events. Left out: Relay where there are credentials, otherwise Push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<IntakeMode>,
    /// The address at which the platform reaches the dispatcher, where that is not its Service:
    /// https://hooks.example.com, or with a path that ends in /events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::http_url())]
    #[x_kube(validation = rules::no_space())]
    pub url: Option<String>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IntakeMode {
    /// A function in the platform sends them.
    Relay,
    /// Someone posts them.
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

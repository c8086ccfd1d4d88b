//! `spec.attach`: who may hang what on an instance.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::rules;

/// Lets objects of some kinds in some namespaces hang on this instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachRule {
    /// Which kinds, 1 to 3: WebhookSubscription, EventFunction, ChannelWebhook.
    #[schemars(length(min = 1, max = 3))]
    pub kinds: Vec<AttachKind>,
    /// In which namespaces. Left out: the namespace of the instance.
    #[serde(default)]
    #[x_kube(validation = rules::rule(
        "has(self.selector) == (self.from == 'Selector')",
        "selector goes with from: Selector, and with nothing else",
    ))]
    pub namespaces: Namespaces,
    /// What they may subscribe to: names, prefixes such as user.*, or *. Left out: everything. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rules::allowed_patterns")]
    pub events: Vec<String>,
}

/// A kind that hangs on a ChatInstance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AttachKind {
    /// Events out.
    WebhookSubscription,
    /// Code on events.
    EventFunction,
    /// Messages in.
    ChannelWebhook,
}

/// A choice of namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Namespaces {
    /// Same: the namespace of the instance. All: every namespace. Selector: those whose labels the selector matches.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Labels that a namespace must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// How namespaces are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// The namespace of the instance.
    #[default]
    Same,
    /// Every namespace.
    All,
    /// Namespaces with certain labels.
    Selector,
}

/// Labels that a namespace must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Every one of these, 1 to 16. kubernetes.io/metadata.name is the namespace's own name.
    #[schemars(schema_with = "rules::labels_to_match")]
    pub match_labels: BTreeMap<String, String>,
}

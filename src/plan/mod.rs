//! From resolved inputs to the plan and a verdict per object.
//!
//! Pure: no IO, no clock, no randomness, no Kubernetes client.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::{ChatInstance, WebhookSubscription};

pub mod address;
pub mod attach;
pub mod children;
mod compile;
pub mod egress;
mod instance;
pub mod model;
mod names;
pub mod platform;
mod secrets;
pub mod shards;
mod subscription;
mod target;
mod verdict;
mod warnings;

pub use compile::{compile, instance_key};
pub use model::Plan;
use platform::{IntakeAddresses, PlatformPlan};

/// Namespace and name.
pub type Key = (String, String);

/// Everything `compile` looks at.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Objects that passed admission.
    pub instances: Vec<ChatInstance>,
    /// Objects that passed admission.
    pub subscriptions: Vec<WebhookSubscription>,
    /// Objects that did not pass (only a directory can hold such): they are paused, with this verdict.
    pub rejected: Vec<Rejected>,
    /// Every Secret that is known.
    pub secrets: BTreeMap<Key, SecretInput>,
    /// Every ConfigMap that is known.
    pub config_maps: BTreeMap<Key, BTreeMap<String, Vec<u8>>>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// ChatInstances that are there but not among these inputs: only for "did you mean".
    pub elsewhere: Vec<Key>,
    /// Where intakes are found.
    pub intake: IntakeAddresses,
    /// Whether something was found that may be one of ours but could not be read or named: see [`Plan::complete`].
    pub unreadable: bool,
}

/// An object that admission refused.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// `ChatInstance` or `WebhookSubscription`.
    pub kind: String,
    /// Namespace and name.
    pub key: Key,
    /// `metadata.generation`.
    pub generation: i64,
    /// The ChatInstance it names, if that could be read.
    pub instance: Option<Key>,
    /// One sentence per problem.
    pub problems: Vec<String>,
}

/// A Secret's content.
#[derive(Clone, Debug, Default)]
pub struct SecretInput {
    /// Decoded values.
    pub data: BTreeMap<String, Vec<u8>>,
    /// Made by chathooks for the object whose name it derives from.
    pub generated: bool,
}

/// A Secret the front end is to make; then it compiles again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WantedSecret {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Keys to fill: `token` with 43 random URL-safe characters, everything else with `whsec_` + base64 of 32 random bytes.
    pub keys: Vec<String>,
}

/// What is known of one condition before a dispatcher has said anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// True or false.
    pub status: bool,
    /// From the closed set in `api::conditions`.
    pub reason: String,
    /// A sentence; empty when all is well.
    pub message: String,
    /// Every problem by itself: its reason and its sentence.
    #[serde(skip)]
    pub problems: Vec<(String, String)>,
}

/// What `compile` says of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// `ChatInstance` or `WebhookSubscription`.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// The spec is understood.
    pub accepted: Finding,
    /// Everything it refers to is there.
    pub resolved_refs: Finding,
    /// Things worth saying that stop nothing (unknown event names, ignored fields).
    pub warnings: Vec<String>,
}

/// What `compile` makes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// What dispatchers are to serve.
    pub plan: Plan,
    /// One per object, in the order instances, subscriptions, each by namespace and name.
    pub verdicts: Vec<Verdict>,
    /// What is wanted of the chat platforms.
    pub platforms: Vec<PlatformPlan>,
    /// Secrets to make.
    pub wanted_secrets: Vec<WantedSecret>,
}

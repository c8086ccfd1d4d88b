//! What is wanted of a chat platform: how to speak to it, and what is to be installed there. Data without behaviour.

use serde::Serialize;

use super::model::{EgressPlan, Sensitive, SensitiveText};

mod address;
mod compile;
mod patterns;

pub(super) use address::check_intake_url;
pub use address::{IntakeAddresses, intake_url};
pub(super) use compile::{Wish, wish};
pub use patterns::union;

/// One chat platform, as one ChatInstance wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformPlan {
    /// Namespace of the ChatInstance.
    pub namespace: String,
    /// Name of the ChatInstance.
    pub name: String,
    /// Absolute http or https URL, without a trailing slash.
    pub url: String,
    /// PEM of the authorities to trust beside the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// How to sign in.
    pub credentials: PlatformCredentials,
    /// Where requests may go: as for deliveries, and to the host of `url` in any case.
    pub egress: EgressPlan,
    /// `spec.suspend`: the platform is probed, and nothing there is changed.
    pub suspended: bool,
    /// What is done about something of ours that was changed there.
    pub drift: DriftPlan,
    /// Everything of ours is compared at least this often, in milliseconds.
    pub resync_ms: u64,
    /// The relay; absent where events come in another way, and then one that is ours is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<RelayPlan>,
}

/// How to sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PlatformCredentials {
    /// An administrator's API key.
    ApiKey(SensitiveText),
    /// An administrator's e-mail address and password.
    Password {
        /// E-mail address.
        email: SensitiveText,
        /// Password.
        password: SensitiveText,
    },
}

/// What is done about drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum DriftPlan {
    /// It is put right.
    #[default]
    Correct,
    /// It is told.
    Report,
}

/// The Event function that sends the platform's events to the dispatcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayPlan {
    /// A Python identifier in lower case, the same for the same namespace and name everywhere.
    pub function_id: String,
    /// Where batches go: absolute, its path ends in `/events`; hellos go to the same with `/relay` at the end instead.
    pub intake_url: String,
    /// Standard Webhooks key that the relay signs with, decoded.
    pub signing_key: Sensitive,
    /// Which events it sends, ascending; empty sends none.
    pub patterns: Vec<String>,
}

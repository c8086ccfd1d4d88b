//! What is found out about a platform.

use crate::api::conditions::State;

/// One platform, after a look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformReport {
    /// Whether it answers and lets us work.
    pub reachable: State,
    /// Version that it told.
    pub version: Option<String>,
    /// How the relay stands.
    pub relay: RelayState,
    /// What was changed, one sentence each.
    pub changes: Vec<String>,
    /// Requests that this look took.
    pub calls: u32,
}

/// How the relay stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayState {
    /// Events come in another way.
    NotWanted,
    /// The platform could not be asked.
    Unknown(State),
    /// It is there, switched on, and configured with what this hash stands for: its hellos must show it.
    Installed {
        /// Hash of its configuration.
        config: String,
    },
    /// It cannot be installed, or may not be put right.
    Refused(State),
}

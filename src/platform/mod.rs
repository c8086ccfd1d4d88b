//! Clients of the chat platforms: what they are, what of ours runs in them, and how that is kept right.
//!
//! Must not know Kubernetes: what is wanted comes in as a [`PlatformPlan`](crate::plan::platform::PlatformPlan), and
//! whether a write is allowed now is asked of a [`WriteGate`].

pub mod facts;
pub mod open_webui;
pub mod patrol;

pub use open_webui::{Keeper, PlatformReport, RelayState};
use tokio::time::Instant;

/// Whether this process may change the outside world now.
pub trait WriteGate: Send + Sync {
    /// By when a write that begins now must have ended; `None`: none may begin.
    fn deadline(&self) -> Option<Instant>;
}

/// The gate of a process that is alone: every write may take this long.
#[derive(Clone, Copy, Debug)]
pub struct Alone(pub std::time::Duration);

impl WriteGate for Alone {
    fn deadline(&self) -> Option<Instant> {
        Some(Instant::now() + self.0)
    }
}

/// Who owns what is installed in a platform: it stands in the marker, and nobody else touches what bears it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The cluster: uid of its `kube-system` namespace; a random id of the data folder in standalone.
    pub cluster: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

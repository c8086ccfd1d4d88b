//! Why a step of reconciling did not get through: one sentence, and a category for metrics and retries.

/// What went wrong; all of these are tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This replica does not lead, or not long enough for the call to end in time.
    #[error("another replica leads")]
    NotLeading,
    /// A call took too long.
    #[error("{0}: the Kubernetes API did not answer in time")]
    Timeout(&'static str),
    /// The Kubernetes API refused or failed.
    #[error("{step}: {}", explain(.source))]
    Api {
        /// What was being done.
        step: &'static str,
        /// What it said.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object of the name that we need is not ours.
    #[error("{0}")]
    NotOwned(String),
    /// An object of the name that we need belongs to one that is gone, and is about to go.
    #[error("{0}")]
    Leaving(String),
    /// What is to be written cannot be put into words.
    #[error("{0}")]
    Build(String),
}

impl Error {
    /// Category for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::NotLeading => "not_leading",
            Self::Timeout(_) => "timeout",
            Self::Api { .. } => "api",
            Self::NotOwned(_) => "not_owned",
            Self::Leaving(_) => "leaving",
            Self::Build(_) => "build",
        }
    }
}

fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.reason),
        other => other.to_string(),
    }
}

//! Where a platform posts its events.

use url::Url;

use crate::plan::Key;
use crate::plan::children::dispatcher_name;
use crate::plan::verdict::Judgement;
use crate::{api::ChatInstanceSpec, api::conditions::reason};

/// Where the intake of an instance is found when `spec.intake.url` does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IntakeAddresses {
    /// At the Service of its dispatcher.
    #[default]
    Services,
    /// At one listener for all instances: `http://127.0.0.1:8080`, without a trailing slash.
    Listener(String),
}

impl IntakeAddresses {
    /// Where events of an instance are posted.
    pub fn of(&self, (namespace, name): &Key) -> String {
        match self {
            Self::Services => format!("http://{}.{namespace}.svc/v1/events", dispatcher_name(name)),
            Self::Listener(base) => format!("{base}/v1/instances/{namespace}/{name}/events"),
        }
    }
}

/// Where the platform posts events: what the spec names, or the address of the front end. `None` if the spec's cannot
/// be used, which `found` then says.
pub(in crate::plan) fn intake_url(
    spec: &ChatInstanceSpec,
    key: &Key,
    addresses: &IntakeAddresses,
    found: &mut Judgement,
) -> Option<String> {
    let Some(text) = &spec.intake.url else { return Some(addresses.of(key)) };
    let mut refuse = |sentence: &str| {
        found.refuse(reason::INVALID, format!("spec.intake.url: {sentence}"));
        None
    };
    let mut url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        _ => {
            return refuse("this is not an absolute URL that begins with http:// or https://; write one.");
        }
    };
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("it holds a query or a fragment; leave them out.");
    }
    if matches!(url.path(), "" | "/") {
        url.set_path("/v1/events");
    }
    if !url.path().ends_with("/events") {
        return refuse(
            "its path must end in /events; write for example https://hooks.example.com/v1/events, or no path.",
        );
    }
    Some(url.into())
}

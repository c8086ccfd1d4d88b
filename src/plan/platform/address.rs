//! Where a platform posts its events.

use url::{ParseError, Url};

use crate::plan::Key;
use crate::plan::children::dispatcher_name;
use crate::plan::target::BAD_PORT;
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

/// Where the platform posts events: what the spec names, or the address of the front end. The error is a sentence about
/// what the spec names.
pub fn intake_url(
    spec: &ChatInstanceSpec,
    key: &Key,
    addresses: &IntakeAddresses,
) -> Result<String, &'static str> {
    let Some(text) = &spec.intake.url else { return Ok(addresses.of(key)) };
    let mut url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        Err(ParseError::InvalidPort) => return Err(BAD_PORT),
        _ => return Err("this is not an absolute URL that begins with http:// or https://; write one."),
    };
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it holds a query or a fragment; leave them out.");
    }
    if matches!(url.path(), "" | "/") {
        url.set_path("/v1/events");
    }
    if !url.path().ends_with("/events") {
        return Err(
            "its path must end in /events; write for example https://hooks.example.com/v1/events, or no path.",
        );
    }
    Ok(url.into())
}

/// Says what is wrong with the address that the spec names.
pub(in crate::plan) fn check_intake_url(spec: &ChatInstanceSpec, found: &mut Judgement) {
    if let Err(sentence) = intake_url(spec, &Key::default(), &IntakeAddresses::default()) {
        found.refuse(reason::INVALID, format!("spec.intake.url: {sentence}"));
    }
}

//! What a platform's report and its relays' hellos mean for conditions.

use super::open_webui::DesiredRelay;
use super::{Owner, PlatformReport, RelayState};
use crate::api::conditions::{State, reason};
use crate::plan::platform::PlatformPlan;
use crate::status::chat_instance::{PlatformFacts, RelayFacts, not_probed};

/// Hash that hellos show once the relay works as planned; `None` where no relay is wanted.
pub fn expected_config(cluster: &str, plan: &PlatformPlan) -> Option<String> {
    let owner =
        Owner { cluster: cluster.to_owned(), namespace: plan.namespace.clone(), name: plan.name.clone() };
    plan.relay.as_ref().map(|relay| DesiredRelay::new(relay, &owner).config)
}

/// What is known of the platform of a ChatInstance. `plan` is `None` where nothing is asked of one, `report` before the
/// first look; `configs` are what the relays that are alive work with.
pub fn facts<'a>(
    cluster: &str,
    plan: Option<&PlatformPlan>,
    report: Option<&PlatformReport>,
    mut configs: impl Iterator<Item = &'a str>,
) -> PlatformFacts {
    let unasked = || State::unknown(reason::PENDING, "The platform has not been asked yet.");
    let Some(plan) = plan else {
        return PlatformFacts { reachable: not_probed(), relay: RelayFacts::NotWanted };
    };
    let reachable = report.map_or_else(unasked, |report| report.reachable.clone());
    let Some(relay) = &plan.relay else { return PlatformFacts { reachable, relay: RelayFacts::NotWanted } };
    let relay = match report.map(|report| &report.relay) {
        None => RelayFacts::Unasked,
        Some(RelayState::Unknown(_)) => RelayFacts::Unreachable,
        Some(RelayState::Refused(state)) => RelayFacts::Refused(state.clone()),
        Some(RelayState::NotWanted | RelayState::Installed { .. }) => {
            let expected = expected_config(cluster, plan);
            if configs.any(|config| expected.as_deref() == Some(config)) {
                RelayFacts::Works
            } else {
                RelayFacts::Silent { intake_url: relay.intake_url.clone() }
            }
        }
    };
    PlatformFacts { reachable, relay }
}

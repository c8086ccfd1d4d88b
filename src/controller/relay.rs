//! Whether relays work with the configuration that is wanted.

use super::observations::Fleet;
use crate::plan::Key;
use crate::plan::platform::{PlatformPlan, RelayPlan};
use crate::platform::Owner;
use crate::platform::open_webui::DesiredRelay;

/// Hash that hellos show once the relay works as planned.
pub fn expected_config(cluster: &str, plan: &PlatformPlan, relay: &RelayPlan) -> String {
    let owner =
        Owner { cluster: cluster.to_owned(), namespace: plan.namespace.clone(), name: plan.name.clone() };
    DesiredRelay::new(relay, &owner).config
}

/// Whether a relay that is alive works with this configuration.
pub fn heard(fleet: &Fleet, key: &Key, config: &str) -> bool {
    fleet.relays(key).any(|relay| relay.config == config)
}

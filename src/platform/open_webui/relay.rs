//! The relay as it should be in the platform: its source, its settings, and the mark of its owner.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::functions::{Form, Function, Marker, Meta, Valves};
use crate::hex::hex;
use crate::plan::platform::RelayPlan;
use crate::platform::Owner;

/// The Python source, the same for everybody: what differs is in the valves.
pub const RELAY_SOURCE: &str = include_str!("relay.py");
/// What the marker calls it.
const KIND: &str = "relay";
const NAME: &str = "chathooks relay";
const DESCRIPTION: &str =
    "Sends this platform's events to a chathooks dispatcher. Managed by chathooks, edits are reverted.";
/// Bytes of the configuration's hash that are kept.
const HASH_BYTES: usize = 12;

/// What is to be in the platform.
#[derive(Clone, Debug)]
pub struct DesiredRelay {
    /// Id of the function.
    pub id: String,
    /// Hash over source and settings: a hello that shows it runs this very configuration.
    pub config: String,
    pub(super) meta: Meta,
    pub(super) valves: Valves,
}

impl DesiredRelay {
    /// What this plan asks for.
    pub fn new(plan: &RelayPlan, owner: &Owner) -> Self {
        let secret = format!("whsec_{}", STANDARD.encode(&plan.signing_key.0));
        let patterns = plan.patterns.join(" ");
        let mut hash = Sha256::new();
        for part in [RELAY_SOURCE, &plan.intake_url, &secret, &patterns] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let config = hex(hash.finalize().get(..HASH_BYTES).unwrap_or_default());
        let marker = Marker { owner: owner.clone(), kind: KIND.into(), hash: config.clone() };
        let valves = [
            ("intake_url", plan.intake_url.clone()),
            ("signing_secret", secret),
            ("patterns", patterns),
            ("config", config.clone()),
        ];
        Self {
            id: plan.function_id.clone(),
            config,
            meta: Meta { description: Some(DESCRIPTION.into()), chathooks: Some(marker) },
            valves: valves.into_iter().map(|(name, value)| (name.into(), Value::String(value))).collect(),
        }
    }

    pub(super) fn form(&self) -> Form<'_> {
        Form {
            id: &self.id,
            name: NAME,
            content: RELAY_SOURCE,
            meta: &self.meta,
            commit_message: "chathooks",
        }
    }

    /// Whether the function, apart from its content, its valves and its switch, is as it should be.
    pub(super) fn same_surroundings(&self, found: &Function) -> bool {
        found.name == NAME
            && found.kind == "event"
            && found.meta.description == self.meta.description
            && found.meta.chathooks == self.meta.chathooks
    }
}

/// Whether the marker is that of this owner's relay.
pub(super) fn is_ours(meta: &Meta, owner: &Owner) -> bool {
    meta.chathooks.as_ref().is_some_and(|marker| marker.kind == KIND && marker.owner == *owner)
}

/// Whether this is an id as the platform makes them: anything else must not get into a path or a message.
pub(super) fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Hash of a text, to tell whether it is still the same.
pub(super) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::model::Sensitive;

    fn plan() -> RelayPlan {
        RelayPlan {
            function_id: "chathooks_relay_1".into(),
            intake_url: "http://dispatcher/v1/events".into(),
            signing_key: Sensitive(vec![7; 24]),
            patterns: vec!["auth.*".into(), "user.created".into()],
        }
    }

    #[test]
    fn the_hash_follows_everything_that_matters() {
        let owner = Owner { cluster: "c".into(), namespace: "ai".into(), name: "chat".into() };
        let one = DesiredRelay::new(&plan(), &owner);
        assert_eq!(one.config.len(), 24);
        assert_eq!(one.config, DesiredRelay::new(&plan(), &owner).config);
        let changes: [fn(&mut RelayPlan); 3] = [
            |plan| plan.intake_url.push('x'),
            |plan| plan.signing_key.0[0] = 8,
            |plan| plan.patterns = vec!["auth.*".into()],
        ];
        for change in changes {
            let mut other = plan();
            change(&mut other);
            assert_ne!(one.config, DesiredRelay::new(&other, &owner).config);
        }
    }

    /// The platform rewrites these, and what it stores would differ from what was written.
    #[test]
    fn the_source_has_nothing_that_the_platform_rewrites() {
        for text in ["from utils", "from apps", "from main", "from config"] {
            assert!(!RELAY_SOURCE.contains(text), "{text}");
        }
        assert!(RELAY_SOURCE.starts_with("\"\"\"\n"), "the frontmatter comes first");
        assert!(!RELAY_SOURCE.contains("\nrequirements:"), "nothing is installed in the platform");
    }
}

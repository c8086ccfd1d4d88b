//! Names of what is made for a ChatInstance.

use sha2::{Digest as _, Sha256};

use crate::hex::hex;

/// Longest name of a StatefulSet: its pods carry it, with a hash, in a label of 63 characters.
const MAX_WORKLOAD: usize = 52;

/// Name of the dispatcher's StatefulSet, Service, ServiceAccount and Role.
pub fn dispatcher_name(instance: &str) -> String {
    child(&label(instance), "-dispatcher", MAX_WORKLOAD)
}

/// The name as a DNS label, which a Service's name must be: without dots, with a letter first (RFC 1035). A hash keeps
/// changed ones apart.
fn label(name: &str) -> String {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if starts_well && !name.contains('.') {
        return name.to_owned();
    }
    let hash = hex(Sha256::digest(name).get(..4).unwrap_or_default());
    let prefix = if starts_well { "" } else { "c-" };
    format!("{prefix}{}-{hash}", name.replace('.', "-"))
}

/// The name with a suffix, shortened where it would be too long; a hash keeps shortened ones apart.
pub fn child(name: &str, suffix: &str, max: usize) -> String {
    let whole = format!("{name}{suffix}");
    if whole.len() <= max {
        return whole;
    }
    let hash = hex(Sha256::digest(name).get(..4).unwrap_or_default());
    let room = max.saturating_sub(suffix.len() + hash.len() + 1);
    let short: String = name.chars().take(room).collect();
    format!("{}-{hash}{suffix}", short.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_gets_a_name_it_may_have() {
        assert_eq!(dispatcher_name("a.b"), "a-b-2e7336dc-dispatcher");
        assert_ne!(dispatcher_name("a.b"), dispatcher_name("a-b"));
        assert!(dispatcher_name("1chat").starts_with("c-1chat-"));
    }

    #[test]
    fn long_names_stay_apart_and_within_bounds() {
        assert_eq!(dispatcher_name("team-chat"), "team-chat-dispatcher");
        let (a, b) = (dispatcher_name(&"a".repeat(60)), dispatcher_name(&format!("{}b", "a".repeat(59))));
        assert!(a.len() <= 52 && b.len() <= 52 && a != b, "{a} {b}");
        assert!(a.ends_with("-dispatcher"));
    }
}

//! Which events a relay has to send: the union of what is subscribed to.

use std::collections::BTreeSet;

/// The fewest patterns that match what all of these match, ascending.
pub fn union<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let all: BTreeSet<&str> = patterns.into_iter().collect();
    if all.contains("*") {
        return vec!["*".to_owned()];
    }
    let covered = |one: &str| {
        all.iter().any(|other| {
            *other != one && other.strip_suffix('*').is_some_and(|prefix| one.starts_with(prefix))
        })
    };
    all.iter().filter(|one| !covered(one)).map(|one| (*one).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_pattern_takes_the_narrower_in() {
        for (patterns, expected) in [
            (vec![], vec![]),
            (vec!["user.created", "user.created"], vec!["user.created"]),
            (vec!["auth.*", "auth.api_key.*", "auth.login", "authors.x"], vec!["auth.*", "authors.x"]),
            (vec!["auth.*", "*", "user.created"], vec!["*"]),
            (vec!["b", "a"], vec!["a", "b"]),
        ] {
            assert_eq!(union(patterns.clone()), expected, "{patterns:?}");
        }
    }
}

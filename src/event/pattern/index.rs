//! Which of many subscriptions a name may concern, without asking each of them.

use std::collections::HashMap;

use super::Pattern;

/// An index over (patterns, exclude, value): a look-up costs one hash per part of the name, plus what it finds.
///
/// Subscriptions without a fitting pattern cost nothing.
#[derive(Debug)]
pub struct PatternIndex<T> {
    entries: Vec<Entry<T>>,
    any: Vec<usize>,
    /// By prefix, its final dot included.
    prefix: HashMap<String, Vec<usize>>,
    exact: HashMap<String, Vec<usize>>,
}

#[derive(Debug)]
struct Entry<T> {
    exclude: Vec<Pattern>,
    value: T,
}

impl<T> PatternIndex<T> {
    /// Builds the index from (patterns, exclude, value).
    pub fn new(rules: impl IntoIterator<Item = (Vec<Pattern>, Vec<Pattern>, T)>) -> Self {
        let mut index =
            Self { entries: Vec::new(), any: Vec::new(), prefix: HashMap::new(), exact: HashMap::new() };
        for (patterns, exclude, value) in rules {
            let place = index.entries.len();
            for pattern in without_covered(patterns) {
                match pattern {
                    Pattern::Any => index.any.push(place),
                    Pattern::Prefix(prefix) => index.prefix.entry(prefix).or_default().push(place),
                    Pattern::Exact(name) => index.exact.entry(name).or_default().push(place),
                }
            }
            index.entries.push(Entry { exclude, value });
        }
        index
    }

    /// The values whose patterns match and whose exclude does not, each once, in the order they were given.
    pub fn candidates(&self, name: &str) -> Vec<&T> {
        let mut places = self.any.clone();
        if !self.prefix.is_empty() {
            for (dot, _) in name.match_indices('.') {
                let prefix = name.get(..=dot).unwrap_or_default();
                places.extend(self.prefix.get(prefix).into_iter().flatten());
            }
        }
        places.extend(self.exact.get(name).into_iter().flatten());
        places.sort_unstable();
        places
            .into_iter()
            .filter_map(|place| self.entries.get(place))
            .filter(|entry| !entry.exclude.iter().any(|pattern| pattern.matches(name)))
            .map(|entry| &entry.value)
            .collect()
    }
}

/// Drops what another pattern of the same list covers, so that a name meets at most one pattern of a list.
fn without_covered(patterns: Vec<Pattern>) -> Vec<Pattern> {
    let mut kept: Vec<Pattern> = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        if kept.iter().any(|other| other.covers(&pattern)) {
            continue;
        }
        kept.retain(|other| !pattern.covers(other));
        kept.push(pattern);
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(list: &[String]) -> Vec<Pattern> {
        list.iter().map(|text| Pattern::parse(text).unwrap()).collect()
    }

    #[test]
    fn gives_each_value_once_and_in_order() {
        let rule = |events: &[&str], exclude: &[&str], value: u8| {
            let own = |list: &[&str]| parse(&list.iter().map(ToString::to_string).collect::<Vec<_>>());
            (own(events), own(exclude), value)
        };
        let index = PatternIndex::new([
            rule(&["auth.login", "auth.*", "*", "auth.*"], &[], 1),
            rule(&["auth.*"], &["auth.login"], 2),
            rule(&["auth.api_key.*", "user.created"], &[], 3),
            rule(&["*"], &["auth.api_key.*"], 4),
        ]);
        assert_eq!(index.candidates("auth.login"), [&1, &4]);
        assert_eq!(index.candidates("auth.logout"), [&1, &2, &4]);
        assert_eq!(index.candidates("auth.api_key.created"), [&1, &2, &3]);
        assert_eq!(index.candidates("auth"), [&1, &4]);
    }

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab]{1,2}", 1..4).prop_map(|parts| parts.join("."))
    }

    fn pattern() -> impl Strategy<Value = String> {
        prop_oneof![1 => Just("*".to_owned()), 3 => name(), 3 => name().prop_map(|name| name + ".*")]
    }

    proptest! {
        #[test]
        fn agrees_with_asking_each(
            rules in prop::collection::vec(
                (prop::collection::vec(pattern(), 1..5), prop::collection::vec(pattern(), 0..3)), 0..8),
            names in prop::collection::vec(name(), 1..20),
        ) {
            let rules: Vec<_> = rules.iter().map(|(e, x)| (parse(e), parse(x))).collect();
            let index = PatternIndex::new(
                rules.iter().enumerate().map(|(value, (events, exclude))| (events.clone(), exclude.clone(), value)));
            for name in names {
                let matches = |patterns: &[Pattern]| patterns.iter().any(|p| p.matches(&name));
                let naive: Vec<usize> = (0..rules.len())
                    .filter(|value| matches(&rules[*value].0) && !matches(&rules[*value].1))
                    .collect();
                let found: Vec<usize> = index.candidates(&name).into_iter().copied().collect();
                prop_assert_eq!(found, naive);
            }
        }
    }
}

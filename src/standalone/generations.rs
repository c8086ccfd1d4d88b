//! `metadata.generation` where no API server counts: it grows when a spec changes while the process runs.

use std::collections::HashMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::manifest::Kind;

/// Generation of every object that is there.
#[derive(Debug, Default)]
pub(super) struct Generations {
    known: HashMap<(Kind, String, String), Known>,
    round: u64,
}

#[derive(Debug)]
struct Known {
    spec: [u8; 32],
    generation: i64,
    round: u64,
}

impl Generations {
    /// The generation of an object as it is now: `given` (what the manifest says, else 1) at first, one more with
    /// every other spec, never less than `given`.
    pub(super) fn of(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        spec: Option<&Value>,
        given: Option<i64>,
    ) -> i64 {
        let spec = Sha256::digest(spec.map(Value::to_string).unwrap_or_default()).into();
        let given = given.unwrap_or(1).max(1);
        let round = self.round;
        let known = self.known.entry((kind, namespace.to_owned(), name.to_owned())).or_insert(Known {
            spec,
            generation: given,
            round,
        });
        if known.spec != spec {
            known.generation = known.generation.saturating_add(1);
        }
        known.spec = spec;
        known.generation = known.generation.max(given);
        known.round = round;
        known.generation
    }

    /// Ends a round: objects that were not asked for in it are gone and start anew.
    pub(super) fn end_round(&mut self) {
        let round = self.round;
        self.known.retain(|_, known| known.round == round);
        self.round += 1;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_grows_with_the_spec_and_starts_anew_with_the_object() {
        let mut generations = Generations::default();
        let mut of = |spec: Value, given| {
            let generation = generations.of(Kind::Secret, "a", "b", Some(&spec), given);
            generations.end_round();
            generation
        };
        assert_eq!(of(json!({"x": 1}), None), 1);
        assert_eq!(of(json!({"x": 1}), None), 1);
        assert_eq!(of(json!({"x": 2}), None), 2);
        assert_eq!(of(json!({"x": 3}), Some(7)), 7);
        assert_eq!(of(json!({"x": 4}), Some(7)), 8);
        generations.end_round();
        assert_eq!(generations.of(Kind::Secret, "a", "b", None, None), 1);
    }
}

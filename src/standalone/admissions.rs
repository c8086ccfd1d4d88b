//! Remembers what admission said of a manifest, so that a change of one of a thousand files judges one manifest.

use std::collections::HashMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::manifest::Kind;
use crate::admission::{self, Problem};

type Verdict = Result<Value, Vec<Problem>>;

/// Verdicts by content.
#[derive(Debug, Default)]
pub(super) struct Admissions {
    known: HashMap<[u8; 32], (Verdict, u64)>,
    round: u64,
}

impl Admissions {
    /// As [`admission::admit`].
    pub(super) fn admit(&mut self, kind: Kind, object: &Value) -> Verdict {
        let mut hash = Sha256::new();
        hash.update(kind.name());
        hash.update(object.to_string());
        let (verdict, round) = self
            .known
            .entry(hash.finalize().into())
            .or_insert_with(|| (admission::admit(kind.name(), object), self.round));
        *round = self.round;
        verdict.clone()
    }

    /// Ends a round: what was not asked for in it is forgotten.
    pub(super) fn end_round(&mut self) {
        let now = self.round;
        self.known.retain(|_, (_, round)| *round == now);
        self.round += 1;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_manifest_is_judged_once_while_it_is_there() {
        let mut admissions = Admissions::default();
        let bad = json!({"metadata": {"name": "a"}});
        let first = admissions.admit(Kind::ChatInstance, &bad);
        assert_eq!(first, admission::admit("ChatInstance", &bad));
        admissions.end_round();
        assert_eq!(admissions.admit(Kind::ChatInstance, &bad), first);
        assert_eq!(admissions.known.len(), 1);
        admissions.end_round();
        admissions.end_round();
        assert_eq!(admissions.known.len(), 0);
    }
}

//! What is found about one object while it is compiled.

use super::{Finding, Key, Verdict};
use crate::api::conditions::reason;

/// Problems and warnings of one object, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    refused: Vec<(&'static str, String)>,
    unresolved: Vec<(&'static str, String)>,
    warnings: Vec<String>,
}

impl Judgement {
    /// The spec cannot work: `Accepted=False`.
    pub(super) fn refuse(&mut self, reason: &'static str, sentence: impl Into<String>) {
        self.refused.push((reason, sentence.into()));
    }

    /// Something it refers to is missing or unusable: `ResolvedRefs=False`.
    pub(super) fn unresolved(&mut self, reason: &'static str, sentence: impl Into<String>) {
        self.unresolved.push((reason, sentence.into()));
    }

    /// Worth saying, but stops nothing.
    pub(super) fn warn(&mut self, sentence: impl Into<String>) {
        self.warnings.push(sentence.into());
    }

    /// Why the object is paused, if it is.
    pub(super) fn paused(&self) -> Option<String> {
        let all: Vec<&str> =
            self.refused.iter().chain(&self.unresolved).map(|(_, text)| text.as_str()).collect();
        if all.is_empty() { None } else { Some(all.join("\n")) }
    }

    /// The verdict of the object.
    pub(super) fn verdict(self, kind: &str, (namespace, name): &Key, generation: i64) -> Verdict {
        Verdict {
            kind: kind.into(),
            namespace: namespace.clone(),
            name: name.clone(),
            generation,
            accepted: finding(&self.refused, reason::ACCEPTED),
            resolved_refs: finding(&self.unresolved, reason::RESOLVED_REFS),
            warnings: self.warnings,
        }
    }
}

/// The first problem gives the reason; all of them are told, one a line.
fn finding(problems: &[(&'static str, String)], fine: &str) -> Finding {
    let sentences: Vec<&str> = problems.iter().map(|(_, sentence)| sentence.as_str()).collect();
    Finding {
        status: problems.is_empty(),
        reason: problems.first().map_or(fine, |(reason, _)| reason).into(),
        message: sentences.join("\n"),
        problems: problems
            .iter()
            .map(|(reason, sentence)| ((*reason).to_owned(), sentence.clone()))
            .collect(),
    }
}

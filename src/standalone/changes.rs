//! Says in the log what a change of the directory has done.

use std::collections::BTreeMap;

use super::folder::FileReport;
use crate::plan::{Outcome, Verdict};

type Key<'a> = (&'a str, &'a str, &'a str);

/// Logs what differs: objects that came, changed, went, or are paused for another reason, and files' errors.
pub(super) fn tell(
    before: Option<&Outcome>,
    after: &Outcome,
    files_before: &[FileReport],
    files_after: &[FileReport],
) {
    let old = before.map(index).unwrap_or_default();
    let new = index(after);
    for (key, verdict) in &new {
        let known = old.get(key);
        let (kind, namespace, name) = *key;
        if let Some(why) = paused(verdict) {
            if known.and_then(|known| paused(known)).as_ref() != Some(&why) {
                tracing::warn!(kind, namespace, name, "paused: {why}");
            }
        } else if known.is_none_or(|known| known.generation != verdict.generation || paused(known).is_some())
        {
            tracing::info!(kind, namespace, name, generation = verdict.generation, "served");
        }
        for warning in &verdict.warnings {
            if known.is_none_or(|known| !known.warnings.contains(warning)) {
                tracing::warn!(kind, namespace, name, "{warning}");
            }
        }
    }
    for (kind, namespace, name) in old.keys().filter(|key| !new.contains_key(*key)) {
        tracing::info!(kind, namespace, name, "removed");
    }
    for file in files_after.iter().filter(|file| !files_before.contains(file)) {
        tracing::warn!(path = file.path, "{}", file.error);
    }
    for file in files_before.iter().filter(|file| files_after.iter().all(|after| after.path != file.path)) {
        tracing::info!(path = file.path, "this file is well again");
    }
    if !after.plan.complete && before.is_none_or(|before| before.plan.complete) {
        tracing::warn!(
            "not everything in the folder can be read or placed: what is absent from it may only be misspelt, so its \
             events are kept until the mistakes are corrected"
        );
    }
}

fn index(outcome: &Outcome) -> BTreeMap<Key<'_>, &Verdict> {
    outcome
        .verdicts
        .iter()
        .map(|one| ((one.kind.as_str(), one.namespace.as_str(), one.name.as_str()), one))
        .collect()
}

fn paused(verdict: &Verdict) -> Option<String> {
    let findings = [&verdict.accepted, &verdict.resolved_refs];
    let sentences: Vec<&str> = findings
        .into_iter()
        .filter(|finding| !finding.status)
        .map(|finding| finding.message.as_str())
        .collect();
    (!sentences.is_empty()).then(|| sentences.join("\n"))
}

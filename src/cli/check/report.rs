//! What is said of each thing in a folder.

use serde::Serialize;
use serde_json::{Value, json};

use crate::api::conditions::reason;
use crate::plan::{Outcome, Verdict};
use crate::standalone::folder::{Entry, Fate, Folder, Place, sentence};

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Ok,
    Warning,
    Error,
    /// Not ours.
    Ignored,
}

/// One thing of the folder.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    #[serde(flatten)]
    pub(super) place: Place,
    pub(super) kind: Option<&'static str>,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) verdict: Level,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Everything, in path order.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) lines: Vec<Line>,
}

impl Report {
    pub(super) fn new(folder: &Folder, outcome: &Outcome, allow_missing_refs: bool) -> Self {
        Self { lines: folder.entries.iter().map(|entry| line(entry, outcome, allow_missing_refs)).collect() }
    }

    pub(super) fn is_well(&self) -> bool {
        self.lines.iter().all(|line| line.verdict != Level::Error)
    }

    /// Objects and documents at this level; files that cannot be read are not among them.
    pub(super) fn count(&self, level: Level) -> usize {
        self.lines.iter().filter(|line| line.verdict == level && !line.is_file()).count()
    }

    /// Files that cannot be read.
    pub(super) fn unreadable(&self) -> usize {
        self.lines.iter().filter(|line| line.is_file()).count()
    }

    pub(super) fn to_json(&self) -> Value {
        let objects: Vec<&Line> = self.lines.iter().filter(|line| !line.is_file()).collect();
        let files = self.lines.iter().filter(|line| line.is_file());
        let files: Vec<Value> =
            files.map(|line| json!({ "path": line.place.path, "error": line.problems.join("\n") })).collect();
        json!({
            "objects": objects,
            "files": files,
            "summary": {
                "ok": self.count(Level::Ok),
                "warnings": self.count(Level::Warning),
                "errors": self.count(Level::Error),
                "ignored": self.count(Level::Ignored),
                "unreadableFiles": self.unreadable(),
            },
        })
    }
}

impl Line {
    fn is_file(&self) -> bool {
        self.kind.is_none() && self.place.document == 0
    }
}

fn line(entry: &Entry, outcome: &Outcome, allow_missing_refs: bool) -> Line {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut verdict = None;
    match &entry.fate {
        Fate::Taken => {
            if let Some(found) = find(entry, outcome) {
                judge(found, allow_missing_refs, &mut problems, &mut warnings);
            }
        }
        Fate::Refused(found) | Fate::Mistake(found) => problems.extend(found.iter().map(sentence)),
        Fate::Duplicate(first) => {
            problems.push(format!("the same object is in {first}, which counts; remove one of the two"));
        }
        Fate::Ignored(note) => {
            verdict = Some(Level::Ignored);
            warnings.push(note.clone());
        }
        Fate::Unreadable(sentence) => problems.push(sentence.clone()),
    }
    let verdict = verdict.unwrap_or(match (problems.is_empty(), warnings.is_empty()) {
        (true, true) => Level::Ok,
        (true, false) => Level::Warning,
        (false, _) => Level::Error,
    });
    let (kind, key) = entry.object.as_ref().map(|(kind, key)| (kind.name(), key)).unzip();
    let (namespace, name) = key.cloned().unzip();
    Line { place: entry.place.clone(), kind, namespace, name, verdict, problems, warnings }
}

fn find<'a>(entry: &Entry, outcome: &'a Outcome) -> Option<&'a Verdict> {
    let (kind, (namespace, name)) = entry.object.as_ref()?;
    outcome
        .verdicts
        .iter()
        .find(|one| one.kind == kind.name() && one.namespace == *namespace && one.name == *name)
}

fn judge(
    verdict: &Verdict,
    allow_missing_refs: bool,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) {
    problems.extend(verdict.accepted.problems.iter().map(|(_, sentence)| sentence.clone()));
    for (why, sentence) in &verdict.resolved_refs.problems {
        let missing = matches!(why.as_str(), reason::SECRET_NOT_FOUND | reason::KEY_NOT_FOUND);
        if missing && allow_missing_refs {
            warnings.push(sentence.clone());
        } else {
            problems.push(sentence.clone());
        }
    }
    warnings.extend(verdict.warnings.iter().cloned());
}

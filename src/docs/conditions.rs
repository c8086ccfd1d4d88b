//! `docs/conditions.md`: types and reasons with the comments they carry in `src/api/conditions.rs`.

use std::fmt::Write as _;

use super::{HEADER, cell, code};

/// What the page is made from.
pub const SOURCE: &str = include_str!("../api/conditions.rs");

/// Conditions that only a ChatInstance or only a WebhookSubscription has say so with this before their comment.
const KINDS: [&str; 2] = ["ChatInstance", "WebhookSubscription"];

const BEGINNING: &str = "
# Conditions and reasons

Every object tells in `status.conditions` how it stands. `kubectl describe` shows them, `kubectl get chathooks -o wide` shows
the message of `Ready`, and `/v1/status` of a dispatcher or of `chathooks standalone` lists the same.

- `message` is a sentence that says what to change, without a secret, a time or remote text in it. It may be reworded; `reason` is
  one of the words below and may be relied on.
- `observedGeneration`, at the top and in each condition, is the generation that was looked at: while it is behind
  `metadata.generation`, what stands there is about an older spec.
- `lastTransitionTime` changes with the status only. Nothing is written while nothing changed.
- `Ready` takes status, reason and message of the first of `Accepted`, `ResolvedRefs` and `Programmed` that is not true; false goes
  before unknown.

```sh
kubectl wait --for=condition=Ready webhooksubscription/security-alerts --timeout=60s
```

## What GitOps tools make of it

| tool | how it reads this |
| --- | --- |
| kstatus, and with it Flux (`wait: true`) | `Stalled` true: failed, at once. `Reconciling` true, `Ready` not true, or a generation not looked at yet: in progress until the timeout. An object that nobody has looked at yet has `observedGeneration: -1` and so counts as in progress, not as done. |
| Argo CD | has no built-in health for these kinds: without a health check of your own an object counts as soon as it is applied. `Ready` and `Stalled` are what such a check looks at. |
| `kubectl wait` | `--for=condition=Ready`, or any other type below. |

`Stalled` stands while waiting cannot help: `Accepted` is false, something that has to be made is refused, or an object of somebody else is in the
way. A missing Secret or an absent dispatcher is `Reconciling`: it can still come right by itself.
";

/// The whole page, from the text of `src/api/conditions.rs`.
pub fn print(source: &str) -> String {
    let (types, reasons) = source.split_once("pub mod reason").unwrap_or((source, ""));
    let reasons = reasons.split("\n}").next().unwrap_or_default();
    let types = constants(types);
    let entries: Vec<Entry> = constants(reasons).iter().flat_map(|one| entries(one, &types)).collect();

    let mut page =
        format!("{HEADER}{BEGINNING}\n## Types\n\n| type | on | true means |\n| --- | --- | --- |\n");
    for one in &types {
        let comment = one.comment.join(" ");
        let (kind, text) = kind_of(&comment);
        let on = kind.unwrap_or("both");
        let _ = writeln!(page, "| {} | {on} | {} |", code(&one.value), cell(&text));
    }
    for one in &types {
        let of_this = entries.iter().filter(|entry| entry.condition.as_deref() == Some(&one.value));
        table(&mut page, &format!("Reasons of {}", one.value), of_this);
    }
    table(
        &mut page,
        "Reasons of several conditions",
        entries.iter().filter(|entry| entry.condition.is_none()),
    );
    page.push_str(
        "\n`Ready`, `Stalled` and `Reconciling` have the reasons of `Accepted`, `ResolvedRefs` and `Programmed` as well.\n",
    );
    page
}

/// A constant with the lines of its comment.
struct Constant {
    value: String,
    comment: Vec<String>,
}

/// What a reason says of one condition; of none where its comment names none.
struct Entry {
    reason: String,
    condition: Option<String>,
    status: String,
    text: String,
}

fn constants(source: &str) -> Vec<Constant> {
    let mut found = Vec::new();
    let mut comment = Vec::new();
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.trim().to_owned());
            continue;
        }
        let value = line.strip_prefix("pub const ").and_then(|rest| rest.split('"').nth(1));
        if let Some(value) = value {
            found.push(Constant { value: value.to_owned(), comment: std::mem::take(&mut comment) });
        }
        comment.clear();
    }
    found
}

/// A line that begins with "Accepted is false" begins what is said of that condition.
fn entries(constant: &Constant, types: &[Constant]) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    for line in &constant.comment {
        let (condition, status, text) = match begins(line, types) {
            Some((condition, status, text)) => (Some(condition), status, text),
            None => match found.last_mut() {
                Some(entry) => {
                    entry.text = format!("{} {line}", entry.text);
                    continue;
                }
                None => (None, String::new(), line.clone()),
            },
        };
        found.push(Entry { reason: constant.value.clone(), condition, status, text });
    }
    found
}

/// Condition, status and what follows of "Accepted is false: the object …".
fn begins(line: &str, types: &[Constant]) -> Option<(String, String, String)> {
    let (condition, rest) = line.split_once(" is ")?;
    let known = types.iter().any(|one| one.value == condition);
    let (status, text) = rest.split_once(':').unwrap_or((rest.trim_end_matches('.'), ""));
    let status = match status {
        "true" => "True",
        "false" => "False",
        "unknown" => "Unknown",
        _ => return None,
    };
    known.then(|| (condition.to_owned(), status.to_owned(), sentence(text)))
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !text.starts_with('`') => first.to_uppercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

fn kind_of(comment: &str) -> (Option<&str>, String) {
    match comment.split_once(": ").filter(|(before, _)| KINDS.contains(before)) {
        Some((kind, text)) => (Some(kind), sentence(text)),
        None => (None, comment.to_owned()),
    }
}

fn table<'a>(page: &mut String, heading: &str, entries: impl Iterator<Item = &'a Entry>) {
    let mut entries = entries.peekable();
    if entries.peek().is_none() {
        return;
    }
    let _ = write!(page, "\n## {heading}\n\n| reason | status | means |\n| --- | --- | --- |\n");
    for one in entries {
        let status = if one.status.is_empty() { "any" } else { &one.status };
        let text = if one.text.is_empty() { "All is well." } else { &one.text };
        let _ = writeln!(page, "| {} | {status} | {} |", code(&one.reason), cell(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_tables() {
        let page = print(
            "/// The spec is understood.\npub const ACCEPTED: &str = \"Accepted\";\n\
             /// ChatInstance: events can\n/// be posted.\npub const INTAKE_READY: &str = \"IntakeReady\";\n\
             pub mod reason {\n    /// Accepted is true.\n    pub const ACCEPTED: &str = \"Accepted\";\n\
             \n    /// Accepted is false: it is paused\n    /// for now.\n    /// IntakeReady is unknown: no.\n    pub const PAUSED: &str = \"Paused\";\n\
             \n    /// Not seen yet.\n    pub const PENDING: &str = \"Pending\";\n}\npub const OTHER: &str = \"Other\";\n",
        );
        let tables: Vec<&str> =
            page.split("## Types").nth(1).unwrap().lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(
            tables,
            [
                "| type | on | true means |",
                "| --- | --- | --- |",
                "| `Accepted` | both | The spec is understood. |",
                "| `IntakeReady` | ChatInstance | Events can be posted. |",
                "| reason | status | means |",
                "| --- | --- | --- |",
                "| `Accepted` | True | All is well. |",
                "| `Paused` | False | It is paused for now. |",
                "| reason | status | means |",
                "| --- | --- | --- |",
                "| `Paused` | Unknown | No. |",
                "| reason | status | means |",
                "| --- | --- | --- |",
                "| `Pending` | any | Not seen yet. |",
            ]
        );
    }
}

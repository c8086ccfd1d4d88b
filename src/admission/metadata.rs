//! `metadata`: names, namespaces, labels and annotations, as the API server takes them.

use serde_json::{Map, Value};

use super::{Problem, path, suggest};

/// What people write.
const WRITTEN: [&str; 6] = ["name", "namespace", "labels", "annotations", "finalizers", "ownerReferences"];

/// What servers write; it comes along when an object is copied out of a cluster.
const SERVER_WRITTEN: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// Checks `metadata` and gives back what people write of it, and the generation.
pub(super) fn check(metadata: Option<&Value>, problems: &mut Vec<Problem>) -> Value {
    let mut found = |field: &str, detail: &str| problems.push(Problem::new(field, detail));
    let metadata = match metadata {
        Some(Value::Object(metadata)) => metadata,
        None | Some(Value::Null) => {
            found("metadata.name", "is missing; write `metadata: { name: … }`");
            return Value::Null;
        }
        Some(_) => {
            found("metadata", "expected a map: write `metadata: { name: … }`");
            return Value::Null;
        }
    };
    match metadata.get("name") {
        None | Some(Value::Null) => {
            found("metadata.name", "is missing; write a name that is unique for its kind and namespace");
        }
        Some(name) => {
            if let Some(problem) = name_problem(name, 253, true) {
                found("metadata.name", &problem);
            }
        }
    }
    if let Some(problem) =
        metadata.get("namespace").filter(|n| !n.is_null()).and_then(|n| name_problem(n, 63, false))
    {
        found("metadata.namespace", &problem);
    }
    for name in metadata.keys().map(String::as_str) {
        if !WRITTEN.contains(&name) && !SERVER_WRITTEN.contains(&name) {
            let near = suggest::nearest(name, WRITTEN);
            let hint = near.map_or_else(|| "remove it".to_owned(), |near| format!("did you mean `{near}`?"));
            found(
                &path::member("metadata", name),
                &format!("there is no field `{name}` in `metadata`; {hint}"),
            );
        }
    }
    for name in ["labels", "annotations"] {
        if let Some(value) = metadata.get(name).filter(|value| !value.is_null()) {
            strings(name, value, problems);
        }
    }
    // The generation is the front end's word, where it counts them itself.
    let kept = |name: &str| WRITTEN.contains(&name) || name == "generation";
    let kept = metadata.iter().filter(|(name, value)| kept(name) && !value.is_null());
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

/// The sentence about a name that is no DNS-1123 label, or subdomain where dots are allowed.
fn name_problem(name: &Value, most: usize, dots: bool) -> Option<String> {
    let Value::String(name) = name else {
        return Some("expected a string: put it in quotes".to_owned());
    };
    let form =
        if dots { "lower-case letters, digits, `-` and `.`" } else { "lower-case letters, digits and `-`" };
    if name.is_empty() {
        return Some(format!("is empty; write a name of {form}"));
    }
    if name.len() > most {
        return Some(format!("has {} characters; write at most {most}", name.len()));
    }
    let label = |part: &str| {
        let inner = part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        inner && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    };
    let fits = if dots { name.split('.').all(label) } else { label(name) };
    (!fits).then(|| {
        format!("is no name that Kubernetes takes; write {form}, beginning and ending with a letter or digit")
    })
}

fn strings(kind: &str, value: &Value, problems: &mut Vec<Problem>) {
    let field = path::member("metadata", kind);
    let Value::Object(entries) = value else {
        problems.push(Problem::new(field, "expected a map of strings, `key: value`"));
        return;
    };
    for (key, value) in entries {
        let here = path::member(&field, key);
        if !is_qualified(key) {
            problems.push(Problem::new(
                here.clone(),
                "its key is none that Kubernetes takes; write letters, digits, `-`, `_` and `.`, at most 63, after an \
                 optional domain and `/`",
            ));
        }
        match value {
            Value::String(text) if kind == "labels" && !(text.is_empty() || is_word(text)) => problems.push(Problem::new(
                here,
                "a label's value has at most 63 letters, digits, `-`, `_` and `.`; write longer text as an annotation",
            )),
            Value::String(_) => {}
            _ => problems.push(Problem::new(here, "expected a string: put it in quotes")),
        }
    }
}

/// `[domain/]name`.
fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => name_problem(&Value::from(domain), 253, true).is_none() && is_word(name),
        None => is_word(key),
    }
}

fn is_word(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && edge(text.chars().next())
        && edge(text.chars().next_back())
}

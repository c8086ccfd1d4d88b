//! What one document of a file is: an object of ours, a Secret or ConfigMap, somebody else's, or a mistake.
//!
//! Looks only at what every object has (group, kind, name). What an object says is judged by
//! [`admission`] and [`plan`](crate::plan).

use serde_json::{Map, Value};

use crate::admission::{self, Problem, Recognised};

/// Kinds that a directory can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `chathooks.dev`.
    ChatInstance,
    /// `chathooks.dev`.
    WebhookSubscription,
    /// Core `v1`.
    Secret,
    /// Core `v1`.
    ConfigMap,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ChatInstance, Self::WebhookSubscription, Self::Secret, Self::ConfigMap];

    /// As written in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatInstance => "ChatInstance",
            Self::WebhookSubscription => "WebhookSubscription",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }

    /// Whether it is one of chathooks' own.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::ChatInstance | Self::WebhookSubscription)
    }
}

/// An object that can be named.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// What it is.
    pub kind: Kind,
    /// `metadata.namespace`, `default` where there is none.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// All of it, with the namespace filled in.
    pub object: Value,
}

/// What a document is.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// An object to be taken.
    Manifest(Manifest),
    /// Not ours; the note says whose.
    Foreign(String),
    /// Nothing that can be named; each problem says why.
    Mistake(Vec<Problem>),
}

/// Where objects without a namespace live.
const DEFAULT_NAMESPACE: &str = "default";

/// Items of a `List` with their position, or the document itself.
pub fn unpack(document: &Value) -> Vec<(Option<usize>, Value)> {
    let kind = text(document, "/kind").unwrap_or_default();
    let Some(items) = document.get("items").and_then(Value::as_array).filter(|_| kind.ends_with("List"))
    else {
        return vec![(None, document.clone())];
    };
    let of = kind.trim_end_matches("List");
    items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let mut item = item.clone();
            if let (false, Some(fields)) = (of.is_empty(), item.as_object_mut()) {
                // The API server leaves these out of the items of a typed list.
                fields.entry("kind").or_insert_with(|| of.into());
                if let Some(version) = document.get("apiVersion") {
                    fields.entry("apiVersion").or_insert_with(|| version.clone());
                }
            }
            (Some(index + 1), item)
        })
        .collect()
}

/// Says what a document is.
pub fn read(mut object: Value) -> Document {
    let kind = match kind(&object) {
        Ok(kind) => kind,
        Err(other) => return other,
    };
    let namespace = match text(&object, "/metadata/namespace") {
        Some(namespace) => namespace.to_owned(),
        None => DEFAULT_NAMESPACE.to_owned(),
    };
    let name = text(&object, "/metadata/name").unwrap_or_default().to_owned();
    if !is_name(&name) || !is_namespace(&namespace) {
        return Document::Mistake(admission::metadata_problems(&object));
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        // What is no text is left for admission to refuse.
        if metadata.get("namespace").is_none_or(Value::is_null) {
            metadata.insert("namespace".to_owned(), namespace.clone().into());
        }
    }
    Document::Manifest(Manifest { kind, namespace, name, object })
}

fn kind(object: &Value) -> Result<Kind, Document> {
    let version = text(object, "/apiVersion");
    let kind = text(object, "/kind").unwrap_or_default();
    let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
    let core = |detail: &str| {
        Document::Mistake(vec![Problem {
            field: "apiVersion".to_owned(),
            detail: format!("{detail}; write `v1`"),
        }])
    };
    match (admission::recognise(object), known) {
        (Recognised::Ours(_), Some(kind)) => Ok(kind),
        (Recognised::Foreign, Some(kind)) if version == Some("v1") => Ok(kind),
        (Recognised::Problem(_), Some(kind)) if !kind.is_ours() && version.is_none() => {
            Err(core("is missing"))
        }
        (Recognised::Foreign, Some(kind))
            if !kind.is_ours() && !version.unwrap_or_default().contains('/') =>
        {
            Err(core("has no such kind"))
        }
        (Recognised::Problem(problem), _) => Err(Document::Mistake(vec![problem])),
        (Recognised::Foreign | Recognised::Ours(_), _) => {
            let name = text(object, "/metadata/name").unwrap_or("without a name");
            Err(Document::Foreign(format!(
                "{kind} {name} ({}) is not read by chathooks",
                version.unwrap_or_default()
            )))
        }
    }
}

fn is_name(name: &str) -> bool {
    is_dns_name(name, 253)
}

fn is_namespace(name: &str) -> bool {
    is_dns_name(name, 63) && !name.contains('.')
}

/// RFC 1123 subdomain, as names of Kubernetes objects are. Also keeps names from leaving a folder.
pub fn is_dns_name(name: &str, max: usize) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= max
        && name.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.first().is_some_and(|c| plain(*c))
                && bytes.last().is_some_and(|c| plain(*c))
                && bytes.iter().all(|c| plain(*c) || *c == b'-')
        })
}

/// Entries of a map of strings that are no strings.
pub(super) fn not_text(object: &Map<String, Value>, field: &str) -> Vec<Problem> {
    let problem = |field: String, detail: &str| Problem { field, detail: detail.to_owned() };
    match object.get(field) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(entries)) => entries
            .iter()
            .filter(|(_, value)| !value.is_string())
            .map(|(key, _)| problem(format!("{field}.{key}"), "expected a string: put it in quotes"))
            .collect(),
        Some(_) => vec![problem(field.to_owned(), "expected a map of strings, `key: value`")],
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sentence(object: Value) -> String {
        match read(object) {
            Document::Mistake(problems) => {
                problems.iter().map(|p| format!("{}: {}", p.field, p.detail)).collect::<Vec<_>>().join("; ")
            }
            Document::Foreign(note) => note,
            Document::Manifest(manifest) => format!("{manifest:?}"),
        }
    }

    #[test]
    fn the_namespace_is_filled_in() {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
        let Document::Manifest(manifest) = read(object) else { panic!("this is a manifest") };
        assert_eq!((manifest.kind, manifest.namespace.as_str()), (Kind::Secret, "default"));
        assert_eq!(manifest.object["metadata"], json!({"name": "a", "namespace": "default"}));
    }

    #[test]
    fn what_cannot_be_named_is_told() {
        let ours = "chathooks.dev/v1alpha1";
        for (object, expected) in [
            (json!({"kind": "Secret"}), "apiVersion: is missing; write `v1`"),
            (json!({"apiVersion": "v2", "kind": "Secret"}), "apiVersion: has no such kind; write `v1`"),
            (
                json!({"apiVersion": ours, "kind": "ChatInstance", "metadata": {"name": 12}}),
                "metadata.name: expected a string: put it in quotes",
            ),
            (
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "../../etc"}}),
                "metadata.name: is no name that Kubernetes takes; write lower-case letters, digits, `-` and `.`, \
                 beginning and ending with a letter or digit",
            ),
            (
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}),
                "Deployment web (apps/v1) is not read by chathooks",
            ),
            (
                json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}),
                "Service web (v1) is not read by chathooks",
            ),
        ] {
            assert_eq!(sentence(object), expected);
        }
    }

    #[test]
    fn lists_are_unpacked() {
        let typed = json!({"apiVersion": "v1", "kind": "SecretList", "items": [{"metadata": {"name": "a"}}]});
        assert_eq!(
            unpack(&typed),
            [(Some(1), json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}))]
        );
        let plain = json!({"apiVersion": "v1", "kind": "List", "items": [{"a": 1}, {"b": 2}]});
        assert_eq!(unpack(&plain), [(Some(1), json!({"a": 1})), (Some(2), json!({"b": 2}))]);
        let other = json!({"kind": "Secret", "items": []});
        assert_eq!(unpack(&other), [(None, other)]);
    }
}

//! What one document of a file is: an object of ours, a Secret or ConfigMap, somebody else's, or a mistake.
//!
//! Looks only at what every object has (group, kind, metadata). What a spec says is judged by
//! [`admission`](crate::admission) and [`plan`](crate::plan).

use serde_json::{Map, Value};

use crate::admission::Problem;
use crate::api;

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

    fn api_version(self) -> String {
        if self.is_ours() { format!("{}/{}", api::GROUP, api::VERSION) } else { "v1".to_owned() }
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
    /// All of it, with the namespace filled in and without what a server writes.
    pub object: Value,
    /// What is wrong with its metadata.
    pub problems: Vec<Problem>,
}

/// What a document is.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// An object to be taken.
    Manifest(Box<Manifest>),
    /// Not ours; the note says whose.
    Foreign(String),
    /// Nothing that can be named; the sentence says why.
    Mistake(String),
}

/// Where objects without a namespace live.
const DEFAULT_NAMESPACE: &str = "default";

/// Fields of `metadata` that are kept; the rest is written by servers and ignored.
const KEPT: [&str; 5] = ["name", "namespace", "labels", "annotations", "generation"];

/// Fields of `metadata` that an export from a cluster may carry besides.
const SERVER_WRITTEN: [&str; 10] = [
    "generateName",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
    "ownerReferences",
    "finalizers",
];

/// Items of a `List` with their position, or the document itself.
pub fn unpack(document: &Value) -> Vec<(Option<usize>, Value)> {
    let kind = text(document, "kind").unwrap_or_default();
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
pub fn read(document: Value) -> Document {
    let Value::Object(mut object) = document else {
        return Document::Mistake(
            "this is no object: a manifest is a map with apiVersion, kind, metadata and spec".to_owned(),
        );
    };
    let kind = match kind(&object) {
        Ok(kind) => kind,
        Err(other) => return other,
    };
    object.remove("status");
    let mut problems = Vec::new();
    let mut metadata = match object.remove("metadata") {
        Some(Value::Object(metadata)) => metadata,
        Some(_) => return Document::Mistake(format!("{}: metadata must be a map", kind.name())),
        None => Map::new(),
    };
    metadata.retain(|field, _| !SERVER_WRITTEN.contains(&field.as_str()));
    for field in metadata.keys().filter(|field| !KEPT.contains(&field.as_str())) {
        problems.push(Problem {
            field: format!("metadata.{field}"),
            detail: unknown_field(field, KEPT.into_iter().take(4)),
        });
    }
    metadata.retain(|field, _| KEPT.contains(&field.as_str()));
    let namespace = metadata.get("namespace").cloned().unwrap_or_else(|| DEFAULT_NAMESPACE.into());
    let named = name_of(kind, &metadata).and_then(|name| Ok((name, namespace_of(kind, &namespace)?)));
    let (name, namespace) = match named {
        Ok(found) => found,
        Err(sentence) => return Document::Mistake(sentence),
    };
    for field in ["labels", "annotations"] {
        problems.extend(not_text(&metadata, field));
    }
    metadata.insert("namespace".to_owned(), namespace.clone().into());
    object.insert("metadata".to_owned(), Value::Object(metadata));
    Document::Manifest(Box::new(Manifest { kind, namespace, name, object: Value::Object(object), problems }))
}

fn kind(object: &Map<String, Value>) -> Result<Kind, Document> {
    let field = |name: &str| object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mistake = |sentence: String| Err(Document::Mistake(sentence));
    let (version, kind) = match (field("apiVersion"), field("kind")) {
        (Some(version), Some(kind)) => (version, kind),
        (None, None) => {
            return mistake("this is no Kubernetes object: it has neither apiVersion nor kind".to_owned());
        }
        (Some(_), None) => return mistake(format!("kind is missing; write one of {}", kinds())),
        (None, Some(kind)) => {
            let version = Kind::ALL.into_iter().find(|known| known.name() == kind);
            let version = version.map_or_else(|| "its apiVersion".to_owned(), Kind::api_version);
            return mistake(format!("{kind}: apiVersion is missing; write apiVersion: {version}"));
        }
    };
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
    match known {
        Some(known) if known.api_version() == version => return Ok(known),
        Some(known) if known.is_ours() || group == api::GROUP => {
            return mistake(format!(
                "{kind}: apiVersion {version:?} is not known; write apiVersion: {}",
                known.api_version()
            ));
        }
        _ => {}
    }
    if group == api::GROUP {
        let ours = Kind::ALL.into_iter().filter(|kind| kind.is_ours()).map(Kind::name);
        return mistake(match nearest(kind, ours) {
            Some(near) => format!("kind {kind:?} is not known; did you mean {near}?"),
            None => format!("kind {kind:?} is not served by this version; it knows {}", kinds()),
        });
    }
    if let Some(near) = nearest(group, [api::GROUP].into_iter()) {
        return mistake(format!(
            "{kind}: apiVersion {version:?} is not known; did you mean {near}/{}?",
            api::VERSION
        ));
    }
    let name = object.get("metadata").and_then(|metadata| text(metadata, "name")).unwrap_or("without a name");
    Err(Document::Foreign(format!("{kind} {name} ({version}) is not read by chathooks")))
}

fn kinds() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}

fn name_of(kind: Kind, metadata: &Map<String, Value>) -> Result<String, String> {
    let kind = kind.name();
    match metadata.get("name") {
        Some(Value::String(name)) if is_dns_name(name, 253) => Ok(name.clone()),
        Some(Value::String(name)) => Err(format!(
            "{kind}: metadata.name {name:?} is not a name: at most 253 lower-case letters, digits, '-' and '.', \
             beginning and ending with a letter or digit"
        )),
        Some(Value::Null) | None => Err(format!("{kind}: metadata.name is missing")),
        Some(_) => Err(format!("{kind}: metadata.name must be text; put it in quotes")),
    }
}

fn namespace_of(kind: Kind, namespace: &Value) -> Result<String, String> {
    let kind = kind.name();
    match namespace {
        Value::String(name) if is_dns_name(name, 63) && !name.contains('.') => Ok(name.clone()),
        Value::String(name) => Err(format!(
            "{kind}: metadata.namespace {name:?} is not a name: at most 63 lower-case letters, digits and '-', \
             beginning and ending with a letter or digit"
        )),
        _ => Err(format!("{kind}: metadata.namespace must be text; put it in quotes, or leave it out")),
    }
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
    let prefix = if field == "labels" || field == "annotations" { "metadata." } else { "" };
    match object.get(field) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(entries)) => entries
            .iter()
            .filter(|(_, value)| !value.is_string())
            .map(|(key, _)| {
                problem(format!("{prefix}{field}.{key}"), "this value must be text; put it in quotes")
            })
            .collect(),
        Some(_) => vec![problem(format!("{prefix}{field}"), "this must be a map of names to text")],
    }
}

/// The sentence about a field that is not known.
pub(super) fn unknown_field<'a>(field: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(field, known.clone()) {
        Some(near) => format!("this field is not known; did you mean {near}?"),
        None => format!("this field is not known here; known are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Value::as_str)
}

/// The known word that was probably meant.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this two words have little in common.
    const SIMILAR: f64 = 0.84;
    known
        .map(|known| (known, strsim::jaro_winkler(&word.to_lowercase(), &known.to_lowercase())))
        .filter(|(_, similarity)| *similarity >= SIMILAR)
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(known, _)| known)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sentence(object: Value) -> String {
        match read(object) {
            Document::Mistake(sentence) | Document::Foreign(sentence) => sentence,
            Document::Manifest(manifest) => manifest
                .problems
                .iter()
                .map(|p| format!("{}: {}", p.field, p.detail))
                .collect::<Vec<_>>()
                .join("; "),
        }
    }

    #[test]
    fn the_namespace_is_filled_in_and_what_servers_write_is_left_out() {
        let Document::Manifest(manifest) = read(json!({
            "apiVersion": "chathooks.dev/v1alpha1", "kind": "WebhookSubscription",
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "managedFields": [], "generation": 3},
            "spec": {"suspend": true}, "status": {"observedGeneration": 3},
        })) else {
            panic!("this is a manifest");
        };
        assert_eq!((manifest.kind, manifest.namespace.as_str()), (Kind::WebhookSubscription, "default"));
        assert_eq!(
            manifest.object,
            json!({
                "apiVersion": "chathooks.dev/v1alpha1", "kind": "WebhookSubscription",
                "metadata": {"name": "a", "namespace": "default", "generation": 3},
                "spec": {"suspend": true},
            })
        );
        assert_eq!(manifest.problems, []);
    }

    #[test]
    fn mistakes_are_told_with_what_to_write_instead() {
        let ours = "chathooks.dev/v1alpha1";
        for (object, expected) in [
            (json!([1]), "this is no object: a manifest is a map with apiVersion, kind, metadata and spec"),
            (json!({"a": 1}), "this is no Kubernetes object: it has neither apiVersion nor kind"),
            (
                json!({"apiVersion": ours}),
                "kind is missing; write one of ChatInstance, WebhookSubscription, Secret, ConfigMap",
            ),
            (json!({"kind": "Secret"}), "Secret: apiVersion is missing; write apiVersion: v1"),
            (
                json!({"apiVersion": "chathook.dev/v1alpha1", "kind": "ChatInstances"}),
                "ChatInstances: apiVersion \"chathook.dev/v1alpha1\" is not known; did you mean chathooks.dev/v1alpha1?",
            ),
            (
                json!({"apiVersion": "chathooks.dev/v1", "kind": "ChatInstance"}),
                "ChatInstance: apiVersion \"chathooks.dev/v1\" is not known; write apiVersion: chathooks.dev/v1alpha1",
            ),
            (
                json!({"apiVersion": ours, "kind": "WebhookSubscripton"}),
                "kind \"WebhookSubscripton\" is not known; did you mean WebhookSubscription?",
            ),
            (
                json!({"apiVersion": ours, "kind": "EventFunction"}),
                "kind \"EventFunction\" is not served by this version; it knows ChatInstance, WebhookSubscription, Secret, ConfigMap",
            ),
            (json!({"apiVersion": ours, "kind": "ChatInstance"}), "ChatInstance: metadata.name is missing"),
            (
                json!({"apiVersion": ours, "kind": "ChatInstance", "metadata": {"name": 12}}),
                "ChatInstance: metadata.name must be text; put it in quotes",
            ),
            (
                json!({"apiVersion": ours, "kind": "ChatInstance", "metadata": {"name": "../etc"}}),
                "ChatInstance: metadata.name \"../etc\" is not a name: at most 253 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit",
            ),
            (
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namesapce": "b"}}),
                "metadata.namesapce: this field is not known; did you mean namespace?",
            ),
            (
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "labels": {"b": 1}}}),
                "metadata.labels.b: this value must be text; put it in quotes",
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

//! What the API server does with a manifest, offline: structural schema, defaults, CEL rules.
//!
//! Pure. It reads the same CRDs that `chathooks crds` prints, so the two cannot differ. What the API server says
//! with its own words is said here in a sentence that tells what to write instead. Sentences name fields, values that
//! the schema knows, numbers and booleans, and never a string from the manifest: it might be a secret.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use kube_cel::{CompiledSchema, compile_schema};
use serde_json::Value;

use crate::api;

mod bounds;
mod defaults;
mod fields;
mod metadata;
mod path;
mod recognise;
mod rules;
mod schema;
mod suggest;
mod types;

pub use recognise::{Recognised, recognise};
pub use suggest::nearest;

/// Something wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path as people write it: `spec.delivery.retry.schedule[2]`.
    pub field: String,
    /// A sentence that says what to write instead.
    pub detail: String,
}

impl Problem {
    fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}

/// The schemas of our kinds, rules compiled, by kind.
static KINDS: LazyLock<BTreeMap<String, Kind>> = LazyLock::new(|| {
    let kinds = api::crds::all().into_iter().map(|crd| crd.spec.names.kind);
    kinds.filter_map(|kind| api::crds::schema(&kind).map(|schema| (kind, Kind::new(schema)))).collect()
});

/// A kind's schema as admission uses it.
struct Kind {
    /// As in the CRD, without `status`.
    schema: Value,
    rules: CompiledSchema,
}

impl Kind {
    fn new(mut schema: Value) -> Self {
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove("status");
        }
        let rules = compile_schema(&schema);
        Self { schema, rules }
    }
}

/// Checks one object of a kind of ours and fills in defaults, as the API server would.
///
/// `object` is the whole manifest. `status` and what servers write into `metadata` (`uid`, `managedFields` …) are
/// ignored and, but for the generation, do not come back.
pub fn admit(kind: &str, object: &Value) -> Result<Value, Vec<Problem>> {
    match KINDS.get(kind) {
        Some(kind) => admit_with(kind, object),
        None => Err(vec![Problem::new("kind", recognise::unknown_kind(kind))]),
    }
}

/// What is wrong with the `metadata` of an object of any kind.
pub fn metadata_problems(object: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    metadata::check(object.get("metadata"), &mut problems);
    problems
}

fn admit_with(kind: &Kind, object: &Value) -> Result<Value, Vec<Problem>> {
    let Value::Object(object) = object else {
        return Err(vec![Problem::new(
            "",
            "a manifest is a map with `apiVersion`, `kind`, `metadata` and `spec`",
        )]);
    };
    let mut body = object.clone();
    for ignored in ["apiVersion", "kind", "status"] {
        body.remove(ignored);
    }
    let mut problems = Vec::new();
    let metadata = metadata::check(body.remove("metadata").as_ref(), &mut problems);
    let mut body = Value::Object(body);
    defaults::fill(&kind.schema, &mut body);
    schema::check(&kind.schema, &body, &mut problems);
    if problems.is_empty() {
        rules::check(&kind.rules, &body, &mut problems);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if let Value::Object(body) = &mut body {
        body.insert("metadata".to_owned(), metadata);
        for name in ["apiVersion", "kind"] {
            body.extend(object.get(name).map(|value| (name.to_owned(), value.clone())));
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests;

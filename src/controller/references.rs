//! What an object's spec refers to, found by the shape that every reference has, so that a new field is never forgotten.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::secrets::{Reference, Source};

/// Every Secret and ConfigMap that a spec names in `secretRef`, `secretRefs` or `configMapRef`.
pub fn references(namespace: &str, spec: &impl Serialize) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    // A spec that came as JSON can be written as JSON.
    if let Ok(value) = serde_json::to_value(spec) {
        walk(namespace, &value, &mut found);
    }
    found
}

fn walk(namespace: &str, value: &Value, found: &mut BTreeSet<Reference>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let source = match field.as_str() {
                    "secretRef" | "secretRefs" => Some(Source::Secret),
                    "configMapRef" => Some(Source::ConfigMap),
                    _ => None,
                };
                match (source, value) {
                    (Some(source), Value::Array(items)) => {
                        found.extend(items.iter().filter_map(|item| named(source, namespace, item)));
                    }
                    (Some(source), item) => found.extend(named(source, namespace, item)),
                    (None, value) => walk(namespace, value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(namespace, item, found)),
        _ => {}
    }
}

fn named(source: Source, namespace: &str, item: &Value) -> Option<Reference> {
    Some((source, namespace.to_owned(), item.get("name")?.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_found_wherever_they_stand() {
        let spec = json!({
            "credentials": {"apiKey": {"secretRef": {"name": "admin", "key": "k"}}},
            "tls": {"caFrom": {"configMapRef": {"name": "ca", "key": "ca.crt"}}},
            "signing": {"secretRefs": [{"name": "a", "key": "k"}, {"name": "b", "key": "k"}]},
            "headers": [{"name": "X", "valueFrom": {"secretRef": {"name": "c", "key": "k"}}}],
            "instanceRef": {"name": "team"},
        });
        let names: Vec<String> = references("ai", &spec).into_iter().map(|(_, _, name)| name).collect();
        assert_eq!(names, ["a", "admin", "b", "c", "ca"]);
    }
}

//! Holds an object to the CRD's structural schema.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>

use serde_json::{Map, Value};

use super::fields::Places;
use super::{Problem, bounds, fields, path, suggest, types};

/// Checks the object (without `metadata` and type) against its kind's schema.
pub(super) fn check(schema: &Value, object: &Value, problems: &mut Vec<Problem>) {
    let mut walk = Walk { places: Some(Places::of(schema)), problems };
    walk.value(schema, object, "");
}

struct Walk<'a> {
    /// `None` within a branch of `oneOf` and the like: it lists the fields it speaks about, not all that there are.
    places: Option<Places>,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn found(&mut self, field: &str, detail: impl Into<String>) {
        self.problems.push(Problem::new(field, detail));
    }

    fn value(&mut self, schema: &Value, value: &Value, at: &str) {
        if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
            return;
        }
        if let Some(problem) = types::check(schema, value, at) {
            return self.found(at, problem);
        }
        for problem in bounds::check(schema, value) {
            self.found(at, problem);
        }
        let mut misspelt = false;
        match value {
            Value::Object(object) => misspelt = self.object(schema, object, at),
            Value::Array(items) => self.list(schema, items, at),
            _ => {}
        }
        self.alternatives(schema, value, at, misspelt);
    }

    /// Says whether there are fields that nobody knows. What they stand for is not told to be missing as well.
    fn object(&mut self, schema: &Value, object: &Map<String, Value>, at: &str) -> bool {
        let properties = fields::properties(schema);
        let mut unknown = Vec::new();
        for (name, value) in object {
            let here = path::member(at, name);
            if let Some(property) = properties.and_then(|properties| properties.get(name)) {
                self.value(property, value, &here);
            } else if let Some(values) =
                schema.get("additionalProperties").filter(|values| values.is_object())
            {
                self.value(values, value, &here);
            } else if let Some(places) =
                self.places.as_ref().filter(|_| properties.is_some() && !keeps_unknown(schema))
            {
                let sentence = places.unknown(schema, name, at);
                self.found(&here, sentence);
                unknown.push(name.as_str());
            }
        }
        for name in strings(schema.get("required")) {
            let misspelt = || unknown.iter().any(|other| suggest::nearest(other, [name]).is_some());
            if !object.contains_key(name) && !misspelt() {
                self.found(&path::member(at, name), fields::missing(properties.and_then(|p| p.get(name))));
            }
        }
        !unknown.is_empty()
    }

    fn list(&mut self, schema: &Value, items: &[Value], at: &str) {
        if let Some(schema) = schema.get("items") {
            for (place, item) in items.iter().enumerate() {
                self.value(schema, item, &path::element(at, place));
            }
        }
        let keys: Vec<&str> = strings(schema.get("x-kubernetes-list-map-keys")).collect();
        let is_set = schema.get("x-kubernetes-list-type").is_some_and(|kind| kind == "set");
        if keys.is_empty() && !is_set {
            return;
        }
        let identity = |item: &Value| -> Vec<Value> {
            if is_set {
                vec![item.clone()]
            } else {
                keys.iter().map(|key| item.get(*key).cloned().unwrap_or_default()).collect()
            }
        };
        let known: Vec<Vec<Value>> = items.iter().map(identity).collect();
        for (place, item) in known.iter().enumerate() {
            if let Some(first) = known.iter().take(place).position(|other| other == item) {
                let what =
                    if is_set { "value".to_owned() } else { suggest::list(keys.iter().copied(), "and") };
                self.found(
                    &path::element(at, place),
                    format!("the same {what} stands at [{first}] too; write it once"),
                );
            }
        }
    }

    /// `allOf`, `anyOf`, `oneOf` and `not`. A choice that is not made is not told where a field is `misspelt`.
    fn alternatives(&mut self, schema: &Value, value: &Value, at: &str, misspelt: bool) {
        for branch in branches(schema, "allOf") {
            self.value(branch, value, at);
        }
        let all: Vec<&Value> = branches(schema, "oneOf").collect();
        let fitting = all.iter().filter(|branch| fits(branch, value)).count();
        if !all.is_empty() && fitting != 1 && !(misspelt && fitting == 0) {
            let sentence = fields::one_of(&all, value).unwrap_or_else(|| {
                format!(
                    "fits {fitting} of the {} forms that this field may have, and must fit exactly one",
                    all.len()
                )
            });
            self.found(at, sentence);
        }
        let any: Vec<&Value> = branches(schema, "anyOf").collect();
        if !any.is_empty() && !misspelt && !any.iter().any(|branch| fits(branch, value)) {
            let sentence = fields::any_of(&any).unwrap_or_else(|| {
                "fits none of the forms that this field may have; see its description".to_owned()
            });
            self.found(at, sentence);
        }
        if schema.get("not").is_some_and(|branch| fits(branch, value)) {
            self.found(at, "has a form that this field may not have; see its description");
        }
    }
}

/// Whether a value fits a branch.
fn fits(branch: &Value, value: &Value) -> bool {
    let mut problems = Vec::new();
    Walk { places: None, problems: &mut problems }.value(branch, value, "");
    problems.is_empty()
}

fn branches<'a>(schema: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    schema.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn keeps_unknown(schema: &Value) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
        || schema.get("additionalProperties") == Some(&Value::Bool(true))
}

/// The strings of a list in a schema.
pub(super) fn strings(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

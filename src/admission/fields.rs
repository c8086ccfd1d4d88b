//! Sentences about fields: unknown, missing, too many of an exclusive choice.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::schema::strings;
use super::{path, suggest};

/// Most places of one field name that are worth a hint; `name` stands everywhere.
const MAX_PLACES: usize = 2;

/// Most field names that a sentence lists.
const MAX_LISTED: usize = 12;

pub(super) fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// Where each field name stands in a kind's schema.
#[derive(Default)]
pub(super) struct Places(BTreeMap<String, Vec<String>>);

impl Places {
    pub(super) fn of(schema: &Value) -> Self {
        let mut places = Self::default();
        places.collect(schema, "");
        places
    }

    fn collect(&mut self, schema: &Value, at: &str) {
        for (name, property) in properties(schema).into_iter().flatten() {
            let here = path::member(at, name);
            self.collect(property, &here);
            self.0.entry(name.clone()).or_default().push(here);
        }
        if let Some(items) = schema.get("items") {
            self.collect(items, &format!("{at}[]"));
        }
    }

    /// The sentence about a field that the schema does not know.
    pub(super) fn unknown(&self, schema: &Value, name: &str, at: &str) -> String {
        let known: Vec<&str> =
            properties(schema).into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let parent = if at.is_empty() { "at the top of a manifest".to_owned() } else { format!("in `{at}`") };
        let unknown = format!("there is no field `{name}` {parent}");
        let elsewhere = |name: &str| {
            let places = self.0.get(name).filter(|places| places.len() <= MAX_PLACES)?;
            Some(suggest::list(places.iter().map(String::as_str), "or"))
        };
        // An exact name in another place says more than a similar one here.
        if let Some(places) = elsewhere(name) {
            return format!("{unknown}; it belongs to {places}");
        }
        if let Some(near) = suggest::nearest(name, known.iter().copied()) {
            return format!("{unknown}; did you mean `{near}`?");
        }
        let far = suggest::nearest(name, self.0.keys().map(String::as_str));
        if let Some(places) = far.and_then(elsewhere) {
            return format!("{unknown}; did you mean {places}?");
        }
        if known.len() <= MAX_LISTED {
            return format!(
                "{unknown}; there {} {}",
                if known.len() == 1 { "is" } else { "are" },
                suggest::list(known, "and")
            );
        }
        format!("{unknown}; remove it")
    }
}

/// The sentence about a required field, with what its description says of it.
pub(super) fn missing(property: Option<&Value>) -> String {
    let description = property.and_then(|p| p.get("description")).and_then(Value::as_str).unwrap_or_default();
    let description = description.split_whitespace().collect::<Vec<_>>().join(" ");
    let first =
        description.split_once(". ").map_or(description.as_str(), |(first, _)| first).trim_end_matches('.');
    if first.is_empty() {
        "is missing; write it".to_owned()
    } else {
        format!("is missing; write it: {first}")
    }
}

/// The names of branches that each ask for one field: `oneOf: [{required: [url]}, {required: [urlFrom]}]`.
fn names<'a>(branches: &[&'a Value]) -> Option<Vec<&'a str>> {
    branches
        .iter()
        .map(|branch| {
            let mut names = strings(branch.get("required"));
            match (names.next(), names.next(), branch.as_object().map(Map::len)) {
                (Some(name), None, Some(1)) => Some(name),
                _ => None,
            }
        })
        .collect()
}

/// The sentence about a choice of which not exactly one is made.
pub(super) fn one_of(branches: &[&Value], value: &Value) -> Option<String> {
    let names = names(branches)?;
    let present: Vec<&str> = names.iter().copied().filter(|name| value.get(name).is_some()).collect();
    Some(match (names.as_slice(), present.as_slice()) {
        ([only], _) => format!("needs `{only}`; write it"),
        (_, []) => format!("needs exactly one of {}; write one", suggest::list(names, "and")),
        (_, present) => {
            let both = suggest::list(present.iter().copied(), "and");
            format!("has {both}, of which only one may stand there; remove the other")
        }
    })
}

/// The sentence about a choice of which none is made.
pub(super) fn any_of(branches: &[&Value]) -> Option<String> {
    Some(format!("needs at least one of {}; write one", suggest::list(names(branches)?, "and")))
}

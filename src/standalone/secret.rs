//! What Secret and ConfigMap manifests say.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::manifest::not_text;
use crate::admission::{self, Problem};

/// Largest Secret or ConfigMap in bytes, as the API server has it.
pub const MAX_BYTES: usize = 1024 * 1024;

const SECRET_FIELDS: [&str; 7] =
    ["apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData"];
const CONFIG_MAP_FIELDS: [&str; 6] = ["apiVersion", "kind", "metadata", "immutable", "data", "binaryData"];

/// Decoded values of a Secret; `stringData` wins over `data`.
pub fn secret(object: &Value) -> Result<BTreeMap<String, Vec<u8>>, Vec<Problem>> {
    let (object, mut problems) = fields(object, &SECRET_FIELDS);
    let mut values = decode(object, "data", &mut problems);
    problems.extend(not_text(object, "stringData"));
    values.extend(entries(object, "stringData").map(|(key, text)| (key.clone(), text.as_bytes().to_vec())));
    check_keys(&values, &mut problems);
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

/// Values of a ConfigMap.
pub fn config_map(object: &Value) -> Result<BTreeMap<String, Vec<u8>>, Vec<Problem>> {
    let (object, mut problems) = fields(object, &CONFIG_MAP_FIELDS);
    let mut values = decode(object, "binaryData", &mut problems);
    problems.extend(not_text(object, "data"));
    values.extend(entries(object, "data").map(|(key, text)| (key.clone(), text.as_bytes().to_vec())));
    check_keys(&values, &mut problems);
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

fn fields<'a>(object: &'a Value, known: &[&'static str]) -> (&'a Map<String, Value>, Vec<Problem>) {
    static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    let mut problems = admission::metadata_problems(object);
    let object = object.as_object().unwrap_or(&EMPTY);
    for field in object.keys().filter(|field| !known.contains(&field.as_str())) {
        let near = admission::nearest(field, known.iter().copied());
        let hint = near.map_or_else(|| "remove it".to_owned(), |near| format!("did you mean `{near}`?"));
        problems.push(Problem { field: field.clone(), detail: format!("there is no such field; {hint}") });
    }
    (object, problems)
}

fn entries<'a>(object: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    let entries = object.get(field).and_then(Value::as_object);
    entries.into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?)))
}

fn decode(
    object: &Map<String, Value>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Vec<u8>> {
    problems.extend(not_text(object, field));
    let plain = if field == "data" { "stringData" } else { "data" };
    let mut values = BTreeMap::new();
    for (key, text) in entries(object, field) {
        // Go's decoder, and so the API server, skips line ends.
        let compact: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
        match STANDARD.decode(compact) {
            Ok(bytes) => drop(values.insert(key.clone(), bytes)),
            Err(_) => problems.push(Problem {
                field: format!("{field}.{key}"),
                detail: format!("is not base64; write plain text under `{plain}` instead"),
            }),
        }
    }
    values
}

fn check_keys(values: &BTreeMap<String, Vec<u8>>, problems: &mut Vec<Problem>) {
    for key in values.keys().filter(|key| !is_key(key)) {
        problems.push(Problem {
            field: format!("data.{key}"),
            detail: "is no key that Kubernetes takes; write at most 253 letters, digits, `-`, `_` and `.`"
                .to_owned(),
        });
    }
    if values.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_BYTES {
        problems.push(Problem {
            field: "data".to_owned(),
            detail: "is larger than 1 MiB; split it over several objects".to_owned(),
        });
    }
}

/// Whether Kubernetes takes it as a key of a Secret; such a key is also a safe file name.
pub fn is_key(key: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    (1..=253).contains(&key.len()) && key.bytes().all(plain) && !key.starts_with("..") && key != "."
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(mut fields: Value) -> Value {
        fields["metadata"] = json!({"name": "a"});
        fields
    }

    #[test]
    fn string_data_wins_and_base64_may_be_wrapped() {
        let values = secret(&object(json!({
            "data": {"a": "b2xk", "b": "b2\nxk\n"}, "stringData": {"a": "new"}, "type": "Opaque",
        })))
        .unwrap();
        assert_eq!(values["a"], b"new");
        assert_eq!(values["b"], b"old");
        assert_eq!(config_map(&object(json!({"data": {"a": "text"}}))).unwrap()["a"], b"text");
    }

    #[test]
    fn mistakes_name_the_field_and_never_the_value() {
        let problems = |fields: Value| -> Vec<String> {
            let problems = secret(&object(fields)).unwrap_err();
            problems.iter().map(|p| format!("{}: {}", p.field, p.detail)).collect()
        };
        assert_eq!(
            problems(json!({"data": {"token": "hunter2!"}})),
            ["data.token: is not base64; write plain text under `stringData` instead"]
        );
        assert_eq!(
            problems(json!({"stringdata": {"token": "a"}})),
            ["stringdata: there is no such field; did you mean `stringData`?"]
        );
        assert_eq!(
            problems(json!({"stringData": {"token": 12, "../x": "a"}})),
            [
                "stringData.token: expected a string: put it in quotes",
                "data.../x: is no key that Kubernetes takes; write at most 253 letters, digits, `-`, `_` and `.`",
            ]
        );
    }
}

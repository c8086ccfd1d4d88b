//! Types: whether a value is what the schema asks for, and what to write if it is not.

use serde_json::Value;

use super::schema::strings;
use super::{fields, suggest};

/// The sentence about a value of another type; `at` is its path.
pub(super) fn check(schema: &Value, value: &Value, at: &str) -> Option<String> {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        let fits = value.is_string() || value.is_i64() || value.is_u64();
        return (!fits).then(|| format!("expected a whole number or a string, found {}", found(value)));
    }
    let wanted = schema.get("type").and_then(Value::as_str)?;
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => true,
    };
    if fits {
        return None;
    }
    let found = found(value);
    Some(match (wanted, value) {
        (_, Value::Null) => format!("expected {}, found nothing: write it, or remove the line", name(wanted)),
        ("string", Value::Number(_) | Value::Bool(_)) if schema.get("enum").is_some() => {
            format!("expected {}, found {found}", suggest::list(strings(schema.get("enum")), "or"))
        }
        ("string", Value::Number(_) | Value::Bool(_)) => match form(schema) {
            Some(form) => format!("expected a string, found {found}: {form}"),
            None => format!("expected a string, found {found}: put it in quotes"),
        },
        ("string", Value::Array(_)) => {
            format!("expected a string, found {found}: write one value, without `-` or `[…]`")
        }
        ("integer", Value::Number(_)) => {
            format!("expected a whole number, found {found}: write it without a fraction")
        }
        ("integer" | "number", Value::String(text)) if text.trim().parse::<f64>().is_ok() => {
            format!("expected {}, found a string: remove the quotes", name(wanted))
        }
        ("boolean", _) => {
            format!("expected true or false, found {found}: write `true` or `false`, without quotes")
        }
        ("array", _) => {
            format!("expected a list, found {found}: write each entry behind `- `, or the list as `[…]`")
        }
        ("object", _) => format!("expected a map, found {found}{}", example(schema, at)),
        _ => format!("expected {}, found {found}", name(wanted)),
    })
}

/// What the schema's own rule says to write, if it does: quotes alone make no duration of a number.
fn form(schema: &Value) -> Option<&str> {
    let rules = schema.get("x-kubernetes-validations")?.as_array()?;
    rules
        .iter()
        .filter_map(|rule| rule.get("message")?.as_str())
        .find(|message| message.starts_with("write "))
}

/// With an article. Strings are not repeated: one might be a secret.
fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the value {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

fn name(wanted: &str) -> &'static str {
    match wanted {
        "object" => "a map",
        "array" => "a list",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        _ => "a string",
    }
}

/// `: write `instanceRef: { name: … }`` for a map that needs certain fields, or else has few.
fn example(schema: &Value, at: &str) -> String {
    let field = at.rsplit(['.', '[']).next().unwrap_or_default().trim_end_matches(']');
    let required: Vec<&str> = strings(schema.get("required")).collect();
    let known = fields::properties(schema);
    let names: Vec<&str> = if required.is_empty() {
        known.into_iter().flatten().map(|(name, _)| name.as_str()).take(1).collect()
    } else {
        required
    };
    if names.is_empty() {
        return String::new();
    }
    let members: Vec<String> = names.iter().map(|name| format!("{name}: …")).collect();
    let members = members.join(", ");
    if field.is_empty() || field.bytes().all(|b| b.is_ascii_digit()) {
        format!(": write `{{ {members} }}`")
    } else {
        format!(": write `{field}: {{ {members} }}`")
    }
}

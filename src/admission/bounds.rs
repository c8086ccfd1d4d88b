//! Bounds of a value that has the right type: enums, lengths, ranges, patterns, formats.

use regex::Regex;
use serde_json::Value;

use super::schema::strings;
use super::suggest;

/// Sentences about what is out of bounds. The text of the node's first CEL rule, where there is one, replaces that of
/// a pattern: it is written for people.
pub(super) fn check(schema: &Value, value: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    problems.extend(enumeration(schema, value));
    match value {
        Value::String(text) => {
            let length = text.chars().count() as u64;
            problems.extend(size(schema, length, "Length", "character"));
            problems.extend(pattern(schema, text));
            problems.extend(format_of(schema, text));
        }
        Value::Array(items) => problems.extend(size(schema, items.len() as u64, "Items", "entry")),
        Value::Object(object) => problems.extend(size(schema, object.len() as u64, "Properties", "entry")),
        Value::Number(number) => problems.extend(number.as_f64().and_then(|number| range(schema, number))),
        _ => {}
    }
    problems
}

fn enumeration(schema: &Value, value: &Value) -> Option<String> {
    let allowed = schema.get("enum").and_then(Value::as_array)?;
    if allowed.contains(value) {
        return None;
    }
    let names: Vec<&str> = strings(schema.get("enum")).collect();
    let near = value.as_str().and_then(|given| suggest::nearest(given, names.iter().copied()));
    let list = suggest::list(names, "or");
    Some(match near {
        Some(near) if allowed.len() > 1 => format!("expected {list}; did you mean `{near}`?"),
        Some(near) => format!("expected `{near}`, spelled exactly so"),
        None => format!("expected {list}"),
    })
}

fn size(schema: &Value, size: u64, of: &str, unit: &str) -> Option<String> {
    let bound = |name: &str| schema.get(format!("{name}{of}")).and_then(Value::as_u64);
    let units = |count: u64| match (count, unit) {
        (1, _) => format!("1 {unit}"),
        (_, "entry") => format!("{count} entries"),
        _ => format!("{count} {unit}s"),
    };
    if let Some(least) = bound("min").filter(|least| size < *least) {
        return Some(match size {
            0 => format!("is empty; write at least {}", units(least)),
            _ => format!("has {}; write at least {}", units(size), units(least)),
        });
    }
    let most = bound("max").filter(|most| size > *most)?;
    Some(format!("has {}; write at most {}", units(size), units(most)))
}

fn range(schema: &Value, number: f64) -> Option<String> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let exclusive = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    let (least, most) = (bound("minimum"), bound("maximum"));
    let below =
        least.is_some_and(|least| number < least || (exclusive("exclusiveMinimum") && number <= least));
    let above = most.is_some_and(|most| number > most || (exclusive("exclusiveMaximum") && number >= most));
    if below || above {
        return Some(match (least, most) {
            (Some(least), Some(most)) => {
                format!("{number} is out of range; write a number from {least} to {most}")
            }
            (Some(least), None) => format!("{number} is too small; write a number from {least} on"),
            (_, most) => format!("{number} is too large; write a number up to {}", most.unwrap_or_default()),
        });
    }
    if let Some(step) = bound("multipleOf").filter(|step| *step > 0.0 && (number / step).fract() != 0.0) {
        return Some(format!("{number} is not a multiple of {step}"));
    }
    let (low, high) = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _ => return None,
    };
    (!(low..=high).contains(&number))
        .then(|| format!("{number} is out of range; write a number from {low} to {high}"))
}

fn pattern(schema: &Value, text: &str) -> Option<String> {
    let pattern = schema.get("pattern").and_then(Value::as_str)?;
    // A pattern that cannot be compiled is a mistake in the CRD, which its own test finds.
    if Regex::new(pattern).is_ok_and(|regex| regex.is_match(text)) {
        return None;
    }
    let rule = schema.pointer("/x-kubernetes-validations/0/message").and_then(Value::as_str);
    Some(rule.map_or_else(
        || format!("does not have the form that is asked for: it must match `{pattern}`"),
        str::to_owned,
    ))
}

fn format_of(schema: &Value, text: &str) -> Option<String> {
    match schema.get("format").and_then(Value::as_str) {
        Some("date-time") if text.parse::<jiff::Timestamp>().is_err() => {
            Some("expected a point in time as RFC 3339, such as `2026-11-21T09:30:00Z`".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_what_to_write() {
        let one = |schema: Value, value: Value| check(&schema, &value).join(" | ");
        assert_eq!(
            one(json!({"enum": ["POST", "PUT"]}), json!("post")),
            "expected `POST` or `PUT`; did you mean `POST`?"
        );
        assert_eq!(
            one(json!({"enum": ["Envelope"]}), json!("envelope")),
            "expected `Envelope`, spelled exactly so"
        );
        assert_eq!(one(json!({"enum": ["POST", "PUT"]}), json!("DELETE")), "expected `POST` or `PUT`");
        assert_eq!(one(json!({"minLength": 1}), json!("")), "is empty; write at least 1 character");
        assert_eq!(
            one(json!({"maxLength": 2}), json!("äöü")),
            "has 3 characters; write at most 2 characters"
        );
        assert_eq!(one(json!({"maxLength": 3}), json!("äöü")), "");
        assert_eq!(one(json!({"minItems": 1}), json!([])), "is empty; write at least 1 entry");
        assert_eq!(one(json!({"maxItems": 1}), json!([1, 2])), "has 2 entries; write at most 1 entry");
        assert_eq!(
            one(json!({"minimum": 1.0, "maximum": 1000.0}), json!(0)),
            "0 is out of range; write a number from 1 to 1000"
        );
        assert_eq!(one(json!({"minimum": 1.0}), json!(0)), "0 is too small; write a number from 1 on");
        assert_eq!(
            one(json!({"maximum": 5, "exclusiveMaximum": true}), json!(5)),
            "5 is too large; write a number up to 5"
        );
        assert_eq!(one(json!({"multipleOf": 2}), json!(3)), "3 is not a multiple of 2");
        assert!(one(json!({"format": "int32"}), json!(3_000_000_000_u64)).contains("out of range"));
        assert_eq!(
            one(json!({"pattern": "^a$"}), json!("b")),
            "does not have the form that is asked for: it must match `^a$`"
        );
        assert_eq!(
            one(
                json!({"pattern": "^a$", "x-kubernetes-validations": [{"message": "write an a"}]}),
                json!("b")
            ),
            "write an a"
        );
        assert!(one(json!({"format": "date-time"}), json!("today")).contains("RFC 3339"));
    }
}

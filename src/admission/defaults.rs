//! What the API server changes in an object before it validates it.

use serde_json::{Map, Value};

/// Drops nulls of fields that may not be null, fills in defaults (within filled-in objects too), and turns `5.0` into
/// `5` where an integer is asked for.
///
/// Defaults fill what is missing in an object that is there; they never make a parent.
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting-and-nullable>
pub(super) fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(object) => fill_object(schema, object),
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    fill(schema, item);
                }
            }
        }
        Value::Number(number) if schema.get("type") == Some(&Value::from("integer")) => {
            if let Some(whole) =
                number.as_f64().filter(|n| number.is_f64() && n.fract() == 0.0 && n.abs() < 9e15)
            {
                *value = Value::from(whole as i64);
            }
        }
        _ => {}
    }
}

fn fill_object(schema: &Value, object: &mut Map<String, Value>) {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    for (name, property) in properties {
        if object.get(name).is_some_and(Value::is_null)
            && property.get("nullable") != Some(&Value::Bool(true))
        {
            object.remove(name);
        }
        if let Some(default) = property.get("default").filter(|_| !object.contains_key(name)) {
            object.insert(name.clone(), default.clone());
        }
        if let Some(value) = object.get_mut(name) {
            fill(property, value);
        }
    }
    if let Some(schema) = schema.get("additionalProperties").filter(|schema| schema.is_object()) {
        object
            .iter_mut()
            .filter(|(name, _)| !properties.contains_key(*name))
            .for_each(|(_, value)| fill(schema, value));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fills_as_the_api_server_does() {
        let schema = json!({"type": "object", "properties": {
            "retry": {"type": "object", "default": {}, "properties": {
                "jitter": {"type": "integer", "default": 20}, "max": {"type": "integer"}}},
            "parent": {"type": "object", "properties": {"child": {"type": "string", "default": "x"}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string", "default": "b"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"n": {"default": 1}}}},
            "plain": {"type": "string"}, "maybe": {"type": "string", "nullable": true}
        }});
        let filled = |mut value: Value| {
            fill(&schema, &mut value);
            value
        };
        assert_eq!(filled(json!({})), json!({"retry": {"jitter": 20}}));
        assert_eq!(
            filled(
                json!({"retry": {"jitter": 5.0, "max": null}, "parent": {}, "list": [{}, {"a": "c"}], "map": {"k": {}}})
            ),
            json!({"retry": {"jitter": 5}, "parent": {"child": "x"}, "list": [{"a": "b"}, {"a": "c"}], "map": {"k": {"n": 1}}})
        );
        assert_eq!(
            filled(json!({"retry": null, "plain": null, "maybe": null})),
            json!({"retry": {"jitter": 20}, "maybe": null})
        );
        assert_eq!(filled(json!({"retry": {"jitter": 5.5}})), json!({"retry": {"jitter": 5.5}}));
    }
}

//! `docs/api.md`: every field of every kind, from the schemas that are installed.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::{HEADER, cell, code};

/// The whole page.
pub fn print(definitions: &[CustomResourceDefinition]) -> String {
    let mut page = format!(
        "{HEADER}
# API reference

Every field of the kinds of chathooks, as the API server, `chathooks check` and `chathooks standalone` know them;
`kubectl explain` says the same. What a schema cannot say is in the [reference](reference.md); what the conditions mean is
in [conditions](conditions.md).
"
    );
    for definition in definitions {
        kind(&mut page, definition);
    }
    page
}

fn kind(page: &mut String, definition: &CustomResourceDefinition) {
    let spec = &definition.spec;
    let Some((version, schema)) = spec
        .versions
        .first()
        .and_then(|version| Some((version, version.schema.as_ref()?.open_api_v3_schema.as_ref()?)))
    else {
        return;
    };
    let short = spec.names.short_names.iter().flatten().map(|name| code(name)).collect::<Vec<_>>().join(", ");
    let _ = write!(
        page,
        "\n## {}\n\n{}\n\n`apiVersion: {}/{}`, `kubectl get {}`, in short {short}.\n",
        spec.names.kind,
        cell(schema.description.as_deref().unwrap_or_default()),
        spec.group,
        version.name,
        spec.names.plural,
    );
    rules(page, schema);
    for (name, part) in schema.properties.iter().flatten() {
        if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            section(page, &spec.names.kind, name, part);
        }
    }
}

/// A heading and a table for the plain fields of `spec` or `status`, then one for each field that has fields itself.
fn section(page: &mut String, kind: &str, name: &str, part: &JSONSchemaProps) {
    let _ =
        write!(page, "\n### {kind} {name}\n\n{}\n", cell(part.description.as_deref().unwrap_or_default()));
    rules(page, part);
    let (plain, nested): (Vec<_>, Vec<_>) =
        part.properties.iter().flatten().partition(|(_, field)| fields_of(field).is_none());
    let required = part.required.as_deref().unwrap_or_default();
    if !plain.is_empty() {
        table(page);
        for (field, schema) in plain {
            rows(page, &format!("{name}.{field}"), schema, required.contains(field));
        }
    }
    for (field, schema) in nested {
        let _ = write!(page, "\n#### {name}.{field}\n");
        table(page);
        rows(page, &format!("{name}.{field}"), schema, required.contains(field));
    }
}

fn table(page: &mut String) {
    page.push_str("\n| field | type | what |\n| --- | --- | --- |\n");
}

/// The rules of a whole object, below its heading.
fn rules(page: &mut String, schema: &JSONSchemaProps) {
    let sentences = sentences(schema);
    if !sentences.is_empty() {
        page.push_str(
            "\nWhere a rule of this object is broken, it is refused with one of these sentences:\n\n",
        );
        for sentence in sentences {
            let _ = writeln!(page, "- {}", cell(&sentence));
        }
    }
}

/// The row of one field, and of everything below it.
fn rows(page: &mut String, path: &str, schema: &JSONSchemaProps, required: bool) {
    let mut what = cell(schema.description.as_deref().unwrap_or_default());
    let mut facts = Vec::new();
    if required {
        facts.push("required".to_owned());
    }
    if let Some(default) = &schema.default {
        facts.push(format!("default {}", code(&default.0.to_string())));
    }
    facts.extend(bounds(schema));
    if !facts.is_empty() {
        let _ = write!(what, "<br>*{}*", facts.join("; "));
    }
    let refused = sentences(schema).into_iter().chain(items(schema).map(sentences).unwrap_or_default());
    for sentence in refused {
        let _ = write!(what, "<br>Otherwise: “{}”", cell(&sentence));
    }
    let _ = writeln!(page, "| {} | {} | {what} |", code(path), cell(&type_of(schema)));
    if let Some((suffix, fields)) = fields_of(schema) {
        let required = fields.required.as_deref().unwrap_or_default();
        for (name, field) in fields.properties.iter().flatten() {
            rows(page, &format!("{path}{suffix}.{name}"), field, required.contains(name));
        }
    }
}

/// What has fields here: the object itself, or the items of the list.
fn fields_of(schema: &JSONSchemaProps) -> Option<(&'static str, &JSONSchemaProps)> {
    let named =
        |schema: &JSONSchemaProps| schema.properties.as_ref().is_some_and(|fields| !fields.is_empty());
    if named(schema) {
        return Some(("", schema));
    }
    items(schema).filter(|items| named(items)).map(|items| ("[]", items))
}

fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(items) => Some(items),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

fn type_of(schema: &JSONSchemaProps) -> String {
    if let Some(items) = items(schema) {
        return format!("list of {}", type_of(items));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        return format!("map of {}", type_of(values));
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        return "string or integer".to_owned();
    }
    match (schema.type_.as_deref(), schema.format.as_deref()) {
        (Some("string"), Some("date-time")) => "time".to_owned(),
        (Some(type_), _) => type_.to_owned(),
        (None, _) => "any".to_owned(),
    }
}

/// Values and bounds of a field, and of the entries of a list.
fn bounds(schema: &JSONSchemaProps) -> Vec<String> {
    let mut found = own_bounds(schema);
    if let Some(items) = items(schema) {
        found.extend(own_bounds(items).into_iter().map(|bound| format!("each {bound}")));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        found.extend(own_bounds(values).into_iter().map(|bound| format!("each {bound}")));
    }
    found
}

fn own_bounds(schema: &JSONSchemaProps) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(values) = &schema.enum_ {
        let values =
            values.iter().map(|value| code(value.0.as_str().unwrap_or_default())).collect::<Vec<_>>();
        found.push(format!("one of {}", values.join(", ")));
    }
    found.extend(range(schema.minimum, schema.maximum, ""));
    found.extend(range(schema.min_length, schema.max_length, " characters"));
    found.extend(range(schema.min_items, schema.max_items, " entries"));
    found.extend(range(schema.min_properties, schema.max_properties, " entries"));
    found
}

fn range<T: std::fmt::Display>(from: Option<T>, to: Option<T>, unit: &str) -> Option<String> {
    match (from, to) {
        (Some(from), Some(to)) => Some(format!("{from} to {to}{unit}")),
        (Some(from), None) => Some(format!("at least {from}{unit}")),
        (None, Some(to)) => Some(format!("at most {to}{unit}")),
        (None, None) => None,
    }
}

/// What the API server says when a rule does not hold.
fn sentences(schema: &JSONSchemaProps) -> Vec<String> {
    let rules = schema.x_kubernetes_validations.iter().flatten();
    rules.map(|rule| rule.message.clone().unwrap_or_else(|| rule.rule.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_shows_type_default_bounds_and_rule() {
        let schema: JSONSchemaProps = serde_json::from_value(serde_json::json!({
            "type": "object",
            "properties": {
                "mode": { "type": "string", "enum": ["A", "B"], "default": "A", "description": "Which | way." },
                "names": {
                    "type": "array", "maxItems": 4,
                    "items": {
                        "type": "string", "maxLength": 9,
                        "x-kubernetes-validations": [{ "rule": "self != ''", "message": "write a name" }],
                    },
                },
                "deep": {
                    "type": "array", "items": {
                        "type": "object", "required": ["key"],
                        "properties": { "key": { "type": "integer", "minimum": 1, "maximum": 3 } },
                    },
                },
            },
        }))
        .unwrap();
        let mut page = String::new();
        section(&mut page, "Thing", "spec", &schema);
        assert_eq!(
            page,
            r#"
### Thing spec



| field | type | what |
| --- | --- | --- |
| `spec.mode` | string | Which \| way.<br>*default `"A"`; one of `A`, `B`* |
| `spec.names` | list of string | <br>*at most 4 entries; each at most 9 characters*<br>Otherwise: “write a name” |

#### spec.deep

| field | type | what |
| --- | --- | --- |
| `spec.deep` | list of object |  |
| `spec.deep[].key` | integer | <br>*required; 1 to 3* |
"#
        );
    }
}

//! CEL rules that several fields share, and list schemas whose items carry a rule.
//!
//! A rule's message completes "what is wrong here" for a person: it says what to write instead. Rules stay cheap
//! (bounded strings, no rule over two long lists), because the API server refuses a CRD whose estimate is too dear.

use kube::core::{Reason, Rule};
use schemars::{Schema, SchemaGenerator, json_schema};

use super::common::Duration;

/// A rule with its message.
pub(super) fn rule(cel: &str, message: &str) -> Rule {
    Rule::new(cel).message(message)
}

/// A rule over a whole struct whose failure belongs to one field of it.
pub(super) fn rule_at(field: &str, cel: &str, message: &str) -> Rule {
    rule(cel, message).field_path(format!(".{field}")).reason(Reason::FieldValueInvalid)
}

/// Form and bounds of a duration.
pub(super) fn duration_between(min: &str, max: &str) -> Rule {
    let cel = format!(
        "self.matches('{}') && duration(self) >= duration('{min}') && duration(self) <= duration('{max}')",
        Duration::PATTERN.replace('\\', r"\\"),
    );
    let message =
        format!("write a duration from {min} to {max}, with its unit: 500ms, 30s, 5m, 1h30m or 72h");
    Rule::new(cel).message(message.as_str())
}

/// Form and bounds of a size, which may be a number of bytes or a quantity.
pub(super) fn size_between(min: &str, max: &str) -> Rule {
    let cel = format!(
        "isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('{min}')) >= 0 \
         && quantity(string(self)).compareTo(quantity('{max}')) <= 0"
    );
    let message = format!("write a size from {min} to {max}: 64Mi, 1Gi, or plain bytes");
    Rule::new(cel).message(message.as_str())
}

/// What a key of a Secret may be made of.
pub(super) fn secret_key() -> Rule {
    rule(
        "self.matches('^[-._a-zA-Z0-9]+$')",
        "a key of a Secret consists of letters, digits, '-', '_' and '.'",
    )
}

/// What a key of a ConfigMap may be made of.
pub(super) fn config_map_key() -> Rule {
    rule(
        "self.matches('^[-._a-zA-Z0-9]+$')",
        "a key of a ConfigMap consists of letters, digits, '-', '_' and '.'",
    )
}

/// An absolute http or https URL without credentials in it.
pub(super) fn http_url() -> Rule {
    rule(
        r"self.matches('^https?://[^/?#@]+([/?#]|$)')",
        "write an absolute URL that begins with http:// or https:// and holds no user name or password",
    )
}

/// No white space in a URL.
pub(super) fn no_space() -> Rule {
    rule(r"!self.matches('\\s')", "there is a space or a line break in this URL: remove it, or write %20")
}

/// Event patterns, 1–64 of at most 128 characters.
pub(super) fn event_patterns(_: &mut SchemaGenerator) -> Schema {
    list(event_pattern(), 1, 64)
}

/// Event patterns that may be subscribed to, at most 64.
pub(super) fn allowed_patterns(_: &mut SchemaGenerator) -> Schema {
    list(event_pattern(), 0, 64)
}

fn event_pattern() -> Schema {
    text_item(
        128,
        rule(
            r"self == '*' || self.matches('^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*(\\.\\*)?$')",
            "write an event name such as auth.login, a prefix such as auth.*, or * alone: * stands only alone or as the last part",
        ),
    )
}

/// Names that may resolve to private addresses, at most 64.
pub(super) fn hosts(_: &mut SchemaGenerator) -> Schema {
    let item = text_item(
        253,
        rule(
            r"self.matches('^(\\*\\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$') && !isIP(self)",
            "write a host name such as siem.example.com, or *.ai.svc for everything below it: no scheme, port or path; addresses belong into allowedCIDRs",
        ),
    );
    list(item, 0, 64)
}

/// Address ranges, at most 64.
pub(super) fn cidrs(_: &mut SchemaGenerator) -> Schema {
    let item = text_item(
        49,
        rule(
            "isCIDR(self)",
            "write an address range such as 10.0.0.0/8, fd00::/8, or 192.0.2.7/32 for one address",
        ),
    );
    list(item, 0, 64)
}

/// Steps of a retry schedule, at most 32.
pub(super) fn retry_schedule(generator: &mut SchemaGenerator) -> Schema {
    let mut item = generator.subschema_for::<Duration>();
    add(&mut item, duration_between("10ms", "168h"));
    list(item, 0, 32)
}

/// Labels that something must have, 1–16.
pub(super) fn labels_to_match(_: &mut SchemaGenerator) -> Schema {
    let mut map = map(json_schema!({ "type": "string", "maxLength": 63 }), 16);
    map.insert("minProperties".into(), 1.into());
    map
}

/// Labels, at most 32.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    map(json_schema!({ "type": "string", "maxLength": 63 }), 32)
}

/// Annotations, at most 32 of at most 16 KiB.
pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    map(json_schema!({ "type": "string", "maxLength": 16384 }), 32)
}

/// Quantities by resource name, at most 8: the API server reckons with the longest text for what may be a number, and
/// refuses the rule for 16 of them.
pub(super) fn quantities(_: &mut SchemaGenerator) -> Schema {
    let mut amount = json_schema!({
        "pattern": "^[0-9]{1,15}(\\.[0-9]{1,9})?(m|Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?$",
        "x-kubernetes-int-or-string": true,
    });
    add(&mut amount, rule("isQuantity(string(self))", "write an amount such as 100m, 2 or 64Mi"));
    map(amount, 8)
}

/// An object whose fields are somebody else's; it is held to their type when it is used.
pub(super) fn free_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "maxProperties": 8 })
}

fn map(values: Schema, max: u32) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": values, "maxProperties": max })
}

fn text_item(max: u32, rule: Rule) -> Schema {
    let mut item = json_schema!({ "type": "string", "minLength": 1, "maxLength": max });
    add(&mut item, rule);
    item
}

fn list(item: Schema, min: u32, max: u32) -> Schema {
    let mut list = json_schema!({ "type": "array", "items": item, "maxItems": max });
    if min > 0 {
        list.insert("minItems".into(), min.into());
    }
    list
}

fn add(schema: &mut Schema, rule: Rule) {
    // A rule always serialises: it holds nothing but text.
    if let Ok(rule) = serde_json::to_value(rule) {
        schema.insert("x-kubernetes-validations".into(), vec![rule].into());
    }
}

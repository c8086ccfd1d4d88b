//! Unit tests of `admission`.

use serde_json::json;

use super::*;

fn kind() -> Kind {
    Kind::new(json!({
        "type": "object", "required": ["spec"],
        "properties": {
            "status": {"type": "object", "default": {"observedGeneration": -1}},
            "spec": {
                "type": "object", "required": ["instanceRef", "target"],
                "properties": {
                    "instanceRef": {"type": "object", "description": "The ChatInstance. And more.", "required": ["name"],
                                    "properties": {"name": {"type": "string"}}},
                    "target": {"type": "object", "description": "Where to",
                        "oneOf": [{"required": ["url"]}, {"required": ["urlFrom"]}],
                        "properties": {"url": {"type": "string"}, "urlFrom": {"type": "string"}, "method": {"type": "string"}}},
                    "timeout": {"type": "string", "pattern": "^[0-9]+s$"},
                    "size": {"x-kubernetes-int-or-string": true},
                    "count": {"type": "integer", "maximum": 5, "minimum": 1},
                    "suspend": {"type": "boolean"},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {}},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "headers": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"],
                            "properties": {"name": {"type": "string"}, "value": {"type": "string"}}}}
                },
                "x-kubernetes-validations": [
                    {"rule": "!has(self.count) || self.count != 3", "message": "three is right out", "fieldPath": ".count"}]
            }
        }
    }))
}

fn problems(spec: Value) -> Vec<(String, String)> {
    let object = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"}, "spec": spec});
    admit_with(&kind(), &object).err().unwrap_or_default().into_iter().map(|p| (p.field, p.detail)).collect()
}

/// Problems of an otherwise good object with one more field.
fn with(name: &str, value: Value) -> Vec<(String, String)> {
    let mut spec = json!({"instanceRef": {"name": "x"}, "target": {"url": "u"}});
    spec[name] = value;
    problems(spec)
}

fn one(field: &str, detail: &str) -> Vec<(String, String)> {
    vec![(field.to_owned(), detail.to_owned())]
}

#[test]
fn names_unknown_fields_and_where_they_belong() {
    assert_eq!(
        with("timeuot", json!("5s")),
        one("spec.timeuot", "there is no field `timeuot` in `spec`; did you mean `timeout`?")
    );
    assert_eq!(
        with("url", json!("u")),
        one("spec.url", "there is no field `url` in `spec`; it belongs to `spec.target.url`")
    );
    assert_eq!(
        with("Method", json!("u")),
        one("spec.Method", "there is no field `Method` in `spec`; did you mean `spec.target.method`?")
    );
    assert_eq!(
        with("instanceRef", json!({"name": "x", "a.b": 1})),
        one("spec.instanceRef[\"a.b\"]", "there is no field `a.b` in `spec.instanceRef`; there is `name`")
    );
    assert_eq!(with("free", json!({"anything": 1})), []);
    assert_eq!(with("labels", json!({"anything": "1"})), []);
    let object = json!({"metadata": {"name": "a"}, "spce": {}, "spec": {"instanceRef": {"name": "x"}, "target": {"url": "u"}}});
    let found = admit_with(&kind(), &object).unwrap_err();
    assert_eq!(
        found,
        [Problem::new("spce", "there is no field `spce` at the top of a manifest; did you mean `spec`?")]
    );
}

#[test]
fn a_misspelt_field_is_not_told_to_be_missing_too() {
    assert_eq!(
        problems(json!({"instanceref": {"name": "x"}, "target": {"url": "u"}})),
        one("spec.instanceref", "there is no field `instanceref` in `spec`; did you mean `instanceRef`?")
    );
    assert_eq!(
        with("target", json!({"urll": "u"})),
        one("spec.target.urll", "there is no field `urll` in `spec.target`; did you mean `url`?")
    );
    assert_eq!(problems(json!({"target": {"url": "u"}, "counts": 1})).len(), 2);
}

#[test]
fn names_types() {
    assert_eq!(
        with("timeout", json!(5)),
        one("spec.timeout", "expected a string, found the number 5: put it in quotes")
    );
    assert_eq!(
        with("instanceRef", json!("team-chat")),
        one("spec.instanceRef", "expected a map, found a string: write `instanceRef: { name: … }`")
    );
    assert_eq!(
        with("headers", json!({"name": "X"})),
        one(
            "spec.headers",
            "expected a list, found a map: write each entry behind `- `, or the list as `[…]`"
        )
    );
    assert_eq!(
        with("headers", json!(["X"])),
        one("spec.headers[0]", "expected a map, found a string: write `{ name: … }`")
    );
    assert_eq!(
        with("count", json!("2")),
        one("spec.count", "expected a whole number, found a string: remove the quotes")
    );
    assert_eq!(
        with("count", json!(2.5)),
        one("spec.count", "expected a whole number, found the number 2.5: write it without a fraction")
    );
    assert_eq!(
        with("suspend", json!("yes")),
        one(
            "spec.suspend",
            "expected true or false, found a string: write `true` or `false`, without quotes"
        )
    );
    assert_eq!(
        with("size", json!(1.5)),
        one("spec.size", "expected a whole number or a string, found the number 1.5")
    );
    assert_eq!(with("size", json!(5)), []);
    assert_eq!(with("count", json!(2.0)), []);
    assert_eq!(
        with("labels", json!({"a": true})),
        one("spec.labels.a", "expected a string, found the value true: put it in quotes")
    );
    assert_eq!(with("timeout", Value::Null), []);
}

#[test]
fn names_what_is_missing_or_too_much() {
    assert_eq!(
        problems(json!({"target": {}})),
        [
            ("spec.target".to_owned(), "needs exactly one of `url` and `urlFrom`; write one".to_owned()),
            ("spec.instanceRef".to_owned(), "is missing; write it: The ChatInstance".to_owned()),
        ]
    );
    assert_eq!(
        with("target", json!({"url": "a", "urlFrom": "b"})),
        one("spec.target", "has `url` and `urlFrom`, of which only one may stand there; remove the other")
    );
    assert_eq!(
        with("headers", json!([{"name": "a"}, {"name": "b"}, {"name": "a"}])),
        one("spec.headers[2]", "the same `name` stands at [0] too; write it once")
    );
}

#[test]
fn evaluates_rules_only_on_what_fits() {
    assert_eq!(with("count", json!(3)), one("spec.count", "three is right out"));
    assert_eq!(with("count", json!(30)), one("spec.count", "30 is out of range; write a number from 1 to 5"));
}

#[test]
fn ignores_what_servers_write() {
    let object = json!({"apiVersion": "x/v1", "kind": "X",
        "metadata": {"name": "a", "namespace": "b", "uid": 1, "generation": 3, "managedFields": [{}], "labels": null},
        "spec": {"instanceRef": {"name": "x"}, "target": {"url": "u"}}, "status": "nonsense"});
    assert_eq!(
        admit_with(&kind(), &object).unwrap(),
        json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a", "namespace": "b", "generation": 3},
               "spec": {"instanceRef": {"name": "x"}, "target": {"url": "u"}}})
    );
}

#[test]
fn holds_metadata_to_kubernetes_rules() {
    let found = |metadata: Value| -> Vec<String> {
        let object =
            json!({"metadata": metadata, "spec": {"instanceRef": {"name": "x"}, "target": {"url": "u"}}});
        admit_with(&kind(), &object)
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|p| format!("{}: {}", p.field, p.detail))
            .collect()
    };
    for good in ["a", "a.b-c.1", "0"] {
        assert_eq!(found(json!({"name": good})), Vec::<String>::new());
    }
    for bad in ["", "A", "a_b", "-a", "a.", "a..b", &"a".repeat(254)] {
        assert_eq!(found(json!({"name": bad})).len(), 1, "{bad}");
    }
    assert_eq!(found(json!({"name": "a", "namespace": "a.b"})).len(), 1);
    assert_eq!(found(json!({"name": 5})), ["metadata.name: expected a string: put it in quotes"]);
    assert_eq!(found(Value::Null), ["metadata.name: is missing; write `metadata: { name: … }`"]);
    assert_eq!(
        found(json!({"name": "a", "lables": {}})),
        ["metadata.lables: there is no field `lables` in `metadata`; did you mean `labels`?"]
    );
    assert_eq!(
        found(
            json!({"name": "a", "labels": {"app.kubernetes.io/name": "x", "n": 1}, "annotations": {"t": "any text, of any length"}})
        ),
        ["metadata.labels.n: expected a string: put it in quotes"]
    );
    assert_eq!(found(json!({"name": "a", "labels": {"a": "b c", "d e": "f"}})).len(), 2);
}

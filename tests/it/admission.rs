//! Admission over the real CRDs: good manifests get their defaults, and each usual mistake one sentence.

use chathooks::admission::admit;
use serde_json::{Value, json};

fn subscription() -> Value {
    json!({
        "apiVersion": "chathooks.dev/v1alpha1", "kind": "WebhookSubscription",
        "metadata": {"name": "alerts", "namespace": "ai"},
        "spec": {
            "instanceRef": {"name": "team-chat"}, "events": ["auth.*"],
            "target": {"http": {"url": "https://siem.example.com/in"}}
        }
    })
}

fn instance() -> Value {
    json!({
        "apiVersion": "chathooks.dev/v1alpha1", "kind": "ChatInstance", "metadata": {"name": "team-chat"},
        "spec": {"platform": "OpenWebUI", "url": "http://open-webui.ai.svc", "intake": {"mode": "Push"}}
    })
}

/// `field: sentence` of every problem of the object with one value set or, with null, removed.
fn broken(mut object: Value, pointer: &str, value: Value) -> Vec<String> {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = object.pointer_mut(parent).expect(pointer).as_object_mut().expect("an object");
    if value.is_null() {
        parent.remove(name);
    } else {
        parent.insert(name.to_owned(), value);
    }
    let kind = object["kind"].as_str().expect("a kind").to_owned();
    let problems = admit(&kind, &object).err().unwrap_or_default();
    problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.detail)).collect()
}

fn subscription_with(pointer: &str, value: Value) -> Vec<String> {
    broken(subscription(), &format!("/spec/{pointer}"), value)
}

#[test]
fn a_good_manifest_gets_its_defaults() {
    let admitted = admit("WebhookSubscription", &subscription()).expect("is good");
    assert_eq!(admitted["spec"]["delivery"]["timeout"], "30s");
    assert_eq!(admitted["spec"]["delivery"]["retry"]["schedule"][8], "24h");
    assert_eq!(admitted["spec"]["signing"]["scheme"], "StandardWebhooks");
    assert_eq!(admitted["spec"]["target"]["http"]["method"], "POST");
    assert_eq!(admitted["spec"]["suspend"], false);
    assert_eq!(admitted["metadata"], json!({"name": "alerts", "namespace": "ai"}));
    assert!(admitted.get("status").is_none());
    let admitted = admit("ChatInstance", &instance()).expect("is good");
    assert_eq!(admitted["spec"]["suspend"], false);
    assert_eq!(admit("ChatInstance", &admitted).as_ref(), Ok(&admitted), "admission changes nothing twice");
}

#[test]
fn a_default_within_an_object_that_is_given_is_filled_in() {
    let mut object = subscription();
    object["spec"]["delivery"] = json!({"retry": {"jitter": 5}, "backlog": {}});
    let admitted = admit("WebhookSubscription", &object).expect("is good");
    assert_eq!(admitted["spec"]["delivery"]["retry"]["jitter"], 5);
    assert_eq!(admitted["spec"]["delivery"]["retry"]["schedule"][0], "5s");
    assert_eq!(admitted["spec"]["delivery"]["backlog"]["maxAge"], "72h");
    assert_eq!(admitted["spec"]["delivery"]["concurrency"], 16);
}

#[test]
fn every_usual_mistake_is_one_sentence() {
    let cases: &[(&str, Value, &str)] = &[
        (
            "event",
            json!(["auth.*"]),
            "spec.event: there is no field `event` in `spec`; did you mean `events`?",
        ),
        (
            "url",
            json!("https://x"),
            "spec.url: there is no field `url` in `spec`; it belongs to `spec.target.http.url`",
        ),
        (
            "timeout",
            json!("5s"),
            "spec.timeout: there is no field `timeout` in `spec`; it belongs to `spec.delivery.timeout`",
        ),
        (
            "delivery",
            json!({"timeuot": "5s"}),
            "spec.delivery.timeuot: there is no field `timeuot` in `spec.delivery`; did you mean `timeout`?",
        ),
        (
            "delivery",
            json!({"timeout": 5}),
            "spec.delivery.timeout: expected a string, found the number 5: write a duration from 100ms to 5m, with its unit: \
             500ms, 30s, 5m, 1h30m or 72h",
        ),
        (
            "delivery",
            json!({"timeout": "5"}),
            "spec.delivery.timeout: write a duration from 100ms to 5m, with its unit: 500ms, 30s, 5m, 1h30m or 72h",
        ),
        (
            "delivery",
            json!({"timeout": "10m"}),
            "spec.delivery.timeout: write a duration from 100ms to 5m, with its unit: 500ms, 30s, 5m, 1h30m or 72h",
        ),
        (
            "delivery",
            json!({"concurrency": 0}),
            "spec.delivery.concurrency: 0 is out of range; write a number from 1 to 1000",
        ),
        (
            "delivery",
            json!({"concurrency": "8"}),
            "spec.delivery.concurrency: expected a whole number, found a string: remove the quotes",
        ),
        (
            "delivery",
            json!({"retry": {"schedule": "5s"}}),
            "spec.delivery.retry.schedule: expected a list, found a string: write each entry behind `- `, or the list as `[…]`",
        ),
        (
            "delivery",
            json!({"backlog": {"maxBytes": "128 MB"}}),
            "spec.delivery.backlog.maxBytes: write a size from 1Mi to 1Ti: 64Mi, 1Gi, or plain bytes",
        ),
        (
            "instanceRef",
            json!("team-chat"),
            "spec.instanceRef: expected a map, found a string: write `instanceRef: { name: … }`",
        ),
        (
            "instanceRef",
            Value::Null,
            "spec.instanceRef: is missing; write it: The ChatInstance whose events these are",
        ),
        ("events", json!([]), "spec.events: is empty; write at least 1 entry"),
        (
            "events",
            json!("auth.*"),
            "spec.events: expected a list, found a string: write each entry behind `- `, or the list as `[…]`",
        ),
        (
            "suspend",
            json!("yes"),
            "spec.suspend: expected true or false, found a string: write `true` or `false`, without quotes",
        ),
        (
            "signing",
            json!({"scheme": "standardwebhooks"}),
            "spec.signing.scheme: expected `StandardWebhooks` or `None`; did you mean `StandardWebhooks`?",
        ),
        (
            "payload",
            json!({"format": "envelope"}),
            "spec.payload.format: expected `Envelope`, spelled exactly so",
        ),
        (
            "target/http/method",
            json!("post"),
            "spec.target.http.method: expected `POST`, `PUT` or `PATCH`; did you mean `POST`?",
        ),
        (
            "target/http/url",
            Value::Null,
            "spec.target.http: needs exactly one of `url` and `urlFrom`; write one",
        ),
        (
            "target/http/url",
            json!("siem.example.com"),
            "spec.target.http.url: write an absolute URL that begins with http:// or https:// and holds no user name or password",
        ),
        (
            "target/http/headers",
            json!([{"name": "Host", "value": "x"}]),
            "spec.target.http.headers[0].name: this header is set by chathooks or belongs to the connection (Host, Content-Length, Content-Type, webhook-*, hop-by-hop headers): remove it",
        ),
        (
            "target/http/headers",
            json!([{"name": "A", "value": "x"}, {"name": "a", "value": "y"}]),
            "spec.target.http.headers: a header stands here twice; names compare without case",
        ),
        (
            "target/http/auth",
            json!({"bearer": "s3cr3t"}),
            "spec.target.http.auth.bearer: expected a map, found a string: write `bearer: { secretRef: … }`",
        ),
        (
            "filter",
            json!({"match": [{"path": "data.n", "value": 5}]}),
            "spec.filter.match[0].value: expected a string, found the number 5: put it in quotes",
        ),
        (
            "filter",
            json!({"match": [{"path": "data.n", "value": false}]}),
            "spec.filter.match[0].value: expected a string, found the value false: put it in quotes",
        ),
        ("filter", json!({}), "spec.filter: name match or expression, or remove filter"),
    ];
    for (pointer, value, sentence) in cases {
        assert_eq!(subscription_with(pointer, value.clone()), [*sentence], "{pointer}");
    }
}

#[test]
fn mistakes_in_an_instance_too() {
    let with = |pointer: &str, value| broken(instance(), &format!("/spec/{pointer}"), value);
    let platform = with("platform", json!("openwebui"));
    assert!(platform[0].starts_with("spec.platform: expected "), "{platform:?}");
    assert!(platform[0].ends_with("did you mean `OpenWebUI`?"), "{platform:?}");
    assert_eq!(with("platform", Value::Null).len(), 1);
    assert_eq!(with("url", json!("open-webui")).len(), 1);
    let secret = with("intake", json!({"mode": "Push", "auth": {"bearer": {"secretRef": {"name": "a"}}}}));
    assert_eq!(secret.len(), 1);
    assert!(
        secret[0].starts_with("spec.intake.auth.bearer.secretRef.key: is missing; write it"),
        "{secret:?}"
    );
}

#[test]
fn no_string_of_the_manifest_is_repeated() {
    for (pointer, value) in [
        ("target/http/auth", json!({"bearer": "s3cr3t"})),
        ("target/http/auth", json!({"bearer": {"secretRef": "s3cr3t"}})),
        ("target/http/url", json!("https://user:s3cr3t@example.com")),
        ("target/http/urlFrom", json!("s3cr3t")),
        ("signing", json!({"scheme": "s3cr3t"})),
        ("target/http/headers", json!([{"name": "X", "value": "s3cr3t\n"}])),
    ] {
        let problems = subscription_with(pointer, value);
        assert!(!problems.is_empty(), "{pointer}");
        assert!(!problems.concat().contains("s3cr3t"), "{problems:?}");
    }
}

#[test]
fn an_unknown_kind_is_named() {
    let problems = admit("WebhookSubscriptions", &subscription()).expect_err("is no kind");
    assert_eq!(
        problems[0].detail,
        "there is no kind `WebhookSubscriptions` in chathooks.dev/v1alpha1; did you mean `WebhookSubscription`?"
    );
}

#[test]
fn names_what_is_wrong_with_a_value_in_one_sentence() {
    let instance = |spec: Value| {
        let object = json!({
            "apiVersion": "chathooks.dev/v1alpha1", "kind": "ChatInstance", "metadata": {"name": "a"}, "spec": spec,
        });
        let problems = admit("ChatInstance", &object).unwrap_err();
        problems.into_iter().map(|problem| problem.detail).collect::<Vec<_>>()
    };
    assert_eq!(
        instance(json!({"platform": "OpenWebUI", "dispatcher": {"egress": {"plainHttp": true}}})),
        ["expected `Deny` or `Allow`, found the value true"]
    );
    for url in ["http://open webui", "http://open-webui/a b"] {
        assert_eq!(
            instance(json!({"platform": "OpenWebUI", "url": url})),
            ["there is a space or a line break in this URL: remove it, or write %20"]
        );
    }
}

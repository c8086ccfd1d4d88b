//! `crds/` is what the types say, and its rules say what to write instead.

use std::path::Path;

use chathooks::api::{ChatInstance, WebhookSubscription, crds};
use kube_cel::{ErrorKind, Validator, apply_defaults};
use serde_json::{Value, json};

#[test]
fn the_committed_files_are_what_the_types_print() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut expected = Vec::new();
    for crd in crds::all() {
        let path = dir.join(crds::file_name(&crd));
        let printed = crds::to_yaml(&crd).unwrap();
        if update {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&path, &printed).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == printed,
            "{} is out of date; print it again with `chathooks crds` or UPDATE_GOLDEN=1",
            path.display()
        );
        expected.push(crds::file_name(&crd));
    }
    let documents: Vec<Value> = serde_saphyr::from_multiple(&crds::print().unwrap()).unwrap();
    assert_eq!(documents.len(), expected.len());
    let mut found: Vec<String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, expected, "crds/ holds a file no kind prints");
}

/// Every string, list and map has a bound: the API server's cost estimate and a reader's memory need it.
#[test]
fn everything_is_bounded() {
    fn walk(path: &str, schema: &Value, unbounded: &mut Vec<String>) {
        let bounded = match schema["type"].as_str() {
            Some("string") => {
                schema.get("maxLength").is_some()
                    || schema.get("enum").is_some()
                    || schema.get("format").is_some()
            }
            Some("array") => schema.get("maxItems").is_some(),
            Some("integer") => {
                schema.get("maximum").is_some() || schema.get("x-kubernetes-validations").is_some()
            }
            Some("object") => schema.get("properties").is_some() || schema.get("maxProperties").is_some(),
            _ => true,
        };
        if !bounded {
            unbounded.push(path.into());
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), property, unbounded);
        }
        if let Some(items) = schema.get("items") {
            walk(&format!("{path}[]"), items, unbounded);
        }
    }

    for kind in ["ChatInstance", "WebhookSubscription"] {
        let mut unbounded = Vec::new();
        walk("spec", &crds::schema(kind).unwrap()["properties"]["spec"], &mut unbounded);
        assert_eq!(unbounded, Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn the_api_server_sets_the_defaults_that_the_types_set() {
    let instance = json!({ "metadata": {}, "spec": { "platform": "Generic" } });
    let by_schema = apply_defaults(&crds::schema("ChatInstance").unwrap(), &instance);
    let by_types: ChatInstance = from(&instance);
    assert_eq!(by_schema["spec"], serde_json::to_value(&by_types.spec).unwrap());

    let subscription = subscription(json!({}));
    let by_schema = apply_defaults(&crds::schema("WebhookSubscription").unwrap(), &subscription);
    let by_types: WebhookSubscription = from(&subscription);
    assert_eq!(by_schema["spec"], serde_json::to_value(&by_types.spec).unwrap());
    assert_eq!(
        by_schema["spec"]["delivery"],
        json!({
            "timeout": "30s",
            "retry": {
                "schedule": ["5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h"],
                "jitter": 20,
            },
            "concurrency": 16,
            "backlog": { "maxAge": "72h", "maxBytes": "128Mi" },
        })
    );
    assert_eq!(by_schema["status"], json!({ "observedGeneration": -1 }));
}

#[test]
fn good_instances_pass() {
    for spec in [
        json!({ "platform": "Generic" }),
        json!({
            "platform": "OpenWebUI",
            "url": "http://open-webui.ai.svc:80",
            "intake": { "mode": "Push", "auth": {
                "bearer": { "secretRef": { "name": "a", "key": "token" } },
                "standardWebhooks": { "secretRefs": [{ "name": "a", "key": "signing-secret" }] },
            } },
            "dispatcher": {
                "replicas": 1,
                "queue": { "embedded": { "size": 67_108_864 } },
                "retention": { "delivered": "0s", "deadLetter": "720h" },
                "egress": {
                    "plainHttp": "Allow",
                    "allowedHosts": ["*.ai.svc", "siem.example.com", "localhost"],
                    "allowedCIDRs": ["10.0.0.0/8", "fd00::/8"],
                    "deniedCIDRs": ["10.1.0.0/16"],
                },
            },
            "suspend": true,
        }),
    ] {
        assert_eq!(refusals("ChatInstance", spec), Vec::<String>::new());
    }
}

#[test]
fn good_subscriptions_pass() {
    let secret = json!({ "secretRef": { "name": "siem", "key": "url" } });
    for change in [
        json!({}),
        json!({ "events": ["*", "auth.*", "user.role_updated", "auth.api_key.*"], "exclude": ["auth.logout"] }),
        json!({ "target": { "http": {
            "urlFrom": secret, "method": "PATCH",
            "headers": [{ "name": "X-Team", "value": "ai ops" }, { "name": "X-Key", "valueFrom": secret }],
            "auth": { "basic": { "usernameFrom": secret, "passwordFrom": secret } },
        } } }),
        json!({ "target": { "http": { "url": "https://[fd00::1]:8443/in?a=b", "auth": { "bearer": secret } } } }),
        json!({ "target": { "http": {
            "url": "http://a/", "headers": [{ "name": "Authorization", "valueFrom": secret }],
        } } }),
        json!({ "signing": { "scheme": "None" } }),
        json!({ "signing": { "scheme": "None", "secretRefs": [] } }),
        json!({ "filter": { "match": [{ "path": "data.a", "value": "" }] } }),
        json!({ "delivery": {
            "timeout": "100ms",
            "retry": { "schedule": [], "jitter": 0 },
            "backlog": { "maxAge": "1h30m", "maxBytes": "1.5Gi" },
        } }),
        json!({ "delivery": { "timeout": "5m", "retry": { "schedule": ["10ms", "168h", "1.5s"] } } }),
    ] {
        assert_eq!(
            refusals("WebhookSubscription", subscription(change.clone())["spec"].clone()),
            Vec::<String>::new(),
            "{change}"
        );
    }
}

const DURATION: &str = "with its unit: 500ms, 30s, 5m, 1h30m or 72h";

#[test]
fn mistakes_in_an_instance_are_explained() {
    let egress = |field: &str, value: &str| {
        let mut egress = serde_json::Map::new();
        egress.insert(field.into(), json!([value]));
        json!({ "platform": "Generic", "dispatcher": { "egress": egress } })
    };
    let host = "write a host name such as siem.example.com, or *.ai.svc for everything below it: no scheme, port or path; addresses belong into allowedCIDRs";
    let cidr = "write an address range such as 10.0.0.0/8, fd00::/8, or 192.0.2.7/32 for one address";
    let url = "write an absolute URL that begins with http:// or https:// and holds no user name or password";
    let size = "write a size from 64Mi to 1Ti: 64Mi, 1Gi, or plain bytes";
    let queue = |size: Value| json!({ "platform": "Generic", "dispatcher": { "queue": { "embedded": { "size": size } } } });
    for (spec, expected) in [
        (
            json!({ "platform": "Generic", "url": "http://a" }),
            "spec.url: platform Generic has no URL: remove url, or set platform to OpenWebUI".to_string(),
        ),
        (json!({ "platform": "OpenWebUI", "url": "open-webui:8080" }), format!("spec.url: {url}")),
        (json!({ "platform": "OpenWebUI", "url": "ftp://open-webui" }), format!("spec.url: {url}")),
        (json!({ "platform": "OpenWebUI", "url": "https://me:pw@open-webui" }), format!("spec.url: {url}")),
        (
            json!({ "platform": "Generic", "intake": { "auth": {} } }),
            "spec.intake.auth: name bearer or standardWebhooks, or leave auth out: then a Secret <name>-intake is made".into(),
        ),
        (
            json!({ "platform": "Generic", "dispatcher": { "replicas": 2 } }),
            "spec.dispatcher.replicas: replicas must be 1: the embedded queue lives on one volume, which one pod holds".into(),
        ),
        (
            json!({ "platform": "Generic", "dispatcher": { "replicas": 0 } }),
            "spec.dispatcher.replicas: replicas must be 1; to stop deliveries set suspend: true".into(),
        ),
        (
            json!({ "platform": "Generic", "dispatcher": { "queue": {} } }),
            "spec.dispatcher.queue: name the queue: embedded: {size: 1Gi}".into(),
        ),
        (queue(json!("63Mi")), format!("spec.dispatcher.queue.embedded.size: {size}")),
        (queue(json!("2Ti")), format!("spec.dispatcher.queue.embedded.size: {size}")),
        (queue(json!("1GB")), format!("spec.dispatcher.queue.embedded.size: {size}")),
        (queue(json!(1024)), format!("spec.dispatcher.queue.embedded.size: {size}")),
        (
            json!({ "platform": "Generic", "dispatcher": { "retention": { "delivered": "7d" } } }),
            format!("spec.dispatcher.retention.delivered: write a duration from 0s to 8760h, {DURATION}"),
        ),
        (egress("allowedHosts", "http://siem"), format!("spec.dispatcher.egress.allowedHosts[0]: {host}")),
        (egress("allowedHosts", "siem:8080"), format!("spec.dispatcher.egress.allowedHosts[0]: {host}")),
        (egress("allowedHosts", "a.*"), format!("spec.dispatcher.egress.allowedHosts[0]: {host}")),
        (egress("allowedHosts", "10.0.0.1"), format!("spec.dispatcher.egress.allowedHosts[0]: {host}")),
        (egress("allowedCIDRs", "10.0.0.1"), format!("spec.dispatcher.egress.allowedCIDRs[0]: {cidr}")),
        (egress("deniedCIDRs", "10.0.0.0/33"), format!("spec.dispatcher.egress.deniedCIDRs[0]: {cidr}")),
    ] {
        assert_eq!(refusals("ChatInstance", spec.clone()), [expected], "{spec}");
    }
}

#[test]
fn mistakes_in_a_subscription_are_explained() {
    let secret = json!({ "secretRef": { "name": "siem", "key": "url" } });
    let http = |http: Value| json!({ "target": { "http": http } });
    let header = |name: &str, value: &str| json!({ "target": { "http": { "url": "https://a", "headers": [{ "name": name, "value": value }] } } });
    let pattern = "write an event name such as auth.login, a prefix such as auth.*, or * alone: * stands only alone or as the last part";
    let forbidden = "this header is set by chathooks or belongs to the connection (Host, Content-Length, Content-Type, webhook-*, hop-by-hop headers): remove it";
    let value = "a header's value consists of visible ASCII characters, without spaces at its ends";
    let at = "spec.target.http";
    let mut table = vec![
        (json!({ "events": ["a"], "exclude": ["auth.*.created"] }), format!("spec.exclude[0]: {pattern}")),
        (json!({ "filter": {} }), "spec.filter: name match or expression, or remove filter".into()),
        (json!({ "target": {} }), "spec.target: name exactly one target: http: {url: https://...}".into()),
        (http(json!({})), format!("{at}: name exactly one of url and urlFrom")),
        (
            http(json!({ "url": "https://a", "urlFrom": secret })),
            format!("{at}: name exactly one of url and urlFrom"),
        ),
        (
            http(json!({ "url": "https://a", "auth": {} })),
            format!("{at}.auth: name exactly one of basic and bearer"),
        ),
        (
            http(json!({ "url": "https://a", "auth": {
                "bearer": secret, "basic": { "usernameFrom": secret, "passwordFrom": secret },
            } })),
            format!("{at}.auth: name exactly one of basic and bearer"),
        ),
        (
            http(json!({
                "url": "https://a", "auth": { "bearer": secret },
                "headers": [{ "name": "AUTHORIZATION", "valueFrom": secret }],
            })),
            format!("{at}.headers: auth sets the Authorization header: remove the header, or remove auth"),
        ),
        (
            http(json!({
                "url": "https://a", "headers": [{ "name": "X-Team", "value": "a" }, { "name": "x-team", "value": "b" }],
            })),
            format!("{at}.headers: a header stands here twice; names compare without case"),
        ),
        (
            http(json!({ "url": "https://a", "headers": [{ "name": "X-Team" }] })),
            format!("{at}.headers[0]: name exactly one of value and valueFrom"),
        ),
        (
            header("X-Team:", "a"),
            format!(
                "{at}.headers[0].name: a header's name consists of letters, digits and '-', without a colon"
            ),
        ),
        (header("X-Team", " a"), format!("{at}.headers[0].value: {value}")),
        (header("X-Team", "a\r\nX-Admin: yes"), format!("{at}.headers[0].value: {value}")),
        (header("X-Team", "ä"), format!("{at}.headers[0].value: {value}")),
        (
            json!({ "signing": { "scheme": "None", "secretRefs": [{ "name": "a", "key": "b" }] } }),
            "spec.signing: scheme None signs nothing: remove secretRefs, or set scheme to StandardWebhooks"
                .into(),
        ),
        (
            json!({ "signing": { "secretRefs": [{ "name": "a", "key": "b/c" }] } }),
            "spec.signing.secretRefs[0].key: a key of a Secret consists of letters, digits, '-', '_' and '.'"
                .into(),
        ),
        (
            json!({ "delivery": { "retry": { "schedule": ["5s", "5ms"] } } }),
            format!("spec.delivery.retry.schedule[1]: write a duration from 10ms to 168h, {DURATION}"),
        ),
        (
            json!({ "delivery": { "backlog": { "maxAge": "1y" } } }),
            format!("spec.delivery.backlog.maxAge: write a duration from 1s to 8760h, {DURATION}"),
        ),
        (
            json!({ "delivery": { "backlog": { "maxBytes": "-1" } } }),
            "spec.delivery.backlog.maxBytes: write a size from 1Mi to 1Ti: 64Mi, 1Gi, or plain bytes".into(),
        ),
    ];
    for timeout in ["30", "6m", "99ms", "", "-1s", "1 s"] {
        table.push((
            json!({ "delivery": { "timeout": timeout } }),
            format!("spec.delivery.timeout: write a duration from 100ms to 5m, {DURATION}"),
        ));
    }
    for events in ["auth*", "*.login", "auth.", "auth.*.x", "auth..x", "a b", "**"] {
        table.push((json!({ "events": [events] }), format!("spec.events[0]: {pattern}")));
    }
    for name in [
        "Host",
        "content-length",
        "Content-Type",
        "Webhook-Id",
        "webhook-custom",
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    ] {
        table.push((header(name, "a"), format!("{at}.headers[0].name: {forbidden}")));
    }
    for (change, expected) in table {
        let spec = subscription(change.clone())["spec"].clone();
        assert_eq!(refusals("WebhookSubscription", spec), [expected], "{change}");
    }
}

/// A good subscription with some fields of its spec replaced.
fn subscription(change: Value) -> Value {
    let mut spec = json!({
        "instanceRef": { "name": "team-chat" },
        "events": ["auth.*"],
        "target": { "http": { "url": "https://siem.example.com/in" } },
    });
    for (field, value) in change.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({ "metadata": {}, "spec": spec })
}

fn refusals(kind: &str, spec: Value) -> Vec<String> {
    let schema = crds::schema(kind).unwrap();
    match Validator::new().validate(&schema, &json!({ "metadata": {}, "spec": spec }), None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .iter()
            .map(|error| {
                assert_eq!(error.kind, ErrorKind::ValidationFailure, "{error} in {}", error.rule);
                error.to_string()
            })
            .collect(),
    }
}

fn from<T: serde::de::DeserializeOwned>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap()
}

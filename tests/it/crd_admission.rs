//! The CRDs on a real API server: what is good is taken, what is bad is refused, and `chathooks check` agrees.
//!
//! The rules of the CRDs speak with one voice in both places. What the schema alone refuses, the API server says in its
//! own words, and the table has both sentences.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chathooks::admission::admit;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::cluster::{ControlPlane, ours};

/// What the API server says of a manifest without keeping it, unknown fields refused as `kubectl` asks for it.
async fn dry_run(client: &Client, namespace: &str, manifest: &Value) -> Result<Value, String> {
    let plural = match manifest["kind"].as_str().unwrap() {
        "ChatInstance" => "chatinstances",
        "WebhookSubscription" => "webhooksubscriptions",
        other => panic!("no kind of ours: {other}"),
    };
    let path = format!(
        "/apis/chathooks.dev/v1alpha1/namespaces/{namespace}/{plural}?dryRun=All&fieldValidation=Strict"
    );
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(manifest).unwrap())
        .unwrap();
    client.request(request).await.map_err(|error| match error {
        kube::Error::Api(status) => status.message.clone(),
        error => panic!("the API server did not answer: {error}"),
    })
}

fn subscription(spec: &Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "chathooks.dev/v1alpha1", "kind": "WebhookSubscription", "metadata": {"name": "alerts"},
        "spec": {
            "instanceRef": {"name": "team-chat"}, "events": ["auth.*"],
            "target": {"http": {"url": "https://siem.example.com/in"}},
        },
    });
    merge(&mut manifest["spec"], spec);
    manifest
}

fn instance(spec: &Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "chathooks.dev/v1alpha1", "kind": "ChatInstance", "metadata": {"name": "team-chat"},
        "spec": {"platform": "Generic"},
    });
    merge(&mut manifest["spec"], spec);
    manifest
}

/// A field that is null goes, any other takes the place of what is there.
fn merge(spec: &mut Value, change: &Value) {
    let spec = spec.as_object_mut().unwrap();
    for (field, value) in change.as_object().unwrap() {
        if value.is_null() {
            spec.remove(field);
        } else {
            spec.insert(field.clone(), value.clone());
        }
    }
}

const DURATION: &str = "with its unit: 500ms, 30s, 5m, 1h30m or 72h";
const PATTERN: &str = "write an event name such as auth.login, a prefix such as auth.*, or * alone: * stands only alone or as the last part";
const URL: &str =
    "write an absolute URL that begins with http:// or https:// and holds no user name or password";
const HOST: &str = "write a host name such as siem.example.com, or *.ai.svc for everything below it: no scheme, port or path; addresses belong into allowedCIDRs";
const CIDR: &str = "write an address range such as 10.0.0.0/8, fd00::/8, or 192.0.2.7/32 for one address";
const QUEUE: &str = "write a size from 64Mi to 1Ti: 64Mi, 1Gi, or plain bytes";
const HEADER: &str = "this header is set by chathooks or belongs to the connection (Host, Content-Length, Content-Type, webhook-*, hop-by-hop headers): remove it";

/// A manifest, the field at fault and the sentence that the API server and `check` both say.
fn refused_by_a_rule() -> Vec<(Value, String, String)> {
    let secret = json!({"secretRef": {"name": "siem", "key": "url"}});
    let http = |http: Value| json!({"target": {"http": http}});
    let headers = |headers: Value| json!({"target": {"http": {"url": "https://a", "headers": headers}}});
    let delivery = |delivery: Value| json!({"delivery": delivery});
    let egress = |field: &str, value: &str| json!({"dispatcher": {"egress": {field: [value]}}});
    let queue = |size: Value| json!({"dispatcher": {"queue": {"embedded": {"size": size}}}});
    let subscriptions = [
        (json!({"events": ["auth*"]}), "spec.events[0]", PATTERN.to_owned()),
        (json!({"events": ["auth.login", "*.login"]}), "spec.events[1]", PATTERN.to_owned()),
        (json!({"events": ["auth.*.x"]}), "spec.events[0]", PATTERN.to_owned()),
        (json!({"events": ["a b"]}), "spec.events[0]", PATTERN.to_owned()),
        (json!({"exclude": ["auth."]}), "spec.exclude[0]", PATTERN.to_owned()),
        (json!({"filter": {}}), "spec.filter", "name match or expression, or remove filter".to_owned()),
        (http(json!({"url": "siem.example.com"})), "spec.target.http.url", URL.to_owned()),
        (http(json!({"url": "ftp://siem.example.com"})), "spec.target.http.url", URL.to_owned()),
        (http(json!({"url": "https://me:pw@siem.example.com"})), "spec.target.http.url", URL.to_owned()),
        (
            http(json!({"url": "https://siem.example.com/a b"})),
            "spec.target.http.url",
            "there is a space or a line break in this URL: remove it, or write %20".to_owned(),
        ),
        (
            http(json!({
                "url": "https://a", "auth": {"bearer": secret},
                "headers": [{"name": "AUTHORIZATION", "valueFrom": secret}],
            })),
            "spec.target.http.headers",
            "auth sets the Authorization header: remove the header, or remove auth".to_owned(),
        ),
        (
            headers(json!([{"name": "X-Team", "value": "a"}, {"name": "x-team", "value": "b"}])),
            "spec.target.http.headers",
            "a header stands here twice; names compare without case".to_owned(),
        ),
        (
            headers(json!([{"name": "Host", "value": "a"}])),
            "spec.target.http.headers[0].name",
            HEADER.to_owned(),
        ),
        (
            headers(json!([{"name": "webhook-id", "value": "a"}])),
            "spec.target.http.headers[0].name",
            HEADER.to_owned(),
        ),
        (
            headers(json!([{"name": "TE", "value": "a"}])),
            "spec.target.http.headers[0].name",
            HEADER.to_owned(),
        ),
        (
            headers(json!([{"name": "X-Team:", "value": "a"}])),
            "spec.target.http.headers[0].name",
            "a header's name consists of letters, digits and '-', without a colon".to_owned(),
        ),
        (
            headers(json!([{"name": "X-Team", "value": "a\r\nX-Admin: yes"}])),
            "spec.target.http.headers[0].value",
            "a header's value consists of visible ASCII characters, without spaces at its ends".to_owned(),
        ),
        (
            json!({"signing": {"scheme": "None", "secretRefs": [{"name": "a", "key": "b"}]}}),
            "spec.signing",
            "scheme None signs nothing: remove secretRefs, or set scheme to StandardWebhooks".to_owned(),
        ),
        (
            json!({"signing": {"secretRefs": [{"name": "a", "key": "b/c"}]}}),
            "spec.signing.secretRefs[0].key",
            "a key of a Secret consists of letters, digits, '-', '_' and '.'".to_owned(),
        ),
        (
            delivery(json!({"timeout": "30"})),
            "spec.delivery.timeout",
            format!("write a duration from 100ms to 5m, {DURATION}"),
        ),
        (
            delivery(json!({"timeout": "6m"})),
            "spec.delivery.timeout",
            format!("write a duration from 100ms to 5m, {DURATION}"),
        ),
        (
            delivery(json!({"timeout": "-1s"})),
            "spec.delivery.timeout",
            format!("write a duration from 100ms to 5m, {DURATION}"),
        ),
        (
            delivery(json!({"retry": {"schedule": ["5s", "5ms"]}})),
            "spec.delivery.retry.schedule[1]",
            format!("write a duration from 10ms to 168h, {DURATION}"),
        ),
        (
            delivery(json!({"backlog": {"maxAge": "1y"}})),
            "spec.delivery.backlog.maxAge",
            format!("write a duration from 1s to 8760h, {DURATION}"),
        ),
        (
            delivery(json!({"backlog": {"maxBytes": "1Ki"}})),
            "spec.delivery.backlog.maxBytes",
            "write a size from 1Mi to 1Ti: 64Mi, 1Gi, or plain bytes".to_owned(),
        ),
    ];
    let instances = [
        (
            json!({"url": "http://a"}),
            "spec.url",
            "platform Generic has no URL: remove url, or set platform to OpenWebUI".to_owned(),
        ),
        (json!({"platform": "OpenWebUI", "url": "open-webui:8080"}), "spec.url", URL.to_owned()),
        (
            json!({"intake": {"auth": {}}}),
            "spec.intake.auth",
            "name bearer or standardWebhooks, or leave auth out: then a Secret <name>-intake is made"
                .to_owned(),
        ),
        (
            json!({"dispatcher": {"replicas": 2}}),
            "spec.dispatcher.replicas",
            "replicas must be 1: the embedded queue lives on one volume, which one pod holds".to_owned(),
        ),
        (
            json!({"dispatcher": {"replicas": 0}}),
            "spec.dispatcher.replicas",
            "replicas must be 1; to stop deliveries set suspend: true".to_owned(),
        ),
        (queue(json!("63Mi")), "spec.dispatcher.queue.embedded.size", QUEUE.to_owned()),
        (queue(json!("1GB")), "spec.dispatcher.queue.embedded.size", QUEUE.to_owned()),
        (queue(json!(1024)), "spec.dispatcher.queue.embedded.size", QUEUE.to_owned()),
        (
            json!({"dispatcher": {"retention": {"delivered": "7d"}}}),
            "spec.dispatcher.retention.delivered",
            format!("write a duration from 0s to 8760h, {DURATION}"),
        ),
        (egress("allowedHosts", "http://siem"), "spec.dispatcher.egress.allowedHosts[0]", HOST.to_owned()),
        (egress("allowedHosts", "siem:8080"), "spec.dispatcher.egress.allowedHosts[0]", HOST.to_owned()),
        (egress("allowedHosts", "10.0.0.1"), "spec.dispatcher.egress.allowedHosts[0]", HOST.to_owned()),
        (egress("allowedCIDRs", "10.0.0.1"), "spec.dispatcher.egress.allowedCIDRs[0]", CIDR.to_owned()),
        (egress("deniedCIDRs", "10.0.0.0/33"), "spec.dispatcher.egress.deniedCIDRs[0]", CIDR.to_owned()),
    ];
    let mut all: Vec<(Value, String, String)> = Vec::new();
    all.extend(subscriptions.map(|(spec, field, says)| (subscription(&spec), field.to_owned(), says)));
    all.extend(instances.map(|(spec, field, says)| (instance(&spec), field.to_owned(), says)));
    all
}

/// A manifest, what the API server says of it, and what `check` says.
fn refused_by_the_schema() -> Vec<(Value, &'static str, &'static str)> {
    vec![
        (
            subscription(&json!({"event": ["auth.*"]})),
            "strict decoding error: unknown field \"spec.event\"",
            "spec.event: there is no field `event` in `spec`; did you mean `events`?",
        ),
        (
            subscription(&json!({"delivery": {"timeuot": "5s"}})),
            "strict decoding error: unknown field \"spec.delivery.timeuot\"",
            "spec.delivery.timeuot: there is no field `timeuot` in `spec.delivery`; did you mean `timeout`?",
        ),
        (
            subscription(&json!({"delivery": {"timeout": 5}})),
            "spec.delivery.timeout: Invalid value: \"integer\": spec.delivery.timeout in body must be of type string: \"integer\"",
            "spec.delivery.timeout: expected a string, found the number 5: write a duration from 100ms to 5m, with its unit: 500ms, 30s, 5m, 1h30m or 72h",
        ),
        (
            subscription(&json!({"delivery": {"concurrency": 0}})),
            "spec.delivery.concurrency: Invalid value: 0: spec.delivery.concurrency in body should be greater than or equal to 1",
            "spec.delivery.concurrency: 0 is out of range; write a number from 1 to 1000",
        ),
        (
            subscription(&json!({"delivery": {"concurrency": "8"}})),
            "spec.delivery.concurrency in body must be of type integer: \"string\"",
            "spec.delivery.concurrency: expected a whole number, found a string: remove the quotes",
        ),
        (
            subscription(&json!({"instanceRef": "team-chat"})),
            "spec.instanceRef in body must be of type object: \"string\"",
            "spec.instanceRef: expected a map, found a string: write `instanceRef: { name: … }`",
        ),
        (
            subscription(&json!({"instanceRef": null})),
            "spec.instanceRef: Required value",
            "spec.instanceRef: is missing; write it: The ChatInstance whose events these are",
        ),
        (
            subscription(&json!({"events": []})),
            "spec.events in body should have at least 1 items",
            "spec.events: is empty; write at least 1 entry",
        ),
        (
            subscription(&json!({"suspend": "yes"})),
            "spec.suspend in body must be of type boolean: \"string\"",
            "spec.suspend: expected true or false, found a string: write `true` or `false`, without quotes",
        ),
        (
            subscription(&json!({"signing": {"scheme": "standardwebhooks"}})),
            "spec.signing.scheme: Unsupported value: \"standardwebhooks\": supported values: \"StandardWebhooks\", \"None\"",
            "spec.signing.scheme: expected `StandardWebhooks` or `None`; did you mean `StandardWebhooks`?",
        ),
        (
            subscription(&json!({"target": {"http": {"url": "https://a", "method": "post"}}})),
            "spec.target.http.method: Unsupported value: \"post\": supported values: \"POST\", \"PUT\", \"PATCH\"",
            "spec.target.http.method: expected `POST`, `PUT` or `PATCH`; did you mean `POST`?",
        ),
        (
            subscription(&json!({"filter": {"match": [{"path": "data.n", "value": false}]}})),
            "spec.filter.match[0].value in body must be of type string: \"boolean\"",
            "spec.filter.match[0].value: expected a string, found the value false: put it in quotes",
        ),
        (
            instance(&json!({"platform": "openwebui"})),
            "spec.platform: Unsupported value: \"openwebui\": supported values: \"OpenWebUI\", \"Generic\"",
            "spec.platform: expected `OpenWebUI` or `Generic`; did you mean `OpenWebUI`?",
        ),
        (
            instance(&json!({"dispatcher": {"egress": {"plainHttp": true}}})),
            "spec.dispatcher.egress.plainHttp in body must be of type string: \"boolean\"",
            "spec.dispatcher.egress.plainHttp: expected `Deny` or `Allow`, found the value true",
        ),
        (
            instance(&json!({"dispatchers": {}})),
            "strict decoding error: unknown field \"spec.dispatchers\"",
            "spec.dispatchers: there is no field `dispatchers` in `spec`; did you mean `dispatcher`?",
        ),
    ]
}

fn checked(manifest: &Value) -> Vec<String> {
    let problems = admit(manifest["kind"].as_str().unwrap(), manifest).err().unwrap_or_default();
    problems.into_iter().map(|problem| format!("{}: {}", problem.field, problem.detail)).collect()
}

#[tokio::test]
async fn a_rule_says_the_same_on_the_api_server_and_in_check() {
    let plane = ControlPlane::shared().await;
    let (client, namespace) = (plane.admin().await, plane.namespace().await);
    let table = refused_by_a_rule();
    let mut wrong = Vec::new();
    for (manifest, field, sentence) in &table {
        let spec = &manifest["spec"];
        match dry_run(&client, &namespace, manifest).await {
            Err(said) if said.contains(&format!("{field}: Invalid value: ")) && said.contains(sentence) => {}
            said => wrong.push(format!("API server on {spec}: {said:?}, not {field}: {sentence}")),
        }
        let said = checked(manifest);
        if said != [format!("{field}: {sentence}")] {
            wrong.push(format!("check on {spec}: {said:?}, not {field}: {sentence}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_the_schema_refuses_check_refuses_too() {
    let plane = ControlPlane::shared().await;
    let (client, namespace) = (plane.admin().await, plane.namespace().await);
    let mut wrong = Vec::new();
    for (manifest, server, check) in refused_by_the_schema() {
        let spec = &manifest["spec"];
        match dry_run(&client, &namespace, &manifest).await {
            Err(said) if said.contains(server) => {}
            said => wrong.push(format!("API server on {spec}: {said:?}, not {server}")),
        }
        let said = checked(&manifest);
        if said != [check] {
            wrong.push(format!("check on {spec}: {said:?}, not {check}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_is_good_gets_its_defaults_and_a_status_of_no_generation() {
    let plane = ControlPlane::shared().await;
    let (client, namespace) = (plane.admin().await, plane.namespace().await);
    for manifest in [subscription(&json!({})), instance(&json!({}))] {
        let kind = manifest["kind"].as_str().unwrap();
        let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
        let created = ours(&client, &namespace, kind).create(&PostParams::default(), &object).await.unwrap();
        assert_eq!(created.data["status"], json!({"observedGeneration": -1}), "{kind}");
        let admitted = admit(kind, &manifest).unwrap();
        assert_eq!(created.data["spec"], admitted["spec"], "{kind}: check fills in what the API server does");
    }
}

#[tokio::test]
async fn the_golden_manifests_are_judged_alike() {
    let plane = ControlPlane::shared().await;
    let (client, namespace) = (plane.admin().await, plane.namespace().await);
    let mut kinds = BTreeSet::new();
    let (mut good, mut bad) = (0, 0);
    for (file, manifest) in manifests(&root().join("tests/golden/check")) {
        let Some(kind @ ("ChatInstance" | "WebhookSubscription")) = manifest["kind"].as_str() else {
            continue;
        };
        if manifest["apiVersion"] != "chathooks.dev/v1alpha1" {
            continue;
        }
        let mut here = manifest.clone();
        if let Some(metadata) = here["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        let server = dry_run(&client, &namespace, &here).await;
        let check = checked(&here);
        assert_eq!(server.is_ok(), check.is_empty(), "{}: {server:?}\nbut {check:?}", file.display());
        if server.is_ok() {
            good += 1;
        } else {
            bad += 1;
        }
        kinds.insert(kind.to_owned());
    }
    assert_eq!(kinds.len(), 2);
    assert!(good >= 40 && bad >= 20, "{good} good and {bad} bad manifests found");
}

#[tokio::test]
async fn every_file_of_the_examples_is_applied() {
    let plane = ControlPlane::shared().await;
    let client = plane.admin().await;
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 4, "{folders:?}");
    for folder in folders {
        let namespace = plane.namespace().await;
        let documents = manifests(&folder);
        assert!(!documents.is_empty(), "{} holds no manifest", folder.display());
        for (file, mut manifest) in documents {
            manifest["metadata"]["namespace"] = json!(namespace);
            let create = PostParams::default();
            let created = if manifest["kind"] == "Secret" {
                let secret: Secret = serde_json::from_value(manifest).unwrap();
                Api::namespaced(client.clone(), &namespace).create(&create, &secret).await.map(|_| ())
            } else {
                let kind = manifest["kind"].as_str().unwrap().to_owned();
                let object: DynamicObject = serde_json::from_value(manifest).unwrap();
                ours(&client, &namespace, &kind).create(&create, &object).await.map(|_| ())
            };
            assert!(created.is_ok(), "{}: {created:?}", file.display());
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every document of every file below a folder that is YAML at all.
fn manifests(folder: &Path) -> Vec<(PathBuf, Value)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
                let text = std::fs::read(&path).unwrap();
                let documents = serde_saphyr::from_slice_multiple::<Value>(&text).unwrap_or_default();
                found.extend(documents.into_iter().map(|document| (path.clone(), document)));
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

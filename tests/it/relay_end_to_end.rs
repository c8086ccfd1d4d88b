//! From a sign-up in a real Open WebUI to a signed delivery: through the operator, and through `standalone`.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::cluster::{
    ControlPlane, Installation, Kubelet, PATIENCE, Rights, await_condition, condition, ours, wait_for,
};
use crate::support::eventually;
use crate::support::open_webui::{OpenWebUi, shared};
use crate::support::product::Product;
use crate::support::receiver::{Received, Receiver};

async fn apply(client: &Client, namespace: &str, kind: &str, name: &str, spec: Value) {
    let api = ours(client, namespace, kind);
    let object = json!({
        "apiVersion": "chathooks.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    });
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
}

async fn make_secret(client: &Client, namespace: &str, name: &str, values: Value) {
    let secret = json!({"metadata": {"name": name}, "stringData": values});
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
}

fn instance(platform: &OpenWebUi, intake: Option<&str>) -> Value {
    let mut spec = json!({
        "platform": "OpenWebUI",
        "url": platform.url(),
        "credentials": {"apiKey": {"secretRef": {"name": "admin", "key": "key"}}},
        "resyncInterval": "1m",
        "dispatcher": {
            "queue": {"embedded": {"size": "64Mi"}},
            "egress": {"plainHttp": "Allow", "allowedCIDRs": ["127.0.0.0/8"]},
        },
    });
    if let Some(url) = intake {
        spec["intake"] = json!({"url": url});
    }
    spec
}

fn subscription(receiver: &Receiver, path: &str, events: &[&str]) -> Value {
    json!({
        "instanceRef": {"name": "chat"},
        "events": events,
        "target": {"http": {"url": receiver.url(path)}},
        "delivery": {"retry": {"schedule": ["1s", "1s", "1s", "1s", "1s"], "jitter": 0}},
    })
}

/// Whether the published library takes the delivery for one that this secret signed.
fn verify(received: &Received, secret: &str) {
    let webhook = standardwebhooks::Webhook::new(secret).unwrap();
    webhook.verify(&received.body, &received.headers).unwrap();
}

async fn delivered(receiver: &Receiver, path: &str, event: &str) -> Received {
    eventually("the event is delivered", async || {
        receiver.received().into_iter().find(|one| {
            let body: Value = serde_json::from_slice(&one.body).unwrap_or_default();
            one.path == path && body["event"] == event
        })
    })
    .await
}

async fn relays(platform: &OpenWebUi) -> Vec<Value> {
    let listed = platform.ok("GET", "/api/v1/functions/list", &Value::Null).await;
    let all = listed.as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|one| one["id"].as_str().unwrap().starts_with("chathooks_relay_")).collect()
}

async fn status(api: &Api<DynamicObject>, name: &str) -> Value {
    serde_json::to_value(api.get(name).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_sign_up_becomes_a_signed_delivery_and_the_relay_is_kept_right() {
    let mut platform = OpenWebUi::new();
    platform.start(&[]).await;
    platform.make_key().await;
    let plane = ControlPlane::shared().await;
    let (client, namespace) = (plane.admin().await, plane.namespace().await);
    let kubelet = Kubelet::start(plane, Some(&namespace)).await;
    let installation = Installation::new(plane, Rights::of_the_chart(), &[&namespace]).await;
    let operator = installation.start("first").await;
    let receiver = Receiver::start().await;
    let instances = ours(&client, &namespace, "ChatInstance");
    let subscriptions = ours(&client, &namespace, "WebhookSubscription");

    // The dispatcher's Service has no name that the platform could resolve here, and the condition says what to do.
    make_secret(&client, &namespace, "admin", json!({"key": platform.key})).await;
    apply(&client, &namespace, "ChatInstance", "chat", instance(&platform, None)).await;
    let silent = await_condition(&instances, "chat", "IntakeReady", "False").await;
    assert_eq!(silent["reason"], "RelaySilent", "{silent:#}");
    let service = format!("http://chat-dispatcher.{namespace}.svc/v1/events");
    assert!(silent["message"].as_str().unwrap().contains(&service), "{silent:#}");
    kubelet.ready(&namespace, "chat-dispatcher").await;
    let intake = format!("http://{}", kubelet.address(&namespace, "chat-dispatcher", 8080).await);
    apply(&client, &namespace, "ChatInstance", "chat", instance(&platform, Some(&intake))).await;
    await_condition(&instances, "chat", "IntakeReady", "True").await;
    await_condition(&instances, "chat", "Reachable", "True").await;
    assert_eq!(status(&instances, "chat").await["status"]["platformVersion"], "0.12.4");

    // Programmed waits for the relay, so whoever waits for Ready misses nothing.
    let begun = Instant::now();
    apply(
        &client,
        &namespace,
        "WebhookSubscription",
        "users",
        subscription(&receiver, "/users", &["user.*"]),
    )
    .await;
    await_condition(&subscriptions, "users", "Ready", "True").await;
    eprintln!("apply to Ready with a new relay pattern: {:?}", begun.elapsed());
    let begun = Instant::now();
    platform.add_user("ada").await;
    let received = delivered(&receiver, "/users", "user.created").await;
    eprintln!("sign-up to signed delivery: {:?}", begun.elapsed());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let signing = secrets.get("users-signing").await.unwrap().data.unwrap().remove("signing-secret").unwrap();
    verify(&received, std::str::from_utf8(&signing.0).unwrap());

    // Switched off by hand, deleted by hand: put right, and told.
    let id = relays(&platform).await[0]["id"].as_str().unwrap().to_owned();
    platform.ok("POST", &format!("/api/v1/functions/id/{id}/toggle"), &json!({})).await;
    eventually("it is switched on again", async || {
        (relays(&platform).await.first()?["is_active"] == true).then_some(())
    })
    .await;
    platform.ok("DELETE", &format!("/api/v1/functions/id/{id}/delete"), &Value::Null).await;
    wait_for("it is installed again", PATIENCE, async || {
        (relays(&platform).await.first()?["is_active"] == true).then_some(())
    })
    .await;
    await_condition(&instances, "chat", "IntakeReady", "True").await;

    // Nothing is lost while the dispatcher is away.
    let missed = subscription(&receiver, "/notes", &["note.created"]);
    apply(&client, &namespace, "WebhookSubscription", "notes", missed).await;
    await_condition(&subscriptions, "notes", "Ready", "True").await;
    kubelet.hold(&namespace, "chat-dispatcher", true).await;
    kubelet.kill(&namespace, "chat-dispatcher").await;
    for n in 0..60 {
        platform.make_note(&format!("missed {n}")).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    kubelet.hold(&namespace, "chat-dispatcher", false).await;
    kubelet.ready(&namespace, "chat-dispatcher").await;
    let again = format!("http://{}", kubelet.address(&namespace, "chat-dispatcher", 8080).await);
    assert_eq!(again, intake, "the relay finds it where it was");
    let notes = || receiver.received().iter().filter(|one| one.path == "/notes").count();
    wait_for("all notes arrive", PATIENCE, async || (notes() >= 60).then_some(())).await;

    // The platform comes and goes, and the conditions say so.
    platform.stop().await;
    wait_for("it is told that the platform is away", PATIENCE, async || {
        let found = status(&instances, "chat").await;
        (condition(&found, "Reachable")?["reason"] == "ConnectionRefused").then_some(())
    })
    .await;
    platform.start(&[]).await;
    await_condition(&instances, "chat", "Reachable", "True").await;
    await_condition(&instances, "chat", "IntakeReady", "True").await;

    // Deleted, it takes its relay along.
    instances.delete("chat", &DeleteParams::default()).await.unwrap();
    wait_for("the ChatInstance goes", PATIENCE, async || instances.get("chat").await.is_err().then_some(()))
        .await;
    assert_eq!(relays(&platform).await, Vec::<Value>::new(), "{}", operator.log());
}

#[tokio::test]
async fn standalone_does_the_same_with_credentials_in_the_folder() {
    let platform = shared().await;
    let receiver = Receiver::start().await;
    let mut product = Product::new();
    product.write(
        "instance.yaml",
        &serde_json::to_string(&json!({
            "apiVersion": "chathooks.dev/v1alpha1", "kind": "ChatInstance",
            "metadata": {"name": "chat", "namespace": "standalone-relay"}, "spec": instance(platform, None),
        }))
        .unwrap(),
    );
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "admin", "namespace": "standalone-relay"},
        "stringData": {"key": platform.key},
    });
    product.write("secret.yaml", &secret.to_string());
    product.write(
        "users.yaml",
        &json!({
            "apiVersion": "chathooks.dev/v1alpha1", "kind": "WebhookSubscription",
            "metadata": {"name": "users", "namespace": "standalone-relay"},
            "spec": subscription(&receiver, "/users", &["user.*"]),
        })
        .to_string(),
    );
    product.start().await;
    eventually("everything is ready", async || {
        let status = product.status().await;
        let object =
            status["objects"].as_array()?.iter().find(|one| one["kind"] == "WebhookSubscription")?.clone();
        let wrapped = json!({"status": object});
        (condition(&wrapped, "Ready")?["status"] == "True").then_some(())
    })
    .await;
    platform.add_user("grace").await;
    let received = delivered(&receiver, "/users", "user.created").await;
    let secret = std::fs::read_to_string(
        product.data.path().join("secrets/standalone-relay/users-signing/signing-secret"),
    );
    verify(&received, &secret.unwrap());

    let ours = async || {
        let all = relays(platform).await;
        all.into_iter().filter(|one| one["meta"]["chathooks"]["namespace"] == "standalone-relay").count()
    };
    assert_eq!(ours().await, 1);
    product.remove("instance.yaml");
    eventually("the relay goes with its manifest", async || (ours().await == 0).then_some(())).await;
}

//! `chathooks operator` against the real API server, with the rights of the chart, each test in a namespace of its own.

// The times that are seen belong to the output.
#![allow(clippy::print_stderr)]

mod attach;
mod children;
mod life;
mod ownership;
mod secrets;
mod speed;
mod writes;

use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::cluster::{
    Audit, ControlPlane, Installation, Kubelet, Operator, PATIENCE, Rights, audit, await_condition,
    collector, condition, wait_for,
};
use crate::support::envelope;
use crate::support::receiver::{Received, Receiver};

const CHATHOOKS: &str = "chathooks.dev/v1alpha1";

/// The ChatInstance of most tests, and what is made for it.
const TEAM: &str = "team";
const DISPATCHER: &str = "team-dispatcher";

/// A namespace with an operator that watches it, a kubelet, and somebody who receives.
struct Scene {
    plane: &'static ControlPlane,
    client: Client,
    namespace: String,
    kubelet: Kubelet,
    installation: Installation,
    operator: Operator,
    receiver: Receiver,
    http: reqwest::Client,
    begun: audit::Mark,
}

impl Scene {
    async fn start() -> Self {
        Self::watching(&[]).await
    }

    /// The operator watches these namespaces as well.
    async fn watching(others: &[&str]) -> Self {
        let plane = ControlPlane::shared().await;
        let begun = plane.audit().mark();
        let namespace = plane.namespace().await;
        let kubelet = Kubelet::start(plane, Some(&namespace)).await;
        let watched: Vec<&str> = [namespace.as_str()].into_iter().chain(others.iter().copied()).collect();
        let installation = Installation::new(plane, Rights::of_the_chart(), &watched).await;
        let operator = installation.start("first").await;
        Self {
            plane,
            client: plane.admin().await,
            namespace,
            kubelet,
            installation,
            operator,
            receiver: Receiver::start().await,
            http: reqwest::Client::new(),
            begun,
        }
    }

    /// A scene with the ChatInstance [`TEAM`], ready.
    async fn with_team() -> Self {
        let scene = Self::start().await;
        scene.apply(instance(TEAM, json!({}))).await;
        scene.becomes("ChatInstance", TEAM, "Ready", "True").await;
        scene
    }

    fn api_in(&self, namespace: &str, api_version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    fn api(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        self.api_in(&self.namespace, api_version, kind)
    }

    fn ours(&self, kind: &str) -> Api<DynamicObject> {
        self.api(CHATHOOKS, kind)
    }

    /// `kubectl apply --server-side`; gives back what stands then.
    async fn apply(&self, manifest: Value) -> Value {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &manifest["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or(&self.namespace);
        let api = self.api_in(namespace, &text(&manifest["apiVersion"]), &text(&manifest["kind"]));
        let params = PatchParams::apply("kubectl").force();
        let applied = api.patch(&text(&metadata["name"]), &params, &Patch::Apply(&manifest)).await.unwrap();
        serde_json::to_value(applied).unwrap()
    }

    /// `kubectl patch --type=merge`.
    async fn patch(&self, api_version: &str, kind: &str, name: &str, patch: Value) {
        let api = self.api(api_version, kind);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    async fn delete(&self, api_version: &str, kind: &str, name: &str) {
        self.api(api_version, kind).delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// The object, `Null` if there is none.
    async fn get(&self, api_version: &str, kind: &str, name: &str) -> Value {
        let found = self.api(api_version, kind).get_opt(name).await.unwrap();
        found.map_or(Value::Null, |object| serde_json::to_value(object).unwrap())
    }

    async fn collect_garbage(&self) -> Vec<String> {
        collector::collect_garbage(&self.client, &self.namespace).await.unwrap()
    }

    /// Waits for a condition of the present generation.
    async fn becomes(&self, kind: &str, name: &str, type_: &str, status: &str) -> Value {
        await_condition(&self.ours(kind), name, type_, status).await
    }

    /// Waits until a condition has this reason, for the present generation; gives back its message.
    async fn says(&self, kind: &str, name: &str, type_: &str, reason: &str) -> String {
        self.says_in(&self.namespace, kind, name, type_, reason).await
    }

    async fn says_in(&self, namespace: &str, kind: &str, name: &str, type_: &str, reason: &str) -> String {
        let api = self.api_in(namespace, CHATHOOKS, kind);
        let mut last = Value::Null;
        let mut find = async || {
            let object = serde_json::to_value(api.get_opt(name).await.ok()??).unwrap();
            last = object["status"].clone();
            let found = condition(&object, type_)?;
            let current = found["observedGeneration"] == object["metadata"]["generation"];
            (current && found["reason"] == reason).then(|| found["message"].as_str().unwrap().to_owned())
        };
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(message) = find().await {
                    return message;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let Ok(message) = found.await else {
            panic!("{kind} {name} did not say {type_} {reason}; its status: {last:#}");
        };
        message
    }

    /// A value of a Secret.
    async fn secret(&self, name: &str, key: &str) -> String {
        let secret = self.get("v1", "Secret", name).await;
        let text = secret["data"][key].as_str().unwrap_or_else(|| panic!("Secret {name} has no {key}"));
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Posts an event with the generated token; the status of the answer.
    async fn try_post(&self, id: &str, event: &str) -> u16 {
        let token = self.secret("team-intake", "token").await;
        let address = self.kubelet.address(&self.namespace, DISPATCHER, 8080).await;
        let request = self.http.post(format!("http://{address}/v1/events"));
        let request = request.bearer_auth(token).body(envelope(id, event).to_string());
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    /// Posts an event, which is taken.
    async fn post(&self, id: &str, event: &str) {
        wait_for("the event is taken", PATIENCE, async || {
            (self.try_post(id, event).await == 202).then_some(())
        })
        .await;
    }

    /// Waits for an event at a path of the receiver.
    async fn delivered(&self, id: &str, path: &str) -> Received {
        wait_for(&format!("{id} is delivered to {path}"), PATIENCE, async || {
            let received = self.receiver.received().into_iter();
            received.into_iter().find(|one| one.header("webhook-id") == id && one.path == path)
        })
        .await
    }

    /// Notes and reasons of the Kubernetes Events about an object: `Warning SecretNotFound spec.…`.
    async fn events(&self, name: &str) -> Vec<String> {
        let events = self.api("events.k8s.io/v1", "Event").list(&ListParams::default()).await.unwrap();
        let events = events.items.into_iter().map(|event| serde_json::to_value(event).unwrap());
        let about = events.filter(|event| event["regarding"]["name"] == name);
        let line = |event: Value| {
            let word = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", word("type"), word("reason"), word("note"))
        };
        about.map(line).collect()
    }

    /// Waits for an Event that begins so.
    async fn event(&self, name: &str, begin: &str) -> String {
        wait_for(&format!("an Event {begin:?} about {name}"), PATIENCE, async || {
            self.events(name).await.into_iter().find(|line| line.starts_with(begin))
        })
        .await
    }

    fn audit(&self) -> Audit {
        self.plane.audit()
    }

    async fn starts(&self) -> u32 {
        self.kubelet.starts(&self.namespace, DISPATCHER).await
    }

    /// The operator still runs, and was never refused anything.
    fn end(mut self) {
        assert!(self.operator.is_running(), "the operator ended:\n{}", self.operator.log());
        let refused = self.audit().forbidden(self.begun, &self.installation.user());
        assert!(refused.is_empty(), "the chart's rights do not allow {refused:?}");
    }
}

/// A ChatInstance to which events are pushed, with more in its `spec`.
fn instance(name: &str, more: Value) -> Value {
    let mut spec = json!({
        "platform": "Generic",
        "dispatcher": {"egress": {"plainHttp": "Allow", "allowedCIDRs": ["127.0.0.0/8"]}},
    });
    merge(&mut spec, more);
    json!({"apiVersion": CHATHOOKS, "kind": "ChatInstance", "metadata": {"name": name}, "spec": spec})
}

/// A WebhookSubscription to everything, on [`TEAM`], with more in its `spec`.
fn subscription(name: &str, url: &str, more: Value) -> Value {
    let mut spec = json!({
        "instanceRef": {"name": TEAM}, "events": ["*"], "target": {"http": {"url": url}},
    });
    merge(&mut spec, more);
    json!({"apiVersion": CHATHOOKS, "kind": "WebhookSubscription", "metadata": {"name": name}, "spec": spec})
}

fn secret(name: &str, values: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values})
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

//! The operator when things fail, and with much to do: each file one kind of trouble.

// Times that were seen belong to the output of a test.
#![allow(clippy::print_stderr)]

mod deletion;
mod leaders;
mod many;
mod outage;
mod start;

use std::collections::BTreeSet;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::cluster::{
    ControlPlane, Installation, Kubelet, Operator, PATIENCE, Rights, await_condition, ours, wait_for,
};
use crate::support::envelope;
use crate::support::receiver::Receiver;

/// What opens the intake of [`Bench::chat`].
const TOKEN: &str = "it-token";

/// The StatefulSet of ChatInstance `chat`.
const DISPATCHER: &str = "chat-dispatcher";

/// A namespace with a kubelet, somebody who receives, and an operator's installation for that namespace alone.
struct Bench {
    client: Client,
    namespace: String,
    kubelet: Kubelet,
    installation: Installation,
    receiver: Receiver,
    http: reqwest::Client,
}

impl Bench {
    async fn new(plane: &ControlPlane) -> Self {
        let (client, namespace) = (plane.admin().await, plane.namespace().await);
        Self {
            kubelet: Kubelet::start(plane, Some(&namespace)).await,
            installation: Installation::new(plane, Rights::of_the_chart(), &[&namespace]).await,
            receiver: Receiver::start().await,
            http: reqwest::Client::new(),
            client,
            namespace,
        }
    }

    fn instances(&self) -> Api<DynamicObject> {
        ours(&self.client, &self.namespace, "ChatInstance")
    }

    fn subscriptions(&self) -> Api<DynamicObject> {
        ours(&self.client, &self.namespace, "WebhookSubscription")
    }

    /// Makes ChatInstance `chat`, to which events are pushed.
    async fn chat(&self) {
        secret(&self.client, &self.namespace, "intake", json!({"token": TOKEN})).await;
        create(&self.instances(), chat_instance()).await;
    }

    /// Makes a subscription to everything, delivered to the path of its name.
    async fn subscribe(&self, name: &str) {
        create(&self.subscriptions(), subscription(name, &self.receiver.url(&format!("/{name}")))).await;
    }

    async fn ready(&self, name: &str) {
        await_condition(&self.subscriptions(), name, "Ready", "True").await;
    }

    /// Merges `patch` into a subscription.
    async fn change(&self, name: &str, patch: &Value) -> Result<DynamicObject, kube::Error> {
        self.subscriptions().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    /// Posts an event to the dispatcher and expects that it is taken.
    async fn post(&self, id: &str) {
        let address = self.kubelet.address(&self.namespace, DISPATCHER, 8080).await;
        let request = self.http.post(format!("http://{address}/v1/events")).bearer_auth(TOKEN);
        let request = request.header("content-type", "application/json");
        let answer = request.body(envelope(id, "chat.finished").to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
    }

    /// Waits until every one of these events has come to the path of a subscription.
    async fn delivered(&self, name: &str, ids: &[String]) {
        let path = format!("/{name}");
        wait_for(&format!("{} events at {path}", ids.len()), PATIENCE, async || {
            let received = self.receiver.received();
            let there: BTreeSet<String> = received
                .iter()
                .filter(|one| one.path == path)
                .filter_map(|one| {
                    serde_json::from_slice::<Value>(&one.body).ok()?["id"].as_str().map(str::to_owned)
                })
                .collect();
            ids.iter().all(|id| there.contains(id)).then_some(())
        })
        .await;
    }

    /// Who holds the Lease, as it says.
    async fn holder(&self) -> Option<String> {
        let api = Api::<Lease>::namespaced(self.client.clone(), &self.installation.namespace);
        api.get_opt("chathooks-operator").await.ok()??.spec?.holder_identity
    }

    async fn leads(&self, identity: &str) {
        wait_for(&format!("{identity} leads"), PATIENCE, async || {
            (self.holder().await.as_deref() == Some(identity)).then_some(())
        })
        .await;
    }
}

/// Whether this replica says of itself that it leads.
async fn is_leading(operator: &Operator) -> bool {
    operator.metric("chathooks_operator_leading").await > 0
}

fn chat_instance() -> Value {
    json!({
        "metadata": {"name": "chat"},
        "spec": {
            "platform": "Generic",
            "intake": {"auth": {"bearer": {"secretRef": {"name": "intake", "key": "token"}}}},
            "dispatcher": {"egress": {"plainHttp": "Allow", "allowedCIDRs": ["127.0.0.0/8"]}},
        },
    })
}

fn subscription(name: &str, url: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "instanceRef": {"name": "chat"},
            "events": ["*"],
            "target": {"http": {"url": url}},
            "signing": {"scheme": "None"},
        },
    })
}

async fn create(api: &Api<DynamicObject>, mut object: Value) {
    let (group, kind) = (
        "chathooks.dev/v1alpha1",
        if object["spec"]["target"].is_null() { "ChatInstance" } else { "WebhookSubscription" },
    );
    object["apiVersion"] = json!(group);
    object["kind"] = json!(kind);
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

async fn secret(client: &Client, namespace: &str, name: &str, values: Value) {
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": name}, "stringData": values})).unwrap();
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &secret).await.unwrap();
}

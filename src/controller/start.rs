//! What the operator waits for before it begins: the API server, its kinds, the cluster's identity.

use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, Config};
use tokio::time::sleep;

use super::admin::Readiness;
use super::stores::Stores;
use super::write::read;
use crate::api::{ChatInstance, WebhookSubscription};
use crate::watching;

/// Pause between two looks.
const AGAIN: Duration = Duration::from_secs(2);

/// The namespace whose uid names the cluster.
const SYSTEM: &str = "kube-system";

/// A client from the pod's surroundings, or from KUBECONFIG. The API server's log tells replicas apart by `identity`.
pub async fn client(identity: &str) -> Result<Client, String> {
    let mut config = Config::infer().await.map_err(|error| {
        format!("no cluster is configured: run this in a pod, or set KUBECONFIG to a file that works with kubectl ({error})")
    })?;
    watching::limit(&mut config);
    let agent = format!("chathooks-operator/{} ({identity})", env!("CARGO_PKG_VERSION"));
    config.headers.extend(HeaderValue::try_from(agent).map(|agent| (USER_AGENT, agent)));
    Client::try_from(config).map_err(|error| format!("the cluster's configuration cannot be used: {error}"))
}

/// Waits until our kinds are served; dying instead would help nobody who installs both at once.
pub async fn kinds(client: &Client, namespaces: &[String], readiness: &Readiness) {
    loop {
        let one = ListParams::default().limit(1);
        let (instances, subscriptions): (Api<ChatInstance>, Api<WebhookSubscription>) =
            match namespaces.first() {
                Some(namespace) => {
                    (Api::namespaced(client.clone(), namespace), Api::namespaced(client.clone(), namespace))
                }
                None => (Api::all(client.clone()), Api::all(client.clone())),
            };
        let mut waiting = Vec::new();
        waiting.extend(missing("chatinstances", read("list ChatInstances", instances.list(&one)).await));
        waiting.extend(missing(
            "webhooksubscriptions",
            read("list WebhookSubscriptions", subscriptions.list(&one)).await,
        ));
        if waiting.is_empty() {
            return;
        }
        readiness.waits_for(waiting);
        sleep(AGAIN).await;
    }
}

fn missing<T>(plural: &str, listed: Result<T, super::error::Error>) -> Option<String> {
    match listed {
        Ok(_) => None,
        Err(super::error::Error::Api { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.code == 404) => {
            Some(format!(
                "CustomResourceDefinition {plural}.chathooks.dev: install charts/chathooks-crds, or `chathooks crds | kubectl apply -f -`"
            ))
        }
        Err(error) => Some(format!("the Kubernetes API: {error}")),
    }
}

/// Uid of `kube-system`: stays the same as long as the cluster does.
pub async fn cluster_id(client: &Client, readiness: &Readiness) -> String {
    let api: Api<Namespace> = Api::all(client.clone());
    loop {
        match read("read namespace kube-system", api.get_metadata(SYSTEM)).await {
            Ok(namespace) => {
                if let Some(uid) = namespace.metadata.uid {
                    return uid;
                }
            }
            Err(error) => readiness.waits_for(vec![format!("the Kubernetes API: {error}")]),
        }
        sleep(AGAIN).await;
    }
}

/// Waits until every store has been filled once.
pub async fn filled(stores: &Stores, readiness: &Readiness) {
    readiness.waits_for(vec!["the first listing of what is watched".to_owned()]);
    super::stores::filled(stores).await;
}

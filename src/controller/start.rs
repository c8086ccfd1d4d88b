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

/// Those of the namespaces that are there. One that is gone must not keep the others waiting; it is asked for by a 404 of
/// its own, since a list that is refused says nothing. None named means all, and stays so.
pub async fn existing(client: &Client, namespaces: &[String], readiness: &Readiness) -> Vec<String> {
    let api: Api<Namespace> = Api::all(client.clone());
    loop {
        let mut found = Vec::new();
        let mut waiting = Vec::new();
        for name in namespaces {
            match read("read a Namespace", api.get_metadata_opt(name)).await {
                Ok(Some(_)) => found.push(name.clone()),
                Ok(None) => waiting.push(format!("namespace {name}")),
                Err(error) => return gave_up(namespaces, &error),
            }
        }
        if namespaces.is_empty() || !found.is_empty() {
            for gone in waiting {
                tracing::warn!("{gone} is to be watched and is not there; restart the operator once it is");
            }
            return found;
        }
        readiness.waits_for(waiting);
        sleep(AGAIN).await;
    }
}

/// Who may not ask takes them all to be there.
fn gave_up(namespaces: &[String], error: &super::error::Error) -> Vec<String> {
    tracing::warn!(%error, "whether the watched namespaces are there could not be asked");
    namespaces.to_vec()
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

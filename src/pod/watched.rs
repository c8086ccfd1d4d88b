//! Watches the 16 plan Secrets by name, so that a change is served within moments.
//!
//! Needs get, list and watch on these names alone. Everything that goes wrong here is survived: what is served stays.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{BoxStream, select_all};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::utils::StreamBackoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::pieces::Identity;
use crate::plan::shards::{SECRET_KEY, SHARDS, secret_name};
use crate::watching::{self, Away, Pauses};

/// Longest pause between two tries of a watch: every dispatcher of a cluster has 16.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Pieces that wait to be looked at.
const WAITING: usize = 2 * SHARDS as usize;

/// A piece as the API server has it: its number and its bytes.
pub(super) type Delivered = (u8, Vec<u8>);

/// Watches for as long as somebody receives.
pub(super) fn spawn(identity: Identity) -> mpsc::Receiver<Delivered> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        tokio::select! {
            () = watch(&identity, &sender) => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

async fn watch(identity: &Identity, sender: &mpsc::Sender<Delivered>) {
    let client = connect().await;
    let api: Api<Secret> = Api::namespaced(client, &identity.namespace);
    let mut watches =
        select_all((0..SHARDS).map(|index| piece(&api, index, secret_name(&identity.name, index))));
    let mut away = Away::default();
    while let Some((index, event)) = watches.next().await {
        match event {
            Ok(event) => {
                // A Secret that is gone is late, never empty: what it held stays served.
                if let Event::Apply(secret) | Event::InitApply(secret) = event {
                    let bytes = secret.data.and_then(|mut data| data.remove(SECRET_KEY));
                    let bytes = bytes.map(|bytes| bytes.0).unwrap_or_default();
                    if sender.send((index, bytes)).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                if let Some(error) = away.news(&error) {
                    tracing::warn!(
                        error,
                        "the plan's Secrets cannot be watched; what is served stays, trying again"
                    );
                }
            }
        }
    }
}

fn piece(
    api: &Api<Secret>,
    index: u8,
    name: String,
) -> BoxStream<'static, (u8, Result<Event<Secret>, watcher::Error>)> {
    let config = watching::config().fields(&format!("metadata.name={name}"));
    StreamBackoff::new(watcher(api.clone(), config), Pauses::up_to(PAUSE_MAX))
        .map(move |event| (index, event))
        .boxed()
}

/// A client, as soon as there can be one.
async fn connect() -> Client {
    let mut pauses = Pauses::up_to(PAUSE_MAX);
    let mut told = false;
    loop {
        let client = match Config::infer().await {
            Ok(mut config) => {
                watching::limit(&mut config);
                Client::try_from(config).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match client {
            Ok(client) => return client,
            Err(error) if !told => {
                told = true;
                tracing::warn!(
                    error,
                    "the plan is only read from its mount: neither a service account nor KUBECONFIG says where the \
                     API server is"
                );
            }
            Err(_) => {}
        }
        sleep(pauses.pause()).await;
    }
}

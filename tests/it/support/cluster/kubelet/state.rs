//! What the kubelet knows of the cluster: a watched copy of what concerns pods.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::super::identity::Access;
use super::super::{ControlPlane, ports};

/// A write that hangs must not keep pods from being looked at.
const WRITE: Duration = Duration::from_secs(3);

/// Stores that follow the API server.
pub struct State {
    pub client: Client,
    pub access: Access,
    pub folder: PathBuf,
    pub address: Ipv4Addr,
    pub sets: Store<StatefulSet>,
    pub pods: Store<Pod>,
    pub services: Store<Service>,
    pub secrets: Store<Secret>,
    pub config_maps: Store<ConfigMap>,
    pub claims: Store<PersistentVolumeClaim>,
    _watches: JoinSet<()>,
}

impl State {
    pub async fn watch(plane: &ControlPlane, namespace: Option<&str>) -> Self {
        let client = plane.admin().await;
        let mut watches = JoinSet::new();
        let state = Self {
            sets: follow(&mut watches, &client, namespace),
            pods: follow(&mut watches, &client, namespace),
            services: follow(&mut watches, &client, namespace),
            secrets: follow(&mut watches, &client, namespace),
            config_maps: follow(&mut watches, &client, namespace),
            claims: follow(&mut watches, &client, namespace),
            access: plane.access(),
            folder: plane.folder().to_owned(),
            address: ports::node_address(),
            client,
            _watches: watches,
        };
        state.secrets.wait_until_ready().await.unwrap();
        state.claims.wait_until_ready().await.unwrap();
        state.pods.wait_until_ready().await.unwrap();
        state
    }

    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.pods.get(&ObjectRef::new(name).within(namespace))
    }
}

/// Makes a request within a bounded time. What fails is told and tried again at the next look.
pub async fn attempt<T>(what: &str, request: impl Future<Output = Result<T, kube::Error>>) -> Option<T> {
    match tokio::time::timeout(WRITE, request).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            eprintln!("kubelet: {what}: {error}");
            None
        }
        Err(_) => {
            eprintln!("kubelet: {what}: no answer from the API server");
            None
        }
    }
}

fn follow<K>(watches: &mut JoinSet<()>, client: &Client, namespace: Option<&str>) -> Store<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let api: Api<K> = namespace
        .map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace));
    let (store, writer) = reflector::store();
    let events = reflector::reflector(writer, watcher(api, watcher::Config::default()).backoff(Soon));
    watches.spawn(events.for_each(async |_| ()));
    store
}

/// A test that starts the API server again does not wait half a minute for a watch to notice.
struct Soon;

impl Iterator for Soon {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(300))
    }
}

impl Backoff for Soon {
    fn reset(&mut self) {}
}

//! As much of the Kubernetes API as a dispatcher uses: list and watch of Secrets by name.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use chathooks::plan::model::InstancePlan;
use chathooks::plan::shards;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch;

/// Secrets, with the version at which each was written.
#[derive(Default)]
struct Store {
    version: u64,
    secrets: BTreeMap<String, (u64, Value)>,
    /// Deleted ones, with the version at which each went.
    deleted: BTreeMap<String, (u64, Value)>,
    refuse: Option<u16>,
}

/// A running API server.
pub struct ApiServer {
    address: SocketAddr,
    store: Arc<Mutex<Store>>,
    changed: watch::Sender<()>,
}

type Shared = (Arc<Mutex<Store>>, watch::Sender<()>);

impl ApiServer {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let store = Arc::new(Mutex::new(Store { version: 1, ..Store::default() }));
        let changed = watch::channel(()).0;
        let router = Router::new()
            .route("/api/v1/namespaces/ai/secrets", get(secrets))
            .with_state((Arc::clone(&store), changed.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, store, changed }
    }

    /// Writes a kubeconfig into a folder.
    pub fn kubeconfig(&self, folder: &Path) -> PathBuf {
        let path = folder.join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "it", "user": {}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// Writes the pieces of a plan that differ, as the operator does.
    pub fn put(&self, instance: &str, plan: &InstancePlan) {
        let mut store = self.store.lock().unwrap();
        for shard in shards::encode(plan, true).into_iter().map(Result::unwrap) {
            let name = shards::secret_name(instance, shard.index);
            let data = base64::engine::general_purpose::STANDARD.encode(&shard.bytes);
            if store.secrets.get(&name).is_some_and(|(_, secret)| secret["data"]["plan"] == data) {
                continue;
            }
            store.version += 1;
            let version = store.version;
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "data": {"plan": data},
                "metadata": {"name": name, "namespace": "ai", "uid": name, "resourceVersion": version.to_string()},
            });
            store.deleted.remove(&name);
            store.secrets.insert(name, (version, secret));
        }
        drop(store);
        self.changed.send_replace(());
    }

    pub fn delete(&self, name: &str) {
        let mut store = self.store.lock().unwrap();
        store.version += 1;
        let version = store.version;
        let (_, mut secret) = store.secrets.remove(name).unwrap();
        secret["metadata"]["resourceVersion"] = json!(version.to_string());
        store.deleted.insert(name.to_owned(), (version, secret));
        drop(store);
        self.changed.send_replace(());
    }

    /// Answers everything with this status from now on, and ends what is under way.
    pub fn refuse(&self, status: u16) {
        self.store.lock().unwrap().refuse = Some(status);
        self.changed.send_replace(());
    }

    pub fn accept(&self) {
        self.store.lock().unwrap().refuse = None;
    }
}

async fn secrets(
    State((store, changed)): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let name = query["fieldSelector"].strip_prefix("metadata.name=").unwrap().to_owned();
    if let Some(status) = store.lock().unwrap().refuse {
        let refusal = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status,
                             "reason": "Forbidden", "message": "no", "metadata": {}});
        return (StatusCode::from_u16(status).unwrap(), axum::Json(refusal)).into_response();
    }
    if query.get("watch").is_none_or(|watch| watch != "true") {
        let store = store.lock().unwrap();
        let items: Vec<&Value> = store.secrets.get(&name).map(|(_, secret)| secret).into_iter().collect();
        let list = json!({"apiVersion": "v1", "kind": "SecretList", "items": items,
                          "metadata": {"resourceVersion": store.version.to_string()}});
        return axum::Json(list).into_response();
    }
    let since: u64 = query["resourceVersion"].parse().unwrap();
    let stream = futures::stream::unfold(
        (since, changed.subscribe(), store, name),
        async |(since, mut changed, store, name)| loop {
            let next = {
                let store = store.lock().unwrap();
                if store.refuse.is_some() {
                    return None;
                }
                let newer = |(version, _): &&(u64, Value)| *version > since;
                let deleted = store.deleted.get(&name).filter(newer).map(|one| ("DELETED", one));
                let put = store.secrets.get(&name).filter(newer).map(|one| ("MODIFIED", one));
                deleted.or(put).map(|(kind, (version, object))| {
                    (*version, json!({"type": kind, "object": object}).to_string() + "\n")
                })
            };
            if let Some((version, line)) = next {
                return Some((Ok::<_, std::io::Error>(line), (version, changed, store, name)));
            }
            changed.changed().await.ok()?;
        },
    );
    Body::from_stream(stream).into_response()
}

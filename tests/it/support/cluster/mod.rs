//! A real control plane for tests, and the parts of a cluster that it does not bring along.
//!
//! ```text
//! let plane = ControlPlane::shared().await;
//! let namespace = plane.namespace().await;
//! let kubelet = Kubelet::start(plane, Some(&namespace)).await;
//! let installation = Installation::new(plane, Rights::of_the_chart(), &[&namespace]).await;
//! let operator = installation.start("first").await;
//! ```
//!
//! etcd and kube-apiserver are the real ones, with RBAC on and pod security enforced. There is no controller-manager,
//! no scheduler and no kubelet: [`Kubelet`] runs the pods of StatefulSets as processes and publishes their endpoints,
//! [`collector`] deletes what lost its owner and ends namespaces.

// Two test binaries share this tree, and each uses a part of it.
#![allow(dead_code, unused_imports)]
// What the kubelet waits for belongs to the output of the test that waits with it.
#![allow(clippy::print_stderr)]

pub mod audit;
pub mod binaries;
pub mod collector;
pub mod control_plane;
pub mod identity;
pub mod kubelet;
pub mod operator;
pub mod ports;
pub mod process;

pub use audit::Audit;
pub use control_plane::ControlPlane;
pub use kubelet::Kubelet;
pub use operator::{Installation, Operator, Rights};

use std::fmt::Debug;
use std::time::{Duration, Instant};

use kube::Api;
use kube::api::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Long enough for a loaded machine; a wait ends as soon as what it waits for is there.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `check` gives a value; panics with `what` when `timeout` ends.
pub async fn wait_for<T>(what: &str, timeout: Duration, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(begun.elapsed() < timeout, "waited {} s in vain: {what}", timeout.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The condition `kind` of a status, as the API server has it.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Waits until the condition `kind` of the object has `status` and was computed from the object's generation, and
/// gives the condition back. What it was instead is told in the end.
pub async fn await_condition<K>(api: &Api<K>, name: &str, kind: &str, status: &str) -> Value
where
    K: Clone + DeserializeOwned + serde::Serialize + Debug,
{
    let begun = Instant::now();
    loop {
        let object = api.get(name).await.ok().map(|object| serde_json::to_value(&object).unwrap());
        let found = object.as_ref().and_then(|object| {
            let condition = condition(object, kind)?;
            let current = condition["observedGeneration"] == object["metadata"]["generation"];
            (current && condition["status"] == status).then(|| condition.clone())
        });
        if let Some(condition) = found {
            return condition;
        }
        let status_found = object.map_or(Value::Null, |object| object["status"].clone());
        assert!(
            begun.elapsed() < PATIENCE,
            "{name} did not become {kind}={status}; its status: {status_found:#}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The objects of a kind of ours in a namespace, as untyped as `kubectl apply` sees them.
pub fn ours(client: &kube::Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let gvk = kube::core::GroupVersionKind::gvk("chathooks.dev", "v1alpha1", kind);
    let resource = kube::core::ApiResource::from_gvk(&gvk);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

//! What the controller-manager does after a deletion: objects whose owner is gone go too, and so do namespaces.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use super::{PATIENCE, wait_for};

/// Group, version and kind of what may own or be owned, owners first.
const KINDS: [(&str, &str, &str); 14] = [
    ("chathooks.dev", "v1alpha1", "ChatInstance"),
    ("chathooks.dev", "v1alpha1", "WebhookSubscription"),
    ("apps", "v1", "StatefulSet"),
    ("", "v1", "Service"),
    ("", "v1", "ServiceAccount"),
    ("", "v1", "Secret"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "Pod"),
    ("", "v1", "PersistentVolumeClaim"),
    ("rbac.authorization.k8s.io", "v1", "Role"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
    ("discovery.k8s.io", "v1", "EndpointSlice"),
    ("coordination.k8s.io", "v1", "Lease"),
    ("policy", "v1", "PodDisruptionBudget"),
];

/// One pass of the garbage collector over a namespace: deletes what has owners, none of which is there any more.
/// Gives back what it deleted as `Kind name`.
pub async fn collect_garbage(client: &Client, namespace: &str) -> Result<Vec<String>, kube::Error> {
    let mut there = BTreeSet::new();
    let mut owned = Vec::new();
    for kind in KINDS {
        let api = api(client, namespace, kind);
        for object in api.list_metadata(&ListParams::default()).await?.items {
            there.insert(object.uid().unwrap());
            let owners: Vec<String> =
                object.owner_references().iter().map(|owner| owner.uid.clone()).collect();
            if !owners.is_empty() {
                owned.push((kind, api.clone(), object, owners));
            }
        }
    }
    let mut deleted = Vec::new();
    for ((_, _, kind), api, object, owners) in owned {
        if owners.iter().any(|owner| there.contains(owner)) || object.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let params = DeleteParams::default()
            .preconditions(kube::api::Preconditions { uid: object.uid(), resource_version: None });
        match api.delete(&object.name_any(), &params).await {
            Ok(_) => deleted.push(format!("{kind} {}", object.name_any())),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}

/// Removes the finalizer that keeps a claim while pods use it, from claims that are being deleted.
pub async fn release_claims(client: &Client, namespace: &str) -> Result<(), kube::Error> {
    let claims = api(client, namespace, ("", "v1", "PersistentVolumeClaim"));
    for claim in claims.list_metadata(&ListParams::default()).await?.items {
        if claim.metadata.deletion_timestamp.is_none() {
            continue;
        }
        let kept: Vec<&String> =
            claim.finalizers().iter().filter(|name| *name != "kubernetes.io/pvc-protection").collect();
        let patch = json!({"metadata": {"finalizers": kept, "uid": claim.uid()}});
        match claims.patch(&claim.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Deletes a namespace as the namespace controller does: everything in it first, in no order that helps, then, when
/// nothing is left, the namespace. Panics when something does not go: a finalizer that nobody removes.
pub async fn delete_namespace(client: &Client, name: &str) {
    begin_namespace_deletion(client, name).await;
    wait_for(&format!("namespace {name} is empty"), PATIENCE, async || {
        finish_namespace_deletion(client, name).await.then_some(())
    })
    .await;
}

/// `kubectl delete namespace --wait=false`.
pub async fn begin_namespace_deletion(client: &Client, name: &str) {
    Api::<Namespace>::all(client.clone()).delete(name, &DeleteParams::default()).await.unwrap();
}

/// One pass of the namespace controller; true once the namespace is gone.
pub async fn finish_namespace_deletion(client: &Client, name: &str) -> bool {
    let mut left = 0;
    for kind in KINDS {
        let api = api(client, name, kind);
        // Pods have nobody who ends them gracefully when their kubelet is gone.
        let params =
            if kind.2 == "Pod" { DeleteParams::default().grace_period(0) } else { DeleteParams::default() };
        for object in api.list_metadata(&ListParams::default()).await.unwrap().items {
            left += 1;
            let _ = api.delete(&object.name_any(), &params).await;
        }
    }
    release_claims(client, name).await.unwrap();
    if left > 0 {
        return false;
    }
    let namespaces = Api::<Namespace>::all(client.clone());
    let Ok(Some(mut namespace)) = namespaces.get_opt(name).await else { return true };
    namespace.spec = Some(k8s_openapi::api::core::v1::NamespaceSpec { finalizers: Some(Vec::new()) });
    let body = serde_json::to_vec(&namespace).unwrap();
    let request = http::Request::put(format!("/api/v1/namespaces/{name}/finalize"))
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    let _ = client.request_text(request).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    matches!(namespaces.get_opt(name).await, Ok(None))
}

fn api(client: &Client, namespace: &str, (group, version, kind): (&str, &str, &str)) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

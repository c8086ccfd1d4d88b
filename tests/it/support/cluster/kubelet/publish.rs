//! What the kubelet and the controllers of Kubernetes write about a pod: statuses and endpoints.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod as PodObject, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};

use super::pod::Pod;
use super::state::{State, attempt};

const MANAGER: &str = "kubelet-of-the-tests";

/// Writes what changed since the last time.
pub async fn publish(state: &State, pod: &mut Pod, set: &Value) {
    bind_claims(state, pod, set).await;
    publish_pod(state, pod).await;
    publish_set(state, pod, set).await;
    let services = services(state, pod, set);
    for service in &services {
        publish_endpoints(state, pod, service).await;
    }
}

/// Takes the endpoints of a pod that is gone away.
pub async fn withdraw(state: &State, pod: &Pod) {
    let slices = state.api::<EndpointSlice>(&pod.namespace);
    for name in pod.written.keys().filter_map(|key| key.strip_prefix("EndpointSlice ")) {
        // Gone with its Service already, maybe.
        let _ = slices.delete(name, &kube::api::DeleteParams::default()).await;
    }
}

async fn bind_claims(state: &State, pod: &Pod, set: &Value) {
    for volume in set["spec"]["template"]["spec"]["volumes"].as_array().into_iter().flatten() {
        let Some(name) = volume["persistentVolumeClaim"]["claimName"].as_str() else { continue };
        let Some(claim) = state.claims.get(&ObjectRef::new(name).within(&pod.namespace)) else { continue };
        let claim: Value = serde_json::to_value(&*claim).unwrap();
        let capacity = json!({"storage": claim["spec"]["resources"]["requests"]["storage"]});
        if claim["status"]["phase"] == "Bound" && claim["status"]["capacity"] == capacity {
            continue;
        }
        let modes = &claim["spec"]["accessModes"];
        let patch = json!({"status": {"phase": "Bound", "capacity": capacity, "accessModes": modes}});
        let claims = state.api::<PersistentVolumeClaim>(&pod.namespace);
        let write = async { claims.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await };
        attempt(&format!("binding PersistentVolumeClaim {name}"), write).await;
    }
}

async fn publish_pod(state: &State, pod: &mut Pod) {
    let Some(uid) = pod.uid.clone() else { return };
    let container = &pod.template()["spec"]["containers"][0];
    let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let (name, image) = (container["name"].clone(), container["image"].clone());
    let alive = pod.is_running();
    let patch = json!({
        "metadata": {"uid": uid},
        "status": {
            "phase": "Running", "podIP": state.address.to_string(), "podIPs": [{"ip": state.address.to_string()}],
            "conditions": [
                condition("PodScheduled", true), condition("Initialized", true),
                condition("ContainersReady", pod.ready), condition("Ready", pod.ready),
            ],
            "containerStatuses": [{
                "name": name, "image": image, "imageID": "", "ready": pod.ready, "started": alive,
                "restartCount": pod.restarts, "state": if alive { running } else { waiting },
            }],
        },
    });
    if pod.written.get("Pod") == Some(&patch) {
        return;
    }
    let pods = state.api::<PodObject>(&pod.namespace);
    let write = pods.patch_status(&pod.name(), &PatchParams::default(), &Patch::Merge(&patch)).await;
    // A Pod deleted meanwhile is made anew at the next look.
    if write.is_ok() {
        pod.written.insert("Pod".to_owned(), patch);
    }
}

fn condition(kind: &str, holds: bool) -> Value {
    json!({"type": kind, "status": if holds { "True" } else { "False" }})
}

async fn publish_set(state: &State, pod: &mut Pod, set: &Value) {
    let there = i32::from(pod.uid.is_some());
    let current = i32::from(pod.uid.is_some() && *pod.template() == set["spec"]["template"]);
    let ready = i32::from(pod.ready);
    let mut hasher = DefaultHasher::new();
    set["spec"]["template"].to_string().hash(&mut hasher);
    let revision = format!("{}-{:08x}", pod.set, hasher.finish() as u32);
    let patch = json!({"metadata": {"uid": set["metadata"]["uid"]}, "status": {
        "observedGeneration": set["metadata"]["generation"],
        "replicas": there, "currentReplicas": current, "updatedReplicas": current,
        "readyReplicas": ready, "availableReplicas": ready,
        "currentRevision": revision, "updateRevision": revision,
    }});
    if pod.written.get("StatefulSet") == Some(&patch) {
        return;
    }
    let sets = state.api::<StatefulSet>(&pod.namespace);
    let write = async { sets.patch_status(&pod.set, &PatchParams::default(), &Patch::Merge(&patch)).await };
    if attempt(&format!("status of StatefulSet {}", pod.set), write).await.is_some() {
        pod.written.insert("StatefulSet".to_owned(), patch);
    }
}

/// The Services whose selector the pod's labels meet.
fn services(state: &State, pod: &Pod, set: &Value) -> Vec<Value> {
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    let services = state.services.state();
    let chosen = services.iter().filter(|service| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        service.namespace().as_deref() == Some(&pod.namespace)
            && selector.is_some_and(|selector| {
                !selector.is_empty() && selector.iter().all(|(name, value)| labels[name] == **value)
            })
    });
    chosen.map(|service: &std::sync::Arc<Service>| serde_json::to_value(&**service).unwrap()).collect()
}

async fn publish_endpoints(state: &State, pod: &mut Pod, service: &Value) {
    let service_name = service["metadata"]["name"].as_str().unwrap_or_default();
    let name = format!("{service_name}-tests");
    let ports = service["spec"]["ports"].as_array().into_iter().flatten().filter_map(|port| {
        let target = port.get("targetPort").unwrap_or(&port["port"]);
        Some(json!({"name": port["name"], "port": pod.real_port(target)?, "protocol": "TCP"}))
    });
    let ports: Vec<Value> = ports.collect();
    let mut endpoints = Vec::new();
    if let Some(uid) = &pod.uid
        && !ports.is_empty()
    {
        endpoints.push(json!({
            "addresses": [state.address.to_string()],
            "conditions": {"ready": pod.ready, "serving": pod.ready, "terminating": false},
            "targetRef": {"kind": "Pod", "name": pod.name(), "namespace": pod.namespace, "uid": uid},
        }));
    }
    // The endpoint controller hands the Service's labels on.
    let mut labels = service["metadata"]["labels"].clone();
    labels["kubernetes.io/service-name"] = service_name.into();
    labels["endpointslice.kubernetes.io/managed-by"] = "endpointslice-controller.k8s.io".into();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": name,
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": service_name, "uid": service["metadata"]["uid"],
                "controller": true,
            }],
        },
        "endpoints": endpoints,
        "ports": ports,
    });
    let key = format!("EndpointSlice {name}");
    if pod.written.get(&key) == Some(&slice) {
        return;
    }
    let slices = state.api::<EndpointSlice>(&pod.namespace);
    let write =
        async { slices.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&slice)).await };
    if attempt(&key, write).await.is_some() {
        pod.written.insert(key, slice);
    }
}

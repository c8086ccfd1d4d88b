//! The test cluster itself: what other tests take for granted of the kubelet, the collector and the audit log.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::cluster::{ControlPlane, Kubelet, PATIENCE, collector, wait_for};

const MANIFESTS: &str = r"
apiVersion: chathooks.dev/v1alpha1
kind: ChatInstance
metadata: { name: chat, namespace: ai }
spec: { platform: Generic }
";

/// Creates an object of a kind of Kubernetes's own.
async fn create<K>(client: &Client, namespace: &str, object: Value) -> K
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).unwrap();
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &object).await.unwrap()
}

/// A StatefulSet that serves the manifests of the ConfigMap `manifests` as `chathooks standalone` does.
fn stateful_set() -> Value {
    let security = json!({
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    json!({
        "metadata": {"name": "hooks"},
        "spec": {
            "serviceName": "hooks",
            "selector": {"matchLabels": {"app": "hooks"}},
            "template": {
                "metadata": {"labels": {"app": "hooks"}},
                "spec": {
                    "serviceAccountName": "hooks",
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{
                        "name": "hooks", "image": "chathooks:test", "securityContext": security,
                        "args": [
                            "standalone", "/etc/manifests", "--data-dir=/var/lib/chathooks",
                            "--listen", "0.0.0.0:8080", "--admin-listen", "0.0.0.0:9090",
                        ],
                        "ports": [
                            {"name": "intake", "containerPort": 8080}, {"name": "admin", "containerPort": 9090},
                        ],
                        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "admin"}},
                        "volumeMounts": [
                            {"name": "manifests", "mountPath": "/etc/manifests"},
                            {"name": "data", "mountPath": "/var/lib/chathooks"},
                        ],
                    }],
                    "volumes": [
                        {"name": "manifests", "projected": {"sources": [
                            {"configMap": {"name": "manifests"}},
                            {"secret": {"name": "later", "optional": true}},
                        ]}},
                        {"name": "data", "persistentVolumeClaim": {"claimName": "hooks-data"}},
                    ],
                },
            },
        },
    })
}

async fn install(client: &Client, namespace: &str) {
    create::<ServiceAccount>(client, namespace, json!({"metadata": {"name": "hooks"}})).await;
    let claim = json!({
        "metadata": {"name": "hooks-data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    create::<PersistentVolumeClaim>(client, namespace, claim).await;
    let set: StatefulSet = create(client, namespace, stateful_set()).await;
    let ports = json!([
        {"name": "intake", "port": 80, "targetPort": "intake"}, {"name": "admin", "port": 9090, "targetPort": "admin"},
    ]);
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "hooks", "uid": set.metadata.uid, "controller": true,
    });
    let service = json!({
        "metadata": {"name": "hooks", "ownerReferences": [owner]},
        "spec": {"selector": {"app": "hooks"}, "ports": ports},
    });
    create::<Service>(client, namespace, service).await;
}

#[tokio::test]
async fn a_stateful_set_becomes_a_process_with_an_endpoint() {
    let plane = ControlPlane::shared().await;
    let (client, namespace) = (plane.admin().await, plane.namespace().await);
    let kubelet = Kubelet::start(plane, Some(&namespace)).await;
    install(&client, &namespace).await;
    // Not before what it mounts is there.
    create::<ConfigMap>(
        &client,
        &namespace,
        json!({"metadata": {"name": "manifests"}, "data": {"chat.yaml": MANIFESTS}}),
    )
    .await;
    kubelet.ready(&namespace, "hooks").await;

    let slices = Api::<EndpointSlice>::namespaced(client.clone(), &namespace);
    let selector = ListParams::default().labels("kubernetes.io/service-name=hooks");
    let admin = wait_for("a ready endpoint", PATIENCE, async || {
        let slice = serde_json::to_value(slices.list(&selector).await.unwrap().items.first()?).unwrap();
        let endpoint = &slice["endpoints"][0];
        let ports = slice["ports"].as_array()?;
        let port = ports.iter().find(|port| port["name"] == "admin")?["port"].as_u64()?;
        (endpoint["conditions"]["ready"] == true)
            .then(|| format!("{}:{port}", endpoint["addresses"][0].as_str().unwrap()))
    })
    .await;
    assert_eq!(admin, kubelet.address(&namespace, "hooks", 9090).await);
    let status = reqwest::get(format!("http://{admin}/v1/status")).await.unwrap().text().await.unwrap();
    assert!(status.contains("chat"), "{status}");

    let sets = Api::<StatefulSet>::namespaced(client.clone(), &namespace);
    wait_for("the status of the StatefulSet", PATIENCE, async || {
        let status = sets.get("hooks").await.unwrap().status?;
        (status.ready_replicas == Some(1) && status.observed_generation == Some(1)).then_some(())
    })
    .await;
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &namespace);
    let claim = claims.get("hooks-data").await.unwrap();
    assert_eq!(claim.status.unwrap().phase.as_deref(), Some("Bound"));
    let larger = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    claims.patch("hooks-data", &PatchParams::default(), &Patch::Merge(larger)).await.unwrap();

    // A file of an optional Secret comes, changes nothing about the process, and is read by it.
    let subscription = MANIFESTS.replace("name: chat,", "name: second,");
    create::<Secret>(
        &client,
        &namespace,
        json!({"metadata": {"name": "later"}, "stringData": {"more.yaml": subscription}}),
    )
    .await;
    wait_for("the second instance is served", PATIENCE, async || {
        let status = reqwest::get(format!("http://{admin}/v1/status")).await.ok()?.text().await.ok()?;
        status.contains("second").then_some(())
    })
    .await;
    assert_eq!(kubelet.starts(&namespace, "hooks").await, 1);

    kubelet.kill(&namespace, "hooks").await;
    wait_for("it is started again", PATIENCE, async || {
        (kubelet.starts(&namespace, "hooks").await == 2).then_some(())
    })
    .await;
    kubelet.ready(&namespace, "hooks").await;

    // `kubectl delete pod`, and a new template: each ends the process and starts one for a new Pod.
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    pods.delete("hooks-0", &DeleteParams::default()).await.unwrap();
    wait_for("there is a third start", PATIENCE, async || {
        (kubelet.starts(&namespace, "hooks").await == 3).then_some(())
    })
    .await;
    let annotated = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    sets.patch("hooks", &PatchParams::default(), &Patch::Merge(annotated)).await.unwrap();
    wait_for("there is a fourth start", PATIENCE, async || {
        (kubelet.starts(&namespace, "hooks").await == 4).then_some(())
    })
    .await;
    kubelet.ready(&namespace, "hooks").await;
    assert_eq!(pods.get("hooks-0").await.unwrap().metadata.annotations.unwrap()["a"], "b");
    assert_eq!(claims.get("hooks-data").await.unwrap().status.unwrap().capacity.unwrap()["storage"].0, "2Gi");

    sets.delete("hooks", &DeleteParams::default()).await.unwrap();
    wait_for("the endpoint is gone", PATIENCE, async || {
        slices.list(&selector).await.unwrap().items.is_empty().then_some(())
    })
    .await;
    assert_eq!(kubelet.starts(&namespace, "hooks").await, 0);
    let collected = collector::collect_garbage(&client, &namespace).await.unwrap();
    assert_eq!(collected, ["Service hooks"]);
    collector::delete_namespace(&client, &namespace).await;
    assert!(Api::<Namespace>::all(client).get_opt(&namespace).await.unwrap().is_none());
}

#[tokio::test]
async fn a_pod_that_a_restricted_namespace_refuses_does_not_start() {
    let plane = ControlPlane::shared().await;
    let (client, namespace) = (plane.admin().await, plane.namespace().await);
    let kubelet = Kubelet::start(plane, Some(&namespace)).await;
    create::<ServiceAccount>(&client, &namespace, json!({"metadata": {"name": "hooks"}})).await;
    let mut set = stateful_set();
    let spec = &mut set["spec"]["template"]["spec"];
    spec["volumes"] = json!([]);
    spec["containers"][0]["volumeMounts"] = json!([]);
    spec["containers"][0]["securityContext"]["runAsNonRoot"] = json!(false);
    create::<StatefulSet>(&client, &namespace, set).await;
    let why =
        wait_for("the Pod is refused", PATIENCE, async || kubelet.waiting(&namespace, "hooks").await).await;
    assert!(why.contains("violates PodSecurity \"restricted:latest\": runAsNonRoot != true"), "{why}");
    assert_eq!(kubelet.starts(&namespace, "hooks").await, 0);
}

#[tokio::test]
async fn a_service_account_may_do_what_its_rules_say_and_the_log_tells() {
    let plane = ControlPlane::shared().await;
    let (client, namespace) = (plane.admin().await, plane.namespace().await);
    create::<ServiceAccount>(&client, &namespace, json!({"metadata": {"name": "someone"}})).await;
    let token = plane.token_for(&namespace, "someone").await.unwrap();
    let user = format!("system:serviceaccount:{namespace}:someone");
    let mark = plane.audit().mark();
    let someone = plane.client_for(&token).await;
    let secrets = Api::<Secret>::namespaced(someone, &namespace);
    let refused = secrets.create(&PostParams::default(), &Secret::default()).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");
    let _ = secrets.list(&ListParams::default()).await;
    assert_eq!(plane.audit().forbidden(mark, &user), ["create secrets", "list secrets"]);
    let writes = plane.audit().writes(mark, &user);
    assert_eq!(writes.into_iter().collect::<Vec<_>>(), [("create secrets".to_owned(), 1)]);
    assert!(plane.audit().writes(plane.audit().mark(), &user).is_empty());
}

#[tokio::test]
async fn pods_go_on_while_the_api_server_is_away() {
    let plane = ControlPlane::private().await;
    let (client, namespace) = (plane.admin().await, plane.namespace().await);
    let kubelet = Kubelet::start(&plane, Some(&namespace)).await;
    let manifests = json!({"metadata": {"name": "manifests"}, "data": {"chat.yaml": MANIFESTS}});
    create::<ConfigMap>(&client, &namespace, manifests).await;
    install(&client, &namespace).await;
    kubelet.ready(&namespace, "hooks").await;

    plane.stop_api_server().await;
    assert!(client.apiserver_version().await.is_err());
    kubelet.kill(&namespace, "hooks").await;
    kubelet.ready(&namespace, "hooks").await;
    assert_eq!(kubelet.starts(&namespace, "hooks").await, 2);

    plane.start_api_server().await;
    let pods = Api::<Pod>::namespaced(client, &namespace);
    wait_for("the restart is in the status", PATIENCE, async || {
        let status = pods.get("hooks-0").await.ok()?.status?;
        (status.container_statuses?[0].restart_count == 1).then_some(())
    })
    .await;
}

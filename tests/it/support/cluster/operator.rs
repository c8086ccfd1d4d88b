//! `chathooks operator` as a process, with the rights of its ServiceAccount and nothing more.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chathooks::controller::rbac;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::TypeMeta;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::process::{Process, Signal};
use super::{ControlPlane, PATIENCE, ports, wait_for};

/// Name of the operator's ServiceAccount, as the chart has it.
pub const SERVICE_ACCOUNT: &str = "chathooks-operator";

/// The image of the dispatchers: [`super::Kubelet`] runs the binary under test, whatever it says.
pub const IMAGE: &str = "chathooks:test";

/// How long a leader may take to end its work and let go.
const STOP: Duration = Duration::from_secs(30);

/// What an operator may do.
#[derive(Clone, Debug)]
pub struct Rights {
    /// In the whole cluster.
    pub unscoped: Vec<PolicyRule>,
    /// In each namespace that is watched; in the whole cluster, if none is named.
    pub watched: Vec<PolicyRule>,
    /// In the operator's own namespace.
    pub own: Vec<PolicyRule>,
}

impl Rights {
    /// What the chart grants.
    pub fn of_the_chart() -> Self {
        Self {
            unscoped: rbac::unscoped_rules(),
            watched: rbac::watched_rules(),
            own: rbac::namespace_rules(),
        }
    }
}

/// What the chart installs: a namespace with the operator's ServiceAccount, and its rights.
pub struct Installation {
    /// The operator's own namespace.
    pub namespace: String,
    watched: Vec<String>,
    kubeconfig: PathBuf,
    folder: PathBuf,
    started: AtomicU32,
}

impl Installation {
    /// Installs an operator that watches `namespaces`, or all if there are none, into a namespace of its own.
    pub async fn new(plane: &ControlPlane, rights: Rights, namespaces: &[&str]) -> Self {
        let namespace = plane.namespace().await;
        Self::new_in(plane, &namespace, rights, namespaces).await
    }

    /// As [`Self::new`], into a namespace that is there already.
    pub async fn new_in(plane: &ControlPlane, namespace: &str, rights: Rights, namespaces: &[&str]) -> Self {
        let admin = plane.admin().await;
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": SERVICE_ACCOUNT, "namespace": namespace},
        });
        apply(&admin, account).await;
        let mut everywhere = rights.unscoped;
        if namespaces.is_empty() {
            everywhere.extend(rights.watched.iter().cloned());
        }
        grant(&admin, namespace, None, SERVICE_ACCOUNT, &everywhere).await;
        for watched in namespaces {
            grant(&admin, namespace, Some(watched), SERVICE_ACCOUNT, &rights.watched).await;
        }
        grant(&admin, namespace, Some(namespace), "chathooks-leader-election", &rights.own).await;
        Self {
            namespace: namespace.to_owned(),
            watched: namespaces.iter().map(|&name| name.to_owned()).collect(),
            kubeconfig: plane.kubeconfig_for(namespace, SERVICE_ACCOUNT).await.unwrap(),
            folder: plane.folder().to_owned(),
            started: AtomicU32::new(0),
        }
    }

    /// The user name of every replica, as [`super::Audit`] has it.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{SERVICE_ACCOUNT}", self.namespace)
    }

    /// A kubeconfig file of the operator's ServiceAccount.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Starts a replica and waits until it answers.
    pub async fn start(&self, identity: &str) -> Operator {
        let mut operator = self.spawn(identity);
        wait_for("the operator answers /livez", PATIENCE, async || {
            assert!(operator.is_running(), "the operator ended:\n{}", operator.process.last_words());
            operator.answers("livez").await.then_some(())
        })
        .await;
        operator
    }

    /// Starts a replica and waits for nothing.
    pub fn spawn(&self, identity: &str) -> Operator {
        let admin = format!("127.0.0.1:{}", ports::free_port());
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.folder.join(format!("operator-{}-{number}-{identity}.log", self.namespace));
        let mut command = Command::new(env!("CARGO_BIN_EXE_chathooks"));
        command.args(["operator", "--namespace", &self.namespace, "--identity", identity]);
        command.args(["--admin-listen", &admin, "--image", IMAGE]);
        for namespace in &self.watched {
            command.args(["--watch-namespace", namespace]);
        }
        command.env("KUBECONFIG", &self.kubeconfig);
        Operator { process: Process::start(&mut command, &log), admin: format!("http://{admin}") }
    }
}

/// One replica.
pub struct Operator {
    process: Process,
    /// `http://127.0.0.1:<port>` of its `/livez`, `/readyz` and `/metrics`.
    pub admin: String,
}

impl Operator {
    /// What it has in memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// A metric with its labels, as `/metrics` has it; 0 where it was never counted.
    pub async fn metric(&self, series: &str) -> u64 {
        let text = self.get("metrics").await.unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// All that it printed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Stops the process where it stands, as a node does that swaps.
    pub fn pause(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets a paused process go on.
    pub fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Ends it without a word to anybody.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to end, and waits for that. True when it did not have to be killed.
    pub async fn terminate(&mut self) -> bool {
        self.process.terminate(STOP).await
    }

    /// What `GET /<path>` of its admin port says, whatever the status.
    pub async fn get(&self, path: &str) -> Option<String> {
        reqwest::get(format!("{}/{path}", self.admin)).await.ok()?.text().await.ok()
    }

    pub async fn is_ready(&self) -> bool {
        self.answers("readyz").await
    }

    async fn answers(&self, path: &str) -> bool {
        let answer = reqwest::get(format!("{}/{path}", self.admin)).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

/// Binds `rules` to the operator of `namespace`, in the namespace `within` or everywhere.
async fn grant(admin: &Client, namespace: &str, within: Option<&str>, name: &str, rules: &[PolicyRule]) {
    let prefix = if within.is_some() { "" } else { "Cluster" };
    let name = format!("{namespace}-{name}");
    let mut metadata = json!({"name": name});
    if let Some(within) = within {
        metadata["namespace"] = json!(within);
    }
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    let kind = format!("{prefix}Role");
    let role = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules});
    let binding = json!({
        "apiVersion": version, "kind": format!("{kind}Binding"), "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": namespace}],
    });
    apply(admin, role).await;
    apply(admin, binding).await;
}

/// `kubectl apply --server-side`.
async fn apply(admin: &Client, object: Value) {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let TypeMeta { api_version, kind } = object.types.clone().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let resource = ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, version, &kind));
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(admin.clone(), namespace, &resource),
        None => Api::all_with(admin.clone(), &resource),
    };
    let name = object.metadata.name.clone().unwrap();
    api.patch(&name, &PatchParams::apply("tests"), &Patch::Apply(&object)).await.unwrap();
}

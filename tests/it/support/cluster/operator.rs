//! `chathooks operator` as a process, with the rights of its ServiceAccount and nothing more.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::process::{Process, Signal};
use super::{ControlPlane, PATIENCE, ports, wait_for};

/// Name of the operator's ServiceAccount, as the chart has it.
pub const SERVICE_ACCOUNT: &str = "chathooks-operator";

/// The image of the dispatchers: [`super::Kubelet`] runs the binary under test, whatever it says.
pub const IMAGE: &str = "chathooks:test";

/// How long a leader may take to end its work and let go.
const STOP: Duration = Duration::from_secs(30);

/// What the chart installs: a namespace with the operator's ServiceAccount, and its rights.
pub struct Installation {
    /// The operator's own namespace.
    pub namespace: String,
    kubeconfig: PathBuf,
    folder: PathBuf,
    started: AtomicU32,
}

impl Installation {
    /// Installs an operator with `rules` into a namespace of its own.
    pub async fn new(plane: &ControlPlane, rules: Vec<PolicyRule>) -> Self {
        let namespace = plane.namespace().await;
        Self::new_in(plane, &namespace, rules).await
    }

    /// Installs an operator with `rules` into `namespace`, which must be there.
    pub async fn new_in(plane: &ControlPlane, namespace: &str, rules: Vec<PolicyRule>) -> Self {
        let admin = plane.admin().await;
        let name = format!("{SERVICE_ACCOUNT}-{namespace}");
        let account: ServiceAccount =
            serde_json::from_value(json!({"metadata": {"name": SERVICE_ACCOUNT}})).unwrap();
        let role = ClusterRole {
            metadata: kube::core::ObjectMeta { name: Some(name.clone()), ..Default::default() },
            rules: Some(rules),
            ..Default::default()
        };
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": namespace}],
        }))
        .unwrap();
        let create = PostParams::default();
        Api::namespaced(admin.clone(), namespace).create(&create, &account).await.unwrap();
        Api::all(admin.clone()).create(&create, &role).await.unwrap();
        Api::all(admin).create(&create, &binding).await.unwrap();
        let kubeconfig = plane.kubeconfig_for(namespace, SERVICE_ACCOUNT).await.unwrap();
        let folder = plane.folder().to_owned();
        Self { namespace: namespace.to_owned(), kubeconfig, folder, started: AtomicU32::new(0) }
    }

    /// The user name of every replica, as [`super::Audit`] has it.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{SERVICE_ACCOUNT}", self.namespace)
    }

    /// A kubeconfig file of the operator's ServiceAccount.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Starts a replica that watches `namespaces`, or all if there are none, and waits until it answers.
    pub async fn start(&self, identity: &str, namespaces: &[&str]) -> Operator {
        let mut operator = self.spawn(identity, namespaces);
        wait_for("the operator answers /livez", PATIENCE, async || {
            assert!(operator.is_running(), "the operator ended:\n{}", operator.process.last_words());
            operator.answers("livez").await.then_some(())
        })
        .await;
        operator
    }

    /// Starts a replica and waits for nothing.
    pub fn spawn(&self, identity: &str, namespaces: &[&str]) -> Operator {
        let admin = format!("127.0.0.1:{}", ports::free_port());
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.folder.join(format!("operator-{}-{number}-{identity}.log", self.namespace));
        let mut command = Command::new(env!("CARGO_BIN_EXE_chathooks"));
        command.args(["operator", "--namespace", &self.namespace, "--identity", identity]);
        command.args(["--admin-listen", &admin, "--image", IMAGE]);
        for namespace in namespaces {
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

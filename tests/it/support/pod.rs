//! The real binary, `chathooks dispatcher`, with a plan in pieces.

use std::path::Path;
use std::process::Stdio;

use chathooks::plan::model::{InstancePlan, Sensitive};
use chathooks::plan::{compile, shards};
use chathooks::standalone::folder::{Memory, Read, compose};
use chathooks::yaml;
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::eventually;
use super::product::{INSTANCE, SECRET, TOKEN, free_port};

/// The bearer token of the administrator's port.
pub const ADMIN_TOKEN: &str = "observe-me";

/// The plan of ChatInstance `ai/chat` with these subscriptions.
pub fn plan(subscriptions: &[String]) -> InstancePlan {
    let text = [INSTANCE, SECRET].into_iter().chain(subscriptions.iter().map(String::as_str));
    let documents = yaml::documents(&text.collect::<Vec<_>>().join("\n---\n")).unwrap();
    let read = Read { documents: vec![("all.yaml".to_owned(), documents.as_slice())], ..Read::default() };
    let outcome = compile(&compose(&read, &mut Memory::default()).inputs);
    let mut plan = outcome.plan.instances.into_iter().next().unwrap();
    assert_eq!(plan.paused, None);
    plan.admin_tokens = vec![Sensitive(ADMIN_TOKEN.into())];
    plan
}

/// A folder of pieces and a data folder; the process may come and go.
pub struct Pod {
    pub pieces: TempDir,
    pub data: TempDir,
    pub intake: String,
    pub admin: String,
    pub http: reqwest::Client,
    /// Where the API server is; nowhere unless set.
    pub kubeconfig: Option<std::path::PathBuf>,
    process: Option<Child>,
}

impl Pod {
    /// Folders; nothing is mounted and nothing runs yet.
    pub fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            pieces: tempfile::tempdir().unwrap(),
            data: tempfile::tempdir().unwrap(),
            intake: format!("127.0.0.1:{}", free_port()),
            admin: format!("127.0.0.1:{}", free_port()),
            http: reqwest::Client::new(),
            kubeconfig: None,
            process: None,
        }
    }

    /// Mounts every piece of a plan but these.
    pub fn mount(&self, plan: &InstancePlan, but: &[u8]) {
        for shard in shards::encode(plan, true).into_iter().map(Result::unwrap) {
            if !but.contains(&shard.index) {
                self.mount_bytes(shard.index, &shard.bytes);
            }
        }
    }

    pub fn mount_bytes(&self, index: u8, bytes: &[u8]) {
        let folder = self.pieces.path().join(index.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let draft = folder.join(".draft");
        std::fs::write(&draft, bytes).unwrap();
        std::fs::rename(draft, folder.join("plan")).unwrap();
    }

    pub fn unmount(&self, index: u8) {
        std::fs::remove_dir_all(self.pieces.path().join(index.to_string())).unwrap();
    }

    /// Starts the process; it may not be ready for long.
    pub fn spawn(&mut self) {
        let log =
            std::fs::File::options().create(true).append(true).open(self.data.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_chathooks"));
        command.args(["dispatcher", "--namespace", "ai", "--instance", "chat", "--log-format", "text"]);
        command
            .arg("--plan-dir")
            .arg(self.pieces.path())
            .arg("--data-dir")
            .arg(self.data.path().join("data"));
        command.args(["--listen", &self.intake, "--admin-listen", &self.admin]);
        command.env_remove("KUBERNETES_SERVICE_HOST");
        command.env("KUBECONFIG", self.kubeconfig.as_deref().unwrap_or(Path::new("/nowhere/kubeconfig")));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
        self.process = Some(command.spawn().unwrap());
    }

    pub async fn start(&mut self) {
        self.spawn();
        eventually("it is ready", async || (self.probe().await?.0 == 200).then_some(())).await;
    }

    /// Status and text of `/readyz`; `None` while nobody listens.
    pub async fn probe(&self) -> Option<(u16, String)> {
        let answer = self.http.get(format!("http://{}/readyz", self.admin)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default()
    }

    pub async fn kill(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    /// Asks the administrator's port.
    pub async fn admin(&self, path: &str, token: Option<&str>) -> (u16, Value) {
        let mut request = self.http.request(Method::GET, format!("http://{}{path}", self.admin));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    pub async fn observed(&self, query: &str) -> Value {
        let (status, observed) = self.admin(&format!("/v1/observed{query}"), Some(ADMIN_TOKEN)).await;
        assert_eq!(status, 200, "{observed}");
        observed
    }

    /// Waits until the document on the instance is as wanted.
    pub async fn observes(&self, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || {
            let document = self.observed("").await;
            check(&document["instances"][0]).then_some(document)
        })
        .await
    }

    /// Posts to intake; returns the status and the answer.
    pub async fn post(&self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("http://{}{path}", self.intake)).bearer_auth(token);
        let answer =
            request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    /// Posts an event and expects 202.
    pub async fn accept(&self, event: &Value) {
        let (status, answer) = self.post("/v1/events", TOKEN, event).await;
        assert_eq!((status, &answer["accepted"]), (202, &Value::from(1)), "{answer}");
    }

    /// Waits until a counter of a subscription has this value.
    pub async fn counter(&self, name: &str, counter: &str, value: u64) {
        eventually(&format!("{name} {counter}={value}"), async || {
            let (_, status) = self.admin("/v1/status", Some(ADMIN_TOKEN)).await;
            let objects = status["objects"].as_array()?.clone();
            let object = objects.into_iter().find(|object| object["name"] == name)?;
            (object["counters"][counter] == value).then_some(())
        })
        .await;
    }
}

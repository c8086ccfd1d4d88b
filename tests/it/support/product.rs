//! The real binary, `chathooks standalone`, on a folder of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::eventually;

/// The signing secret of [`SECRET`].
pub const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";
pub const TOKEN: &str = "it-token";

pub const INSTANCE: &str = r"
apiVersion: chathooks.dev/v1alpha1
kind: ChatInstance
metadata: { name: chat, namespace: ai }
spec:
  platform: OpenWebUI
  url: http://open-webui.ai.svc
  intake:
    mode: Push
    auth: { bearer: { secretRef: { name: intake, key: token } } }
  dispatcher:
    egress: { plainHttp: Allow, allowedCIDRs: [127.0.0.0/8] }
";

pub const SECRET: &str = r"
apiVersion: v1
kind: Secret
metadata: { name: intake, namespace: ai }
stringData: { token: it-token }
---
apiVersion: v1
kind: Secret
metadata: { name: signing, namespace: ai }
stringData: { current: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo= }
";

/// A folder of manifests and a data folder; the process may come and go.
pub struct Product {
    pub folder: TempDir,
    pub data: TempDir,
    pub intake: String,
    pub admin: String,
    pub http: reqwest::Client,
    process: Option<Child>,
}

/// `spec` of a subscription to `url`, with `more` lines below it (two spaces of indent are added).
pub fn subscription(name: &str, url: &str, more: &str) -> String {
    let more = more.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    format!(
        "apiVersion: chathooks.dev/v1alpha1\nkind: WebhookSubscription\nmetadata: {{ name: {name}, namespace: ai }}\n\
         spec:\n  instanceRef: {{ name: chat }}\n  target: {{ http: {{ url: '{url}' }} }}\n  \
         signing: {{ secretRefs: [{{ name: signing, key: current }}] }}\n{more}"
    )
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Product {
    /// Folders with one ChatInstance `ai/chat`; nothing runs yet.
    pub fn new() -> Self {
        // The binary installs its own; the test's client needs one as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let product = Self {
            folder: tempfile::tempdir().unwrap(),
            data: tempfile::tempdir().unwrap(),
            intake: format!("127.0.0.1:{}", free_port()),
            admin: format!("127.0.0.1:{}", free_port()),
            http: reqwest::Client::new(),
            process: None,
        };
        product.write("instance.yaml", INSTANCE);
        product.write("secrets.yaml", SECRET);
        product
    }

    pub fn write(&self, file: &str, text: &str) {
        // Renamed into place, as an editor does, so that no half-written file is seen.
        let path = self.folder.path().join(file);
        let draft = self.folder.path().join(format!(".{file}.draft"));
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, path).unwrap();
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.folder.path().join(file)).unwrap();
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chathooks"));
        command.arg("standalone").arg(self.folder.path()).arg("--data-dir").arg(self.data.path());
        command.args(["--listen", &self.intake, "--admin-listen", &self.admin, "--log-format", "text"]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub fn log_path(&self) -> PathBuf {
        self.data.path().join("stderr.log")
    }

    /// Starts it and waits until it is ready.
    pub async fn start(&mut self) {
        self.start_by(&[]).await;
    }

    /// Starts it with further arguments.
    pub async fn start_by(&mut self, arguments: &[&str]) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = self.command();
        command.args(arguments).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        self.ready().await;
    }

    async fn ready(&mut self) {
        let url = format!("http://{}/readyz", self.admin);
        for _ in 0..1_500 {
            if let Some(status) = self.process.as_mut().unwrap().try_wait().unwrap() {
                panic!("it ended with {status}: {}", self.log());
            }
            if self.http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("it did not become ready: {}", self.log());
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// kill −9.
    pub async fn kill(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    /// SIGTERM; returns the exit code.
    pub async fn terminate(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        let pid = rustix::process::Pid::from_raw(process.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        process.wait().await.unwrap().code()
    }

    /// Posts a body to the instance; returns the status and the answer.
    pub async fn post(&self, body: &Value) -> Result<(u16, Value), reqwest::Error> {
        self.post_to("/v1/events", body).await
    }

    pub async fn post_to(&self, path: &str, body: &Value) -> Result<(u16, Value), reqwest::Error> {
        let request = self.http.post(format!("http://{}{path}", self.intake)).bearer_auth(TOKEN);
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Posts and expects 202 with all of them new.
    pub async fn accept(&self, events: &[Value]) {
        let (status, answer) = self.post(&Value::Array(events.to_vec())).await.unwrap();
        assert_eq!(status, 202, "{answer}");
        assert_eq!(answer["accepted"], events.len(), "{answer}");
    }

    pub async fn status(&self) -> Value {
        let answer = self.http.get(format!("http://{}/v1/status", self.admin)).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    /// An object of `/v1/status`.
    pub async fn object(&self, kind: &str, name: &str) -> Option<Value> {
        let status = self.status().await;
        let objects = status["objects"].as_array().unwrap();
        objects.iter().find(|object| object["kind"] == kind && object["name"] == name).cloned()
    }

    /// Waits until a condition of a subscription has this status; returns the condition.
    pub async fn condition(&self, kind: &str, name: &str, condition: &str, status: &str) -> Value {
        eventually(&format!("{kind} {name} {condition}={status}"), async || {
            let object = self.object(kind, name).await?;
            let conditions = object["conditions"].as_array()?;
            conditions.iter().find(|c| c["type"] == condition && c["status"] == status).cloned()
        })
        .await
    }

    /// Waits until a subscription is served in its newest form.
    pub async fn served(&self, name: &str) {
        self.condition("WebhookSubscription", name, "Programmed", "True").await;
    }

    /// Waits until a counter of a subscription has this value.
    pub async fn counter(&self, name: &str, counter: &str, value: u64) {
        eventually(&format!("{name} {counter}={value}"), async || {
            let object = self.object("WebhookSubscription", name).await?;
            (object["counters"][counter] == value).then_some(())
        })
        .await;
    }
}

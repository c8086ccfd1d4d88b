//! A real Open WebUI 0.12.4 on a database of its own, from the environment that `make test` prepares.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

/// The first administrator.
pub const EMAIL: &str = "admin@example.com";
pub const PASSWORD: &str = "correct horse";

/// It starts in 7 s of processor time, and several may start at once on a busy machine.
const START: Duration = Duration::from_mins(3);

/// Ends what it started when its standard input is closed, so also when the tests die.
const GUARD: &str = r#""$@" & p=$!; read -r _; kill -TERM "$p" 2>/dev/null; wait "$p""#;

static SHARED: OnceCell<OpenWebUi> = OnceCell::const_new();

/// A platform; its process may come and go.
pub struct OpenWebUi {
    pub port: u16,
    pub data: TempDir,
    /// The administrator's API key, once [`OpenWebUi::make_key`] was called.
    pub key: String,
    token: String,
    http: reqwest::Client,
    process: Option<Child>,
}

/// The one that tests share which change none of its settings.
pub async fn shared() -> &'static OpenWebUi {
    SHARED
        .get_or_init(async || {
            let mut platform = OpenWebUi::new();
            platform.start(&[]).await;
            platform.make_key().await;
            platform
        })
        .await
}

/// The Python environment with Open WebUI.
pub fn environment() -> String {
    std::env::var("CHATHOOKS_TEST_OPEN_WEBUI").expect(
        "CHATHOOKS_TEST_OPEN_WEBUI must name an environment with Open WebUI 0.12.4: run `make test`, which makes one",
    )
}

impl OpenWebUi {
    /// An empty one; nothing runs yet.
    pub fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            port: TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
            data: tempfile::tempdir().unwrap(),
            key: String::new(),
            token: String::new(),
            http: reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap(),
            process: None,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn log(&self) -> PathBuf {
        self.data.path().join("platform.log")
    }

    /// Starts it with further environment, and signs in if that is possible.
    pub async fn start(&mut self, more: &[(&str, &str)]) {
        let venv = environment();
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let port = self.port.to_string();
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh", &format!("{venv}/bin/open-webui"), "serve", "--host", "127.0.0.1"]);
        command.args(["--port", &port]).current_dir(self.data.path()).env("DATA_DIR", self.data.path());
        command.envs([
            ("USE_SLIM_DOCKER", "true"),
            ("WEBUI_SECRET_KEY", "for-tests-only"),
            ("OFFLINE_MODE", "true"),
            ("HF_HUB_OFFLINE", "1"),
            ("ENABLE_API_KEYS", "True"),
            ("ENABLE_OLLAMA_API", "False"),
            ("ENABLE_OPENAI_API", "False"),
            ("WEBUI_ADMIN_NAME", "Admin"),
            ("WEBUI_ADMIN_EMAIL", EMAIL),
            ("WEBUI_ADMIN_PASSWORD", PASSWORD),
        ]);
        command.envs(more.iter().copied());
        // A group of its own, so that all of its processes can be killed.
        command.process_group(0).stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        let health = format!("{}/health", self.url());
        let begun = Instant::now();
        while !self.http.get(&health).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(begun.elapsed() < START, "Open WebUI does not start: {}", self.log().display());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let form = json!({"email": EMAIL, "password": PASSWORD});
        if let (200, answer) = self.call("POST", "/api/v1/auths/signin", &form).await {
            answer["token"].as_str().unwrap_or_default().clone_into(&mut self.token);
        }
    }

    /// Ends it with SIGTERM and waits.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            tokio::time::timeout(Duration::from_secs(20), process.wait()).await.unwrap().unwrap();
        }
    }

    /// Ends every one of its processes at once, without a word.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let group = format!("-{}", process.id().unwrap());
            Command::new("kill").args(["-KILL", "--", &group]).status().await.unwrap();
            process.wait().await.unwrap();
        }
    }

    /// Calls its API as the administrator: status and JSON.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url()));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let request = if self.token.is_empty() { request } else { request.bearer_auth(&self.token) };
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    /// The same, where success is expected.
    pub async fn ok(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// Makes the administrator's API key.
    pub async fn make_key(&mut self) {
        let answer = self.ok("POST", "/api/v1/auths/api_key", &Value::Null).await;
        answer["api_key"].as_str().unwrap().clone_into(&mut self.key);
    }

    /// A new user signs up; answers their token.
    pub async fn add_user(&self, name: &str) -> String {
        let form =
            json!({"name": name, "email": format!("{name}@example.com"), "password": "pw", "role": "user"});
        self.ok("POST", "/api/v1/auths/add", &form).await["token"].as_str().unwrap().to_owned()
    }

    /// Changes one setting of its configuration.
    pub async fn set(&self, key: &str, value: Value) {
        self.ok("POST", "/api/v1/configs/import", &json!({"config": {key: value}})).await;
    }

    /// Makes a note, which is a cheap event: `note.created`.
    pub async fn make_note(&self, title: &str) {
        self.ok("POST", "/api/v1/notes/create", &json!({"title": title})).await;
    }
}

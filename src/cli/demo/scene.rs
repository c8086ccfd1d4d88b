//! The temporary folder of the demo: ordinary manifests, and where everything is.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The subscriptions, their path at the receiver, and what they are for.
pub(super) const SUBSCRIPTIONS: [(&str, &str, &str); 3] = [
    ("security", "/siem", "sign-ins, roles"),
    ("chats", "/bot", "chats, by CEL"),
    ("everything", "/audit", "every event"),
];

/// Folder and addresses of one demo; the folder is deleted at its end.
pub(super) struct Scene {
    root: TempDir,
    intake: String,
    admin: String,
}

impl Scene {
    pub(super) fn prepare(receiver: SocketAddr) -> io::Result<Self> {
        let root = tempfile::Builder::new().prefix("chathooks-demo-").tempdir()?;
        let scene = Self { root, intake: free_address()?, admin: free_address()? };
        std::fs::create_dir(scene.folder())?;
        std::fs::write(scene.folder().join("instance.yaml"), INSTANCE)?;
        let subscriptions = SUBSCRIPTIONS_YAML.replace("RECEIVER", &receiver.to_string());
        std::fs::write(scene.folder().join("subscriptions.yaml"), subscriptions)?;
        Ok(scene)
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.root.path().join("manifests")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.path().join("standalone.log")
    }

    pub(super) fn intake(&self) -> &str {
        &self.intake
    }

    pub(super) fn admin(&self) -> &str {
        &self.admin
    }

    pub(super) fn intake_url(&self) -> String {
        format!("http://{}/v1/events", self.intake)
    }

    /// The intake token that the process has made.
    pub(super) fn token(&self) -> io::Result<String> {
        read(&self.secret("demo-intake").join("token"))
    }

    /// The signing secrets that the process has made, by the receiver's path.
    pub(super) fn signing_secrets(&self) -> io::Result<BTreeMap<&'static str, String>> {
        let secret = |name: &str| read(&self.secret(&format!("{name}-signing")).join("signing-secret"));
        SUBSCRIPTIONS.iter().map(|(name, path, _)| Ok((*path, secret(name)?))).collect()
    }

    fn secret(&self, name: &str) -> PathBuf {
        self.data().join("secrets").join("default").join(name)
    }
}

fn read(path: &Path) -> io::Result<String> {
    Ok(std::fs::read_to_string(path)?.trim().to_owned())
}

/// A loopback address that is free now; the process that gets it binds it a moment later.
fn free_address() -> io::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

const INSTANCE: &str = r"# One chat platform. Nothing is said of intake.auth, so a token is made.
apiVersion: chathooks.dev/v1alpha1
kind: ChatInstance
metadata: { name: demo }
spec:
  platform: OpenWebUI
  url: http://open-webui.example.com
  dispatcher:
    egress: # the demo's receiver is on loopback, which is refused unless allowed
      plainHttp: Allow
      allowedCIDRs: [127.0.0.0/8]
";

const SUBSCRIPTIONS_YAML: &str = r#"apiVersion: chathooks.dev/v1alpha1
kind: WebhookSubscription
metadata: { name: security }
spec:
  instanceRef: { name: demo }
  events: ["auth.*", "user.*", "config.*"]
  exclude: ["auth.logout"]
  target: { http: { url: "http://RECEIVER/siem" } }
  delivery:
    retry: { schedule: [500ms, 1s, 1s, 2s, 2s, 5s, 5s, 10s], jitter: 20 }
---
apiVersion: chathooks.dev/v1alpha1
kind: WebhookSubscription
metadata: { name: chats }
spec:
  instanceRef: { name: demo }
  events: ["chat.*", "message.*"]
  filter: { expression: 'event.actor != null && event.actor.type == "user"' }
  target: { http: { url: "http://RECEIVER/bot" } }
  delivery:
    retry: { schedule: [500ms, 1s, 1s, 2s, 2s, 5s, 5s, 10s], jitter: 20 }
---
apiVersion: chathooks.dev/v1alpha1
kind: WebhookSubscription
metadata: { name: everything }
spec:
  instanceRef: { name: demo }
  events: ["*"]
  target: { http: { url: "http://RECEIVER/audit" } }
  delivery:
    retry: { schedule: [500ms, 1s, 1s, 2s, 2s, 5s, 5s, 10s], jitter: 20 }
"#;

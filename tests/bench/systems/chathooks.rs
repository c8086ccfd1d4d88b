//! The product: `chathooks standalone` as a user starts it, on manifests written here. Signing and retries are on.

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::process::Command;

use super::{Running, Target, free_address};
use crate::Result;
use crate::receiver::SIGNING_KEY;

const TOKEN: &str = "bench-token-0123456789abcdef0123";

/// Room for all that a run may accept before it is delivered: what is measured is speed, not what a limit drops.
const ROOM: &str = "8Gi";

/// Starts it with manifests, data and output in `dir`.
pub(super) async fn start(
    binary: &Path,
    dir: &Path,
    receiver: SocketAddr,
    subscriptions: usize,
) -> Result<Running> {
    let (manifests, data) = (dir.join("manifests"), dir.join("data"));
    std::fs::create_dir_all(&manifests)?;
    std::fs::write(manifests.join("chat.yaml"), instance())?;
    for index in 0..subscriptions {
        let file = manifests.join(format!("subscription-{index}.yaml"));
        std::fs::write(file, subscription(index, receiver))?;
    }
    let (address, admin) = (free_address()?, free_address()?);
    let mut command = Command::new(binary);
    command.arg("standalone").arg(&manifests).arg("--data-dir").arg(&data);
    command.args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string()]);
    let target = Target {
        address,
        path: "/v1/events".to_owned(),
        token: Some(TOKEN.to_owned()),
        signed: true,
        process: None,
    };
    Running::start(command, &dir.join("output.log"), target, (admin, "/readyz")).await
}

fn instance() -> String {
    let key = STANDARD.encode(SIGNING_KEY);
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{ name: bench }}
stringData: {{ token: {TOKEN}, signing: whsec_{key} }}
---
apiVersion: chathooks.dev/v1alpha1
kind: ChatInstance
metadata: {{ name: bench }}
spec:
  platform: Generic
  intake:
    mode: Push
    auth: {{ bearer: {{ secretRef: {{ name: bench, key: token }} }} }}
  dispatcher:
    queue: {{ embedded: {{ size: {ROOM} }} }}
    egress: {{ plainHttp: Allow, allowedCIDRs: [127.0.0.0/8] }}
"
    )
}

fn subscription(index: usize, receiver: SocketAddr) -> String {
    format!(
        "apiVersion: chathooks.dev/v1alpha1
kind: WebhookSubscription
metadata: {{ name: bench-{index} }}
spec:
  instanceRef: {{ name: bench }}
  events: [\"*\"]
  target: {{ http: {{ url: http://{receiver}/to/{index} }} }}
  signing: {{ secretRefs: [{{ name: bench, key: signing }}] }}
  delivery: {{ backlog: {{ maxBytes: {ROOM} }} }}
"
    )
}

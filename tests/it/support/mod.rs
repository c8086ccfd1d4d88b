//! What the tests of the running binary share: the process, a receiver, manifests.

pub mod api_server;
pub mod chart;
pub mod cluster;
pub mod open_webui;
pub mod pod;
pub mod product;
pub mod receiver;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; tests end as soon as what they wait for is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `check` gives a value; panics with `what` when patience ends.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The inputs below `tests/golden/<folder>`, in order.
pub fn golden_cases(folder: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let mut cases: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(".in.yaml"))
        .collect();
    cases.sort();
    cases
}

/// An Open WebUI envelope.
pub fn envelope(id: &str, event: &str) -> serde_json::Value {
    let (resource, operation) = event.rsplit_once('.').unwrap();
    serde_json::json!({
        "schema": "0.12.4", "id": id, "event": event, "resource": resource, "operation": operation,
        "created_at": 1_790_000_000, "instance_id": null, "version": "0.12.4", "source": "api",
        "actor": {"id": "u1", "name": "Ada", "email": "ada@example.com", "role": "admin", "type": "user"},
        "subject": {"type": resource, "id": "s1"}, "data": {"role": "user"}, "message": null
    })
}

//! What we send is verified by the published Python library, on every recorded envelope.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::product::{Product, SIGNING_SECRET, subscription};

const SESSION: &str = include_str!("../fixtures/open-webui-0.12.4/session.jsonl");
/// Another key of the rotation; the receiver does not know it.
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhro=";

#[tokio::test]
async fn the_python_library_verifies_every_recorded_envelope() {
    let python = std::env::var("CHATHOOKS_TEST_PYTHON").expect(
        "CHATHOOKS_TEST_PYTHON must name a Python with `standardwebhooks`: run `make test`, which makes one",
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/verify_standard_webhooks.py");
    let mut receiver = Command::new(python)
        .args([script, SIGNING_SECRET])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(receiver.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();

    let mut product = Product::new();
    let other = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: other, namespace: ai }}\nstringData: {{ key: '{OTHER_SECRET}' }}\n"
    );
    product.write("other.yaml", &other);
    let url = format!("http://127.0.0.1:{}/", first["port"]);
    let yaml = subscription("s", &url, "events: ['*']").replace(
        "[{ name: signing, key: current }]",
        "[{ name: other, key: key }, { name: signing, key: current }]",
    );
    product.write("sub.yaml", &yaml);
    product.start().await;
    let events: Vec<Value> = SESSION.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    product.accept(&events).await;
    for _ in &events {
        let line: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        assert_eq!(line["ok"], true, "{line}");
    }
    product.counter("s", "delivered", events.len() as u64).await;
}

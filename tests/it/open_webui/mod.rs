//! The platform client and the relay against a real Open WebUI.

mod keeping;
mod patrol;
mod probing;
mod relaying;

use std::time::Duration;

use chathooks::plan::model::{EgressPlan, Sensitive, SensitiveText};
use chathooks::plan::platform::{DriftPlan, PlatformCredentials, PlatformPlan, RelayPlan};
use chathooks::platform::open_webui::{PlatformReport, RelayState};
use chathooks::platform::{Alone, Owner};
use serde_json::Value;

use crate::support::eventually;
use crate::support::open_webui::OpenWebUi;
use crate::support::receiver::Receiver;

/// The key below, as the published library takes it.
const SIGNING: &str = "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
const GATE: Alone = Alone(Duration::from_secs(30));

fn owner(name: &str) -> Owner {
    Owner { cluster: "cluster-1".into(), namespace: "ai".into(), name: name.into() }
}

/// A plan for this platform with an API key, without a relay.
fn plan(platform: &OpenWebUi, name: &str) -> PlatformPlan {
    PlatformPlan {
        namespace: "ai".into(),
        name: name.into(),
        url: platform.url(),
        ca_pem: None,
        credentials: PlatformCredentials::ApiKey(SensitiveText(platform.key.clone())),
        egress: EgressPlan {
            plain_http: false,
            allowed_hosts: vec![],
            allowed_cidrs: vec![],
            denied_cidrs: vec![],
        },
        suspended: false,
        drift: DriftPlan::Correct,
        resync_ms: 600_000,
        relay: None,
    }
}

fn id(name: &str) -> String {
    format!("chathooks_relay_{name}")
}

/// The same with a relay to this receiver.
fn relayed(platform: &OpenWebUi, name: &str, receiver: &Receiver, patterns: &[&str]) -> PlatformPlan {
    let relay = RelayPlan {
        function_id: id(name),
        intake_url: receiver.url("/v1/events"),
        signing_key: Sensitive(vec![1; 24]),
        patterns: patterns.iter().map(|&pattern| pattern.into()).collect(),
    };
    PlatformPlan { relay: Some(relay), ..plan(platform, name) }
}

/// The configuration that a hello must show.
fn installed(report: &PlatformReport) -> String {
    match &report.relay {
        RelayState::Installed { config } => config.clone(),
        other => panic!("{other:?}, {:?}", report.reachable),
    }
}

/// Events that came, verified by the published library.
fn events(receiver: &Receiver) -> Vec<Value> {
    let webhook = standardwebhooks::Webhook::new(SIGNING).unwrap();
    let mut events = Vec::new();
    for received in receiver.received().iter().filter(|received| received.path == "/v1/events") {
        webhook.verify(&received.body, &received.headers).expect("the published library verifies a batch");
        events.extend(serde_json::from_slice::<Vec<Value>>(&received.body).unwrap());
    }
    events
}

/// Hellos that came, verified as well.
fn hellos(receiver: &Receiver) -> Vec<Value> {
    let webhook = standardwebhooks::Webhook::new(SIGNING).unwrap();
    let received = receiver.received();
    let hellos = received.iter().filter(|received| received.path == "/v1/relay");
    hellos
        .map(|received| {
            webhook
                .verify(&received.body, &received.headers)
                .expect("the published library verifies a hello");
            serde_json::from_slice(&received.body).unwrap()
        })
        .collect()
}

/// Waits for a hello that `wanted` likes.
async fn hello(receiver: &Receiver, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || hellos(receiver).into_iter().find(|hello| wanted(hello))).await
}

//! `chathooks dispatcher`: a plan in pieces, mounted or watched; what it tells the operator; relays.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chathooks::plan::model::{InstancePlan, Sensitive};
use chathooks::plan::shards;
use serde_json::{Value, json};

use crate::support::api_server::ApiServer;
use crate::support::pod::{ADMIN_TOKEN, Pod, plan};
use crate::support::product::{SIGNING_SECRET, TOKEN, subscription};
use crate::support::receiver::Receiver;
use crate::support::{envelope, eventually};

fn to(receiver: &Receiver, name: &str, path: &str) -> String {
    subscription(name, &receiver.url(path), "events: ['*']")
}

fn revisions(plan: &InstancePlan) -> Value {
    let shards: Vec<_> = shards::encode(plan, true).into_iter().map(Result::unwrap).collect();
    shards.iter().map(|shard| (shard.index.to_string(), json!(shard.revision))).collect()
}

/// Waits for deliveries by id and path; whatever crashes, one may come twice.
async fn delivered(receiver: &Receiver, expected: &[(&str, &str)]) {
    let expected: BTreeSet<_> =
        expected.iter().map(|(id, path)| ((*id).to_owned(), (*path).to_owned())).collect();
    eventually(&format!("deliveries {expected:?}"), async || {
        let received = receiver.received().into_iter();
        let seen: BTreeSet<_> = received.map(|one| (one.header("webhook-id").to_owned(), one.path)).collect();
        (seen == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_mounted_plan_is_served_while_there_is_no_api_server() {
    let receiver = Receiver::start().await;
    let mut pod = Pod::new();
    let first = plan(&[to(&receiver, "s", "/one")]);
    pod.spawn();
    let waiting = eventually("it answers", async || pod.probe().await).await;
    assert_eq!(waiting.0, 503);
    assert!(
        waiting.1.starts_with("waiting for the plan: piece 0 of ai/chat is neither mounted at"),
        "{}",
        waiting.1
    );
    let (status, problem) = pod.admin("/v1/observed", Some(ADMIN_TOKEN)).await;
    assert_eq!(status, 503, "never open: {problem}");
    let (status, _) = pod.post("/v1/events", TOKEN, &envelope("early", "chat.created")).await;
    assert_eq!(status, 503);
    pod.kill().await;

    pod.mount(&first, &[]);
    pod.start().await;
    let observed = pod.observed("").await;
    assert_eq!(observed["instances"][0]["shards"], revisions(&first));
    pod.accept(&envelope("a", "chat.created")).await;
    delivered(&receiver, &[("a", "/one")]).await;

    let second = plan(&[to(&receiver, "s", "/two")]);
    pod.mount(&second, &[]);
    pod.observes("the second plan", |one| one["shards"] == revisions(&second)).await;
    pod.accept(&envelope("b", "chat.created")).await;
    delivered(&receiver, &[("a", "/one"), ("b", "/two")]).await;
    pod.kill().await;
    pod.start().await;
    pod.accept(&envelope("c", "chat.created")).await;
    delivered(&receiver, &[("a", "/one"), ("b", "/two"), ("c", "/two")]).await;
}

#[tokio::test]
async fn a_piece_that_is_missing_or_broken_loses_nothing() {
    let receiver = Receiver::start().await;
    receiver.answer(|_, _| (axum::http::StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO));
    let mut pod = Pod::new();
    let sub = to(&receiver, "s", "/")
        + "\n  delivery: { retry: { schedule: [100ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s] } }";
    let plan = plan(&[sub]);
    let piece = shards::index_of("ai", "s");
    pod.mount(&plan, &[]);
    pod.start().await;
    pod.accept(&envelope("a", "chat.created")).await;
    pod.counter("s", "pending", 1).await;
    pod.kill().await;

    // The piece with the subscription is late: its backlog waits for it.
    pod.unmount(piece);
    pod.start().await;
    let observed = pod.observed("").await;
    assert_eq!(observed["instances"][0]["shards"].as_object().unwrap().len(), 15);
    receiver.answer(|_, _| (axum::http::StatusCode::OK, Duration::ZERO));
    pod.mount(&plan, &[]);
    pod.counter("s", "delivered", 1).await;

    pod.mount_bytes(piece, b"broken");
    let observed = pod.observes("a problem", |one| !one["problem"].is_null()).await;
    let problem = observed["instances"][0]["problem"].as_str().unwrap();
    assert!(
        problem.starts_with(&format!("piece {piece}: this piece of the plan cannot be read")),
        "{problem}"
    );
    assert_eq!(observed["instances"][0]["shards"], revisions(&plan), "the last good content is served");
    pod.accept(&envelope("b", "chat.created")).await;
    pod.counter("s", "delivered", 2).await;
}

#[tokio::test]
async fn only_who_has_the_token_may_ask() {
    let mut pod = Pod::new();
    pod.mount(&plan(&[]), &[]);
    pod.start().await;
    for path in ["/v1/status", "/v1/observed"] {
        for token in [None, Some("wrong"), Some(TOKEN)] {
            let (status, problem) = pod.admin(path, token).await;
            assert_eq!(status, 401, "{path} {token:?}");
            assert!(problem["detail"].as_str().unwrap().contains("oken"), "{problem}");
        }
        assert_eq!(pod.admin(path, Some(ADMIN_TOKEN)).await.0, 200, "{path}");
    }
    let (_, status) = pod.admin("/v1/status", Some(ADMIN_TOKEN)).await;
    let conditions: Vec<String> = status["objects"][0]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{}={}", one["type"].as_str().unwrap(), one["status"].as_str().unwrap()))
        .collect();
    assert_eq!(
        conditions,
        [
            "Accepted=True",
            "ResolvedRefs=True",
            "Programmed=True",
            "Ready=True",
            "Reachable=Unknown",
            "IntakeReady=True",
            "DispatcherAvailable=True",
        ]
    );
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = pod.http.get(format!("http://{}{path}", pod.admin)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn what_turns_is_told_to_whoever_waits() {
    let receiver = Receiver::start().await;
    let mut pod = Pod::new();
    pod.mount(&plan(&[to(&receiver, "s", "/")]), &[]);
    pod.start().await;
    let first = pod.observed("?process=other&after=99&wait=50").await;
    let process = first["process"].as_str().unwrap();
    let sequence = first["sequence"].as_u64().unwrap();
    let same = pod.observed(&format!("?process={process}&after={sequence}&wait=0")).await;
    assert_eq!(same, first, "nothing changed");

    let query = format!("?process={process}&after={sequence}&wait=50");
    let event = envelope("a", "chat.created");
    let (next, ()) = tokio::join!(pod.observed(&query), pod.accept(&event));
    assert_eq!(next["sequence"], sequence + 1);
    let health = &next["instances"][0]["subscriptions"][0]["health"];
    assert_eq!((&health["ok"], &health["reason"]), (&json!(true), &json!("Delivering")));

    let (status, problem) = pod.admin("/v1/observed?wait=soon", Some(ADMIN_TOKEN)).await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("wait (seconds"), "{problem}");
}

#[tokio::test]
async fn only_so_many_wait_at_once() {
    let mut pod = Pod::new();
    pod.mount(&plan(&[]), &[]);
    pod.start().await;
    let known = pod.observed("").await;
    let path = format!(
        "/v1/observed?process={}&after={}&wait=50",
        known["process"].as_str().unwrap(),
        known["sequence"].as_u64().unwrap()
    );
    let refused = eventually("one is refused", async || {
        let asks = (0..17).map(|_| pod.admin(&path, Some(ADMIN_TOKEN)));
        // The refused one answers first: the others wait.
        let (first, _, _) = futures::future::select_all(asks.map(Box::pin)).await;
        (first.0 == 503).then_some(first)
    })
    .await;
    assert_eq!(refused.1["detail"], "Sixteen requests wait here already; try again.");
}

fn hello(worker: &str, state: &str, dropped: u64, hints: &Value) -> Value {
    json!({
        "relay": {"worker": worker, "version": "1", "config": "c0ffee", "platformVersion": "0.12.4",
                  "state": state, "buffered": 0, "dropped": dropped},
        "hints": hints,
    })
}

#[tokio::test]
async fn relays_say_hello() {
    let mut pod = Pod::new();
    pod.mount(&plan(&[]), &[]);
    pod.start().await;
    let known = pod.observed("").await;
    let query = format!(
        "?process={}&after={}&wait=50",
        known["process"].as_str().unwrap(),
        known["sequence"].as_u64().unwrap()
    );
    let hints = json!([{"event": "function.updated", "subject": "f1"}, {"event": "config.updated"}]);
    let first = hello("w1", "Active", 3, &hints);
    let (next, answer) = tokio::join!(pod.observed(&query), pod.post("/v1/relay", TOKEN, &first));
    assert_eq!(answer, (200, json!({})));
    let relay = json!({"worker": "w1", "version": "1", "config": "c0ffee", "platformVersion": "0.12.4", "dropped": 3});
    assert_eq!(next["instances"][0]["relays"], json!([relay]));
    let mut expected = vec![
        json!({"sequence": 1, "event": "function.updated", "subject": "f1"}),
        json!({"sequence": 2, "event": "config.updated", "subject": null}),
    ];
    assert_eq!(next["instances"][0]["hints"], json!(expected));

    let off = hello("w1", "Off", 3, &json!([]));
    assert_eq!(pod.post("/v1/instances/ai/chat/relay", TOKEN, &off).await.0, 200);
    let observed = pod.observed("").await;
    expected.push(json!({"sequence": 3, "event": "relay.off", "subject": null}));
    assert_eq!(observed["instances"][0]["relays"], json!([]));
    assert_eq!(observed["instances"][0]["hints"], json!(expected));

    let metrics = pod.http.get(format!("http://{}/metrics", pod.admin)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        "chathooks_relay_workers{namespace=\"ai\",chat_instance=\"chat\"} 0",
        "chathooks_relay_dropped_events_total{namespace=\"ai\",chat_instance=\"chat\"} 3",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    assert!(pod.log().contains("a relay dropped events because its buffer was full"));

    assert_eq!(pod.post("/v1/relay", "wrong", &first).await.0, 401);
    assert_eq!(pod.post("/v1/relay", TOKEN, &json!({"relay": {}})).await.0, 400);
    assert_eq!(pod.post("/v1/relay", TOKEN, &json!("a".repeat(70_000))).await.0, 413);
    let (status, problem) = pod.post("/v1/relay", TOKEN, &hello("", "Active", 0, &json!([]))).await;
    assert_eq!(status, 400);
    assert_eq!(problem["detail"], "relay.worker must be 1 to 128 printable ASCII characters.");
}

#[tokio::test]
async fn the_api_server_is_watched_and_its_absence_survived() {
    let receiver = Receiver::start().await;
    let api = ApiServer::start().await;
    let mut pod = Pod::new();
    pod.kubeconfig = Some(api.kubeconfig(pod.data.path()));
    let old = plan(&[to(&receiver, "s", "/old")]);
    let new = plan(&[to(&receiver, "s", "/new")]);
    pod.mount(&old, &[]);
    api.put("chat", &new);
    pod.start().await;
    pod.observes("the watched plan", |one| one["shards"] == revisions(&new)).await;

    let newer = plan(&[to(&receiver, "s", "/newer"), to(&receiver, "t", "/newer-t")]);
    let known = pod.observed("").await;
    let query = format!(
        "?process={}&after={}&wait=50",
        known["process"].as_str().unwrap(),
        known["sequence"].as_u64().unwrap()
    );
    let begun = Instant::now();
    let (observed, ()) = tokio::join!(pod.observed(&query), async { api.put("chat", &newer) });
    assert_eq!(observed["instances"][0]["shards"], revisions(&newer), "all of it at once");
    println!("a change was served after {:?}", begun.elapsed());

    // A deleted Secret is late, not empty.
    api.delete(&shards::secret_name("chat", shards::index_of("ai", "s")));
    api.refuse(403);
    eventually("it tells", async || pod.log().contains("what is served stays, trying again").then_some(()))
        .await;
    pod.accept(&envelope("a", "chat.created")).await;
    delivered(&receiver, &[("a", "/newer"), ("a", "/newer-t")]).await;
    assert_eq!(pod.observed("").await["instances"][0]["shards"], revisions(&newer));

    let last = plan(&[to(&receiver, "s", "/last")]);
    api.put("chat", &last);
    api.accept();
    pod.observes("the plan after the pause", |one| one["shards"] == revisions(&last)).await;
    assert_eq!(pod.log().matches("trying again").count(), 1, "told once");
    assert!(!pod.log().contains("watch list error"), "libraries keep quiet: {}", pod.log());
}

#[tokio::test]
async fn an_old_mount_makes_nothing_forgotten() {
    let receiver = Receiver::start().await;
    receiver.answer(|_, _| (axum::http::StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO));
    let api = ApiServer::start().await;
    let mut pod = Pod::new();
    let new = to(&receiver, "t", "/")
        + "\n  delivery: { retry: { schedule: [100ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s] } }";
    let new = plan(&[new]);
    pod.mount(&plan(&[]), &[]);
    api.put("chat", &new);
    pod.kubeconfig = Some(api.kubeconfig(pod.data.path()));
    pod.start().await;
    pod.observes("the watched plan", |one| one["shards"] == revisions(&new)).await;
    pod.accept(&envelope("a", "chat.created")).await;
    pod.counter("t", "pending", 1).await;
    pod.kill().await;

    // The mount does not know the subscription yet, and the API server is away.
    api.refuse(503);
    pod.start().await;
    assert_eq!(pod.observed("").await["instances"][0]["shards"], revisions(&plan(&[])));
    receiver.answer(|_, _| (axum::http::StatusCode::OK, Duration::ZERO));
    api.accept();
    pod.counter("t", "delivered", 1).await;
}

#[tokio::test]
async fn a_hello_may_be_signed_as_events_are() {
    let mut pod = Pod::new();
    let mut plan = plan(&[]);
    let key = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        SIGNING_SECRET.strip_prefix("whsec_").unwrap(),
    );
    plan.intake.signing_keys = vec![Sensitive(key.unwrap())];
    pod.mount(&plan, &[]);
    pod.start().await;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed();
    let signer = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap();
    let body = hello("w1", "Active", 0, &json!([])).to_string();
    let send = async |body: &str, signed: &str| {
        let request = pod.http.post(format!("http://{}/v1/relay", pod.intake));
        let request = request.header("webhook-id", "h1").header("webhook-timestamp", now.to_string());
        let signature = signer.sign("h1", now, signed.as_bytes()).unwrap();
        request.header("webhook-signature", signature).body(body.to_owned()).send().await.unwrap().status()
    };
    assert_eq!(send(&body, &body).await, 200);
    assert_eq!(send(&body, "{}").await, 401);
    let observed = pod.observed("").await;
    assert_eq!(observed["instances"][0]["relays"][0]["worker"], "w1");
}

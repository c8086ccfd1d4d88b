//! What survives: kill −9, SIGTERM, a second process, a full disk.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use crate::support::product::{Product, subscription};
use crate::support::receiver::Receiver;
use crate::support::{envelope, eventually};

/// Deliveries that may be made again by one kill: what was under way or done since the last commit.
const MAX_AGAIN_PER_KILL: usize = 4_000;

#[tokio::test]
async fn kill_minus_nine_in_a_loop_loses_nothing_acknowledged() {
    const ROUNDS: usize = 6;
    let receiver = Receiver::start().await;
    receiver.answer(|received, earlier| {
        // Some fail at first, so that retries are on the way when the process dies.
        let fails = earlier == 0 && received.header("webhook-id").ends_with('7');
        (if fails { StatusCode::BAD_GATEWAY } else { StatusCode::OK }, Duration::from_millis(1))
    });
    let mut product = Product::new();
    let more =
        "events: ['*']\ndelivery: { concurrency: 32, retry: { schedule: [100ms, 200ms, 1s, 1s, 1s] } }";
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), more));
    let mut acknowledged = HashSet::new();
    for round in 0..ROUNDS {
        product.start().await;
        let begun = Instant::now();
        let mut batch = 0;
        while begun.elapsed() < Duration::from_millis(400 + 150 * round as u64) {
            let ids: Vec<String> = (0..50).map(|n| format!("r{round}-b{batch}-{n}")).collect();
            let events: Vec<_> = ids.iter().map(|id| envelope(id, "chat.created")).collect();
            if product.post(&serde_json::Value::Array(events)).await.is_ok_and(|(status, _)| status == 202) {
                acknowledged.extend(ids);
            }
            batch += 1;
        }
        product.kill().await;
    }
    assert!(acknowledged.len() > 2_000, "a backlog of thousands: {}", acknowledged.len());
    product.start().await;
    eventually("every acknowledged event arrives", async || {
        let ids = receiver.ids();
        acknowledged.iter().all(|id| ids.contains_key(id)).then_some(())
    })
    .await;
    product.counter("s", "pending", 0).await;
    let ids = receiver.ids();
    let again: usize = ids.iter().map(|(id, count)| count - 1 - usize::from(id.ends_with('7'))).sum();
    assert!(again <= ROUNDS * MAX_AGAIN_PER_KILL, "{again} deliveries were made again");
}

#[tokio::test]
async fn retry_timers_survive_a_restart() {
    let receiver = Receiver::start().await;
    receiver.answer(|_, earlier| {
        (if earlier == 0 { StatusCode::BAD_GATEWAY } else { StatusCode::OK }, Duration::ZERO)
    });
    let mut product = Product::new();
    let more = "events: ['*']\ndelivery: { retry: { schedule: [2s], jitter: 0 } }";
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), more));
    product.start().await;
    product.accept(&[envelope("a", "chat.created")]).await;
    product.counter("s", "failedAttempts", 1).await;
    assert_eq!(product.terminate().await, Some(0));
    product.start().await;
    product.counter("s", "delivered", 1).await;
    product.counter("s", "attempts", 2).await;
    let received = receiver.received();
    assert!(received[1].at - received[0].at >= Duration::from_secs(2), "the pause holds across the restart");
}

#[tokio::test]
async fn sigterm_lets_deliveries_end_and_exits_with_zero() {
    let receiver = Receiver::start().await;
    receiver.answer(|_, _| (StatusCode::OK, Duration::from_millis(700)));
    let mut product = Product::new();
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), "events: ['*']"));
    product.start().await;
    product.accept(&[envelope("a", "chat.created")]).await;
    eventually("the delivery is under way", async || (!receiver.received().is_empty()).then_some(())).await;
    assert_eq!(product.terminate().await, Some(0));
    product.start().await;
    product.counter("s", "delivered", 1).await;
    assert_eq!(receiver.received().len(), 1, "it ended before the process did");
}

#[tokio::test]
async fn a_hanging_receiver_does_not_hold_up_the_end() {
    let receiver = Receiver::start().await;
    receiver.answer(|_, _| (StatusCode::OK, Duration::from_mins(1)));
    let mut product = Product::new();
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), "events: ['*']"));
    product.start_by(&["--grace", "1s"]).await;
    product.accept(&[envelope("a", "chat.created")]).await;
    eventually("the delivery is under way", async || (!receiver.received().is_empty()).then_some(())).await;
    let begun = Instant::now();
    assert_eq!(product.terminate().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_refused() {
    let mut product = Product::new();
    product.start().await;
    let mut second = Product::new();
    std::mem::swap(&mut second.data, &mut product.data);
    let second = second.command().output().await.unwrap();
    assert!(!second.status.success());
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(message.contains("another chathooks"), "{message}");
}

/// Ordinary mistakes, none of which may cost an accepted event.
#[tokio::test]
async fn mistakes_in_manifests_keep_the_backlog() {
    let receiver = Receiver::start().await;
    receiver.answer(|_, _| (StatusCode::BAD_GATEWAY, Duration::ZERO));
    let mut product = Product::new();
    let good = subscription("s", &receiver.url("/"), "events: ['*']");
    product.write("sub.yaml", &good);
    product.start().await;
    let events: Vec<_> = (0..20).map(|n| envelope(&format!("e{n}"), "chat.created")).collect();
    product.accept(&events).await;
    product.counter("s", "pending", 20).await;
    for (from, to) in [
        ("instanceRef: { name: chat }", "instanceRef: { name: caht }"),
        ("instanceRef:", "instancRef:"),
        ("kind: WebhookSubscription", "kind: WebhookSubscripton"),
        ("metadata: { name: s,", "metadata: { nmae: s,"),
        ("v1alpha1", "v1alpha2"),
        ("spec:", "spec: ["),
    ] {
        product.write("sub.yaml", &good.replace(from, to));
        tokio::time::sleep(Duration::from_millis(900)).await;
        product.write("sub.yaml", &good);
        product.counter("s", "pending", 20).await;
    }
    product.write("sub.yaml", "kind: [x");
    product.terminate().await;
    product.start().await;
    product.accept(&[envelope("meanwhile", "chat.created")]).await;
    product.write("sub.yaml", &good);
    product.counter("s", "pending", 21).await;
}

/// A dead subscriber with a backlog larger than the log gives way; everyone else goes on.
#[tokio::test]
async fn a_dead_subscriber_does_not_stop_intake() {
    let receiver = Receiver::start().await;
    receiver.answer(|received, _| {
        let down = received.path == "/down";
        (if down { StatusCode::BAD_GATEWAY } else { StatusCode::OK }, Duration::ZERO)
    });
    let mut product = Product::new();
    let instance = std::fs::read_to_string(product.folder.path().join("instance.yaml")).unwrap();
    let small = instance.replace("dispatcher:", "dispatcher:\n    queue: { embedded: { size: 64Mi } }");
    product.write("instance.yaml", &small);
    product.write("down.yaml", &subscription("down", &receiver.url("/down"), "events: ['*']"));
    product.write("up.yaml", &subscription("up", &receiver.url("/up"), "events: ['*']"));
    product.start().await;
    let mut accepted = 0;
    for n in 0..1_000 {
        let mut event = envelope(&format!("e{n}"), "chat.created");
        event["data"] = serde_json::json!({"text": "x".repeat(100_000)});
        // What is refused for a moment is sent again, as senders do.
        eventually("the event is accepted", async || {
            (product.post(&event).await.ok()?.0 == 202).then_some(())
        })
        .await;
        accepted += 1;
    }
    product.counter("up", "delivered", accepted).await;
    let down = product.object("WebhookSubscription", "down").await.unwrap()["counters"].clone();
    assert!(down["expired"].as_u64().unwrap() > 200, "{down}");
    assert_eq!(down["expired"].as_u64().unwrap() + down["pending"].as_u64().unwrap(), accepted, "{down}");
}

//! Deliveries of the running binary, as a receiver sees them.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use crate::support::product::{Product, SIGNING_SECRET, subscription};
use crate::support::receiver::Receiver;
use crate::support::{envelope, eventually};

#[tokio::test]
async fn an_event_arrives_signed_and_unchanged() {
    let receiver = Receiver::start().await;
    let mut product = Product::new();
    let more = "events: ['auth.*']\nexclude: [auth.logout]\nfilter:\n  match: [{ path: data.role, value: user }]\n  \
                expression: 'event.actor.role == \"admin\"'";
    let yaml = subscription("security", &receiver.url("/in"), more);
    product.write("sub.yaml", &yaml);
    product.start().await;
    let wanted = envelope("wanted-1", "auth.signup");
    product
        .accept(&[envelope("other-1", "chat.created"), wanted.clone(), envelope("other-2", "auth.logout")])
        .await;
    product.counter("security", "delivered", 1).await;

    let received = receiver.received();
    assert_eq!(received.len(), 1, "only what matches is delivered");
    let received = &received[0];
    assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", "/in"));
    assert_eq!(received.header("webhook-id"), "wanted-1");
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&received.body).unwrap(), wanted);
    let webhook = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap();
    webhook.verify(&received.body, &received.headers).expect("the published library verifies the signature");

    let (status, answer) = product.post(&wanted).await.unwrap();
    assert_eq!((status, answer), (202, json!({"accepted": 0, "duplicates": 1})));
    let mut other_body = wanted;
    other_body["message"] = json!("changed");
    assert_eq!(product.post(&other_body).await.unwrap().0, 409);
}

#[tokio::test]
async fn failures_are_retried_and_then_kept_as_dead_letters() {
    let receiver = Receiver::start().await;
    receiver.answer(|received, earlier| {
        let ok = received.header("webhook-id") == "recovers" && earlier == 2;
        (if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Duration::ZERO)
    });
    let mut product = Product::new();
    let more = "events: ['*']\ndelivery:\n  retry: { schedule: [30ms, 50ms], jitter: 0 }";
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), more));
    product.start().await;
    product.accept(&[envelope("recovers", "chat.created"), envelope("never", "chat.created")]).await;
    product.counter("s", "deadLettered", 1).await;
    product.counter("s", "delivered", 1).await;
    product.counter("s", "attempts", 6).await;
    product.counter("s", "failedAttempts", 5).await;
    product.counter("s", "pending", 0).await;
    let ids = receiver.ids();
    assert_eq!((ids["recovers"], ids["never"]), (3, 3));
    let attempts: Vec<_> =
        receiver.received().into_iter().filter(|r| r.header("webhook-id") == "never").map(|r| r.at).collect();
    assert!(attempts[1] - attempts[0] >= Duration::from_millis(30));
    assert!(attempts[2] - attempts[1] >= Duration::from_millis(50));
}

#[tokio::test]
async fn a_hanging_target_slows_nobody_else() {
    let receiver = Receiver::start().await;
    receiver.answer(|received, _| {
        let pause = if received.path == "/hangs" { Duration::from_mins(1) } else { Duration::ZERO };
        (StatusCode::OK, pause)
    });
    let mut product = Product::new();
    let hangs = "events: ['*']\ndelivery: { timeout: 20s, concurrency: 4 }";
    product.write("hangs.yaml", &subscription("hangs", &receiver.url("/hangs"), hangs));
    product.write("quick.yaml", &subscription("quick", &receiver.url("/quick"), "events: ['*']"));
    product.start().await;
    let events: Vec<_> = (0..500).map(|n| envelope(&format!("e{n}"), "chat.created")).collect();
    product.accept(&events).await;
    product.counter("quick", "delivered", 500).await;
    let hanging = receiver.received().iter().filter(|r| r.path == "/hangs").count();
    assert_eq!(hanging, 4, "its concurrency bounds what a hanging target holds");
}

#[tokio::test]
async fn gone_stops_until_the_spec_changes() {
    let receiver = Receiver::start().await;
    receiver.answer(|_, _| (StatusCode::GONE, Duration::ZERO));
    let mut product = Product::new();
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), "events: ['*']"));
    product.start().await;
    product.accept(&[envelope("first", "chat.created")]).await;
    let condition = product.condition("WebhookSubscription", "s", "Delivering", "False").await;
    assert_eq!(condition["reason"], "Gone");
    product.accept(&[envelope("second", "chat.created")]).await;
    product.counter("s", "pending", 2).await;
    assert_eq!(receiver.received().len(), 1);

    receiver.answer(|_, _| (StatusCode::OK, Duration::ZERO));
    product.write("sub.yaml", &subscription("s", &receiver.url("/new"), "events: ['*']"));
    product.counter("s", "delivered", 2).await;
}

#[tokio::test]
async fn a_suspended_or_broken_subscription_keeps_its_events() {
    let receiver = Receiver::start().await;
    let mut product = Product::new();
    let with = |more: &str| subscription("s", &receiver.url("/"), more);
    product.write("sub.yaml", &with("events: ['chat.*']\nsuspend: true"));
    product.start().await;
    product.accept(&[envelope("a", "chat.created"), envelope("b", "auth.login")]).await;
    product.counter("s", "pending", 1).await;

    product.write("sub.yaml", &with("events: ['chat.*']\nfilter: { expression: 'event.id ==' }"));
    product.condition("WebhookSubscription", "s", "Accepted", "False").await;
    product.accept(&[envelope("c", "chat.created"), envelope("d", "chat.deleted")]).await;
    assert!(receiver.received().is_empty());

    product.write("sub.yaml", &with("events: ['chat.*']\nfilter: { expression: 'event.id != \"d\"' }"));
    product.counter("s", "delivered", 2).await;
    product.counter("s", "pending", 0).await;
    let ids = receiver.ids();
    assert!(ids.contains_key("a") && ids.contains_key("c") && ids.len() == 2, "{ids:?}");
}

#[tokio::test]
async fn one_made_again_starts_at_now() {
    let receiver = Receiver::start().await;
    let mut product = Product::new();
    product.start().await;
    product.accept(&[envelope("before", "chat.created")]).await;
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), "events: ['*']\nsuspend: true"));
    product.served("s").await;
    product.accept(&[envelope("dropped", "chat.created")]).await;
    product.counter("s", "pending", 1).await;
    product.remove("sub.yaml");
    eventually("the subscription is gone", async || {
        product.object("WebhookSubscription", "s").await.is_none().then_some(())
    })
    .await;
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), "events: ['*']"));
    product.served("s").await;
    product.accept(&[envelope("after", "chat.created")]).await;
    product.counter("s", "delivered", 1).await;
    assert_eq!(receiver.ids().into_keys().collect::<Vec<_>>(), ["after"]);
}

#[tokio::test]
async fn the_backlog_bounds_one_subscription_alone() {
    let receiver = Receiver::start().await;
    receiver.answer(|received, _| {
        let status =
            if received.path == "/down" { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        (status, Duration::ZERO)
    });
    let mut product = Product::new();
    let down = "events: ['*']\ndelivery:\n  backlog: { maxBytes: 1Mi }";
    product.write("down.yaml", &subscription("down", &receiver.url("/down"), down));
    product.write("up.yaml", &subscription("up", &receiver.url("/up"), "events: ['*']"));
    product.start().await;
    for batch in 0..20 {
        let events: Vec<_> = (0..200).map(|n| envelope(&format!("e{batch}-{n}"), "chat.created")).collect();
        product.accept(&events).await;
    }
    product.counter("up", "delivered", 4_000).await;
    eventually("the oldest expire", async || {
        let counters = product.object("WebhookSubscription", "down").await?["counters"].clone();
        let (expired, pending) = (counters["expired"].as_u64()?, counters["pending"].as_u64()?);
        (expired > 1_000 && expired + pending == 4_000).then_some(())
    })
    .await;
}

#[tokio::test]
async fn egress_refusals_print_the_lines_to_add() {
    let receiver = Receiver::start().await;
    let mut product = Product::new();
    let guarded = std::fs::read_to_string(product.folder.path().join("instance.yaml")).unwrap();
    let guarded = guarded.replace("allowedCIDRs: [127.0.0.0/8]", "deniedCIDRs: [10.0.0.0/8]");
    product.write("instance.yaml", &guarded);
    let by_name = format!("http://localhost:{}/", receiver.addr.port());
    product.write("name.yaml", &subscription("name", &by_name, "events: ['*']"));
    product.write("literal.yaml", &subscription("literal", &receiver.url("/"), "events: ['*']"));
    product.start().await;
    let literal = product.condition("WebhookSubscription", "literal", "Accepted", "False").await;
    assert!(literal["message"].as_str().unwrap().contains("allowedCIDRs"), "{literal}");
    product.accept(&[envelope("a", "chat.created")]).await;
    let name = product.condition("WebhookSubscription", "name", "Delivering", "False").await;
    assert_eq!(name["reason"], "EgressRefused");
    assert!(name["message"].as_str().unwrap().contains("allowed"), "{name}");
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn redirects_are_failures_and_not_followed() {
    let receiver = Receiver::start().await;
    receiver.answer(|_, _| (StatusCode::TEMPORARY_REDIRECT, Duration::ZERO));
    let mut product = Product::new();
    let more = "events: ['*']\ndelivery: { retry: { schedule: [] } }";
    product.write("sub.yaml", &subscription("s", &receiver.url("/"), more));
    product.start().await;
    product.accept(&[envelope("a", "chat.created")]).await;
    product.counter("s", "deadLettered", 1).await;
    assert_eq!(receiver.received().len(), 1);
}

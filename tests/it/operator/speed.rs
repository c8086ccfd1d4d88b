//! How long a new subscription takes.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Scene, subscription};

/// A machine that does ten other things at the same time.
const GENEROUS: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_new_subscription_delivers_soon() {
    let scene = Scene::with_team().await;
    let token = scene.secret("team-intake", "token").await;
    let address = scene.kubelet.address(&scene.namespace, super::DISPATCHER, 8080).await;
    let mut took = Vec::new();
    for number in 0..5 {
        let path = format!("/{number}");
        let begun = Instant::now();
        scene.apply(subscription(&format!("s{number}"), &scene.receiver.url(&path), json!({}))).await;
        let applied = begun.elapsed();
        let mut event = 0;
        let first = loop {
            let envelope = crate::support::envelope(&format!("e{number}-{event}"), "chat.created");
            let request = scene.http.post(format!("http://{address}/v1/events")).bearer_auth(&token);
            request.body(envelope.to_string()).send().await.unwrap();
            event += 1;
            if let Some(first) = scene.receiver.received().into_iter().find(|one| one.path == path) {
                break first.at;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(begun.elapsed() < GENEROUS * 4, "nothing is delivered");
        };
        took.push(first - begun);
        scene.becomes("WebhookSubscription", &format!("s{number}"), "Ready", "True").await;
        let ready = begun.elapsed();
        eprintln!(
            "apply → first delivery {} ms (the apply itself {} ms), Ready seen after {} ms",
            (first - begun).as_millis(),
            applied.as_millis(),
            ready.as_millis()
        );
    }
    took.sort();
    assert!(took[2] < GENEROUS, "{took:?}");
    scene.end();
}

//! Instances are deleted while their platform is down: nothing may hang, and somebody must be told.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use serde_json::json;

use super::{create, secret};
use crate::support::cluster::{
    ControlPlane, Installation, PATIENCE, Rights, await_condition, collector, ours, ports, wait_for,
};

/// What the finalizer waits for a platform, and room for a loaded machine.
const BOUND: Duration = Duration::from_secs(50);

/// A ChatInstance whose relay was never installed: nobody listens where its platform should be.
async fn without_platform(client: &Client, namespace: &str) {
    secret(client, namespace, "admin", json!({"key": "sk-none"})).await;
    let url = format!("http://127.0.0.1:{}", ports::free_port());
    let instance = json!({
        "metadata": {"name": "chat"},
        "spec": {
            "platform": "OpenWebUI",
            "url": url,
            "credentials": {"apiKey": {"secretRef": {"name": "admin", "key": "key"}}},
            "dispatcher": {"egress": {"plainHttp": "Allow", "allowedCIDRs": ["127.0.0.0/8"]}},
        },
    });
    let api = ours(client, namespace, "ChatInstance");
    create(&api, instance).await;
    await_condition(&api, "chat", "Reachable", "False").await;
    let finalizers = api.get("chat").await.unwrap().metadata.finalizers;
    assert_eq!(finalizers, Some(vec!["chathooks.dev/platform".to_owned()]));
}

async fn delete_instance(client: &Client, namespace: &str) -> Duration {
    let api = ours(client, namespace, "ChatInstance");
    let begun = Instant::now();
    api.delete("chat", &DeleteParams::default()).await.unwrap();
    wait_for("the instance is gone", BOUND, async || {
        api.get_opt("chat").await.unwrap().is_none().then_some(())
    })
    .await;
    begun.elapsed()
}

/// The note of the Event that tells of what may be left.
async fn left_behind(client: &Client, namespace: &str) -> String {
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    wait_for("an Event tells", PATIENCE, async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        events.into_iter().find(|event| event.reason.as_deref() == Some("RelayLeftBehind"))?.note
    })
    .await
}

#[tokio::test]
async fn deletion_does_not_wait_for_a_platform_that_is_down() {
    let plane = ControlPlane::shared().await;
    let client = plane.admin().await;
    let mut namespaces = Vec::new();
    for _ in 0..3 {
        namespaces.push(plane.namespace().await);
    }
    let watched: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    let installation = Installation::new(plane, Rights::of_the_chart(), &watched).await;
    let _operator = installation.start("only").await;
    let [instance, namespace, credentials] = watched[..] else { unreachable!() };
    for one in &watched {
        without_platform(&client, one).await;
    }
    tokio::join!(
        async {
            let took = delete_instance(&client, instance).await;
            eprintln!("instance deleted, platform down: gone after {took:?}");
            let note = left_behind(&client, instance).await;
            assert!(
                note.starts_with("The relay may still be in the platform; it goes quiet by itself."),
                "{note}"
            );
        },
        async {
            let begun = Instant::now();
            collector::delete_namespace(&client, namespace).await;
            eprintln!("namespace deleted, platform down: gone after {:?}", begun.elapsed());
        },
        async {
            let secrets = Api::<Secret>::namespaced(client.clone(), credentials);
            secrets.delete("admin", &DeleteParams::default()).await.unwrap();
            await_condition(&ours(&client, credentials, "ChatInstance"), "chat", "ResolvedRefs", "False")
                .await;
            let took = delete_instance(&client, credentials).await;
            eprintln!("instance deleted, credentials gone: gone after {took:?}");
            let note = left_behind(&client, credentials).await;
            assert!(note.starts_with("The relay may still be in the platform"), "{note}");
        },
    );
}

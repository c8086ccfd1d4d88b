//! Which instance a path means, and the routes around it.

use super::{Intake, Request, envelope, instance};

#[tokio::test]
async fn the_only_instance_is_at_both_paths() {
    let intake = Intake::start().await;
    for (target, status) in [
        ("/v1/events", 202),
        ("/v1/instances/ai/chat/events", 202),
        ("/v1/instances/ai/other/events", 404),
        ("/v1/instances/other/chat/events", 404),
        ("/v1/instances/ai/chat", 404),
        ("/v1/instances/ai/chat/events/", 404),
        ("/v1/instances//chat/events", 404),
        ("/v1/instances/ai/%63hat/events", 404),
        ("/", 404),
        ("/v1", 404),
        ("/V1/events", 404),
    ] {
        let response = intake.send(&Request::post(target).bearer("right").body("[]")).await;
        assert_eq!(response.status, status, "{target}");
        if status == 404 {
            assert!(response.detail().contains("/v1/"), "{target}");
        }
    }
}

#[tokio::test]
async fn several_instances_have_paths_and_ids_of_their_own() {
    let intake = Intake::start().await;
    intake.serve(vec![instance("ai", "chat", &intake.log), instance("ops", "chat", &intake.log)]);
    let ambiguous = intake.post(envelope("1")).await;
    assert_eq!(ambiguous.status, 404);
    assert_eq!(
        ambiguous.detail(),
        "Several ChatInstances are served here; post to one of /v1/instances/ai/chat/events, \
         /v1/instances/ops/chat/events."
    );
    for namespace in ["ai", "ops"] {
        let target = format!("/v1/instances/{namespace}/chat/events");
        let response = intake.send(&Request::post(&target).bearer("right").body(envelope("1"))).await;
        assert_eq!(response.json()["accepted"], 1, "{target}");
    }
}

#[tokio::test]
async fn no_instance_is_503() {
    let intake = Intake::start().await;
    intake.serve(Vec::new());
    for target in ["/v1/events", "/v1/instances/ai/chat/events", "/v1/events/right"] {
        let response = intake.send(&Request::post(target).bearer("right").body("[]")).await;
        assert_eq!(response.status, 503, "{target}");
        assert_eq!(response.headers["retry-after"], "5");
        assert!(response.detail().contains("No ChatInstance is served"));
    }
}

#[tokio::test]
async fn a_paused_instance_is_503_and_tells_why_to_who_may_know() {
    let intake = Intake::start().await;
    let mut paused = instance("ai", "chat", &intake.log);
    paused.paused = Some("Secret ai/keys has no key `token`.".to_owned());
    intake.serve(vec![paused]);

    let known = intake.post(envelope("1")).await;
    assert_eq!(known.status, 503);
    assert_eq!(known.headers["retry-after"], "5");
    assert_eq!(
        known.detail(),
        "ChatInstance ai/chat is paused and takes no events: Secret ai/keys has no key `token`."
    );
    let stranger = intake.send(&Request::post("/v1/events").body("[]")).await;
    assert_eq!(stranger.status, 503);
    assert_eq!(
        stranger.detail(),
        "ChatInstance ai/chat is paused and takes no events; its conditions say what to change."
    );
}

#[tokio::test]
async fn other_methods_are_405() {
    let intake = Intake::start().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        for target in ["/v1/events", "/v1/events/right", "/v1/instances/ai/chat/events"] {
            let response = intake.send(&Request::new(method, target)).await;
            assert_eq!(response.status, 405, "{method} {target}");
            assert!(response.headers["allow"].contains("POST"), "{method} {target}");
            assert!(method == "HEAD" || response.detail().contains("POST"));
        }
    }
}

#[tokio::test]
async fn the_cloud_events_handshake_is_granted() {
    let intake = Intake::start().await;
    for target in
        ["/v1/events", "/v1/events/any", "/v1/instances/ai/chat/events", "/v1/instances/ai/chat/events/x"]
    {
        let request = Request::new("OPTIONS", target)
            .header("webhook-request-origin", "eventemitter.example.com")
            .header("webhook-request-rate", "120");
        let response = intake.send(&request).await;
        assert_eq!(response.status, 200, "{target}");
        assert_eq!(response.headers["webhook-allowed-origin"], "eventemitter.example.com");
        assert_eq!(response.headers["webhook-allowed-rate"], "*");
        assert_eq!(response.headers["allow"], "POST");
    }
    let bare = intake.send(&Request::new("OPTIONS", "/v1/events")).await;
    assert_eq!(bare.status, 200);
    assert!(!bare.headers.contains_key("webhook-allowed-origin"));
    let unknown = intake.send(&Request::new("OPTIONS", "/v1/instances/no/where/events")).await;
    assert_eq!(unknown.status, 404);
}

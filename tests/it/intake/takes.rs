//! What a well-behaved sender gets.

use serde_json::json;

use super::{Intake, NOW, Request, envelope, read_response};
use chathooks::log::LogError;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// How the log refuses, the seconds in `Retry-After`, a part of the sentence.
type Refusal = (fn() -> LogError, &'static str, &'static str);

#[tokio::test]
async fn one_envelope_is_accepted_and_kept_as_it_came() {
    let intake = Intake::start().await;
    let body = r#"  {"id":"1", "event":"user.created","created_at":1795000000,"x":1.10,"é":"\u00e9"}
"#;
    let response = intake.post(body).await;
    assert_eq!(response.status, 202);
    assert_eq!(response.headers["content-type"], "application/json");
    assert_eq!(response.json(), json!({"accepted": 1, "duplicates": 0}));
    let events = intake.log.events();
    assert_eq!(events[0].json, body.trim());
    assert_eq!((&*events[0].id, &*events[0].name, events[0].created_at), ("1", "user.created", NOW));
}

#[tokio::test]
async fn a_repeat_is_a_duplicate_and_another_body_a_conflict() {
    let intake = Intake::start().await;
    intake.post(envelope("1")).await;
    let again = intake.post(format!(" [{}, {}]\n", envelope("1"), envelope("2"))).await;
    assert_eq!(again.status, 202);
    assert_eq!(again.json(), json!({"accepted": 1, "duplicates": 1}));

    let other = intake.post(envelope("1").replace("\"n\":1", "\"n\":2")).await;
    assert_eq!(other.status, 409);
    assert_eq!(other.json()["errors"][0]["index"], 0);
    assert!(other.detail().contains("taken before with another body"));

    // Another source is another event.
    let elsewhere = intake.post(envelope("1").replace("api", "scim")).await;
    assert_eq!(elsewhere.json(), json!({"accepted": 1, "duplicates": 0}));
}

#[tokio::test]
async fn an_empty_array_is_accepted() {
    let intake = Intake::start().await;
    let response = intake.post("[]").await;
    assert_eq!(response.status, 202);
    assert_eq!(response.json(), json!({"accepted": 0, "duplicates": 0}));
}

#[tokio::test]
async fn a_batch_with_a_bad_event_is_refused_whole() {
    let intake = Intake::start().await;
    let batch = format!(r#"[{},{{"id":"2","event":7,"created_at":1}},{}]"#, envelope("1"), envelope("3"));
    let response = intake.post(batch).await;
    assert_eq!(response.status, 400);
    assert_eq!(
        response.detail(),
        "Nothing was taken: 1 of 3 events are refused. Correct them, or post with ?partial=true to have the others taken."
    );
    let errors = response.json()["errors"].clone();
    assert_eq!(errors.as_array().unwrap().len(), 1);
    assert_eq!((&errors[0]["index"], &errors[0]["pointer"]), (&json!(1), &json!("/event")));
    assert_eq!(intake.log.events(), []);
}

#[tokio::test]
async fn a_batch_with_a_conflict_is_refused_whole() {
    let intake = Intake::start().await;
    intake.post(envelope("1")).await;
    let changed = envelope("1").replace("\"n\":1", "\"n\":2");
    let response = intake.post(format!("[{},{changed}]", envelope("2"))).await;
    assert_eq!(response.status, 409);
    assert_eq!(response.json()["errors"][0]["index"], 1);
    assert_eq!(intake.log.events().len(), 1);
}

#[tokio::test]
async fn partial_takes_what_is_good() {
    let intake = Intake::start().await;
    intake.post(envelope("1")).await;
    let changed = envelope("1").replace("\"n\":1", "\"n\":2");
    let batch =
        format!("[3,{changed},{},{},{}]", envelope("1"), envelope("2"), super::sized("big", 1024 * 1024 + 1));
    let request = Request::post("/v1/events?x=y&partial=true").bearer("right").body(batch);
    let response = intake.send(&request).await;
    assert_eq!(response.status, 202);
    let answer = response.json();
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(1), &json!(1)));
    let indexes: Vec<_> =
        answer["errors"].as_array().unwrap().iter().map(|error| error["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, [0, 1, 4]);

    let good = Request::post("/v1/events?partial=true").bearer("right").body(format!("[{}]", envelope("9")));
    assert_eq!(intake.send(&good).await.json(), json!({"accepted": 1, "duplicates": 0, "errors": []}));
}

#[tokio::test]
async fn partial_must_be_true_or_false() {
    let intake = Intake::start().await;
    for (query, status) in
        [("partial=false", 202), ("partial=1", 400), ("partial", 400), ("partialx=1&&=", 202)]
    {
        let request = Request::post(&format!("/v1/events?{query}")).bearer("right").body("[]");
        assert_eq!(intake.send(&request).await.status, status, "{query}");
    }
}

#[tokio::test]
async fn at_most_a_hundred_errors_are_listed() {
    let intake = Intake::start().await;
    let response = intake.post(format!("[{}1]", "1,".repeat(499))).await;
    assert_eq!(response.status, 400);
    assert!(response.detail().contains("500 of 500"));
    assert_eq!(response.json()["errors"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn ten_thousand_events_are_taken_and_no_more() {
    let intake = Intake::start().await;
    let events = |count: usize| {
        let list: Vec<_> = (0..count).map(|i| envelope(&i.to_string())).collect();
        format!("[{}]", list.join(","))
    };
    let response = intake.post(events(10_001)).await;
    assert_eq!(response.status, 400);
    assert_eq!(
        response.detail(),
        "A batch may hold 10000 events and this one holds 10001; send smaller batches."
    );
    let crumbs = intake.post(format!("[{}1]", "1,".repeat(4_000_000))).await;
    assert_eq!(crumbs.status, 400);
    assert!(crumbs.detail().contains("4000001"));
    assert_eq!(intake.post(events(10_000)).await.json()["accepted"], 10_000);
}

#[tokio::test]
async fn a_log_that_refuses_is_503_with_retry_after() {
    let intake = Intake::start().await;
    let errors: [Refusal; 4] = [
        (|| LogError::Full { used: 1, capacity: 1 }, "5", "larger queue"),
        (|| LogError::DiskFull { path: "/secret/place".into() }, "5", "free some space"),
        (|| LogError::Busy, "1", "waiting to be written"),
        (|| LogError::Fatal("fdatasync".into()), "5", "about to restart"),
    ];
    for (error, retry_after, sentence) in errors {
        *intake.log.refuse.lock().unwrap() = Some(error);
        let response = intake.post(envelope("1")).await;
        assert_eq!(response.status, 503);
        assert_eq!(response.headers["retry-after"], retry_after);
        assert!(response.detail().contains(sentence), "{}", response.detail());
        assert!(!response.detail().contains("/secret/place"));
    }
}

#[tokio::test]
async fn a_connection_carries_many_requests() {
    let intake = Intake::start().await;
    let mut stream = TcpStream::connect(intake.address).await.unwrap();
    for i in 0..50 {
        let request = Request::post("/v1/events").bearer("right").body(envelope(&i.to_string()));
        stream.write_all(&request.bytes()).await.unwrap();
        assert_eq!(read_response(&mut stream).await.unwrap().status, 202);
    }
    assert_eq!(intake.log.events().len(), 50);
}

#[tokio::test]
async fn what_came_in_is_counted() {
    let intake = Intake::start().await;
    intake.post(envelope("1")).await;
    intake.post(envelope("1")).await;
    intake.post("{}").await;
    intake.post("[").await;
    intake.send(&Request::post("/v1/events/secret-token").body("{}")).await;
    intake.send(&Request::post("/nothing/secret-token")).await;
    let text = intake.metrics.encode().unwrap();
    for line in [
        r#"chathooks_intake_events_total{namespace="ai",chat_instance="chat",result="accepted"} 1"#,
        r#"chathooks_intake_events_total{namespace="ai",chat_instance="chat",result="duplicate"} 1"#,
        r#"chathooks_intake_events_total{namespace="ai",chat_instance="chat",result="refused"} 2"#,
        r#"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/v1/events",http_response_status_code="202"} 2"#,
        r#"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/v1/events/{token}",http_response_status_code="401"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="POST",http_route="",http_response_status_code="404"} 1"#,
        r#"http_server_active_requests{http_request_method="POST"} 0"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("secret-token"));
}

//! CloudEvents in all three modes.

use serde_json::{Value, json};

use super::{Intake, NOW, Request};

fn cloud_event(id: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/ci","type":"build.done","data":{{"n":1}}}}"#)
}

fn of_type(content_type: &str) -> Request {
    Request::post("/v1/events").bearer("right").header("content-type", content_type)
}

fn last(intake: &Intake) -> Value {
    serde_json::from_slice(&intake.log.events().pop().unwrap().json).unwrap()
}

#[tokio::test]
async fn structured_mode() {
    let intake = Intake::start().await;
    for (content_type, id) in [
        ("application/cloudevents+json", "1"),
        ("application/cloudevents+json; charset=UTF-8", "2"),
        // A sender that does not know its own type is understood.
        ("application/json", "3"),
    ] {
        let response = intake.send(&of_type(content_type).body(cloud_event(id))).await;
        assert_eq!(response.json(), json!({"accepted": 1, "duplicates": 0}), "{content_type}");
        let event = intake.log.events().pop().unwrap();
        assert_eq!((&*event.id, &*event.name, &*event.source), (id, "build.done", "/ci"));
        assert_eq!(event.created_at, NOW);
        assert_eq!(last(&intake)["data"], json!({"n": 1}));
    }
    // A repeat is a repeat, although the time of arrival is another.
    let again = intake.send(&of_type("application/cloudevents+json").body(cloud_event("1"))).await;
    assert_eq!(again.json(), json!({"accepted": 0, "duplicates": 1}));
}

#[tokio::test]
async fn batched_mode() {
    let intake = Intake::start().await;
    let batch = format!("[{},{}]", cloud_event("1"), cloud_event("2"));
    let response = intake.send(&of_type("application/cloudevents-batch+json").body(batch)).await;
    assert_eq!(response.json(), json!({"accepted": 2, "duplicates": 0}));

    let mixed = format!("[{},{}]", cloud_event("3"), super::envelope("4"));
    let response = intake.send(&of_type("application/json").body(mixed)).await;
    assert_eq!(response.json(), json!({"accepted": 2, "duplicates": 0}));

    let no_batch = intake.send(&of_type("application/cloudevents-batch+json").body(cloud_event("5"))).await;
    assert_eq!(no_batch.status, 400);
    let no_event = format!("[{},{{}}]", cloud_event("6"));
    let response = intake.send(&of_type("application/cloudevents-batch+json").body(no_event)).await;
    assert_eq!((response.status, &response.json()["errors"][0]["index"]), (400, &json!(1)));
    let array = format!("[{}]", cloud_event("7"));
    assert_eq!(intake.send(&of_type("application/cloudevents+json").body(array)).await.status, 400);
}

#[tokio::test]
async fn binary_mode() {
    let intake = Intake::start().await;
    let request = |content_type: &str, id: &str, data: &[u8]| {
        of_type(content_type)
            .header("ce-specversion", "1.0")
            .header("ce-id", id)
            .header("ce-source", "%2Fci")
            .header("CE-Type", "build.done")
            .header("ce-subject", "caf%C3%A9 %22x%22")
            .body(data)
    };
    let response = intake.send(&request("application/json", "1", br#"{"n":1}"#)).await;
    assert_eq!(response.json(), json!({"accepted": 1, "duplicates": 0}));
    let event = intake.log.events().pop().unwrap();
    assert_eq!((&*event.id, &*event.name, &*event.source), ("1", "build.done", "/ci"));
    assert_eq!(last(&intake)["data"], json!({"n": 1}));
    assert_eq!(last(&intake)["subject"]["id"], "café \"x\"");

    let repeated = intake.send(&request("application/json", "1", br#"{"n":1}"#)).await;
    assert_eq!(repeated.json(), json!({"accepted": 0, "duplicates": 1}));
    let changed = intake.send(&request("application/json", "1", br#"{"n":2}"#)).await;
    assert_eq!(changed.status, 409);
    let retyped = request("application/json", "1", br#"{"n":1}"#).header("ce-extra", "1");
    assert_eq!(intake.send(&retyped).await.status, 409);

    let other_type = intake.send(&request("image/png", "2", b"\x89PNG\xff")).await;
    assert_eq!(other_type.json(), json!({"accepted": 1, "duplicates": 0}));
    assert_eq!(last(&intake)["data_base64"], "iVBOR/8=");
}

#[tokio::test]
async fn binary_mode_gone_wrong() {
    let intake = Intake::start().await;
    let base = || of_type("application/json").header("ce-specversion", "1.0").header("ce-type", "a.b");
    let named = || base().header("ce-source", "/x").header("ce-id", "1");
    for (what, request) in [
        ("no id", base().header("ce-source", "/x").body("{}")),
        ("no source", base().header("ce-id", "1").body("{}")),
        ("another version", of_type("text/plain").header("ce-id", "1").header("ce-specversion", "0.3")),
        ("an id twice", named().header("ce-id", "2").body("{}")),
        ("bad UTF-8", named().header("ce-subject", "%ff").body("{}")),
        ("bad JSON", named().body("{")),
    ] {
        let response = intake.send(&request).await;
        assert_eq!(response.status, 400, "{what}");
        response.detail();
    }
    // The base64 of the data makes it too large for an envelope.
    let grown = named().header("content-type", "image/png");
    let large = of_type("image/png")
        .header("ce-specversion", "1.0")
        .header("ce-type", "a.b")
        .header("ce-source", "/x")
        .header("ce-id", "1")
        .body(vec![0xff; 1_000_000]);
    assert_eq!(intake.send(&grown).await.status, 415);
    assert_eq!(intake.send(&large).await.status, 413);
}

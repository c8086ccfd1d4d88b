//! Unit tests of `cloud_events`.

use serde_json::json;

use super::*;

const NOW: i64 = 1_795_253_400;

fn made(text: &str) -> Result<Value, (String, String)> {
    let event =
        structured(&Bytes::copy_from_slice(text.as_bytes()), NOW).map_err(|e| (e.pointer, e.detail))?;
    Ok(serde_json::from_slice(&event.json).unwrap())
}

fn of(value: Value) -> Result<Value, (String, String)> {
    made(&value.to_string())
}

#[test]
fn maps_every_attribute() {
    let event = of(json!({
        "specversion": "1.0", "id": "A-1", "type": "com.example.order.shipped", "source": "/shop/7",
        "time": "2026-11-21T09:30:00.5Z", "subject": "order/7", "datacontenttype": "application/json",
        "dataschema": "https://example.com/order", "traceparent": "00-1", "retries": 3, "vip": true, "none": null,
        "data": {"n": 1}
    }));
    let expected = json!({
        "id": "A-1", "event": "com.example.order.shipped", "source": "/shop/7", "created_at": 1_795_253_400,
        "subject": {"type": null, "id": "order/7"}, "dataschema": "https://example.com/order",
        "extensions": {"traceparent": "00-1", "retries": 3, "vip": true}, "data": {"n": 1}
    });
    assert_eq!(event, Ok(expected));
}

#[test]
fn takes_the_time_of_receipt_for_a_missing_one_and_keeps_data_as_it_is() {
    let json = r#"{"specversion":"1.0","id":"1","type":"a.b","source":"s","data":{"b":1.0,"a":[1e3]}}"#;
    let event = structured(&Bytes::from_static(json.as_bytes()), NOW).unwrap();
    assert_eq!(event.created_at, NOW);
    assert_eq!((event.id.as_str(), event.name.as_str(), event.source.as_str()), ("1", "a.b", "s"));
    assert_eq!(
        event.json,
        r#"{"id":"1","event":"a.b","source":"s","created_at":1795253400,"data":{"b":1.0,"a":[1e3]}}"#
            .as_bytes()
    );
}

#[test]
fn decodes_base64_of_json_only() {
    let base = |extra: Value| {
        let mut event = json!({"specversion": "1.0", "id": "1", "type": "a", "source": "s"});
        event.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        of(event)
    };
    let json =
        json!({"datacontenttype": "application/vnd.x+json; charset=utf-8", "data_base64": "eyJhIjoxfQ=="});
    assert_eq!(base(json).unwrap()["data"], json!({"a": 1}));
    assert_eq!(base(json!({"data_base64": "eyJhIjoxfQ=="})).unwrap()["data"], json!({"a": 1}));
    let kept = base(json!({"datacontenttype": "image/png", "data_base64": "iVBORw=="})).unwrap();
    assert_eq!((&kept["data_base64"], &kept["datacontenttype"]), (&json!("iVBORw=="), &json!("image/png")));
    assert_eq!(base(json!({"data_base64": "iVBORw=="})).unwrap()["data_base64"], json!("iVBORw=="));
    let broken = json!({"datacontenttype": "application/json", "data_base64": "iVBORw=="});
    assert_eq!(base(broken).unwrap_err().0, "/data_base64");
    assert_eq!(base(json!({"data_base64": "?"})).unwrap_err().0, "/data_base64");
    assert_eq!(
        base(json!({"data": 1, "data_base64": "MQ=="})).unwrap_err().1,
        "a CloudEvent carries `data` or `data_base64`, not both"
    );
}

#[test]
fn holds_attributes_to_the_specification() {
    let with = |name: &str, value: Value| {
        let mut event = json!({"specversion": "1.0", "id": "1", "type": "a", "source": "s"});
        event[name] = value;
        of(event).map(|_| ()).unwrap_err()
    };
    for name in ["specversion", "id", "type", "source"] {
        let (pointer, detail) = with(name, Value::Null);
        assert_eq!(pointer, format!("/{name}"));
        assert!(detail.starts_with(&format!("a CloudEvent needs `{name}`: ")), "{detail}");
        assert_eq!(with(name, json!("")).1, format!("the CloudEvent's `{name}` is empty"));
        assert_eq!(with(name, json!(1)).1, format!("the CloudEvent's `{name}` is a string"));
    }
    assert_eq!(with("specversion", json!("0.3")).0, "/specversion");
    assert_eq!(with("type", json!("a b")).0, "/type");
    assert_eq!(with("time", json!("yesterday")).0, "/time");
    assert!(with("traceParent", json!("x")).1.contains("lower-case"));
    assert_eq!(with("created_at", json!(1)).0, "/created_at");
    assert!(with("labels", json!({})).1.contains("put it into `data`"));
    assert!(with("id", json!("a".repeat(257))).1.contains("longer than 256"));
}

#[test]
fn refuses_duplicate_keys_and_other_json() {
    let head = r#""specversion":"1.0","id":"1","type":"a","source":"s""#;
    assert_eq!(made(&format!("{{{head},\"id\":\"2\"}}")).unwrap_err().0, "/id");
    assert_eq!(made(&format!("{{{head},\"data\":{{\"k\":1,\"k\":2}}}}")).unwrap_err().0, "/data/k");
    assert!(made("[]").is_err() && made("").is_err() && made("{").is_err());
}

#[test]
fn reads_binary_mode() {
    let headers = |extra: &[(&str, &str)]| -> Vec<(String, String)> {
        [
            ("specversion", "1.0"),
            ("id", "1"),
            ("type", "a.b"),
            ("source", "/s"),
            ("time", "2026-11-21T09:30:00Z"),
        ]
        .iter()
        .chain(extra)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
    };
    let run = |extra: &[(&str, &str)], content_type, body: &[u8]| {
        binary(&headers(extra), content_type, body, 0)
            .map(|event| serde_json::from_slice::<Value>(&event.json).unwrap())
            .map_err(|e| (e.pointer, e.detail))
    };
    let head = json!({"id": "1", "event": "a.b", "source": "/s", "created_at": 1_795_253_400});
    let and = |extra: Value| {
        let mut event = head.clone();
        event.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Ok(event)
    };
    assert_eq!(run(&[], None, b""), and(json!({})));
    assert_eq!(run(&[], None, b" {\"n\": 1} "), and(json!({"data": {"n": 1}})));
    assert_eq!(
        run(&[("subject", "%E2%82%AC"), ("Traceid", "7")], Some("application/json"), b"[1]"),
        and(json!({"subject": {"type": null, "id": "€"}, "extensions": {"traceid": "7"}, "data": [1]}))
    );
    assert_eq!(
        run(&[], Some("text/plain"), b"hi"),
        and(json!({"data": "hi", "datacontenttype": "text/plain"}))
    );
    assert_eq!(
        run(&[], Some("image/png"), b"\xff"),
        and(json!({"data_base64": "/w==", "datacontenttype": "image/png"}))
    );
    assert_eq!(run(&[], None, b"{\"k\":1,\"k\":2}").unwrap_err().0, "/k");
    assert_eq!(run(&[("id", "2")], None, b"").unwrap_err().1, "the CloudEvent has `id` twice");
    assert!(run(&[], None, b"hi").unwrap_err().1.starts_with("the body is not valid JSON"));
}

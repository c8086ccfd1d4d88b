//! Unit tests of `envelope`.

use proptest::prelude::*;

use super::*;

fn parse(json: &str) -> Result<Event, EnvelopeError> {
    Event::parse(Bytes::copy_from_slice(json.as_bytes()))
}

fn problem(json: &str) -> (String, String) {
    let error = parse(json).expect_err(json);
    (error.pointer, error.detail)
}

#[test]
fn reads_an_open_webui_envelope_and_keeps_its_bytes() {
    let json = r#"{"schema":"0.12.4","id":"7b0c","event":"auth.login","resource":"auth","operation":"login",
        "created_at":1795253400,"source":"api","actor":{"id":"u1","role":"admin"},"data":{"n":1.0,"s":"\u00e9"}}"#;
    let event = parse(&format!("\r\n {json}\t\n")).unwrap();
    assert_eq!(event.id, "7b0c");
    assert_eq!(event.name, "auth.login");
    assert_eq!(event.source, "api");
    assert_eq!(event.created_at, 1_795_253_400);
    assert_eq!(event.json, json.as_bytes());
}

#[test]
fn takes_times_as_platforms_write_them() {
    let at = |field: &str| parse(&format!(r#"{{"id":"1","event":"a",{field}}}"#)).map(|e| e.created_at);
    assert_eq!(at(r#""created_at":12"#), Ok(12));
    assert_eq!(at(r#""created_at":12.9"#), Ok(12));
    assert_eq!(at(r#""created_at":-0.5"#), Ok(-1));
    assert_eq!(at(r#""created_at":1.5e9"#), Ok(1_500_000_000));
    assert_eq!(at(r#""time":"1970-01-01T00:01:00Z""#), Ok(60));
    assert_eq!(at(r#""time":"1970-01-01T01:00:00.9+01:00""#), Ok(0));
    assert_eq!(at(r#""time":"1969-12-31T23:59:59.5Z""#), Ok(-1));
    assert_eq!(at(r#""created_at":null,"time":"1970-01-01T00:01:00Z""#), Ok(60));
    assert_eq!(at(r#""created_at":5,"time":"kept as it came""#), Ok(5));
}

#[test]
fn reads_escaped_fields() {
    let event = parse(r#"{"\u0069d":"\u00e9\"","event":"a\u002eb","created_at":1,"source":"\n"}"#).unwrap();
    assert_eq!((event.id.as_str(), event.name.as_str(), event.source.as_str()), ("é\"", "a.b", "\n"));
}

#[test]
fn refuses_what_not_every_receiver_can_read() {
    for data in [r#""\ud800""#, "1e999", r#"{"a":["\udc00"]}"#] {
        let (_, detail) = problem(&format!(r#"{{"id":"1","event":"a","created_at":1,"data":{data}}}"#));
        assert!(detail.starts_with("the body is not valid JSON: "), "{data}: {detail}");
    }
}

#[test]
fn says_what_an_event_needs() {
    let id = "an event needs `id`: a string of 1 to 256 characters, unique per event";
    assert_eq!(problem("{}"), ("/id".into(), id.into()));
    assert_eq!(
        problem(r#"{"id":7,"event":"a","created_at":1}"#),
        ("/id".into(), "an event needs `id` as a string of 1 to 256 characters; found a number".into())
    );
    let (pointer, detail) = problem(r#"{"id":"1","created_at":1}"#);
    assert_eq!(pointer, "/event");
    assert!(detail.starts_with("an event needs `event`: a dotted name"), "{detail}");
    let (pointer, detail) = problem(r#"{"id":"1","event":"a b","created_at":1}"#);
    assert_eq!(pointer, "/event");
    assert!(detail.contains("holds a character other than"), "{detail}");
    let (pointer, detail) = problem(r#"{"id":"1","event":"a"}"#);
    assert_eq!(pointer, "/created_at");
    assert!(detail.starts_with("an event needs `created_at` in Unix seconds"), "{detail}");
    let (_, detail) = problem(r#"{"id":"1","event":"a","created_at":"12"}"#);
    assert!(detail.ends_with("found a string: write the number without quotes"), "{detail}");
    let (_, detail) = problem(r#"{"id":"1","event":"a","created_at":"2026-11-21T09:30:00Z"}"#);
    assert!(detail.ends_with("write Unix seconds, or put a date into `time`"), "{detail}");
    let (_, detail) = problem(r#"{"id":"1","event":"a","created_at":1795253400000}"#);
    assert!(detail.ends_with("divide milliseconds by 1000"), "{detail}");
    assert_eq!(problem(r#"{"id":"1","event":"a","time":"yesterday"}"#).0, "/time");
    assert_eq!(problem(r#"{"id":"1","event":"a","created_at":1,"source":{}}"#).0, "/source");
    let (_, detail) = problem(r#"{"specversion":"1.0","id":"1","type":"a"}"#);
    assert!(detail.contains("application/cloudevents+json"), "{detail}");
}

#[test]
fn bounds_the_id() {
    let with = |id: &str| parse(&format!(r#"{{"id":"{id}","event":"a","created_at":1}}"#));
    assert!(with(&"é".repeat(256)).is_ok());
    assert!(with(&"é".repeat(257)).is_err());
    assert!(with("a b").is_ok());
    for id in ["", " a", "a ", "a\\n", "\\u0000", "\\u007f"] {
        assert_eq!(with(id).unwrap_err().pointer, "/id", "{id:?}");
    }
}

#[test]
fn refuses_what_is_not_one_json_object() {
    assert_eq!(
        problem("").1,
        "the body is empty; expected a JSON object with `id`, `event` and `created_at`"
    );
    assert!(problem("[]").1.ends_with("found a list"));
    assert!(problem("\"x\"").1.ends_with("found a string"));
    for broken in
        ["{", "{}{}", "{\"a\":}", "{a:1}", "\u{feff}{}", "{\"a\":\"\u{0}\"}", "{\"a\":NaN}", "{\"a\":1,}"]
    {
        assert!(problem(broken).1.starts_with("the body is not valid JSON: "), "{broken:?}");
    }
    let error = Event::parse(Bytes::from_static(b"{\"a\":\"\xff\"}")).unwrap_err();
    assert_eq!(error.detail, "the body is not UTF-8; JSON is sent as UTF-8");
}

#[test]
fn refuses_duplicate_keys_at_every_depth() {
    let duplicate = "this key stands twice in its object; every key may stand there once";
    let full = |data: &str| problem(&format!(r#"{{"id":"1","event":"a","created_at":1,"data":{data}}}"#));
    assert_eq!(problem(r#"{"id":"1","id":"2"}"#), ("/id".into(), duplicate.into()));
    assert_eq!(full(r#"{"x":[0,{"a/b":{"c~":1,"c~":2}}]}"#), ("/data/x/1/a~1b/c~0".into(), duplicate.into()));
    assert_eq!(full(r#"{"k":1,"\u006b":2}"#).0, "/data/k");
    let many: Vec<String> = (0..40).map(|n| format!("\"k{n}\":{{\"k1\":0}}")).collect();
    assert_eq!(full(&format!("{{{},\"k3\":1}}", many.join(","))).0, "/data/k3");
    assert_eq!(full(&format!("{{{},\"k39\":1}}", many.join(","))).0, "/data/k39");
    assert!(
        parse(&format!(r#"{{"id":"1","event":"a","created_at":1,"data":{{{}}}}}"#, many.join(","))).is_ok()
    );
}

#[test]
fn bounds_depth_without_using_up_the_stack() {
    let nested = |depth: usize| {
        let json = format!(
            r#"{{"id":"1","event":"a","created_at":1,"d":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        );
        parse(&json)
    };
    assert!(nested(126).is_ok());
    assert_eq!(nested(127).unwrap_err().detail, "the JSON is nested too deep; at most 127 levels are taken");
    assert!(nested(1_000_000).is_err());
}

proptest! {
    #[test]
    fn agrees_with_a_plain_reader(parts in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"id\":\"1\"", "\"event\":\"a.b\"", "\"created_at\":1", "\"data\":", "\"k\":", "\"k\"",
        "1", "-0.5e3", "null", "true", "\"\\u00e9\"", " ", "\\", "\"",
    ]), 0..12)) {
        let text = parts.concat();
        let json = format!(r#"{{"id":"1","event":"a","created_at":1,"d":{text}}}"#);
        for json in [text, json] {
            let read = parse(&json);
            if let Ok(event) = &read {
                prop_assert_eq!(event.json.as_ref(), json.trim().as_bytes());
            }
            // Whatever is refused as JSON is no JSON for others either.
            let is_json = serde_json::from_str::<serde_json::Value>(&json).is_ok();
            let refused = read.is_err_and(|error| error.detail.starts_with("the body is not valid JSON"));
            prop_assert!(!(is_json && refused), "{}", json);
        }
    }
}

//! Unit tests of `filter`.

use super::*;

const EVENT: &[u8] = br#"{"id":"1","actor":null,"data":{"endpoint":"openAI","isCreatedByUser":false,"n":1e3,"text":"1000",
    "big":123456789012345678901234567890,"list":["a"],"a.b":{"c":"deep"},"none":null,"word":"false","e\u006e":"\u00e9"}}"#;

fn matches(path: &str, value: &str) -> bool {
    Filter::compile(&[(path, value)], None).unwrap().matches(&Document::new(EVENT)).unwrap()
}

#[test]
fn matches_scalars_by_path() {
    for (path, value) in [
        ("data.endpoint", "openAI"),
        ("data.isCreatedByUser", "false"),
        ("data.word", "false"),
        ("data.n", "1000"),
        ("data.n", "1000.00"),
        ("data.text", "1000"),
        ("data.big", "123456789012345678901234567890"),
        ("data.big", "1.2345678901234567890123456789e29"),
        (r"data.a\.b.c", "deep"),
        ("data.none", "null"),
        ("actor", "null"),
        ("data.en", "é"),
    ] {
        assert!(matches(path, value), "{path} {value}");
    }
}

#[test]
fn matches_nothing_else() {
    for (path, value) in [
        ("data.endpoint", "openai"),
        ("data.isCreatedByUser", "False"),
        ("data.n", "1001"),
        ("data.n", "1e3 "),
        ("data.text", "1e3"),
        ("data.big", "123456789012345678901234567891"),
        ("data.list", "a"),
        ("data.list", "[\"a\"]"),
        ("data.list.0", "a"),
        ("data.a.b.c", "deep"),
        ("data.missing", "null"),
        ("actor.role", "null"),
        ("data", "{}"),
        ("data.none", ""),
    ] {
        assert!(!matches(path, value), "{path} {value}");
    }
}

#[test]
fn all_that_is_given_must_hold() {
    let run = |equals: &[(&str, &str)], expression| {
        Filter::compile(equals, expression).unwrap().matches(&Document::new(EVENT))
    };
    let endpoint = ("data.endpoint", "openAI");
    assert_eq!(run(&[], None), Ok(true));
    assert_eq!(run(&[endpoint, ("data.n", "1000")], Some("event.id == \"1\"")), Ok(true));
    assert_eq!(run(&[endpoint, ("data.n", "1")], None), Ok(false));
    assert_eq!(run(&[endpoint], Some("event.id == \"2\"")), Ok(false));
    // What `match` has ruled out, the expression need not understand.
    assert_eq!(run(&[("data.n", "1")], Some("event.actor.role == \"a\"")), Ok(false));
    assert!(run(&[endpoint], Some("event.actor.role == \"a\"")).is_err());
    assert!(Filter::compile(&[], None).unwrap().is_empty());
    assert!(!Filter::compile(&[endpoint], None).unwrap().is_empty());
}

//! Unit tests of `cel`.

use proptest::prelude::*;

use super::*;

const EVENT: &str = r#"{"id":"1","event":"user.role_updated","created_at":1795253400,"actor":{"role":"admin","name":"Zoë"},
    "subject":null,"data":{"role":"user","n":3,"f":2.5,"one":1.0,"big":18446744073709551615,"yes":true,"a.b":"dot",
    "ids":["u1","u2"],"items":[{"price":1},{"price":7,"sale":true}],"nested":{"x":[1,[2]]}}}"#;

fn run(expression: &str) -> Result<bool, String> {
    Expression::compile(expression)
        .unwrap_or_else(|e| panic!("{expression}: {e}"))
        .holds(&Document::new(EVENT.as_bytes()))
}

fn refusal(expression: &str) -> String {
    Expression::compile(expression).map(|_| ()).expect_err(expression)
}

#[test]
fn evaluates_by_the_specification() {
    for holds in [
        r#"event.actor.role == "admin" && event.data.role != "pending""#,
        "event.data.n == 3 && event.data.n == 3.0 && event.data.n == 3u && event.data.one == 1",
        "event.data.n < event.data.f || event.data.f < 3",
        "event.data.n + 2 * 3 - 1 == 8 && 7 / 2 == 3 && -7 / 2 == -3 && 7 % 4 == 3 && event.data.f * 2.0 == 5.0",
        "event.data.big > 9223372036854775807",
        "has(event.actor.role) && !has(event.actor.email) && !has(event.subject.id)",
        "event.subject == null && event.data.yes",
        r#"event.data["a.b"] == "dot" && "a.b" in event.data && !("c" in event.data)"#,
        r#""u2" in event.data.ids && event.event in ["a", "user.role_updated"] && 3.0 in [1, 3]"#,
        r#"event.data.ids[0] == "u1" && event.data.nested.x[1][0] == 2 && event.data.nested.x == [1, [2.0]]"#,
        "size(event.data.ids) == 2 && event.actor.name.size() == 3 && event.data.items[0].size() == 1",
        r#"event.event.startsWith("user.") && event.event.endsWith("updated") && event.event.contains("_")"#,
        r#"event.event.matches("^user\\.[a-z_]+$") && matches(event.event, r'role\x5fup') && !event.event.matches("^role")"#,
        "event.data.items.exists(i, i.price > 5) && event.data.items.exists_one(i, has(i.sale))",
        "event.data.items.all(i, i.price > 0) && size(event.data.items.filter(i, i.price > 1)) == 1",
        r#"event.data.nested.exists(key, key == "x") && [1, 2].all(n, n < event.data.n)"#,
        "event.data.n > 2 ? event.data.yes : false",
        r#""b" > "a" && true > false && "ab" == "a" + "b" && [1] + [2] == [1, 2]"#,
        "event.data.missing == 1 || true",
        "!(event.data.missing == 1 && false)",
        "event.data.items.exists(i, i.sale)",
        r#"event.data == event.data && event.actor != event.data && "1" != 1"#,
        "!(1 == 2) && -(-1) == 1",
        "event['data']['n'] == 3 // a comment",
        r#"event.actor.name == "Zo\u00eb" && '''a''' == "a""#,
    ] {
        assert_eq!(run(holds), Ok(true), "{holds}");
    }
    for not in [
        "event.data.n == \"3\"",
        "false && event.data.missing",
        "[].exists(i, true)",
        "event.data.items.all(i, i.price > 5)",
    ] {
        assert_eq!(run(not), Ok(false), "{not}");
    }
}

#[test]
fn says_why_it_fails_on_an_event() {
    for (expression, sentence) in [
        (
            "event.actor.email == \"a\"",
            "this event has no `event.actor.email`; ask first, `has(event.actor.email) && …`",
        ),
        (
            "event.subject.id == \"a\"",
            "this event has no `event.subject.id`: what stands before `.id` is null",
        ),
        ("event.data.role", "the expression gave a string on this event, and must give true or false"),
        ("event.data.role && true", "`event.data.role` is a string on this event, and must be true or false"),
        ("event.data.role > 1", "`>` cannot compare a string with a number"),
        ("event.data.ids[2] == \"a\"", "this event has no `event.data.ids[2]`; ask first with `size`"),
        ("event.data.ids[-1] == \"a\"", "this event has no `event.data.ids[-1]`; ask first with `size`"),
        ("event.data[\"z\"] == 1", "this event has no `event.data[\"z\"]`; ask first with `in`"),
        ("event.data.n[0] == 1", "a number cannot be indexed with a number"),
        ("event.data.n / 0 == 1", "`/` divides by zero on this event"),
        (
            "9223372036854775807 + event.data.n > 0",
            "`+` gives a number that does not fit into 64 bits on this event",
        ),
        (
            "event.data.n * 1.5 > 1.0",
            "`*` has an integer on one side and a decimal number on the other; write `2.0` for 2",
        ),
        (
            "event.data.n.startsWith(\"a\")",
            "`startsWith` compares two strings, and this event has a number in place of one",
        ),
        ("event.data.n.matches(\"a\")", "`matches` looks at a string, and this event has a number there"),
        (
            "size(event.data.n) > 1",
            "`size` measures strings, lists and objects, and this event has a number there",
        ),
        ("1 in event.data.role", "`in` looks into a list or an object, and this event has a string there"),
        (
            "event.data.role.exists(x, true)",
            "the expression goes through a list, and this event has a string there",
        ),
        ("event.data.items.all(i, i.sale)", "this event has no `i.sale`; ask first, `has(i.sale) && …`"),
        ("-event.data.role == 1", "`-` cannot be applied to a string"),
    ] {
        assert_eq!(run(expression), Err(sentence.to_owned()), "{expression}");
    }
}

#[test]
fn refuses_what_is_not_allowed_with_a_sentence() {
    for (expression, part) in [
        ("", "the expression is empty"),
        ("event.a ==", "is not valid CEL at line 1"),
        ("event.a = 1", "is not valid CEL at line 1, column 9"),
        ("event.data.items.map(i, i.price) == [1]", "`map` is not available; use `exists`"),
        ("event.data.items.map(i, i.price > 1, i.price) == [1]", "`map` is not available"),
        (
            "event.data.items.exists(i, i.tags.exists(t, t == 1))",
            "inside another; join the conditions with `&&`",
        ),
        ("event.data.items.filter(i, true).exists(i, true)", "inside another"),
        ("event.data.items.exists(event, event)", "the element is named `event`"),
        ("event.data.items.exists(i, i.price + 1)", "the condition about `i` is a number or a string"),
        ("event.data.items.exists(i > 1)", "`exists` is used as"),
        ("event.name.startswith(\"a\")", "there is no function `startswith`; did you mean `startsWith`?"),
        ("event.name.lowerAscii() == \"a\"", "there is no function `lowerAscii`; there are `has`, `size`"),
        ("len(event.ids) > 1", "there is no function `len`; did you mean `size`?"),
        ("startsWith(event.name, \"a\")", "`startsWith` is used as `event.data.name.startsWith"),
        ("string(event.n) == \"1\"", "there is no function `string`"),
        ("has(event)", "is not valid CEL"),
        ("event.name.matches(event.pattern)", "written out"),
        ("event.name.matches(\"(\")", "is not valid (RE2 syntax): unclosed group"),
        ("event.name.matches(\"(a{1000}){1000}\")", "needs too much memory"),
        ("data.role == \"a\"", "did you mean `event.data` or the string `\"data\"`?"),
        ("evnt.id == \"a\"", "did you mean `event`?"),
        ("event.a == {\"a\": 1}", "write a list"),
        ("event.a == b\"a\"", "write a string"),
        ("event.a == Foo{b: 1}", "write a list"),
        ("!!event.a", "write one `!`"),
        ("event.a[?0] == 1", "is not valid CEL"),
    ] {
        let sentence = refusal(expression);
        assert!(sentence.contains(part), "{expression}: {sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
    }
    assert!(refusal(&format!("event.a in [{}1]", "1,".repeat(256))).contains("a list of 257 elements"));
    assert!(refusal(&format!("event.a == \"{}\"", "a".repeat(4096))).contains("at most 4096 are taken"));
    assert!(Expression::compile(&format!("event.a in [{}1]", "1,".repeat(255))).is_ok());
}

#[test]
fn refuses_what_cannot_be_true_or_false() {
    for (expression, what) in [
        ("1", "a number"),
        ("\"a\" + event.a", "a number or a string"),
        ("size(event.a)", "a number"),
        ("null", "null"),
        ("[true]", "a list"),
        ("event", "the whole event"),
        ("-event.a", "a number"),
        ("event.a.filter(x, x)", "a list"),
        ("event.a ? 1 : true", "a number"),
    ] {
        assert!(
            refusal(expression).starts_with(&format!("the expression is {what}, and a filter")),
            "{expression}"
        );
    }
    assert!(refusal("1 && true").starts_with("`&&` needs true or false, and is given a number"));
    assert!(refusal("!\"a\"").starts_with("`!` needs true or false"));
    for maybe in ["event.a", "event.a[0]", "event.a ? event.b : false", "true"] {
        assert!(Expression::compile(maybe).is_ok(), "{maybe}");
    }
}

#[test]
fn bounds_the_work() {
    let long = format!(r#"{{"l":[{}0]}}"#, "0,".repeat(10_000));
    let holds = |expression: &str, json: &str| {
        Expression::compile(expression).unwrap().holds(&Document::new(json.as_bytes()))
    };
    assert_eq!(
        holds("event.l.all(x, x == 0)", &long).unwrap_err(),
        "the expression goes through a list of more than 10000 elements"
    );
    assert_eq!(holds("size(event.l) == 10001 && 0 in event.l", &long), Ok(true));
    let exhausted =
        "the expression needs too much work on this event; look at less of it, or at shorter lists";
    let square = format!(r#"{{"l":[{}0]}}"#, "0,".repeat(9_000));
    assert_eq!(holds("event.l.exists(x, 1 in event.l)", &square).unwrap_err(), exhausted);
    assert_eq!(holds("event.l.exists(x, 1 in event.l) || true", &square).unwrap_err(), exhausted);
    let text = format!(r#"{{"l":[{}0],"t":"{}"}}"#, "0,".repeat(9_000), "a".repeat(1_000_000));
    assert_eq!(holds("event.l.exists(x, event.t.contains(\"b\"))", &text).unwrap_err(), exhausted);
    assert_eq!(holds("event.l.exists(x, event.t.matches(\"b$\"))", &text).unwrap_err(), exhausted);
}

#[test]
fn survives_what_is_as_deep_as_it_may_be() {
    for (open, close) in [("(", ")"), ("[", "]"), ("!(", ")"), ("-(", ")"), ("size([", "])")] {
        for depth in 1..40 {
            let _ = Expression::compile(&format!("{}1{}", open.repeat(depth), close.repeat(depth)));
        }
    }
    assert!(Expression::compile(&format!("event{}", ".a".repeat(64))).is_ok());
    assert!(Expression::compile(&format!("event.a{}", " ? true : event.a".repeat(30))).is_ok());
    assert!(Expression::compile(&format!("event.a{}", " || event.a == 1".repeat(200))).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = Expression::compile(&text);
    }

    #[test]
    fn no_mixture_of_tokens_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "event", ".data", ".n", ".ids", "[0]", "[", "]", "(", ")", "{", "}", "?", ":", "&&", "||", "!", "-", "+", "*", "/", "%",
        "==", "!=", "<", ">=", " in ", "1", "2.5", "3u", "\"a\"", "r'\\d'", "null", "true", ",", "x", "has(", "size(",
        ".exists(x,", ".filter(x,", ".matches(", ".contains(", "'''", "\"", "\\", "b'a'", ".map(x,", "//", "\n",
    ]), 0..14)) {
        let text = parts.concat();
        if let Ok(expression) = Expression::compile(&text) {
            let _ = expression.holds(&Document::new(EVENT.as_bytes()));
        }
    }
}

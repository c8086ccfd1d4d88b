//! Text to JSON values: the one place that knows the YAML crate.
//!
//! Scalars mean what they mean to `kubectl` (sigs.k8s.io/yaml, YAML 1.1): an unquoted `yes`, `no`, `on`, `off`,
//! `y` or `n` is a boolean and `0644` is octal, so that a manifest says the same here and in a cluster.
//! JSON is YAML, so `.json` files come this way too.

use serde_json::Value;
use serde_saphyr::{Error, MessageFormatter, Spanned, UserMessageFormatter};

/// Largest number of documents in one text.
pub const MAX_DOCUMENTS: usize = 10_000;

/// Largest number of values (scalars, lists, maps) written in one text.
pub const MAX_NODES: usize = 1_000_000;

/// Largest number of values that aliases of one text may stand for.
pub const MAX_ALIASED: usize = 100_000;

/// Deepest nesting of lists and maps.
pub const MAX_DEPTH: usize = 64;

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Position among the documents that are not empty, from 1.
    pub number: usize,
    /// Line on which its content begins, from 1.
    pub line: u64,
    /// What it says.
    pub value: Value,
}

/// Why a text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {sentence}")]
pub struct YamlError {
    /// From 1; 0 where the whole text is meant.
    pub line: u64,
    /// From 1; 0 where the whole text is meant.
    pub column: u64,
    /// What is wrong.
    pub sentence: String,
}

/// Every document of the text that is not empty, in order. Keys given twice are errors; anchors, aliases and merge
/// keys are expanded within bounds.
pub fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = serde_saphyr::options! {
        with_snippet: false,
        legacy_octal_numbers: true,
        emit_comments: false,
        budget: serde_saphyr::budget! {
            max_documents: MAX_DOCUMENTS,
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_ALIASED,
        },
    };
    let spanned: Vec<Spanned<Value>> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| explain(&error))?;
    Ok(spanned
        .into_iter()
        .enumerate()
        .map(|(index, document)| Document {
            number: index + 1,
            line: document.referenced.line(),
            value: document.value,
        })
        .collect())
}

fn explain(error: &Error) -> YamlError {
    let location = error.location();
    let mut inner = error.without_snippet();
    while let Error::AliasError { error, .. } = inner {
        inner = error.without_snippet();
    }
    let sentence = match inner {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key {key:?} is there twice in the same map; keep one")
        }
        Error::DuplicateMappingKey { key: None, .. } => {
            "a key is there twice in the same map; keep one".to_owned()
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => format!(
            "this is larger than any manifest: at most {MAX_DOCUMENTS} documents, {MAX_NODES} values, \
             {MAX_ALIASED} by aliases, and {MAX_DEPTH} levels are read"
        ),
        Error::UnknownAnchor { .. } => {
            "this alias (*name) has no anchor (&name) before it; text that begins with * needs quotes, as in \"*\""
                .to_owned()
        }
        other => plain(&UserMessageFormatter.format_message(other)),
    };
    YamlError {
        line: location.map_or(0, |at| at.line()),
        column: location.map_or(0, |at| at.column()),
        sentence,
    }
}

/// The parser's words for the commonest slips, said so that one knows what to do.
fn plain(message: &str) -> String {
    if message.contains("found a tab") || message.contains("tabs disallowed") {
        "there is a tab here; indent with spaces".to_owned()
    } else if message.contains("anchor or alias") {
        "text that begins with * or & needs quotes; write \"*\"".to_owned()
    } else if message.contains("mapping values are not allowed") {
        "this line does not fit those above it: check its indentation, and put text that holds ': ' in quotes"
            .to_owned()
    } else {
        message.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Value> {
        documents(text).unwrap().into_iter().map(|document| document.value).collect()
    }

    #[test]
    fn reads_many_documents_and_skips_empty_ones() {
        let text = "# only a comment\n---\n---\na: 1\n---\n\n---\nb: 2\n...\n";
        let found: Vec<(usize, u64)> =
            documents(text).unwrap().iter().map(|document| (document.number, document.line)).collect();
        assert_eq!(found, [(1, 4), (2, 8)]);
        assert_eq!(values(text), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(values(""), Vec::<Value>::new());
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
        assert_eq!(values("\u{feff}a: 1\r\nb: |\r\n  x\r\n  y\r\n"), [json!({"a": 1, "b": "x\ny\n"})]);
    }

    #[test]
    fn scalars_mean_what_they_mean_to_kubectl() {
        assert_eq!(
            values("[yes, off, 'yes', 0644, 0x1f, 1e3, 1.10, ~, 2026-11-21, 5s, 1_000]"),
            [json!([true, false, "yes", 420, 31, 1000.0, 1.1, null, "2026-11-21", "5s", 1000])]
        );
        assert_eq!(values("1: a\ntrue: b\n"), [json!({"1": "a", "true": "b"})]);
    }

    #[test]
    fn json_is_read_with_tabs_and_escapes() {
        assert_eq!(
            values("{\n\t\"a\": [1, 2.5, \"\\u00e9\\/\\ud83d\\ude00\"],\n\t\"b\": {}\n}\n"),
            [json!({"a": [1, 2.5, "é/😀"], "b": {}})]
        );
    }

    #[test]
    fn a_key_given_twice_is_an_error_with_its_place() {
        let error = documents("a:\n  b: 1\n  b: 2\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 3, column 3: the key \"b\" is there twice in the same map; keep one"
        );
        assert!(documents("{\"a\": 1, \"a\": 2}").is_err());
    }

    #[test]
    fn anchors_and_merge_keys_are_expanded() {
        assert_eq!(
            values("base: &b {x: 1}\nuse: {<<: *b, y: 2}\n"),
            [json!({"base": {"x": 1}, "use": {"x": 1, "y": 2}})]
        );
    }

    #[test]
    fn hostile_texts_are_refused_quickly() {
        let level = |level: usize| match level {
            0 => "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(),
            _ => format!("a{level}: &a{level} [{}x]\n", format!("*a{},", level - 1).repeat(10)),
        };
        let bomb: String = (0..12).map(level).collect();
        let error = documents(&bomb).unwrap_err();
        assert!(error.sentence.starts_with("this is larger than any manifest"), "{error}");
        assert!(documents(&"[".repeat(100_000)).is_err());
        assert!(documents(&"- ".repeat(100_000)).is_err());
        assert!(documents("a: [1, 2\nb: 3\n").is_err());
        for text in ["events: [*]\n", "events:\n  - *\n"] {
            let error = documents(text).unwrap_err();
            assert_eq!(error.sentence, "text that begins with * or & needs quotes; write \"*\"", "{text}");
        }
        assert!(documents("a: *nothing\n").unwrap_err().sentence.contains("quotes"));
    }
}

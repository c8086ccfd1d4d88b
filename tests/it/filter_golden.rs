//! Rules and envelopes in, verdicts out: `tests/golden/matcher/*.in.yaml` beside `*.out.yaml`.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it filter_golden` writes what is decided now; read the diff.

use crate::support::golden_cases;
use std::path::PathBuf;

use bytes::Bytes;
use chathooks::event::Event;
use chathooks::event::filter::{Document, Filter};
use chathooks::event::pattern::{Pattern, PatternIndex};
use serde::{Deserialize, Serialize};

/// One case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    rules: Rules,
    /// JSON texts, so that their numbers are as a platform writes them.
    envelopes: Vec<String>,
}

/// As in `spec` of a WebhookSubscription.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default = "everything")]
    events: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default, rename = "match")]
    equals: Vec<Equals>,
    expression: Option<String>,
}

#[derive(Deserialize)]
struct Equals {
    path: String,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Matched,
    /// No pattern, or an excluded one.
    OtherName,
    Filtered,
    FilterError(String),
    /// The intake does not take it.
    NoEvent(String),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    /// The rules are not accepted.
    Refused(String),
    Verdicts(Vec<Verdict>),
}

#[test]
fn every_case_is_decided_as_its_golden_file_says() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let cases = golden_cases("matcher");
    assert!(cases.len() >= 20, "only {} cases found", cases.len());
    let mut differing = Vec::new();
    for path in cases {
        let case: Case = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let printed = serde_saphyr::to_string(&decide(&case)).unwrap();
        let golden = PathBuf::from(path.to_str().unwrap().replace(".in.yaml", ".out.yaml"));
        if update {
            std::fs::write(&golden, &printed).unwrap();
        }
        if std::fs::read_to_string(&golden).unwrap_or_default() != printed {
            differing.push(golden);
        }
    }
    assert!(differing.is_empty(), "other than before (UPDATE_GOLDEN=1 writes them): {differing:#?}");
}

fn decide(case: &Case) -> Outcome {
    let rules = &case.rules;
    let patterns =
        |list: &[String]| list.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>();
    let equals: Vec<(&str, &str)> =
        rules.equals.iter().map(|e| (e.path.as_str(), e.value.as_str())).collect();
    let compiled = patterns(&rules.events)
        .and_then(|events| Ok((events, patterns(&rules.exclude)?)))
        .and_then(|names| Ok((names, Filter::compile(&equals, rules.expression.as_deref())?)));
    let ((events, exclude), filter) = match compiled {
        Ok(compiled) => compiled,
        Err(sentence) => return Outcome::Refused(sentence),
    };
    let index = PatternIndex::new([(events, exclude, filter)]);
    Outcome::Verdicts(case.envelopes.iter().map(|json| verdict(&index, json)).collect())
}

fn verdict(index: &PatternIndex<Filter>, json: &str) -> Verdict {
    let event = match Event::parse(Bytes::copy_from_slice(json.as_bytes())) {
        Ok(event) => event,
        Err(error) => return Verdict::NoEvent(format!("{}: {}", error.pointer, error.detail)),
    };
    let Some(filter) = index.candidates(&event.name).pop() else {
        return Verdict::OtherName;
    };
    match filter.matches(&Document::new(&event.json)) {
        Ok(true) => Verdict::Matched,
        Ok(false) => Verdict::Filtered,
        Err(sentence) => Verdict::FilterError(sentence),
    }
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

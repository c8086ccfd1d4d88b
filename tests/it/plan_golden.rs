//! Manifests in, plan and verdicts out: `tests/golden/plan/*.in.yaml` beside `*.out.yaml`.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it plan_golden` writes what is compiled now; read the diff.

use crate::support::golden_cases;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chathooks::api::crds;
use chathooks::plan::{Inputs, Outcome, Rejected, SecretInput, compile};
use kube_cel::Validator;
use serde_json::Value;

#[test]
fn every_case_compiles_to_its_golden_file() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differing = Vec::new();
    let cases = golden_cases("plan");
    assert!(cases.len() >= 25, "only {} cases found", cases.len());
    for case in cases {
        let outcome = compile(&read(&case));
        let printed = serde_saphyr::to_string(&outcome).unwrap();
        let golden = PathBuf::from(case.to_str().unwrap().replace(".in.yaml", ".out.yaml"));
        if update {
            std::fs::write(&golden, &printed).unwrap();
        }
        if std::fs::read_to_string(&golden).unwrap_or_default() != printed {
            differing.push(golden);
        }
        a_verdict_and_a_pause_go_together(&case, &outcome);
    }
    assert!(differing.is_empty(), "other than before (UPDATE_GOLDEN=1 writes them): {differing:#?}");
}

#[test]
fn the_order_of_the_documents_does_not_matter() {
    for case in golden_cases("plan") {
        let mut inputs = read(&case);
        let forward = compile(&inputs);
        inputs.instances.reverse();
        inputs.subscriptions.reverse();
        inputs.rejected.reverse();
        assert_eq!(
            serde_json::to_value(&forward).unwrap(),
            serde_json::to_value(compile(&inputs)).unwrap(),
            "{}",
            case.display()
        );
    }
}

#[test]
fn what_cannot_be_placed_leaves_the_plan_incomplete() {
    let subscription = |instance: Option<&str>| Rejected {
        kind: "WebhookSubscription".into(),
        key: ("default".into(), "alerts".into()),
        generation: 1,
        instance: instance.map(|name| ("default".to_owned(), name.to_owned())),
        problems: vec!["spec.events: is missing".into()],
    };
    let instance = Rejected {
        kind: "ChatInstance".into(),
        key: ("default".into(), "team".into()),
        instance: None,
        ..subscription(None)
    };
    let with = |one: Rejected| Inputs { rejected: vec![instance.clone(), one], ..Inputs::default() };
    let placed = compile(&with(subscription(Some("team")))).plan;
    assert!(placed.complete);
    assert!(placed.instances[0].rejected && placed.instances[0].subscriptions[0].rejected);
    assert!(!compile(&with(subscription(Some("taem")))).plan.complete);
    assert!(!compile(&with(subscription(None))).plan.complete);
    let unreadable = Inputs { unreadable: true, ..with(subscription(Some("team"))) };
    assert!(!compile(&unreadable).plan.complete);
    assert!(compile(&Inputs::default()).plan.complete);
}

fn a_verdict_and_a_pause_go_together(case: &Path, outcome: &Outcome) {
    let mut paused = BTreeMap::new();
    for instance in &outcome.plan.instances {
        paused.insert(("ChatInstance", &instance.namespace, &instance.name), instance.paused.is_some());
        for one in &instance.subscriptions {
            paused.insert(("WebhookSubscription", &one.namespace, &one.name), one.paused.is_some());
            assert!(one.target.is_some() || one.paused.is_some(), "{}: no target", case.display());
        }
    }
    for verdict in &outcome.verdicts {
        let fine = verdict.accepted.status && verdict.resolved_refs.status;
        let planned = paused.get(&(verdict.kind.as_str(), &verdict.namespace, &verdict.name));
        assert!(planned.is_none_or(|paused| *paused != fine), "{}: {verdict:#?}", case.display());
        for finding in [&verdict.accepted, &verdict.resolved_refs] {
            assert_eq!(finding.status, finding.message.is_empty(), "{}: {verdict:#?}", case.display());
        }
    }
}

fn read(case: &Path) -> Inputs {
    let text = std::fs::read_to_string(case).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    inputs(&documents)
}

/// Sorts documents by kind. Objects must pass admission, as `compile` expects.
pub(crate) fn inputs(documents: &[Value]) -> Inputs {
    let mut inputs = Inputs::default();
    for document in documents {
        let key = || {
            let metadata = &document["metadata"];
            (
                metadata["namespace"].as_str().unwrap_or("default").to_owned(),
                metadata["name"].as_str().unwrap().to_owned(),
            )
        };
        match document["kind"].as_str().unwrap() {
            "ChatInstance" => inputs.instances.push(admitted("ChatInstance", document)),
            "WebhookSubscription" => inputs.subscriptions.push(admitted("WebhookSubscription", document)),
            "Secret" => {
                inputs.secrets.insert(key(), secret(document));
            }
            "ConfigMap" => {
                inputs.config_maps.insert(key(), secret(document).data);
            }
            "Namespace" => {
                let labels = serde_json::from_value(document["metadata"]["labels"].clone()).unwrap();
                inputs.namespaces.insert(document["metadata"]["name"].as_str().unwrap().to_owned(), labels);
            }
            "Rejected" => inputs.rejected.push(Rejected {
                kind: document["of"].as_str().unwrap().into(),
                key: key(),
                generation: document["metadata"]["generation"].as_i64().unwrap_or(1),
                instance: document["instance"].as_str().map(|name| (key().0, name.to_owned())),
                problems: serde_json::from_value(document["problems"].clone()).unwrap(),
            }),
            other => panic!("a document of kind {other}"),
        }
    }
    inputs
}

fn admitted<T: serde::de::DeserializeOwned + serde::Serialize>(kind: &str, document: &Value) -> T {
    if let Err(errors) = Validator::new().validate(&crds::schema(kind).unwrap(), document, None) {
        panic!("admission would refuse this: {errors}");
    }
    let object: T = serde_json::from_value(document.clone()).unwrap();
    nothing_is_unknown("spec", &document["spec"], &serde_json::to_value(&object).unwrap()["spec"]);
    object
}

/// Every field of the manifest is one that the types know.
fn nothing_is_unknown(path: &str, written: &Value, read: &Value) {
    for (field, value) in written.as_object().into_iter().flatten() {
        let path = format!("{path}.{field}");
        assert!(read.get(field).is_some(), "{path} is no field");
        nothing_is_unknown(&path, value, &read[field]);
    }
    for (index, value) in written.as_array().into_iter().flatten().enumerate() {
        nothing_is_unknown(&format!("{path}[{index}]"), value, &read[index]);
    }
}

fn secret(document: &Value) -> SecretInput {
    let entries = |field: &str| document[field].as_object().cloned().unwrap_or_default();
    let text = |value: Value| value.as_str().unwrap().to_owned();
    let encoded =
        entries("data").into_iter().map(|(key, value)| (key, STANDARD.decode(text(value)).unwrap()));
    let plain = entries("stringData").into_iter().map(|(key, value)| (key, text(value).into_bytes()));
    SecretInput {
        data: encoded.chain(plain).collect(),
        generated: document["metadata"]["labels"]["generated-by-chathooks"] == "true",
    }
}

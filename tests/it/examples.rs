//! What users copy works: every folder of `examples/` compiles without a word.

use std::path::{Path, PathBuf};

use chathooks::plan::{Outcome, SecretInput, compile};
use serde_json::Value;

use crate::plan_golden::inputs;

#[test]
fn every_example_is_accepted_without_a_warning() {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    assert!(folders.len() >= 4, "{folders:?}");
    for folder in folders {
        let documents = documents(&folder);
        let outcome = compile_and_make_secrets(&documents);
        assert!(!outcome.verdicts.is_empty(), "{}", folder.display());
        for verdict in &outcome.verdicts {
            let fine = verdict.accepted.status && verdict.resolved_refs.status && verdict.warnings.is_empty();
            assert!(fine, "{}: {verdict:#?}", folder.display());
        }
        assert!(folder.join("README.md").exists(), "{} has no README.md", folder.display());
    }
}

/// As a front end does: compile, make what is wanted, compile again.
fn compile_and_make_secrets(documents: &[Value]) -> Outcome {
    let mut inputs = inputs(documents);
    for wanted in compile(&inputs).wanted_secrets {
        let value = |key: &str| match key {
            "token" => "0123456789012345678901234567890123456789012".to_owned(),
            _ => format!("whsec_{}", "A".repeat(32)),
        };
        let data = wanted.keys.iter().map(|key| (key.clone(), value(key).into_bytes())).collect();
        inputs.secrets.insert((wanted.namespace, wanted.name), SecretInput { data, generated: true });
    }
    compile(&inputs)
}

fn documents(folder: &Path) -> Vec<Value> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            serde_saphyr::from_multiple::<Value>(&text).unwrap()
        })
        .collect()
}

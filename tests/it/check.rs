//! `chathooks check` on folders with one mistake each: `tests/golden/check/<case>/`.
//!
//! A case holds `manifests/`, `expected.txt`, and `arguments` where more than the folder is said.
//! `UPDATE_GOLDEN=1 cargo test --test it check::` writes what is printed now; read the diff.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/check")
}

fn check(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chathooks"))
        .current_dir(folder)
        .args(["check", "manifests"])
        .args(arguments)
        .output()
        .unwrap()
}

fn printed(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    format!("{}{}exit {code}\n", text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_mistake_is_explained_as_its_golden_file_says() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut cases: Vec<PathBuf> =
        fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 50, "only {} cases found", cases.len());
    let mut differing = Vec::new();
    for case in cases {
        let arguments = fs::read_to_string(case.join("arguments")).unwrap_or_default();
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let printed = printed(&check(&case, &arguments));
        let expected = case.join("expected.txt");
        if update {
            fs::write(&expected, &printed).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != printed {
            differing.push(format!("{}:\n{printed}", case.display()));
        }
    }
    assert!(
        differing.is_empty(),
        "other than before (UPDATE_GOLDEN=1 writes them):\n{}",
        differing.join("\n")
    );
}

#[test]
fn machines_get_the_same_as_json() {
    let output = check(&golden().join("instance-misspelled"), &["--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report["summary"],
        json!({"ok": 1, "warnings": 0, "errors": 1, "ignored": 0, "unreadableFiles": 0})
    );
    let object = &report["objects"][0];
    assert_eq!(object["path"], "alerts.yaml");
    assert_eq!((&object["line"], &object["document"]), (&json!(1), &json!(1)));
    assert_eq!((&object["kind"], &object["namespace"]), (&json!("WebhookSubscription"), &json!("default")));
    assert_eq!((&object["name"], &object["verdict"]), (&json!("alerts"), &json!("error")));
    assert!(object["problems"][0].as_str().unwrap().starts_with("spec.instanceRef.name: "));

    let output = check(&golden().join("indentation-broken"), &["--output", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["files"][0]["path"], "chat.yaml");
}

#[test]
fn wrong_use_is_told_with_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        printed(&check(dir.path(), &[])),
        "error: manifests is not a folder that can be read\nexit 2\n"
    );
    fs::create_dir(dir.path().join("manifests")).unwrap();
    assert_eq!(check(dir.path(), &["--output", "xml"]).status.code(), Some(2));
    assert_eq!(check(dir.path(), &["another"]).status.code(), Some(2));
}

#[test]
fn mounted_secrets_count() {
    let dir = tempfile::tempdir().unwrap();
    let case = golden().join("secret-missing/manifests");
    fs::create_dir(dir.path().join("manifests")).unwrap();
    for file in ["chat.yaml", "alerts.yaml"] {
        fs::copy(case.join(file), dir.path().join("manifests").join(file)).unwrap();
    }
    assert_eq!(check(dir.path(), &[]).status.code(), Some(1));
    let key = dir.path().join("secrets/default/siem/signing-secret");
    fs::create_dir_all(key.parent().unwrap()).unwrap();
    fs::write(key, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    assert_eq!(check(dir.path(), &["--secrets-dir", "secrets"]).status.code(), Some(0));
}

//! Holds the module picture of ARCHITECTURE.md: which module may use which module and which crates.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// A module, the modules of ours it may use, and the crates it must not use.
const RULES: &[(&str, &[&str], &[&str])] = &[
    ("api", &[], &["tokio", "reqwest", "axum", "hyper", "rand"]),
    ("event", &[], &["tokio", "reqwest", "axum", "hyper", "kube", "k8s_openapi", "rand"]),
    ("admission", &["api"], &["tokio", "reqwest", "axum", "hyper", "rand"]),
    ("plan", &["api", "event", "hex"], &["tokio", "reqwest", "axum", "hyper", "rand"]),
    ("log", &[], &["reqwest", "axum", "hyper", "kube", "k8s_openapi"]),
    ("status", &["api", "plan"], &["tokio", "reqwest", "axum", "hyper", "kube", "rand"]),
    ("egress", &["plan"], &["axum", "hyper", "kube", "k8s_openapi"]),
    (
        "platform",
        &["api", "plan", "event", "egress", "status", "hex"],
        &["kube", "k8s_openapi", "axum", "hyper"],
    ),
    ("dispatcher", &["event", "plan", "log", "metrics", "status", "egress"], &["kube", "k8s_openapi"]),
    ("board", &["api", "plan", "dispatcher", "status"], &["tokio", "reqwest", "axum", "hyper"]),
    ("pod", &["api", "plan", "dispatcher", "board", "status", "watching"], &["reqwest", "axum", "hyper"]),
    (
        "controller",
        &["api", "plan", "platform", "status", "generated", "hex", "dispatcher", "metrics", "watching"],
        &[],
    ),
    ("metrics", &["dispatcher", "log"], &["kube", "k8s_openapi", "reqwest"]),
    (
        "standalone",
        &[
            "api",
            "admission",
            "plan",
            "dispatcher",
            "log",
            "yaml",
            "event",
            "metrics",
            "board",
            "status",
            "platform",
            "generated",
            "hex",
        ],
        &["reqwest"],
    ),
    ("watching", &[], &["reqwest", "axum", "hyper", "k8s_openapi"]),
    ("yaml", &[], &["tokio", "reqwest", "axum", "hyper", "kube"]),
];

/// Modules that must not read a clock, files or the environment.
const PURE: &[&str] = &["event", "plan", "admission", "api", "status"];
const IMPURE: &[&str] =
    &["std::fs", "std::net::Tcp", "std::env", "SystemTime::now", "Instant::now", "Timestamp::now"];

fn sources(of: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let file = of.with_extension("rs");
    if file.is_file() {
        found.push(file);
    }
    let Ok(entries) = fs::read_dir(of) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn modules_use_only_what_the_picture_allows() {
    let ours = Regex::new(r"\bcrate::([a-z_]+)").unwrap();
    let mut wrong = BTreeSet::new();
    for (module, allowed, banned) in RULES {
        let files = sources(&src().join(module));
        assert!(!files.is_empty(), "module {module} has no files");
        for file in files {
            if file.file_name().is_some_and(|name| name == "tests.rs") {
                continue;
            }
            let code = code_of(&file);
            for used in ours.captures_iter(&code).map(|found| found[1].to_owned()) {
                if used != *module && !allowed.contains(&used.as_str()) {
                    wrong.insert(format!("{}: `{module}` must not use `{used}`", file.display()));
                }
            }
            for banned in *banned {
                if Regex::new(&format!(r"\b{banned}::")).unwrap().is_match(&code) {
                    wrong.insert(format!("{}: `{module}` must not use crate `{banned}`", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_core_is_pure() {
    let mut wrong = BTreeSet::new();
    for module in PURE {
        for file in sources(&src().join(module)) {
            let code = code_of(&file);
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                wrong.insert(format!("{}: `{module}` is pure, `{word}` is not", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_says_what_it_does_and_no_file_is_too_long() {
    for file in sources(&src()) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} does not begin with `//!`", file.display());
        let lines = text.lines().count();
        assert!(lines < 800, "{} has {lines} lines: split it", file.display());
    }
}

#[test]
fn every_reason_of_a_failed_attempt_is_in_the_closed_set() {
    let known = fs::read_to_string(src().join("api/conditions.rs")).unwrap();
    let reason = Regex::new(r#"(?:reason: |failed\(|unhealthy\()"([A-Z]\w+)""#).unwrap();
    let mut seen = 0;
    for file in sources(&src().join("dispatcher")) {
        for found in reason.captures_iter(&code_of(&file)) {
            seen += 1;
            let known = known.contains(&format!("\"{}\"", &found[1]));
            assert!(known, "{}: reason {} is not in api/conditions.rs", file.display(), &found[1]);
        }
    }
    assert!(seen >= 8, "only {seen} reasons were found: has the code changed its form?");
}

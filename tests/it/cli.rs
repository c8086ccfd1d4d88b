//! The command line as people and scripts meet it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn chathooks(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chathooks")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_teaches_and_wrong_use_is_exit_code_2() {
    let help = chathooks(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = text(&help.stdout);
    for part in ["standalone", "demo", "check", "crds", "First steps:", "--log-format", "RUST_LOG"] {
        assert!(help.contains(part), "{part} is missing in\n{help}");
    }
    let standalone = text(&chathooks(&["standalone", "--help"]).stdout);
    for part in ["./chathooks-data", "127.0.0.1:8080", "127.0.0.1:9090", "20s", "Examples:"] {
        assert!(standalone.contains(part), "{part} is missing in\n{standalone}");
    }
    for wrong in [
        &[][..],
        &["serve"],
        &["check"],
        &["standalone", "x", "--grace", "soon"],
        &["--log-level", "a=b=c", "crds"],
    ] {
        let output = chathooks(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
}

#[test]
fn the_version_names_the_build() {
    let version = text(&chathooks(&["--version"]).stdout);
    assert!(version.starts_with(concat!("chathooks ", env!("CARGO_PKG_VERSION"))), "{version}");
}

#[test]
fn crds_prints_what_the_repository_holds_and_survives_a_closed_pipe() {
    let printed = text(&chathooks(&["crds"]).stdout);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    for file in ["chathooks.dev_chatinstances.yaml", "chathooks.dev_webhooksubscriptions.yaml"] {
        assert!(printed.contains(&std::fs::read_to_string(folder.join(file)).unwrap()), "{file}");
    }

    let mut process = Command::new(env!("CARGO_BIN_EXE_chathooks"))
        .arg("crds")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(process.stdout.take());
    let mut errors = String::new();
    process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((process.wait().unwrap().code(), errors.as_str()), (Some(0), ""));
}

#[test]
fn standalone_says_in_a_sentence_why_it_does_not_start() {
    let output = chathooks(&["standalone", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "error: /nowhere/at/all is not a directory that can be read; name the folder that holds your manifests\n"
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let output = chathooks(&["standalone", dir.path().to_str().unwrap(), "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains(&address) && error.contains("choose another with --listen"), "{error}");
}

#[test]
fn logs_are_json_where_no_terminal_reads_them_and_results_stay_apart() {
    let manifests = tempfile::tempdir().unwrap();
    std::fs::write(manifests.path().join("a.yaml"), "a: [1\n").unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_chathooks"))
        .args(["standalone", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .arg(manifests.path())
        .arg("--data-dir")
        .arg(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("chathooks ") && first.contains(" serves "), "{first}");
    let rest: Vec<String> =
        lines.by_ref().map(Result::unwrap).take_while(|line| !line.contains("admin")).collect();
    assert!(rest.iter().any(|line| line.contains("files    a.yaml: this file is not YAML")), "{rest:?}");

    let pid = rustix::process::Pid::from_raw(process.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0), "Ctrl-C ends it in order");
    let logged: Vec<Value> = BufReader::new(process.stderr.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    assert!(logged.iter().any(|line| line["level"] == "WARN" && line["path"] == "a.yaml"), "{logged:?}");
}

#[test]
fn the_demo_delivers_and_verifies_everything() {
    let output = chathooks(&["demo", "--once"]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}{}", text(&output.stderr));
    for part in ["DOWN (503)", "lost                  0", "chathooks check"] {
        assert!(printed.contains(part), "{part} is missing in\n{printed}");
    }
}

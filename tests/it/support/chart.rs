//! The charts, rendered by helm.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chathooks::yaml;
use serde_json::Value;

/// Release under which the chart is rendered: everything is then called `chathooks-operator`.
pub const RELEASE: &str = "chathooks";

/// A Kubernetes version the charts are meant for.
pub const KUBE_VERSION: &str = "1.36.0";

/// Folder of a chart of ours.
pub fn folder(chart: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts").join(chart)
}

/// Runs helm, which `make test` installs.
pub fn helm(arguments: &[&str]) -> Output {
    let program = std::env::var("CHATHOOKS_TEST_HELM")
        .expect("CHATHOOKS_TEST_HELM must name helm: run `make test`, which installs it");
    Command::new(program).args(arguments).output().expect("helm does not start")
}

/// Runs `helm template`. `values` are as in `--set-json`: `replicaCount=1`, `watchNamespaces=["a"]`.
pub fn template(chart: &str, namespace: &str, values: &[&str]) -> Output {
    let folder = folder(chart);
    let mut arguments = vec!["template", RELEASE, folder.to_str().unwrap(), "--namespace", namespace];
    arguments.extend(["--kube-version", KUBE_VERSION]);
    for value in values {
        arguments.extend(["--set-json", value]);
    }
    helm(&arguments)
}

/// The objects of the chart `chathooks`, in helm's order.
pub fn rendered(namespace: &str, values: &[&str]) -> Vec<Value> {
    objects(template("chathooks", namespace, values))
}

/// The objects in what helm printed; panics with its complaint.
pub fn objects(output: Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    yaml::documents(&text).unwrap().into_iter().map(|document| document.value).collect()
}

/// The objects of one kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

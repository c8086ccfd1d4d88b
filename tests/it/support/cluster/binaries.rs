//! Where etcd and kube-apiserver are. `make test` builds them; nothing is built here.

use std::path::{Path, PathBuf};

/// The versions are written down once.
const GO_MOD: &str = include_str!("../../../cluster/go.mod");

/// The folder that holds `etcd`, `kube-apiserver` and `kubectl`.
///
/// `CHATHOOKS_TEST_CONTROL_PLANE` is what `make test` sets, `KUBEBUILDER_ASSETS` what other tools know; without
/// either it is the cache that `tests/cluster/build.sh` fills.
pub fn folder() -> PathBuf {
    let named = ["CHATHOOKS_TEST_CONTROL_PLANE", "KUBEBUILDER_ASSETS"]
        .into_iter()
        .find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    let folder = named.map_or_else(cached, PathBuf::from);
    let missing: Vec<&str> =
        ["etcd", "kube-apiserver"].into_iter().filter(|name| !folder.join(name).is_file()).collect();
    assert!(
        missing.is_empty(),
        "run `make test`, which builds the control plane that these tests run against: {} not found in {}",
        missing.join(" and "),
        folder.display()
    );
    folder
}

fn cached() -> PathBuf {
    let cache = std::env::var_os("CHATHOOKS_CACHE").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache/chathooks"),
        PathBuf::from,
    );
    let (kubernetes, etcd) = (version("k8s.io/kubernetes"), version("go.etcd.io/etcd/server/v3"));
    cache.join(format!("control-plane-{kubernetes}-etcd-{etcd}"))
}

fn version(module: &str) -> &'static str {
    GO_MOD
        .lines()
        .find_map(|line| line.trim().strip_prefix(module)?.split_whitespace().next())
        .filter(|version| version.starts_with('v'))
        .unwrap_or_else(|| panic!("tests/cluster/go.mod requires no {module}"))
}

//! `make cluster`: the control plane of the tests with the operator on it, for people to try.
//!
//! Runs until SIGTERM or Ctrl-C. Everything is kept in the folder that is the only argument, so that the next start
//! goes on where this one ended.

// Helpers of tests may fail loudly; clippy.toml allows that only inside #[test] functions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(unreachable_pub)]

#[path = "../it/support/cluster/mod.rs"]
mod cluster;

use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster::{ControlPlane, Installation, Kubelet, Operator, Rights, binaries, collector};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use tokio::signal::unix::{SignalKind, signal};

/// Where the operator runs, as the chart's notes have it.
const NAMESPACE: &str = "chathooks-system";

/// Where the examples are.
const EXAMPLES: &str = "ai";

/// How often lost objects and ended namespaces are looked for.
const COLLECT: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() {
    let Some(folder) =
        std::env::args_os().nth(1).map(PathBuf::from).filter(|_| std::env::args_os().len() == 2)
    else {
        // `cargo test` runs this without a folder: there is nothing to test.
        return;
    };
    std::fs::create_dir_all(&folder).unwrap();
    let folder = folder.canonicalize().unwrap();
    let plane = ControlPlane::start_in(folder.clone()).await;
    let client = plane.admin().await;
    for namespace in [NAMESPACE, EXAMPLES] {
        if Api::<Namespace>::all(client.clone()).get_opt(namespace).await.unwrap().is_none() {
            plane.create_namespace(namespace).await;
        }
    }
    let _kubelet = Kubelet::start(&plane, None).await;
    let collecting = tokio::spawn(collect(client));
    let installation = Installation::new_in(&plane, NAMESPACE, Rights::of_the_chart(), &[]).await;
    let mut operator = installation.start("operator-0").await;
    tell(&plane, &folder);
    let ended = until_told_to_end(&mut operator).await;
    collecting.abort();
    operator.terminate().await;
    plane.stop_api_server().await;
    assert!(!ended, "the operator ended:\n{}", operator.log());
}

/// True when the operator ended first.
async fn until_told_to_end(operator: &mut Operator) -> bool {
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let mut interrupt = signal(SignalKind::interrupt()).unwrap();
    let ended = async {
        while operator.is_running() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = ended => true,
    }
}

/// What the controller-manager would do.
async fn collect(client: Client) {
    let namespaces = Api::<Namespace>::all(client.clone());
    loop {
        tokio::time::sleep(COLLECT).await;
        let Ok(list) = namespaces.list(&ListParams::default()).await else { continue };
        for namespace in list.items {
            let name = namespace.name_any();
            if namespace.metadata.deletion_timestamp.is_some() {
                collector::finish_namespace_deletion(&client, &name).await;
            } else {
                let _ = collector::collect_garbage(&client, &name).await;
                let _ = collector::release_claims(&client, &name).await;
            }
        }
    }
}

fn tell(plane: &ControlPlane, folder: &Path) {
    let kubeconfig = plane.admin_kubeconfig();
    let kubectl = binaries::folder().join("kubectl");
    println!(
        "A cluster of one node is up, with chathooks installed; its files are in {}.

  export KUBECONFIG={}
  alias kubectl={}

What to try:

  kubectl apply -n {EXAMPLES} -f examples/open-webui-security-alerts/
  kubectl get chathooks -n {EXAMPLES} -o wide
  kubectl wait -n {EXAMPLES} --for=condition=Accepted webhooksubscription --all --timeout=30s
  kubectl describe webhooksubscription -n {EXAMPLES} siem
  kubectl get statefulsets,services,secrets,endpointslices -n {EXAMPLES}
  kubectl delete -n {EXAMPLES} -f examples/open-webui-security-alerts/

`make cluster-down` ends it.",
        folder.display(),
        kubeconfig.display(),
        kubectl.display(),
    );
}

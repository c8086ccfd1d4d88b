//! What one ChatInstance must not do to another, and what a mistake must not do to the bounds of one.

use std::path::Path;

use super::*;
use crate::plan::{Inputs, Rejected, compile};

fn dispatcher(data_dir: &Path) -> Dispatcher {
    // The binary installs it at its start; whoever is second is told so.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let metrics = Arc::new(Metrics::new(""));
    Dispatcher::new(Options { data_dir: data_dir.to_owned(), metrics })
}

/// ChatInstances whose spec nobody could read.
fn plan(names: &[&str]) -> Plan {
    let rejected = names.iter().map(|name| Rejected {
        kind: "ChatInstance".into(),
        key: ("ai".into(), (*name).into()),
        generation: 1,
        instance: None,
        problems: Vec::new(),
    });
    compile(&Inputs { rejected: rejected.collect(), ..Inputs::default() }).plan
}

fn served(dispatcher: &Dispatcher) -> Vec<String> {
    dispatcher.intake_table().borrow().iter().map(|instance| instance.name.clone()).collect()
}

#[tokio::test]
async fn an_instance_that_cannot_be_served_keeps_no_other_from_it() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("instances/ai");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a"), "no folder").unwrap();
    let dispatcher = dispatcher(data.path());
    assert!(matches!(dispatcher.apply(plan(&["a", "b"])).await, Err(DispatcherError::Storage(_))));
    assert_eq!(served(&dispatcher), ["b"]);

    std::fs::remove_file(folder.join("a")).unwrap();
    dispatcher.apply(plan(&["a", "b"])).await.unwrap();
    assert_eq!(served(&dispatcher), ["a", "b"]);
    dispatcher.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_spec_that_cannot_be_read_leaves_the_bounds_as_they_were() {
    let data = tempfile::tempdir().unwrap();
    let dispatcher = dispatcher(data.path());
    let capacity = |dispatcher: &Dispatcher| dispatcher.snapshot()[0].usage.capacity_bytes;
    let mut good = plan(&["a"]);
    good.instances[0].rejected = false;
    good.instances[0].queue_bytes = 64 * 1024 * 1024;
    dispatcher.apply(good.clone()).await.unwrap();
    assert_eq!(capacity(&dispatcher), 64 * 1024 * 1024);
    dispatcher.apply(plan(&["a"])).await.unwrap();
    assert_eq!(capacity(&dispatcher), 64 * 1024 * 1024);

    good.instances[0].queue_bytes = 128 * 1024 * 1024;
    dispatcher.apply(good).await.unwrap();
    assert_eq!(capacity(&dispatcher), 128 * 1024 * 1024);
    dispatcher.shutdown(Duration::from_secs(5)).await;
}

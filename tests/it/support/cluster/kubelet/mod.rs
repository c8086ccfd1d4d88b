//! The one node: runs pod 0 of every StatefulSet as a process and tells the API server how it fares.
//!
//! The container's program is the binary under test. What the pod mounts lies in folders, which its arguments and
//! environment name instead of the mount paths; the ports it opens are free ones on [`super::ports::node_address`].
//! It goes on while the API server is away. Nothing here knows what a dispatcher is.

mod command;
mod pod;
mod publish;
mod state;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use super::process::Signal;
use super::{ControlPlane, PATIENCE, wait_for};
use pod::Pod;
use state::State;

/// How often pods are looked at. What the API server has is watched; looking costs no request.
const TICK: Duration = Duration::from_millis(100);

type Pods = BTreeMap<(String, String), Pod>;

/// Runs pods until it is dropped.
pub struct Kubelet {
    pods: Arc<Mutex<Pods>>,
    task: JoinHandle<()>,
}

impl Kubelet {
    /// Serves one namespace, or all of them.
    pub async fn start(plane: &ControlPlane, namespace: Option<&str>) -> Self {
        let state = State::watch(plane, namespace).await;
        let pods = Arc::new(Mutex::new(Pods::new()));
        let task = tokio::spawn(run(state, Arc::clone(&pods)));
        Self { pods, task }
    }

    /// How often the container of this StatefulSet was started: 1 means that it never restarted.
    pub async fn starts(&self, namespace: &str, set: &str) -> u32 {
        self.pods.lock().await.get(&key(namespace, set)).map_or(0, |pod| pod.starts)
    }

    /// Where the container's port is really served, as `address:port`.
    pub async fn address(&self, namespace: &str, set: &str, container_port: u16) -> String {
        self.pod(namespace, set, |pod| pod.address(container_port)).await
    }

    /// Why the pod does not run, where there is a reason: what it mounts is missing, or its Pod is refused.
    pub async fn waiting(&self, namespace: &str, set: &str) -> Option<String> {
        let pods = self.pods.lock().await;
        pods.get(&key(namespace, set)).map(|pod| pod.waiting.clone()).filter(|reason| !reason.is_empty())
    }

    /// Waits until the pod is ready.
    pub async fn ready(&self, namespace: &str, set: &str) {
        wait_for(&format!("{set} in {namespace} is ready"), PATIENCE, async || {
            self.pods.lock().await.get(&key(namespace, set))?.ready.then_some(())
        })
        .await;
    }

    /// All that the container printed, in all its runs.
    pub async fn log(&self, namespace: &str, set: &str) -> String {
        self.pods.lock().await.get(&key(namespace, set)).map(Pod::log).unwrap_or_default()
    }

    /// Kills the container. It is started again, unless [`Self::hold`] says otherwise.
    pub async fn kill(&self, namespace: &str, set: &str) {
        self.pod(namespace, set, Pod::kill).await;
    }

    /// Stops the container where it stands, until [`Self::resume`].
    pub async fn pause(&self, namespace: &str, set: &str) {
        self.pod(namespace, set, |pod| pod.signal(Signal::STOP)).await;
    }

    /// Lets a paused container go on.
    pub async fn resume(&self, namespace: &str, set: &str) {
        self.pod(namespace, set, |pod| pod.signal(Signal::CONT)).await;
    }

    /// While held, a container that ended is not started again.
    pub async fn hold(&self, namespace: &str, set: &str, held: bool) {
        self.pod(namespace, set, |pod| pod.held = held).await;
    }

    /// Waits until there is a pod with ports, and does something with it.
    async fn pod<T>(&self, namespace: &str, set: &str, act: impl Fn(&mut Pod) -> T) -> T {
        wait_for(&format!("{set} in {namespace} is started"), PATIENCE, async || {
            let mut pods: MutexGuard<'_, Pods> = self.pods.lock().await;
            pods.get_mut(&key(namespace, set)).filter(|pod| pod.starts > 0).map(&act)
        })
        .await
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn key(namespace: &str, set: &str) -> (String, String) {
    (namespace.to_owned(), set.to_owned())
}

async fn run(state: State, pods: Arc<Mutex<Pods>>) {
    loop {
        pass(&state, &mut *pods.lock().await).await;
        tokio::time::sleep(TICK).await;
    }
}

async fn pass(state: &State, pods: &mut Pods) {
    let mut there = BTreeSet::new();
    for set in state.sets.state() {
        let key = key(&set.namespace().unwrap(), &set.name_any());
        there.insert(key.clone());
        let pod = pods.entry(key).or_insert_with_key(|(namespace, name)| Pod::new(state, namespace, name));
        let set: Value = serde_json::to_value(&*set).unwrap();
        pod.sync(state, &set).await;
        publish::publish(state, pod, &set).await;
    }
    let gone: Vec<_> = pods.keys().filter(|key| !there.contains(*key)).cloned().collect();
    for key in gone {
        if let Some(mut pod) = pods.remove(&key) {
            pod.end(state).await;
            publish::withdraw(state, &pod).await;
        }
    }
}

//! Pod 0 of a StatefulSet: one process, and the Pod object that stands for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod as PodObject, Secret};
use kube::api::{DeleteParams, PostParams};
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};

use super::super::process::{Process, Signal};
use super::super::{identity, ports};
use super::command::{self, Surroundings};
use super::state::{State, attempt};
use super::volumes;

/// Name of the one node.
pub const NODE: &str = "node";

/// Probes answer at once or not at all.
const PROBE: Duration = Duration::from_millis(500);

/// Longer than this nobody waits for a container in a test.
const LONGEST_GRACE: u64 = 30;

/// What is known of one pod.
pub struct Pod {
    pub namespace: String,
    pub set: String,
    /// How often the container was started, over all Pod objects.
    pub starts: u32,
    pub held: bool,
    pub ready: bool,
    /// What was written to the API server last, by object.
    pub written: BTreeMap<String, Value>,
    /// The template that runs.
    template: Value,
    /// Real ports by the container's.
    ports: BTreeMap<u16, u16>,
    folder: PathBuf,
    process: Option<Process>,
    /// The Pod object that stands for the process.
    pub uid: Option<String>,
    /// Whether the watch has shown that object.
    seen: bool,
    /// Starts beside the first of this Pod object.
    pub restarts: u32,
    /// Why it does not run, empty if nothing hinders it.
    pub waiting: String,
}

impl Pod {
    pub fn new(state: &State, namespace: &str, set: &str) -> Self {
        let folder =
            state.folder.join("pods").join(format!("{namespace}-{set}-{:08x}", rand::random::<u32>()));
        fs::create_dir_all(&folder).unwrap();
        Self {
            namespace: namespace.to_owned(),
            set: set.to_owned(),
            starts: 0,
            held: false,
            ready: false,
            written: BTreeMap::new(),
            template: Value::Null,
            ports: BTreeMap::new(),
            folder,
            process: None,
            uid: None,
            seen: false,
            restarts: 0,
            waiting: String::new(),
        }
    }

    pub fn name(&self) -> String {
        format!("{}-0", self.set)
    }

    pub fn address(&self, container_port: u16) -> String {
        let port = self.ports.get(&container_port);
        let port = port.unwrap_or_else(|| panic!("{} has no port {container_port}", self.name()));
        format!("{}:{port}", ports::node_address())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("container.log")
    }

    pub fn signal(&mut self, signal: Signal) {
        if let Some(process) = &mut self.process {
            process.signal(signal);
        }
    }

    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
        self.ready = false;
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    pub fn template(&self) -> &Value {
        &self.template
    }

    /// The real port behind a port's number or name.
    pub fn real_port(&self, port: &Value) -> Option<u16> {
        let number = match port {
            Value::Number(number) => number.as_u64()?,
            name => {
                let ports = self.template["spec"]["containers"][0]["ports"].as_array()?;
                ports.iter().find(|port| port["name"] == *name)?["containerPort"].as_u64()?
            }
        };
        self.ports.get(&u16::try_from(number).ok()?).copied()
    }

    /// Makes the process what the StatefulSet says.
    pub async fn sync(&mut self, state: &State, set: &Value) {
        let template = &set["spec"]["template"];
        let wanted = set["spec"]["replicas"] != 0 && set["metadata"].get("deletionTimestamp").is_none();
        let object = state.pod(&self.namespace, &self.name());
        let deleted = object.as_ref().is_some_and(|object| object.metadata.deletion_timestamp.is_some());
        // Left behind by a kubelet before this one.
        let stranger = self.uid.is_none() && object.is_some();
        let mine = object.is_some_and(|object| object.metadata.uid == self.uid);
        self.seen |= mine;
        let lost = self.uid.is_some() && self.seen && !mine;
        if deleted || stranger || lost || (self.uid.is_some() && (!wanted || *template != self.template)) {
            self.end(state).await;
            return;
        }
        let waiting =
            if wanted { self.run(state, template).await.err().unwrap_or_default() } else { String::new() };
        if !waiting.is_empty() && waiting != self.waiting {
            eprintln!("kubelet: {} in {} waits: {waiting}", self.name(), self.namespace);
        }
        self.waiting = waiting;
        self.ready = self.is_running() && self.probe().await;
    }

    async fn run(&mut self, state: &State, template: &Value) -> Result<(), String> {
        let spec = &template["spec"];
        let volumes = volumes::materialise(state, &self.namespace, spec, &self.folder)?;
        if self.uid.is_none() {
            self.template = template.clone();
            self.create(state).await?;
        }
        if self.held || self.is_running() {
            return Ok(());
        }
        let container = &spec["containers"][0];
        for port in container["ports"].as_array().into_iter().flatten() {
            if let Some(number) = port["containerPort"].as_u64().and_then(|number| u16::try_from(number).ok())
            {
                self.ports.entry(number).or_insert_with(ports::free_port);
            }
        }
        let mounts = container["volumeMounts"].as_array().into_iter().flatten().filter_map(|mount| {
            let folder = volumes.get(mount["name"].as_str()?)?;
            Some((mount["mountPath"].as_str()?.trim_end_matches('/').to_owned(), folder.clone()))
        });
        let account = spec["serviceAccountName"].as_str().unwrap_or("default");
        let surroundings = Surroundings {
            address: state.address,
            ports: &self.ports,
            mounts: mounts.collect(),
            fields: BTreeMap::from([
                ("metadata.name", self.name()),
                ("metadata.namespace", self.namespace.clone()),
                ("metadata.uid", self.uid.clone().unwrap_or_default()),
                ("spec.nodeName", NODE.to_owned()),
                ("spec.serviceAccountName", account.to_owned()),
                ("status.podIP", state.address.to_string()),
            ]),
            secret: &|name, key| {
                let secret = state.secrets.get(&ObjectRef::<Secret>::new(name).within(&self.namespace))?;
                String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok()
            },
        };
        let mut command = command::command(container, &surroundings)?;
        if has_token(spec) {
            let file = self.folder.join("kubeconfig");
            if !file.exists() {
                let token = identity::token(&state.client, &self.namespace, account)
                    .await
                    .map_err(|error| format!("no token for ServiceAccount {account}: {error}"))?;
                fs::write(&file, state.access.kubeconfig(&token, &self.namespace).to_string()).unwrap();
            }
            command.env("KUBECONFIG", file);
        }
        command.current_dir(&self.folder);
        if self.process.is_some() {
            self.restarts += 1;
        }
        self.process = Some(Process::start(&mut command, &self.log_file()));
        self.starts += 1;
        Ok(())
    }

    /// A refusal here is a pod that no cluster would take: of pod security, or by the schema.
    async fn create(&mut self, state: &State) -> Result<(), String> {
        let mut spec = self.template["spec"].clone();
        spec["nodeName"] = json!(NODE);
        spec["hostname"] = json!(self.name());
        let mut labels = self.template["metadata"]["labels"].clone();
        labels["statefulset.kubernetes.io/pod-name"] = json!(self.name());
        let object: PodObject = serde_json::from_value(json!({
            "metadata": {
                "name": self.name(), "labels": labels, "annotations": self.template["metadata"]["annotations"],
                "ownerReferences": [self.owner(state)?],
            },
            "spec": spec,
        }))
        .map_err(|error| error.to_string())?;
        let pods = state.api::<PodObject>(&self.namespace);
        let created = pods.create(&PostParams::default(), &object).await;
        let created = created.map_err(|error| format!("its Pod is refused: {error}"))?;
        self.uid = created.metadata.uid;
        self.seen = false;
        self.restarts = 0;
        self.process = None;
        Ok(())
    }

    fn owner(&self, state: &State) -> Result<Value, String> {
        let set = state.sets.get(&ObjectRef::new(&self.set).within(&self.namespace));
        let uid = set.and_then(|set| set.metadata.uid.clone()).ok_or("the StatefulSet is gone")?;
        Ok(
            json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": self.set, "uid": uid, "controller": true}),
        )
    }

    /// Ends the process gracefully and deletes the Pod object.
    pub async fn end(&mut self, state: &State) {
        let grace = self.template["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(LONGEST_GRACE);
        if let Some(mut process) = self.process.take() {
            process.terminate(Duration::from_secs(grace.min(LONGEST_GRACE))).await;
        }
        self.ready = false;
        let pods = state.api::<PodObject>(&self.namespace);
        let name = self.name();
        let delete = async {
            match pods.delete(&name, &DeleteParams::default().grace_period(0)).await {
                Err(kube::Error::Api(status)) if !status.is_not_found() => Err(kube::Error::Api(status)),
                Err(error) if !matches!(error, kube::Error::Api(_)) => Err(error),
                _ => Ok(()),
            }
        };
        if attempt(&format!("deleting Pod {name}"), delete).await.is_some() {
            self.uid = None;
        }
    }

    async fn probe(&self) -> bool {
        let probe = &self.template["spec"]["containers"][0]["readinessProbe"]["httpGet"];
        let Some(path) = probe["path"].as_str() else { return true };
        let Some(port) = self.real_port(&probe["port"]) else { return false };
        let url = format!("http://{}:{port}{path}", ports::node_address());
        let answer = tokio::time::timeout(PROBE, reqwest::get(url)).await;
        answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success()))
    }
}

fn has_token(spec: &Value) -> bool {
    let projected = spec["volumes"].as_array().into_iter().flatten().any(|volume| {
        let sources = volume["projected"]["sources"].as_array();
        sources
            .is_some_and(|sources| sources.iter().any(|source| source.get("serviceAccountToken").is_some()))
    });
    projected || spec["automountServiceAccountToken"] != false
}

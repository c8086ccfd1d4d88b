//! What was asked of the API server, by whom: its audit log.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// What kube-apiserver logs: each request once, when it has ended, without its body.
pub const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived, ResponseStarted]\n\
                          rules: [{ level: Metadata }]\n";

const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// The audit log of one API server. A request is in it before it is answered.
#[derive(Clone, Debug)]
pub struct Audit {
    file: PathBuf,
}

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// One request that has ended.
#[derive(Clone, Debug)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Plural, with its subresource: `chatinstances/status`.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// `admin` or `system:serviceaccount:<namespace>:<name>`.
    pub user: String,
    pub user_agent: String,
    /// Status of the answer.
    pub code: u64,
    /// When it reached the API server.
    pub received: Timestamp,
    /// When it was answered.
    pub answered: Timestamp,
}

impl Request {
    /// Whether it changed something.
    pub fn is_write(&self) -> bool {
        WRITES.contains(&self.verb.as_str()) && self.code < 300
    }
}

impl Audit {
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// The end of the log as it is now.
    pub fn mark(&self) -> Mark {
        Mark(std::fs::metadata(&self.file).map_or(0, |file| file.len()))
    }

    /// What `user` asked for since `mark`, in the order in which it ended.
    pub fn requests(&self, mark: Mark, user: &str) -> Vec<Request> {
        let mut file = std::fs::File::open(&self.file).unwrap();
        file.seek(SeekFrom::Start(mark.0)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        // A last line without its end is still being written.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete
            .lines()
            .filter(|line| line.contains(user))
            .map(request)
            .filter(|found| found.user == user)
            .collect()
    }

    /// How often `user` wrote since `mark`, by verb and resource: `{"patch chatinstances/status": 2}`.
    /// Leases are left out: who leads renews, whether there is something to do or not.
    pub fn writes(&self, mark: Mark, user: &str) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in self.requests(mark, user) {
            if WRITES.contains(&request.verb.as_str()) && request.resource != "leases" {
                *counts.entry(format!("{} {}", request.verb, request.resource)).or_default() += 1;
            }
        }
        counts
    }

    /// What RBAC refused `user` since `mark`, as `verb resource`: a rule that is missing.
    pub fn forbidden(&self, mark: Mark, user: &str) -> Vec<String> {
        let mut refused: Vec<String> = self
            .requests(mark, user)
            .into_iter()
            .filter(|request| request.code == 403)
            .map(|request| format!("{} {}", request.verb, request.resource))
            .collect();
        refused.sort();
        refused.dedup();
        refused
    }
}

fn request(line: &str) -> Request {
    let event: Value = serde_json::from_str(line).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let mut resource = text(&object["resource"]);
    if let Some(subresource) = object["subresource"].as_str() {
        resource = format!("{resource}/{subresource}");
    }
    Request {
        verb: text(&event["verb"]),
        resource,
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        user: text(&event["user"]["username"]),
        user_agent: text(&event["userAgent"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        received: event["requestReceivedTimestamp"].as_str().unwrap().parse().unwrap(),
        answered: event["stageTimestamp"].as_str().unwrap().parse().unwrap(),
    }
}

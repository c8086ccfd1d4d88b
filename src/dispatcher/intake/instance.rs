//! Which ChatInstance a path means.

use std::sync::Arc;

use http::StatusCode;

use super::{IntakeInstance, IntakeTable};
use crate::dispatcher::problem::Problem;

/// Seconds after which a sender tries again while no instance is served or it is paused.
const RETRY_UNSERVED: u32 = 5;

/// Paths named where `/v1/events` is ambiguous.
const MAX_NAMED_PATHS: usize = 20;

/// The namespace and the name that a path holds, if it does.
pub(super) fn named_in(path: &str) -> Option<(&str, &str)> {
    let mut parts = path.strip_prefix("/v1/instances/")?.splitn(3, '/');
    parts.next().zip(parts.next())
}

/// The instance that a path means.
pub(super) fn find(table: &IntakeTable, name: Option<(&str, &str)>) -> Result<Arc<IntakeInstance>, Problem> {
    match name {
        Some((namespace, name)) => named(table, namespace, name),
        None => only(table),
    }
}

/// The only instance there is, for `/v1/events`.
fn only(table: &IntakeTable) -> Result<Arc<IntakeInstance>, Problem> {
    match table.as_slice() {
        [instance] => Ok(Arc::clone(instance)),
        [] => Err(none_served()),
        several => {
            let mut paths: Vec<String> =
                several.iter().take(MAX_NAMED_PATHS).map(|instance| path(instance)).collect();
            if several.len() > MAX_NAMED_PATHS {
                paths.push("…".to_owned());
            }
            let detail =
                format!("Several ChatInstances are served here; post to one of {}.", paths.join(", "));
            Err(Problem::new(StatusCode::NOT_FOUND, detail))
        }
    }
}

/// The instance of this name, for `/v1/instances/{namespace}/{name}/events`.
fn named(table: &IntakeTable, namespace: &str, name: &str) -> Result<Arc<IntakeInstance>, Problem> {
    if table.is_empty() {
        return Err(none_served());
    }
    let found = table.iter().find(|instance| instance.namespace == namespace && instance.name == name);
    found.map(Arc::clone).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "No ChatInstance of this namespace and name is served here; the path is \
             /v1/instances/{namespace}/{name}/events.",
        )
    })
}

/// 503 while an instance takes nothing. Why is only told to a sender with the right token.
pub(super) fn paused(instance: &IntakeInstance, reason: &str, may_know: bool) -> Problem {
    let IntakeInstance { namespace, name, .. } = instance;
    let detail = if may_know {
        format!("ChatInstance {namespace}/{name} is paused and takes no events: {reason}")
    } else {
        format!(
            "ChatInstance {namespace}/{name} is paused and takes no events; its conditions say what to change."
        )
    };
    Problem::unavailable(RETRY_UNSERVED, detail)
}

fn none_served() -> Problem {
    Problem::unavailable(
        RETRY_UNSERVED,
        "No ChatInstance is served here yet: event logs may still be opening. Try again later, or apply one.",
    )
}

fn path(instance: &IntakeInstance) -> String {
    format!("/v1/instances/{}/{}/events", instance.namespace, instance.name)
}

//! Kubernetes Events: told when something turns, never needed for anything.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, EventType};

use super::context::Context;
use super::write::write;

/// Longest note that the API server takes.
const MAX_NOTE: usize = 1024;

/// Longest wait for it to be taken.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells an Event about an object. A failure is logged and forgotten.
pub async fn tell<K>(ctx: &Context, object: &K, type_: EventType, reason: &str, note: &str)
where
    K: Resource<DynamicType = ()>,
{
    let reference: ObjectReference = object.object_ref(&());
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(shortened(note)),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let publishing = write(ctx, "tell an Event", ctx.recorder.publish(&event, &reference));
    match tokio::time::timeout(PATIENCE, publishing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an Event was not taken"),
        Err(_) => tracing::debug!("an Event was not taken in time"),
    }
}

fn shortened(note: &str) -> String {
    if note.len() <= MAX_NOTE {
        return note.to_owned();
    }
    let mut end = MAX_NOTE - 3;
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", note.get(..end).unwrap_or_default())
}

//! Every call to the Kubernetes API: bounded in time, and writes only while this replica leads.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::context::Context;
use super::error::Error;

/// Longest wait for an answer of the API server.
const CALL: Duration = Duration::from_secs(8);

/// Field manager of everything that the operator makes.
pub const MANAGER: &str = "chathooks-operator";

/// Field manager of `status`.
pub const STATUS_MANAGER: &str = "chathooks-operator-status";

/// Field manager of our finalizer.
pub const FINALIZER_MANAGER: &str = "chathooks-operator-finalizer";

/// Waits for a call that reads.
pub async fn read<T>(step: &'static str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    bounded(step, Instant::now() + CALL, Box::pin(call)).await
}

/// Waits for a call that writes; it is not begun unless this replica leads, and not gone on with for longer.
pub(super) async fn write<T>(
    ctx: &Context,
    step: &'static str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    let lead = ctx.leadership.deadline().ok_or(Error::NotLeading)?;
    ctx.metrics.written(step);
    bounded(step, lead.min(Instant::now() + CALL), Box::pin(call)).await
}

async fn bounded<T>(
    step: &'static str,
    deadline: Instant,
    mut call: Pin<Box<impl Future<Output = kube::Result<T>>>>,
) -> Result<T, Error> {
    // The clock is asked before the call goes on: a process that was stopped may find the way free only now.
    let timely = poll_fn(|context| {
        if Instant::now() >= deadline { Poll::Ready(None) } else { call.as_mut().poll(context).map(Some) }
    });
    match timeout_at(deadline, timely).await {
        Ok(Some(Ok(value))) => Ok(value),
        Ok(Some(Err(source))) => Err(Error::Api { step, source: Box::new(source) }),
        Ok(None) | Err(_) => Err(Error::Timeout(step)),
    }
}

/// Makes an object that must not be there yet.
pub async fn create<K>(ctx: &Context, step: &'static str, api: &Api<K>, object: &K) -> Result<K, Error>
where
    K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    write(ctx, step, api.create(&params, object)).await
}

/// Applies an object that was not there a moment ago. Applied from the start, so that fields which are not wanted any more
/// go later; not forced, so that one that somebody made meanwhile is a conflict.
pub async fn establish<K>(
    ctx: &Context,
    step: &'static str,
    api: &Api<K>,
    name: &str,
    object: &Value,
) -> Result<K, Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    write(ctx, step, api.patch(name, &PatchParams::apply(MANAGER), &Patch::Apply(object))).await
}

/// Applies an object that is ours (server-side apply).
pub async fn apply<K>(
    ctx: &Context,
    step: &'static str,
    api: &Api<K>,
    name: &str,
    object: &Value,
) -> Result<K, Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = PatchParams::apply(MANAGER).force();
    write(ctx, step, api.patch(name, &params, &Patch::Apply(object))).await
}

/// Writes what is given into an object that is ours: lists are replaced, other fields stay.
pub async fn merge<K>(
    ctx: &Context,
    step: &'static str,
    api: &Api<K>,
    name: &str,
    object: &Value,
) -> Result<K, Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    write(ctx, step, api.patch(name, &params, &Patch::Merge(object))).await
}

/// Adds values to a Secret that is ours.
pub async fn merge_data(
    ctx: &Context,
    api: &Api<Secret>,
    secret: &Secret,
    values: &BTreeMap<String, ByteString>,
) -> Result<Secret, Error> {
    let name = secret.metadata.name.clone().unwrap_or_default();
    let body = serde_json::json!({ "metadata": { "uid": secret.metadata.uid }, "data": values });
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    write(ctx, "make a Secret", api.patch(&name, &params, &Patch::Merge(&body))).await
}

/// Applies the status of an object.
pub async fn apply_status<K>(ctx: &Context, api: &Api<K>, name: &str, object: &Value) -> Result<K, Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = PatchParams::apply(STATUS_MANAGER).force();
    write(ctx, "write the status", api.patch_status(name, &params, &Patch::Apply(object))).await
}

/// Sets or takes away our finalizer.
pub async fn apply_finalizer<K>(
    ctx: &Context,
    api: &Api<K>,
    object: &K,
    finalizers: &[&str],
) -> Result<(), Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug + Resource<DynamicType = ()>,
{
    let name = object.meta().name.clone().unwrap_or_default();
    let body = serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // The uid keeps this from making an object anew that has just gone.
        "metadata": { "uid": object.meta().uid, "finalizers": finalizers },
    });
    let params = PatchParams::apply(FINALIZER_MANAGER).force();
    let applied = write(ctx, "set the finalizer", api.patch(&name, &params, &Patch::Apply(&body))).await;
    match applied {
        Ok(_) => Ok(()),
        // It has gone meanwhile, which is all that was wanted.
        Err(Error::Api { source, .. }) if gone(&source) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether an object is not there, or another one is.
fn gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found() || status.is_conflict())
}

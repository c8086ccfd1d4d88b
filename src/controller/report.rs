//! Writes a status: only when it differs, told as an Event when it turns.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::EventType;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::context::Context;
use super::error::Error;
use super::events::tell;
use super::memory::{Place, Written, lags};
use super::stores::key_of;
use super::write::apply_status;
use crate::api::conditions::{DELIVERING, READY, reason};
use crate::plan::Verdict;
use crate::status::PAUSED;

/// The status that counts as the last one: what we wrote, where the watch has not shown it yet, else what it shows.
pub fn last<K, S>(ctx: &Context, object: &K, shown: Option<&S>) -> Option<S>
where
    K: Resource<DynamicType = ()>,
    S: Clone + DeserializeOwned,
{
    let written = ctx.memory.get(&place(object)).filter(|written| lags(object.meta(), written));
    written.and_then(|written| serde_json::from_value(written.content).ok()).or_else(|| shown.cloned())
}

/// Writes the status if it differs from the last.
pub async fn write<K, S>(ctx: &Context, object: &K, last: Option<&S>, next: &S) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
    S: Serialize + PartialEq,
{
    if last == Some(next) {
        ctx.metrics.skipped();
        return Ok(());
    }
    let json = |status: &S| serde_json::to_value(status).map_err(|error| Error::Build(error.to_string()));
    let status = json(next)?;
    let (namespace, name) = key_of(object);
    let api: Api<K> = Api::namespaced(ctx.client.clone(), &namespace);
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // Not the status of an object that was made anew under this name.
        "metadata": { "uid": object.meta().uid },
        "status": status,
    });
    let written = match apply_status(ctx, &api, &name, &body).await {
        Err(Error::Api { source, .. }) if vanished(&source) => return Ok(()),
        written => written?,
    };
    let last = last.map(json).transpose()?.unwrap_or_default();
    ctx.memory.set(
        place(object),
        Written {
            uid: object.meta().uid.clone().unwrap_or_default(),
            version: written.meta().resource_version.clone().unwrap_or_default(),
            content: status.clone(),
        },
    );
    for (type_, reason, note) in turns(&last, &status) {
        tell(ctx, object, type_, &reason, &note).await;
    }
    Ok(())
}

/// Most warnings of one object that are told.
const MAX_WARNINGS: usize = 4;

/// Tells what is worth a word and stops nothing, once for each generation.
pub async fn warn<K>(ctx: &Context, object: &K, verdict: &Verdict, last_generation: Option<i64>)
where
    K: Resource<DynamicType = ()>,
{
    if last_generation == Some(verdict.generation) {
        return;
    }
    for warning in verdict.warnings.iter().take(MAX_WARNINGS) {
        tell(ctx, object, EventType::Warning, "SpecWarning", warning).await;
    }
}

fn place<K: Resource<DynamicType = ()>>(object: &K) -> Place {
    let (namespace, name) = key_of(object);
    (
        if K::kind(&()) == "ChatInstance" { "ChatInstance status" } else { "WebhookSubscription status" },
        namespace,
        name,
    )
}

/// Whether the object is gone, or another of its name is there.
fn vanished(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found() || status.is_conflict())
}

/// What is worth an Event: Ready and Delivering when they turn true or false, or are false for another reason.
fn turns(last: &Value, next: &Value) -> Vec<(EventType, String, String)> {
    let find = |status: &Value, type_: &str| -> Option<Condition> {
        let conditions: Vec<Condition> = serde_json::from_value(status.get("conditions")?.clone()).ok()?;
        conditions.into_iter().find(|condition| condition.type_ == type_)
    };
    let mut turns = Vec::new();
    for type_ in [READY, DELIVERING] {
        let Some(new) = find(next, type_) else { continue };
        let old = find(last, type_);
        let same = old.as_ref().is_some_and(|old| {
            (old.status.as_str(), old.reason.as_str()) == (new.status.as_str(), new.reason.as_str())
        });
        match new.status.as_str() {
            _ if same => {}
            "True" => {
                let note = format!("{type_} is true.");
                turns.push((EventType::Normal, new.reason, note));
            }
            // Ready tells why it is paused.
            "False" if type_ == DELIVERING && new.message == PAUSED => {}
            "False" => {
                let asked = [reason::SECRET_PENDING, reason::SUSPENDED].contains(&new.reason.as_str());
                let type_ = if asked { EventType::Normal } else { EventType::Warning };
                turns.push((type_, new.reason, new.message));
            }
            _ => {}
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_asked_for_is_no_warning_and_a_pause_is_told_once() {
        let one = |type_: &str, reason: &str, message: &str| json!({ "type": type_, "status": "False", "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let told = |conditions: &[Value]| turns(&Value::Null, &json!({ "conditions": conditions }));
        let kinds = |conditions: &[Value]| {
            told(conditions)
                .into_iter()
                .map(|(type_, reason, _)| (type_ == EventType::Warning, reason))
                .collect::<Vec<_>>()
        };
        let paused = one(DELIVERING, reason::PAUSED, PAUSED);
        assert_eq!(
            kinds(&[one(READY, reason::SECRET_PENDING, "Soon."), paused.clone()]),
            [(false, "SecretPending".to_owned())]
        );
        assert_eq!(
            kinds(&[one(READY, reason::INVALID_FILTER, "Fix it."), paused]),
            [(true, "InvalidFilter".to_owned())]
        );
        assert_eq!(kinds(&[one(DELIVERING, reason::SUSPENDED, "Kept.")]), [(false, "Suspended".to_owned())]);
        assert_eq!(
            kinds(&[one(DELIVERING, reason::PAUSED, "ChatInstance is paused.")]),
            [(true, "Paused".to_owned())]
        );
    }
}

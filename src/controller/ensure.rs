//! Makes an object of ours as it is wanted: made if it is not there, applied if it differs, left alone otherwise, and
//! never taken from somebody else.

use k8s_openapi::NamespaceResourceScope;
use kube::api::ObjectMeta;
use kube::runtime::reflector::Store;
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::amounts;
use super::context::Context;
use super::error::Error;
use super::memory::{Written, lags};
use super::stores::{INSTANCE, key_of, reference};
use super::write::{apply, establish, merge, read};
use crate::hex::hex;

/// Annotation that holds the hash of what was applied last.
const APPLIED: &str = "chathooks.dev/applied";

/// A wanted object: its content, and the hash that stands for it.
pub struct Wanted<K> {
    object: K,
    hash: String,
}

impl<K> Wanted<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize,
{
    /// Notes the hash in the object.
    pub fn new(mut object: K) -> Result<Self, Error> {
        let json = serde_json::to_vec(&object).map_err(|error| Error::Build(error.to_string()))?;
        let hash = hex(Sha256::digest(&json).get(..16).unwrap_or_default());
        object.annotations_mut().insert(APPLIED.to_owned(), hash.clone());
        Ok(Self { object, hash })
    }
}

/// Makes the object as it is wanted; `store` is what the watch knows of its kind.
///
/// An object of the name that was not made for the same ChatInstance is [`Error::NotOwned`].
pub async fn ensure<K, M>(
    ctx: &Context,
    step: &'static str,
    wanted: &Wanted<K>,
    store: &Store<M>,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
    M: Resource<DynamicType = ()> + Clone + 'static,
{
    let key = key_of(&wanted.object);
    let place = (step, key.0.clone(), key.1.clone());
    let known = ctx.memory.get(&place);
    let seen = store.get(&reference(&key));
    if let (Some(known), Some(seen)) = (&known, &seen)
        && known.content == wanted.hash.as_str()
        && (Some(known.version.as_str()) == seen.meta().resource_version.as_deref()
            || lags(seen.meta(), known))
    {
        ctx.metrics.skipped();
        return Ok(());
    }
    let api: Api<K> = Api::namespaced(ctx.client.clone(), &key.0);
    let written = match read(step, api.get_opt(&key.1)).await? {
        None => establish(ctx, step, &api, &key.1, &value(&wanted.object)?).await?,
        Some(live) if leaving(live.meta(), wanted.object.meta()) => {
            let kind = K::kind(&());
            return Err(Error::Leaving(format!(
                "{kind} {:?} belongs to an earlier ChatInstance of this name; it is made anew as soon as it is gone.",
                key.1
            )));
        }
        Some(live) if !ours(live.meta(), wanted.object.meta(), K::kind(&()) == "PersistentVolumeClaim") => {
            let kind = K::kind(&());
            return Err(Error::NotOwned(format!(
                "{kind} {:?} exists and was not made for this ChatInstance, so it is neither used nor overwritten: \
                 delete or rename it, or give the ChatInstance another name.",
                key.1
            )));
        }
        Some(live) if stands(&live, wanted)? => {
            ctx.metrics.skipped();
            live
        }
        Some(live) => {
            let mut object = wanted.object.clone();
            // Not an object that was made anew under this name meanwhile.
            object.meta_mut().uid.clone_from(&live.meta().uid);
            let body = value(&object)?;
            match apply(ctx, step, &api, &key.1, &body).await {
                Ok(now) if holds(&value(&now)?, &value(&wanted.object)?) => now,
                Err(Error::Api { step, source }) if !invalid(&source) => {
                    return Err(Error::Api { step, source });
                }
                // Items that somebody added to a list stay when it is applied; a merge replaces lists.
                Ok(_) | Err(Error::Api { .. }) => merge(ctx, step, &api, &key.1, &body).await?,
                Err(error) => return Err(error),
            }
        }
    };
    ctx.memory.set(
        place,
        Written {
            uid: written.meta().uid.clone().unwrap_or_default(),
            version: written.meta().resource_version.clone().unwrap_or_default(),
            content: Value::String(wanted.hash.clone()),
        },
    );
    Ok(())
}

/// Whether an object is one that was made for the same ChatInstance: by its owner, or, where it may `outlive` its owner,
/// by its annotation.
fn ours(live: &ObjectMeta, wanted: &ObjectMeta, outlives: bool) -> bool {
    let owner = |metadata: &ObjectMeta| {
        metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| owner.uid.clone())
    };
    let instance = |metadata: &ObjectMeta| metadata.annotations.as_ref()?.get(INSTANCE).cloned();
    match (owner(live), owner(wanted)) {
        (Some(live), Some(wanted)) => live == wanted,
        (Some(_), None) | (None, _) => {
            outlives && instance(live).is_some() && instance(live) == instance(wanted)
        }
    }
}

/// Whether an object goes with an earlier owner of the same kind and name: Kubernetes is about to delete it.
pub fn leaving(live: &ObjectMeta, wanted: &ObjectMeta) -> bool {
    let owner = |metadata: &ObjectMeta| {
        metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)).cloned()
    };
    match (owner(live), owner(wanted)) {
        (Some(live), Some(wanted)) => {
            live.kind == wanted.kind && live.name == wanted.name && live.uid != wanted.uid
        }
        _ => false,
    }
}

/// Whether what was applied last is what is wanted, and still stands.
fn stands<K: Resource + Serialize>(live: &K, wanted: &Wanted<K>) -> Result<bool, Error> {
    if live.annotations().get(APPLIED) != Some(&wanted.hash) {
        return Ok(false);
    }
    Ok(holds(&value(live)?, &value(&wanted.object)?))
}

fn value(object: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(object).map_err(|error| Error::Build(error.to_string()))
}

/// Whether the API server took an object for wrong, as it does when a list has become a mixture.
fn invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

/// Whether everything wanted is there. Lists are compared whole, since defaults are only ever added to their items.
fn holds(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            let same = if matches!(name.as_str(), "requests" | "limits") { amounts::holds } else { holds };
            live.get(name).is_some_and(|live| same(live, wanted))
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| holds(live, wanted))
        }
        _ => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use kube::api::ObjectMeta;
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_no_difference_and_changes_are() {
        let live =
            json!({"spec": {"replicas": 1, "added": true, "ports": [{"port": 80, "protocol": "TCP"}]}});
        assert!(holds(&live, &json!({"spec": {"replicas": 1, "ports": [{"port": 80}]}})));
        assert!(!holds(&live, &json!({"spec": {"replicas": 2}})));
        assert!(!holds(&live, &json!({"spec": {"ports": []}})));
        assert!(!holds(&live, &json!({"spec": {"missing": 1}})));
    }

    #[test]
    fn what_somebody_else_made_is_not_ours() {
        let metadata = |owner: Option<&str>, instance: Option<&str>| -> ObjectMeta {
            serde_json::from_value(json!({
                "annotations": instance.map(|name| json!({INSTANCE: name})).unwrap_or(json!({})),
                "ownerReferences": owner.map(|uid| json!([{
                    "apiVersion": "chathooks.dev/v1alpha1", "kind": "ChatInstance", "name": "team", "uid": uid,
                    "controller": true
                }])).unwrap_or(json!([])),
            }))
            .unwrap()
        };
        let (owned, kept) = (metadata(Some("1"), Some("team")), metadata(None, Some("team")));
        assert!(ours(&owned, &owned, true));
        assert!(!ours(&metadata(Some("2"), Some("team")), &owned, true), "of an earlier one of this name");
        assert!(leaving(&metadata(Some("2"), Some("team")), &owned) && !leaving(&owned, &owned));
        assert!(!leaving(&kept, &owned) && !leaving(&owned, &kept));
        assert!(ours(&kept, &owned, true) && ours(&owned, &kept, true), "the volume, when onDelete changes");
        assert!(!ours(&kept, &owned, false), "only a volume outlives its owner");
        assert!(!ours(&metadata(None, None), &owned, true));
        assert!(!ours(&metadata(None, Some("other")), &kept, true));
    }
}

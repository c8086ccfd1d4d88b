//! Gathers everything that an instance and what hangs on it refer to. The only step that reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt as _;

use crate::api::webhook_subscription::SigningScheme;
use crate::api::{ChatInstance, WebhookSubscription};
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::controller::references::references;
use crate::controller::secrets::{Reference, Source};
use crate::controller::stores::{MANAGED_BY_LABEL, key_of, reference};
use crate::plan::attach::admits;
use crate::plan::{Inputs, Key, SecretInput, instance_key};

/// Who made a Secret, as its metadata tells.
const OPERATOR: &str = "chathooks-operator";

/// What an instance's plan is compiled from.
pub async fn dereference(ctx: &Context, key: &Key, instance: &ChatInstance) -> Result<Inputs, Error> {
    let attached = ctx.stores.subscriptions.state_filter(|one| {
        instance_key(one, &key_of(one)) == *key && one.metadata.deletion_timestamp.is_none()
    });
    let namespaces = namespaces(ctx, key, &attached);
    // What a stranger refers to is not even read: it would be kept here, and there is no bound to it.
    let admitted = attached.iter().filter(|one| {
        let other = key_of(&***one);
        admits((key, instance), (&other, &***one), namespaces.get(&other.0))
    });
    let admitted: Vec<_> = admitted.cloned().collect();
    let wanted = wanted(key, instance, &admitted);
    ctx.secrets.refer(key, wanted.keys().cloned().collect());
    let mut inputs = Inputs {
        instances: vec![instance.clone()],
        subscriptions: attached.iter().map(|one| (**one).clone()).collect(),
        namespaces,
        // It may be one of this instance's, and its backlog is kept until somebody has corrected it.
        unreadable: strays(ctx, &key.0) || !ctx.unreadable.is_empty(),
        ..Inputs::default()
    };
    for (reference, owner) in wanted {
        let Some((version, made_for)) = seen(ctx, &reference) else { continue };
        if owner.is_some() && made_for.is_some() && owner != made_for {
            // Of an earlier object of this name, and about to go with it.
            continue;
        }
        let Some(data) = ctx.secrets.values(&ctx.client, &reference, &version).await? else { continue };
        let (source, namespace, name) = reference;
        match source {
            Source::Secret => {
                let generated = owner.is_some() && owner == made_for;
                inputs.secrets.insert((namespace, name), SecretInput { data, generated });
            }
            Source::ConfigMap => {
                inputs.config_maps.insert((namespace, name), data);
            }
        }
    }
    Ok(inputs)
}

/// Whether a subscription of this namespace names an instance that is not there. Those of other namespaces do not count:
/// a stranger must not hold space in an instance's log.
fn strays(ctx: &Context, namespace: &str) -> bool {
    let stray = |one: &WebhookSubscription| {
        let key = key_of(one);
        key.0 == namespace
            && one.metadata.deletion_timestamp.is_none()
            && ctx.stores.instances.get(&reference(&instance_key(one, &key))).is_none()
    };
    ctx.stores.subscriptions.find(stray).is_some()
}

/// Everything that is referred to; with it, for what chathooks makes itself, the uid of the object it is made for.
fn wanted(
    key: &Key,
    instance: &ChatInstance,
    attached: &[Arc<WebhookSubscription>],
) -> BTreeMap<Reference, Option<String>> {
    let mut all = BTreeMap::new();
    let mut add = |found: BTreeSet<Reference>| all.extend(found.into_iter().map(|one| (one, None)));
    add(references(&key.0, &instance.spec));
    for one in attached {
        add(references(&key_of(&**one).0, &one.spec));
    }
    let secret = |namespace: &str, name: String| (Source::Secret, namespace.to_owned(), name);
    for suffix in ["intake", "admin"] {
        all.insert(secret(&key.0, format!("{}-{suffix}", key.1)), instance.metadata.uid.clone());
    }
    for one in attached {
        if one.spec.signing.secret_refs.is_empty() && one.spec.signing.scheme != SigningScheme::None {
            let (namespace, name) = key_of(&**one);
            all.insert(secret(&namespace, format!("{name}-signing")), one.metadata.uid.clone());
        }
    }
    all
}

/// Version of a Secret or ConfigMap, and the uid of the object that we made it for.
fn seen(ctx: &Context, (source, namespace, name): &Reference) -> Option<(String, Option<String>)> {
    let at = (namespace.clone(), name.clone());
    let metadata = match source {
        Source::Secret => ctx.stores.secrets.get(&reference(&at))?.metadata.clone(),
        Source::ConfigMap => ctx.stores.config_maps.get(&reference(&at))?.metadata.clone(),
    };
    let ours = metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(MANAGED_BY_LABEL))
        .is_some_and(|by| by == OPERATOR);
    let owner = metadata.owner_references.iter().flatten().map(|owner| owner.uid.clone()).next();
    Some((metadata.resource_version.unwrap_or_default(), owner.filter(|_| ours)))
}

fn namespaces(
    ctx: &Context,
    key: &Key,
    attached: &[Arc<WebhookSubscription>],
) -> BTreeMap<String, BTreeMap<String, String>> {
    let others: BTreeSet<String> =
        attached.iter().map(|one| key_of(&**one).0).filter(|namespace| *namespace != key.0).collect();
    others
        .into_iter()
        .filter_map(|name| {
            let labels =
                ctx.stores.namespaces.get(&kube::runtime::reflector::ObjectRef::new(&name))?.labels().clone();
            Some((name, labels))
        })
        .collect()
}

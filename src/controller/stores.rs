//! What is watched: our kinds, what we made, and the metadata of what is referred to. Everything is pruned before it
//! is kept, and every change asks for another look at the objects it matters to.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolumeClaim, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::PartialObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::context::Context;
use super::follow::{Seen, follow, readable};
use super::secrets::Source;
use crate::api::{ChatInstance, WebhookSubscription};
use crate::plan::{Key, instance_key};
use crate::watching;

/// Selects what we made.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by=chathooks-operator";

/// The label of [`MANAGED_BY`].
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Annotation by which a person asks for another look: any change of it will do.
const RECONCILE: &str = "chathooks.dev/reconcile";

/// Annotation of what we made: name of the ChatInstance, in the same namespace, that it was made for.
pub const INSTANCE: &str = "chathooks.dev/instance";

type Metadata<K> = PartialObjectMeta<K>;

/// Everything that is watched.
#[derive(Clone)]
pub struct Stores {
    /// ChatInstances.
    pub instances: Store<ChatInstance>,
    /// WebhookSubscriptions.
    pub subscriptions: Store<WebhookSubscription>,
    /// Metadata of every Secret.
    pub secrets: Store<Metadata<Secret>>,
    /// Metadata of every ConfigMap.
    pub config_maps: Store<Metadata<ConfigMap>>,
    /// Metadata of every namespace: `attach` may choose by label who hangs on an instance.
    pub namespaces: Store<Metadata<Namespace>>,
    /// Dispatchers.
    pub stateful_sets: Store<StatefulSet>,
    /// Volumes of dispatchers.
    pub claims: Store<PersistentVolumeClaim>,
    /// Endpoints of dispatchers.
    pub slices: Store<EndpointSlice>,
    /// Metadata of the Services, ServiceAccounts, Roles and RoleBindings that we made.
    pub services: Store<Metadata<Service>>,
    /// See `services`.
    pub accounts: Store<Metadata<ServiceAccount>>,
    /// See `services`.
    pub roles: Store<Metadata<Role>>,
    /// See `services`.
    pub bindings: Store<Metadata<RoleBinding>>,
}

/// The writing ends of [`Stores`].
pub struct Writers {
    instances: Writer<ChatInstance>,
    subscriptions: Writer<WebhookSubscription>,
    secrets: Writer<Metadata<Secret>>,
    config_maps: Writer<Metadata<ConfigMap>>,
    namespaces: Writer<Metadata<Namespace>>,
    stateful_sets: Writer<StatefulSet>,
    claims: Writer<PersistentVolumeClaim>,
    slices: Writer<EndpointSlice>,
    services: Writer<Metadata<Service>>,
    accounts: Writer<Metadata<ServiceAccount>>,
    roles: Writer<Metadata<Role>>,
    bindings: Writer<Metadata<RoleBinding>>,
}

/// Empty stores and what fills them.
pub fn stores() -> (Stores, Writers) {
    let (instances, write_instances) = store();
    let (subscriptions, write_subscriptions) = store();
    let (secrets, write_secrets) = store();
    let (config_maps, write_config_maps) = store();
    let (namespaces, write_namespaces) = store();
    let (stateful_sets, write_stateful_sets) = store();
    let (claims, write_claims) = store();
    let (slices, write_slices) = store();
    let (services, write_services) = store();
    let (accounts, write_accounts) = store();
    let (roles, write_roles) = store();
    let (bindings, write_bindings) = store();
    let stores = Stores {
        instances,
        subscriptions,
        secrets,
        config_maps,
        namespaces,
        stateful_sets,
        claims,
        slices,
        services,
        accounts,
        roles,
        bindings,
    };
    let writers = Writers {
        instances: write_instances,
        subscriptions: write_subscriptions,
        secrets: write_secrets,
        config_maps: write_config_maps,
        namespaces: write_namespaces,
        stateful_sets: write_stateful_sets,
        claims: write_claims,
        slices: write_slices,
        services: write_services,
        accounts: write_accounts,
        roles: write_roles,
        bindings: write_bindings,
    };
    (stores, writers)
}

/// Starts every watch; a task of the set must never end.
pub fn watch_all(
    ctx: &Arc<Context>,
    writers: Writers,
    namespaces: &[String],
    tasks: &mut JoinSet<&'static str>,
) {
    let client = ctx.client.clone();
    let all = watching::config();
    let ours = || watching::config().labels(MANAGED_BY);
    let on = Arc::clone(ctx);
    tasks.spawn(follow(
        "the watch on ChatInstances",
        scoped::<DeserializeGuard<ChatInstance>>(&client, namespaces),
        all.clone(),
        writers.instances,
        readable,
        move |before: Option<&ChatInstance>, seen: Seen<'_, ChatInstance>| {
            let key = key_of(seen.object());
            // Nobody else tells those that hang on it that it has come or gone.
            if before.is_none() {
                mark_subscriptions_of(&on, &key);
                mark_instances_in(&on, &key.0);
            }
            if matches!(seen, Seen::Gone(_)) {
                on.forget_instance(&key);
            }
            if before.is_some_and(|before| asked(before) != asked(seen.object())) {
                on.desk.look(&key);
            }
            on.mark_instance(key);
        },
    ));
    let (on, noting) = (Arc::clone(ctx), Arc::clone(ctx));
    tasks.spawn(follow(
        "the watch on WebhookSubscriptions",
        scoped::<DeserializeGuard<WebhookSubscription>>(&client, namespaces),
        all.clone(),
        writers.subscriptions,
        move |guarded: DeserializeGuard<WebhookSubscription>| {
            let key = key_of(&guarded);
            let object = readable(guarded);
            noting.unreadable.note(&key, object.is_some());
            object
        },
        move |before: Option<&WebhookSubscription>, seen: Seen<'_, WebhookSubscription>| {
            let key = key_of(seen.object());
            let unchanged = |old: &WebhookSubscription, new: &WebhookSubscription| {
                old.metadata.generation == new.metadata.generation
                    && old.metadata.uid == new.metadata.uid
                    && old.metadata.annotations == new.metadata.annotations
            };
            // A status that we wrote ourselves matters to nobody else.
            if !matches!((before, &seen), (Some(old), Seen::There(new)) if unchanged(old, new)) {
                for named in [Some(seen.object()), before].into_iter().flatten() {
                    let instance = instance_key(named, &key);
                    // It was, or is, one that keeps the plans of its neighbours from being complete.
                    if on.stores.instances.get(&reference::<ChatInstance>(&instance)).is_none() {
                        mark_instances_in(&on, &key.0);
                    }
                    on.mark_instance(instance);
                }
            }
            if matches!(seen, Seen::Gone(_)) {
                on.forget_subscription(&key);
            }
            on.mark_subscription(key);
        },
    ));
    values(ctx, "the watch on Secrets", Source::Secret, namespaces, writers.secrets, tasks);
    values(ctx, "the watch on ConfigMaps", Source::ConfigMap, namespaces, writers.config_maps, tasks);
    let on = Arc::clone(ctx);
    tasks.spawn(follow(
        "the watch on Namespaces",
        vec![Api::<Metadata<Namespace>>::all(client.clone())],
        all,
        writers.namespaces,
        Some,
        move |before: Option<&Metadata<Namespace>>, seen: Seen<'_, Metadata<Namespace>>| {
            if before.is_none_or(|before| before.labels() != seen.object().labels()) {
                for instance in on.stores.instances.state_filter(|one| !one.spec.attach.is_empty()) {
                    on.mark_instance(key_of(&*instance));
                }
            }
        },
    ));
    made(
        ctx,
        "the watch on StatefulSets",
        scoped::<StatefulSet>(&client, namespaces),
        ours(),
        writers.stateful_sets,
        tasks,
    );
    made(
        ctx,
        "the watch on PersistentVolumeClaims",
        scoped::<PersistentVolumeClaim>(&client, namespaces),
        ours(),
        writers.claims,
        tasks,
    );
    made(
        ctx,
        "the watch on EndpointSlices",
        scoped::<EndpointSlice>(&client, namespaces),
        ours(),
        writers.slices,
        tasks,
    );
    made(
        ctx,
        "the watch on Services",
        scoped::<Metadata<Service>>(&client, namespaces),
        ours(),
        writers.services,
        tasks,
    );
    made(
        ctx,
        "the watch on ServiceAccounts",
        scoped::<Metadata<ServiceAccount>>(&client, namespaces),
        ours(),
        writers.accounts,
        tasks,
    );
    made(
        ctx,
        "the watch on Roles",
        scoped::<Metadata<Role>>(&client, namespaces),
        ours(),
        writers.roles,
        tasks,
    );
    made(
        ctx,
        "the watch on RoleBindings",
        scoped::<Metadata<RoleBinding>>(&client, namespaces),
        ours(),
        writers.bindings,
        tasks,
    );
}

/// Waits until every store has been filled once.
pub async fn filled(stores: &Stores) {
    // An error means that the writer is gone, and then so is the process.
    let _ = stores.instances.wait_until_ready().await;
    let _ = stores.subscriptions.wait_until_ready().await;
    let _ = stores.secrets.wait_until_ready().await;
    let _ = stores.config_maps.wait_until_ready().await;
    let _ = stores.stateful_sets.wait_until_ready().await;
    let _ = stores.claims.wait_until_ready().await;
    let _ = stores.slices.wait_until_ready().await;
    let _ = stores.services.wait_until_ready().await;
    let _ = stores.accounts.wait_until_ready().await;
    let _ = stores.roles.wait_until_ready().await;
    let _ = stores.bindings.wait_until_ready().await;
    let _ = stores.namespaces.wait_until_ready().await;
}

/// Asks for another look at everything that hangs on an instance.
pub fn mark_subscriptions_of(ctx: &Context, instance: &Key) {
    for one in ctx.stores.subscriptions.state_filter(|one| instance_key(one, &key_of(one)) == *instance) {
        ctx.mark_subscription(key_of(&*one));
    }
}

/// Asks for another look at every instance of a namespace.
fn mark_instances_in(ctx: &Context, namespace: &str) {
    for one in ctx.stores.instances.state_filter(|one| key_of(one).0 == namespace) {
        ctx.mark_instance(key_of(&*one));
    }
}

/// What a person wrote to have this object looked at.
fn asked(object: &impl Resource) -> Option<&String> {
    object.annotations().get(RECONCILE)
}

/// Namespace and name.
pub fn key_of(object: &impl Resource) -> Key {
    let metadata = object.meta();
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// Where an object stands in a store.
pub fn reference<K: Resource<DynamicType = ()>>((namespace, name): &Key) -> ObjectRef<K> {
    ObjectRef::new(name).within(namespace)
}

fn values<K>(
    ctx: &Arc<Context>,
    name: &'static str,
    source: Source,
    namespaces: &[String],
    writer: Writer<Metadata<K>>,
    tasks: &mut JoinSet<&'static str>,
) where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + Send
        + Sync
        + 'static,
    Metadata<K>: DeserializeOwned,
{
    let on = Arc::clone(ctx);
    tasks.spawn(follow(
        name,
        scoped::<Metadata<K>>(&ctx.client, namespaces),
        watching::config(),
        writer,
        |object| Some(lean(object)),
        move |_, seen: Seen<'_, Metadata<K>>| {
            let (namespace, name) = key_of(seen.object());
            if let Some(instance) = seen.object().annotations().get(INSTANCE) {
                if matches!(seen, Seen::Gone(_)) {
                    on.memory.forget_made(&(namespace.clone(), name.clone()));
                }
                on.mark_instance((namespace.clone(), instance.clone()));
            }
            for user in on.secrets.users(&(source, namespace, name)) {
                on.mark_instance(user);
            }
        },
    ));
}

/// Without the labels and annotations that nothing here asks for: every Secret and ConfigMap of the cluster is kept, and
/// whoever may write one may write 256 KiB of annotations into it.
fn lean<K: Resource<DynamicType = ()>>(mut object: K) -> K {
    let metadata = object.meta_mut();
    metadata.labels.get_or_insert_default().retain(|label, _| label == MANAGED_BY_LABEL);
    metadata.annotations.get_or_insert_default().retain(|annotation, _| annotation == INSTANCE);
    object
}

fn made<K>(
    ctx: &Arc<Context>,
    name: &'static str,
    scopes: Vec<Api<K>>,
    config: watcher::Config,
    writer: Writer<K>,
    tasks: &mut JoinSet<&'static str>,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let on = Arc::clone(ctx);
    tasks.spawn(follow(name, scopes, config, writer, Some, move |_, seen: Seen<'_, K>| {
        let object = seen.object();
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        if let Some(instance) = object.annotations().get(INSTANCE) {
            if matches!(seen, Seen::Gone(_)) {
                on.memory.forget_made(&key_of(object));
            }
            on.mark_instance((namespace, instance.clone()));
        }
        on.endpoints_changed.notify_one();
    }));
}

/// One interface per namespace, or one for all.
fn scoped<K>(client: &Client, namespaces: &[String]) -> Vec<Api<K>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    if namespaces.is_empty() {
        return vec![Api::all(client.clone())];
    }
    namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_referred_to_little_is_kept() {
        let secret: Metadata<Secret> = serde_json::from_value(serde_json::json!({"metadata": {
            "name": "s", "labels": {MANAGED_BY_LABEL: "chathooks-operator", "big": "1"},
            "annotations": {INSTANCE: "team", "big": "x".repeat(1000)},
        }}))
        .unwrap();
        let kept = lean(secret).metadata;
        let of = |map: Option<std::collections::BTreeMap<String, String>>| {
            map.unwrap().into_keys().collect::<Vec<_>>()
        };
        assert_eq!(
            (of(kept.labels), of(kept.annotations)),
            (vec![MANAGED_BY_LABEL.into()], vec![INSTANCE.into()])
        );
    }
}

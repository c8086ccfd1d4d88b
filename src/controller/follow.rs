//! Keeps a store filled from one or several watches, and tells of every change. Must not know what a change means.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::select_all;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::utils::StreamBackoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::watching::{Away, Pauses};

/// Longest pause between two tries of a watch: there are few operators, and users wait for them.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// An object as the watch tells of it.
pub enum Seen<'a, K> {
    /// It is there.
    There(&'a K),
    /// It is gone.
    Gone(&'a K),
}

impl<'a, K> Seen<'a, K> {
    /// The object, as it is or was.
    pub fn object(&self) -> &'a K {
        match self {
            Self::There(object) | Self::Gone(object) => object,
        }
    }
}

/// An object that the types cannot hold is told and left out: it must not stop the watch.
pub fn readable<K: Resource<DynamicType = ()>>(guarded: DeserializeGuard<K>) -> Option<K> {
    match guarded.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            tracing::warn!(
                kind = %K::kind(&()),
                namespace = invalid.metadata.namespace,
                name = invalid.metadata.name,
                error = invalid.error,
                "this object cannot be read and is left alone: is its CustomResourceDefinition older than the operator?"
            );
            None
        }
    }
}

/// Keeps a store filled from one watch a scope, and tells of every change after it is in the store, with what stood
/// there before.
pub async fn follow<W, K>(
    name: &'static str,
    scopes: Vec<Api<W>>,
    config: watcher::Config,
    mut writer: Writer<K>,
    read: impl Fn(W) -> Option<K>,
    changed: impl Fn(Option<&K>, Seen<'_, K>),
) -> &'static str
where
    W: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    K::DynamicType: Hash + Eq,
{
    let reader = writer.as_reader();
    let mut listings: Vec<Listing<K>> = scopes.iter().map(|_| Listing::default()).collect();
    let mut filled = false;
    let mut away = Away::default();
    let watches = scopes.into_iter().enumerate().map(|(scope, api)| {
        StreamBackoff::new(watcher(api, config.clone()), Pauses::up_to(PAUSE_MAX))
            .map(move |event| (scope, event))
            .boxed()
    });
    let mut events = select_all(watches);
    writer.apply_watcher_event(&Event::Init);
    while let Some((scope, event)) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                if let Some(error) = away.news(&error) {
                    tracing::warn!(error, "{name} was interrupted; what is known stays, trying again");
                }
                continue;
            }
        };
        let (Some(event), Some(listing)) = (prepare(event, &read), listings.get_mut(scope)) else { continue };
        match event {
            Event::Init => listing.seen.clear(),
            Event::InitApply(object) | Event::Apply(object) if !filled => {
                listing.take(&object);
                writer.apply_watcher_event(&Event::InitApply(object));
            }
            // What goes while others are still listed is found by the next listing at the latest.
            Event::Delete(_) if !filled => {}
            Event::InitApply(object) | Event::Apply(object) => {
                listing.take(&object);
                let old = reader.get(&ObjectRef::from_obj(&object));
                let event = Event::Apply(object);
                writer.apply_watcher_event(&event);
                if let Event::Apply(object) = &event {
                    changed(old.as_deref(), Seen::There(object));
                }
            }
            Event::Delete(object) => {
                listing.known.remove(&ObjectRef::from_obj(&object));
                let event = Event::Delete(object);
                writer.apply_watcher_event(&event);
                if let Event::Delete(object) = &event {
                    changed(None, Seen::Gone(object));
                }
            }
            Event::InitDone => {
                // What vanished while nobody watched.
                for gone in listing.end() {
                    if let Some(object) = reader.get(&gone) {
                        writer.apply_watcher_event(&Event::Delete((*object).clone()));
                        changed(None, Seen::Gone(&object));
                    }
                }
                if !filled && listings.iter().all(|listing| listing.listed) {
                    filled = true;
                    writer.apply_watcher_event(&Event::InitDone);
                    for object in reader.state() {
                        changed(None, Seen::There(&object));
                    }
                }
            }
        }
    }
    name
}

/// What one watch has listed.
struct Listing<K: Resource<DynamicType = ()>> {
    /// A listing has come to its end.
    listed: bool,
    /// Objects of the listing under way, or since it.
    seen: HashSet<ObjectRef<K>>,
    /// Objects that are there.
    known: HashSet<ObjectRef<K>>,
}

impl<K: Resource<DynamicType = ()>> Default for Listing<K> {
    fn default() -> Self {
        Self { listed: false, seen: HashSet::new(), known: HashSet::new() }
    }
}

impl<K: Resource<DynamicType = ()>> Listing<K> {
    fn take(&mut self, object: &K) {
        let reference = ObjectRef::from_obj(object);
        self.seen.insert(reference.clone());
        self.known.insert(reference);
    }

    /// Ends a listing; returns what was there before and is not any more.
    fn end(&mut self) -> Vec<ObjectRef<K>> {
        self.listed = true;
        let gone: Vec<_> = self.known.difference(&self.seen).cloned().collect();
        self.known.retain(|one| self.seen.contains(one));
        gone
    }
}

/// The event as the store wants it: readable, and without what nobody here reads.
fn prepare<W, K: Resource>(event: Event<W>, read: impl Fn(W) -> Option<K>) -> Option<Event<K>> {
    let prune = |object: W| {
        let mut object = read(object)?;
        // Four times their JSON in memory, and nothing here looks at them.
        object.meta_mut().managed_fields = None;
        if let Some(annotations) = &mut object.meta_mut().annotations {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
        Some(object)
    };
    Some(match event {
        Event::Apply(object) => Event::Apply(prune(object)?),
        Event::Delete(object) => Event::Delete(prune(object)?),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(prune(object)?),
        Event::InitDone => Event::InitDone,
    })
}

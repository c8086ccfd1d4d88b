//! What the dispatchers of each ChatInstance told last, by endpoint.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::plan::Key;
use crate::status::observed::{Observed, ObservedInstance, ObservedRelay, ObservedSubscription};

/// All of them.
#[derive(Default)]
pub struct Observations(Mutex<HashMap<Key, Told>>);

/// What each ready endpoint told; `None` while it has not told anything.
type Told = BTreeMap<SocketAddr, Option<Arc<Observed>>>;

/// What the ready dispatchers of one ChatInstance told.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// One per ready endpoint; `None` while it has not told anything.
    pub dispatchers: Vec<Option<Arc<Observed>>>,
}

impl Observations {
    /// Sets which endpoints are ready; what others told is forgotten. Says whether that is a change.
    pub fn endpoints(&self, key: &Key, ready: &[SocketAddr]) -> bool {
        let mut all = self.lock();
        let known = all.entry(key.clone()).or_default();
        let before: Vec<SocketAddr> = known.keys().copied().collect();
        known.retain(|address, _| ready.contains(address));
        for address in ready {
            known.entry(*address).or_insert(None);
        }
        let changed = known.keys().copied().ne(before);
        if known.is_empty() {
            all.remove(key);
        }
        changed
    }

    /// Notes what an endpoint told; returns what it had told before. Nothing is kept of one that is not ready any more.
    pub fn told(
        &self,
        key: &Key,
        address: SocketAddr,
        observed: Option<Arc<Observed>>,
    ) -> Option<Arc<Observed>> {
        let mut all = self.lock();
        let place = all.get_mut(key)?.get_mut(&address)?;
        std::mem::replace(place, observed)
    }

    /// What the ready dispatchers of an instance told.
    pub fn of(&self, key: &Key) -> Fleet {
        let all = self.lock();
        Fleet { dispatchers: all.get(key).map(|known| known.values().cloned().collect()).unwrap_or_default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fleet {
    /// The instance as each ready dispatcher sees it; `None` for one that has not told of it.
    pub fn instances<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = Option<&'a ObservedInstance>> {
        self.dispatchers.iter().map(move |one| {
            let instances = &one.as_ref()?.instances;
            instances.iter().find(|one| one.namespace == key.0 && one.name == key.1)
        })
    }

    /// Whether every ready dispatcher, of which there must be one, serves this revision of a piece.
    pub fn serves(&self, key: &Key, shard: u8, revision: &str) -> bool {
        !self.dispatchers.is_empty()
            && self.instances(key).all(|one| {
                one.is_some_and(|one| one.shards.get(&shard).is_some_and(|served| served == revision))
            })
    }

    /// Every relay that any of them heard.
    pub fn relays<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a ObservedRelay> {
        self.instances(key).flatten().flat_map(|one| &one.relays)
    }

    /// A subscription as the dispatchers see it; where several do, the one that fails counts.
    pub fn subscription(&self, instance: &Key, key: &Key) -> Option<&ObservedSubscription> {
        let seen = self.dispatchers.iter().flatten().flat_map(|one| &one.instances);
        let seen = seen.filter(|one| one.namespace == instance.0 && one.name == instance.1);
        let all = seen.flat_map(|one| &one.subscriptions);
        let mut found = None;
        for one in all.filter(|one| one.namespace == key.0 && one.name == key.1) {
            let fails = one.health.as_ref().is_some_and(|health| !health.ok);
            if found.is_none() || fails {
                found = Some(one);
            }
        }
        found
    }
}

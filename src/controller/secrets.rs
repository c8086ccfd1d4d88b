//! Values of the Secrets and ConfigMaps that are referred to, and who refers to them.
//!
//! Only metadata is watched; a value is fetched when somebody refers to it and its version is new. No value is logged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use super::error::Error;
use super::write::read;
use crate::plan::Key;

/// What holds values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

/// A Secret or ConfigMap by namespace and name.
pub type Reference = (Source, String, String);

type Values = BTreeMap<String, Vec<u8>>;

/// See the module. Holds no more than what is referred to.
#[derive(Default)]
pub struct SecretCache(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    values: HashMap<Reference, (String, Values)>,
    users: HashMap<Reference, BTreeSet<Key>>,
    uses: HashMap<Key, BTreeSet<Reference>>,
}

impl SecretCache {
    /// Notes everything that an instance and what hangs on it refer to, present or not.
    pub fn refer(&self, instance: &Key, references: BTreeSet<Reference>) {
        let mut inner = self.lock();
        let before = inner.uses.remove(instance).unwrap_or_default();
        for gone in before.difference(&references) {
            let users = inner.users.entry(gone.clone()).or_default();
            users.remove(instance);
            if users.is_empty() {
                inner.users.remove(gone);
                inner.values.remove(gone);
            }
        }
        for reference in &references {
            inner.users.entry(reference.clone()).or_default().insert(instance.clone());
        }
        if !references.is_empty() {
            inner.uses.insert(instance.clone(), references);
        }
    }

    /// The instances to which a Secret or ConfigMap matters.
    pub fn users(&self, reference: &Reference) -> Vec<Key> {
        self.lock().users.get(reference).into_iter().flatten().cloned().collect()
    }

    /// The values, fetched unless they are known in this version; `None` when it is gone.
    pub async fn values(
        &self,
        client: &Client,
        reference: &Reference,
        version: &str,
    ) -> Result<Option<Values>, Error> {
        if let Some((known, values)) = self.lock().values.get(reference)
            && known == version
        {
            return Ok(Some(values.clone()));
        }
        let (source, namespace, name) = reference;
        let fetched = match source {
            Source::Secret => {
                let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
                read("read a Secret", api.get_opt(name)).await?.map(|secret| {
                    let data = secret.data.unwrap_or_default();
                    (secret.metadata, data.into_iter().map(|(key, value)| (key, value.0)).collect::<Values>())
                })
            }
            Source::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
                read("read a ConfigMap", api.get_opt(name)).await?.map(|map| {
                    let text = map.data.unwrap_or_default();
                    let bytes = map.binary_data.unwrap_or_default();
                    let text = text.into_iter().map(|(key, value)| (key, value.into_bytes()));
                    (map.metadata, bytes.into_iter().map(|(key, value)| (key, value.0)).chain(text).collect())
                })
            }
        };
        let Some((metadata, values)) = fetched else { return Ok(None) };
        let version = metadata.resource_version.unwrap_or_default();
        let mut inner = self.lock();
        if inner.users.contains_key(reference) {
            inner.values.insert(reference.clone(), (version, values.clone()));
        }
        Ok(Some(values))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_those_who_refer_now() {
        let cache = SecretCache::default();
        let secret = |name: &str| (Source::Secret, "ai".to_owned(), name.to_owned());
        let team: Key = ("ai".into(), "team".into());
        let other: Key = ("ai".into(), "other".into());
        cache.refer(&team, [secret("a"), secret("b")].into());
        cache.refer(&other, [secret("b")].into());
        assert_eq!(cache.users(&secret("a")), std::slice::from_ref(&team));
        assert_eq!(cache.users(&secret("b")), [other.clone(), team.clone()]);
        cache.refer(&team, [secret("a")].into());
        assert_eq!(cache.users(&secret("b")), [other]);
        cache.refer(&team, BTreeSet::new());
        assert_eq!(cache.users(&secret("a")), Vec::<Key>::new());
    }
}

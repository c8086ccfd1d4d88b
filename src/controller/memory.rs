//! What was written last, so that nothing is written twice: neither because a watch lags, nor because a value reads
//! differently there than here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kube::api::ObjectMeta;
use serde_json::Value;

use crate::plan::Key;

/// Kind, namespace and name of an object.
pub type Place = (&'static str, String, String);

/// What we know to stand at a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion` that the API server answered.
    pub version: String,
    /// Hash of what was wanted, or the status.
    pub content: Value,
}

/// See the module.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<Place, Written>>);

impl Memory {
    /// What was written there.
    pub fn get(&self, place: &Place) -> Option<Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(place).cloned()
    }

    /// Notes what stands there now.
    pub fn set(&self, place: Place, written: Written) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place, written);
    }

    /// Forgets a made object that is gone; one of another kind and the same name is only read once more.
    pub fn forget_made(&self, (namespace, name): &Key) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(what, at, of), _| !(at == namespace && of == name && what.starts_with("apply ")));
    }

    /// Forgets what was written to an object that is gone.
    pub fn forget(&self, what: &'static str, (namespace, name): &Key) {
        let place = (what, namespace.clone(), name.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
    }
}

/// Whether `seen` may be older than what we wrote: then what we wrote counts. Versions grow per object
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>).
pub fn lags(seen: &ObjectMeta, written: &Written) -> bool {
    let number = |version: &str| version.parse::<u64>().ok();
    seen.uid.as_deref() == Some(written.uid.as_str())
        && match (seen.resource_version.as_deref().and_then(number), number(&written.version)) {
            (Some(seen), Some(written)) => seen < written,
            _ => false,
        }
}

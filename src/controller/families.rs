//! What was compiled and applied last of each ChatInstance: what its subscriptions' status is made from.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::conditions::State;
use crate::plan::{Key, Outcome, Verdict};

/// One ChatInstance with what hangs on it.
#[derive(Debug)]
pub struct Family {
    /// What was compiled.
    pub outcome: Outcome,
    /// Revision of each piece of the plan as it stands in its Secret.
    pub revisions: BTreeMap<u8, String>,
    /// What could not be applied and must be changed by a person.
    pub problem: Option<State>,
}

impl Family {
    /// What was said of a subscription.
    pub fn verdict(&self, (namespace, name): &Key) -> Option<&Verdict> {
        let of = |one: &&Verdict| {
            one.kind == "WebhookSubscription" && one.namespace == *namespace && one.name == *name
        };
        self.outcome.verdicts.iter().find(of)
    }
}

/// All of them.
#[derive(Default)]
pub struct Families(Mutex<HashMap<Key, Arc<Family>>>);

impl Families {
    /// The family of an instance.
    pub fn get(&self, key: &Key) -> Option<Arc<Family>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Publishes a family; `None` when the instance is gone.
    pub fn set(&self, key: &Key, family: Option<Arc<Family>>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match family {
            Some(family) => all.insert(key.clone(), family),
            None => all.remove(key),
        };
    }
}

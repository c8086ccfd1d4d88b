//! What every reconcile shares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use kube::runtime::events::Recorder;
use tokio::sync::{mpsc, watch};

use super::dirty::Dirty;
use super::families::Families;
use super::leader::Leadership;
use super::memory::Memory;
use super::metrics::Metrics;
use super::observations::Observations;
use super::secrets::SecretCache;
use super::stores::Stores;
use crate::plan::Key;
use crate::plan::platform::PlatformPlan;
use crate::platform::PlatformReport;

/// What every reconcile shares.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// Whether this replica may write.
    pub leadership: Leadership,
    /// Everything that is watched.
    pub stores: Stores,
    /// Values of the Secrets and ConfigMaps that are referred to.
    pub secrets: SecretCache,
    /// WebhookSubscriptions that cannot be read, and so not be told from ones that are gone.
    pub unreadable: Unreadable,
    /// What was compiled last of each ChatInstance.
    pub families: Families,
    /// What the dispatchers told.
    pub observations: Observations,
    /// What was written last, so that nothing is written twice.
    pub memory: Memory,
    /// ChatInstances to look at.
    pub instances: Dirty,
    /// WebhookSubscriptions to look at.
    pub subscriptions: Dirty,
    /// What is wanted of the platforms.
    pub desk: PlatformDesk,
    /// Endpoints of dispatchers may have changed.
    pub endpoints_changed: tokio::sync::Notify,
    /// Kubernetes Events.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Uid of the `kube-system` namespace: tells clusters apart.
    pub cluster: String,
    /// Image of the dispatcher's pods.
    pub image: String,
}

impl Context {
    /// Asks for another look at a ChatInstance.
    pub fn mark_instance(&self, key: Key) {
        self.metrics.enqueued("ChatInstance");
        self.instances.mark(key);
    }

    /// Asks for another look at a WebhookSubscription.
    pub fn mark_subscription(&self, key: Key) {
        self.metrics.enqueued("WebhookSubscription");
        self.subscriptions.mark(key);
    }

    /// Forgets what is only known for the sake of a ChatInstance that is gone.
    pub fn forget_instance(&self, key: &Key) {
        self.desk.want(key, None);
        self.families.set(key, None);
        self.secrets.refer(key, BTreeSet::new());
        self.observations.endpoints(key, &[]);
        self.memory.forget("ChatInstance status", key);
    }

    /// Forgets what is only known for the sake of a WebhookSubscription that is gone.
    pub fn forget_subscription(&self, key: &Key) {
        self.memory.forget("WebhookSubscription status", key);
    }
}

/// Objects that are there but that the types cannot hold. One that is deleted meanwhile stays noted until a restart:
/// that keeps more than is needed, and loses nothing.
#[derive(Default)]
pub struct Unreadable(Mutex<BTreeSet<Key>>);

impl Unreadable {
    /// Notes whether an object could be read.
    pub fn note(&self, key: &Key, readable: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if readable {
            all.remove(key);
        } else {
            all.insert(key.clone());
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Where reconciles leave what they want of platforms, and find what came of it.
pub struct PlatformDesk {
    plans: Mutex<BTreeMap<Key, PlatformPlan>>,
    /// Of instances that are being deleted.
    leaving: Mutex<BTreeMap<Key, PlatformPlan>>,
    published: watch::Sender<Vec<PlatformPlan>>,
    reports: watch::Receiver<BTreeMap<Key, PlatformReport>>,
    wake: mpsc::Sender<Key>,
}

impl PlatformDesk {
    /// `published` and `wake` go to the patrol, `reports` come from it.
    pub fn new(
        published: watch::Sender<Vec<PlatformPlan>>,
        reports: watch::Receiver<BTreeMap<Key, PlatformReport>>,
        wake: mpsc::Sender<Key>,
    ) -> Self {
        Self { plans: Mutex::default(), leaving: Mutex::default(), published, reports, wake }
    }

    /// Asks for another look at a platform.
    pub fn look(&self, key: &Key) {
        // A full channel already holds enough reasons to look.
        let _ = self.wake.try_send(key.clone());
    }

    /// Sets what is wanted of one platform, or that nothing is any more.
    pub fn want(&self, key: &Key, plan: Option<PlatformPlan>) {
        let mut plans = self.lock();
        let changed = match plan {
            Some(plan) if plans.get(key) == Some(&plan) => false,
            Some(plan) => {
                plans.insert(key.clone(), plan);
                true
            }
            None => plans.remove(key).is_some(),
        };
        self.leaving().remove(key);
        if changed {
            self.published.send_replace(plans.values().cloned().collect());
        }
    }

    /// Keeps a plan for another try without publishing it.
    pub fn remember(&self, key: &Key, plan: PlatformPlan) {
        self.leaving().insert(key.clone(), plan);
    }

    /// What was wanted last.
    pub fn wanted(&self, key: &Key) -> Option<PlatformPlan> {
        self.lock().get(key).cloned().or_else(|| self.leaving().get(key).cloned())
    }

    /// Withdraws everything: another replica leads.
    pub fn clear(&self) {
        let mut plans = self.lock();
        if !plans.is_empty() {
            plans.clear();
            self.published.send_replace(Vec::new());
        }
    }

    /// What was found out last.
    pub fn report(&self, key: &Key) -> Option<PlatformReport> {
        self.reports.borrow().get(key).cloned()
    }

    fn leaving(&self) -> MutexGuard<'_, BTreeMap<Key, PlatformPlan>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, PlatformPlan>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

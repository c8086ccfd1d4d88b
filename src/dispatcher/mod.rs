//! The data plane: intake, match, sign, deliver. Knows nothing but its [`Plan`].
//!
//! It never talks to the Kubernetes API, and it does not know whether a directory or a cluster made the plan.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub mod admin;
mod bearer;
pub mod data_folder;
pub mod delivery;
mod descriptors;
pub mod engine;
pub mod http_server;
pub mod intake;
pub mod matcher;
pub mod observed;
pub mod problem;
pub mod relays;
pub mod retry;
pub mod serving;
pub mod signing;
pub mod snapshot;
pub mod storage;
pub mod targets;

use self::engine::{Completeness, EngineError, Process};
use self::intake::{IntakeInstance, IntakeTable};
use self::relays::{RelayTable, Relays};
use self::snapshot::{InstanceSnapshot, SubscriptionSnapshot};
use self::storage::InstanceStorage;
use crate::log::segment::OpenError;
use crate::log::{EventLog, LogError};
use crate::metrics::Metrics;
use crate::plan::model::{InstancePlan, Plan};

/// What a dispatcher is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it keeps what it must not lose; made if it is not there, and held by one process at a time.
    pub data_dir: PathBuf,
    /// Where its attempts are recorded.
    pub metrics: Arc<Metrics>,
}

/// Why a dispatcher does not serve a plan.
#[derive(Debug, thiserror::Error)]
pub enum DispatcherError {
    /// Its storage could not be opened.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// An instance's engine.
    #[error("the dispatcher of {instance} failed: {source}")]
    Engine {
        /// Namespace and name.
        instance: String,
        /// What happened.
        source: EngineError,
    },
}

/// A running dispatcher: one engine and one event log per ChatInstance.
pub struct Dispatcher {
    data_dir: PathBuf,
    process: Process,
    instances: Mutex<BTreeMap<(String, String), Arc<Instance>>>,
    /// Plans are applied one at a time.
    applying: tokio::sync::Mutex<()>,
    table: watch::Sender<IntakeTable>,
    relays: Arc<Relays>,
    failures: mpsc::Sender<DispatcherError>,
    failed: tokio::sync::Mutex<mpsc::Receiver<DispatcherError>>,
}

struct Instance {
    served: Mutex<(Arc<InstancePlan>, Completeness)>,
    engine: engine::Handle,
    storage: InstanceStorage,
    events: Arc<dyn EventLog>,
}

impl Dispatcher {
    /// Nothing is served, and the data folder is not touched, before the first [`Dispatcher::apply`].
    pub fn new(options: Options) -> Self {
        let (failures, failed) = mpsc::channel(16);
        Self {
            data_dir: options.data_dir,
            process: Process { slots: Arc::default(), metrics: options.metrics },
            instances: Mutex::default(),
            applying: tokio::sync::Mutex::default(),
            table: watch::channel(IntakeTable::default()).0,
            relays: Arc::default(),
            failures,
            failed: tokio::sync::Mutex::new(failed),
        }
    }

    /// Serves a plan: starts and stops instances, changes the others without dropping what is under way.
    ///
    /// When this returns, every event accepted from now on is matched against the new plan. An instance that cannot be
    /// served as planned keeps no other from it; the first such error is returned, and the plan may be applied again.
    pub async fn apply(&self, plan: Plan) -> Result<(), DispatcherError> {
        let _one_at_a_time = self.applying.lock().await;
        let mut previous = self.instances().clone();
        let completeness = if plan.complete { Completeness::Complete } else { Completeness::Incomplete };
        let mut result = Ok(());
        for instance in plan.instances {
            let key = (instance.namespace.clone(), instance.name.clone());
            let instance = Arc::new(instance);
            let served = match previous.remove(&key) {
                Some(running) => self.change(&running, instance, completeness).await,
                None => self.begin(key, instance, completeness).await,
            };
            match served {
                Err(error) if result.is_err() => {
                    tracing::warn!(%error, "another ChatInstance is not served as planned");
                }
                Err(error) => result = Err(error),
                Ok(()) => {}
            }
        }
        let gone: Vec<_> = previous.into_iter().collect();
        for (key, _) in &gone {
            self.instances().remove(key);
        }
        self.publish_table();
        self.relays.retain(&self.instances().keys().cloned().collect());
        for (key, instance) in gone {
            tracing::info!(
                namespace = key.0,
                instance = key.1,
                "a ChatInstance was removed; its data stay on disk"
            );
            instance.stop(Instant::now() + REMOVAL_GRACE).await;
        }
        result
    }

    async fn begin(
        &self,
        key: (String, String),
        plan: Arc<InstancePlan>,
        completeness: Completeness,
    ) -> Result<(), DispatcherError> {
        let name = format!("{}/{}", key.0, key.1);
        let storage = InstanceStorage::open(self.data_dir.clone(), &plan).await?;
        let parts = storage.parts();
        let events = Arc::clone(&parts.events);
        let (engine, task) = engine::start(parts, self.process.clone(), Arc::clone(&plan), completeness)
            .await
            .map_err(|source| DispatcherError::Engine { instance: name.clone(), source })?;
        let served = Mutex::new((plan, completeness));
        let instance = Arc::new(Instance { served, engine, storage, events });
        self.watch_over(name, Arc::clone(&instance), task);
        self.instances().insert(key, instance);
        Ok(())
    }

    async fn change(
        &self,
        running: &Instance,
        plan: Arc<InstancePlan>,
        completeness: Completeness,
    ) -> Result<(), DispatcherError> {
        if running.served() == (Arc::clone(&plan), completeness) {
            return Ok(());
        }
        let name = format!("{}/{}", plan.namespace, plan.name);
        // The bounds of a spec that nobody could read are defaults: the last good ones stay.
        if !plan.rejected {
            running.storage.set_limits(&plan);
        }
        running
            .engine
            .apply(Arc::clone(&plan), completeness)
            .await
            .map_err(|source| DispatcherError::Engine { instance: name, source: source.into() })?;
        *running.served.lock().unwrap_or_else(PoisonError::into_inner) = (plan, completeness);
        Ok(())
    }

    /// An engine that ends by itself, or a storage that fails under an idle one, takes the process with it: see
    /// [`Dispatcher::failed`].
    fn watch_over(
        &self,
        name: String,
        instance: Arc<Instance>,
        task: tokio::task::JoinHandle<Result<(), EngineError>>,
    ) {
        let failures = self.failures.clone();
        tokio::spawn(async move {
            let source = tokio::select! {
                biased;
                ended = task => match ended {
                    Ok(Ok(())) => return,
                    Ok(Err(source)) => source,
                    Err(error) => LogError::Fatal(format!("the engine ended abnormally: {error}")).into(),
                },
                reason = instance.storage.failed() => LogError::Fatal(reason).into(),
            };
            // A full channel already tells of a failure, which is all that matters.
            let _ = failures.try_send(DispatcherError::Engine { instance: name, source });
        });
    }

    fn publish_table(&self) {
        let table = self.instances().values().map(|instance| Arc::new(instance.intake())).collect();
        self.table.send_replace(Arc::new(table));
    }

    /// Resolves when something failed from which only a restart recovers.
    pub async fn failed(&self) -> DispatcherError {
        match self.failed.lock().await.recv().await {
            Some(error) => error,
            // Not reachable: `self.failures` keeps the channel open.
            None => std::future::pending().await,
        }
    }

    /// What intake serves; changes with every plan.
    pub fn intake_table(&self) -> watch::Receiver<IntakeTable> {
        self.table.subscribe()
    }

    /// What relays say of themselves.
    pub fn relays(&self) -> Arc<Relays> {
        Arc::clone(&self.relays)
    }

    /// How everything stands now, by namespace and name.
    pub fn snapshot(&self) -> Vec<InstanceSnapshot> {
        let now = Instant::now();
        let mut snapshots: Vec<_> = self.instances().values().map(|instance| instance.snapshot()).collect();
        for one in &mut snapshots {
            let figures = |relays: &RelayTable| (relays.count(now), relays.dropped());
            (one.relay_workers, one.relay_dropped) = self.relays.read(&one.namespace, &one.name, figures);
        }
        snapshots
    }

    /// Stops intake's table, lets deliveries under way end within `grace`, saves state, ends.
    pub async fn shutdown(&self, grace: Duration) {
        let _no_more_plans = self.applying.lock().await;
        let deadline = Instant::now() + grace;
        self.table.send_replace(IntakeTable::default());
        let instances = std::mem::take(&mut *self.instances());
        futures::future::join_all(instances.into_values().map(|instance| async move {
            instance.stop(deadline).await;
        }))
        .await;
    }

    fn instances(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Arc<Instance>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Instance {
    fn served(&self) -> (Arc<InstancePlan>, Completeness) {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn plan(&self) -> Arc<InstancePlan> {
        self.served().0
    }

    fn intake(&self) -> IntakeInstance {
        let plan = self.plan();
        IntakeInstance {
            namespace: plan.namespace.clone(),
            name: plan.name.clone(),
            paused: plan.paused.clone(),
            auth: plan.intake.clone(),
            log: Arc::clone(&self.events),
        }
    }

    fn snapshot(&self) -> InstanceSnapshot {
        let plan = self.plan();
        let end = *self.events.end().borrow();
        let subscriptions = self.engine.served().into_iter().map(|served| {
            let (counters, in_flight, health) = served.gauge.read();
            SubscriptionSnapshot {
                namespace: served.namespace,
                name: served.name,
                generation: served.generation,
                counters,
                in_flight,
                health,
            }
        });
        InstanceSnapshot {
            namespace: plan.namespace.clone(),
            name: plan.name.clone(),
            generation: plan.generation,
            taken_ms: engine::now_ms(),
            usage: self.events.usage(),
            unmatched: end.saturating_sub(self.engine.cursor()),
            relay_workers: 0,
            relay_dropped: 0,
            subscriptions: subscriptions.collect(),
        }
    }

    async fn stop(&self, deadline: Instant) {
        self.engine.shutdown(deadline).await;
        self.storage.close().await;
    }
}

/// How long deliveries of a removed ChatInstance may take to end.
const REMOVAL_GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;

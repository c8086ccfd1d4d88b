//! Starting from what was committed, and changing to a new plan without dropping what is under way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, PoisonError};

use tokio::sync::{mpsc, watch};

use super::attempts::Report;
use super::commit::Committer;
use super::journal::{self, Stored};
use super::subscription::Subscription;
use super::{Clock, Completeness, Engine, EngineError, Gauges, Process, Served, Storage};
use crate::dispatcher::matcher::Matcher;
use crate::dispatcher::targets::http::HttpTarget;
use crate::egress::{ClientError, EgressClient};
use crate::log::{Delta, Held, Seq, StateError};
use crate::plan::model::{InstancePlan, MatchPlan, SubscriptionPlan, TargetPlan};

/// Why a plan is not served.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its new subscriptions could not be put on record.
    #[error(transparent)]
    State(#[from] StateError),
    /// The engine is gone.
    #[error("the delivery engine has ended")]
    Ended,
}

impl Engine {
    pub(super) async fn recover(
        storage: Storage,
        held: Held,
        process: Process,
        (plan, completeness): (Arc<InstancePlan>, Completeness),
        reports: mpsc::Sender<Report>,
        gauges: Gauges,
        cursor_tx: watch::Sender<Seq>,
    ) -> Result<Self, EngineError> {
        let (cursor, stored, unknown) = journal::read(storage.state.load(held).await?);
        if unknown > 0 {
            tracing::warn!(unknown, "delivery state has entries that this version does not know");
        }
        let cursor = cursor.unwrap_or(1);
        cursor_tx.send_replace(cursor);
        // Damage may have cost the log its newest records: their positions must not go to other events.
        storage.events.continue_from(stored.values().map(Stored::last_position).fold(cursor, Seq::max));
        let end = storage.events.end();
        let mut engine = Self {
            committer: Committer::new((Arc::clone(&storage.state), held), cursor),
            storage,
            plan: Arc::clone(&plan),
            client: None,
            matcher: Matcher::compile([]).0,
            subscriptions: HashMap::new(),
            by_identity: HashMap::new(),
            next_id: 0,
            cursor,
            cursor_tx,
            match_after: None,
            end,
            timers: BTreeSet::new(),
            clock: Clock::new(),
            slots: process.slots,
            metrics: process.metrics,
            starved: VecDeque::new(),
            in_flight: 0,
            reports,
            gauges,
            release_in: 0,
            stopping: None,
        };
        engine.apply_stored(plan, completeness, stored).await?;
        Ok(engine)
    }

    /// Changes to a new plan.
    pub(super) async fn apply(
        &mut self,
        plan: Arc<InstancePlan>,
        completeness: Completeness,
    ) -> Result<(), PlanError> {
        self.apply_stored(plan, completeness, BTreeMap::new()).await
    }

    async fn apply_stored(
        &mut self,
        plan: Arc<InstancePlan>,
        completeness: Completeness,
        mut stored: BTreeMap<String, Stored>,
    ) -> Result<(), PlanError> {
        if self.client.as_ref().is_none_or(|client| *client.rules() != plan.egress) {
            self.client = Some(EgressClient::new(Arc::new(plan.egress.clone()))?);
        }
        let mut deltas = Vec::new();
        self.settle_absent(&plan, completeness, &mut deltas);
        for subscription in &plan.subscriptions {
            let stored = stored.remove(&subscription.identity);
            self.upsert(Arc::new(subscription.clone()), stored);
        }
        // What is left was committed once and is not in the plan.
        for (identity, stored) in stored {
            match completeness {
                Completeness::Complete => {
                    stored.forget(&identity, &mut deltas);
                    log_dropped(&identity, stored.pending());
                }
                Completeness::Incomplete => self.upsert(Arc::new(absent_plan(&identity)), Some(stored)),
            }
        }
        self.compile_matcher();
        self.plan = plan;
        let release = self.committer.settle().await?;
        self.release(release);
        self.committer.touch();
        deltas.extend(self.changes());
        self.committer.commit_now(deltas).await?;
        self.publish_served();
        let ids: Vec<u32> = self.subscriptions.keys().copied().collect();
        for id in ids {
            self.pump(id);
        }
        Ok(())
    }

    /// Forgets the subscriptions that were removed, or pauses those that may just be misspelt.
    fn settle_absent(&mut self, plan: &InstancePlan, completeness: Completeness, deltas: &mut Vec<Delta>) {
        let wanted: HashSet<&str> = plan.subscriptions.iter().map(|s| s.identity.as_str()).collect();
        let absent: Vec<(String, u32)> = self
            .by_identity
            .iter()
            .filter(|(identity, _)| !wanted.contains(identity.as_str()))
            .map(|(identity, id)| (identity.clone(), *id))
            .collect();
        for (identity, id) in absent {
            match completeness {
                Completeness::Incomplete => {
                    if let Some(subscription) = self.subscriptions.get_mut(&id) {
                        let generation = subscription.plan.generation;
                        let paused = SubscriptionPlan { generation, ..absent_plan(&identity) };
                        subscription.replan(Arc::new(paused), None);
                    }
                }
                Completeness::Complete => {
                    self.by_identity.remove(&identity);
                    if let Some(subscription) = self.subscriptions.remove(&id) {
                        subscription.forget(deltas);
                        log_dropped(&identity, subscription.pending());
                    }
                }
            }
        }
    }

    fn upsert(&mut self, plan: Arc<SubscriptionPlan>, stored: Option<Stored>) {
        let target = prepare_target(&plan);
        if let Some(subscription) =
            self.by_identity.get(&plan.identity).and_then(|id| self.subscriptions.get_mut(id))
        {
            subscription.replan(plan, target);
            return;
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.by_identity.insert(plan.identity.clone(), id);
        let recorder = self.metrics.client(&plan.namespace, &plan.name);
        let mut subscription = Subscription::new(plan, target, *self.end.borrow(), recorder);
        if let Some(stored) = stored {
            let (now, now_ms) = self.clock.now();
            subscription.restore(stored, now, now_ms);
        }
        self.subscriptions.insert(id, subscription);
        self.wake_for_retries(id);
    }

    fn compile_matcher(&mut self) {
        let rules = self.subscriptions.iter().map(|(id, subscription)| (*id, &subscription.plan.rules));
        let (matcher, broken) = Matcher::compile(rules);
        for (id, sentence) in broken {
            if let Some(subscription) = self.subscriptions.get(&id) {
                tracing::error!(
                    namespace = subscription.plan.namespace,
                    subscription = subscription.plan.name,
                    "the plan has rules that do not compile; no event matches: {sentence}"
                );
            }
        }
        self.matcher = matcher;
    }

    fn publish_served(&self) {
        let mut served: Vec<Served> = self
            .subscriptions
            .values()
            .map(|subscription| Served {
                namespace: subscription.plan.namespace.clone(),
                name: subscription.plan.name.clone(),
                generation: subscription.plan.generation,
                gauge: Arc::clone(&subscription.gauge),
            })
            .collect();
        served.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        *self.gauges.lock().unwrap_or_else(PoisonError::into_inner) = served;
    }
}

fn prepare_target(plan: &SubscriptionPlan) -> Option<Arc<HttpTarget>> {
    let Some(TargetPlan::Http(http)) = &plan.target else { return None };
    match HttpTarget::new(http, &plan.signing_keys) {
        Ok(target) => Some(Arc::new(target)),
        Err(sentence) => {
            tracing::error!(
                namespace = plan.namespace,
                subscription = plan.name,
                "the plan has a target that cannot be used; its events wait: {sentence}"
            );
            None
        }
    }
}

/// Stands in for a subscription whose manifest is not there while others cannot be read: everything is kept for it, and
/// matched again when it is back.
fn absent_plan(identity: &str) -> SubscriptionPlan {
    let (namespace, name) = identity.split_once('/').unwrap_or_default();
    SubscriptionPlan {
        identity: identity.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        generation: 0,
        paused: Some("its manifest is not there, while others cannot be read".to_owned()),
        rejected: true,
        suspended: false,
        rules: MatchPlan { events: vec!["*".to_owned()], exclude: vec![], equals: vec![], expression: None },
        target: None,
        signing_keys: vec![],
        timeout_ms: 0,
        retry_schedule_ms: vec![],
        retry_jitter_percent: 0,
        concurrency: 1,
        backlog_max_age_ms: u64::MAX,
        backlog_max_bytes: u64::MAX,
    }
}

fn log_dropped(identity: &str, pending: u64) {
    tracing::info!(
        subscription = identity,
        dropped = pending,
        "a subscription was removed, its backlog with it"
    );
}

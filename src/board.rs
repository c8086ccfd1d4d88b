//! The objects of `/v1/status`: what was found, what is served, how delivery goes.
//!
//! Composes only; every fact comes in.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource as _;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::ChatInstance;
use crate::api::conditions::{Report, State};
use crate::dispatcher::snapshot::{Counters, InstanceSnapshot, SubscriptionSnapshot};
use crate::plan::model::{InstancePlan, SubscriptionPlan};
use crate::plan::{Outcome, Verdict};
use crate::status::chat_instance::{self, InstanceFacts};
use crate::status::observed::ObservedHealth;
use crate::status::programmed;
use crate::status::webhook_subscription::{self, SubscriptionFacts};

/// One object in `/v1/status`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    observed_generation: i64,
    conditions: Vec<Condition>,
    counters: Value,
    warnings: &'a [String],
}

/// Remembers since when each condition has its status.
#[derive(Debug)]
pub struct Board {
    reachable: State,
    conditions: Mutex<BTreeMap<(String, String, String), Vec<Condition>>>,
}

impl Board {
    /// Nothing is known yet. `reachable` is what is said of every platform.
    pub fn new(reachable: State) -> Self {
        Self { reachable, conditions: Mutex::default() }
    }

    /// The list as of `now`.
    pub fn compose(&self, outcome: &Outcome, snapshots: &[InstanceSnapshot], now: &Time) -> Value {
        let mut previous = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = BTreeMap::new();
        let mut objects = Vec::new();
        let index = Index::of(outcome, snapshots);
        for verdict in &outcome.verdicts {
            let key = (verdict.kind.clone(), verdict.namespace.clone(), verdict.name.clone());
            let (report, counters) = if verdict.kind == ChatInstance::kind(&()) {
                instance(verdict, &index, self.reachable.clone())
            } else {
                subscription(verdict, &index)
            };
            let before = previous.get(&key).map(Vec::as_slice).unwrap_or_default();
            let conditions = report.conditions(verdict.generation, before, now);
            next.insert(key, conditions.clone());
            objects.push(Object {
                kind: &verdict.kind,
                namespace: &verdict.namespace,
                name: &verdict.name,
                observed_generation: verdict.generation,
                conditions,
                counters,
                warnings: &verdict.warnings,
            });
        }
        *previous = next;
        json!(objects)
    }
}

type Key<'a> = (&'a str, &'a str);

/// Everything by namespace and name.
struct Index<'a> {
    instances: HashMap<Key<'a>, &'a InstancePlan>,
    subscriptions: HashMap<Key<'a>, (&'a InstancePlan, &'a SubscriptionPlan)>,
    served_instances: HashMap<Key<'a>, &'a InstanceSnapshot>,
    served_subscriptions: HashMap<Key<'a>, &'a SubscriptionSnapshot>,
}

impl<'a> Index<'a> {
    fn of(outcome: &'a Outcome, snapshots: &'a [InstanceSnapshot]) -> Self {
        let instances = &outcome.plan.instances;
        let subscriptions = instances
            .iter()
            .flat_map(|instance| instance.subscriptions.iter().map(move |one| (instance, one)));
        let served = snapshots.iter().flat_map(|instance| &instance.subscriptions);
        Self {
            instances: instances.iter().map(|one| ((&*one.namespace, &*one.name), one)).collect(),
            subscriptions: subscriptions.map(|both| ((&*both.1.namespace, &*both.1.name), both)).collect(),
            served_instances: snapshots.iter().map(|one| ((&*one.namespace, &*one.name), one)).collect(),
            served_subscriptions: served.map(|one| ((&*one.namespace, &*one.name), one)).collect(),
        }
    }
}

fn instance(verdict: &Verdict, index: &Index<'_>, reachable: State) -> (Report, Value) {
    let key = (&*verdict.namespace, &*verdict.name);
    let plan = index.instances.get(&key);
    let snapshot = index.served_instances.get(&key).copied();
    let paused = plan.is_none_or(|plan| plan.paused.is_some());
    let facts = InstanceFacts {
        paused,
        programmed: programmed(verdict.generation, snapshot.map(|one| one.generation)),
        reachable,
        intake_ready: chat_instance::intake_ready(paused, snapshot.map(|one| one.usage.refusing)),
        dispatcher_available: chat_instance::dispatcher_available(snapshot.is_some()),
    };
    let counters = snapshot.map_or_else(|| json!({ "unmatched": 0 }), InstanceSnapshot::counters);
    (chat_instance::report(verdict, &facts), counters)
}

fn subscription(verdict: &Verdict, index: &Index<'_>) -> (Report, Value) {
    let key = (&*verdict.namespace, &*verdict.name);
    let plan = index.subscriptions.get(&key).copied();
    let snapshot = index.served_subscriptions.get(&key).copied();
    let health = snapshot.and_then(|one| one.health.as_ref()).map(ObservedHealth::from);
    let facts = SubscriptionFacts {
        paused: plan.is_none_or(|(_, plan)| plan.paused.is_some()),
        programmed: programmed(verdict.generation, snapshot.map(|one| one.generation)),
        delivering: webhook_subscription::delivering(plan, health.as_ref()),
    };
    let counters = snapshot.map_or_else(Counters::default, |one| one.counters);
    (webhook_subscription::report(verdict, &facts), json!(counters))
}

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
use crate::api::conditions::Report;
use crate::dispatcher::snapshot::{Counters, InstanceSnapshot, SubscriptionSnapshot};
use crate::plan::model::{InstancePlan, SubscriptionPlan};
use crate::plan::{Outcome, Verdict};
use crate::status::chat_instance::{self, InstanceFacts, PlatformFacts};
use crate::status::observed::ObservedHealth;
use crate::status::webhook_subscription::{self, SubscriptionFacts};
use crate::status::{latched, programmed};

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
#[derive(Debug, Default)]
pub struct Board {
    conditions: Mutex<BTreeMap<(String, String, String), Vec<Condition>>>,
}

impl Board {
    /// The list as of `now`; `platform` tells what is known of the platform of an instance.
    pub fn compose(
        &self,
        outcome: &Outcome,
        snapshots: &[InstanceSnapshot],
        platform: impl Fn(&str, &str) -> PlatformFacts,
        now: &Time,
    ) -> Value {
        let mut previous = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = BTreeMap::new();
        let mut objects = Vec::new();
        let index = Index::of(outcome, snapshots);
        for verdict in &outcome.verdicts {
            let key = (verdict.kind.clone(), verdict.namespace.clone(), verdict.name.clone());
            let before = previous.get(&key).map(Vec::as_slice).unwrap_or_default();
            let (report, counters) = if verdict.kind == ChatInstance::kind(&()) {
                instance(verdict, &index, platform(&verdict.namespace, &verdict.name))
            } else {
                subscription(verdict, &index, &platform, latched(before, verdict.generation))
            };
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

fn instance(verdict: &Verdict, index: &Index<'_>, platform: PlatformFacts) -> (Report, Value) {
    let key = (&*verdict.namespace, &*verdict.name);
    let plan = index.instances.get(&key);
    let snapshot = index.served_instances.get(&key).copied();
    let paused = plan.is_none_or(|plan| plan.paused.is_some());
    let facts = InstanceFacts {
        paused,
        programmed: programmed(verdict.generation, snapshot.map(|one| one.generation)),
        reachable: platform.reachable,
        intake_ready: chat_instance::intake_with_relay(
            chat_instance::intake_ready(paused, snapshot.map(|one| one.usage.refusing)),
            &platform.relay,
        ),
        dispatcher_available: chat_instance::dispatcher_available(snapshot.is_some()),
    };
    let counters = snapshot.map_or_else(|| json!({ "unmatched": 0 }), InstanceSnapshot::counters);
    (chat_instance::report(verdict, &facts), counters)
}

fn subscription(
    verdict: &Verdict,
    index: &Index<'_>,
    platform: impl Fn(&str, &str) -> PlatformFacts,
    latched: bool,
) -> (Report, Value) {
    let key = (&*verdict.namespace, &*verdict.name);
    let plan = index.subscriptions.get(&key).copied();
    let snapshot = index.served_subscriptions.get(&key).copied();
    let health = snapshot.and_then(|one| one.health.as_ref()).map(ObservedHealth::from);
    let served = programmed(verdict.generation, snapshot.map(|one| one.generation));
    let relay = plan.map(|(of, _)| (of, platform(&of.namespace, &of.name).relay));
    let facts = SubscriptionFacts {
        paused: plan.is_none_or(|(_, plan)| plan.paused.is_some()),
        programmed: match relay {
            Some((of, relay)) => {
                webhook_subscription::programmed_with_relay(served, Some(of), &relay, latched)
            }
            None => served,
        },
        delivering: webhook_subscription::delivering(plan, health.as_ref()),
    };
    let counters = snapshot.map_or_else(Counters::default, |one| one.counters);
    (webhook_subscription::report(verdict, &facts), json!(counters))
}

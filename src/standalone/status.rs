//! `/v1/status`: what was found, what is served, how delivery goes.
//!
//! Composes only; every fact comes in.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::Serialize;
use serde_json::{Value, json};

use super::folder::FileReport;
use super::manifest::Kind;
use crate::api::conditions::{
    DELIVERING, DISPATCHER_AVAILABLE, INTAKE_READY, REACHABLE, Report, State, reason,
};
use crate::dispatcher::snapshot::{Counters, InstanceSnapshot, SubscriptionSnapshot};
use crate::plan::model::{InstancePlan, SubscriptionPlan};
use crate::plan::{Finding, Outcome, Verdict};

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
    /// The document as of `now`.
    pub fn compose(
        &self,
        outcome: &Outcome,
        snapshots: &[InstanceSnapshot],
        files: &[FileReport],
        now: &Time,
    ) -> Value {
        let mut previous = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = BTreeMap::new();
        let mut objects = Vec::new();
        let index = Index::of(outcome, snapshots);
        for verdict in &outcome.verdicts {
            let key = (verdict.kind.clone(), verdict.namespace.clone(), verdict.name.clone());
            let (report, counters) = if verdict.kind == Kind::ChatInstance.name() {
                instance(verdict, &index)
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
        json!({ "objects": objects, "files": files })
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

fn instance(verdict: &Verdict, index: &Index<'_>) -> (Report, Value) {
    let key = (&*verdict.namespace, &*verdict.name);
    let plan = index.instances.get(&key);
    let snapshot = index.served_instances.get(&key).copied();
    let paused = plan.is_none_or(|plan| plan.paused.is_some());
    let more = vec![
        (
            REACHABLE,
            State::unknown(reason::NOT_PROBED, "Events are pushed; nothing is asked of the platform."),
        ),
        (INTAKE_READY, intake_ready(paused, snapshot)),
        (
            DISPATCHER_AVAILABLE,
            match snapshot {
                Some(_) => State::yes(reason::AVAILABLE),
                None => State::no(reason::UNAVAILABLE, "Its event log is not open yet."),
            },
        ),
    ];
    let counters = snapshot.map_or_else(
        || json!({ "unmatched": 0 }),
        |one| {
            json!({
                "unmatched": one.unmatched,
                "logBytes": one.usage.live_bytes,
                "logCapacityBytes": one.usage.capacity_bytes,
            })
        },
    );
    (report(verdict, paused, snapshot.map(|one| one.generation), more), counters)
}

fn intake_ready(paused: bool, snapshot: Option<&InstanceSnapshot>) -> State {
    match snapshot {
        _ if paused => State::no(reason::PAUSED, PAUSED),
        None => State::unknown(reason::PENDING, "Its event log is not open yet."),
        Some(one) if one.usage.refusing => State::no(
            reason::LOG_FULL,
            "The event log is full of unfinished deliveries; see which subscription does not deliver, or give \
                 spec.dispatcher.queue.embedded.size more.",
        ),
        Some(_) => State::yes(reason::LISTENING),
    }
}

fn subscription(verdict: &Verdict, index: &Index<'_>) -> (Report, Value) {
    let key = (&*verdict.namespace, &*verdict.name);
    let plan = index.subscriptions.get(&key).copied();
    let snapshot = index.served_subscriptions.get(&key).copied();
    let paused = plan.is_none_or(|(_, plan)| plan.paused.is_some());
    let more = vec![(DELIVERING, delivering(plan, snapshot))];
    let counters = snapshot.map_or_else(Counters::default, |one| one.counters);
    (report(verdict, paused, snapshot.map(|one| one.generation), more), json!(counters))
}

/// What conditions say that follow from another.
const PAUSED: &str = "Paused; Accepted and ResolvedRefs say why.";

fn delivering(
    plan: Option<(&InstancePlan, &SubscriptionPlan)>,
    snapshot: Option<&SubscriptionSnapshot>,
) -> State {
    let Some((instance, plan)) = plan else { return State::no(reason::PAUSED, PAUSED) };
    if plan.paused.is_some() {
        return State::no(reason::PAUSED, PAUSED);
    }
    if let Some(why) = &instance.paused {
        return State::no(reason::PAUSED, format!("ChatInstance {:?} is paused: {why}", instance.name));
    }
    if plan.suspended {
        return State::no(reason::SUSPENDED, "spec.suspend is true; events are kept.");
    }
    if instance.suspended {
        let message = format!("spec.suspend of ChatInstance {:?} is true; events are kept.", instance.name);
        return State::no(reason::SUSPENDED, message);
    }
    match snapshot.and_then(|one| one.health.as_ref()) {
        None => State::unknown(reason::NO_EVENTS_YET, "Nothing was to be delivered yet."),
        Some(health) if health.ok => State::yes(reason::DELIVERING),
        Some(health) => State::no(&health.reason, health.message.clone()),
    }
}

fn report(verdict: &Verdict, paused: bool, served: Option<i64>, more: Vec<(&'static str, State)>) -> Report {
    let programmed = if paused {
        State::no(reason::PAUSED, PAUSED)
    } else if served == Some(verdict.generation) {
        State::yes(reason::PROGRAMMED)
    } else {
        State::unknown(reason::PENDING, "The dispatcher does not serve this generation yet.")
    };
    Report {
        accepted: state(&verdict.accepted),
        resolved_refs: state(&verdict.resolved_refs),
        programmed,
        more,
    }
}

fn state(finding: &Finding) -> State {
    State { status: Some(finding.status), reason: finding.reason.clone(), message: finding.message.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_refuses_events_is_full() {
        let state = |refusing| {
            let mut snapshot = InstanceSnapshot::default();
            snapshot.usage.refusing = refusing;
            let state = intake_ready(false, Some(&snapshot));
            (state.status, state.reason)
        };
        assert_eq!(state(false), (Some(true), "Listening".to_owned()));
        assert_eq!(state(true), (Some(false), "LogFull".to_owned()));
        assert_eq!(intake_ready(true, None).reason, "Paused");
        assert_eq!(intake_ready(false, None).status, None);
    }
}

//! Status of a ChatInstance: from what was applied and observed, and nothing else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::api::chat_instance::{Attached, DispatcherStatus};
use crate::api::conditions::{INTAKE_READY, REACHABLE, Report, State, reason, told as condition_told};
use crate::api::{ChatInstance, ChatInstanceStatus};
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::controller::families::Family;
use crate::controller::observations::Fleet;
use crate::controller::report;
use crate::controller::stores::reference;
use crate::plan::Key;
use crate::plan::children::dispatcher_name;
use crate::plan::platform::{IntakeAddresses, intake_url};
use crate::platform::facts::facts;
use crate::status::chat_instance::{InstanceFacts, intake_ready, intake_with_relay, report as conditions};
use crate::status::latched;

/// Characters of what a dispatcher tells that are passed on.
const MAX_TOLD: usize = 1024;

/// Writes the status as it follows from the family and what dispatchers and platform told.
pub async fn write(ctx: &Context, key: &Key, instance: &ChatInstance, family: &Family) -> Result<(), Error> {
    let Some(verdict) = family.outcome.verdicts.iter().find(|one| one.kind == "ChatInstance") else {
        return Ok(());
    };
    let fleet = ctx.observations.of(key);
    let last = report::last(ctx, instance, instance.status.as_ref());
    let paused = !verdict.accepted.status || !verdict.resolved_refs.status;
    let platform = family.outcome.platforms.first();
    let told = ctx.desk.report(key);
    let dispatcher = dispatcher(ctx, key, instance);
    let before = |type_| {
        let conditions = last.as_ref().map(|last| last.conditions.as_slice()).unwrap_or_default();
        condition_told(conditions, type_, verdict.generation)
    };
    let configs = fleet.relays(key).map(|relay| relay.config.as_str());
    let seen = facts(&ctx.cluster, platform, told.as_ref(), configs);
    let full = fleet.instances(key).flatten().map(|one| one.log_full).reduce(|one, other| one || other);
    let intake_ready = intake_with_relay(intake_ready(paused, full), &seen.relay);
    let unasked = platform.is_some() && told.is_none();
    let facts = InstanceFacts {
        paused,
        programmed: programmed(key, family, &fleet, last.as_ref(), verdict.generation),
        reachable: match before(REACHABLE).filter(|old| old.reason != reason::NOT_PROBED) {
            Some(old) if unasked => old,
            _ => seen.reachable,
        },
        intake_ready: match before(INTAKE_READY).filter(|old| old.reason != reason::PAUSED) {
            Some(old) if unheard(&dispatcher, &fleet) || (unasked && !seen.relay.delivers()) => old,
            _ => intake_ready,
        },
        dispatcher_available: available(key, &dispatcher, &fleet),
    };
    let next = ChatInstanceStatus {
        observed_generation: Some(verdict.generation),
        platform_version: told
            .and_then(|report| report.version)
            .filter(|version| is_version(version))
            .or_else(|| last.as_ref().and_then(|last| last.platform_version.clone())),
        intake_url: Some(posted_to(key, instance)),
        dispatcher: Some(dispatcher),
        attached: Some(Attached { webhook_subscriptions: attached(family) }),
        conditions: listed(&conditions(verdict, &facts), verdict.generation, last.as_ref()),
    };
    report::write(ctx, instance, last.as_ref(), &next).await?;
    report::warn(ctx, instance, verdict, last.and_then(|last| last.observed_generation)).await;
    Ok(())
}

/// Writes the status of an instance that could not be compiled at all.
pub async fn not_compiled(
    ctx: &Context,
    key: &Key,
    instance: &ChatInstance,
    problem: &State,
) -> Result<(), Error> {
    let last = report::last(ctx, instance, instance.status.as_ref());
    let generation = instance.metadata.generation.unwrap_or(1);
    let unknown = || State::unknown(reason::PENDING, "Not looked at yet.");
    let report = Report {
        accepted: State::yes(reason::ACCEPTED),
        resolved_refs: problem.clone(),
        programmed: State::no(reason::PAUSED, "Paused; ResolvedRefs says why."),
        more: vec![
            (REACHABLE, unknown()),
            (INTAKE_READY, unknown()),
            (crate::api::conditions::DISPATCHER_AVAILABLE, unknown()),
        ],
    };
    let next = ChatInstanceStatus {
        observed_generation: Some(generation),
        intake_url: Some(posted_to(key, instance)),
        conditions: listed(&report, generation, last.as_ref()),
        ..last.clone().unwrap_or_default()
    };
    report::write(ctx, instance, last.as_ref(), &next).await
}

fn listed(
    report: &Report,
    generation: i64,
    last: Option<&ChatInstanceStatus>,
) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    let previous = last.map(|last| last.conditions.as_slice()).unwrap_or_default();
    report.conditions(generation, previous, &Time(Timestamp::now()))
}

fn attached(family: &Family) -> i32 {
    let plans = family.outcome.plan.instances.iter();
    i32::try_from(plans.map(|plan| plan.subscriptions.len()).sum::<usize>()).unwrap_or(i32::MAX)
}

/// Where events are posted; an address that cannot be used is told in `Accepted`.
fn posted_to(key: &Key, instance: &ChatInstance) -> String {
    let services = IntakeAddresses::Services;
    intake_url(&instance.spec, key, &services).unwrap_or_else(|_| services.of(key))
}

fn dispatcher(ctx: &Context, key: &Key, instance: &ChatInstance) -> DispatcherStatus {
    let at = (key.0.clone(), dispatcher_name(&key.1));
    let workload = ctx.stores.stateful_sets.get(&reference(&at));
    let status = workload.as_ref().and_then(|workload| workload.status.as_ref());
    DispatcherStatus {
        replicas: instance.spec.dispatcher.replicas,
        ready_replicas: status.and_then(|status| status.ready_replicas).unwrap_or(0),
    }
}

fn available(key: &Key, dispatcher: &DispatcherStatus, fleet: &Fleet) -> State {
    if dispatcher.ready_replicas > 0 || !fleet.dispatchers.is_empty() {
        return State::yes(reason::AVAILABLE);
    }
    let pod = format!("{}-0", dispatcher_name(&key.1));
    let sentence = format!("No dispatcher is ready; kubectl -n {} describe pod {pod} tells more.", key.0);
    State::no(reason::UNAVAILABLE, sentence)
}

fn programmed(
    key: &Key,
    family: &Family,
    fleet: &Fleet,
    last: Option<&ChatInstanceStatus>,
    generation: i64,
) -> State {
    if let Some(problem) = &family.problem {
        return problem.clone();
    }
    let served = family.revisions.get(&0).is_some_and(|revision| fleet.serves(key, 0, revision));
    if served || last.is_some_and(|last| latched(&last.conditions, generation)) {
        return State::yes(reason::PROGRAMMED);
    }
    let told = fleet.instances(key).flatten().find_map(|one| one.problem.as_ref());
    State::unknown(
        reason::PENDING,
        told.map_or_else(
            || {
                if fleet.dispatchers.is_empty() {
                    "No dispatcher is ready yet.".to_owned()
                } else {
                    "The dispatcher does not serve this generation yet.".to_owned()
                }
            },
            |problem| {
                let problem: String = problem.chars().take(MAX_TOLD).collect();
                format!("The dispatcher does not serve this generation: {problem}")
            },
        ),
    )
}

/// Whether this is a version and nothing else: it was told by the platform.
fn is_version(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'))
}

/// Whether this replica, which may lead since a moment, has not heard yet from any of the dispatchers that are ready.
fn unheard(dispatcher: &DispatcherStatus, fleet: &Fleet) -> bool {
    dispatcher.ready_replicas > 0 && fleet.dispatchers.iter().all(Option::is_none)
}

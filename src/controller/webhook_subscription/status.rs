//! Status of a WebhookSubscription: from what was applied and observed, and nothing else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::api::conditions::{DELIVERING, State, reason, told};
use crate::api::webhook_subscription::LastFailure;
use crate::api::{WebhookSubscription, WebhookSubscriptionStatus};
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::controller::families::Family;
use crate::controller::observations::Fleet;
use crate::controller::report;
use crate::plan::shards::index_of;
use crate::plan::{Key, Verdict};
use crate::platform::facts::facts;
use crate::status::latched;
use crate::status::observed::ObservedHealth;
use crate::status::webhook_subscription::{
    SubscriptionFacts, delivering, programmed_with_relay, report as conditions,
};

/// Longest text of a failure.
const MAX_REASON: usize = 1024;

/// Writes the status of a subscription whose instance was compiled.
pub async fn write(
    ctx: &Context,
    instance: &Key,
    key: &Key,
    subscription: &WebhookSubscription,
    family: &Family,
    verdict: &Verdict,
) -> Result<(), Error> {
    let fleet = ctx.observations.of(instance);
    let last = report::last(ctx, subscription, subscription.status.as_ref());
    let plan = family.outcome.plan.instances.first().and_then(|of| {
        Some((of, of.subscriptions.iter().find(|one| one.namespace == key.0 && one.name == key.1)?))
    });
    // A later object of the same name: its instance has not been compiled with it yet.
    if plan.is_some_and(|(_, plan)| Some(&plan.identity) != subscription.metadata.uid.as_ref()) {
        return Ok(());
    }
    let health = fleet.subscription(instance, key).and_then(|seen| seen.health.clone()).map(trusted);
    let configs = fleet.relays(instance).map(|relay| relay.config.as_str());
    let report = ctx.desk.report(instance);
    let platform = facts(&ctx.cluster, family.outcome.platforms.first(), report.as_ref(), configs);
    let latched = last.as_ref().is_some_and(|last| latched(&last.conditions, verdict.generation));
    let mut delivering = delivering(plan, health.as_ref());
    // A process that has just begun has not tried anything yet; how the last delivery went stays true.
    if delivering.reason == reason::NO_EVENTS_YET
        && let Some(last) = &last
        && let Some(old) = told(&last.conditions, DELIVERING, verdict.generation)
        && ![reason::PAUSED, reason::SUSPENDED, reason::PENDING].contains(&old.reason.as_str())
    {
        delivering = old;
    }
    let facts = SubscriptionFacts {
        paused: !verdict.accepted.status || !verdict.resolved_refs.status,
        programmed: programmed_with_relay(
            served(instance, key, family, &fleet),
            plan.map(|(of, _)| of),
            &platform.relay,
            latched,
        ),
        delivering,
    };
    finish(ctx, subscription, verdict, &facts, last, health.as_ref()).await
}

/// Writes the status of a subscription without an instance.
pub async fn orphan(
    ctx: &Context,
    subscription: &WebhookSubscription,
    verdict: &Verdict,
) -> Result<(), Error> {
    let last = report::last(ctx, subscription, subscription.status.as_ref());
    let pending = State::unknown(reason::PENDING, "There is no dispatcher.");
    let facts = SubscriptionFacts { paused: true, programmed: pending.clone(), delivering: pending };
    finish(ctx, subscription, verdict, &facts, last, None).await
}

async fn finish(
    ctx: &Context,
    subscription: &WebhookSubscription,
    verdict: &Verdict,
    facts: &SubscriptionFacts,
    last: Option<WebhookSubscriptionStatus>,
    health: Option<&ObservedHealth>,
) -> Result<(), Error> {
    let previous = last.as_ref().map(|last| last.conditions.as_slice()).unwrap_or_default();
    let now = Time(Timestamp::now());
    let next = WebhookSubscriptionStatus {
        observed_generation: Some(verdict.generation),
        last_failure: last_failure(health, last.as_ref().and_then(|last| last.last_failure.clone())),
        conditions: conditions(verdict, facts).conditions(verdict.generation, previous, &now),
    };
    report::write(ctx, subscription, last.as_ref(), &next).await?;
    report::warn(ctx, subscription, verdict, last.and_then(|last| last.observed_generation)).await;
    Ok(())
}

/// Whether the dispatchers serve the piece of the plan that the subscription is in.
fn served(instance: &Key, key: &Key, family: &Family, fleet: &Fleet) -> State {
    let shard = index_of(&key.0, &key.1);
    let serves =
        || family.revisions.get(&shard).is_some_and(|revision| fleet.serves(instance, shard, revision));
    if fleet.dispatchers.is_empty() {
        State::unknown(reason::PENDING, "No dispatcher is ready yet.")
    } else if serves() {
        State::yes(reason::PROGRAMMED)
    } else {
        State::unknown(reason::PENDING, "The dispatcher does not serve this generation yet.")
    }
}

/// The failure that last turned the state; it stays while deliveries go well again, until the next.
fn last_failure(health: Option<&ObservedHealth>, last: Option<LastFailure>) -> Option<LastFailure> {
    let Some(health) = health.filter(|health| !health.ok) else { return last };
    let time = Timestamp::from_millisecond(i64::try_from(health.since_ms).ok()?).ok()?;
    // The API server keeps whole seconds.
    let time = Timestamp::from_second(time.as_second()).ok()?;
    match last {
        Some(last) if last.time.0 == time => Some(last),
        _ => Some(LastFailure {
            time: Time(time),
            reason: health.message.chars().take(MAX_REASON).collect(),
            attempts: i32::try_from(health.failures).unwrap_or(i32::MAX),
        }),
    }
}

/// What a dispatcher told, held to what a condition may say.
fn trusted(mut health: ObservedHealth) -> ObservedHealth {
    let camel = health.reason.chars().all(|c| c.is_ascii_alphanumeric())
        && health.reason.chars().next().is_some_and(|c| c.is_ascii_uppercase());
    if !health.ok && (!camel || health.reason.len() > 64) {
        reason::INTERNAL_ERROR.clone_into(&mut health.reason);
    }
    health.message = health.message.chars().take(MAX_REASON).collect();
    health
}

//! Conditions of a WebhookSubscription.

use super::chat_instance::RelayFacts;
use super::observed::ObservedHealth;
use super::{PAUSED, state, unless_paused};
use crate::api::conditions::{DELIVERING, Report, State, reason};
use crate::plan::Verdict;
use crate::plan::model::{InstancePlan, SubscriptionPlan};

/// What is known of a WebhookSubscription beside the plan's verdict.
#[derive(Clone, Debug)]
pub struct SubscriptionFacts {
    /// It is not accepted, or a reference does not resolve: nothing of it is delivered.
    pub paused: bool,
    /// Made by [`programmed`](super::programmed), with what else it waits for.
    pub programmed: State,
    /// Made by [`delivering`].
    pub delivering: State,
}

/// The conditions of a WebhookSubscription.
pub fn report(verdict: &Verdict, facts: &SubscriptionFacts) -> Report {
    Report {
        accepted: state(&verdict.accepted),
        resolved_refs: state(&verdict.resolved_refs),
        programmed: unless_paused(facts.paused, &facts.programmed),
        more: vec![(DELIVERING, unless_paused(facts.paused, &facts.delivering))],
    }
}

/// `Programmed`, given what the dispatcher says for itself: it waits for the instance and its relay as well, but stays
/// once it was true of a generation.
pub fn programmed_with_relay(
    served: State,
    instance: Option<&InstancePlan>,
    relay: &RelayFacts,
    latched: bool,
) -> State {
    if latched {
        return State::yes(reason::PROGRAMMED);
    }
    if served.status != Some(true) {
        return served;
    }
    // A paused instance takes no events, and no relay is planned for it.
    if let Some((instance, why)) = instance.and_then(|one| Some((one, one.paused.as_ref()?))) {
        return State::unknown(reason::PENDING, instance_paused(instance, why));
    }
    if relay.delivers() {
        return served;
    }
    State::unknown(
        reason::PENDING,
        "The relay in the platform does not send these events yet; IntakeReady of the ChatInstance says why.",
    )
}

/// `Delivering`: what keeps it from being delivered by intent, else how the last attempt went (`None` before the
/// first). `plan` is `None` for what is in no plan.
pub fn delivering(
    plan: Option<(&InstancePlan, &SubscriptionPlan)>,
    health: Option<&ObservedHealth>,
) -> State {
    let Some((instance, plan)) = plan else { return State::no(reason::PAUSED, PAUSED) };
    if plan.paused.is_some() {
        return State::no(reason::PAUSED, PAUSED);
    }
    if let Some(why) = &instance.paused {
        return State::no(reason::PAUSED, instance_paused(instance, why));
    }
    if plan.suspended {
        return State::no(reason::SUSPENDED, "spec.suspend is true; events are kept.");
    }
    if instance.suspended {
        let message = format!("spec.suspend of ChatInstance {:?} is true; events are kept.", instance.name);
        return State::no(reason::SUSPENDED, message);
    }
    match health {
        None => State::unknown(reason::NO_EVENTS_YET, "Nothing was to be delivered yet."),
        Some(health) if health.ok => State::yes(reason::DELIVERING),
        Some(health) => State::no(&health.reason, health.message.clone()),
    }
}

fn instance_paused(instance: &InstancePlan, why: &str) -> String {
    format!("ChatInstance {:?} is paused: {why}", instance.name)
}

//! From what was found and what was observed to the conditions that people read. Pure: no IO, no clock.
//!
//! The operator, the dispatcher's pod and `standalone` report through this, so that the same state reads the same
//! everywhere.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::conditions::{PROGRAMMED, State, reason};
use crate::plan::Finding;

pub mod chat_instance;
pub mod observed;
pub mod webhook_subscription;

/// What conditions say that follow from another.
pub const PAUSED: &str = "Paused; Accepted and ResolvedRefs say why.";

/// `Programmed` of an object of this generation, given the generation that is served.
pub fn programmed(generation: i64, served: Option<i64>) -> State {
    if served == Some(generation) {
        State::yes(reason::PROGRAMMED)
    } else {
        State::unknown(reason::PENDING, "The dispatcher does not serve this generation yet.")
    }
}

/// Whether `Programmed` was true of this generation already: it stays so, and availability is told elsewhere.
pub fn latched(conditions: &[Condition], generation: i64) -> bool {
    conditions.iter().any(|condition| {
        condition.type_ == PROGRAMMED
            && condition.status == "True"
            && condition.observed_generation == Some(generation)
    })
}

/// A finding of the plan as a condition's state.
pub fn state(finding: &Finding) -> State {
    State { status: Some(finding.status), reason: finding.reason.clone(), message: finding.message.clone() }
}

/// What is not served because of another condition is not programmed either.
fn unless_paused(paused: bool, state: &State) -> State {
    if paused { State::no(reason::PAUSED, PAUSED) } else { state.clone() }
}

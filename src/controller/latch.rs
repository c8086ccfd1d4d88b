//! `Programmed` stays true for a generation that has been served: availability is told elsewhere.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::conditions::PROGRAMMED;

/// Whether this generation has been served already.
pub fn latched(conditions: Option<&[Condition]>, generation: i64) -> bool {
    conditions.unwrap_or_default().iter().any(|condition| {
        condition.type_ == PROGRAMMED
            && condition.status == "True"
            && condition.observed_generation == Some(generation)
    })
}

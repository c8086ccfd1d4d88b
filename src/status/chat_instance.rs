//! Conditions of a ChatInstance.

use super::{PAUSED, state, unless_paused};
use crate::api::conditions::{DISPATCHER_AVAILABLE, INTAKE_READY, REACHABLE, Report, State, reason};
use crate::plan::Verdict;

/// What is known of a ChatInstance beside the plan's verdict.
#[derive(Clone, Debug)]
pub struct InstanceFacts {
    /// It is not accepted, or a reference does not resolve: nothing of it is served.
    pub paused: bool,
    /// Made by [`programmed`](super::programmed), with what else it waits for.
    pub programmed: State,
    /// Whether the platform answers and lets us work.
    pub reachable: State,
    /// Made by [`intake_ready`], or what the relay still lacks.
    pub intake_ready: State,
    /// Whether a dispatcher runs.
    pub dispatcher_available: State,
}

/// What is known of an instance's platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformFacts {
    /// Whether it answers and lets us work.
    pub reachable: State,
    /// How the relay there fares.
    pub relay: RelayFacts,
}

/// How a relay fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayFacts {
    /// Events come in another way.
    NotWanted,
    /// The platform has not been asked.
    Unasked,
    /// The platform cannot be asked.
    Unreachable,
    /// It cannot be installed or put right.
    Refused(State),
    /// It is installed and was not heard with its present configuration.
    Silent {
        /// Where it should say hello.
        intake_url: String,
    },
    /// It says hello with its present configuration.
    Works,
}

impl RelayFacts {
    /// Whether everything that is subscribed to comes.
    pub fn delivers(&self) -> bool {
        matches!(self, Self::NotWanted | Self::Works)
    }
}

/// `IntakeReady`, given what the intake says for itself.
pub fn intake_with_relay(open: State, relay: &RelayFacts) -> State {
    if open.status != Some(true) {
        return open;
    }
    match relay {
        RelayFacts::NotWanted | RelayFacts::Works => open,
        RelayFacts::Unasked => State::unknown(reason::PENDING, "The platform has not been asked yet."),
        RelayFacts::Unreachable => State::no(
            reason::PLATFORM_UNREACHABLE,
            "The relay cannot be looked at; Reachable says why. Events that it sends are taken.",
        ),
        RelayFacts::Refused(state) => state.clone(),
        RelayFacts::Silent { intake_url } => State::no(
            reason::RELAY_SILENT,
            format!(
                "The relay is installed and has not said hello with its present configuration: the platform must reach \
                 {intake_url}; set spec.intake.url where that is not the right address."
            ),
        ),
    }
}

/// The conditions of a ChatInstance.
pub fn report(verdict: &Verdict, facts: &InstanceFacts) -> Report {
    let reachable = match &facts.reachable {
        State { reason, .. } if facts.paused && reason == reason::NOT_PROBED => {
            State::unknown(reason::NOT_PROBED, "Paused: nothing is asked of the platform meanwhile.")
        }
        other => other.clone(),
    };
    Report {
        accepted: state(&verdict.accepted),
        resolved_refs: state(&verdict.resolved_refs),
        programmed: unless_paused(facts.paused, &facts.programmed),
        more: vec![
            (REACHABLE, reachable),
            (INTAKE_READY, unless_paused(facts.paused, &facts.intake_ready)),
            (DISPATCHER_AVAILABLE, facts.dispatcher_available.clone()),
        ],
    }
}

/// `Reachable` where nothing is asked of the platform.
pub fn not_probed() -> State {
    State::unknown(reason::NOT_PROBED, "Events are pushed; nothing is asked of the platform.")
}

/// `IntakeReady` of an instance whose dispatcher takes events by itself; `log_full` is `None` while its log is not open.
pub fn intake_ready(paused: bool, log_full: Option<bool>) -> State {
    match log_full {
        _ if paused => State::no(reason::PAUSED, PAUSED),
        None => State::unknown(reason::PENDING, "Its event log is not open yet."),
        Some(true) => State::no(
            reason::LOG_FULL,
            "The event log is full of unfinished deliveries; see which subscription does not deliver, or give \
             spec.dispatcher.queue.embedded.size more.",
        ),
        Some(false) => State::yes(reason::LISTENING),
    }
}

/// `DispatcherAvailable` of the dispatcher that runs here.
pub fn dispatcher_available(log_open: bool) -> State {
    if log_open {
        State::yes(reason::AVAILABLE)
    } else {
        State::no(reason::UNAVAILABLE, "Its event log is not open yet.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_refuses_events_is_full() {
        let state = |refusing| {
            let state = intake_ready(false, Some(refusing));
            (state.status, state.reason)
        };
        assert_eq!(state(false), (Some(true), "Listening".to_owned()));
        assert_eq!(state(true), (Some(false), "LogFull".to_owned()));
        assert_eq!(intake_ready(true, None).reason, "Paused");
        assert_eq!(intake_ready(false, None).status, None);
    }
}

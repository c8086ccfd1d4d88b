//! Condition types, their reasons, and how a resource's list of them is made.
//!
//! Reasons are a closed set: whoever reads them may rely on it. Messages are sentences without a timestamp or a
//! secret, in a stable order, so that nothing is rewritten while nothing changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The spec is understood and can work.
pub const ACCEPTED: &str = "Accepted";
/// Everything the spec refers to is there and usable.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// The dispatcher serves this generation.
pub const PROGRAMMED: &str = "Programmed";
/// Accepted, ResolvedRefs and Programmed together: what `kubectl wait` and GitOps tools look at.
pub const READY: &str = "Ready";
/// Present and true while work goes on; kstatus reads it as "in progress".
pub const RECONCILING: &str = "Reconciling";
/// Present and true while only a person can help, and waiting cannot; kstatus reads it as "failed".
pub const STALLED: &str = "Stalled";
/// ChatInstance: the platform answers and lets chathooks do its work.
pub const REACHABLE: &str = "Reachable";
/// ChatInstance: events can be posted.
pub const INTAKE_READY: &str = "IntakeReady";
/// ChatInstance: a dispatcher is running.
pub const DISPATCHER_AVAILABLE: &str = "DispatcherAvailable";
/// WebhookSubscription: the last deliveries reached their target.
pub const DELIVERING: &str = "Delivering";

/// Why a condition has its status.
pub mod reason {
    /// Accepted is true.
    pub const ACCEPTED: &str = "Accepted";
    /// Accepted is false: the schema or one of its rules refuses the object.
    /// Programmed is false: what the spec asks for cannot be made.
    pub const INVALID: &str = "Invalid";
    /// Accepted is false: an event pattern cannot be read.
    pub const INVALID_PATTERN: &str = "InvalidPattern";
    /// Accepted is false: `exclude` leaves none of `events`.
    pub const NOTHING_LEFT: &str = "NothingLeft";
    /// Accepted is false: `filter.match` or `filter.expression` cannot be compiled.
    pub const INVALID_FILTER: &str = "InvalidFilter";
    /// Accepted is false: the target's URL or headers cannot be used.
    pub const INVALID_TARGET: &str = "InvalidTarget";
    /// Accepted is false: the ChatInstance's egress rules refuse the target.
    /// Delivering is false: the egress rules refuse the address that the target's name has; the message prints the lines to add.
    /// Reachable is false: the egress rules refuse `spec.url`; the message prints the lines to add.
    pub const EGRESS_REFUSED: &str = "EgressRefused";

    /// ResolvedRefs is true.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// ResolvedRefs is false: there is no such ChatInstance.
    pub const INSTANCE_NOT_FOUND: &str = "InstanceNotFound";
    /// ResolvedRefs is false: the ChatInstance's `attach` does not let this object hang on it.
    pub const REF_NOT_PERMITTED: &str = "RefNotPermitted";
    /// ResolvedRefs is false: there is no such ConfigMap.
    pub const CONFIG_MAP_NOT_FOUND: &str = "ConfigMapNotFound";
    /// ResolvedRefs is false: the ConfigMap's value cannot be used for this.
    pub const INVALID_CONFIG_MAP_VALUE: &str = "InvalidConfigMapValue";
    /// ResolvedRefs is false: there is no such Secret.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// ResolvedRefs is false: the Secret has no such key.
    pub const KEY_NOT_FOUND: &str = "KeyNotFound";
    /// ResolvedRefs is false: the Secret's value cannot be used for this.
    pub const INVALID_SECRET_VALUE: &str = "InvalidSecretValue";
    /// ResolvedRefs is false: a Secret is about to be generated.
    pub const SECRET_PENDING: &str = "SecretPending";
    /// ResolvedRefs is false: a Secret of the generated name exists and is not ours.
    pub const SECRET_NOT_OWNED: &str = "SecretNotOwned";

    /// Programmed is true.
    pub const PROGRAMMED: &str = "Programmed";
    /// The dispatcher has not served this generation yet, or what the condition is about has not been seen yet.
    pub const PENDING: &str = "Pending";
    /// Programmed is false: the object is paused because of another condition.
    /// IntakeReady is false: the ChatInstance is paused because of another condition.
    /// Delivering is false: the subscription or its ChatInstance is paused; `Accepted` and `ResolvedRefs` say why.
    pub const PAUSED: &str = "Paused";
    /// Programmed is false: the volume cannot become what the spec asks for.
    pub const VOLUME_CANNOT_CHANGE: &str = "VolumeCannotChange";
    /// Programmed is false: an object of a name that chathooks needs is somebody else's.
    /// ResolvedRefs is false: a Secret of a name that chathooks needs is somebody else's.
    pub const NOT_OWNED: &str = "NotOwned";
    /// Programmed is false: the Kubernetes API refuses what has to be made.
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// Ready is true.
    pub const READY: &str = "Ready";

    /// Reachable is unknown: nothing here needs to speak to the platform, or the ChatInstance is paused.
    pub const NOT_PROBED: &str = "NotProbed";
    /// Reachable is true: the platform answers and lets chathooks do its work.
    pub const REACHABLE: &str = "Reachable";
    /// Reachable is false: what answers at `spec.url` is not Open WebUI.
    pub const NOT_OPEN_WEB_UI: &str = "NotOpenWebUI";
    /// Reachable is false: the platform's version is older than what chathooks works with.
    pub const VERSION_UNSUPPORTED: &str = "VersionUnsupported";
    /// Reachable is false: the platform, or a proxy before it, answers with an error.
    pub const PLATFORM_ERROR: &str = "PlatformError";
    /// Reachable is false: the platform does not know the API key, or refuses the e-mail address and password.
    pub const UNAUTHORIZED: &str = "Unauthorized";
    /// Reachable is false: the credentials are those of a user who is not an administrator.
    pub const NOT_ADMIN: &str = "NotAdmin";
    /// Reachable is false: API keys are switched off in the platform.
    pub const API_KEYS_OFF: &str = "ApiKeysOff";
    /// Reachable is false: the platform does not let API keys use the paths that chathooks needs.
    pub const API_KEY_RESTRICTED: &str = "ApiKeyRestricted";
    /// Reachable is false: signing in with a password is switched off in the platform.
    pub const PASSWORD_OFF: &str = "PasswordOff";
    /// Reachable is false: the platform wants a second factor of this user.
    pub const SECOND_FACTOR: &str = "SecondFactor";
    /// Reachable is false: the platform has had too many sign-ins and takes none for a while.
    pub const SIGN_IN_LIMITED: &str = "SignInLimited";
    /// Reachable is false: functions are switched off in the platform.
    pub const FUNCTIONS_OFF: &str = "FunctionsOff";

    /// IntakeReady is false: a function with the relay's id is in the platform, and this ChatInstance did not make it.
    pub const RELAY_NOT_OWNED: &str = "RelayNotOwned";
    /// IntakeReady is false: the relay was changed in the platform, and `spec.driftPolicy` leaves it so.
    pub const RELAY_DRIFTED: &str = "RelayDrifted";
    /// IntakeReady is false: the platform did not take the relay.
    pub const RELAY_REFUSED: &str = "RelayRefused";

    /// IntakeReady is true: events are taken.
    pub const LISTENING: &str = "Listening";
    /// IntakeReady is false: the log has no room for new events.
    pub const LOG_FULL: &str = "LogFull";
    /// IntakeReady is false: the platform cannot be asked about the relay.
    pub const PLATFORM_UNREACHABLE: &str = "PlatformUnreachable";
    /// IntakeReady is false: the relay is installed, and the dispatcher has not heard from it.
    pub const RELAY_SILENT: &str = "RelaySilent";
    /// DispatcherAvailable is true.
    pub const AVAILABLE: &str = "Available";
    /// DispatcherAvailable is false: no dispatcher is ready.
    pub const UNAVAILABLE: &str = "Unavailable";

    /// Delivering is true: the last delivery succeeded.
    pub const DELIVERING: &str = "Delivering";
    /// Delivering is unknown: nothing was to be delivered yet.
    pub const NO_EVENTS_YET: &str = "NoEventsYet";
    /// Delivering is false: `suspend` is true here or on the ChatInstance.
    pub const SUSPENDED: &str = "Suspended";
    /// Delivering is false: the target answered 410 and nothing is sent until the spec changes.
    pub const GONE: &str = "Gone";
    /// Delivering is false: the target answered with a status that is not 2xx.
    pub const HTTP_ERROR: &str = "HttpError";
    /// Delivering is false: no answer, or no connection, within the deadline.
    /// Reachable is false: no answer, or no connection, within the deadline.
    pub const TIMEOUT: &str = "Timeout";
    /// Delivering is false: nobody listens at the target.
    /// Reachable is false: nobody listens at `spec.url`.
    pub const CONNECTION_REFUSED: &str = "ConnectionRefused";
    /// Delivering is false: the name does not resolve, the certificate is not trusted, or the network fails.
    /// Reachable is false: the name does not resolve, the certificate is not trusted, or the network fails.
    pub const CONNECTION_FAILED: &str = "ConnectionFailed";
    /// Delivering is false: the connection ended before there was an answer.
    /// Reachable is false: the connection ended before there was an answer.
    pub const CONNECTION_LOST: &str = "ConnectionLost";
    /// Delivering is false: the event's record in the log is damaged or gone.
    pub const EVENT_UNREADABLE: &str = "EventUnreadable";
    /// Delivering is false: a bug of ours; the log tells more.
    /// Reachable is false: a bug of ours; the log tells more.
    pub const INTERNAL_ERROR: &str = "InternalError";
}

/// Status, reason and message of one condition; what is left is bookkeeping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// `None` is Unknown.
    pub status: Option<bool>,
    /// One of [`reason`].
    pub reason: String,
    /// A sentence; empty when all is well.
    pub message: String,
}

impl State {
    /// True, with nothing to say.
    pub fn yes(reason: &str) -> Self {
        Self { status: Some(true), reason: reason.into(), message: String::new() }
    }

    /// False, and why.
    pub fn no(reason: &str, message: impl Into<String>) -> Self {
        Self { status: Some(false), reason: reason.into(), message: message.into() }
    }

    /// Not known yet, and what is waited for.
    pub fn unknown(reason: &str, message: impl Into<String>) -> Self {
        Self { status: None, reason: reason.into(), message: message.into() }
    }
}

/// What is known of an object, before bookkeeping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Is the spec understood?
    pub accepted: State,
    /// Is everything it refers to there?
    pub resolved_refs: State,
    /// Does the dispatcher serve it?
    pub programmed: State,
    /// The kind's own conditions by type, in the order in which they are shown.
    pub more: Vec<(&'static str, State)>,
}

impl Report {
    /// The list for `status.conditions`: the three, Ready, the kind's own, then Reconciling or Stalled while true.
    ///
    /// `previous` is the list as it stands; a condition keeps its `lastTransitionTime` unless its status flips, in
    /// which case it gets `now`.
    pub fn conditions(&self, generation: i64, previous: &[Condition], now: &Time) -> Vec<Condition> {
        let ready = self.ready();
        let progress = self.progress();
        [(ACCEPTED, &self.accepted), (RESOLVED_REFS, &self.resolved_refs), (PROGRAMMED, &self.programmed)]
            .into_iter()
            .chain([(READY, &ready)])
            .chain(self.more.iter().map(|(type_, state)| (*type_, state)))
            .chain(progress.iter().map(|(type_, state)| (*type_, state)))
            .map(|(type_, state)| condition(type_, state, generation, previous, now))
            .collect()
    }

    /// The first of the three that is not true decides; false goes before unknown.
    fn ready(&self) -> State {
        let three = [&self.accepted, &self.resolved_refs, &self.programmed];
        let decisive = three
            .iter()
            .find(|state| state.status == Some(false))
            .or_else(|| three.iter().find(|state| state.status.is_none()));
        decisive.map_or_else(|| State::yes(reason::READY), |state| (*state).clone())
    }

    fn progress(&self) -> Option<(&'static str, State)> {
        let over = |type_, state: &State| (type_, State { status: Some(true), ..state.clone() });
        let of_the_spec = Some(&self.accepted).filter(|state| state.status == Some(false));
        let stuck = || [&self.resolved_refs, &self.programmed].into_iter().find(|state| is_stuck(state));
        if let Some(state) = of_the_spec.or_else(stuck) {
            Some(over(STALLED, state))
        } else if self.ready().status != Some(true) {
            Some(over(RECONCILING, &self.ready()))
        } else {
            None
        }
    }
}

/// Whether waiting cannot help, although the spec is accepted: somebody has to change it, or an object in its way. What
/// is only referred to may come later (a Secret, an instance, its permission), and is waited for.
fn is_stuck(state: &State) -> bool {
    const STUCK: [&str; 5] = [
        reason::VOLUME_CANNOT_CHANGE,
        reason::NOT_OWNED,
        reason::SECRET_NOT_OWNED,
        reason::APPLY_FAILED,
        reason::INVALID,
    ];
    state.status == Some(false) && STUCK.contains(&state.reason.as_str())
}

/// A condition of this generation as it was told last: what counts until its cause has been seen again.
pub fn told(conditions: &[Condition], type_: &str, generation: i64) -> Option<State> {
    let of = |one: &&Condition| one.type_ == type_ && one.observed_generation == Some(generation);
    conditions.iter().find(of).map(|one| State {
        status: match one.status.as_str() {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        },
        reason: one.reason.clone(),
        message: one.message.clone(),
    })
}

fn condition(type_: &str, state: &State, generation: i64, previous: &[Condition], now: &Time) -> Condition {
    let status = match state.status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let since = previous.iter().find(|old| old.type_ == type_ && old.status == status);
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: state.reason.clone(),
        message: shortened(&state.message),
        observed_generation: Some(generation),
        last_transition_time: since.map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
    }
}

/// Longest message that the API server takes is 32768 bytes.
const MAX_MESSAGE: usize = 32_000;

fn shortened(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE / 4).filter(|_| message.len() > MAX_MESSAGE) {
        Some((end, _)) => format!("{} …", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    fn report(accepted: State, programmed: State) -> Report {
        let resolved_refs = State::yes(reason::RESOLVED_REFS);
        Report {
            accepted,
            resolved_refs,
            programmed,
            more: vec![(DELIVERING, State::yes(reason::DELIVERING))],
        }
    }

    fn lines(conditions: &[Condition]) -> Vec<String> {
        conditions
            .iter()
            .map(|c| {
                format!("{} {} {} {}", c.type_, c.status, c.reason, c.last_transition_time.0.as_second())
            })
            .collect()
    }

    #[test]
    fn ready_sums_up_and_progress_is_shown_only_while_true() {
        let pending =
            report(State::yes(reason::ACCEPTED), State::unknown(reason::PENDING, "Not served yet."));
        let first = pending.conditions(1, &[], &at(10));
        assert_eq!(
            lines(&first),
            [
                "Accepted True Accepted 10",
                "ResolvedRefs True ResolvedRefs 10",
                "Programmed Unknown Pending 10",
                "Ready Unknown Pending 10",
                "Delivering True Delivering 10",
                "Reconciling True Pending 10",
            ]
        );

        let served = report(State::yes(reason::ACCEPTED), State::yes(reason::PROGRAMMED));
        let second = served.conditions(1, &first, &at(20));
        assert_eq!(
            lines(&second),
            [
                "Accepted True Accepted 10",
                "ResolvedRefs True ResolvedRefs 10",
                "Programmed True Programmed 20",
                "Ready True Ready 20",
                "Delivering True Delivering 10",
            ]
        );
        assert_eq!(served.conditions(1, &second, &at(30)), second, "no change, no write");
    }

    #[test]
    fn what_only_a_person_can_put_right_is_stalled_and_what_may_come_later_is_waited_for() {
        let progress = |resolved_refs: State, programmed: State| {
            let report = Report { resolved_refs, ..report(State::yes(reason::ACCEPTED), programmed) };
            report.progress().map(|(type_, state)| format!("{type_} {}", state.reason)).unwrap()
        };
        let resolved = || State::yes(reason::RESOLVED_REFS);
        let paused = || State::no(reason::PAUSED, "Paused.");
        let no = |reason: &str| State::no(reason, "Why.");
        assert_eq!(progress(resolved(), no("VolumeCannotChange")), "Stalled VolumeCannotChange");
        assert_eq!(progress(resolved(), no("NotOwned")), "Stalled NotOwned");
        assert_eq!(progress(resolved(), no("ApplyFailed")), "Stalled ApplyFailed");
        assert_eq!(progress(no("SecretNotOwned"), paused()), "Stalled SecretNotOwned");
        assert_eq!(progress(no("SecretNotFound"), paused()), "Reconciling SecretNotFound");
        assert_eq!(progress(no("InvalidSecretValue"), paused()), "Reconciling InvalidSecretValue");
        assert_eq!(progress(no("InstanceNotFound"), paused()), "Reconciling InstanceNotFound");
        assert_eq!(progress(no("RefNotPermitted"), paused()), "Reconciling RefNotPermitted");
    }

    #[test]
    fn a_spec_that_cannot_work_is_stalled() {
        let refused =
            report(State::no(reason::INVALID_FILTER, "Fix it."), State::no(reason::PAUSED, "Paused."));
        let conditions = refused.conditions(3, &[], &at(10));
        let stalled = conditions.last().unwrap();
        assert_eq!(
            (stalled.type_.as_str(), stalled.status.as_str(), stalled.message.as_str()),
            ("Stalled", "True", "Fix it.")
        );
        let ready = conditions.iter().find(|c| c.type_ == READY).unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "InvalidFilter"));
        assert_eq!(ready.observed_generation, Some(3));
    }
}

//! Keeps the relay right: compares what is in the platform with what should be, and writes the difference.
//!
//! It never touches what does not bear our marker, and never calls an endpoint that replaces a whole set.

use std::time::Duration;

use super::auth::Session;
use super::client::Client;
use super::functions::{Function, Functions, Listed, Meta};
use super::probe::{self, functions_off};
use super::relay::{DesiredRelay, RELAY_SOURCE, digest, is_id, is_ours};
use crate::api::conditions::{State, reason};
use crate::plan::platform::{DriftPlan, PlatformCredentials, PlatformPlan};
use crate::platform::{Owner, WriteGate};

/// Longest a removal may take.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Keeps one platform; remembers its session, and what it wrote and read back.
#[derive(Debug, Default)]
pub struct Keeper {
    /// For which address, authorities and credentials the rest was made.
    link: Option<Link>,
    /// Content as written, and as the platform showed it then.
    written: Option<([u8; 32], [u8; 32])>,
}

#[derive(Debug)]
struct Link {
    plan: PlatformPlan,
    client: Client,
    session: Session,
}

/// What one look at the platform has shown and changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformReport {
    /// Whether the platform answers and lets us work.
    pub reachable: State,
    /// The platform's version, where it told.
    pub version: Option<String>,
    /// The relay.
    pub relay: RelayState,
    /// What was changed, one sentence each.
    pub changes: Vec<String>,
    /// HTTP calls made.
    pub calls: u32,
}

/// How the relay stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayState {
    /// None is wanted, and none of ours is there.
    NotWanted,
    /// It could not be seen or written now.
    Unknown(State),
    /// It is installed and switched on.
    Installed {
        /// What a hello must show to be one of this configuration.
        config: String,
    },
    /// It is not as it should be, and stays so until someone acts.
    Refused(State),
}

impl Keeper {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Probes the platform, then makes the relay right: installs, updates, switches on again, or removes it. Writes
    /// only while the gate leaves time, and reads after each write.
    pub async fn sync(&mut self, plan: &PlatformPlan, owner: &Owner, gate: &dyn WriteGate) -> PlatformReport {
        let mut report = PlatformReport {
            reachable: State::yes(reason::REACHABLE),
            version: None,
            relay: RelayState::NotWanted,
            changes: Vec::new(),
            calls: 0,
        };
        let link = match link(&mut self.link, plan) {
            Ok(link) => link,
            Err(state) => {
                report.relay = RelayState::Unknown(state.clone());
                report.reachable = state;
                return report;
            }
        };
        let before = link.client.calls;
        let (version, known) = probe::version(&mut link.client).await;
        report.version = version;
        let listed = match known {
            Ok(()) => probe::functions(&mut link.client, &mut link.session, &plan.credentials).await,
            Err(state) => Err(state),
        };
        match listed {
            Ok((token, listed)) => {
                let api = Functions { client: &mut link.client, token, gate };
                let mut work =
                    Work { api, plan, owner, written: &mut self.written, changes: &mut report.changes };
                report.relay = match work.make_right(&listed).await {
                    Ok(state) => state,
                    Err(state) => judge(state, &mut report.reachable),
                };
            }
            Err(state) => {
                report.relay = RelayState::Unknown(state.clone());
                report.reachable = state;
            }
        }
        report.calls = link.client.calls.wrapping_sub(before);
        report
    }

    /// Removes what is ours. The error is a sentence.
    pub async fn remove(
        &mut self,
        plan: &PlatformPlan,
        owner: &Owner,
        gate: &dyn WriteGate,
    ) -> Result<(), String> {
        let removal = async {
            let link = link(&mut self.link, plan)?;
            let (token, listed) =
                probe::functions(&mut link.client, &mut link.session, &plan.credentials).await?;
            let mut api = Functions { client: &mut link.client, token, gate };
            for function in listed.iter().filter(|one| is_id(&one.id) && is_ours(&one.meta, owner)) {
                api.delete(&function.id).await?;
            }
            Ok(())
        };
        match tokio::time::timeout(REMOVE_TIMEOUT, removal).await {
            Ok(done) => done.map_err(|state: State| state.message),
            Err(_) => {
                Err(format!("The platform gave no answer within {} seconds.", REMOVE_TIMEOUT.as_secs()))
            }
        }
    }
}

/// The client and session for this plan, anew where what they depend on has changed.
fn link<'a>(link: &'a mut Option<Link>, plan: &PlatformPlan) -> Result<&'a mut Link, State> {
    let fits = |old: &Link| {
        let key = |plan: &PlatformPlan| -> (String, Option<String>, PlatformCredentials) {
            (plan.url.clone(), plan.ca_pem.clone(), plan.credentials.clone())
        };
        key(&old.plan) == key(plan) && old.plan.egress == plan.egress
    };
    let kept = link.take().filter(fits);
    let new = match kept {
        Some(kept) => kept,
        None => Link { plan: plan.clone(), client: Client::new(plan)?, session: Session::default() },
    };
    Ok(link.insert(new))
}

/// Where what went wrong belongs: some of it says that the platform is not usable after all.
fn judge(state: State, reachable: &mut State) -> RelayState {
    match state.reason.as_str() {
        reason::PENDING | reason::SUSPENDED => RelayState::Unknown(state),
        reason::RELAY_REFUSED | reason::RELAY_DRIFTED | reason::RELAY_NOT_OWNED => RelayState::Refused(state),
        _ => {
            *reachable = state.clone();
            RelayState::Unknown(state)
        }
    }
}

struct Work<'a> {
    api: Functions<'a>,
    plan: &'a PlatformPlan,
    owner: &'a Owner,
    written: &'a mut Option<([u8; 32], [u8; 32])>,
    changes: &'a mut Vec<String>,
}

impl Work<'_> {
    async fn make_right(&mut self, listed: &[Listed]) -> Result<RelayState, State> {
        let desired = self.plan.relay.as_ref().map(|relay| DesiredRelay::new(relay, self.owner));
        let keep = desired.as_ref().map(|desired| desired.id.as_str());
        for other in listed {
            if Some(other.id.as_str()) != keep && is_id(&other.id) && is_ours(&other.meta, self.owner) {
                self.may_change()?;
                self.api.delete(&other.id).await?;
                self.changes.push(format!("The relay {} was removed from Open WebUI.", other.id));
            }
        }
        let Some(desired) = desired else { return Ok(RelayState::NotWanted) };
        // The list is empty where functions are off, so it does not say whether there is one.
        let found = self.api.get(&desired.id).await?;
        if found.is_some() && !listed.iter().any(|function| function.id == desired.id) {
            return Err(functions_off());
        }
        match found {
            None => self.install(&desired).await?,
            Some(found) => {
                self.owned(&desired.id, &found.meta)?;
                self.compare(&desired, &found).await?;
            }
        }
        Ok(RelayState::Installed { config: desired.config })
    }

    fn owned(&self, id: &str, meta: &Meta) -> Result<(), State> {
        if is_ours(meta, self.owner) {
            return Ok(());
        }
        let whose = match &meta.chathooks {
            Some(marker) if marker.owner.cluster != self.owner.cluster => {
                "bears the marker of a ChatInstance in another cluster or data folder: if that one is gone, delete the function there; else give this ChatInstance another name"
            }
            Some(_) => {
                "bears the marker of another object of chathooks: delete the function there if nothing needs it"
            }
            None => "was not made by chathooks: delete or rename it there",
        };
        Err(State::no(reason::RELAY_NOT_OWNED, format!("The function {id} in Open WebUI {whose}.")))
    }

    fn may_change(&self) -> Result<(), State> {
        if self.plan.suspended {
            let sentence = "The relay in Open WebUI is not as it should be, and spec.suspend leaves it so.";
            return Err(State::unknown(reason::SUSPENDED, sentence));
        }
        Ok(())
    }

    async fn install(&mut self, desired: &DesiredRelay) -> Result<(), State> {
        self.may_change()?;
        let again = self.written.is_some();
        self.api.create(&desired.form()).await?;
        self.read_back(desired).await?;
        self.write_valves(desired).await?;
        self.api.switch_on(&desired.id).await?;
        self.changes.push(format!(
            "The relay {} was {} Open WebUI.",
            desired.id,
            if again { "missing and is installed again in" } else { "installed in" }
        ));
        Ok(())
    }

    /// Finds out what differs, and puts it right where the drift policy says so or the plan is what has changed.
    async fn compare(&mut self, desired: &DesiredRelay, found: &Function) -> Result<(), State> {
        let valves = self.api.valves(&desired.id).await?;
        let content = self.same_content(&found.content);
        let surroundings = desired.same_surroundings(found);
        let same_valves = valves == desired.valves;
        if content && surroundings && same_valves && found.is_active {
            return Ok(());
        }
        let id = &desired.id;
        // Written for another configuration, or not all of it yet: that is work of ours, not drift.
        let ours = found.meta.chathooks.as_ref().is_none_or(|marker| marker.hash != desired.config)
            || valves.is_empty();
        if !ours && self.plan.drift == DriftPlan::Report {
            let what = match (content && surroundings, same_valves) {
                (false, _) => "edited",
                (true, false) => "given other valves",
                (true, true) => "switched off",
            };
            let sentence = format!(
                "The relay {id} was {what} in Open WebUI, and spec.driftPolicy Report leaves it so: put it right there, or set Correct."
            );
            return Err(State::no(reason::RELAY_DRIFTED, sentence));
        }
        self.may_change()?;
        if !content || !surroundings {
            self.api.update(&desired.form()).await?;
            self.read_back(desired).await?;
        }
        if !same_valves {
            self.write_valves(desired).await?;
        }
        if !found.is_active {
            self.api.switch_on(id).await?;
        }
        if ours {
            self.changes.push(format!("The relay {id} was updated in Open WebUI."));
            return Ok(());
        }
        if !content || !surroundings {
            self.changes.push(format!("The relay {id} had been edited in Open WebUI; it was written again."));
        }
        if !same_valves {
            self.changes.push(format!(
                "The valves of the relay {id} had been changed in Open WebUI; they were written again."
            ));
        }
        if !found.is_active {
            self.changes.push(format!(
                "The relay {id} had been switched off in Open WebUI; it was switched on again."
            ));
        }
        Ok(())
    }

    /// The platform may store what it is given in its own form; what it showed right after is right as well.
    fn same_content(&self, found: &str) -> bool {
        found == RELAY_SOURCE
            || self
                .written
                .is_some_and(|(written, read)| written == digest(RELAY_SOURCE) && read == digest(found))
    }

    async fn read_back(&mut self, desired: &DesiredRelay) -> Result<(), State> {
        match self.api.get(&desired.id).await? {
            Some(found) if desired.same_surroundings(&found) => {
                *self.written = Some((digest(RELAY_SOURCE), digest(&found.content)));
                Ok(())
            }
            _ => Err(changed_meanwhile()),
        }
    }

    async fn write_valves(&mut self, desired: &DesiredRelay) -> Result<(), State> {
        self.api.set_valves(&desired.id, &desired.valves).await?;
        if self.api.valves(&desired.id).await? == desired.valves { Ok(()) } else { Err(changed_meanwhile()) }
    }
}

fn changed_meanwhile() -> State {
    State::no(
        reason::RELAY_REFUSED,
        "What was written to the relay was something else right after: does someone else write to it?",
    )
}

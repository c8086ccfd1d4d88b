//! The functions API and its traps: a function is made inactive, `toggle` flips, a missing one is answered 401, a
//! deletion is always confirmed. So every write is followed by a read, and only reads are believed.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::client::{Answer, CALL_TIMEOUT, Client};
use super::probe::functions_off;
use crate::api::conditions::{State, reason};
use crate::plan::model::SensitiveText;
use crate::platform::{Owner, WriteGate};

/// A write begins only with this much time left before the gate closes.
const MIN_WRITE_TIME: Duration = Duration::from_secs(2);

/// A function as the list shows it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Listed {
    pub(super) id: String,
    #[serde(default)]
    pub(super) meta: Meta,
}

/// A function in full, without its valves.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Function {
    pub(super) name: String,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    pub(super) content: String,
    #[serde(default)]
    pub(super) is_active: bool,
    #[serde(default)]
    pub(super) meta: Meta,
}

/// What we look at in a function's `meta`; a marker that cannot be read is none of ours.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Meta {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub(super) chathooks: Option<Marker>,
}

/// Says whose a function is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Marker {
    #[serde(flatten)]
    pub(super) owner: Owner,
    /// What it is to its owner.
    #[serde(default)]
    pub(super) kind: String,
    /// Configuration it was written for.
    #[serde(default)]
    pub(super) hash: String,
}

fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// What is written.
#[derive(Debug, Serialize)]
pub(super) struct Form<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) content: &'a str,
    pub(super) meta: &'a Meta,
    pub(super) commit_message: &'a str,
}

/// Values of valves by name.
pub(super) type Valves = BTreeMap<String, Value>;

/// The API, signed in.
pub(super) struct Functions<'a> {
    pub(super) client: &'a mut Client,
    pub(super) token: SensitiveText,
    pub(super) gate: &'a dyn WriteGate,
}

impl Functions<'_> {
    /// The function; `None` where there is none.
    pub(super) async fn get(&mut self, id: &str) -> Result<Option<Function>, State> {
        let answer = self.read(&format!("/api/v1/functions/id/{id}")).await?;
        match answer.status {
            StatusCode::OK => answer.json().map(Some).ok_or_else(|| self.strange("the function")),
            // Signing in was tried just before, so it is the function that is missing.
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => Ok(None),
            status => Err(self.failed("reading the relay", status)),
        }
    }

    /// Its valves; none set is an empty map.
    pub(super) async fn valves(&mut self, id: &str) -> Result<Valves, State> {
        let answer = self.read(&format!("/api/v1/functions/id/{id}/valves")).await?;
        if answer.status == StatusCode::OK {
            let valves: Option<Valves> = answer.json().ok_or_else(|| self.strange("the valves"))?;
            return Ok(valves.unwrap_or_default());
        }
        Err(self.failed("reading the relay's valves", answer.status))
    }

    /// Makes it, inactive.
    pub(super) async fn create(&mut self, form: &Form<'_>) -> Result<(), State> {
        let answer = self.write("/api/v1/functions/create", Some(form)).await?;
        match answer.status {
            StatusCode::OK => Ok(()),
            // The text says nothing; that of an update of what does not exist says whether code is loaded at all.
            StatusCode::BAD_REQUEST => Err(self.why_not(form).await?),
            status => Err(self.failed("installing the relay", status)),
        }
    }

    /// Writes name, content and meta of one that exists.
    pub(super) async fn update(&mut self, form: &Form<'_>) -> Result<(), State> {
        let answer = self.write(&format!("/api/v1/functions/id/{}/update", form.id), Some(form)).await?;
        match answer.status {
            StatusCode::OK => Ok(()),
            StatusCode::BAD_REQUEST if answer.mentions("ENABLE_FUNCTIONS") => Err(functions_off()),
            StatusCode::BAD_REQUEST => Err(refused()),
            status => Err(self.failed("updating the relay", status)),
        }
    }

    async fn why_not(&mut self, form: &Form<'_>) -> Result<State, State> {
        let answer = self.write(&format!("/api/v1/functions/id/{}/update", form.id), Some(form)).await?;
        Ok(if answer.mentions("ENABLE_FUNCTIONS") { functions_off() } else { refused() })
    }

    /// Replaces its valves.
    pub(super) async fn set_valves(&mut self, id: &str, valves: &Valves) -> Result<(), State> {
        let path = format!("/api/v1/functions/id/{id}/valves/update");
        let answer = self.write(&path, Some(valves)).await?;
        match answer.status {
            StatusCode::OK => Ok(()),
            StatusCode::BAD_REQUEST => Err(refused()),
            status => Err(self.failed("setting the relay's valves", status)),
        }
    }

    /// Switches it on. Reads before and after, as the call flips and others may flip too.
    pub(super) async fn switch_on(&mut self, id: &str) -> Result<(), State> {
        for _ in 0..2 {
            if self.get(id).await?.is_some_and(|function| function.is_active) {
                return Ok(());
            }
            let answer = self.write(&format!("/api/v1/functions/id/{id}/toggle"), None::<&()>).await?;
            if answer.status != StatusCode::OK {
                return Err(self.failed("switching the relay on", answer.status));
            }
        }
        if self.get(id).await?.is_some_and(|function| function.is_active) {
            return Ok(());
        }
        Err(State::no(
            reason::RELAY_REFUSED,
            "The relay was switched on and is off again: does someone else switch it off?",
        ))
    }

    /// Removes it, and looks whether it is gone.
    pub(super) async fn delete(&mut self, id: &str) -> Result<(), State> {
        let token = self.token.0.clone();
        let timeout = self.time_to_write()?;
        let path = format!("/api/v1/functions/id/{id}/delete");
        let answer = self.client.call(Method::DELETE, &path, Some(&token), None::<&()>, timeout).await?;
        if answer.status != StatusCode::OK {
            return Err(self.failed("removing the relay", answer.status));
        }
        match self.get(id).await? {
            None => Ok(()),
            Some(_) => Err(self.strange("the removal of the relay")),
        }
    }

    async fn read(&mut self, path: &str) -> Result<Answer, State> {
        self.client.call(Method::GET, path, Some(&self.token.0), None::<&()>, CALL_TIMEOUT).await
    }

    async fn write(&mut self, path: &str, body: Option<&(impl Serialize + Sync)>) -> Result<Answer, State> {
        let timeout = self.time_to_write()?;
        self.client.call(Method::POST, path, Some(&self.token.0), body, timeout).await
    }

    /// How long a write that begins now may take.
    fn time_to_write(&self) -> Result<Duration, State> {
        let left = self.gate.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match left {
            Some(left) if left >= MIN_WRITE_TIME => Ok(left.min(CALL_TIMEOUT)),
            _ => Err(State::unknown(
                reason::PENDING,
                "Another process of chathooks is about to write to the platform.",
            )),
        }
    }

    fn strange(&self, what: &str) -> State {
        State::no(
            reason::PLATFORM_ERROR,
            format!("{} answered {what} with something else.", self.client.host),
        )
    }

    fn failed(&self, what: &str, status: StatusCode) -> State {
        let sentence = format!("{} answered HTTP {} to {what}.", self.client.host, status.as_u16());
        State::no(reason::PLATFORM_ERROR, sentence)
    }
}

fn refused() -> State {
    State::no(reason::RELAY_REFUSED, "Open WebUI could not load the relay: its log says why.")
}

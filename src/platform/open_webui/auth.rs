//! Signing in: an API key as it is, or a token for a password, kept as long as the platform takes it.
//!
//! A sign-in is an event of the platform and is limited there, so failed ones are repeated ever more slowly.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::client::{CALL_TIMEOUT, Client};
use crate::api::conditions::{State, reason};
use crate::plan::model::SensitiveText;
use crate::plan::platform::PlatformCredentials;

/// Least time between a sign-in and the next, where the token of the first did not last.
const LEAST_PAUSE: Duration = Duration::from_secs(10);
/// Least time between a failed sign-in and the next.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
/// Longest time between two failed sign-ins.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

/// What is known of the sign-in.
#[derive(Debug, Default)]
pub(super) struct Session {
    token: Option<SensitiveText>,
    /// Before when there is no further sign-in, and what the last one came to.
    pause: Option<(Instant, State)>,
    failures: u32,
}

#[derive(Serialize)]
struct SignIn<'a> {
    email: &'a str,
    password: &'a str,
}

#[derive(Deserialize)]
struct SignedIn {
    token: Option<String>,
    role: Option<String>,
}

impl Session {
    /// What to send as the bearer.
    pub(super) async fn token(
        &mut self,
        client: &mut Client,
        credentials: &PlatformCredentials,
    ) -> Result<SensitiveText, State> {
        let (email, password) = match credentials {
            PlatformCredentials::ApiKey(key) => return Ok(key.clone()),
            PlatformCredentials::Password { email, password } => (email, password),
        };
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        if let Some((until, last)) = &self.pause
            && Instant::now() < *until
        {
            return Err(last.clone());
        }
        match sign_in(client, &email.0, &password.0).await {
            Ok(token) => {
                self.failures = 0;
                let early = State::no(
                    reason::UNAUTHORIZED,
                    "Open WebUI ended the session right after the sign-in: another one follows in some seconds.",
                );
                self.pause = Some((Instant::now() + LEAST_PAUSE, early));
                self.token = Some(token.clone());
                Ok(token)
            }
            Err(state) => {
                // Where nobody answered, nothing was counted there either.
                if refused(&state) {
                    let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(4)).min(LONGEST_PAUSE);
                    self.failures = self.failures.saturating_add(1);
                    self.pause = Some((Instant::now() + pause, state.clone()));
                }
                Err(state)
            }
        }
    }

    /// The platform no longer takes the token: the next call signs in again.
    /// Says whether that may help.
    pub(super) fn expired(&mut self) -> bool {
        self.token.take().is_some()
    }
}

fn refused(state: &State) -> bool {
    ![reason::CONNECTION_REFUSED, reason::CONNECTION_FAILED, reason::CONNECTION_LOST, reason::TIMEOUT]
        .contains(&state.reason.as_str())
}

async fn sign_in(client: &mut Client, email: &str, password: &str) -> Result<SensitiveText, State> {
    let form = SignIn { email, password };
    let answer = client.call(Method::POST, "/api/v1/auths/signin", None, Some(&form), CALL_TIMEOUT).await?;
    let (reason, sentence) = match answer.status {
        StatusCode::OK => match answer.json::<SignedIn>() {
            Some(SignedIn { token: Some(token), role }) if role.as_deref() == Some("admin") => {
                return Ok(SensitiveText(token));
            }
            Some(SignedIn { token: Some(_), .. }) => (
                reason::NOT_ADMIN,
                "The user of spec.credentials.password is not an administrator: give them the role admin in Open WebUI.",
            ),
            Some(SignedIn { token: None, .. }) => (
                reason::SECOND_FACTOR,
                "Open WebUI wants a second factor of this user: use an API key in spec.credentials.apiKey, or a user without one.",
            ),
            None => (
                reason::NOT_OPEN_WEB_UI,
                "The answer to the sign-in is not one of Open WebUI: look at spec.url.",
            ),
        },
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::UNPROCESSABLE_ENTITY => (
            reason::UNAUTHORIZED,
            "Open WebUI refuses the e-mail address or the password of spec.credentials.password: correct them in the Secret.",
        ),
        StatusCode::FORBIDDEN => (
            reason::PASSWORD_OFF,
            "Signing in with a password is off in Open WebUI (ENABLE_PASSWORD_AUTH): use an API key in spec.credentials.apiKey.",
        ),
        StatusCode::TOO_MANY_REQUESTS => (
            reason::SIGN_IN_LIMITED,
            "Open WebUI has had too many sign-ins for this e-mail address: it is tried again after a while.",
        ),
        status => {
            let sentence = format!("{} answered the sign-in with HTTP {}.", client.host, status.as_u16());
            return Err(State::no(reason::PLATFORM_ERROR, sentence));
        }
    };
    Err(State::no(reason, sentence))
}

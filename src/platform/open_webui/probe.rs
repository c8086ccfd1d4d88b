//! What is there, and whether it lets us work: one sentence for each thing that is missing.

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::auth::Session;
use super::client::{Answer, CALL_TIMEOUT, Client};
use super::functions::Listed;
use crate::api::conditions::{State, reason};
use crate::plan::model::SensitiveText;
use crate::plan::platform::PlatformCredentials;

/// Oldest version that has Event functions.
const OLDEST: (u32, u32) = (0, 10);
/// Longest version that is shown.
const MAX_VERSION: usize = 32;

#[derive(Deserialize)]
struct Version {
    version: String,
}

/// The version, where it is one that chathooks works with. The first of the two is known also where it is too old.
pub(super) async fn version(client: &mut Client) -> (Option<String>, Result<(), State>) {
    let answer = match client.call(Method::GET, "/api/version", None, None::<&()>, CALL_TIMEOUT).await {
        Ok(answer) => answer,
        Err(state) => return (None, Err(state)),
    };
    let host = &client.host;
    let status = answer.status;
    if status.is_redirection() {
        let sentence = format!(
            "{host} answered with a redirect, and redirects are not followed: write the final address into spec.url."
        );
        return (None, Err(State::no(reason::PLATFORM_ERROR, sentence)));
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let sentence =
            format!("{host} answered HTTP {}: is the platform starting, or down?", status.as_u16());
        return (None, Err(State::no(reason::PLATFORM_ERROR, sentence)));
    }
    let found = answer.json::<Version>().filter(|_| status.is_success());
    let Some((version, number)) = found
        .and_then(|found| Some((number(&found.version)?, found.version)))
        .map(|(number, version)| (version, number))
    else {
        let sentence = format!("What answers at {host} is not Open WebUI: look at spec.url.");
        return (None, Err(State::no(reason::NOT_OPEN_WEB_UI, sentence)));
    };
    if number < OLDEST {
        let sentence = format!(
            "{host} is Open WebUI {version}, and chathooks needs 0.10.0 or later: upgrade it, or set spec.intake.mode to Push."
        );
        return (Some(version), Err(State::no(reason::VERSION_UNSUPPORTED, sentence)));
    }
    (Some(version), Ok(()))
}

/// Major and minor of `0.12.4`, `v0.12.4` or `0.12.4-dev`; `None` where it is no version.
fn number(version: &str) -> Option<(u32, u32)> {
    let plain = version.len() <= MAX_VERSION
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+_".contains(&byte));
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (plain && parts.next().is_some()).then_some((major, minor))
}

/// Signs in, and lists the functions: what only an administrator may.
pub(super) async fn functions(
    client: &mut Client,
    session: &mut Session,
    credentials: &PlatformCredentials,
) -> Result<(SensitiveText, Vec<Listed>), State> {
    loop {
        let token = session.token(client, credentials).await?;
        let answer = get(client, "/api/v1/functions/list", &token).await?;
        match answer.status {
            StatusCode::OK => {
                let listed = answer.json::<Vec<Listed>>().ok_or_else(|| {
                    let sentence =
                        format!("{} answered the list of functions with something else.", client.host);
                    State::no(reason::PLATFORM_ERROR, sentence)
                })?;
                return Ok((token, listed));
            }
            StatusCode::UNAUTHORIZED => {
                // What every user may, this one may as well: then it is not the credentials.
                if get(client, "/api/v1/functions/", &token).await?.status.is_success() {
                    return Err(State::no(
                        reason::NOT_ADMIN,
                        "The user of spec.credentials is not an administrator: give them the role admin in Open WebUI.",
                    ));
                }
                if !session.expired() {
                    return Err(State::no(
                        reason::UNAUTHORIZED,
                        "Open WebUI does not know the API key of spec.credentials.apiKey: make a new one there and put it into the Secret.",
                    ));
                }
            }
            StatusCode::FORBIDDEN => return Err(forbidden(&answer)),
            status => {
                let sentence =
                    format!("{} answered the list of functions with HTTP {}.", client.host, status.as_u16());
                return Err(State::no(reason::PLATFORM_ERROR, sentence));
            }
        }
    }
}

async fn get(client: &mut Client, path: &str, token: &SensitiveText) -> Result<Answer, State> {
    client.call(Method::GET, path, Some(&token.0), None::<&()>, CALL_TIMEOUT).await
}

/// API keys are off, or their paths restricted; the platform answers both with the same status.
fn forbidden(answer: &Answer) -> State {
    if answer.mentions("Use of API key is not enabled") {
        State::no(
            reason::API_KEYS_OFF,
            "API keys are off in Open WebUI: set ENABLE_API_KEYS=true, or switch them on in its admin settings.",
        )
    } else {
        State::no(
            reason::API_KEY_RESTRICTED,
            "Open WebUI does not let API keys use /api/v1/functions: add that path to API_KEYS_ALLOWED_ENDPOINTS, or lift the restriction in its admin settings.",
        )
    }
}

/// Functions are off.
pub(super) fn functions_off() -> State {
    State::no(
        reason::FUNCTIONS_OFF,
        "Functions are off in Open WebUI: set ENABLE_PLUGINS=true and ENABLE_FUNCTIONS=true, which are its defaults.",
    )
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn versions() {
        assert_eq!(number("0.12.4"), Some((0, 12)));
        assert_eq!(number("v0.9.6"), Some((0, 9)));
        assert_eq!(number("1.0.0-rc.1"), Some((1, 0)));
        assert_eq!(number("1.36"), None);
        assert_eq!(number("0.12.4 <b>"), None);
        assert_eq!(number("latest"), None);
    }
}

//! Where a subscription delivers to: URL, headers, authentication.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{ParseError, Url};

use super::egress;
use super::model::{EgressPlan, HttpTargetPlan, SensitiveText, TargetPlan};
use super::secrets::Secrets;
use super::verdict::Judgement;
use crate::api::conditions::reason;
use crate::api::webhook_subscription::{HttpTarget, TargetAuth};

/// Said of the port of any URL.
pub(super) const BAD_PORT: &str =
    "the port of this URL is not a number from 1 to 65535; correct it, or leave it out.";
/// Longest URL, in characters.
const MAX_URL: usize = 2048;

/// An HTTP endpoint; `None` if something is wrong, which `found` then says.
pub(super) fn http(
    http: &HttpTarget,
    egress: Option<&EgressPlan>,
    secrets: Secrets<'_>,
    found: &mut Judgement,
) -> Option<TargetPlan> {
    let url = url(http, egress, secrets, found);
    let headers = headers(http, secrets, found);
    let authorization = authorization(http, secrets, found);
    let (url, mut headers, authorization) = (url?, headers?, authorization?);
    headers.extend(authorization.map(|value| ("Authorization".to_owned(), SensitiveText(value))));
    Some(TargetPlan::Http(HttpTargetPlan {
        url: SensitiveText(url.into()),
        method: http.method.as_str().into(),
        headers,
    }))
}

fn url(
    http: &HttpTarget,
    egress: Option<&EgressPlan>,
    secrets: Secrets<'_>,
    found: &mut Judgement,
) -> Option<Url> {
    let (field, parsed) = match (&http.url, &http.url_from) {
        (Some(url), None) => {
            let field = "spec.target.http.url";
            let parsed = parse_url(url);
            if let Err(problem) = &parsed {
                found.refuse(reason::INVALID_TARGET, format!("{field}: {problem}"));
            }
            (field, parsed)
        }
        (None, Some(from)) => {
            let field = "spec.target.http.urlFrom.secretRef";
            let text = secrets.any_text(field, &from.secret_ref, found)?;
            let parsed = parse_url(&text);
            if let Err(problem) = &parsed {
                let at = &from.secret_ref;
                let sentence = format!("{field}: Secret {:?}, key {:?}: {problem}", at.name, at.key);
                found.unresolved(reason::INVALID_SECRET_VALUE, sentence);
            }
            (field, parsed)
        }
        (None, None) | (Some(_), Some(_)) => {
            found.refuse(reason::INVALID_TARGET, "spec.target.http: name exactly one of url and urlFrom.");
            return None;
        }
    };
    let url = parsed.ok()?;
    if let Some(Err(refusals)) = egress.map(|egress| egress::judge_url(&url, egress)) {
        found.refuse(reason::EGRESS_REFUSED, format!("{field}: {}", egress::explain(&refusals)));
        return None;
    }
    Some(url)
}

/// The message never holds the URL: it may be a secret.
fn parse_url(text: &str) -> Result<Url, &'static str> {
    if text.chars().count() > MAX_URL {
        return Err("the URL is longer than 2048 characters; shorten it.");
    }
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        Err(ParseError::InvalidPort) => {
            return Err(BAD_PORT);
        }
        Err(_) if text.trim().contains(char::is_whitespace) => {
            return Err("there is a space or a line break in this URL; remove it, or write %20.");
        }
        Ok(_) | Err(_) => {
            return Err("this is not an absolute URL that begins with http:// or https://; write one.");
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL holds a user name or password; put them into spec.target.http.auth.basic.");
    }
    Ok(url)
}

fn headers(
    http: &HttpTarget,
    secrets: Secrets<'_>,
    found: &mut Judgement,
) -> Option<Vec<(String, SensitiveText)>> {
    let mut headers = Vec::new();
    for (index, header) in http.headers.iter().enumerate() {
        let field = format!("spec.target.http.headers[{index}]");
        let value = match (&header.value, &header.value_from) {
            (Some(value), None) => {
                if header.name.eq_ignore_ascii_case("authorization") {
                    found.warn(format!(
                        "{field}: anyone who may read this object reads the credentials; use auth, or valueFrom."
                    ));
                }
                Some(value.clone())
            }
            (None, Some(from)) => {
                secrets.header(&format!("{field}.valueFrom.secretRef"), &from.secret_ref, found)
            }
            (None, None) | (Some(_), Some(_)) => {
                let sentence = format!("{field}: name exactly one of value and valueFrom.");
                found.refuse(reason::INVALID_TARGET, sentence);
                None
            }
        };
        headers.extend(value.map(|value| (header.name.clone(), SensitiveText(value))));
    }
    (headers.len() == http.headers.len()).then_some(headers)
}

/// The value of the `Authorization` header: `Some(None)` where none is asked for, `None` where it cannot be made.
#[allow(clippy::option_option)]
fn authorization(http: &HttpTarget, secrets: Secrets<'_>, found: &mut Judgement) -> Option<Option<String>> {
    let field = "spec.target.http.auth";
    match &http.auth {
        None => Some(None),
        Some(TargetAuth::Bearer(from)) => {
            let token = secrets.token(&format!("{field}.bearer.secretRef"), &from.secret_ref, found)?;
            Some(Some(format!("Bearer {token}")))
        }
        Some(TargetAuth::Basic(basic)) => {
            let user = &basic.username_from.secret_ref;
            let user = secrets.user_name(&format!("{field}.basic.usernameFrom.secretRef"), user, found);
            let password = &basic.password_from.secret_ref;
            let password =
                secrets.password(&format!("{field}.basic.passwordFrom.secretRef"), password, found);
            Some(Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", user?, password?)))))
        }
    }
}

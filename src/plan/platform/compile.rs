//! What a ChatInstance wants of its platform.

use sha2::{Digest as _, Sha256};
use url::{ParseError, Url};

use super::{DriftPlan, IntakeAddresses, PlatformCredentials, PlatformPlan, RelayPlan, intake_url};
use crate::api::chat_instance::{ChatInstanceSpec, Credentials, DriftPolicy, IntakeMode, Platform};
use crate::api::conditions::reason;
use crate::hex::hex;
use crate::plan::egress;
use crate::plan::model::{EgressPlan, InstancePlan, SensitiveText};
use crate::plan::secrets::{ConfigMaps, Secrets};
use crate::plan::target::BAD_PORT;
use crate::plan::verdict::Judgement;
use crate::plan::{Inputs, Key};

/// What is known of the wish before the subscriptions are.
#[derive(Clone, Debug)]
pub(in crate::plan) struct Wish {
    plan: PlatformPlan,
}

impl Wish {
    /// The wish with what the relay has to send.
    pub(in crate::plan) fn with_patterns(mut self, patterns: Vec<String>) -> PlatformPlan {
        if let Some(relay) = &mut self.plan.relay {
            relay.patterns = patterns;
        }
        self.plan
    }
}

/// What the spec wants of its platform; `None` where nothing is to be asked of it, or where something does not
/// resolve, which `found` then says.
pub(in crate::plan) fn wish(
    spec: &ChatInstanceSpec,
    key: &Key,
    plan: &InstancePlan,
    inputs: &Inputs,
    found: &mut Judgement,
) -> Option<Wish> {
    let mode = spec.intake_mode();
    let relay = (mode == IntakeMode::Relay).then(|| relay(spec, key, plan, &inputs.intake, found));
    let (Platform::OpenWebUI, Some(url)) = (spec.platform, &spec.url) else { return None };
    // Judged also where nothing asks there yet.
    let reached = platform_url(url, &plan.egress, found);
    let credentials = spec.credentials.as_ref()?;
    let ca_pem = ca(spec, key, inputs, found);
    let secrets = Secrets { all: &inputs.secrets, namespace: &key.0 };
    let credentials = sign_in(credentials, secrets, found);
    let relay = match relay {
        Some(relay) => Some(relay?),
        None => None,
    };
    let (url, egress) = reached?;
    let plan = PlatformPlan {
        namespace: key.0.clone(),
        name: key.1.clone(),
        url,
        ca_pem: ca_pem?,
        credentials: credentials?,
        egress,
        suspended: spec.suspend,
        drift: match spec.drift_policy {
            DriftPolicy::Correct => DriftPlan::Correct,
            DriftPolicy::Report => DriftPlan::Report,
        },
        resync_ms: spec.resync_interval.as_millis(),
        relay,
    };
    Some(Wish { plan })
}

fn relay(
    spec: &ChatInstanceSpec,
    key: &Key,
    plan: &InstancePlan,
    addresses: &IntakeAddresses,
    found: &mut Judgement,
) -> Option<RelayPlan> {
    let intake_url = intake_url(spec, key, addresses).ok();
    if spec.intake.auth.as_ref().is_some_and(|auth| auth.standard_webhooks.is_none()) {
        found.refuse(
            reason::INVALID,
            "spec.intake.auth: the relay signs what it sends, so that no token lies in the platform: add \
             standardWebhooks, or leave auth out and a Secret is made.",
        );
        return None;
    }
    // A key that is missing was told where the intake was compiled.
    let signing_key = plan.intake.signing_keys.first()?.clone();
    Some(RelayPlan {
        function_id: function_id(key),
        intake_url: intake_url?,
        signing_key,
        patterns: Vec::new(),
    })
}

/// A Python identifier in lower case, as the platform wants it; the same wherever the object has this name.
fn function_id((namespace, name): &Key) -> String {
    let digest = Sha256::digest(format!("{namespace}/{name}"));
    let short = hex(digest.get(..5).unwrap_or_default());
    format!("chathooks_relay_{short}")
}

fn platform_url(text: &str, egress: &EgressPlan, found: &mut Judgement) -> Option<(String, EgressPlan)> {
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        Err(ParseError::InvalidPort) => {
            found.refuse(reason::INVALID, format!("spec.url: {BAD_PORT}"));
            return None;
        }
        _ => {
            let sentence =
                "spec.url: this is not an absolute URL that begins with http:// or https://; write one.";
            found.refuse(reason::INVALID, sentence);
            return None;
        }
    };
    if url.query().is_some() || url.fragment().is_some() {
        found.refuse(reason::INVALID, "spec.url: it holds a query or a fragment; leave them out.");
        return None;
    }
    let own = egress::for_platform(egress, &url);
    if let Err(refusals) = egress::judge_url(&url, &own) {
        found.refuse(reason::EGRESS_REFUSED, format!("spec.url: {}", egress::explain(&refusals)));
        return None;
    }
    Some((url.as_str().trim_end_matches('/').to_owned(), own))
}

fn sign_in(
    credentials: &Credentials,
    secrets: Secrets<'_>,
    found: &mut Judgement,
) -> Option<PlatformCredentials> {
    match (&credentials.api_key, &credentials.password) {
        (Some(from), None) => {
            let key = secrets.token("spec.credentials.apiKey.secretRef", &from.secret_ref, found)?;
            Some(PlatformCredentials::ApiKey(SensitiveText(key)))
        }
        (None, Some(from)) => {
            let field = "spec.credentials.password";
            let email =
                secrets.any_text(&format!("{field}.emailFrom.secretRef"), &from.email_from.secret_ref, found);
            let password = &from.password_from.secret_ref;
            let password = secrets.any_text(&format!("{field}.passwordFrom.secretRef"), password, found);
            Some(PlatformCredentials::Password {
                email: SensitiveText(email?),
                password: SensitiveText(password?),
            })
        }
        (None, None) | (Some(_), Some(_)) => {
            found.refuse(reason::INVALID, "spec.credentials: name exactly one of apiKey and password.");
            None
        }
    }
}

/// `Some(None)` where none is asked for, `None` where it cannot be had.
#[allow(clippy::option_option)]
fn ca(spec: &ChatInstanceSpec, key: &Key, inputs: &Inputs, found: &mut Judgement) -> Option<Option<String>> {
    let Some(tls) = &spec.tls else { return Some(None) };
    let config_maps = ConfigMaps { all: &inputs.config_maps, namespace: &key.0 };
    let pem = config_maps.certificates("spec.tls.caFrom.configMapRef", &tls.ca_from.config_map_ref, found)?;
    Some(Some(pem))
}

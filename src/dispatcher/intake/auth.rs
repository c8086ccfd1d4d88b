//! Who sends: a bearer token, or a Standard Webhooks signature over the body as it came.
//!
//! Comparisons take the same time whatever the sender guessed right. Refusals say what to send, never what was close.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use crate::dispatcher::bearer::{self, is_right, single, unauthorized};
use crate::dispatcher::problem::Problem;
use crate::plan::model::{IntakePlan, Sensitive};

/// How far a signature's time may be from ours, in seconds, both ways.
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
const TOLERANCE: u64 = 5 * 60;

/// Signatures of one request that are looked at: some keys under rotation, not a way to make us compute.
const MAX_SIGNATURES: usize = 16;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What the head of a request proves.
pub(super) enum Credential {
    /// The right token.
    Bearer,
    /// Nothing yet: the body must match one of these signatures.
    Signed(Signed),
}

/// A signature whose headers are well-formed and fresh.
pub(super) struct Signed {
    /// `id.timestamp.`, which precedes the body in what is signed.
    prefix: Vec<u8>,
    signatures: Vec<[u8; 32]>,
}

/// Judges the head of a request; `path_token` is the last segment of the path, decoded, where the path has one.
pub(super) fn judge(
    plan: &IntakePlan,
    path_token: Option<&[u8]>,
    headers: &HeaderMap,
    now: i64,
) -> Result<Credential, Problem> {
    // A token in the path is the token: nothing else is looked at.
    if let Some(token) = path_token {
        let right = is_right(&plan.bearer_tokens, token);
        return right
            .then_some(Credential::Bearer)
            .ok_or_else(|| unauthorized("The token in the path is wrong."));
    }
    let bearer = bearer::given(headers);
    if bearer.is_some_and(|token| is_right(&plan.bearer_tokens, token)) {
        return Ok(Credential::Bearer);
    }
    if headers.contains_key(WEBHOOK_SIGNATURE) && !plan.signing_keys.is_empty() {
        return signed(headers, now).map(Credential::Signed).map_err(unauthorized);
    }
    Err(unauthorized(if bearer.is_some() {
        "The bearer token is wrong."
    } else {
        "Send the instance's token as `Authorization: Bearer <token>`, or sign the request as Standard Webhooks \
         describes (webhook-id, webhook-timestamp, webhook-signature)."
    }))
}

/// Reads the headers of a signature; the error is a sentence.
fn signed(headers: &HeaderMap, now: i64) -> Result<Signed, &'static str> {
    let (Some(id), Some(timestamp), Some(signatures)) = (
        single(headers, &WEBHOOK_ID),
        single(headers, &WEBHOOK_TIMESTAMP),
        single(headers, &WEBHOOK_SIGNATURE),
    ) else {
        return Err("A signed request needs webhook-id, webhook-timestamp and webhook-signature, once each.");
    };
    let seconds = std::str::from_utf8(timestamp).ok().and_then(|text| text.parse::<i64>().ok());
    let Some(seconds) = seconds else {
        return Err("webhook-timestamp must be Unix seconds.");
    };
    if seconds.abs_diff(now) > TOLERANCE {
        return Err("webhook-timestamp is more than five minutes from now; check the sender's clock.");
    }
    let signatures: Vec<_> = signatures
        .split(|byte| *byte == b' ')
        .filter_map(|signature| signature.strip_prefix(b"v1,"))
        .filter_map(|encoded| STANDARD.decode(encoded).ok()?.try_into().ok())
        .take(MAX_SIGNATURES)
        .collect();
    if id.is_empty() || signatures.is_empty() {
        return Err("webhook-signature must hold `v1,` and the base64 of an HMAC-SHA256.");
    }
    Ok(Signed { prefix: [id, b".", timestamp, b"."].concat(), signatures })
}

impl Signed {
    /// Whether one of the signatures was made with one of the keys over this body.
    pub(super) fn verify(&self, keys: &[Sensitive], body: &[u8]) -> Result<(), Problem> {
        let mut right = Choice::from(0);
        for key in keys {
            // HMAC takes keys of any length.
            let Ok(mac) = Hmac::<Sha256>::new_from_slice(&key.0) else { continue };
            let expected = mac.chain_update(&self.prefix).chain_update(body).finalize().into_bytes();
            for signature in &self.signatures {
                right |= expected.as_slice().ct_eq(signature);
            }
        }
        if bool::from(right) {
            return Ok(());
        }
        Err(unauthorized(
            "The signature matches no key of the instance; sign the body exactly as it is sent.",
        ))
    }
}

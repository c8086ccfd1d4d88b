//! Values that are kept in Secrets: found, trimmed, and checked for what they are to be used as.
//!
//! No message holds any part of a value.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::model::Sensitive;
use super::names::nearest;
use super::verdict::Judgement;
use super::{Key, SecretInput, WantedSecret};
use crate::api::conditions::reason;
use crate::api::{ConfigMapKeyRef, SecretKeyRef};

/// Bytes a Standard Webhooks signing key may have.
///
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#symmetric>
const SIGNING_KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Key of a generated Secret that holds a bearer token.
pub(super) const TOKEN_KEY: &str = "token";

/// Key of a generated Secret that holds a signing secret.
pub(super) const SIGNING_KEY: &str = "signing-secret";

/// The Secrets that one object may refer to.
#[derive(Clone, Copy)]
pub(super) struct Secrets<'a> {
    /// Every Secret that is known, of all namespaces.
    pub(super) all: &'a BTreeMap<Key, SecretInput>,
    /// The object's namespace.
    pub(super) namespace: &'a str,
}

impl<'a> Secrets<'a> {
    /// A token: visible ASCII without spaces, as in an `Authorization` header.
    pub(super) fn token(&self, field: &str, at: &SecretKeyRef, found: &mut Judgement) -> Option<String> {
        self.text(field, at, "a token consists of visible ASCII characters without spaces", found, |text| {
            text.bytes().all(|b| b.is_ascii_graphic())
        })
    }

    /// The value of a header: visible ASCII, with spaces or tabs inside.
    pub(super) fn header(&self, field: &str, at: &SecretKeyRef, found: &mut Judgement) -> Option<String> {
        let demand = "a header's value consists of visible ASCII characters, without spaces at its ends";
        self.text(field, at, demand, found, |text| {
            text.trim() == text && text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
        })
    }

    /// A user name of basic authentication (RFC 7617, section 2).
    pub(super) fn user_name(&self, field: &str, at: &SecretKeyRef, found: &mut Judgement) -> Option<String> {
        let demand = "a user name holds neither control characters nor a colon";
        self.text(field, at, demand, found, |text| !text.chars().any(|c| c.is_control() || c == ':'))
    }

    /// A password of basic authentication.
    pub(super) fn password(&self, field: &str, at: &SecretKeyRef, found: &mut Judgement) -> Option<String> {
        let demand = "a password holds no control characters";
        self.text(field, at, demand, found, |text| !text.chars().any(char::is_control))
    }

    /// Anything that is text.
    pub(super) fn any_text(&self, field: &str, at: &SecretKeyRef, found: &mut Judgement) -> Option<String> {
        self.text(field, at, "it must be text", found, |_| true)
    }

    /// The key of Standard Webhooks signatures, decoded.
    pub(super) fn signing_key(
        &self,
        field: &str,
        at: &SecretKeyRef,
        found: &mut Judgement,
    ) -> Option<Sensitive> {
        let text = self.any_text(field, at, found)?;
        let encoded = text.strip_prefix("whsec_").unwrap_or(&text);
        let problem = match STANDARD.decode(encoded) {
            Ok(key) if SIGNING_KEY_BYTES.contains(&key.len()) => return Some(Sensitive(key)),
            Ok(key) => format!("this one decodes to {} bytes", key.len()),
            Err(_) => "this one is not base64".into(),
        };
        found.unresolved(
            reason::INVALID_SECRET_VALUE,
            format!(
                "{field}: Secret {:?}, key {:?}: a signing secret is whsec_ followed by base64 of 24 to 64 bytes, or \
                 the base64 alone; {problem}. `echo whsec_$(openssl rand -base64 32)` makes one.",
                at.name, at.key
            ),
        );
        None
    }

    /// A Secret that chathooks makes when none is named: asked for if it, or a key of it, is not there yet.
    /// `field` is where the user could name one instead.
    pub(super) fn generated(
        &self,
        field: &str,
        name: &str,
        keys: &[&str],
        found: &mut Judgement,
        wanted: &mut Vec<WantedSecret>,
    ) -> bool {
        let missing: Vec<String> = match self.all.get(&(self.namespace.to_owned(), name.to_owned())) {
            Some(secret) if !secret.generated => {
                found.unresolved(
                    reason::SECRET_NOT_OWNED,
                    format!(
                        "Secret {name:?} exists and was not made by chathooks, so it is neither used nor overwritten: \
                         name it in {field}, or give it another name."
                    ),
                );
                return false;
            }
            Some(secret) => {
                keys.iter().filter(|key| !secret.data.contains_key(**key)).map(|key| (*key).into()).collect()
            }
            None => keys.iter().map(|key| (*key).into()).collect(),
        };
        if missing.is_empty() {
            return true;
        }
        found.unresolved(reason::SECRET_PENDING, format!("Secret {name:?} is being made."));
        wanted.push(WantedSecret { namespace: self.namespace.into(), name: name.into(), keys: missing });
        false
    }

    fn text(
        &self,
        field: &str,
        at: &SecretKeyRef,
        demand: &str,
        found: &mut Judgement,
        fits: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let bytes = self.bytes(field, at, found)?;
        let place = format!("{field}: Secret {:?}, key {:?}", at.name, at.key);
        let Ok(text) = std::str::from_utf8(bytes) else {
            found.unresolved(
                reason::INVALID_SECRET_VALUE,
                format!("{place}: it is not UTF-8 text; {demand}."),
            );
            return None;
        };
        let trimmed = text.trim_end_matches(['\n', '\r']);
        if trimmed.is_empty() {
            found.unresolved(reason::INVALID_SECRET_VALUE, format!("{place} is empty; put a value there."));
            return None;
        }
        if !fits(trimmed) {
            found.unresolved(reason::INVALID_SECRET_VALUE, format!("{place}: {demand}; this one does not."));
            return None;
        }
        if trimmed.len() < text.len() {
            found.warn(format!("{place} ends in a newline, which is left out; `echo -n` writes none."));
        }
        Some(trimmed.to_owned())
    }

    fn bytes(&self, field: &str, at: &SecretKeyRef, found: &mut Judgement) -> Option<&'a [u8]> {
        let Some(secret) = self.all.get(&(self.namespace.to_owned(), at.name.clone())) else {
            let hint = self.other_secret(&at.name);
            found.unresolved(
                reason::SECRET_NOT_FOUND,
                format!("{field}: there is no Secret {:?} in namespace {:?}{hint}", at.name, self.namespace),
            );
            return None;
        };
        let Some(value) = secret.data.get(&at.key) else {
            let hint = other_key(&at.key, secret);
            found.unresolved(
                reason::KEY_NOT_FOUND,
                format!("{field}: Secret {:?} has no key {:?}{hint}", at.name, at.key),
            );
            return None;
        };
        Some(value)
    }

    fn other_secret(&self, name: &str) -> String {
        let here = self.all.keys().filter(|(namespace, _)| namespace == self.namespace);
        if let Some(near) = nearest(name, here.map(|(_, name)| name.as_str())) {
            return format!("; did you mean {near:?}?");
        }
        match self.all.keys().find(|(_, other)| other == name) {
            Some((namespace, _)) => {
                format!("; the one in namespace {namespace:?} cannot be used from here: copy it.")
            }
            None => "; create it, or name another.".into(),
        }
    }
}

/// The ConfigMaps that one object may refer to.
#[derive(Clone, Copy)]
pub(super) struct ConfigMaps<'a> {
    /// Every ConfigMap that is known, of all namespaces.
    pub(super) all: &'a BTreeMap<Key, BTreeMap<String, Vec<u8>>>,
    /// The object's namespace.
    pub(super) namespace: &'a str,
}

impl ConfigMaps<'_> {
    /// Certificates of authorities as PEM.
    pub(super) fn certificates(
        self,
        field: &str,
        at: &ConfigMapKeyRef,
        found: &mut Judgement,
    ) -> Option<String> {
        let Some(values) = self.all.get(&(self.namespace.to_owned(), at.name.clone())) else {
            let here = self.all.keys().filter(|(namespace, _)| namespace == self.namespace);
            let hint = nearest(&at.name, here.map(|(_, name)| name.as_str())).map_or_else(
                || "; create it, or name another.".into(),
                |near| format!("; did you mean {near:?}?"),
            );
            found.unresolved(
                reason::CONFIG_MAP_NOT_FOUND,
                format!(
                    "{field}: there is no ConfigMap {:?} in namespace {:?}{hint}",
                    at.name, self.namespace
                ),
            );
            return None;
        };
        let Some(value) = values.get(&at.key) else {
            let hint = nearest(&at.key, values.keys().map(String::as_str))
                .map_or_else(|| ".".into(), |near| format!("; did you mean {near:?}?"));
            found.unresolved(
                reason::KEY_NOT_FOUND,
                format!("{field}: ConfigMap {:?} has no key {:?}{hint}", at.name, at.key),
            );
            return None;
        };
        let text = std::str::from_utf8(value).ok();
        let Some(pem) = text.filter(|text| text.contains("-----BEGIN CERTIFICATE-----")) else {
            found.unresolved(
                reason::INVALID_CONFIG_MAP_VALUE,
                format!(
                    "{field}: ConfigMap {:?}, key {:?}: this is no certificate; put PEM there, which begins with \
                     -----BEGIN CERTIFICATE-----.",
                    at.name, at.key
                ),
            );
            return None;
        };
        Some(pem.to_owned())
    }
}

fn other_key(key: &str, secret: &SecretInput) -> String {
    /// Keys that are listed where none is near.
    const LISTED: usize = 5;
    if let Some(near) = nearest(key, secret.data.keys().map(String::as_str)) {
        return format!("; did you mean {near:?}?");
    }
    let keys: Vec<String> = secret.data.keys().take(LISTED).map(|key| format!("{key:?}")).collect();
    if keys.is_empty() { "; it is empty.".into() } else { format!("; it has {}.", keys.join(", ")) }
}

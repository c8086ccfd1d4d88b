//! One ChatInstance.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::model::{EgressPlan, InstancePlan, IntakePlan, Sensitive};
use super::secrets::{SIGNING_KEY, Secrets, TOKEN_KEY};
use super::verdict::Judgement;
use super::{Key, SecretInput, WantedSecret};
use crate::api::chat_instance::{ChatInstanceSpec, Dispatcher, Egress, PlainHttp, Queue};
use crate::api::conditions::reason;
use crate::api::{ChatInstance, SecretKeyRef};

/// Compiles an instance that passed admission; problems are added to `found`. Its subscriptions are added later, and
/// `paused` by whoever has found all there is.
pub(super) fn compile(
    instance: &ChatInstance,
    key: &Key,
    generation: i64,
    secrets: &BTreeMap<Key, SecretInput>,
    wanted: &mut Vec<WantedSecret>,
    found: &mut Judgement,
) -> InstancePlan {
    let secrets = Secrets { all: secrets, namespace: &key.0 };
    let intake = intake(&instance.spec, &key.1, secrets, found, wanted);
    let egress = egress(&instance.spec.dispatcher.egress, found);
    InstancePlan {
        suspended: instance.spec.suspend,
        intake,
        egress,
        ..blank(key, generation, None, &instance.spec.dispatcher)
    }
}

/// The entry of an instance that admission refused: nobody may post, nothing is delivered.
pub(super) fn rejected(key: &Key, generation: i64, paused: Option<String>) -> InstancePlan {
    InstancePlan { rejected: true, ..blank(key, generation, paused, &Dispatcher::default()) }
}

fn blank(
    (namespace, name): &Key,
    generation: i64,
    paused: Option<String>,
    dispatcher: &Dispatcher,
) -> InstancePlan {
    let Queue::Embedded(queue) = &dispatcher.queue;
    InstancePlan {
        namespace: namespace.clone(),
        name: name.clone(),
        generation,
        paused,
        rejected: false,
        suspended: false,
        intake: IntakePlan { bearer_tokens: Vec::new(), signing_keys: Vec::new() },
        queue_bytes: queue.size.as_bytes(),
        retention_delivered_ms: dispatcher.retention.delivered.as_millis(),
        retention_dead_letter_ms: dispatcher.retention.dead_letter.as_millis(),
        egress: EgressPlan::default(),
        admin_tokens: Vec::new(),
        subscriptions: Vec::new(),
    }
}

fn intake(
    spec: &ChatInstanceSpec,
    name: &str,
    secrets: Secrets<'_>,
    found: &mut Judgement,
    wanted: &mut Vec<WantedSecret>,
) -> IntakePlan {
    let mut plan = IntakePlan { bearer_tokens: Vec::new(), signing_keys: Vec::new() };
    let mut token = |field: &str, at: &SecretKeyRef, found: &mut Judgement| {
        let token = secrets.token(field, at, found);
        plan.bearer_tokens.extend(token.map(|token| Sensitive(token.into_bytes())));
    };
    let mut key = |field: &str, at: &SecretKeyRef, found: &mut Judgement| {
        plan.signing_keys.extend(secrets.signing_key(field, at, found));
    };
    let Some(auth) = &spec.intake.auth else {
        let secret = format!("{name}-intake");
        let field = "spec.intake.auth";
        if secrets.generated(field, &secret, &[TOKEN_KEY, SIGNING_KEY], found, wanted) {
            token(field, &SecretKeyRef { name: secret.clone(), key: TOKEN_KEY.into() }, found);
            key(field, &SecretKeyRef { name: secret, key: SIGNING_KEY.into() }, found);
        }
        return plan;
    };
    if let Some(bearer) = &auth.bearer {
        token("spec.intake.auth.bearer.secretRef", &bearer.secret_ref, found);
    }
    for (index, at) in auth.standard_webhooks.iter().flat_map(|auth| &auth.secret_refs).enumerate() {
        key(&format!("spec.intake.auth.standardWebhooks.secretRefs[{index}]"), at, found);
    }
    plan
}

fn egress(egress: &Egress, found: &mut Judgement) -> EgressPlan {
    let mut nets = |field: &str, texts: &[String]| {
        let mut nets = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match text.parse::<IpNet>() {
                Ok(net) => nets.push(net.trunc()),
                Err(_) => found.refuse(
                    reason::INVALID,
                    format!(
                        "spec.dispatcher.egress.{field}[{index}]: {text:?} is not an address range; write it as \
                         10.0.0.0/8 or fd00::/8."
                    ),
                ),
            }
        }
        nets
    };
    EgressPlan {
        plain_http: egress.plain_http == PlainHttp::Allow,
        allowed_cidrs: nets("allowedCIDRs", &egress.allowed_cidrs),
        denied_cidrs: nets("deniedCIDRs", &egress.denied_cidrs),
        allowed_hosts: egress.allowed_hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
    }
}

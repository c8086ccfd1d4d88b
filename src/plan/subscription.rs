//! One WebhookSubscription.

use std::collections::BTreeMap;

use super::model::{EgressPlan, MatchPlan, PathEquals, Sensitive, SubscriptionPlan};
use super::secrets::{SIGNING_KEY, Secrets};
use super::verdict::Judgement;
use super::{Key, SecretInput, WantedSecret, target, warnings};
use crate::api::chat_instance::Platform;
use crate::api::conditions::reason;
use crate::api::webhook_subscription::{Delivery, SigningScheme, Target, WebhookSubscriptionSpec};
use crate::api::{SecretKeyRef, WebhookSubscription};
use crate::event::filter::Filter;
use crate::event::pattern::Pattern;

/// What a subscription needs to know of its ChatInstance.
#[derive(Clone, Copy)]
pub(super) struct Instance<'a> {
    /// Which platform; `None` if admission refused the instance.
    pub(super) platform: Option<Platform>,
    /// Where deliveries may go; `None` if admission refused the instance, and then nothing is judged.
    pub(super) egress: Option<&'a EgressPlan>,
}

/// Compiles a subscription that passed admission; problems are added to `found`.
pub(super) fn compile(
    subscription: &WebhookSubscription,
    key: &Key,
    generation: i64,
    instance: Instance<'_>,
    secrets: &BTreeMap<Key, SecretInput>,
    wanted: &mut Vec<WantedSecret>,
    found: &mut Judgement,
) -> SubscriptionPlan {
    let spec = &subscription.spec;
    let secrets = Secrets { all: secrets, namespace: &key.0 };
    let rules = rules(spec, instance.platform, found);
    let Target::Http(http) = &spec.target;
    let target = target::http(http, instance.egress, secrets, found);
    let signing_keys = signing_keys(spec, &key.1, secrets, found, wanted);
    let paused = found.paused();
    SubscriptionPlan {
        identity: subscription.metadata.uid.clone().unwrap_or_else(|| identity(key)),
        suspended: spec.suspend,
        rules,
        target: target.filter(|_| paused.is_none()),
        signing_keys,
        ..blank(key, generation, paused, &spec.delivery)
    }
}

/// The entry of a subscription that is more than a plan holds: paused, without what it would send.
pub(super) fn without_content(plan: SubscriptionPlan, paused: Option<String>) -> SubscriptionPlan {
    SubscriptionPlan { paused, target: None, signing_keys: Vec::new(), ..plan }
}

/// The entry of a subscription that admission refused: every event is kept, within the default backlog.
pub(super) fn rejected(key: &Key, generation: i64, paused: Option<String>) -> SubscriptionPlan {
    SubscriptionPlan { rejected: true, ..blank(key, generation, paused, &Delivery::default()) }
}

fn blank(key: &Key, generation: i64, paused: Option<String>, delivery: &Delivery) -> SubscriptionPlan {
    SubscriptionPlan {
        identity: identity(key),
        namespace: key.0.clone(),
        name: key.1.clone(),
        generation,
        paused,
        rejected: false,
        suspended: false,
        rules: everything(),
        target: None,
        signing_keys: Vec::new(),
        timeout_ms: delivery.timeout.as_millis(),
        retry_schedule_ms: delivery.retry.schedule.iter().map(|step| step.as_millis()).collect(),
        retry_jitter_percent: u8::try_from(delivery.retry.jitter).unwrap_or(0),
        concurrency: u32::try_from(delivery.concurrency).unwrap_or(1),
        backlog_max_age_ms: delivery.backlog.max_age.as_millis(),
        backlog_max_bytes: delivery.backlog.max_bytes.as_bytes(),
    }
}

fn identity((namespace, name): &Key) -> String {
    format!("{namespace}/{name}")
}

fn everything() -> MatchPlan {
    MatchPlan { events: vec!["*".into()], exclude: Vec::new(), equals: Vec::new(), expression: None }
}

fn rules(spec: &WebhookSubscriptionSpec, platform: Option<Platform>, found: &mut Judgement) -> MatchPlan {
    let mut rules = everything();
    let events = patterns("spec.events", &spec.events, found);
    let exclude = patterns("spec.exclude", &spec.exclude, found);
    if let (Some(events), Some(exclude)) = (events, exclude) {
        if warnings::leaves_nothing(&events, &exclude, platform) {
            found.refuse(
                reason::NOTHING_LEFT,
                "spec.exclude takes away everything that spec.events asks for: narrow exclude, or widen events.",
            );
        }
        if let Some(platform) = platform {
            warnings::unknown_names("spec.events", &events, platform, found);
            warnings::unknown_names("spec.exclude", &exclude, platform, found);
        }
        rules.events.clone_from(&spec.events);
        rules.exclude.clone_from(&spec.exclude);
    }
    if let Some(filter) = spec.filter.as_ref().filter(|filter| compiles(filter, found)) {
        let equals = filter.equals.iter();
        rules.equals =
            equals.map(|one| PathEquals { path: one.path.clone(), value: one.value.clone() }).collect();
        rules.expression.clone_from(&filter.expression);
    }
    rules
}

/// Whether every part of the filter can be compiled; each is tried alone, so that the message names its field.
fn compiles(filter: &crate::api::webhook_subscription::Filter, found: &mut Judgement) -> bool {
    let mut all = true;
    let mut part = |field: String, compiled: Result<Filter, String>| {
        if let Err(problem) = compiled {
            all = false;
            found.refuse(reason::INVALID_FILTER, format!("{field}: {problem}"));
        }
    };
    for (index, one) in filter.equals.iter().enumerate() {
        let equals = [(one.path.as_str(), one.value.as_str())];
        part(format!("spec.filter.match[{index}]"), Filter::compile(&equals, None));
    }
    if let Some(expression) = &filter.expression {
        part("spec.filter.expression".into(), Filter::compile(&[], Some(expression)));
    }
    all
}

/// The patterns in their order; `None` if one cannot be read.
fn patterns(field: &str, texts: &[String], found: &mut Judgement) -> Option<Vec<Pattern>> {
    let mut patterns = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        match Pattern::parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(problem) => found.refuse(reason::INVALID_PATTERN, format!("{field}[{place}]: {problem}")),
        }
    }
    (patterns.len() == texts.len()).then_some(patterns)
}

fn signing_keys(
    spec: &WebhookSubscriptionSpec,
    name: &str,
    secrets: Secrets<'_>,
    found: &mut Judgement,
    wanted: &mut Vec<WantedSecret>,
) -> Vec<Sensitive> {
    let field = "spec.signing.secretRefs";
    if spec.signing.scheme == SigningScheme::None {
        return Vec::new();
    }
    if spec.signing.secret_refs.is_empty() {
        let secret = format!("{name}-signing");
        if !secrets.generated(field, &secret, &[SIGNING_KEY], found, wanted) {
            return Vec::new();
        }
        let at = SecretKeyRef { name: secret, key: SIGNING_KEY.into() };
        return secrets.signing_key(field, &at, found).into_iter().collect();
    }
    let refs = spec.signing.secret_refs.iter().enumerate();
    refs.filter_map(|(index, at)| secrets.signing_key(&format!("{field}[{index}]"), at, found)).collect()
}

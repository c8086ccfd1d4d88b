//! All objects together.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::model::{InstancePlan, PLAN_VERSION, Plan, SubscriptionPlan};
use super::names::nearest;
use super::platform::{PlatformPlan, Wish, check_intake_url, union, wish};
use super::subscription::Instance;
use super::verdict::Judgement;
use super::{Inputs, Key, Outcome, Rejected, Verdict, WantedSecret, attach, instance, shards, subscription};
use crate::api::WebhookSubscription;
use crate::api::chat_instance::{AttachRule, Platform};
use crate::api::conditions::reason;

const CHAT_INSTANCE: &str = "ChatInstance";
const WEBHOOK_SUBSCRIPTION: &str = "WebhookSubscription";

/// Where objects without a namespace live.
const DEFAULT_NAMESPACE: &str = "default";

/// Turns everything that is known into the plan for the dispatchers and a verdict per object.
///
/// One rule for bad input: an object that is not accepted, or whose references do not resolve, is paused and says
/// why; nothing else is touched. Where an object stands twice, the first one counts, and one that passed admission
/// goes before one that did not.
pub fn compile(inputs: &Inputs) -> Outcome {
    let mut compiler = Compiler {
        inputs,
        complete: !inputs.unreadable,
        instances: BTreeMap::new(),
        wanted: Vec::new(),
        verdicts: Vec::new(),
    };
    compiler.compile_instances();
    compiler.compile_subscriptions();
    let platforms = compiler.instances.values().filter_map(KnownInstance::platform_plan).collect();
    let instances = compiler.instances.into_values().map(|known| known.plan).collect();
    Outcome {
        plan: Plan { version: PLAN_VERSION, complete: compiler.complete, instances },
        verdicts: compiler.verdicts,
        platforms,
        wanted_secrets: compiler.wanted,
    }
}

struct Compiler<'a> {
    inputs: &'a Inputs,
    /// See [`Plan::complete`].
    complete: bool,
    instances: BTreeMap<Key, KnownInstance<'a>>,
    wanted: Vec<WantedSecret>,
    verdicts: Vec<Verdict>,
}

struct KnownInstance<'a> {
    plan: InstancePlan,
    /// `None` if admission refused the instance.
    platform: Option<Platform>,
    attach: &'a [AttachRule],
    wish: Option<Wish>,
}

impl KnownInstance<'_> {
    fn platform_plan(&self) -> Option<PlatformPlan> {
        let subscribed = self.plan.subscriptions.iter().flat_map(|one| &one.rules.events);
        self.wish.clone().map(|wish| wish.with_patterns(union(subscribed.map(String::as_str))))
    }
}

/// An object of one kind, whether or not it passed admission.
enum Object<'a, T> {
    Admitted(&'a T),
    Rejected(&'a Rejected),
}

impl Compiler<'_> {
    fn compile_instances(&mut self) {
        let inputs = self.inputs;
        let objects = sorted(&inputs.instances, |one| &one.metadata, &inputs.rejected, CHAT_INSTANCE);
        for (key, object) in objects {
            let (known, found) = match object {
                Object::Admitted(one) => {
                    let generation = generation(&one.metadata);
                    let mut found = Judgement::default();
                    let secrets = &inputs.secrets;
                    let mut plan =
                        instance::compile(one, &key, generation, secrets, &mut self.wanted, &mut found);
                    check_intake_url(&one.spec, &mut found);
                    let wish = wish(&one.spec, &key, &plan, inputs, &mut found);
                    plan.paused = found.paused();
                    let platform = Some(one.spec.platform);
                    let wish = wish.filter(|_| plan.paused.is_none());
                    (KnownInstance { plan, platform, attach: &one.spec.attach, wish }, found)
                }
                Object::Rejected(one) => {
                    let found = refused(one);
                    let plan = instance::rejected(&key, one.generation, found.paused());
                    (KnownInstance { plan, platform: None, attach: &[], wish: None }, found)
                }
            };
            self.verdicts.push(found.verdict(CHAT_INSTANCE, &key, known.plan.generation));
            self.instances.insert(key, known);
        }
    }

    fn compile_subscriptions(&mut self) {
        let inputs = self.inputs;
        let objects =
            sorted(&inputs.subscriptions, |one| &one.metadata, &inputs.rejected, WEBHOOK_SUBSCRIPTION);
        for (key, object) in objects {
            match object {
                Object::Admitted(one) => {
                    let mut found = Judgement::default();
                    let instance_key = instance_key(one, &key);
                    let known = self.instances.get(&instance_key);
                    let permitted = match known {
                        None => {
                            let sentence = self.no_such_instance(&instance_key, &key.0);
                            found.unresolved(reason::INSTANCE_NOT_FOUND, sentence);
                            true
                        }
                        // Nobody may be shut out by rules that cannot be read.
                        Some(known) if known.platform.is_none() => instance_key.0 == key.0,
                        Some(known) => {
                            let labels = inputs.namespaces.get(&key.0);
                            let events = &one.spec.events;
                            attach::webhook_subscription(
                                &instance_key,
                                known.attach,
                                &key.0,
                                labels,
                                events,
                                &mut found,
                            )
                        }
                    };
                    let generation = generation(&one.metadata);
                    if !permitted && instance_key.0 != key.0 {
                        // Nothing of it may take up room there, and so nothing else of it is judged.
                        self.verdicts.push(found.verdict(WEBHOOK_SUBSCRIPTION, &key, generation));
                        continue;
                    }
                    let instance = Instance {
                        platform: known.and_then(|known| known.platform),
                        egress: known
                            .filter(|known| known.platform.is_some())
                            .map(|known| &known.plan.egress),
                    };
                    let mut plan = subscription::compile(
                        one,
                        &key,
                        generation,
                        instance,
                        &inputs.secrets,
                        &mut self.wanted,
                        &mut found,
                    );
                    if let Err(sentence) = shards::fits(&plan) {
                        found.refuse(reason::INVALID, sentence);
                        plan = subscription::without_content(plan, found.paused());
                    }
                    // Shut out from the instance's own namespace, it is paused like anything that is not right.
                    self.attach(&instance_key, plan);
                    self.verdicts.push(found.verdict(WEBHOOK_SUBSCRIPTION, &key, generation));
                }
                Object::Rejected(one) => {
                    let found = refused(one);
                    // A reference that cannot be read leads nowhere, like one that is misspelt.
                    let instance = one.instance.clone().unwrap_or_default();
                    let plan = subscription::rejected(&key, one.generation, found.paused());
                    self.attach(&instance, plan);
                    self.verdicts.push(found.verdict(WEBHOOK_SUBSCRIPTION, &key, one.generation));
                }
            }
        }
    }

    /// Without an instance there are no events, and so nothing to plan; but where it was served until a slip in its
    /// reference, its backlog must not be taken for one of a subscription that is gone.
    fn attach(&mut self, instance: &Key, plan: SubscriptionPlan) {
        match self.instances.get_mut(instance) {
            Some(known) => known.plan.subscriptions.push(plan),
            None => self.complete = false,
        }
    }

    /// `from` is the namespace of whoever looks for it.
    fn no_such_instance(&self, (namespace, name): &Key, from: &str) -> String {
        let all = || self.instances.keys().chain(&self.inputs.elsewhere);
        let here = all().filter(|(other, _)| other == namespace);
        let hint = if let Some(near) = nearest(name, here.map(|(_, name)| name.as_str())) {
            format!("; did you mean {near:?}?")
        } else if let Some((other, _)) = all().find(|(other, same)| same == name && other != namespace) {
            if other == from {
                "; the one in this namespace is meant when instanceRef.namespace is left out.".into()
            } else {
                format!(
                    "; if you mean the one in namespace {other:?}, write spec.instanceRef.namespace: {other}, and its spec.attach must allow it."
                )
            }
        } else {
            "; create it, or name another.".into()
        };
        format!("spec.instanceRef.name: there is no ChatInstance {name:?} in namespace {namespace:?}{hint}")
    }
}

/// The ChatInstance that a subscription names.
pub fn instance_key(subscription: &WebhookSubscription, key: &Key) -> Key {
    let at = &subscription.spec.instance_ref;
    (at.namespace.clone().unwrap_or_else(|| key.0.clone()), at.name.clone())
}

/// Objects of one kind by namespace and name.
fn sorted<'a, T>(
    admitted: &'a [T],
    metadata: impl Fn(&T) -> &ObjectMeta,
    rejected: &'a [Rejected],
    kind: &str,
) -> BTreeMap<Key, Object<'a, T>> {
    let mut objects = BTreeMap::new();
    for one in admitted {
        objects.entry(key(metadata(one))).or_insert(Object::Admitted(one));
    }
    for one in rejected.iter().filter(|one| one.kind == kind) {
        objects.entry(one.key.clone()).or_insert(Object::Rejected(one));
    }
    objects
}

fn key(metadata: &ObjectMeta) -> Key {
    let namespace = metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    (namespace.into(), metadata.name.clone().unwrap_or_default())
}

/// An object that no API server has seen is in its first generation.
fn generation(metadata: &ObjectMeta) -> i64 {
    metadata.generation.unwrap_or(1)
}

fn refused(one: &Rejected) -> Judgement {
    let mut found = Judgement::default();
    for problem in &one.problems {
        found.refuse(reason::INVALID, problem.as_str());
    }
    if one.problems.is_empty() {
        found.refuse(reason::INVALID, "The object does not fit its schema.");
    }
    found
}

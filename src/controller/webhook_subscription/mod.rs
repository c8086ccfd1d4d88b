//! WebhookSubscription: its plan goes with its ChatInstance's; what is left to do is to report.

use std::sync::Arc;

use kube::runtime::controller::Action;

use crate::api::conditions::reason;
use crate::api::{ChatInstance, WebhookSubscription};
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::controller::stores::{key_of, reference};
use crate::plan::{Finding, Inputs, Verdict, compile, instance_key};

pub mod status;

/// Brings the status of one WebhookSubscription up to what is known.
pub async fn reconcile(subscription: Arc<WebhookSubscription>, ctx: Arc<Context>) -> Result<Action, Error> {
    if !ctx.leadership.is_leader() || subscription.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let key = key_of(&*subscription);
    let instance = instance_key(&subscription, &key);
    if ctx.stores.instances.get(&reference::<ChatInstance>(&instance)).is_none() {
        let verdict = without_instance(&ctx, &subscription);
        status::orphan(&ctx, &subscription, &verdict).await?;
        return Ok(Action::await_change());
    }
    // Until its instance has been compiled with it there is nothing to say; then it is looked at again.
    if let Some(family) = ctx.families.get(&instance)
        && let Some(verdict) = family.verdict(&key)
        && Some(verdict.generation) == subscription.metadata.generation
    {
        status::write(&ctx, &instance, &key, &subscription, &family, verdict).await?;
    }
    Ok(Action::await_change())
}

/// The verdict on a subscription whose instance is not there: that alone, since nothing else can be judged.
fn without_instance(ctx: &Context, subscription: &WebhookSubscription) -> Verdict {
    // Only of its own namespace: what others have is nothing that a stranger may learn by misspelling it.
    let here = subscription.metadata.namespace.as_ref();
    let instances = ctx.stores.instances.state_filter(|one| one.metadata.namespace.as_ref() == here);
    let elsewhere = instances.iter().map(|one| key_of(&**one)).collect();
    let inputs = Inputs { subscriptions: vec![subscription.clone()], elsewhere, ..Inputs::default() };
    let mut verdicts = compile(&inputs).verdicts;
    let (namespace, name) = key_of(subscription);
    let mut verdict = verdicts.pop().unwrap_or_else(|| Verdict {
        kind: "WebhookSubscription".into(),
        namespace,
        name,
        generation: subscription.metadata.generation.unwrap_or(1),
        accepted: finding(reason::ACCEPTED, None),
        resolved_refs: finding(
            reason::INSTANCE_NOT_FOUND,
            Some("spec.instanceRef: there is no such ChatInstance."),
        ),
        warnings: Vec::new(),
    });
    let first = verdict.resolved_refs.problems.iter().find(|(found, _)| found == reason::INSTANCE_NOT_FOUND);
    if let Some((found, sentence)) = first.cloned() {
        verdict.resolved_refs = finding(&found, Some(&sentence));
    }
    verdict
}

fn finding(reason: &str, message: Option<&str>) -> Finding {
    Finding {
        status: message.is_none(),
        reason: reason.to_owned(),
        message: message.unwrap_or_default().to_owned(),
        problems: Vec::new(),
    }
}

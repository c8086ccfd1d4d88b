//! Compiles; makes the Secrets that are wanted, and compiles again.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use kube::{Api, Resource as _};

use super::build::Owner;
use crate::api::{ChatInstance, WebhookSubscription};
use crate::controller::context::Context;
use crate::controller::ensure::leaving;
use crate::controller::error::Error;
use crate::controller::stores::{INSTANCE, key_of};
use crate::controller::write::{create, merge_data, read};
use crate::generated::random_value;
use crate::plan::model::Sensitive;
use crate::plan::{Inputs, Key, Outcome, SecretInput, WantedSecret, compile};

/// Key of the Secret that opens the administrator's port.
const TOKEN: &str = "token";

/// Rounds of compiling and making Secrets; one is enough unless a plan asks for more because of what was made.
const ROUNDS: usize = 3;

/// Secrets that are made side by side: a thousand one by one would take longer than a reconcile may.
const SIDE_BY_SIDE: usize = 16;

/// A Secret as it is now; without content where there is none to use.
type Made = (Key, Option<SecretInput>);

/// What is compiled once every Secret that can be made is there.
pub async fn compile_with_secrets(
    ctx: &Context,
    owner: &Owner<'_>,
    inputs: &mut Inputs,
) -> Result<Outcome, Error> {
    let token = admin_token(ctx, owner, inputs).await?;
    let mut outcome = compile(inputs);
    for _ in 0..ROUNDS {
        if outcome.wanted_secrets.is_empty() {
            break;
        }
        let making: Vec<_> =
            outcome.wanted_secrets.iter().map(|wanted| make(ctx, owner, inputs, wanted)).collect();
        let made: Vec<_> = stream::iter(making).buffered(SIDE_BY_SIDE).try_collect().await?;
        for made in made {
            note(inputs, made);
        }
        outcome = compile(inputs);
    }
    for instance in &mut outcome.plan.instances {
        instance.admin_tokens = vec![Sensitive(token.clone())];
    }
    Ok(outcome)
}

async fn admin_token(ctx: &Context, owner: &Owner<'_>, inputs: &mut Inputs) -> Result<Vec<u8>, Error> {
    let at: Key = (owner.key.0.clone(), format!("{}-admin", owner.key.1));
    let known =
        |inputs: &Inputs| inputs.secrets.get(&at).filter(|secret| secret.generated)?.data.get(TOKEN).cloned();
    if let Some(token) = known(inputs) {
        return Ok(token);
    }
    let wanted = WantedSecret { namespace: at.0.clone(), name: at.1.clone(), keys: vec![TOKEN.into()] };
    let made = make(ctx, owner, inputs, &wanted).await?;
    note(inputs, made);
    known(inputs).ok_or_else(|| {
        if inputs.secrets.contains_key(&at) {
            Error::NotOwned(format!(
                "Secret {:?} exists and was not made for this ChatInstance, so it is neither used nor overwritten: \
                 delete or rename it.",
                at.1
            ))
        } else {
            Error::Leaving(format!(
                "Secret {:?} belongs to an earlier ChatInstance of this name; it is made anew as soon as it is gone.",
                at.1
            ))
        }
    })
}

/// Makes a Secret, or what is missing of it. One that is somebody else's is left as it is; the plan then says so.
async fn make(
    ctx: &Context,
    owner: &Owner<'_>,
    inputs: &Inputs,
    wanted: &WantedSecret,
) -> Result<Made, Error> {
    let at: Key = (wanted.namespace.clone(), wanted.name.clone());
    let Some(reference) = owner_of(owner, inputs, wanted) else { return Ok((at, None)) };
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &at.0);
    let values: BTreeMap<String, ByteString> =
        wanted.keys.iter().map(|key| (key.clone(), ByteString(random_value(key)))).collect();
    let secret = match read("read a Secret", api.get_opt(&at.1)).await? {
        None => {
            let mut metadata =
                ObjectMeta { owner_references: Some(vec![reference.clone()]), ..owner.kept(at.1.clone()) };
            metadata.namespace = Some(at.0.clone());
            if at.0 != owner.key.0 {
                // The annotation names an instance of the same namespace.
                metadata.annotations.get_or_insert_default().remove(INSTANCE);
            }
            let secret =
                Secret { metadata, data: Some(values), type_: Some("Opaque".into()), ..Secret::default() };
            create(ctx, "make a Secret", &api, &secret).await?
        }
        // Not used any more, and made anew when it has gone.
        Some(live) if leaving(&live.metadata, &owned(&reference)) => return Ok((at, None)),
        Some(live) => {
            let ours = live.metadata.owner_references.iter().flatten().any(|one| one.uid == reference.uid);
            let data = live.data.clone().unwrap_or_default();
            let missing: BTreeMap<_, _> =
                values.into_iter().filter(|(key, _)| !data.contains_key(key)).collect();
            if ours && !missing.is_empty() { merge_data(ctx, &api, &live, &missing).await? } else { live }
        }
    };
    let generated = secret.metadata.owner_references.iter().flatten().any(|one| one.uid == reference.uid);
    let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
    Ok((at, Some(SecretInput { data, generated })))
}

fn note(inputs: &mut Inputs, (at, secret): Made) {
    match secret {
        Some(secret) => inputs.secrets.insert(at, secret),
        None => inputs.secrets.remove(&at),
    };
}

fn owned(reference: &OwnerReference) -> ObjectMeta {
    ObjectMeta { owner_references: Some(vec![reference.clone()]), ..ObjectMeta::default() }
}

/// The object that the Secret is made for.
fn owner_of(owner: &Owner<'_>, inputs: &Inputs, wanted: &WantedSecret) -> Option<OwnerReference> {
    let of_subscription = wanted.name.strip_suffix("-signing").and_then(|name| {
        inputs.subscriptions.iter().find(|one| key_of(*one) == (wanted.namespace.clone(), name.to_owned()))
    });
    let (api_version, kind, name, uid) = match of_subscription {
        Some(one) => (
            WebhookSubscription::api_version(&()),
            WebhookSubscription::kind(&()),
            one.metadata.name.clone()?,
            one.metadata.uid.clone()?,
        ),
        None => (
            ChatInstance::api_version(&()),
            ChatInstance::kind(&()),
            owner.key.1.clone(),
            owner.instance.metadata.uid.clone()?,
        ),
    };
    Some(OwnerReference {
        api_version: api_version.into_owned(),
        kind: kind.into_owned(),
        name,
        uid,
        controller: Some(true),
        block_owner_deletion: Some(false),
    })
}

//! Makes in the cluster what an instance wants: rights before the pod that has them, the plan before its reader.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::build::{Owner, access, plan_secrets, service, stateful_set, volume_claim};
use crate::api::conditions::{State, reason};
use crate::controller::context::Context;
use crate::controller::ensure::{Wanted, ensure};
use crate::controller::error::Error;
use crate::controller::stores::reference;
use crate::plan::Outcome;
use crate::plan::model::InstancePlan;
use crate::plan::shards::{Shard, encode_as};

/// What stands in the cluster now.
#[derive(Debug, Default)]
pub struct Applied {
    /// Revision of each piece of the plan.
    pub revisions: BTreeMap<u8, String>,
    /// What only others can put right, the first of it.
    pub problem: Option<State>,
}

impl Applied {
    /// Takes note of what trying again at once does not help; everything else is tried again.
    /// Says whether there was none.
    fn note(&mut self, result: Result<(), Error>) -> Result<bool, Error> {
        let problem = match result {
            Ok(()) => return Ok(true),
            Err(Error::NotOwned(sentence)) => State::no(reason::NOT_OWNED, sentence),
            Err(Error::Leaving(sentence)) => State::unknown(reason::PENDING, sentence),
            Err(Error::Build(sentence)) => State::no(reason::INVALID, sentence),
            Err(Error::Api { step, source }) if refused(&source) => {
                State::no(reason::APPLY_FAILED, Error::Api { step, source }.to_string())
            }
            Err(error) => return Err(error),
        };
        self.problem.get_or_insert(problem);
        Ok(false)
    }
}

/// Applies everything of an instance; goes on past what a person must put right, as far as that goes.
pub async fn apply(ctx: &Context, owner: &Owner<'_>, outcome: &Outcome) -> Result<Applied, Error> {
    let mut applied = Applied::default();
    let stores = &ctx.stores;
    let account = Wanted::new(access::service_account(owner))?;
    let role = Wanted::new(access::role(owner))?;
    let binding = Wanted::new(access::role_binding(owner))?;
    let service = Wanted::new(service::service(owner))?;
    let at = (owner.key.0.clone(), volume_claim::claim_name(owner));
    let (claim, problem) = volume_claim::volume_claim(owner, stores.claims.get(&reference(&at)).as_deref());
    let claim = Wanted::new(claim)?;
    if let Some(plan) = outcome.plan.instances.first() {
        publish(ctx, owner, plan, outcome.plan.complete, &mut applied).await?;
    }
    let mut ours = applied.note(ensure(ctx, "apply a ServiceAccount", &account, &stores.accounts).await)?;
    applied.note(ensure(ctx, "apply a Role", &role, &stores.roles).await)?;
    applied.note(ensure(ctx, "apply a RoleBinding", &binding, &stores.bindings).await)?;
    applied.note(ensure(ctx, "apply a Service", &service, &stores.services).await)?;
    ours &= applied.note(ensure(ctx, "apply a PersistentVolumeClaim", &claim, &stores.claims).await)?;
    let workload = stateful_set::stateful_set(owner, &ctx.image).and_then(Wanted::new);
    match workload {
        // A pod must neither write to somebody else's volume nor run with somebody else's rights.
        Ok(_) if !ours => {}
        Ok(workload) => {
            let applying = ensure(ctx, "apply a StatefulSet", &workload, &stores.stateful_sets);
            applied.note(Box::pin(applying).await)?;
        }
        Err(error) => {
            applied.note(Err(error))?;
        }
    }
    applied.problem = applied.problem.or(problem);
    Ok(applied)
}

/// Writes the pieces of the plan that changed.
async fn publish(
    ctx: &Context,
    owner: &Owner<'_>,
    plan: &InstancePlan,
    complete: bool,
    applied: &mut Applied,
) -> Result<(), Error> {
    let plan = InstancePlan { queue_bytes: log_share(plan.queue_bytes), ..plan.clone() };
    let mut shards = Vec::new();
    for shard in encode_as(&plan, complete) {
        match shard {
            Ok(shard) => shards.push(shard),
            Err(error) => {
                applied.note(Err(Error::Build(format!("{error}."))))?;
            }
        }
    }
    let results = join_all(shards.iter().map(|shard| publish_one(ctx, owner, shard))).await;
    for (shard, result) in shards.into_iter().zip(results) {
        if applied.note(result)? {
            applied.revisions.insert(shard.index, shard.revision);
        }
    }
    Ok(())
}

async fn publish_one(ctx: &Context, owner: &Owner<'_>, shard: &Shard) -> Result<(), Error> {
    let wanted = Wanted::new(plan_secrets::plan_secret(owner, shard))?;
    ensure(ctx, "apply a plan Secret", &wanted, &ctx.stores.secrets).await
}

/// What of the volume the log may take: the rest is for indexes, journals, dead letters and the file system itself.
fn log_share(volume: u64) -> u64 {
    volume / 20 * 17
}

/// Whether trying again cannot help: the API server has looked at the object and does not want it.
fn refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422))
}

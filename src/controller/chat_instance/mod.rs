//! ChatInstance: dereference → plan → build → apply → status.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;

use crate::api::ChatInstance;
use crate::api::conditions::{State, reason};
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::controller::families::Family;
use crate::controller::stores::{key_of, mark_subscriptions_of};

pub mod apply;
pub mod build;
pub mod dereference;
pub mod finalize;
pub mod generated;
pub mod status;

use self::build::Owner;

/// How soon something that a person must put right is looked at again without being asked.
const PROBLEM_AGAIN: Duration = Duration::from_mins(1);

/// Brings everything of one ChatInstance to where its spec wants it.
pub async fn reconcile(instance: Arc<ChatInstance>, ctx: Arc<Context>) -> Result<Action, Error> {
    if !ctx.leadership.is_leader() {
        return Ok(Action::await_change());
    }
    let key = key_of(&*instance);
    if instance.metadata.deletion_timestamp.is_some() {
        return finalize::release(&ctx, &key, &instance).await;
    }
    let owner = Owner { instance: &instance, key: &key };
    let mut inputs = dereference::dereference(&ctx, &key, &instance).await?;
    let outcome = match generated::compile_with_secrets(&ctx, &owner, &mut inputs).await {
        Err(Error::NotOwned(sentence)) => {
            status::not_compiled(&ctx, &key, &instance, &State::no(reason::NOT_OWNED, sentence)).await?;
            return Ok(Action::requeue(PROBLEM_AGAIN));
        }
        Err(Error::Leaving(sentence)) => {
            status::not_compiled(&ctx, &key, &instance, &State::unknown(reason::PENDING, sentence)).await?;
            return Ok(Action::requeue(PROBLEM_AGAIN));
        }
        compiled => compiled?,
    };
    finalize::hold(&ctx, &instance, &outcome).await?;
    let paused = outcome.plan.instances.iter().any(|plan| plan.paused.is_some());
    // A slip must not take the platform out of sight: what was wanted last stays.
    if !paused {
        ctx.desk.want(&key, outcome.platforms.first().cloned());
    }
    let applied = Box::pin(apply::apply(&ctx, &owner, &outcome)).await?;
    let family = Arc::new(Family { outcome, revisions: applied.revisions, problem: applied.problem });
    ctx.families.set(&key, Some(Arc::clone(&family)));
    ctx.endpoints_changed.notify_one();
    mark_subscriptions_of(&ctx, &key);
    status::write(&ctx, &key, &instance, &family).await?;
    Ok(match family.problem {
        Some(_) => Action::requeue(PROBLEM_AGAIN),
        None => Action::await_change(),
    })
}

//! The finalizer: what of ours is in the platform is removed before the instance goes, for a bounded time. Deletion
//! never hangs: with the platform down or the credentials gone, the instance goes and an Event tells what may be left.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;

use tokio::time::{Instant, sleep};

use crate::api::ChatInstance;
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::controller::events::tell;
use crate::controller::stores::mark_subscriptions_of;
use crate::controller::write::apply_finalizer;
use crate::plan::{Inputs, Key, Outcome};
use crate::platform::{Keeper, Owner};

/// Our finalizer.
pub const FINALIZER: &str = "chathooks.dev/platform";

/// How long after its deletion an instance may wait for its platform.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a look under way may take to end.
const LAST_LOOK: Duration = Duration::from_secs(12);

/// Pause between two tries.
const AGAIN: Duration = Duration::from_secs(5);

/// Sets the finalizer before anything of ours may be in the platform.
pub async fn hold(ctx: &Context, instance: &ChatInstance, outcome: &Outcome) -> Result<(), Error> {
    let installs = outcome.platforms.iter().any(|plan| plan.relay.is_some());
    if !installs || instance.finalizers().iter().any(|one| one == FINALIZER) {
        return Ok(());
    }
    apply_finalizer(ctx, &api(ctx, instance), instance, &[FINALIZER]).await
}

/// Removes what is in the platform, then lets the instance go.
pub async fn release(ctx: &Context, key: &Key, instance: &ChatInstance) -> Result<Action, Error> {
    if instance.finalizers().iter().any(|one| one == FINALIZER) {
        let plan = match ctx.desk.wanted(key) {
            Some(plan) => Some(plan),
            None => match compiled(ctx, key, instance).await {
                Ok(outcome) => outcome.platforms.into_iter().next(),
                Err(error) if !overdue(instance) => return Err(error),
                // In a namespace that is deleted, the right to read may be gone with the rest.
                Err(_) => None,
            },
        };
        // Nobody may put back what is about to be removed.
        ctx.desk.want(key, None);
        patrol_has_left(ctx, key).await;
        if let Some(plan) = plan {
            let owner = Owner { cluster: ctx.cluster.clone(), namespace: key.0.clone(), name: key.1.clone() };
            if let Err(why) = Keeper::new().remove(&plan, &owner, &ctx.leadership).await {
                if !overdue(instance) {
                    ctx.desk.remember(key, plan);
                    return Ok(Action::requeue(AGAIN));
                }
                let note = format!("The relay may still be in the platform; it goes quiet by itself. {why}");
                tell(ctx, instance, EventType::Warning, "RelayLeftBehind", &note).await;
            }
        } else {
            let note = "The relay may still be in the platform: the credentials are gone, or cannot be read. It goes quiet by itself.";
            tell(ctx, instance, EventType::Warning, "RelayLeftBehind", note).await;
        }
        apply_finalizer(ctx, &api(ctx, instance), instance, &[]).await?;
    }
    ctx.desk.want(key, None);
    ctx.families.set(key, None);
    ctx.secrets.refer(key, std::collections::BTreeSet::new());
    mark_subscriptions_of(ctx, key);
    Ok(Action::await_change())
}

/// Waits for a look under way: what it puts there now would be left behind.
async fn patrol_has_left(ctx: &Context, key: &Key) {
    let begun = Instant::now();
    while ctx.desk.report(key).is_some() && begun.elapsed() < LAST_LOOK {
        sleep(Duration::from_millis(50)).await;
    }
}

/// What the instance wants of its platform, by what it refers to now.
async fn compiled(ctx: &Context, key: &Key, instance: &ChatInstance) -> Result<Outcome, Error> {
    let inputs: Inputs = super::dereference::dereference(ctx, key, instance).await?;
    Ok(crate::plan::compile(&inputs))
}

fn overdue(instance: &ChatInstance) -> bool {
    let since = instance.metadata.deletion_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let waited = Timestamp::now().duration_since(since);
    waited.unsigned_abs() > PATIENCE || waited.is_negative()
}

fn api(ctx: &Context, instance: &ChatInstance) -> Api<ChatInstance> {
    Api::namespaced(ctx.client.clone(), &instance.namespace().unwrap_or_default())
}

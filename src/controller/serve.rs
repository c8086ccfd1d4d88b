//! Starts the operator's parts, and ends the process when one of them that must not end does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::events::{EventType, Recorder, Reporter};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::admin::{Readiness, router};
use super::context::{Context, PlatformDesk};
use super::dirty::Dirty;
use super::drive::drive;
use super::events::tell;
use super::leader::{self, Election};
use super::metrics::Metrics;
use super::observe::{Signals, observe};
use super::stores::{key_of, reference, stores, watch_all};
use super::{chat_instance, start, webhook_subscription};
use crate::dispatcher::http_server::{ServerLimits, serve as serve_http};
use crate::platform::PlatformReport;
use crate::platform::patrol::{Beat, Reports, WhenGone, patrol};

/// How an operator is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The operator's own namespace: its Lease is there.
    pub namespace: String,
    /// The namespaces to watch; none named: all.
    pub watch_namespaces: Vec<String>,
    /// Name of the Lease.
    pub lease_name: String,
    /// Name of this replica.
    pub identity: String,
    /// Probes and metrics.
    pub admin_listen: SocketAddr,
    /// Image of dispatcher pods.
    pub image: String,
    /// How long an orderly end may take.
    pub grace: Duration,
    /// Commit this was built from, empty if unknown.
    pub revision: String,
}

/// Why an operator does not run, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no cluster to work in.
    #[error("{0}")]
    Cluster(String),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}; choose another with --admin-listen")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part that must not end has ended: the process goes with it, and is started anew.
    #[error("{0} ended unexpectedly; this is a bug, please report it")]
    Ended(String),
}

/// Hints that wait to be looked at; more of them say nothing new.
const WAKES: usize = 256;

/// Runs until `stop` resolves or a part fails that must not.
pub async fn serve(options: Options, stop: impl Future<Output = ()>) -> Result<(), OperatorError> {
    let metrics = Arc::new(Metrics::new(&options.revision));
    let readiness = Readiness::default();
    readiness.waits_for(vec!["the Kubernetes API".to_owned()]);
    let (stopping, mut stopped) = watch::channel(());
    let listener = TcpListener::bind(options.admin_listen)
        .await
        .map_err(|source| OperatorError::Listen { address: options.admin_listen, source })?;
    let mut vital: JoinSet<&'static str> = JoinSet::new();
    let app = router(readiness.clone(), Arc::clone(&metrics));
    vital.spawn(async move {
        let until = async move {
            // An error means that the sender is gone, and so is everything else.
            let _ = stopped.changed().await;
        };
        serve_http(listener, app, ServerLimits::default(), until, Duration::from_millis(500)).await;
        "the administrator's port"
    });
    let client = start::client(&options.identity).await.map_err(OperatorError::Cluster)?;
    tokio::pin!(stop);
    let begun = tokio::select! {
        () = &mut stop => return Ok(()),
        begun = begin(&options, client, metrics, &readiness, &mut vital) => begun,
    };
    let Begun { ctx, mut election, mut drivers } = begun;
    let result = tokio::select! {
        () = &mut stop => Ok(()),
        Some(ended) = vital.join_next() => Err(OperatorError::Ended(name_of(ended))),
        Some(ended) = drivers.join_next() => Err(OperatorError::Ended(name_of(ended))),
        _ = election.ended() => Err(OperatorError::Ended("the election".to_owned())),
    };
    if result.is_ok() {
        tracing::info!("stopping: what is under way may end, then another replica may lead");
        ctx.instances.close();
        ctx.subscriptions.close();
        let drained = async { while drivers.join_next().await.is_some() {} };
        let _ = timeout(options.grace, drained).await;
        drivers.shutdown().await;
        // The patrol may not write any more either.
        vital.shutdown().await;
        election.release().await;
    }
    stopping.send_replace(());
    result
}

struct Begun {
    ctx: Arc<Context>,
    election: Election,
    drivers: JoinSet<&'static str>,
}

/// Waits for what is needed, then starts every part.
async fn begin(
    options: &Options,
    client: kube::Client,
    metrics: Arc<Metrics>,
    readiness: &Readiness,
    vital: &mut JoinSet<&'static str>,
) -> Begun {
    let namespaces = &options.watch_namespaces;
    let namespaces = &start::existing(&client, namespaces, readiness).await;
    start::kinds(&client, namespaces, readiness).await;
    let cluster = start::cluster_id(&client, readiness).await;
    let lease = leader::Options::new(&options.namespace, &options.lease_name, &options.identity);
    let (stores, writers) = stores();
    let (plans, planned) = watch::channel(Vec::new());
    let (reports, reported) = watch::channel(Reports::new());
    let (wake, wakes) = mpsc::channel(WAKES);
    let (leadership, election) = leader::spawn(client.clone(), lease);
    let reporter =
        Reporter { controller: "chathooks-operator".into(), instance: Some(options.identity.clone()) };
    let ctx = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        leadership: leadership.clone(),
        stores: stores.clone(),
        secrets: super::secrets::SecretCache::default(),
        unreadable: super::context::Unreadable::default(),
        families: super::families::Families::default(),
        observations: super::observations::Observations::default(),
        memory: super::memory::Memory::default(),
        instances: Dirty::default(),
        subscriptions: Dirty::default(),
        desk: PlatformDesk::new(plans, reported.clone(), wake.clone()),
        endpoints_changed: Notify::new(),
        metrics,
        cluster: cluster.clone(),
        image: options.image.clone(),
    });
    watch_all(&ctx, writers, namespaces, vital);
    start::filled(&stores, readiness).await;
    readiness.waits_for(Vec::new());

    let (heard, hearing) = watch::channel(std::collections::BTreeSet::new());
    let beat = Beat {
        plans: planned,
        heard: hearing,
        wake: wakes,
        cluster,
        gate: Arc::new(leadership),
        // The finalizer sees to it.
        when_gone: WhenGone::Leave,
    };
    vital.spawn(async move {
        patrol(beat, reports).await;
        "the patrol of platforms"
    });
    vital.spawn(observe(Arc::clone(&ctx), Signals { heard, wake }));
    vital.spawn(follow_reports(Arc::clone(&ctx), reported));
    vital.spawn(follow_leadership(Arc::clone(&ctx)));
    let mut drivers = JoinSet::new();
    drivers.spawn(drive(
        "ChatInstance",
        Arc::clone(&ctx),
        stores.instances,
        ctx.instances.clone(),
        chat_instance::reconcile,
        Context::forget_instance,
    ));
    drivers.spawn(drive(
        "WebhookSubscription",
        Arc::clone(&ctx),
        stores.subscriptions,
        ctx.subscriptions.clone(),
        webhook_subscription::reconcile,
        Context::forget_subscription,
    ));
    Begun { ctx, election, drivers }
}

/// Whoever begins to lead looks at everything; whoever does not lead any more wants nothing of platforms.
async fn follow_leadership(ctx: Arc<Context>) -> &'static str {
    let mut changes = ctx.leadership.changes();
    loop {
        let leads = *changes.borrow_and_update();
        ctx.metrics.leading(leads);
        if leads {
            for instance in ctx.stores.instances.state() {
                ctx.mark_instance(key_of(&*instance));
            }
            for subscription in ctx.stores.subscriptions.state() {
                ctx.mark_subscription(key_of(&*subscription));
            }
        } else {
            ctx.desk.clear();
        }
        ctx.endpoints_changed.notify_one();
        if changes.changed().await.is_err() {
            return "the election";
        }
    }
}

/// What platforms told becomes status and Events.
async fn follow_reports(ctx: Arc<Context>, mut reported: watch::Receiver<Reports>) -> &'static str {
    let mut known: BTreeMap<_, PlatformReport> = BTreeMap::new();
    loop {
        let now = reported.borrow_and_update().clone();
        for (key, report) in &now {
            if known.get(key) == Some(report) {
                continue;
            }
            ctx.metrics.platform_calls(report.calls);
            if let Some(instance) = ctx.stores.instances.get(&reference(key)) {
                for change in &report.changes {
                    tell(&ctx, &*instance, EventType::Normal, "PlatformChanged", change).await;
                }
            }
            ctx.mark_instance(key.clone());
        }
        known = now;
        if reported.changed().await.is_err() {
            return "the patrol of platforms";
        }
    }
}

fn name_of(ended: Result<&'static str, tokio::task::JoinError>) -> String {
    ended.map_or_else(|error| format!("a part of the operator ({error})"), str::to_owned)
}

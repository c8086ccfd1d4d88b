//! Asks every ready dispatcher what it has seen, by long poll. Only the leader asks.
//!
//! What is told decides nothing: it becomes status, and a reason to look again.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::context::Context;
use super::stores::{key_of, mark_subscriptions_of};
use crate::plan::Key;
use crate::plan::children::dispatcher_name;
use crate::platform::facts::expected_config;
use crate::status::observed::{Hint, Observed, ObservedInstance};

/// How long a dispatcher may hold an answer back.
const WAIT: Duration = Duration::from_secs(30);

/// How long an exchange may take in all.
const EXCHANGE: Duration = Duration::from_secs(40);

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);

/// Largest answer.
const MAX_BYTES: usize = 16 << 20;

/// Pauses after a failure: the first, doubled up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Least time between two exchanges: a dispatcher that has news all the time, or says so, is not asked in a loop.
const BETWEEN: Duration = Duration::from_millis(50);

/// Endpoints of one ChatInstance that are asked: more than dispatchers it can have, and as many as somebody who writes
/// EndpointSlices may cost.
const MAX_ENDPOINTS: usize = 8;

/// How often endpoints are looked at without a reason.
const LOOK: Duration = Duration::from_secs(10);

/// What observing leads to, beside status.
pub struct Signals {
    /// ChatInstances whose relay works as planned.
    pub heard: watch::Sender<BTreeSet<Key>>,
    /// ChatInstances whose platform should be looked at.
    pub wake: mpsc::Sender<Key>,
}

/// Follows endpoints and leadership; never ends.
pub async fn observe(ctx: Arc<Context>, signals: Signals) -> &'static str {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .timeout(EXCHANGE)
        .redirect(reqwest::redirect::Policy::none())
        // Pods are reached directly.
        .no_proxy()
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "no HTTP client could be made");
            return "the observer";
        }
    };
    let signals = Arc::new(signals);
    let mut leading = ctx.leadership.changes();
    let mut tasks = JoinSet::new();
    let mut asked: HashMap<(Key, SocketAddr), AbortHandle> = HashMap::new();
    loop {
        let wanted = if ctx.leadership.is_leader() { endpoints(&ctx) } else { HashMap::new() };
        for instance in ctx.stores.instances.state() {
            let key = key_of(&*instance);
            let ready = wanted.get(&key).map(Vec::as_slice).unwrap_or_default();
            if ctx.observations.endpoints(&key, ready) {
                ctx.mark_instance(key);
            }
        }
        asked.retain(|(key, address), task| {
            let stays = wanted.get(key).is_some_and(|ready| ready.contains(address)) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for (key, address) in
            wanted.into_iter().flat_map(|(key, all)| all.into_iter().map(move |one| (key.clone(), one)))
        {
            asked.entry((key.clone(), address)).or_insert_with(|| {
                tasks.spawn(ask(Arc::clone(&ctx), client.clone(), key, address, Arc::clone(&signals)))
            });
        }
        tokio::select! {
            () = ctx.endpoints_changed.notified() => {}
            changed = leading.changed() => if changed.is_err() { return "the election" },
            Some(_) = tasks.join_next() => {}
            () = sleep(LOOK) => {}
        }
    }
}

/// Where the ready dispatchers of each instance listen for administrators.
fn endpoints(ctx: &Context) -> HashMap<Key, Vec<SocketAddr>> {
    let mut found: HashMap<Key, Vec<SocketAddr>> = HashMap::new();
    let services: HashMap<Key, Key> = ctx
        .stores
        .instances
        .state()
        .iter()
        .map(|one| key_of(&**one))
        .map(|key| ((key.0.clone(), dispatcher_name(&key.1)), key))
        .collect();
    for slice in ctx.stores.slices.state() {
        let service =
            slice.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/service-name"));
        let at = (slice.metadata.namespace.clone().unwrap_or_default(), service.cloned().unwrap_or_default());
        let Some(key) = services.get(&at) else { continue };
        let admin = slice.ports.iter().flatten().find(|port| port.name.as_deref() == Some("admin"));
        let Some(port) = admin.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            let addresses = endpoint.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok());
            if ready {
                found.entry(key.clone()).or_default().extend(addresses.map(|ip| SocketAddr::new(ip, port)));
            }
        }
    }
    for addresses in found.values_mut() {
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ENDPOINTS);
    }
    found
}

/// Asks one dispatcher until its endpoint is gone.
async fn ask(
    ctx: Arc<Context>,
    client: reqwest::Client,
    key: Key,
    address: SocketAddr,
    signals: Arc<Signals>,
) {
    let mut last: Option<Arc<Observed>> = None;
    let mut pause = PAUSES.0;
    loop {
        match exchange(&ctx, &client, &key, address, last.as_deref()).await {
            Ok(told) => {
                pause = PAUSES.0;
                let told = Arc::new(told);
                ctx.observations.told(&key, address, Some(Arc::clone(&told)));
                note(&ctx, &key, last.as_deref(), &told, &signals);
                last = Some(told);
                sleep(BETWEEN).await;
            }
            Err(why) => {
                tracing::debug!(namespace = key.0, instance = key.1, %address, why, "a dispatcher did not tell");
                if pause == PAUSES.1 {
                    // It is ready and does not tell: what it told before does not count any more.
                    let silent = Arc::new(Observed::default());
                    let before = ctx.observations.told(&key, address, Some(Arc::clone(&silent)));
                    if before.is_none_or(|before| before != silent) {
                        ctx.mark_instance(key.clone());
                        mark_subscriptions_of(&ctx, &key);
                    }
                    last = None;
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

async fn exchange(
    ctx: &Context,
    client: &reqwest::Client,
    key: &Key,
    address: SocketAddr,
    last: Option<&Observed>,
) -> Result<Observed, String> {
    let token = ctx
        .families
        .get(key)
        .and_then(|family| family.outcome.plan.instances.first()?.admin_tokens.first().cloned())
        .ok_or("its token is not known yet")?;
    let token = String::from_utf8(token.0).map_err(|_| "its token is not text")?;
    let url = match last {
        None => format!("http://{address}/v1/observed"),
        Some(last) => format!(
            "http://{address}/v1/observed?process={}&after={}&wait={}",
            last.process,
            last.sequence,
            WAIT.as_secs()
        ),
    };
    let mut answer =
        client.get(url).bearer_auth(token).send().await.map_err(|error| error.without_url().to_string())?;
    if !answer.status().is_success() {
        return Err(format!("it answered {}", answer.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err("it told more than can be taken".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

/// Asks for another look at whatever changed.
fn note(ctx: &Context, key: &Key, before: Option<&Observed>, now: &Observed, signals: &Signals) {
    let find = |all: &Observed| -> Option<ObservedInstance> {
        all.instances.iter().find(|one| one.namespace == key.0 && one.name == key.1).cloned()
    };
    let same_process = before.is_some_and(|before| before.process == now.process);
    let (old, new) = (before.and_then(find).unwrap_or_default(), find(now).unwrap_or_default());
    let whole = |one: &ObservedInstance| ObservedInstance { subscriptions: Vec::new(), ..one.clone() };
    if before.is_none() || whole(&old) != whole(&new) {
        ctx.mark_instance(key.clone());
    }
    if old.shards != new.shards || old.relays != new.relays {
        mark_subscriptions_of(ctx, key);
    } else {
        let known: HashMap<(&str, &str), _> =
            old.subscriptions.iter().map(|one| ((&*one.namespace, &*one.name), one)).collect();
        // Only what hangs on the instance: a dispatcher has nothing to say of others.
        let family = ctx.families.get(key);
        for one in &new.subscriptions {
            let at = (one.namespace.clone(), one.name.clone());
            let attached = family.as_ref().is_some_and(|family| family.verdict(&at).is_some());
            if attached && known.get(&(&*one.namespace, &*one.name)) != Some(&one) {
                ctx.mark_subscription(at);
            }
        }
    }
    let seen = if same_process { old.hints.last().map_or(0, |hint: &Hint| hint.sequence) } else { 0 };
    if new.hints.iter().any(|hint| hint.sequence > seen) {
        // A full channel already holds enough reasons to look.
        let _ = signals.wake.try_send(key.clone());
    }
    listen(ctx, key, signals);
}

/// Notes whether the relay of an instance works as planned.
fn listen(ctx: &Context, key: &Key, signals: &Signals) {
    let fleet = ctx.observations.of(key);
    let expected = ctx.desk.wanted(key).and_then(|plan| expected_config(&ctx.cluster, &plan));
    let works = expected.is_some_and(|expected| fleet.relays(key).any(|relay| relay.config == expected));
    signals.heard.send_if_modified(|all| if works { all.insert(key.clone()) } else { all.remove(key) });
}

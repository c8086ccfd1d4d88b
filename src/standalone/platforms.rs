//! The platforms of a folder's ChatInstances: the same patrol as the operator's, woken by the relays that this process
//! hears itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::dispatcher::relays::Relays;
use crate::plan::platform::{IntakeAddresses, PlatformPlan};
use crate::plan::{Key, Outcome};
use crate::platform::Alone;
use crate::platform::facts::{expected_config, facts};
use crate::platform::patrol::{Beat, Reports, WhenGone, patrol};
use crate::status::chat_instance::PlatformFacts;

/// How long one write to a platform may take.
const WRITE: Duration = Duration::from_secs(30);

/// Hints that wait to be looked at; more of them say nothing new.
const WAKES: usize = 64;

/// Everything that is known of platforms, and the tasks that find it out. Dropped, they end and change nothing more.
pub(super) struct Platforms {
    known: Arc<Known>,
    published: watch::Sender<Vec<PlatformPlan>>,
    _tasks: JoinSet<()>,
}

struct Known {
    id: String,
    plans: Mutex<BTreeMap<Key, PlatformPlan>>,
    reports: watch::Receiver<Reports>,
    relays: Arc<Relays>,
}

impl Platforms {
    /// Begins to go round. `id` is the data folder's: it stands in the markers of what is installed.
    pub(super) fn begin(id: String, relays: Arc<Relays>) -> Self {
        let (published, plans) = watch::channel(Vec::new());
        let (reports, reported) = watch::channel(Reports::new());
        let (heard, hearing) = watch::channel(BTreeSet::new());
        let (wake, wakes) = mpsc::channel(WAKES);
        let known = Arc::new(Known { id: id.clone(), plans: Mutex::default(), reports: reported, relays });
        let beat = Beat {
            plans,
            heard: hearing,
            wake: wakes,
            cluster: id,
            gate: Arc::new(Alone(WRITE)),
            when_gone: WhenGone::Remove,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(patrol(beat, reports));
        tasks.spawn(listen(Arc::clone(&known), heard, wake));
        Self { known, published, _tasks: tasks }
    }

    /// Takes what is wanted now. An instance that is paused keeps what it has: a slip must not remove its relay.
    pub(super) fn want(&self, outcome: &Outcome) {
        let mut plans = self.known.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next: BTreeMap<Key, PlatformPlan> = BTreeMap::new();
        for instance in outcome.plan.instances.iter().filter(|instance| instance.paused.is_some()) {
            let key = (instance.namespace.clone(), instance.name.clone());
            next.extend(plans.get(&key).cloned().map(|plan| (key, plan)));
        }
        next.extend(
            outcome.platforms.iter().map(|plan| ((plan.namespace.clone(), plan.name.clone()), plan.clone())),
        );
        if *plans != next {
            self.published.send_replace(next.values().cloned().collect());
            *plans = next;
        }
    }

    /// What is known of the platform of an instance.
    pub(super) fn facts(&self) -> impl Fn(&str, &str) -> PlatformFacts + Send + Sync + 'static {
        let known = Arc::clone(&self.known);
        move |namespace, name| {
            let key = (namespace.to_owned(), name.to_owned());
            let plan = known.plan(&key);
            let report = known.reports.borrow().get(&key).cloned();
            let configs = known.configs(&key);
            facts(&known.id, plan.as_ref(), report.as_ref(), configs.iter().map(String::as_str))
        }
    }
}

impl Known {
    fn plan(&self, key: &Key) -> Option<PlatformPlan> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// What the relays that are alive work with.
    fn configs(&self, (namespace, name): &Key) -> Vec<String> {
        let alive = self.relays.read(namespace, name, |table| table.alive(Instant::now()));
        alive.into_iter().map(|relay| relay.config).collect()
    }
}

/// Turns hellos into what the patrol wants to know.
async fn listen(known: Arc<Known>, heard: watch::Sender<BTreeSet<Key>>, wake: mpsc::Sender<Key>) {
    let mut hellos = known.relays.heard();
    let mut seen: BTreeMap<Key, u64> = BTreeMap::new();
    while hellos.changed().await.is_ok() {
        let plans = known.plans.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut well = BTreeSet::new();
        for (key, plan) in plans {
            let configs = known.configs(&key);
            if expected_config(&known.id, &plan).is_some_and(|expected| configs.contains(&expected)) {
                well.insert(key.clone());
            }
            let last = known
                .relays
                .read(&key.0, &key.1, |table| table.hints().last().map_or(0, |hint| hint.sequence));
            if seen.insert(key.clone(), last).is_none_or(|before| before < last) && last > 0 {
                // A full channel already holds enough reasons to look.
                let _ = wake.try_send(key);
            }
        }
        heard.send_if_modified(|all| {
            let changed = *all != well;
            *all = well;
            changed
        });
    }
}

/// Where platforms find this process; one that listens everywhere is named by loopback, since nobody says another name
/// (`spec.intake.url` does).
pub(super) fn intake_addresses(listening: SocketAddr) -> IntakeAddresses {
    let ip = match listening.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) | IpAddr::V6(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    IntakeAddresses::Listener(format!("http://{}", SocketAddr::new(ip, listening.port())))
}

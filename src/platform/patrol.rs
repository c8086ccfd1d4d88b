//! Goes round the platforms: each has a task of its own that compares and puts right, at once when something changed
//! or is hinted at, and else at its pace.
//!
//! Must not know which front end runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::open_webui::{Keeper, PlatformReport, RelayState};
use super::{Owner, WriteGate};
use crate::plan::platform::PlatformPlan;

/// Namespace and name of a ChatInstance.
pub type Key = (String, String);
/// The last report of each platform.
pub type Reports = BTreeMap<Key, PlatformReport>;

/// First wait after something went wrong; doubles up to [`UNWELL`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Longest wait while the platform is not usable, the relay is not right, or no relay is heard.
const UNWELL: Duration = Duration::from_secs(30);
/// Hints within this time of the last look are taken together.
const HINT_GAP: Duration = Duration::from_millis(300);
/// Shortest pace, whatever the plan says.
const MIN_RESYNC: Duration = Duration::from_secs(10);

/// What is done in a platform whose plan is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenGone {
    /// Nothing: someone else sees to it.
    Leave,
    /// What is ours is removed, in bounded time.
    Remove,
}

/// What a patrol needs to know.
pub struct Beat {
    /// What is wanted; a change is acted on at once.
    pub plans: watch::Receiver<Vec<PlatformPlan>>,
    /// Whose relay says hello with the configuration that is installed; without one a platform is looked at more often.
    pub heard: watch::Receiver<BTreeSet<Key>>,
    /// Look at this one now.
    pub wake: mpsc::Receiver<Key>,
    /// Identity of the cluster or data folder, for the markers.
    pub cluster: String,
    /// Asked before each write.
    pub gate: Arc<dyn WriteGate>,
    /// For plans that disappear.
    pub when_gone: WhenGone,
}

struct Round {
    plan: watch::Sender<PlatformPlan>,
    wake: Arc<Notify>,
    gone: Arc<Notify>,
}

/// Patrols until the senders of `plans` are gone; the tasks end with it. A report is sent when it differs from the last.
pub async fn patrol(mut beat: Beat, reports: watch::Sender<Reports>) {
    let reports = Arc::new(reports);
    let mut rounds: BTreeMap<Key, Round> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut may_wake = true;
    loop {
        let plans = beat.plans.borrow_and_update().clone();
        let wanted: BTreeSet<Key> = plans.iter().map(key).collect();
        rounds.retain(|key, round| {
            let stays = wanted.contains(key);
            if !stays {
                round.gone.notify_one();
            }
            stays
        });
        for plan in plans {
            if let Some(round) = rounds.get(&key(&plan)) {
                round.plan.send_if_modified(|old| {
                    let new = *old != plan;
                    *old = plan;
                    new
                });
                continue;
            }
            let (key, wake, gone) = (key(&plan), Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (sender, receiver) = watch::channel(plan);
            let walk = Walk {
                owner: Owner { cluster: beat.cluster.clone(), namespace: key.0.clone(), name: key.1.clone() },
                key: key.clone(),
                plan: receiver,
                wake: Arc::clone(&wake),
                gone: Arc::clone(&gone),
                heard: beat.heard.clone(),
                gate: Arc::clone(&beat.gate),
                when_gone: beat.when_gone,
                reports: Arc::clone(&reports),
            };
            tasks.spawn(walk.go());
            rounds.insert(key, Round { plan: sender, wake, gone });
        }
        loop {
            tokio::select! {
                changed = beat.plans.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                hinted = beat.wake.recv(), if may_wake => match hinted {
                    Some(key) => if let Some(round) = rounds.get(&key) { round.wake.notify_one() },
                    None => may_wake = false,
                },
                // A platform that nobody looks at any more must not stay unnoticed: the process ends with the patrol.
                Some(ended) = tasks.join_next() => if ended.is_err() { return },
            }
        }
    }
}

fn key(plan: &PlatformPlan) -> Key {
    (plan.namespace.clone(), plan.name.clone())
}

struct Walk {
    key: Key,
    owner: Owner,
    plan: watch::Receiver<PlatformPlan>,
    wake: Arc<Notify>,
    gone: Arc<Notify>,
    heard: watch::Receiver<BTreeSet<Key>>,
    gate: Arc<dyn WriteGate>,
    when_gone: WhenGone,
    reports: Arc<watch::Sender<Reports>>,
}

impl Walk {
    async fn go(mut self) {
        let mut keeper = Keeper::new();
        let mut failures = 0_u32;
        loop {
            let plan = self.plan.borrow_and_update().clone();
            let report = keeper.sync(&plan, &self.owner, &*self.gate).await;
            let begun = Instant::now();
            for change in &report.changes {
                tracing::info!(namespace = self.key.0, instance = self.key.1, "{change}");
            }
            let well = is_well(&report);
            failures = if well { 0 } else { failures.saturating_add(1) };
            self.tell(report);
            if self.pause(begun, failures, &plan).await {
                break;
            }
        }
        self.reports.send_if_modified(|reports| reports.remove(&self.key).is_some());
        if self.when_gone == WhenGone::Remove {
            let plan = self.plan.borrow().clone();
            if let Err(why) = keeper.remove(&plan, &self.owner, &*self.gate).await {
                tracing::warn!(
                    namespace = self.key.0,
                    instance = self.key.1,
                    "the relay may still be in the platform: {why}"
                );
            }
        }
    }

    /// Until there is reason to look again; true when the plan is gone.
    async fn pause(&mut self, begun: Instant, failures: u32, plan: &PlatformPlan) -> bool {
        loop {
            let heard = plan.relay.is_none() || self.heard.borrow_and_update().contains(&self.key);
            let wait = match failures {
                0 if heard => Duration::from_millis(plan.resync_ms).max(MIN_RESYNC),
                0 => UNWELL,
                failures => FIRST_RETRY.saturating_mul(1 << (failures - 1).min(5)).min(UNWELL),
            };
            tokio::select! {
                biased;
                () = self.gone.notified() => return true,
                changed = self.plan.changed() => return changed.is_err(),
                () = self.wake.notified() => {
                    tokio::time::sleep_until(begun + HINT_GAP).await;
                    return false;
                }
                () = tokio::time::sleep_until(begun + wait) => return false,
                Ok(()) = self.heard.changed() => {}
            }
        }
    }

    /// Changes are told as well, so a report that has some is always news.
    fn tell(&self, report: PlatformReport) {
        self.reports.send_if_modified(|reports| {
            let quiet = report.changes.is_empty();
            let same = reports.get(&self.key).is_some_and(|old| {
                old.changes.is_empty()
                    && (&old.reachable, &old.version, &old.relay)
                        == (&report.reachable, &report.version, &report.relay)
            });
            reports.insert(self.key.clone(), report);
            !(quiet && same)
        });
    }
}

fn is_well(report: &PlatformReport) -> bool {
    report.reachable.status == Some(true)
        && matches!(report.relay, RelayState::Installed { .. } | RelayState::NotWanted)
}

//! The engine of one ChatInstance: one task that owns all delivery state and decides everything.
//!
//! Events come from the log in order and are matched once; attempts run as tasks of their own and report back; what
//! changed is committed every [`COMMIT_EVERY`]. Nothing here knows Kubernetes, a directory, or how HTTP is spoken.

mod attempts;
mod commit;
mod journal;
mod planning;
mod slots;
mod subscription;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use self::attempts::Report;
use self::commit::Committer;
use self::planning::PlanError;
pub use self::slots::Slots;
use self::subscription::{Arrival, Next, Subscription};
use super::matcher::Matcher;
use super::snapshot::Gauge;
use crate::egress::EgressClient;
use crate::event::Event;
use crate::log::{EventLog, Held, LogError, Seq, State, StateError};
use crate::metrics::Metrics;
use crate::plan::model::InstancePlan;

/// How far the committed state may be behind; also how often limits are looked after.
pub const COMMIT_EVERY: Duration = Duration::from_millis(50);
/// How often the log is told what is needed no more, in ticks.
const RELEASE_EVERY: usize = 10;
/// As many positions that are still needed make it once more as rare: telling them costs both sides some time.
const NEEDED_PER_RELEASE: usize = 50_000;
/// Events read for matching in one go.
const PAGE_RECORDS: usize = 256;
/// Bytes read for matching in one go.
const PAGE_BYTES: usize = 1024 * 1024;
/// Reports taken before the engine looks at anything else.
const MAX_REPORTS: usize = 256;
/// Pause before a record that could not be read is read again.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// Part of the log that is won when the largest backlog gives way.
const RELIEF_SHARE: u64 = 16;
/// Pause before a dead letter that could not be written is tried again.
const DEAD_LETTER_RETRY: Duration = Duration::from_secs(5);

/// What an engine stands on.
#[derive(Clone)]
pub struct Storage {
    /// Accepted events.
    pub events: Arc<dyn EventLog>,
    /// Events given up.
    pub dead_letters: Arc<dyn EventLog>,
    /// Delivery state.
    pub state: Arc<dyn State>,
}

/// What all engines of a process share.
#[derive(Clone, Debug)]
pub struct Process {
    /// The caps.
    pub slots: Arc<Slots>,
    /// Where attempts are recorded.
    pub metrics: Arc<Metrics>,
}

/// Whether a plan holds everything there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// What is absent was removed.
    Complete,
    /// What is absent may be in a manifest that cannot be read: it is paused, and nothing of it is forgotten.
    Incomplete,
}

/// Why an engine ended by itself; the process must end too.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The event log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The delivery state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Identity, names and live counters of the subscriptions that are served.
pub type Gauges = Arc<Mutex<Vec<Served>>>;

/// One subscription that is served.
#[derive(Clone, Debug)]
pub struct Served {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Generation served.
    pub generation: i64,
    /// Its live counters.
    pub gauge: Arc<Gauge>,
}

/// The way to talk to a running engine.
#[derive(Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    gauges: Gauges,
    cursor: watch::Receiver<Seq>,
}

#[derive(Debug)]
enum Command {
    Apply(Arc<InstancePlan>, Completeness, oneshot::Sender<Result<(), PlanError>>),
    Shutdown(Instant, oneshot::Sender<()>),
}

impl Handle {
    /// Serves a new plan. When this returns, new subscriptions are on record: no event accepted later passes them by.
    pub async fn apply(&self, plan: Arc<InstancePlan>, completeness: Completeness) -> Result<(), PlanError> {
        let (done, wait) = oneshot::channel();
        self.commands.send(Command::Apply(plan, completeness, done)).await.map_err(|_| PlanError::Ended)?;
        wait.await.map_err(|_| PlanError::Ended)?
    }

    /// Begins nothing new, lets deliveries under way end until the deadline, commits, ends.
    pub async fn shutdown(&self, deadline: Instant) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Shutdown(deadline, done)).await.is_ok() {
            // An engine that failed drops the sender, which is an end as well.
            let _ = wait.await;
        }
    }

    /// The subscriptions that are served.
    pub fn served(&self) -> Vec<Served> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything below this position is matched.
    pub fn cursor(&self) -> Seq {
        *self.cursor.borrow()
    }
}

/// Starts an engine on its storage. The second value resolves when it ends: `Ok` after a shutdown.
pub async fn start(
    storage: Storage,
    process: Process,
    plan: Arc<InstancePlan>,
    completeness: Completeness,
) -> Result<(Handle, tokio::task::JoinHandle<Result<(), EngineError>>), EngineError> {
    let held = storage.state.acquire(0).await?;
    let (commands, inbox) = mpsc::channel(16);
    let (reports, reported) = mpsc::channel(1_024);
    let gauges = Gauges::default();
    let (cursor_tx, cursor) = watch::channel(1);
    let mut engine = Engine::recover(
        storage,
        held,
        process,
        (plan, completeness),
        reports,
        Arc::clone(&gauges),
        cursor_tx,
    )
    .await?;
    let task = tokio::spawn(async move { engine.run(inbox, reported).await });
    Ok((Handle { commands, gauges, cursor }, task))
}

struct Engine {
    storage: Storage,
    plan: Arc<InstancePlan>,
    client: Option<EgressClient>,
    matcher: Matcher<u32>,
    subscriptions: HashMap<u32, Subscription>,
    by_identity: HashMap<String, u32>,
    next_id: u32,
    /// Everything below is matched.
    cursor: Seq,
    cursor_tx: watch::Sender<Seq>,
    /// After a read that failed: no other before this.
    match_after: Option<Instant>,
    end: watch::Receiver<Seq>,
    committer: Committer,
    /// When each subscription wants to be woken for its next retry.
    timers: BTreeSet<(Instant, u32)>,
    clock: Clock,
    slots: Arc<Slots>,
    metrics: Arc<Metrics>,
    /// Subscriptions that could not begin because of the process's caps, in order.
    starved: VecDeque<u32>,
    in_flight: usize,
    reports: mpsc::Sender<Report>,
    gauges: Gauges,
    /// Ticks until the log is told again what is needed.
    release_in: usize,
    stopping: Option<(Instant, oneshot::Sender<()>)>,
}

impl Engine {
    async fn run(
        &mut self,
        mut inbox: mpsc::Receiver<Command>,
        mut reported: mpsc::Receiver<Report>,
    ) -> Result<(), EngineError> {
        let mut tick = tokio::time::interval(COMMIT_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let behind = self.stopping.is_none()
                && self.cursor < *self.end.borrow_and_update()
                && self.match_after.is_none_or(|after| after <= Instant::now());
            tokio::select! {
                biased;
                Some(command) = inbox.recv() => self.command(command).await?,
                Some(report) = reported.recv() => {
                    self.report(report);
                    for _ in 0..MAX_REPORTS {
                        let Ok(report) = reported.try_recv() else { break };
                        self.report(report);
                    }
                }
                result = self.committer.finished() => self.committed(result)?,
                _ = tick.tick() => self.tick().await?,
                () = sleep_until(self.timers.first().map(|timer| timer.0)) => self.fire_timers(),
                () = std::future::ready(()), if behind => self.match_page().await?,
                changed = self.end.changed(), if !behind => if changed.is_err() {
                    return Err(LogError::Fatal("its writer has ended".to_owned()).into());
                },
            }
            if self.drained() {
                return self.stop().await;
            }
        }
    }

    async fn command(&mut self, command: Command) -> Result<(), EngineError> {
        match command {
            Command::Apply(plan, completeness, done) => {
                let applied = self.apply(plan, completeness).await;
                // The caller may have gone; the plan is served all the same.
                let _ = done.send(applied);
            }
            Command::Shutdown(deadline, done) => self.stopping = Some((deadline, done)),
        }
        Ok(())
    }

    fn drained(&self) -> bool {
        self.stopping.as_ref().is_some_and(|(deadline, _)| self.in_flight == 0 || *deadline <= Instant::now())
    }

    async fn stop(&mut self) -> Result<(), EngineError> {
        let release = self.committer.settle().await?;
        self.release(release);
        let changes = self.changes();
        self.committer.commit_now(changes).await?;
        if let Some((_, done)) = self.stopping.take() {
            let _ = done.send(());
        }
        Ok(())
    }

    /// Whether this instance delivers at all.
    fn delivering(&self) -> bool {
        self.plan.paused.is_none() && !self.plan.suspended && self.stopping.is_none()
    }

    /// Reads the next events and gives each to those who want it.
    async fn match_page(&mut self) -> Result<(), EngineError> {
        let page = match self.storage.events.read_from(self.cursor, PAGE_RECORDS, PAGE_BYTES).await {
            Ok(page) => page,
            Err(error @ LogError::Unreadable { .. }) => {
                tracing::warn!("matching pauses: {error}");
                self.match_after = Some(Instant::now() + READ_AGAIN);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut touched = BTreeSet::new();
        for entry in page.entries {
            let bytes = entry.payload.len() as u32;
            let Some(event) = Event::from_record(entry.payload) else {
                tracing::error!(seq = entry.seq, "a record in the event log is not an event and was skipped");
                continue;
            };
            for (id, verdict) in self.matcher.verdicts(&event) {
                let Some(subscription) = self.subscriptions.get_mut(&id) else { continue };
                if entry.seq < subscription.start {
                    continue;
                }
                match verdict {
                    Ok(_) => {
                        subscription.enqueue(Arrival {
                            seq: entry.seq,
                            bytes,
                            appended_ms: entry.appended_ms,
                        });
                        touched.insert(id);
                    }
                    Err(sentence) => {
                        if subscription.filter_failed() {
                            tracing::warn!(
                                namespace = subscription.plan.namespace,
                                subscription = subscription.plan.name,
                                event = event.name,
                                "spec.filter failed on an event, which is not delivered (told ever more rarely): {sentence}"
                            );
                        }
                    }
                }
            }
        }
        self.cursor = page.next;
        self.committer.touch();
        self.cursor_tx.send_replace(self.cursor);
        for id in touched {
            self.pump(id);
        }
        Ok(())
    }

    /// Begins as many deliveries of a subscription as its concurrency and the process's caps allow.
    fn pump(&mut self, id: u32) {
        if !self.delivering() {
            return;
        }
        let Some(client) = &self.client else { return };
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.refill();
        while let Some((seq, bytes)) = subscription.peek_ready() {
            if !self.slots.take(u64::from(bytes), subscription.in_flight == 0) {
                if !subscription.starved {
                    subscription.starved = true;
                    self.starved.push_back(id);
                }
                return;
            }
            let Some(target) = subscription.target.clone() else { return };
            subscription.begin();
            self.in_flight += 1;
            let attempt = attempts::Attempt {
                id: (id, seq),
                spec: subscription.spec,
                events: Arc::clone(&self.storage.events),
                client: client.clone(),
                target,
                timeout: Duration::from_millis(subscription.plan.timeout_ms),
                recorder: Arc::clone(&subscription.recorder),
                slot: attempts::Slot::new(Arc::clone(&self.slots), u64::from(bytes)),
            };
            attempts::spawn(attempt, self.reports.clone());
        }
    }

    fn report(&mut self, report: Report) {
        self.in_flight -= 1;
        self.committer.touch();
        let now = self.clock.now();
        let id = match report {
            Report::Attempted { id: (id, seq), spec, outcome } => {
                let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
                if let Next::DeadLetter(failure) =
                    subscription.complete(seq, spec, outcome, now, rand::random())
                {
                    self.in_flight += 1;
                    let plan = Arc::clone(&subscription.plan);
                    let storage = self.storage.clone();
                    attempts::spawn_dead_letter((id, seq), storage, plan, failure, self.reports.clone());
                }
                id
            }
            Report::DeadLetter { id: (id, seq), written } => {
                let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
                subscription.finish_dead_letter(seq, written, now, DEAD_LETTER_RETRY);
                id
            }
        };
        self.wake_for_retries(id);
        self.pump(id);
        self.feed_starved(4);
    }

    /// Sees to it that the engine wakes when the subscription's next retry is due.
    fn wake_for_retries(&mut self, id: u32) {
        if let Some(due) = self.subscriptions.get(&id).and_then(Subscription::next_due)
            && self.timers.range((due, id)..=(due, id)).next().is_none()
        {
            self.timers.insert((due, id));
        }
    }

    /// Lets the first subscriptions in the line for the process's slots try again.
    fn feed_starved(&mut self, most: usize) {
        for _ in 0..self.starved.len().min(most) {
            let Some(id) = self.starved.pop_front() else { break };
            if let Some(subscription) = self.subscriptions.get_mut(&id) {
                subscription.starved = false;
                self.pump(id);
            }
        }
    }

    fn fire_timers(&mut self) {
        let now = Instant::now();
        while let Some((due, id)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.pop_first();
            if let Some(subscription) = self.subscriptions.get_mut(&id) {
                subscription.fire_timers(now);
                self.wake_for_retries(id);
                self.pump(id);
            }
        }
    }

    /// Looks after limits, opens what waits, publishes counters, commits.
    async fn tick(&mut self) -> Result<(), EngineError> {
        self.release_in = self.release_in.saturating_sub(1);
        let (_, now_ms) = self.clock.now();
        let mut loose = Vec::new();
        for (id, subscription) in &mut self.subscriptions {
            let expired = subscription.expire(now_ms);
            if expired > 0 {
                self.committer.touch();
                tracing::warn!(
                    namespace = subscription.plan.namespace,
                    subscription = subscription.plan.name,
                    expired,
                    "the oldest events of the backlog expired: spec.delivery.backlog is full"
                );
            }
            subscription.publish();
            if subscription.wants_refill() {
                loose.push(*id);
            }
        }
        for id in loose {
            self.rematch(id).await?;
            self.pump(id);
        }
        self.feed_starved(usize::MAX);
        let release = self.release_in == 0;
        if release {
            self.relieve_log(now_ms);
        }
        if self.committer.wants(release) {
            let changes = self.changes();
            let needed = release.then(|| self.needed());
            if let Some(needed) = &needed {
                self.release_in = RELEASE_EVERY * (1 + needed.len() / NEEDED_PER_RELEASE);
            }
            self.committer.commit(changes, self.cursor, needed);
        }
        Ok(())
    }

    /// When unfinished deliveries fill most of the log, the oldest of the largest backlog give way: intake never stops for
    /// one subscriber. Bounds that fit into the log keep it from coming to this.
    fn relieve_log(&mut self, now_ms: u64) {
        let usage = self.storage.events.usage();
        if usage.used_bytes * 4 < usage.capacity_bytes * 3 {
            return;
        }
        let Some(largest) = self.subscriptions.values_mut().max_by_key(|subscription| subscription.bytes())
        else {
            return;
        };
        let fewer = largest.bytes().saturating_sub(usage.capacity_bytes / RELIEF_SHARE);
        let expired = largest.expire_beyond(now_ms, fewer);
        if expired > 0 {
            self.committer.touch();
            tracing::warn!(
                namespace = largest.plan.namespace,
                subscription = largest.plan.name,
                expired,
                "the oldest events of the largest backlog expired: the event log is nearly full, \
                 give the ChatInstance a larger spec.dispatcher.queue or the subscription a smaller spec.delivery.backlog"
            );
        }
    }

    /// Matches waiting events again that were let in by looser rules while the subscription was paused.
    async fn rematch(&mut self, id: u32) -> Result<(), EngineError> {
        let Some((start, count)) = self.subscriptions.get(&id).and_then(Subscription::next_loose_run) else {
            return Ok(());
        };
        let end = start + u64::from(count);
        let page = match self.storage.events.read_from(start, count as usize, PAGE_BYTES).await {
            Ok(page) => page,
            // The next tick asks again.
            Err(LogError::Unreadable { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return Ok(()) };
        let mut matched = Vec::new();
        for entry in page.entries.into_iter().filter(|entry| entry.seq < end) {
            let bytes = entry.payload.len() as u32;
            let Some(event) = Event::from_record(entry.payload) else { continue };
            match self.matcher.verdicts(&event).into_iter().find(|(of, _)| *of == id) {
                Some((_, Ok(_))) => {
                    matched.push(Arrival { seq: entry.seq, bytes, appended_ms: entry.appended_ms });
                }
                Some((_, Err(_))) => _ = subscription.filter_failed(),
                None => {}
            }
        }
        subscription.refill_matched(matched, page.next);
        self.committer.touch();
        Ok(())
    }
}

/// The wall clock as it was at the start, moved on by the monotonic one: a jump must not expire backlogs.
#[derive(Clone, Copy, Debug)]
struct Clock {
    begun: Instant,
    begun_ms: u64,
}

impl Clock {
    fn new() -> Self {
        Self { begun: Instant::now(), begun_ms: now_ms() }
    }

    /// Now, also as Unix milliseconds.
    fn now(&self) -> (Instant, u64) {
        let now = Instant::now();
        (now, self.begun_ms + now.duration_since(self.begun).as_millis() as u64)
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Wall clock in Unix milliseconds; only for what outlives the process.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// What an engine holds of its shard.
type Shard = (Arc<dyn State>, Held);

//! Serves the plan of one ChatInstance: from its mount at once, and from the API server as soon as it speaks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout_at};

use super::mounted;
use super::pieces::{Identity, Pieces, Source};
use super::status;
use super::watched::{self, Delivered};
use crate::api::conditions::{State, reason};
use crate::board::Board;
use crate::dispatcher::Dispatcher;
use crate::dispatcher::admin::Access;
use crate::dispatcher::data_folder::{DataFolder, DataFolderError};
use crate::dispatcher::observed::{Observer, Served};
use crate::dispatcher::serving::{APPLY_AGAIN, Serving, ServingError, ServingOptions, Shown};
use crate::plan::{Outcome, Plan};
use crate::status::chat_instance::{PlatformFacts, RelayFacts};

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespace of the ChatInstance and of its plan Secrets.
    pub namespace: String,
    /// Name of the ChatInstance.
    pub instance: String,
    /// Where the pieces of the plan are mounted: `<folder>/<n>/plan`.
    pub plan_dir: PathBuf,
    /// Events and delivery state.
    pub data_dir: PathBuf,
    /// Where events are taken.
    pub listen: SocketAddr,
    /// Probes, metrics, status.
    pub admin_listen: SocketAddr,
    /// How long an orderly end may take.
    pub grace: Duration,
    /// Commit this was built from, empty if unknown.
    pub revision: String,
}

/// Why serving did not begin or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// The process below.
    #[error(transparent)]
    Serving(#[from] ServingError),
}

/// How often the mount is read; the kubelet refreshes it within a minute or two.
const LOOK_AT_MOUNT: Duration = Duration::from_secs(2);

/// Pieces that change together come within this time, and are served together.
const TOGETHER: Duration = Duration::from_millis(15);

/// What the administrator's port shows.
#[derive(Default)]
struct Known {
    access: Option<Access>,
    /// The plan that is served, or is to be.
    outcome: Option<Arc<Outcome>>,
    waiting_for: Vec<String>,
}

type SharedKnown = Arc<Mutex<Known>>;

/// Serves until `stop` resolves (then everything ends in order within the grace) or something fails from which only
/// a restart recovers.
pub async fn serve(options: Options, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
    let identity = Identity { namespace: options.namespace, name: options.instance };
    let folder = DataFolder::open(&options.data_dir)?;
    let mut serving = Serving::bind(ServingOptions {
        data_dir: folder.path().to_owned(),
        listen: options.listen,
        admin_listen: options.admin_listen,
        grace: options.grace,
        revision: options.revision,
    })
    .await?;
    let known = SharedKnown::default();
    let mut pod = Pod {
        pieces: Pieces::new(identity.clone()),
        identity: identity.clone(),
        dispatcher: Arc::clone(&serving.dispatcher),
        observer: Arc::clone(&serving.observer),
        known: Arc::clone(&known),
        plan_dir: options.plan_dir,
        mount_problem: None,
        served: None,
        unapplied: false,
        told: None,
    };
    pod.tell(None);
    serving.open_admin(administration(known, Arc::clone(&serving.dispatcher)));
    // Without a plan there is no instance in intake's table, and senders are told to try again.
    serving.open_intake();
    tracing::info!(
        namespace = identity.namespace,
        instance = identity.name,
        intake = %serving.intake_address(),
        admin = %serving.admin_address(),
        "a dispatcher begins"
    );
    serving.run(stop, async move { pod.follow().await.into() }).await
}

fn administration(known: SharedKnown, dispatcher: Arc<Dispatcher>) -> Shown {
    let board = Board::default();
    let elsewhere = |_: &str, _: &str| PlatformFacts {
        reachable: State::unknown(
            reason::NOT_PROBED,
            "The operator speaks to the platform; see the conditions of the ChatInstance.",
        ),
        relay: RelayFacts::NotWanted,
    };
    let waiting = Arc::clone(&known);
    let access = Arc::clone(&known);
    Shown {
        waiting_for: Arc::new(move || lock(&waiting).waiting_for.clone()),
        access: Arc::new(move || lock(&access).access.clone().unwrap_or(Access::NotYet)),
        status: Arc::new(move || {
            let outcome = lock(&known).outcome.clone();
            let now = Time(k8s_openapi::jiff::Timestamp::now());
            let objects = outcome.map_or_else(
                || json!([]),
                |outcome| board.compose(&outcome, &dispatcher.snapshot(), elsewhere, &now),
            );
            json!({ "objects": objects, "files": [] })
        }),
    }
}

fn lock(known: &SharedKnown) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Pod {
    identity: Identity,
    pieces: Pieces,
    dispatcher: Arc<Dispatcher>,
    observer: Arc<Observer>,
    known: SharedKnown,
    plan_dir: PathBuf,
    mount_problem: Option<String>,
    /// What is served, with the revisions of its pieces.
    served: Option<(Plan, Served)>,
    unapplied: bool,
    /// What was told last.
    told: Option<String>,
}

impl Pod {
    /// Follows the mount and the API server; ends only with what a restart must repair.
    async fn follow(&mut self) -> ServingError {
        let mut watched = watched::spawn(self.identity.clone());
        let mut look = interval(LOOK_AT_MOUNT);
        let mut again = interval(APPLY_AGAIN);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let news = tokio::select! {
                // The mount first: its content is at hand.
                biased;
                _ = look.tick() => self.look_at_mount().await,
                delivered = watched.recv() => match delivered {
                    Some(first) => self.take(first, &mut watched).await,
                    None => return ServingError::Ended("the watch on the plan's Secrets"),
                },
                _ = again.tick(), if self.unapplied => true,
            };
            if news {
                self.apply().await;
            }
        }
    }

    async fn look_at_mount(&mut self) -> bool {
        let folder = self.plan_dir.clone();
        let Ok(mounted) = tokio::task::spawn_blocking(move || mounted::read(&folder)).await else {
            return false;
        };
        let mut news = false;
        for (index, bytes) in mounted.pieces {
            news |= self.pieces.offer(index, Source::Mounted, &bytes);
        }
        let problem = (!mounted.unreadable.is_empty()).then(|| mounted.unreadable.join("; "));
        news |= problem != self.mount_problem;
        self.mount_problem = problem;
        news
    }

    /// Takes a piece, and those that come right behind it.
    async fn take(&mut self, first: Delivered, more: &mut mpsc::Receiver<Delivered>) -> bool {
        let deadline = tokio::time::Instant::now() + TOGETHER;
        let mut news = self.pieces.offer(first.0, Source::Watched, &first.1);
        while let Ok(Some((index, bytes))) = timeout_at(deadline, more.recv()).await {
            news |= self.pieces.offer(index, Source::Watched, &bytes);
        }
        news
    }

    /// Serves what is at hand, and tells.
    async fn apply(&mut self) {
        self.unapplied = false;
        let Some(plan) = self.pieces.plan() else { return self.tell(None) };
        {
            let mut known = lock(&self.known);
            known.access = self.pieces.admin_tokens().map(Access::Tokens);
            known.outcome = Some(Arc::new(status::outcome(plan.clone())));
        }
        let shards = self.pieces.revisions();
        let applied = if self.served.as_ref().is_some_and(|(served, _)| *served == plan) {
            Ok(())
        } else {
            if self.served.is_none() {
                lock(&self.known).waiting_for = vec!["the plan: the event log is being read".to_owned()];
            }
            self.dispatcher.apply(plan.clone()).await
        };
        match applied {
            Ok(()) => {
                let Identity { namespace, name } = self.identity.clone();
                self.served = Some((plan, Served { namespace, name, shards, problem: None }));
                self.tell(None);
            }
            Err(error) => {
                self.unapplied = true;
                self.tell(Some(error.to_string()));
            }
        }
    }

    /// Says what is served, and why it is not the newest if it is not.
    fn tell(&mut self, failure: Option<String>) {
        let reading = self.pieces.problem().or_else(|| self.mount_problem.clone());
        let problem = failure.or(reading);
        lock(&self.known).waiting_for = match (&self.served, &problem) {
            (Some(_), _) => Vec::new(),
            (None, Some(problem)) => vec![format!("the plan: {problem}")],
            (None, None) => vec![format!(
                "the plan: piece 0 of {}/{} is neither mounted at {} nor delivered by the API server yet",
                self.identity.namespace,
                self.identity.name,
                self.plan_dir.display()
            )],
        };
        if self.told != problem {
            match &problem {
                Some(problem) => {
                    tracing::warn!(problem, missing = self.pieces.missing(), "the newest plan is not served");
                }
                None => tracing::info!("the newest plan is served"),
            }
            self.told.clone_from(&problem);
        }
        let Identity { namespace, name } = self.identity.clone();
        let served = self.served.as_ref().map(|(_, served)| served.clone());
        let served = served.unwrap_or(Served { namespace, name, ..Served::default() });
        self.observer.served(Served { problem, ..served });
    }
}

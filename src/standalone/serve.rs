//! Serves a directory: listeners, dispatcher, and a new plan whenever the directory changes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::data_dir::{DataDir, DataDirError};
use super::directory::Directory;
use super::folder::{FileReport, Folder};
use super::status::Board;
use super::store::Patience;
use super::{changes, descriptors, watch as watching};
use crate::dispatcher::admin::{self, AdminState};
use crate::dispatcher::http_server::{ServerLimits, serve as serve_http};
use crate::dispatcher::intake::{self, IntakeLimits, IntakeState};
use crate::dispatcher::{self, Dispatcher, DispatcherError};
use crate::metrics::Metrics;
use crate::plan::Outcome;

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of manifests.
    pub directory: PathBuf,
    /// Mounted Secrets: `<namespace>/<name>/<key>`.
    pub secrets_dir: Option<PathBuf>,
    /// Events, delivery state, generated Secrets.
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
    /// There is no such directory.
    #[error("{0} is not a directory that can be read; name the folder that holds your manifests")]
    NoDirectory(PathBuf),
    /// An address is taken or not ours.
    #[error("cannot listen on {address}: {source}; choose another with {flag}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// Where to ask for something else.
        flag: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The dispatcher.
    #[error(transparent)]
    Dispatcher(#[from] DispatcherError),
    /// A part that must not end has ended.
    #[error("{0} ended unexpectedly; this is a bug, please report it")]
    Ended(&'static str),
}

/// What is served once everything has started.
#[derive(Debug)]
pub struct Started {
    /// What was read.
    pub folder: Folder,
    /// What it means.
    pub outcome: Arc<Outcome>,
    /// Where events are taken.
    pub intake: SocketAddr,
    /// Probes, metrics, status.
    pub admin: SocketAddr,
}

/// How often a plan that could not be applied is tried again.
const APPLY_AGAIN: Duration = Duration::from_secs(5);

/// Part of the grace that requests under way may take; the rest is for deliveries.
const INTAKE_SHARE: u32 = 4;

/// Part of the grace that is kept for writing state and leaving.
const LEAVE: Duration = Duration::from_millis(500);

/// What `/v1/status` and `/readyz` are made of.
struct Shown {
    outcome: Arc<Outcome>,
    files: Vec<FileReport>,
    waiting_for: Vec<String>,
}

type SharedShown = Arc<Mutex<Shown>>;

/// Serves until `stop` resolves (then everything ends in order within the grace) or something fails from which only
/// a restart recovers. `started` is called once, as soon as events are taken.
pub async fn serve(
    options: Options,
    stop: impl Future<Output = ()>,
    started: impl FnOnce(&Started),
) -> Result<(), ServeError> {
    if !options.directory.is_dir() {
        return Err(ServeError::NoDirectory(options.directory));
    }
    let limits = ServerLimits { max_connections: descriptors::connections(), ..ServerLimits::default() };
    let data_dir = Arc::new(DataDir::open(&options.data_dir)?);
    let intake = bind(options.listen, "--listen").await?;
    let admin = bind(options.admin_listen, "--admin-listen").await?;
    let metrics = Arc::new(Metrics::new(&options.revision));
    let dispatcher = Arc::new(Dispatcher::new(dispatcher::Options {
        data_dir: data_dir.path().to_owned(),
        metrics: Arc::clone(&metrics),
    }));
    let measured = Arc::clone(&dispatcher);
    metrics.set_snapshot(Arc::new(move || measured.snapshot()));

    let mut directory = Directory::new(options.directory, options.secrets_dir);
    directory.look(Patience::AtOnce);
    let folder = directory.folder();
    let outcome = Arc::new(data_dir.compile(&folder.inputs)?);
    changes::tell(None, &outcome, &[], &folder.files());
    let shown = Arc::new(Mutex::new(Shown {
        outcome: Arc::clone(&outcome),
        files: folder.files(),
        waiting_for: vec!["the event log to be read".to_owned()],
    }));

    let (stopping, _) = watch::channel(());
    let addresses = (intake.local_addr().ok(), admin.local_addr().ok());
    let admin_state = admin_state(Arc::clone(&shown), Arc::clone(&dispatcher), Arc::clone(&metrics));
    let mut admin_task = listen(admin, admin::router(admin_state), limits, stopping.subscribe(), LEAVE);
    let mut server = Server { dispatcher, data_dir, shown, files: folder.files(), outcome, unapplied: false };
    server.apply().await?;

    let intake_state = IntakeState::new(
        server.dispatcher.intake_table(),
        Arc::new(SystemTime::now),
        metrics,
        IntakeLimits::default(),
    );
    let drain = options.grace / INTAKE_SHARE;
    let mut intake_task = listen(intake, intake::router(intake_state), limits, stopping.subscribe(), drain);
    started(&Started {
        folder: folder.clone(),
        outcome: Arc::clone(&server.outcome),
        intake: addresses.0.unwrap_or(options.listen),
        admin: addresses.1.unwrap_or(options.admin_listen),
    });

    let mut folders = watching::spawn(directory, folder);
    let result = tokio::select! {
        () = stop => Ok(()),
        ended = server.follow(&mut folders) => Err(ended),
        _ = &mut intake_task => Err(ServeError::Ended("the intake listener")),
        _ = &mut admin_task => Err(ServeError::Ended("the admin listener")),
    };
    let deadline = Instant::now() + options.grace.saturating_sub(LEAVE);
    stopping.send_replace(());
    if result.is_ok() {
        tracing::info!(grace = ?options.grace, "stopping: requests and deliveries under way may end");
        // What is cut here was not acknowledged; senders try again.
        let _ = timeout_at(deadline, &mut intake_task).await;
        server.dispatcher.shutdown(deadline.saturating_duration_since(Instant::now())).await;
    }
    result
}

async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, flag, source })
}

fn listen(
    listener: TcpListener,
    router: axum::Router,
    limits: ServerLimits,
    mut stop: watch::Receiver<()>,
    drain: Duration,
) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let stopped = async move {
            // An error means that the sender is gone, and so is everything else.
            let _ = stop.changed().await;
        };
        serve_http(listener, router, limits, stopped, drain).await
    })
}

fn admin_state(shown: SharedShown, dispatcher: Arc<Dispatcher>, metrics: Arc<Metrics>) -> AdminState {
    let board = Board::default();
    let waiting = Arc::clone(&shown);
    AdminState {
        waiting_for: Arc::new(move || lock(&waiting).waiting_for.clone()),
        status: Arc::new(move || {
            let (outcome, files) = {
                let shown = lock(&shown);
                (Arc::clone(&shown.outcome), shown.files.clone())
            };
            board.compose(
                &outcome,
                &dispatcher.snapshot(),
                &files,
                &Time(k8s_openapi::jiff::Timestamp::now()),
            )
        }),
        metrics,
    }
}

fn lock(shown: &SharedShown) -> std::sync::MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Server {
    dispatcher: Arc<Dispatcher>,
    data_dir: Arc<DataDir>,
    shown: SharedShown,
    files: Vec<FileReport>,
    outcome: Arc<Outcome>,
    unapplied: bool,
}

impl Server {
    async fn apply(&mut self) -> Result<(), DispatcherError> {
        let applied = self.dispatcher.apply(self.outcome.plan.clone()).await;
        self.unapplied = applied.is_err();
        let mut shown = lock(&self.shown);
        shown.waiting_for.clear();
        shown.files.clone_from(&self.files);
        if let Err(error) = &applied {
            shown.files.push(FileReport {
                path: self.data_dir.path().display().to_string(),
                error: format!("what was read last is not served yet, trying again: {error}"),
            });
        }
        applied
    }

    /// Follows the directory; ends only with what a restart must repair.
    async fn follow(&mut self, folders: &mut watch::Receiver<Folder>) -> ServeError {
        let mut again = interval(APPLY_AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let dispatcher = Arc::clone(&self.dispatcher);
        loop {
            tokio::select! {
                changed = folders.changed() => {
                    if changed.is_err() {
                        return ServeError::Ended("the watch on the directory");
                    }
                    let folder = folders.borrow_and_update().clone();
                    self.take(folder).await;
                }
                _ = again.tick(), if self.unapplied => {
                    if let Err(error) = self.apply().await {
                        tracing::warn!(%error, "the plan is not served yet; trying again");
                    }
                }
                error = dispatcher.failed() => return error.into(),
            }
        }
    }

    async fn take(&mut self, folder: Folder) {
        let data_dir = Arc::clone(&self.data_dir);
        let files = folder.files();
        let compiled = tokio::task::spawn_blocking(move || data_dir.compile(&folder.inputs)).await;
        let outcome = match compiled {
            Ok(Ok(outcome)) => Arc::new(outcome),
            Ok(Err(error)) => {
                tracing::error!(%error, "a change of the directory is not served");
                lock(&self.shown).files.push(FileReport {
                    path: self.data_dir.path().display().to_string(),
                    error: format!("what was read last is not served: {error}"),
                });
                return;
            }
            Err(error) => {
                tracing::error!(%error, "a change of the directory is not served: compiling it failed; please report this");
                return;
            }
        };
        changes::tell(Some(&self.outcome), &outcome, &self.files, &files);
        let same_plan = self.outcome.plan == outcome.plan && !self.unapplied;
        self.outcome = Arc::clone(&outcome);
        self.files.clone_from(&files);
        {
            let mut shown = lock(&self.shown);
            shown.outcome = outcome;
            shown.files = files;
        }
        if !same_plan && let Err(error) = self.apply().await {
            tracing::error!(%error, "a change of the directory is not served yet; trying again");
        }
    }
}

//! Serves a directory: listeners, dispatcher, and a new plan whenever the directory changes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::data_dir::{DataDir, DataDirError};
use super::directory::Directory;
use super::folder::{FileReport, Folder};
use super::platforms::{Platforms, intake_addresses};
use super::store::Patience;
use super::{changes, watch as watching};
use crate::board::Board;
use crate::dispatcher::admin::Access;
use crate::dispatcher::serving::{
    APPLY_AGAIN, Serving, ServingError, ServingOptions, Shown as Administration,
};
use crate::dispatcher::{Dispatcher, DispatcherError};
use crate::plan::Outcome;
use crate::plan::platform::IntakeAddresses;
use crate::status::chat_instance::PlatformFacts;

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
    /// The data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The process below.
    #[error(transparent)]
    Serving(#[from] ServingError),
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
    let data_dir = Arc::new(DataDir::open(&options.data_dir)?);
    let mut serving = Serving::bind(ServingOptions {
        data_dir: data_dir.path().to_owned(),
        listen: options.listen,
        admin_listen: options.admin_listen,
        grace: options.grace,
        revision: options.revision,
    })
    .await?;

    let mut directory = Directory::new(options.directory, options.secrets_dir);
    directory.look(Patience::AtOnce);
    let folder = directory.folder();
    let intake = intake_addresses(serving.intake_address());
    let platforms = Platforms::begin(data_dir.identity()?, serving.dispatcher.relays());
    let outcome = Arc::new(data_dir.compile(&folder.inputs, &intake)?);
    changes::tell(None, &outcome, &[], &folder.files());
    let shown = Arc::new(Mutex::new(Shown {
        outcome: Arc::clone(&outcome),
        files: folder.files(),
        waiting_for: vec!["the event log to be read".to_owned()],
    }));

    serving.open_admin(administration(
        Arc::clone(&shown),
        Arc::clone(&serving.dispatcher),
        platforms.facts(),
    ));
    let dispatcher = Arc::clone(&serving.dispatcher);
    let mut server = Server {
        dispatcher,
        data_dir,
        shown,
        files: folder.files(),
        outcome,
        unapplied: false,
        intake,
        platforms,
    };
    server.apply().await.map_err(ServingError::from)?;

    serving.open_intake();
    started(&Started {
        folder: folder.clone(),
        outcome: Arc::clone(&server.outcome),
        intake: serving.intake_address(),
        admin: serving.admin_address(),
    });
    let mut folders = watching::spawn(directory, folder);
    serving.run(stop, server.follow(&mut folders)).await
}

/// What the administrator's port shows; open, since it listens on loopback unless asked otherwise.
fn administration(
    shown: SharedShown,
    dispatcher: Arc<Dispatcher>,
    platform: impl Fn(&str, &str) -> PlatformFacts + Send + Sync + 'static,
) -> Administration {
    let board = Board::default();
    let waiting = Arc::clone(&shown);
    Administration {
        waiting_for: Arc::new(move || lock(&waiting).waiting_for.clone()),
        access: Arc::new(|| Access::Open),
        status: Arc::new(move || {
            let (outcome, files) = {
                let shown = lock(&shown);
                (Arc::clone(&shown.outcome), shown.files.clone())
            };
            let now = Time(k8s_openapi::jiff::Timestamp::now());
            json!({ "objects": board.compose(&outcome, &dispatcher.snapshot(), &platform, &now), "files": files })
        }),
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
    intake: IntakeAddresses,
    platforms: Platforms,
}

impl Server {
    async fn apply(&mut self) -> Result<(), DispatcherError> {
        let applied = self.dispatcher.apply(self.outcome.plan.clone()).await;
        // After the intake that a relay needs.
        self.platforms.want(&self.outcome);
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
        loop {
            tokio::select! {
                changed = folders.changed() => {
                    if changed.is_err() {
                        return ServingError::Ended("the watch on the directory").into();
                    }
                    let folder = folders.borrow_and_update().clone();
                    self.take(folder).await;
                }
                _ = again.tick(), if self.unapplied => {
                    if let Err(error) = self.apply().await {
                        tracing::warn!(%error, "the plan is not served yet; trying again");
                    }
                }
            }
        }
    }

    async fn take(&mut self, folder: Folder) {
        let (data_dir, intake) = (Arc::clone(&self.data_dir), self.intake.clone());
        let files = folder.files();
        let compiled = tokio::task::spawn_blocking(move || data_dir.compile(&folder.inputs, &intake)).await;
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
        if same_plan {
            self.platforms.want(&self.outcome);
        } else if let Err(error) = self.apply().await {
            tracing::error!(%error, "a change of the directory is not served yet; trying again");
        }
    }
}

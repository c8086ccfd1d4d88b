//! A process that serves a plan: its two listeners, its dispatcher, and its end in order.
//!
//! Every front end runs on this; must not know where plans come from.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::admin::{self, Access, AdminState};
use super::http_server::{ServerLimits, serve as serve_http};
use super::intake::{self, IntakeLimits, IntakeState};
use super::observed::Observer;
use super::{Dispatcher, DispatcherError, Options, descriptors};
use crate::metrics::Metrics;

/// Part of the grace that requests under way may take; the rest is for deliveries.
const INTAKE_SHARE: u32 = 4;

/// Part of the grace that is kept for writing state and leaving.
const LEAVE: Duration = Duration::from_millis(500);

/// How often a front end tries a plan again that could not be applied.
pub const APPLY_AGAIN: Duration = Duration::from_secs(5);

/// Where to serve, and how to end.
#[derive(Clone, Debug)]
pub struct ServingOptions {
    /// Events and delivery state; held by the caller.
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
pub enum ServingError {
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
    /// The dispatcher.
    #[error(transparent)]
    Dispatcher(#[from] DispatcherError),
    /// A part that must not end has ended.
    #[error("{0} ended unexpectedly; this is a bug, please report it")]
    Ended(&'static str),
}

/// What a front end shows on the administrator's port.
pub struct Shown {
    /// What is being waited for, one line each; empty once ready.
    pub waiting_for: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Who may read `/v1/status` and `/v1/observed`.
    pub access: Arc<dyn Fn() -> Access + Send + Sync>,
    /// `/v1/status`.
    pub status: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
}

/// A process that has its addresses. Nothing is answered before [`Serving::open_admin`].
pub struct Serving {
    /// What serves the plan.
    pub dispatcher: Arc<Dispatcher>,
    /// What is told at `/v1/observed`.
    pub observer: Arc<Observer>,
    metrics: Arc<Metrics>,
    limits: ServerLimits,
    grace: Duration,
    intake: Door,
    admin: Door,
    stopping: watch::Sender<()>,
}

/// A listener, and then the task that serves it.
struct Door {
    address: SocketAddr,
    listener: Option<TcpListener>,
    task: Option<JoinHandle<usize>>,
}

impl Serving {
    /// Takes the addresses and makes a dispatcher that serves nothing yet.
    pub async fn bind(options: ServingOptions) -> Result<Self, ServingError> {
        let limits = ServerLimits { max_connections: descriptors::connections(), ..ServerLimits::default() };
        let intake = Door::bind(options.listen, "--listen").await?;
        let admin = Door::bind(options.admin_listen, "--admin-listen").await?;
        let metrics = Arc::new(Metrics::new(&options.revision));
        let dispatcher =
            Arc::new(Dispatcher::new(Options { data_dir: options.data_dir, metrics: Arc::clone(&metrics) }));
        let measured = Arc::clone(&dispatcher);
        metrics.set_snapshot(Arc::new(move || measured.snapshot()));
        Ok(Self {
            observer: Arc::new(Observer::new(Arc::clone(&dispatcher))),
            dispatcher,
            metrics,
            limits,
            grace: options.grace,
            intake,
            admin,
            stopping: watch::channel(()).0,
        })
    }

    /// Where events are taken, or will be.
    pub fn intake_address(&self) -> SocketAddr {
        self.intake.address
    }

    /// Where probes, metrics and status are, or will be.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address
    }

    /// Answers on the administrator's port from now on.
    pub fn open_admin(&mut self, shown: Shown) {
        let router = admin::router(AdminState {
            waiting_for: shown.waiting_for,
            access: shown.access,
            status: shown.status,
            observer: Arc::clone(&self.observer),
            metrics: Arc::clone(&self.metrics),
        });
        self.admin.open(router, self.limits, self.stopping.subscribe(), LEAVE);
    }

    /// Takes events from now on.
    pub fn open_intake(&mut self) {
        let state = IntakeState::new(
            self.dispatcher.intake_table(),
            self.dispatcher.relays(),
            Arc::new(SystemTime::now),
            Arc::clone(&self.metrics),
            IntakeLimits::default(),
        );
        let drain = self.grace / INTAKE_SHARE;
        self.intake.open(intake::router(state), self.limits, self.stopping.subscribe(), drain);
    }

    /// Serves until `stop` resolves, and then ends in order within the grace; or until `follow`, which brings the
    /// plans, or anything else ends that must not.
    pub async fn run<E: From<ServingError>>(
        mut self,
        stop: impl Future<Output = ()>,
        follow: impl Future<Output = E>,
    ) -> Result<(), E> {
        let result = tokio::select! {
            () = stop => Ok(()),
            ended = follow => Err(ended),
            error = self.dispatcher.failed() => Err(ServingError::Dispatcher(error).into()),
            () = self.intake.ended() => Err(ServingError::Ended("the intake listener").into()),
            () = self.admin.ended() => Err(ServingError::Ended("the admin listener").into()),
        };
        let deadline = Instant::now() + self.grace.saturating_sub(LEAVE);
        self.stopping.send_replace(());
        if result.is_ok() {
            tracing::info!(grace = ?self.grace, "stopping: requests and deliveries under way may end");
            // What is cut here was not acknowledged; senders try again.
            if self.intake.task.is_some() {
                let _ = timeout_at(deadline, self.intake.ended()).await;
            }
            self.dispatcher.shutdown(deadline.saturating_duration_since(Instant::now())).await;
        }
        result
    }
}

impl Door {
    async fn bind(address: SocketAddr, flag: &'static str) -> Result<Self, ServingError> {
        let failed = |source| ServingError::Listen { address, flag, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { address, listener: Some(listener), task: None })
    }

    fn open(
        &mut self,
        router: axum::Router,
        limits: ServerLimits,
        mut stop: watch::Receiver<()>,
        drain: Duration,
    ) {
        let Some(listener) = self.listener.take() else { return };
        self.task = Some(tokio::spawn(async move {
            let stopped = async move {
                // An error means that the sender is gone, and so is everything else.
                let _ = stop.changed().await;
            };
            serve_http(listener, router, limits, stopped, drain).await
        }));
    }

    /// Resolves when it was open and is so no longer.
    async fn ended(&mut self) {
        match &mut self.task {
            Some(task) => {
                let _ = task.await;
            }
            None => std::future::pending().await,
        }
    }
}

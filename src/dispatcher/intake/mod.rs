//! Takes events over HTTP and answers once they are durable; takes the hellos of relays.
//!
//! A request passes, in this order: which instance, who sends, how large and of what kind, the body within its
//! bounds, the events in it, the log. Must not know what becomes of an event afterwards.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, watch};

use super::relays::Relays;
use crate::log::EventLog;
use crate::metrics::Metrics;
use crate::plan::model::IntakePlan;

mod auth;
mod body;
mod content;
mod events;
mod handler;
mod inflate;
mod instance;
mod percent;
mod relay;
mod store;

pub use body::BodyBudget;
pub use handler::router;

/// Largest event, in bytes as received.
pub const MAX_EVENT: usize = 1024 * 1024;

/// Most events of one request.
pub const MAX_EVENTS: usize = 10_000;

/// Events named in the `errors` of a batch that is refused whole.
pub const MAX_ERRORS: usize = 100;

/// What intake needs to know of one ChatInstance.
pub struct IntakeInstance {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Why nothing is taken now.
    pub paused: Option<String>,
    /// Who may post.
    pub auth: IntakePlan,
    /// Where accepted events go.
    pub log: Arc<dyn EventLog>,
}

/// Everything intake serves now; swapped as a whole when the plan changes.
pub type IntakeTable = Arc<Vec<Arc<IntakeInstance>>>;

/// Bounds of intake that are not part of the contract with senders.
#[derive(Clone, Copy, Debug)]
pub struct IntakeLimits {
    /// Largest request body in bytes, on the wire and inflated.
    pub max_body: usize,
    /// Bytes of bodies in memory at once, over all requests.
    pub bodies_in_flight: usize,
    /// A body may be slow for this long.
    pub body_grace: Duration,
    /// After that it must have come at this rate on average, in bytes per second.
    pub body_rate: u32,
    /// No body may take longer.
    pub body_deadline: Duration,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        Self {
            max_body: 8 * 1024 * 1024,
            bodies_in_flight: 64 * 1024 * 1024,
            body_grace: Duration::from_secs(5),
            body_rate: 1024,
            body_deadline: Duration::from_mins(1),
        }
    }
}

/// Large bodies inflated and parsed at once, off the runtime's workers.
const DECODERS: usize = 4;

/// What the handlers share.
#[derive(Clone)]
pub struct IntakeState {
    table: watch::Receiver<IntakeTable>,
    relays: Arc<Relays>,
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    metrics: Arc<Metrics>,
    limits: IntakeLimits,
    budget: Arc<BodyBudget>,
    decoders: Arc<Semaphore>,
}

impl IntakeState {
    /// `relays` hears the hellos; `clock` tells the time for signatures and for CloudEvents without `time`.
    pub fn new(
        table: watch::Receiver<IntakeTable>,
        relays: Arc<Relays>,
        clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
        metrics: Arc<Metrics>,
        limits: IntakeLimits,
    ) -> Self {
        let budget = Arc::new(BodyBudget::new(limits.bodies_in_flight));
        Self { table, relays, clock, metrics, limits, budget, decoders: Arc::new(Semaphore::new(DECODERS)) }
    }

    /// Unix seconds.
    fn now(&self) -> i64 {
        (self.clock)().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
    }
}

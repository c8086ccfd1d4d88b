//! Leader election on a `coordination.k8s.io/v1` Lease. Every operator replica watches and serves; only the leader writes.
//!
//! Leadership ends by the clock: it is asked for at the moment of a write ([`Leadership::deadline`]), so an API that
//! hangs, a process that was stopped or a machine that slept cannot prolong it. Nothing here may rely on wall clocks
//! that agree, and no write of the Lease is forced.
//!
//! One hole stays, by choice: a process that sees the Lease for the first time and finds none makes it at once. If
//! someone deleted it a moment before, its holder learns of that only with its next renewal (within one retry).

mod candidate;
mod election;
#[cfg(test)]
mod schedule_tests;
mod term;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::platform::WriteGate;
use term::{Moment, Term};

/// Who runs for which Lease, and how fast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub lease_name: String,
    /// Written as the holder. No two living processes may have the same: the pod's name, or a host name and a random part.
    pub identity: String,
    /// How long the others wait after the last renewal they saw; rounded up to whole seconds in the Lease.
    pub lease: Duration,
    /// How long leadership lasts without a further renewal; at most two thirds of `lease` are used.
    pub renew_deadline: Duration,
    /// Time between two looks or renewals, give or take a fifth.
    pub retry: Duration,
}

impl Options {
    /// The timings of client-go: a lease of 15 s, renewed within 10 s, tried every 2 s.
    pub fn new(namespace: &str, lease_name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            lease_name: lease_name.to_owned(),
            identity: identity.to_owned(),
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }

    /// Length of a term; shorter than the lease, whatever was asked for.
    fn term(&self) -> Duration {
        self.renew_deadline.min(self.lease * 2 / 3)
    }

    /// Longest single call, so that one that hangs leaves time for another within a term.
    fn call(&self) -> Duration {
        self.term() / 2
    }
}

/// Begins to run for the Lease. Must be called within a tokio runtime.
pub fn spawn(client: kube::Client, options: Options) -> (Leadership, Election) {
    let (term_sender, term) = watch::channel(None);
    let (leading_sender, leading) = watch::channel(false);
    let (release, released) = oneshot::channel();
    let driver = election::Driver::new(client, options, term_sender, leading_sender);
    let task = tokio::spawn(driver.run(released));
    (Leadership { term, leading }, Election { task, release })
}

/// Whether this process leads; cheap to clone and to ask.
#[derive(Clone, Debug)]
pub struct Leadership {
    term: watch::Receiver<Option<Term>>,
    leading: watch::Receiver<bool>,
}

impl Leadership {
    /// By when a write must have ended, `None` when this process does not lead. Ask right before each write: the answer
    /// holds for now, and lies before the moment at which another process could lead.
    pub fn deadline(&self) -> Option<Instant> {
        let term = (*self.term.borrow())?;
        term.deadline(Moment::now())
    }

    /// Whether this process leads at this moment.
    pub fn is_leader(&self) -> bool {
        self.deadline().is_some()
    }

    /// Tells of leadership won and lost. A loss by the clock is told as soon as this process runs; before a write, ask
    /// [`Leadership::deadline`].
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.leading.clone()
    }

    /// Resolves when this process leads; never, once the election has ended.
    pub async fn acquired(&self) {
        let mut term = self.term.clone();
        while !self.is_leader() {
            if term.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl WriteGate for Leadership {
    fn deadline(&self) -> Option<Instant> {
        Leadership::deadline(self)
    }
}

/// The running election. Dropped, it stops renewing without a release: the others wait for the lease to end.
#[derive(Debug)]
#[must_use = "leadership is not renewed without it"]
pub struct Election {
    task: JoinHandle<()>,
    release: oneshot::Sender<()>,
}

impl Election {
    /// Resolves if the election ends, which it does only by a fault: the process must end then. Safe to cancel.
    pub async fn ended(&mut self) -> Result<(), JoinError> {
        (&mut self.task).await
    }

    /// Ends leadership and hands the Lease over, if it is still ours; takes at most one renew deadline. Call it when the
    /// writes under way have ended.
    pub async fn release(self) {
        // An error means that the election has ended already.
        let _ = self.release.send(());
        if !self.task.is_finished() {
            let _ = self.task.await;
        }
    }
}

//! The rounds of an election: looks, writes, tells. Decides nothing that [`Candidate`] can decide.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::sync::{oneshot, watch};

use super::Options;
use super::candidate::{Candidate, Step};
use super::term::{Moment, Term};

/// HTTP status of a write that was guarded by a version which is gone, or of a creation that came second.
const CONFLICT: u16 = 409;

/// Runs the election of one process.
pub(super) struct Driver {
    api: Api<Lease>,
    options: Options,
    candidate: Candidate,
    term: watch::Sender<Option<Term>>,
    leading: watch::Sender<bool>,
    failing: bool,
}

/// What became of a write.
#[derive(PartialEq, Eq)]
enum Write {
    /// Done, or nothing was to be done.
    Settled,
    /// The Lease is not what we took it for.
    Outdated,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the API server did not answer within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Api(kube::Error),
}

impl Driver {
    pub(super) fn new(
        client: kube::Client,
        options: Options,
        term: watch::Sender<Option<Term>>,
        leading: watch::Sender<bool>,
    ) -> Self {
        let candidate = Candidate::new(options.identity.clone(), options.lease, Timestamp::now());
        let api = Api::namespaced(client, &options.namespace);
        Self { api, options, candidate, term, leading, failing: false }
    }

    /// Runs until `stop` is sent, then releases; stops without a release when the sender is dropped.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let orderly = loop {
            self.round().await;
            tokio::select! {
                stopped = &mut stop => break stopped.is_ok(),
                () = tokio::time::sleep(self.pause()) => {}
            }
            self.publish();
        };
        self.candidate.resign();
        self.publish();
        if orderly && tokio::time::timeout(self.options.call(), self.release()).await.is_err() {
            tracing::warn!(lease = self.options.lease_name, "the Lease could not be released in time");
        }
    }

    async fn round(&mut self) {
        match self.look_and_write().await {
            Ok(()) => self.failing = false,
            // Said once, not every two seconds.
            Err(error) if self.failing => {
                tracing::debug!(lease = self.options.lease_name, %error, "the Lease still cannot be read or written");
            }
            Err(error) => {
                self.failing = true;
                tracing::warn!(
                    lease = self.options.lease_name,
                    namespace = self.options.namespace,
                    %error,
                    "the Lease cannot be read or written; leadership ends unless that changes"
                );
            }
        }
        self.publish();
    }

    async fn look_and_write(&mut self) -> Result<(), Failure> {
        if !self.candidate.holds_record() {
            self.look().await?;
        }
        if self.write().await? == Write::Outdated {
            self.look().await?;
            self.write().await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let name = self.options.lease_name.clone();
        let record = self.bounded(self.api.get_opt(&name)).await?;
        self.observe(record);
        Ok(())
    }

    async fn write(&mut self) -> Result<Write, Failure> {
        let started = Moment::now();
        let Options { namespace, lease_name, .. } = &self.options;
        let draft = self.candidate.draft(namespace, lease_name, Timestamp::now());
        let parameters = PostParams::default();
        let answer = match self.candidate.step(started) {
            Step::Look | Step::Wait => return Ok(Write::Settled),
            Step::Create => self.bounded(self.api.create(&parameters, &draft)).await,
            Step::Take | Step::Renew => {
                let answer = self.bounded(self.api.replace(lease_name, &parameters, &draft)).await;
                if matches!(&answer, Err(Failure::Api(kube::Error::Api(status))) if status.is_not_found()) {
                    self.observe(None);
                    return Ok(Write::Outdated);
                }
                answer
            }
        };
        match answer {
            Ok(record) => {
                // A term that ended before its renewal was answered (this process may have been stopped) is told as lost
                // first: whoever gave up meanwhile looks again only when leadership turns.
                self.publish();
                self.candidate.wrote(record, started, Moment::now(), self.options.term());
                self.publish();
                Ok(Write::Settled)
            }
            Err(Failure::Api(kube::Error::Api(status))) if status.code == CONFLICT => Ok(Write::Outdated),
            Err(error) => Err(error),
        }
    }

    /// Hands the Lease over. Looks first, because a renewal may have arrived whose answer was lost.
    async fn release(&mut self) {
        let outcome = async {
            loop {
                self.look().await?;
                let Some(draft) = self.candidate.release(Timestamp::now()) else { return Ok(()) };
                let name = &self.options.lease_name;
                match self.bounded(self.api.replace(name, &PostParams::default(), &draft)).await {
                    Err(Failure::Api(kube::Error::Api(status))) if status.code == CONFLICT => {}
                    answer => return answer.map(drop),
                }
            }
        };
        if let Err(error) = outcome.await {
            tracing::warn!(lease = self.options.lease_name, %error, "the Lease could not be released");
        }
    }

    fn observe(&mut self, record: Option<Lease>) {
        self.candidate.observe(record, Moment::now(), Timestamp::now());
        self.publish();
    }

    /// Limits a call to what it may take, and to what is left of the term.
    async fn bounded<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        let limit = self.left().map_or(self.options.call(), |left| left.min(self.options.call()));
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(Failure::Api),
            Err(_) => Err(Failure::TimedOut(limit)),
        }
    }

    /// What is left of the term.
    fn left(&self) -> Option<Duration> {
        let now = Moment::now();
        Some(self.candidate.term()?.deadline(now)?.saturating_duration_since(now.clock))
    }

    /// Until the next round; not beyond the end of the term. Looking is cheaper than renewing, and whoever looks twice
    /// as often follows a leader that let go within about a second.
    fn pause(&self) -> Duration {
        let Options { retry, .. } = self.options;
        let retry = if self.left().is_some() { retry } else { retry / 2 };
        let jittered = retry.mul_f64(0.8 + 0.4 * rand::random::<f64>());
        self.left().map_or(jittered, |left| left.min(jittered))
    }

    /// Tells the others in this process.
    fn publish(&self) {
        let term = self.candidate.term().filter(|term| term.deadline(Moment::now()).is_some());
        self.term.send_if_modified(|published| std::mem::replace(published, term) != term);
        let leads = term.is_some();
        let changed = self.leading.send_if_modified(|published| std::mem::replace(published, leads) != leads);
        if changed {
            let Options { namespace, lease_name, identity, .. } = &self.options;
            if leads {
                tracing::info!(namespace, lease = lease_name, identity, "this process leads");
            } else {
                tracing::info!(
                    namespace,
                    lease = lease_name,
                    identity,
                    "this process does not lead any more"
                );
            }
        }
    }
}

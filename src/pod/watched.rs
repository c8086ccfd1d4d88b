//! Watches the 16 plan Secrets by name, so that a change is served within moments.
//!
//! Needs get, list and watch on these names alone. Everything that goes wrong here is survived: what is served stays.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{BoxStream, select_all};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::utils::{Backoff, StreamBackoff};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::pieces::Identity;
use crate::plan::shards::{SECRET_KEY, SHARDS, secret_name};

/// Pause after a first failure; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Without an error for this long, all is well again.
const QUIET: Duration = Duration::from_mins(1);

/// Seconds after which the API server ends a watch that is quiet, and it begins anew.
const WATCH_SECONDS: u32 = 100;

/// A connection that is silent for longer is dead: the API server would have ended its watch.
const READ_TIMEOUT: Duration = Duration::from_secs(110);

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Pieces that wait to be looked at.
const WAITING: usize = 2 * SHARDS as usize;

/// A piece as the API server has it: its number and its bytes.
pub(super) type Delivered = (u8, Vec<u8>);

/// Watches for as long as somebody receives.
pub(super) fn spawn(identity: Identity) -> mpsc::Receiver<Delivered> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        tokio::select! {
            () = watch(&identity, &sender) => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

async fn watch(identity: &Identity, sender: &mpsc::Sender<Delivered>) {
    let client = connect().await;
    let api: Api<Secret> = Api::namespaced(client, &identity.namespace);
    let mut watches =
        select_all((0..SHARDS).map(|index| piece(&api, index, secret_name(&identity.name, index))));
    let mut away = Away::default();
    while let Some((index, event)) = watches.next().await {
        match event {
            Ok(event) => {
                // A Secret that is gone is late, never empty: what it held stays served.
                if let Event::Apply(secret) | Event::InitApply(secret) = event {
                    let bytes = secret.data.and_then(|mut data| data.remove(SECRET_KEY));
                    let bytes = bytes.map(|bytes| bytes.0).unwrap_or_default();
                    if sender.send((index, bytes)).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => away.tell(&error),
        }
    }
}

fn piece(
    api: &Api<Secret>,
    index: u8,
    name: String,
) -> BoxStream<'static, (u8, Result<Event<Secret>, watcher::Error>)> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(WATCH_SECONDS);
    StreamBackoff::new(watcher(api.clone(), config), Pauses::new()).map(move |event| (index, event)).boxed()
}

/// A client, as soon as there can be one.
async fn connect() -> Client {
    let mut pauses = Pauses::new();
    let mut told = false;
    loop {
        let client = match Config::infer().await {
            Ok(mut config) => {
                config.connect_timeout = Some(CONNECT_TIMEOUT);
                config.read_timeout = Some(READ_TIMEOUT);
                Client::try_from(config).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match client {
            Ok(client) => return client,
            Err(error) if !told => {
                told = true;
                tracing::warn!(
                    error,
                    "the plan is only read from its mount: neither a service account nor KUBECONFIG says where the \
                     API server is"
                );
            }
            Err(_) => {}
        }
        sleep(pauses.next().unwrap_or(PAUSE_MAX)).await;
    }
}

/// Says once that the API server is away: again only after [`QUIET`] without an error.
#[derive(Debug, Default)]
struct Away(Option<Instant>);

impl Away {
    fn tell(&mut self, error: &watcher::Error) {
        let before = self.0.replace(Instant::now());
        if before.is_none_or(|before| before.elapsed() > QUIET) {
            let error = why(error);
            tracing::warn!(error, "the plan's Secrets cannot be watched; what is served stays, trying again");
        }
    }
}

/// The error in a few words: those of the API server stay out of it.
fn why(error: &watcher::Error) -> String {
    let answered =
        |status: &kube::core::Status| format!("the API server answers {} {}", status.code, status.reason);
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => answered(status),
        other => other.to_string(),
    }
}

/// Doubling pauses, each shortened by up to half so that dispatchers do not come back all at once.
///
/// They begin anew after [`QUIET`] without one, and not with a success: a watcher tells of every attempt as one, and of
/// nothing at all while a watch goes on quietly.
#[derive(Debug)]
struct Pauses {
    next: Duration,
    last: Option<Instant>,
}

impl Pauses {
    fn new() -> Self {
        Self { next: PAUSE_MIN, last: None }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.last.replace(Instant::now()).is_some_and(|last| last.elapsed() > QUIET) {
            self.next = PAUSE_MIN;
        }
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX);
        Some(pause.mul_f64(rand::random_range(0.5..=1.0)))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_bound_and_begin_anew() {
        let mut pauses = Pauses::new();
        let bounds = [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000].map(Duration::from_millis);
        for bound in bounds {
            let pause = pauses.next().unwrap();
            assert!((bound / 2..=bound).contains(&pause), "{pause:?} of {bound:?}");
        }
        tokio::time::advance(QUIET + Duration::from_secs(1)).await;
        assert!(pauses.next().unwrap() <= PAUSE_MIN);
    }
}

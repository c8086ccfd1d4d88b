//! `/v1/observed`: what this process has seen, numbered, and a long poll for whoever wants to know the next.
//!
//! Composes only; what each fact means is said by `status`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use super::Dispatcher;
use super::snapshot::{InstanceSnapshot, SubscriptionSnapshot};
use crate::status::observed::{Observed, ObservedHealth, ObservedInstance, ObservedSubscription};

/// Longest wait of one request.
pub const MAX_WAIT: Duration = Duration::from_secs(55);

/// Requests that wait at once; the operator has one per replica of its own.
pub const MAX_WAITERS: usize = 16;

/// Subscriptions that are told; a plan of the size that fits its Secrets has fewer.
pub const MAX_SUBSCRIPTIONS: usize = 20_000;

/// Bytes of a sentence.
const MAX_SENTENCE: usize = 1024;

/// How soon a change that nobody announces is seen while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a front end knows of one instance that its dispatcher does not: the revisions of the plan's pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Namespace of the ChatInstance.
    pub namespace: String,
    /// Name of the ChatInstance.
    pub name: String,
    /// Revision of each piece that is served, by its number.
    pub shards: BTreeMap<u8, String>,
    /// Why the newest plan is not served, in one sentence.
    pub problem: Option<String>,
}

/// Keeps the newest document and its number.
pub struct Observer {
    dispatcher: Arc<Dispatcher>,
    served: Mutex<Option<Served>>,
    newest: Mutex<Observed>,
    changed: watch::Sender<()>,
    waiters: Semaphore,
}

/// What is asked: the document after this one.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct After {
    /// `process` of the document that is known.
    pub process: String,
    /// `sequence` of the document that is known.
    pub after: u64,
    /// Seconds to wait for another one, at most [`MAX_WAIT`].
    pub wait: u64,
}

/// [`MAX_WAITERS`] others wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWaiters;

impl Observer {
    /// An observer of this process.
    pub fn new(dispatcher: Arc<Dispatcher>) -> Self {
        let process = format!("{:032x}", rand::random::<u128>());
        Self {
            dispatcher,
            served: Mutex::default(),
            newest: Mutex::new(Observed { process, ..Observed::default() }),
            changed: watch::channel(()).0,
            waiters: Semaphore::new(MAX_WAITERS),
        }
    }

    /// What the front end serves from now on; whoever waits is told.
    pub fn served(&self, served: Served) {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = Some(served);
        self.changed.send_replace(());
    }

    /// The document as of now.
    pub fn look(&self) -> Observed {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that a later number never stands on an earlier document.
        let mut instances = self.compose(served);
        keep_what_only_counts(&newest.instances, &mut instances);
        if newest.instances != instances {
            newest.sequence += 1;
            newest.instances = instances;
        }
        newest.clone()
    }

    /// The document after the one that is known, or the same one at the end of the wait.
    pub async fn wait(&self, known: &After) -> Result<Observed, TooManyWaiters> {
        let deadline = Instant::now() + Duration::from_secs(known.wait).min(MAX_WAIT);
        let _turn = self.waiters.try_acquire().map_err(|_| TooManyWaiters)?;
        let mut changed = self.changed.subscribe();
        let relays = self.dispatcher.relays();
        let mut heard = relays.heard();
        loop {
            let now = self.look();
            if now.process != known.process || now.sequence > known.after || Instant::now() >= deadline {
                return Ok(now);
            }
            tokio::select! {
                _ = changed.changed() => {}
                _ = heard.changed() => {}
                () = sleep_until(deadline.min(Instant::now() + LOOK_EVERY)) => {}
            }
        }
    }

    fn compose(&self, served: Option<Served>) -> Vec<ObservedInstance> {
        let now = Instant::now();
        let relays = self.dispatcher.relays();
        let mut instances: Vec<ObservedInstance> = Vec::new();
        for snapshot in self.dispatcher.snapshot() {
            let mut one = instance(snapshot);
            (one.relays, one.hints) =
                relays.read(&one.namespace, &one.name, |table| (table.alive(now), table.hints()));
            instances.push(one);
        }
        let Some(served) = served else { return instances };
        let of = |one: &ObservedInstance| one.namespace == served.namespace && one.name == served.name;
        if !instances.iter().any(of) {
            // Not served at all yet: its problem is told all the same.
            let (namespace, name) = (served.namespace.clone(), served.name.clone());
            instances.push(ObservedInstance { namespace, name, ..ObservedInstance::default() });
        }
        if let Some(one) = instances.iter_mut().find(|one| of(one)) {
            one.problem = served.problem.as_deref().map(sentence);
            one.shards.clone_from(&served.shards);
        }
        instances
    }
}

fn instance(snapshot: InstanceSnapshot) -> ObservedInstance {
    ObservedInstance {
        namespace: snapshot.namespace,
        name: snapshot.name,
        generation: snapshot.generation,
        log_full: snapshot.usage.refusing,
        subscriptions: snapshot.subscriptions.into_iter().take(MAX_SUBSCRIPTIONS).map(subscription).collect(),
        ..ObservedInstance::default()
    }
}

fn subscription(snapshot: SubscriptionSnapshot) -> ObservedSubscription {
    let health = snapshot.health.as_ref().map(|health| {
        let health = ObservedHealth::from(health);
        ObservedHealth { message: sentence(&health.message), ..health }
    });
    ObservedSubscription {
        namespace: snapshot.namespace,
        name: snapshot.name,
        generation: snapshot.generation,
        health,
    }
}

/// What only counts is told with what turns, and is no news by itself.
fn keep_what_only_counts(told: &[ObservedInstance], now: &mut [ObservedInstance]) {
    for instance in now {
        let before = told.iter().find(|one| one.namespace == instance.namespace && one.name == instance.name);
        let Some(before) = before else { continue };
        for (one, before) in instance.subscriptions.iter_mut().zip(&before.subscriptions) {
            if (&one.namespace, &one.name) != (&before.namespace, &before.name) {
                // Another set of subscriptions: that is news in any case.
                break;
            }
            if let (Some(health), Some(told)) = (&mut one.health, &before.health) {
                let same = ObservedHealth { failures: told.failures, ..health.clone() };
                if same == *told {
                    health.failures = told.failures;
                }
            }
        }
    }
}

fn sentence(text: &str) -> String {
    if text.len() <= MAX_SENTENCE {
        return text.to_owned();
    }
    let end = (0..=MAX_SENTENCE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_health(health: ObservedHealth) -> Vec<ObservedInstance> {
        let subscription = ObservedSubscription { health: Some(health), ..ObservedSubscription::default() };
        vec![ObservedInstance { subscriptions: vec![subscription], ..ObservedInstance::default() }]
    }

    #[test]
    fn one_more_failure_is_no_news() {
        let failing = |reason: &str, failures| ObservedHealth {
            reason: reason.to_owned(),
            failures,
            ..ObservedHealth::default()
        };
        let told = with_health(failing("Timeout", 1));
        let mut now = with_health(failing("Timeout", 9));
        keep_what_only_counts(&told, &mut now);
        assert_eq!(now, told);
        let mut now = with_health(failing("HttpError", 9));
        keep_what_only_counts(&told, &mut now);
        assert_eq!(now, with_health(failing("HttpError", 9)));
    }

    #[test]
    fn sentences_are_bounded() {
        assert_eq!(sentence("short"), "short");
        assert_eq!(sentence(&"é".repeat(600)), format!("{}…", "é".repeat(512)));
    }
}

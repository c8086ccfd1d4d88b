//! What the relays of a chat platform say of themselves: which workers run, what they lost, what they saw change.
//!
//! A hint to look again, never a command: whoever administers the platform can sign as a relay.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::status::observed::{Hint, ObservedRelay};

/// A worker counts as running for this long after its last hello; hellos come every 15 s.
pub const ALIVE: Duration = Duration::from_mins(1);

/// Workers of one platform.
pub const MAX_WORKERS: usize = 256;

/// Hints of one hello.
pub const MAX_HINTS: usize = 32;

/// Hints that are remembered.
pub const REMEMBERED_HINTS: usize = 64;

/// Characters of a worker's id and of the hash of its configuration.
const MAX_ID: usize = 128;

/// Characters of a version.
const MAX_VERSION: usize = 64;

/// Characters of the name of an event.
const MAX_EVENT_NAME: usize = 128;

/// Characters of what a hint is about.
const MAX_SUBJECT: usize = 256;

/// What a relay posts to `/v1/relay`.
#[derive(Clone, Debug, Deserialize)]
pub struct Hello {
    /// The worker.
    pub relay: RelayHello,
    /// What it saw change, oldest first.
    #[serde(default)]
    pub hints: Vec<HelloHint>,
}

/// One worker process of the platform.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayHello {
    /// Identifies the worker process.
    pub worker: String,
    /// The relay's own version.
    pub version: String,
    /// Hash of the configuration it works with.
    pub config: String,
    /// The platform's version.
    #[serde(default)]
    pub platform_version: Option<String>,
    /// What it is about to do.
    pub state: RelayState,
    /// Events it has dropped because its buffer was full, since it runs.
    #[serde(default)]
    pub dropped: u64,
}

/// What a relay is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum RelayState {
    /// It takes events.
    Active,
    /// Somebody switched it off.
    Off,
    /// Somebody wrote other code in its place.
    Replaced,
    /// Its process ends.
    Stopping,
}

/// Something a relay saw change.
#[derive(Clone, Debug, Deserialize)]
pub struct HelloHint {
    /// Name of the event.
    pub event: String,
    /// Id of what it is about.
    #[serde(default)]
    pub subject: Option<String>,
}

impl Hello {
    /// Whether everything is within its bounds; the error is a sentence.
    pub fn check(&self) -> Result<(), &'static str> {
        let RelayHello { worker, version, config, platform_version, .. } = &self.relay;
        let plain = |text: &str, max| text.len() <= max && text.bytes().all(|byte| byte.is_ascii_graphic());
        if worker.is_empty() || !plain(worker, MAX_ID) {
            return Err("relay.worker must be 1 to 128 printable ASCII characters.");
        }
        if !plain(config, MAX_ID) {
            return Err("relay.config must be at most 128 printable ASCII characters.");
        }
        if ![Some(version), platform_version.as_ref()]
            .into_iter()
            .flatten()
            .all(|one| plain(one, MAX_VERSION))
        {
            return Err(
                "relay.version and relay.platformVersion must be at most 64 printable ASCII characters.",
            );
        }
        if self.hints.len() > MAX_HINTS {
            return Err("hints may have 32 entries; say hello more often.");
        }
        if !self.hints.iter().all(|hint| !hint.event.is_empty() && plain(&hint.event, MAX_EVENT_NAME)) {
            return Err("hints[].event must be the name of an event, at most 128 characters.");
        }
        let subject = |text: &str| text.len() <= MAX_SUBJECT && !text.chars().any(char::is_control);
        if !self.hints.iter().filter_map(|hint| hint.subject.as_deref()).all(subject) {
            return Err("hints[].subject must be an id of at most 256 bytes, or null.");
        }
        Ok(())
    }
}

/// No room: [`MAX_WORKERS`] others said hello within the last minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWorkers;

/// The relays of one ChatInstance.
#[derive(Debug, Default)]
pub struct RelayTable {
    /// Those that are silent too: what they dropped is not to be counted again when they come back.
    workers: BTreeMap<String, Worker>,
    hints: VecDeque<Hint>,
    /// Of the newest hint.
    sequence: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Worker {
    last: RelayHello,
    heard: Instant,
}

impl Worker {
    fn alive(&self, now: Instant) -> bool {
        self.last.state == RelayState::Active && now.duration_since(self.heard) < ALIVE
    }
}

impl RelayTable {
    /// Takes a checked hello. Returns how many events the relay dropped since its last one.
    pub fn hear(&mut self, hello: Hello, now: Instant) -> Result<u64, TooManyWorkers> {
        let Hello { relay, hints } = hello;
        let before = self.workers.get(&relay.worker).map(|worker| (worker.last.state, worker.last.dropped));
        if before.is_none() {
            self.make_room(now)?;
        }
        let (state, already) = before.unwrap_or((RelayState::Active, 0));
        // A smaller figure is that of another life of the worker.
        let dropped = if relay.dropped < already { relay.dropped } else { relay.dropped - already };
        self.dropped += dropped;
        if relay.state != state {
            match relay.state {
                RelayState::Off => self.hint("relay.off".to_owned(), None),
                RelayState::Replaced => self.hint("relay.replaced".to_owned(), None),
                RelayState::Active | RelayState::Stopping => {}
            }
        }
        for hint in hints {
            self.hint(hint.event, hint.subject);
        }
        self.workers.insert(relay.worker.clone(), Worker { last: relay, heard: now });
        Ok(dropped)
    }

    /// Forgets the worker that has been silent for longest, if there are too many.
    fn make_room(&mut self, now: Instant) -> Result<(), TooManyWorkers> {
        if self.workers.len() < MAX_WORKERS {
            return Ok(());
        }
        let silent = self.workers.iter().filter(|(_, worker)| !worker.alive(now));
        let oldest = silent.min_by_key(|(_, worker)| worker.heard).map(|(id, _)| id.clone());
        oldest.and_then(|id| self.workers.remove(&id)).map(|_| ()).ok_or(TooManyWorkers)
    }

    fn hint(&mut self, event: String, subject: Option<String>) {
        self.sequence += 1;
        if self.hints.len() == REMEMBERED_HINTS {
            self.hints.pop_front();
        }
        self.hints.push_back(Hint { sequence: self.sequence, event, subject });
    }

    /// Workers that run, by id.
    pub fn alive(&self, now: Instant) -> Vec<ObservedRelay> {
        let alive = self.workers.values().filter(|worker| worker.alive(now)).map(|worker| &worker.last);
        alive
            .map(|relay| ObservedRelay {
                worker: relay.worker.clone(),
                version: relay.version.clone(),
                config: relay.config.clone(),
                platform_version: relay.platform_version.clone(),
                dropped: relay.dropped,
            })
            .collect()
    }

    /// How many workers run.
    pub fn count(&self, now: Instant) -> u64 {
        self.workers.values().filter(|worker| worker.alive(now)).count() as u64
    }

    /// What relays saw change, oldest first.
    pub fn hints(&self) -> Vec<Hint> {
        self.hints.iter().cloned().collect()
    }

    /// Events that relays dropped, since this process runs.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

type Key = (String, String);

/// The relays of every ChatInstance, by namespace and name.
#[derive(Debug, Default)]
pub struct Relays {
    tables: Mutex<BTreeMap<Key, RelayTable>>,
    heard: watch::Sender<()>,
}

impl Relays {
    /// Takes a checked hello to an instance that is served.
    pub fn hear(
        &self,
        namespace: &str,
        name: &str,
        hello: Hello,
        now: Instant,
    ) -> Result<(), TooManyWorkers> {
        let worker = hello.relay.worker.clone();
        let dropped = {
            let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            tables.entry((namespace.to_owned(), name.to_owned())).or_default().hear(hello, now)?
        };
        if dropped > 0 {
            tracing::warn!(
                namespace,
                instance = name,
                worker,
                dropped,
                "a relay dropped events because its buffer was full"
            );
        }
        self.heard.send_replace(());
        Ok(())
    }

    /// Looks at the relays of an instance; an empty table before the first hello.
    pub fn read<T>(&self, namespace: &str, name: &str, read: impl FnOnce(&RelayTable) -> T) -> T {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        match tables.get(&(namespace.to_owned(), name.to_owned())) {
            Some(table) => read(table),
            None => read(&RelayTable::default()),
        }
    }

    /// Forgets the relays of instances that are not served any more.
    pub(super) fn retain(&self, served: &BTreeSet<Key>) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|key, _| served.contains(key));
    }

    /// Changes with every hello.
    pub fn heard(&self) -> watch::Receiver<()> {
        self.heard.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(worker: &str, state: RelayState, dropped: u64) -> Hello {
        let relay = RelayHello {
            worker: worker.to_owned(),
            version: "1".to_owned(),
            config: "c".to_owned(),
            platform_version: Some("0.12.4".to_owned()),
            state,
            dropped,
        };
        Hello { relay, hints: Vec::new() }
    }

    fn alive(table: &RelayTable, now: Instant) -> Vec<String> {
        table.alive(now).into_iter().map(|relay| relay.worker).collect()
    }

    #[test]
    fn a_worker_counts_for_a_minute_after_its_last_hello() {
        let begin = Instant::now();
        let mut table = RelayTable::default();
        table.hear(hello("a", RelayState::Active, 0), begin).unwrap();
        table.hear(hello("b", RelayState::Active, 0), begin + Duration::from_secs(30)).unwrap();
        assert_eq!(alive(&table, begin + Duration::from_secs(59)), ["a", "b"]);
        assert_eq!(alive(&table, begin + Duration::from_mins(1)), ["b"]);
    }

    #[test]
    fn a_relay_that_is_switched_off_is_hinted_at_once() {
        let now = Instant::now();
        let mut table = RelayTable::default();
        table.hear(hello("a", RelayState::Active, 0), now).unwrap();
        for state in [RelayState::Off, RelayState::Off, RelayState::Active, RelayState::Replaced] {
            table.hear(hello("a", state, 0), now).unwrap();
        }
        table.hear(hello("b", RelayState::Stopping, 0), now).unwrap();
        assert_eq!(alive(&table, now), [""; 0]);
        let hints: Vec<_> = table.hints().into_iter().map(|hint| (hint.sequence, hint.event)).collect();
        assert_eq!(hints, [(1, "relay.off".to_owned()), (2, "relay.replaced".to_owned())]);
    }

    #[test]
    fn what_was_dropped_is_counted_once() {
        let begin = Instant::now();
        let mut table = RelayTable::default();
        let mut hear = |worker, dropped, second| {
            table
                .hear(hello(worker, RelayState::Active, dropped), begin + Duration::from_secs(second))
                .unwrap()
        };
        assert_eq!([hear("a", 5, 0), hear("a", 5, 1), hear("a", 7, 2), hear("b", 1, 3)], [5, 0, 2, 1]);
        assert_eq!(hear("a", 7, 600), 0, "silent for long, but known");
        assert_eq!(hear("a", 3, 601), 3, "another life");
        assert_eq!(table.dropped(), 11);
    }

    #[test]
    fn workers_and_hints_are_bounded() {
        let begin = Instant::now();
        let mut table = RelayTable::default();
        for worker in 0..MAX_WORKERS {
            table.hear(hello(&worker.to_string(), RelayState::Active, 0), begin).unwrap();
        }
        assert_eq!(table.hear(hello("more", RelayState::Active, 0), begin), Err(TooManyWorkers));
        table.hear(hello("more", RelayState::Active, 0), begin + ALIVE).unwrap();
        assert_eq!(table.workers.len(), MAX_WORKERS);

        for round in 0..3 {
            let mut many = hello("more", RelayState::Active, 0);
            many.hints = vec![HelloHint { event: format!("function.{round}"), subject: None }; MAX_HINTS];
            many.check().unwrap();
            table.hear(many, begin + ALIVE).unwrap();
        }
        let hints = table.hints();
        assert_eq!((hints.len(), hints[0].sequence, hints[63].sequence), (64, 33, 96));
    }

    #[test]
    fn every_text_of_a_hello_is_bounded() {
        let refused = |change: &dyn Fn(&mut Hello)| {
            let mut hello = hello("a", RelayState::Active, 0);
            change(&mut hello);
            hello.check().unwrap_err().split(' ').next().unwrap().to_owned()
        };
        assert_eq!(refused(&|hello| hello.relay.worker = "a".repeat(129)), "relay.worker");
        assert_eq!(refused(&|hello| hello.relay.worker = String::new()), "relay.worker");
        assert_eq!(refused(&|hello| hello.relay.config = "a\nb".to_owned()), "relay.config");
        assert_eq!(refused(&|hello| hello.relay.version = "v".repeat(65)), "relay.version");
        let hint = HelloHint { event: "function.updated".to_owned(), subject: Some("s".repeat(257)) };
        assert_eq!(refused(&|hello| hello.hints = vec![hint.clone()]), "hints[].subject");
        let hint = HelloHint { event: String::new(), subject: None };
        assert_eq!(refused(&|hello| hello.hints = vec![hint.clone(); 33]), "hints");
        assert_eq!(refused(&|hello| hello.hints = vec![hint.clone()]), "hints[].event");
    }
}

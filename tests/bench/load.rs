//! The two load generators, and what counts as accepted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Result;
use crate::client::Client;
use crate::envelope::RequestTemplate;
use crate::ledger::Ledger;
use crate::shape::{Load, Shape};
use crate::systems::Target;

/// Pause of a connection after a refusal or a fault, so that an overloaded server is not asked in a spin.
const PAUSE: Duration = Duration::from_millis(10);

/// Sends load of that shape for `span`, until everything sent is answered.
pub(crate) async fn generate(
    target: &Target,
    shape: Shape,
    span: Duration,
    ledger: &Arc<Ledger>,
) -> Result<()> {
    let token = target.token.as_deref();
    let host = target.address.to_string();
    let template = RequestTemplate::new(&host, &target.path, token, &ledger.run, shape.batch);
    let sender = || Sender {
        client: Client::new(target.address),
        template: template.clone(),
        batch: shape.batch,
        ledger: Arc::clone(ledger),
    };
    let mut tasks = JoinSet::new();
    match shape.load {
        Load::Closed { connections } => {
            for _ in 0..connections {
                tasks.spawn(closed(sender(), span));
            }
        }
        Load::Open { per_second, connections } => {
            let schedule = Arc::new(Schedule::new(ledger.started(), per_second, span));
            for _ in 0..connections {
                tasks.spawn(open(sender(), Arc::clone(&schedule)));
            }
            let pacer = std::thread::Builder::new().name("pacer".to_owned());
            pacer.spawn(move || schedule.run())?;
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}

async fn closed(mut sender: Sender, span: Duration) {
    let end = sender.ledger.started() + span;
    loop {
        let now = Instant::now();
        if now >= end || !sender.send(now).await {
            return;
        }
    }
}

async fn open(mut sender: Sender, schedule: Arc<Schedule>) {
    while let Some(due) = schedule.next().await {
        if !sender.send(due).await {
            return;
        }
    }
}

/// One connection's side of the load.
struct Sender {
    client: Client,
    template: RequestTemplate,
    batch: usize,
    ledger: Arc<Ledger>,
}

impl Sender {
    /// Sends one request that was due at `due`; false when the books are full.
    async fn send(&mut self, due: Instant) -> bool {
        let Some(first) = self.ledger.send(self.batch, due) else { return false };
        self.template.number(first);
        match self.client.exchange(&self.template.bytes).await {
            Ok((status, body)) if (200..300).contains(&status) && took_all(body, self.batch) => {
                self.ledger.accept(first, self.batch);
                return true;
            }
            Ok(_) => self.ledger.refused.fetch_add(1, Relaxed),
            Err(_) => self.ledger.broken.fetch_add(1, Relaxed),
        };
        tokio::time::sleep(PAUSE).await;
        true
    }
}

/// Whether an answer says that every event was taken; the reference's answer is empty and says so by its status.
fn took_all(body: &[u8], batch: usize) -> bool {
    #[derive(serde::Deserialize)]
    struct Verdict {
        accepted: usize,
    }
    body.is_empty() || serde_json::from_slice::<Verdict>(body).is_ok_and(|verdict| verdict.accepted == batch)
}

/// Due times at a fixed rate. A thread of its own hands them out: the runtime's timer has a grain of a millisecond,
/// as much as the latencies that are to be measured.
struct Schedule {
    start: Instant,
    step: Duration,
    count: u64,
    due: Semaphore,
    taken: AtomicU64,
}

impl Schedule {
    fn new(start: Instant, per_second: u32, span: Duration) -> Self {
        let step = Duration::from_secs(1) / per_second;
        let count = (span.as_secs_f64() * f64::from(per_second)) as u64;
        Self { start, step, count, due: Semaphore::new(0), taken: AtomicU64::new(0) }
    }

    fn at(&self, index: u64) -> Instant {
        self.start + Duration::from_nanos(self.step.as_nanos() as u64 * index)
    }

    /// Releases each request when it is due, then says that there are no more.
    fn run(&self) {
        for index in 0..self.count {
            loop {
                let wait = self.at(index).saturating_duration_since(Instant::now());
                if wait.is_zero() {
                    break;
                }
                std::thread::park_timeout(wait);
            }
            self.due.add_permits(1);
        }
        self.due.close();
    }

    /// Waits for the next due time; `None` when all have been taken.
    async fn next(&self) -> Option<Instant> {
        if let Ok(permit) = self.due.acquire().await {
            permit.forget();
        }
        // A closed semaphore forgets the permits that nobody had taken: the count decides, not the permit.
        let index = self.taken.fetch_add(1, Relaxed);
        (index < self.count).then(|| self.at(index))
    }
}

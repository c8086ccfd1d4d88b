//! Random schedules of the pure core: processes whose clocks run differently, requests and answers that are late or lost,
//! a server that fails, Leases that are deleted. However it goes, no two terms overlap.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::candidate::{Candidate, Step};
use super::term::Moment;

const LEASE: Duration = Duration::from_secs(15);
const TERM: Duration = Duration::from_secs(10);

#[derive(Clone)]
enum Request {
    Look,
    Create(Lease),
    Replace(Lease),
}

#[derive(Clone)]
enum Answer {
    Record(Option<Lease>),
    Written(Lease),
    Refused,
    Failed,
}

struct Flight {
    request: Request,
    started: Moment,
    answer: Option<Answer>,
}

struct Process {
    candidate: Candidate,
    /// How fast its clock runs, and what it shows at the beginning.
    rate: f64,
    offset: Duration,
    look: bool,
    flight: Option<Flight>,
}

struct World {
    random: StdRng,
    epoch: Instant,
    time: Duration,
    processes: Vec<Process>,
    lease: Option<Lease>,
    version: u64,
    /// Requests whose sender has given up, still on their way.
    late: Vec<Request>,
    deleted: Duration,
    faults: bool,
    terms: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let processes = (0..3)
            .map(|number| Process {
                candidate: Candidate::new(format!("p{number}"), LEASE, wall(Duration::ZERO, number)),
                rate: random.random_range(0.9..1.1),
                offset: Duration::from_millis(random.random_range(0..100_000)),
                look: true,
                flight: None,
            })
            .collect();
        Self {
            random,
            epoch: Instant::now(),
            time: Duration::ZERO,
            processes,
            lease: None,
            version: 0,
            late: Vec::new(),
            deleted: Duration::ZERO,
            faults: true,
            terms: 0,
        }
    }

    fn now(&self, number: usize) -> Moment {
        let process = &self.processes[number];
        let since_boot = process.offset + self.time.mul_f64(process.rate);
        Moment { clock: self.epoch + since_boot, since_boot }
    }

    fn leaders(&self) -> usize {
        (0..self.processes.len())
            .filter(|&number| {
                let term = self.processes[number].candidate.term();
                term.is_some_and(|term| term.deadline(self.now(number)).is_some())
            })
            .count()
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.faults && self.random.random_bool(probability)
    }

    /// One thing happens somewhere.
    fn event(&mut self) {
        let longest = if self.chance(0.03) { 20_000 } else { 600 };
        self.time += Duration::from_millis(self.random.random_range(0..longest));
        if self.chance(0.01) {
            self.delete();
        } else if !self.late.is_empty() && self.chance(0.1) {
            let request = self.late.swap_remove(0);
            self.serve(&request);
        } else {
            let number = self.random.random_range(0..self.processes.len());
            self.advance(number);
        }
    }

    /// Deletions that come thick, or overtake a creation on its way, are beyond what is promised.
    fn delete(&mut self) {
        let creating = self
            .processes
            .iter()
            .any(|process| matches!(&process.flight, Some(Flight { request: Request::Create(_), .. })));
        let known = self.time > Duration::from_mins(2);
        if self.time > self.deleted + LEASE * 8 && !creating && known {
            self.lease = None;
            self.late.clear();
            self.deleted = self.time;
        }
    }

    fn advance(&mut self, number: usize) {
        let now = self.now(number);
        match self.processes[number].flight.take() {
            None => self.begin(number, now),
            Some(Flight { request, started, answer: None }) => {
                if self.chance(0.1) {
                    // It gives up; the request may still arrive.
                    self.late.push(request);
                    self.give_up(number);
                } else {
                    let answer = if self.chance(0.1) { Answer::Failed } else { self.serve(&request) };
                    self.processes[number].flight = Some(Flight { request, started, answer: Some(answer) });
                }
            }
            Some(Flight { started, answer: Some(answer), .. }) => {
                let answer = if self.chance(0.1) { Answer::Failed } else { answer };
                self.end(number, started, now, answer);
            }
        }
    }

    fn begin(&mut self, number: usize, now: Moment) {
        let time = self.time;
        let process = &mut self.processes[number];
        let draft = || process.candidate.draft("ops", "op", wall(time, number));
        let request = match process.candidate.step(now) {
            _ if process.look => Request::Look,
            Step::Look | Step::Wait => {
                process.look = true;
                return;
            }
            Step::Create => Request::Create(draft()),
            Step::Take | Step::Renew => Request::Replace(draft()),
        };
        process.flight = Some(Flight { request, started: now, answer: None });
    }

    fn end(&mut self, number: usize, started: Moment, now: Moment, answer: Answer) {
        let wall = wall(self.time, number);
        let candidate = &mut self.processes[number].candidate;
        match answer {
            Answer::Failed => self.give_up(number),
            Answer::Refused => self.processes[number].look = true,
            Answer::Record(record) => {
                candidate.observe(record, now, wall);
                self.processes[number].look = false;
            }
            Answer::Written(record) => {
                candidate.wrote(record, started, now, TERM);
                self.terms += 1;
                self.processes[number].look = false;
            }
        }
    }

    fn give_up(&mut self, number: usize) {
        let process = &mut self.processes[number];
        process.look = !process.candidate.holds_record();
    }

    fn serve(&mut self, request: &Request) -> Answer {
        let stored = self.lease.as_ref().map(|lease| lease.metadata.resource_version.clone());
        let sent = match request {
            Request::Look => return Answer::Record(self.lease.clone()),
            Request::Create(_) if stored.is_some() => return Answer::Refused,
            Request::Replace(sent) if stored != Some(sent.metadata.resource_version.clone()) => {
                return Answer::Refused;
            }
            Request::Create(sent) | Request::Replace(sent) => sent,
        };
        self.version += 1;
        let mut written = sent.clone();
        written.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(written.clone());
        Answer::Written(written)
    }
}

/// The wall clocks disagree by years, which must not matter.
fn wall(time: Duration, number: usize) -> Timestamp {
    let years = i64::try_from(number).unwrap() * 100_000_000;
    Timestamp::from_microsecond(i64::try_from(time.as_micros()).unwrap() + years * 1_000_000).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_terms_overlap_and_somebody_leads_in_the_end(seed: u64) {
        let mut world = World::new(seed);
        for _ in 0..1_500 {
            world.event();
            prop_assert!(world.leaders() <= 1, "two lead at {:?}", world.time);
        }
        prop_assert!(world.terms > 10, "only {} terms", world.terms);
        world.faults = false;
        let calm = world.time;
        while world.leaders() == 0 {
            world.event();
            prop_assert!(world.time < calm + LEASE * 4, "nobody leads");
        }
    }
}

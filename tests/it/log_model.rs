//! The embedded engine against a simple model of it, on a disk that loses power at any time: what was promised is
//! there, nothing is there that nobody wrote, repeats are recognised, and state is as last committed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use chathooks::log::segment::{self, Embedded};
use chathooks::log::{Appended, BatchMode, Delta, EventLog, Held, LogError, State};
use futures::FutureExt;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::log_contract::{clock, options, payload, record, runs};
use crate::log_sim_disk::SimDisk;

#[derive(Clone, Debug)]
enum Step {
    /// So many new events, and so many that came before; together less than a segment, so that a refusal is whole.
    Append { new: u64, repeats: u64 },
    /// Releases all but every n-th three of the oldest part.
    Release { part: u64, keep_every: u64 },
    /// Sets or removes keys.
    Commit(Vec<(u8, Option<u16>)>),
    /// The power goes, perhaps with an append or a commit under way.
    Crash { seed: u64, appending: u64, committing: bool },
    /// A clean stop and start.
    Restart,
    /// Reads everything.
    ReadAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (1..18_u64, 0..4_u64).prop_map(|(new, repeats)| Step::Append { new, repeats }),
        5 => (0..100_u64, 2..20_u64).prop_map(|(part, keep_every)| Step::Release { part, keep_every }),
        4 => prop::collection::vec((0..20_u8, prop::option::of(0..3000_u16)), 1..8).prop_map(Step::Commit),
        3 => (any::<u64>(), 0..60_u64, any::<bool>())
            .prop_map(|(seed, appending, committing)| Step::Crash { seed, appending, committing }),
        1 => Just(Step::Restart),
        2 => Just(Step::ReadAll),
    ];
    prop::collection::vec(step, 1..60)
}

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What must be true.
#[derive(Default)]
struct Model {
    /// Identity by position, for everything that was accepted.
    accepted: BTreeMap<u64, u64>,
    /// Identities that may or may not have been accepted when the power went.
    in_flight: BTreeSet<u64>,
    known: BTreeSet<u64>,
    next_id: u64,
    below: u64,
    keep: Vec<Range<u64>>,
    pairs: Pairs,
}

impl Model {
    fn is_live(&self, seq: u64) -> bool {
        seq >= self.below || self.keep.iter().any(|range| range.contains(&seq))
    }

    fn live_bytes(&self) -> usize {
        self.accepted.iter().filter(|(seq, _)| self.is_live(**seq)).map(|(_, id)| size(*id) + 88).sum()
    }

    fn deltas(changes: &[(u8, Option<u16>)]) -> Vec<Delta> {
        let delta = |(key, length): &(u8, Option<u16>)| match length {
            Some(length) => Delta::Put(vec![*key], vec![*key; usize::from(*length)]),
            None => Delta::Delete(vec![*key]),
        };
        changes.iter().map(delta).collect()
    }

    fn with(&self, deltas: &[Delta]) -> Pairs {
        let mut pairs = self.pairs.clone();
        for delta in deltas {
            match delta.clone() {
                Delta::Put(key, value) => pairs.insert(key, value),
                Delta::Delete(key) => pairs.remove(&key),
            };
        }
        pairs
    }
}

fn size(id: u64) -> usize {
    (id * 37 % 3000) as usize
}

struct Run {
    disk: SimDisk,
    engine: Embedded,
    held: Held,
    model: Model,
}

async fn open(disk: &SimDisk) -> (Embedded, Held) {
    let engine = segment::open_on(Arc::new(disk.clone()), Path::new("/data"), options(clock().0)).unwrap();
    let held = engine.state.acquire(0).await.unwrap();
    (engine, held)
}

impl Run {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Append { new, repeats } => self.append(new, repeats).await,
            Step::Release { part, keep_every } => self.release(part, keep_every),
            Step::Commit(changes) => {
                let deltas = Model::deltas(&changes);
                self.engine.state.commit(self.held, deltas.clone()).await.unwrap();
                self.model.pairs = self.model.with(&deltas);
            }
            Step::Crash { seed, appending, committing } => self.crash(seed, appending, committing).await,
            Step::Restart => {
                self.engine.close();
                let disk = self.disk.clone();
                self.reopen(&disk, &[]).await;
            }
            Step::ReadAll => self.read_all().await,
        }
    }

    async fn append(&mut self, new: u64, repeats: u64) {
        let model = &mut self.model;
        let mut ids: Vec<u64> = (model.next_id..model.next_id + new).collect();
        model.next_id += new;
        ids.extend(model.known.iter().copied().step_by(7).take(repeats as usize));
        let batch = ids.iter().map(|id| record(*id, *id, size(*id))).collect();
        let verdicts = match self.engine.events.append(batch, BatchMode::Partial).await {
            Ok(verdicts) => verdicts,
            Err(LogError::Full { .. }) => {
                let live = model.live_bytes();
                assert!(live > 8 * 64 * 1024 / 4, "full with {live} bytes live");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        for (id, verdict) in ids.into_iter().zip(verdicts) {
            match verdict {
                Appended::Accepted(seq) => {
                    assert!(model.known.insert(id), "{id} was accepted twice");
                    let newest = model.accepted.last_key_value().map_or(0, |(seq, _)| *seq);
                    assert!(seq > newest, "position {seq} after {newest}");
                    model.accepted.insert(seq, id);
                }
                Appended::Duplicate => assert!(model.known.contains(&id), "{id} is new"),
                Appended::Conflict => panic!("{id} has one body"),
            }
        }
    }

    fn release(&mut self, part: u64, keep_every: u64) {
        let model = &mut self.model;
        let end = *self.engine.events.end().borrow();
        let below = (model.below + (end - model.below) * part / 100).max(1);
        let live = model.accepted.keys().copied().filter(|seq| *seq < below);
        let kept: Vec<u64> = live.filter(|seq| model.is_live(*seq) && seq / 3 % keep_every == 0).collect();
        model.keep = runs(&kept);
        model.below = below;
        self.engine.events.release(model.below, model.keep.clone());
    }

    async fn crash(&mut self, seed: u64, appending: u64, committing: bool) {
        let mut rng = StdRng::seed_from_u64(seed);
        let ids = self.model.next_id..self.model.next_id + appending;
        self.model.next_id += appending;
        self.model.in_flight.extend(ids.clone());
        let batch = ids.map(|id| record(id, id, size(id))).collect();
        let deltas =
            if committing { vec![Delta::Put(vec![1], vec![7]), Delta::Delete(vec![2])] } else { vec![] };
        // Polled once, so that the threads are at it when the power goes.
        let mut append = self.engine.events.append(batch, BatchMode::Whole);
        let mut commit = self.engine.state.commit(self.held, deltas.clone());
        let _ = (append.as_mut().now_or_never(), commit.as_mut().now_or_never());
        if seed.is_multiple_of(3) {
            tokio::task::yield_now().await;
        }
        let disk = self.disk.crash(&mut rng);
        drop((append, commit));
        self.engine.close();
        self.reopen(&disk, &deltas).await;
    }

    /// Opens anew and holds what is found against the model.
    async fn reopen(&mut self, disk: &SimDisk, in_flight: &[Delta]) {
        // The lock goes with the old one.
        let sink = SimDisk::new();
        let (unused, _) = open(&sink).await;
        drop(std::mem::replace(&mut self.engine, unused));
        (self.engine, self.held) = open(disk).await;
        self.disk = disk.clone();
        assert_eq!(self.engine.events.usage().corrupt_records, 0);
        let loaded: Pairs = self.engine.state.load(self.held).await.unwrap().into_iter().collect();
        if loaded != self.model.pairs {
            assert_eq!(loaded, self.model.with(in_flight));
            self.model.pairs = loaded;
        }
        self.read_all().await;
        self.model.in_flight.clear();
        self.engine.events.release(self.model.below, self.model.keep.clone());
    }

    async fn read_all(&mut self) {
        let model = &mut self.model;
        let mut from = 1;
        let mut found = BTreeSet::new();
        loop {
            let page = self.engine.events.read_from(from, 50, 100_000).await.unwrap();
            if page.entries.is_empty() {
                assert_eq!(page.next, *self.engine.events.end().borrow());
                break;
            }
            for entry in page.entries {
                assert!(entry.seq >= from && entry.seq < page.next);
                let id = *model.accepted.entry(entry.seq).or_insert_with(|| {
                    let id = u64::from_le_bytes(entry.payload[..8].try_into().unwrap());
                    assert!(model.in_flight.remove(&id), "nobody wrote {id}");
                    model.known.insert(id);
                    id
                });
                assert_eq!(entry.payload, payload(id, size(id)), "position {}", entry.seq);
                found.insert(entry.seq);
            }
            from = page.next;
        }
        let lost: Vec<u64> = model
            .accepted
            .keys()
            .copied()
            .filter(|seq| model.is_live(*seq) && !found.contains(seq))
            .collect();
        assert_eq!(lost, Vec::<u64>::new(), "of what was promised");
    }
}

fn run(steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let disk = SimDisk::new();
        let (engine, held) = open(&disk).await;
        let mut run = Run { disk, engine, held, model: Model { next_id: 1, ..Model::default() } };
        for step in steps {
            run.step(step).await;
        }
        run.step(Step::Crash { seed: 1, appending: 5, committing: true }).await;
        run.step(Step::Restart).await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_promised_survives_any_crash(steps in steps()) {
        run(steps);
    }
}

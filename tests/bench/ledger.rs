//! What was sent, accepted and delivered in one run, by event number. Both ends of the rig write here.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Result;

/// Subscriptions that one event's deliveries can be told apart by.
pub(crate) const MAX_FAN_OUT: usize = 8;

/// Longest latency told apart; longer ones count as this.
const LONGEST: Duration = Duration::from_mins(10);

/// Everything about one event.
#[derive(Debug, Default)]
struct Slot {
    /// When it was due to be sent, nanoseconds after the start.
    due: AtomicU64,
    accepted: AtomicBool,
    /// One bit for each subscription that delivered it.
    delivered: AtomicU8,
}

/// The books of one run.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// First 24 characters of every id of this run.
    pub(crate) run: String,
    /// Whether the receiver should find signatures.
    pub(crate) signed: bool,
    fan_out: usize,
    started: Instant,
    slots: Box<[Slot]>,
    next: AtomicU64,
    /// Events accepted.
    accepted: AtomicU64,
    /// Requests answered with something else than success.
    pub(crate) refused: AtomicU64,
    /// Requests whose answer never came.
    pub(crate) broken: AtomicU64,
    /// First deliveries of an event to a subscription.
    delivered: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) signatures: AtomicU64,
    pub(crate) bad_signatures: AtomicU64,
    /// Nanoseconds after the start.
    last_accept: AtomicU64,
    last_delivery: AtomicU64,
    accept: Mutex<Histogram<u64>>,
    deliver: Mutex<Histogram<u64>>,
}

impl Ledger {
    /// An empty one with room for `capacity` events.
    pub(crate) fn new(capacity: usize, fan_out: usize, signed: bool) -> Result<Self> {
        if fan_out > MAX_FAN_OUT {
            return Err(format!("a fan-out of {fan_out} is above {MAX_FAN_OUT}").into());
        }
        let (high, low) = (rand::random::<u64>(), rand::random::<u32>());
        let run = format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-",
            high >> 32,
            high & 0xffff,
            (low >> 12) & 0xfff,
            low & 0xfff
        );
        let histogram = || Histogram::new_with_max(LONGEST.as_nanos() as u64, 3).map(Mutex::new);
        Ok(Self {
            run,
            signed,
            fan_out,
            started: Instant::now(),
            slots: (0..capacity).map(|_| Slot::default()).collect(),
            next: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            signatures: AtomicU64::new(0),
            bad_signatures: AtomicU64::new(0),
            last_accept: AtomicU64::new(0),
            last_delivery: AtomicU64::new(0),
            accept: histogram()?,
            deliver: histogram()?,
        })
    }

    /// When the run began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The number of the first of `count` events to be sent, due at `due`; `None` when the books are full.
    pub(crate) fn send(&self, count: usize, due: Instant) -> Option<u64> {
        let first = self.next.fetch_add(count as u64, Relaxed);
        let due = self.nanos(due);
        for slot in self.slots.get(first as usize..first as usize + count)? {
            slot.due.store(due, Relaxed);
        }
        Some(first)
    }

    /// The request that carried these events was answered with success.
    pub(crate) fn accept(&self, first: u64, count: usize) {
        let now = self.nanos(Instant::now());
        let slots = &self.slots[first as usize..first as usize + count];
        for slot in slots {
            slot.accepted.store(true, Relaxed);
        }
        self.accepted.fetch_add(count as u64, Relaxed);
        self.last_accept.fetch_max(now, Relaxed);
        lock(&self.accept).saturating_record(now.saturating_sub(slots[0].due.load(Relaxed)));
    }

    /// The receiver was handed this event by the subscription of that index.
    pub(crate) fn deliver(&self, number: u64, subscription: usize) {
        let Some(slot) = self.slots.get(number as usize) else { return };
        let bit = 1 << (subscription % MAX_FAN_OUT);
        if slot.delivered.fetch_or(bit, Relaxed) & bit != 0 {
            self.duplicates.fetch_add(1, Relaxed);
            return;
        }
        let now = self.nanos(Instant::now());
        self.delivered.fetch_add(1, Relaxed);
        self.last_delivery.fetch_max(now, Relaxed);
        lock(&self.deliver).saturating_record(now.saturating_sub(slot.due.load(Relaxed)));
    }

    /// Events accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Deliveries so far, duplicates aside.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// Deliveries of accepted events that never came.
    pub(crate) fn missing(&self) -> u64 {
        let missing = |slot: &Slot| {
            let came = slot.delivered.load(Relaxed).count_ones() as usize;
            if slot.accepted.load(Relaxed) { self.fan_out.saturating_sub(came) } else { 0 }
        };
        self.slots.iter().map(missing).sum::<usize>() as u64
    }

    /// From the start until the last event was accepted, and until the last was delivered.
    pub(crate) fn spans(&self) -> (Duration, Duration) {
        let span = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Relaxed));
        (span(&self.last_accept), span(&self.last_delivery))
    }

    /// Nanoseconds from due to answered, and from due to delivered, of the given share of requests and deliveries.
    pub(crate) fn quantile(&self, share: f64) -> (u64, u64) {
        (lock(&self.accept).value_at_quantile(share), lock(&self.deliver).value_at_quantile(share))
    }

    fn nanos(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_nanos() as u64
    }
}

/// What a panicking task left in a histogram is as good as what any other did.
fn lock(histogram: &Mutex<Histogram<u64>>) -> std::sync::MutexGuard<'_, Histogram<u64>> {
    histogram.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Which events are known already: a bounded memory of identities, oldest forgotten first.
//!
//! It compares 128-bit digests and must not read records. Times are given by the caller.

use std::collections::{HashMap, VecDeque};

/// How many identities are remembered, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupLimits {
    /// Identities; each takes about 90 bytes of memory and 40 bytes of disk.
    pub max_ids: usize,
    /// Milliseconds after which an identity is forgotten.
    pub window_ms: u64,
}

impl Default for DedupLimits {
    fn default() -> Self {
        Self { max_ids: 500_000, window_ms: 24 * 60 * 60 * 1000 }
    }
}

/// What is known about an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    New,
    /// It came with the same body.
    Same,
    /// It came with another body.
    Other,
}

/// The identities of the last records.
#[derive(Debug)]
pub(crate) struct KnownIds {
    limits: DedupLimits,
    bodies: HashMap<[u8; 16], [u8; 16]>,
    order: VecDeque<([u8; 16], u64)>,
    forgot_ms: Option<u64>,
}

impl KnownIds {
    pub(crate) fn new(limits: DedupLimits) -> Self {
        Self { limits, bodies: HashMap::new(), order: VecDeque::new(), forgot_ms: None }
    }

    /// Prune first, so that nothing is known that is too old.
    pub(crate) fn check(&self, key: &[u8; 16], body_hash: &[u8; 16]) -> Known {
        match self.bodies.get(key) {
            None => Known::New,
            Some(known) if known == body_hash => Known::Same,
            Some(_) => Known::Other,
        }
    }

    /// Remembers a new identity; may exceed the bound until [`KnownIds::prune`].
    pub(crate) fn push(&mut self, key: [u8; 16], body_hash: [u8; 16], at_ms: u64) {
        if self.bodies.insert(key, body_hash).is_none() {
            self.order.push_back((key, at_ms));
        }
    }

    /// Takes back the last pushes, which did not become durable.
    pub(crate) fn forget_last(&mut self, count: usize) {
        for _ in 0..count {
            if let Some((key, _)) = self.order.pop_back() {
                self.bodies.remove(&key);
            }
        }
    }

    /// Forgets what is too old or too much.
    pub(crate) fn prune(&mut self, now_ms: u64) {
        while let Some(&(key, at_ms)) = self.order.front() {
            let old = at_ms.saturating_add(self.limits.window_ms) < now_ms;
            if !old && self.order.len() <= self.limits.max_ids {
                break;
            }
            if !old {
                self.forgot_ms = Some(at_ms);
            }
            self.order.pop_front();
            self.bodies.remove(&key);
        }
    }

    /// Says that identities up to this time may be missing, because what held them could not be read.
    pub(crate) fn lost_until(&mut self, at_ms: u64) {
        self.forgot_ms = self.forgot_ms.max(Some(at_ms));
    }

    pub(crate) fn len(&self) -> u64 {
        self.order.len() as u64
    }

    /// Time of the last identity that was forgotten for want of room, Unix milliseconds; 0 if none was.
    pub(crate) fn forgot_ms(&self) -> u64 {
        self.forgot_ms.unwrap_or(0)
    }
}

/// How far back repeats are recognised, given [`KnownIds::forgot_ms`].
pub(crate) fn real_window(limits: DedupLimits, forgot_ms: u64, now_ms: u64) -> u64 {
    limits.window_ms.min(now_ms.saturating_sub(forgot_ms))
}

//! Delivery state and claims as they are now, and the operations that change them. Pure: an engine asks for the
//! operation, makes it durable in its own way, and applies it.

use std::collections::BTreeMap;

use super::claim::{self, Claim};
use super::{Claimed, Delta, Held, Pairs, StateError};

/// Claims kept at once; beyond it claiming is refused until some are over.
pub(crate) const MAX_CLAIMS: usize = 100_000;
/// Claims below which nobody looks for those that are over.
const FEW_CLAIMS: usize = 1024;
/// Bytes counted for each key besides its own and its value's.
const ENTRY_COST: usize = 8;

/// A change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// A shard has a new owner.
    Acquire { shard: u32, epoch: u64 },
    /// Keys of a shard change.
    Commit { shard: u32, deltas: Vec<Delta> },
    /// A claim is new or changed.
    Claim { key: String, claim: Claim },
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) epoch: u64,
    pub(crate) pairs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) shards: BTreeMap<u32, Shard>,
    pub(crate) claims: BTreeMap<String, Claim>,
    /// Number of claims at which those that are over are removed next.
    prune_at: usize,
    bytes: usize,
}

impl Table {
    /// Bytes of keys and values, about as many as a snapshot takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn acquire(&self, shard: u32) -> (Held, Op) {
        let epoch = self.shards.get(&shard).map_or(0, |shard| shard.epoch) + 1;
        (Held { shard, epoch }, Op::Acquire { shard, epoch })
    }

    fn held(&self, held: Held) -> Result<&Shard, StateError> {
        match self.shards.get(&held.shard) {
            Some(shard) if shard.epoch == held.epoch => Ok(shard),
            other => {
                Err(StateError::Fenced { shard: held.shard, epoch: other.map_or(0, |shard| shard.epoch) })
            }
        }
    }

    pub(crate) fn load(&self, held: Held) -> Result<Pairs, StateError> {
        let pairs = &self.held(held)?.pairs;
        Ok(pairs.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    pub(crate) fn commit(&self, held: Held, deltas: Vec<Delta>) -> Result<Op, StateError> {
        self.held(held)?;
        Ok(Op::Commit { shard: held.shard, deltas })
    }

    /// The answer, and the operation if anything changes.
    pub(crate) fn claim(
        &mut self,
        key: &str,
        claimant: &str,
        window_ms: u64,
        lease_ms: u64,
        now_ms: u64,
    ) -> Result<(Claimed, Option<Op>), StateError> {
        if self.claims.len() >= self.prune_at.clamp(FEW_CLAIMS, MAX_CLAIMS) {
            // Not journaled: a claim that is over means nothing when it comes back with a restart, either.
            self.claims.retain(|_, claim| !claim.is_over(now_ms));
            self.prune_at = 2 * self.claims.len();
        }
        let known = self.claims.get(key);
        if known.is_none() && self.claims.len() >= MAX_CLAIMS {
            return Err(StateError::TooManyClaims { max: MAX_CLAIMS });
        }
        let (claimed, claim) = claim::claim(known, claimant, window_ms, lease_ms, now_ms);
        Ok((claimed, claim.map(|claim| Op::Claim { key: key.to_owned(), claim })))
    }

    pub(crate) fn settle(&self, key: &str, claimant: &str, now_ms: u64) -> Option<Op> {
        let claim = claim::settle(self.claims.get(key), claimant, now_ms)?;
        Some(Op::Claim { key: key.to_owned(), claim })
    }

    pub(crate) fn apply(&mut self, op: Op) {
        match op {
            Op::Acquire { shard, epoch } => self.shards.entry(shard).or_default().epoch = epoch,
            Op::Commit { shard, deltas } => {
                for delta in deltas {
                    self.apply_delta(shard, delta);
                }
            }
            Op::Claim { key, claim } => {
                self.claims.insert(key, claim);
            }
        }
    }

    fn apply_delta(&mut self, shard: u32, delta: Delta) {
        let pairs = &mut self.shards.entry(shard).or_default().pairs;
        match delta {
            Delta::Put(key, value) => {
                let key_cost = key.len() + ENTRY_COST;
                self.bytes += value.len();
                match pairs.insert(key, value) {
                    Some(old) => self.bytes -= old.len(),
                    None => self.bytes += key_cost,
                }
            }
            Delta::Delete(key) => {
                if let Some(old) = pairs.remove(&key) {
                    self.bytes -= old.len() + key.len() + ENTRY_COST;
                }
            }
        }
    }
}

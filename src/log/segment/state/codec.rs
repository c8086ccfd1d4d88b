//! Bytes of state operations, in journal frames and snapshots alike: a snapshot is the operations that make the
//! table out of nothing.

use crate::log::Delta;
use crate::log::claim::Claim;
use crate::log::table::{Op, Table};

const ACQUIRE: u8 = 1;
const COMMIT: u8 = 2;
const CLAIM: u8 = 3;
const PUT: u8 = 1;
const DELETE: u8 = 2;

fn put_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    buffer.extend_from_slice(bytes);
}

fn put_acquire(buffer: &mut Vec<u8>, shard: u32, epoch: u64) {
    buffer.push(ACQUIRE);
    buffer.extend_from_slice(&shard.to_le_bytes());
    buffer.extend_from_slice(&epoch.to_le_bytes());
}

fn put_commit(buffer: &mut Vec<u8>, shard: u32, deltas: usize) {
    buffer.push(COMMIT);
    buffer.extend_from_slice(&shard.to_le_bytes());
    buffer.extend_from_slice(&(deltas as u32).to_le_bytes());
}

fn put_pair(buffer: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    buffer.push(PUT);
    put_bytes(buffer, key);
    put_bytes(buffer, value);
}

fn put_claim(buffer: &mut Vec<u8>, key: &str, claim: &Claim) {
    buffer.push(CLAIM);
    put_bytes(buffer, key.as_bytes());
    put_bytes(buffer, claim.claimant.as_bytes());
    buffer.extend_from_slice(&claim.window_until_ms.to_le_bytes());
    buffer.extend_from_slice(&claim.lease_until_ms.to_le_bytes());
    buffer.push(u8::from(claim.settled));
}

/// Appends one operation.
pub(super) fn encode(buffer: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Acquire { shard, epoch } => put_acquire(buffer, *shard, *epoch),
        Op::Claim { key, claim } => put_claim(buffer, key, claim),
        Op::Commit { shard, deltas } => {
            put_commit(buffer, *shard, deltas.len());
            for delta in deltas {
                match delta {
                    Delta::Put(key, value) => put_pair(buffer, key, value),
                    Delta::Delete(key) => {
                        buffer.push(DELETE);
                        put_bytes(buffer, key);
                    }
                }
            }
        }
    }
}

/// Appends the operations that make the table.
pub(super) fn encode_table(buffer: &mut Vec<u8>, table: &Table) {
    for (shard, kept) in &table.shards {
        put_acquire(buffer, *shard, kept.epoch);
        put_commit(buffer, *shard, kept.pairs.len());
        for (key, value) in &kept.pairs {
            put_pair(buffer, key, value);
        }
    }
    for (key, claim) in &table.claims {
        put_claim(buffer, key, claim);
    }
}

/// Reads operations until the bytes end; `None` if they make no sense.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Op>> {
    let mut cursor = Cursor(bytes);
    let mut ops = Vec::new();
    while !cursor.0.is_empty() {
        ops.push(cursor.op()?);
    }
    Some(ops)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = self.u32()? as usize;
        self.take(length).map(<[u8]>::to_vec)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    fn op(&mut self) -> Option<Op> {
        match self.byte()? {
            ACQUIRE => Some(Op::Acquire { shard: self.u32()?, epoch: self.u64()? }),
            COMMIT => {
                let shard = self.u32()?;
                let count = self.u32()?;
                let deltas = (0..count).map(|_| self.delta()).collect::<Option<_>>()?;
                Some(Op::Commit { shard, deltas })
            }
            CLAIM => {
                let key = self.string()?;
                let claimant = self.string()?;
                let window_until_ms = self.u64()?;
                let lease_until_ms = self.u64()?;
                let settled = self.byte()? != 0;
                Some(Op::Claim { key, claim: Claim { window_until_ms, lease_until_ms, settled, claimant } })
            }
            _ => None,
        }
    }

    fn delta(&mut self) -> Option<Delta> {
        match self.byte()? {
            PUT => Some(Delta::Put(self.bytes()?, self.bytes()?)),
            DELETE => Some(Delta::Delete(self.bytes()?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        Claim { window_until_ms: 5, lease_until_ms: 4, settled: true, claimant: "worker-1".into() }
    }

    #[test]
    fn operations_read_back() {
        let ops = [
            Op::Acquire { shard: 3, epoch: 9 },
            Op::Commit { shard: 3, deltas: vec![Delta::Put(b"a".to_vec(), vec![]), Delta::Delete(vec![0])] },
            Op::Claim { key: "k".into(), claim: claim() },
        ];
        let mut bytes = Vec::new();
        for op in &ops {
            encode(&mut bytes, op);
        }
        assert_eq!(decode(&bytes), Some(ops.to_vec()));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn a_table_reads_back() {
        let mut table = Table::default();
        table.apply(Op::Acquire { shard: 1, epoch: 2 });
        table.apply(Op::Commit { shard: 1, deltas: vec![Delta::Put(b"k".to_vec(), b"v".to_vec())] });
        table.apply(Op::Claim { key: "c".into(), claim: claim() });
        let mut bytes = Vec::new();
        encode_table(&mut bytes, &table);
        let mut again = Table::default();
        for op in decode(&bytes).unwrap() {
            again.apply(op);
        }
        assert_eq!((again.shards, again.claims), (table.shards, table.claims));
    }
}

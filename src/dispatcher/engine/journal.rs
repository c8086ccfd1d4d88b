//! How the engine's state is laid out as keys and values. Format version 1; keys sort by subscription, then position.
//!
//! `c` → cursor · `s/<identity>` → record (JSON) · `o/<identity>\0<seq>` → open delivery · `w/<identity>\0<seq>` → run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dispatcher::snapshot::Counters;
use crate::log::{Delta, Pairs, Seq};

/// Key of the shared cursor.
pub(super) const CURSOR_KEY: &[u8] = b"c";

/// What is kept of a subscription as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SubscriptionRecord {
    pub(super) start: Seq,
    pub(super) counters: Counters,
    /// Digest of the spec that was answered 410.
    pub(super) gone: Option<u64>,
    /// Backlog limits last in force (age in milliseconds, bytes), for when the spec cannot be read.
    #[serde(default)]
    pub(super) limits: Option<(u64, u64)>,
}

/// What is kept of an open delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenRecord {
    /// Attempts that failed.
    pub(super) attempts: u32,
    /// When the next one is due, Unix milliseconds; 0: at once.
    pub(super) due_ms: u64,
    /// The pause before it, in milliseconds: however the clock jumps, no longer is waited.
    pub(super) pause_ms: u64,
    /// Size of the record in the log.
    pub(super) bytes: u32,
    /// When the event was accepted, Unix milliseconds.
    pub(super) appended_ms: u64,
}

/// What is kept of consecutive events that wait to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunRecord {
    /// How many, from the key's position on.
    pub(super) count: u32,
    /// Their size in the log.
    pub(super) bytes: u64,
    /// When the first was accepted, Unix milliseconds.
    pub(super) first_ms: u64,
    /// Let in by looser rules, because the object was paused; to be matched again.
    pub(super) loose: bool,
}

impl SubscriptionRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl OpenRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend(self.attempts.to_be_bytes());
        bytes.extend(self.due_ms.to_be_bytes());
        bytes.extend(self.pause_ms.to_be_bytes());
        bytes.extend(self.bytes.to_be_bytes());
        bytes.extend(self.appended_ms.to_be_bytes());
        bytes
    }

    fn decode(mut from: &[u8]) -> Option<Self> {
        Some(Self {
            attempts: u32::from_be_bytes(take(&mut from)?),
            due_ms: u64::from_be_bytes(take(&mut from)?),
            pause_ms: u64::from_be_bytes(take(&mut from)?),
            bytes: u32::from_be_bytes(take(&mut from)?),
            appended_ms: u64::from_be_bytes(take(&mut from)?),
        })
    }
}

impl RunRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(21);
        bytes.extend(self.count.to_be_bytes());
        bytes.extend(self.bytes.to_be_bytes());
        bytes.extend(self.first_ms.to_be_bytes());
        bytes.push(u8::from(self.loose));
        bytes
    }

    fn decode(mut from: &[u8]) -> Option<Self> {
        Some(Self {
            count: u32::from_be_bytes(take(&mut from)?),
            bytes: u64::from_be_bytes(take(&mut from)?),
            first_ms: u64::from_be_bytes(take(&mut from)?),
            loose: take::<1>(&mut from)? != [0],
        })
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*head)
}

pub(super) fn subscription_key(identity: &str) -> Vec<u8> {
    [b"s/", identity.as_bytes()].concat()
}

pub(super) fn open_key(identity: &str, seq: Seq) -> Vec<u8> {
    [b"o/", identity.as_bytes(), b"\0", &seq.to_be_bytes()].concat()
}

pub(super) fn run_key(identity: &str, start: Seq) -> Vec<u8> {
    [b"w/", identity.as_bytes(), b"\0", &start.to_be_bytes()].concat()
}

/// Everything that was kept of one subscription.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) record: Option<SubscriptionRecord>,
    pub(super) open: Vec<(Seq, OpenRecord)>,
    pub(super) waiting: Vec<(Seq, RunRecord)>,
}

impl Stored {
    /// The last position it needs or may see next: the log must not give it to another event.
    pub(super) fn last_position(&self) -> Seq {
        let open = self.open.iter().map(|(seq, _)| seq + 1);
        let waiting = self.waiting.iter().map(|(start, run)| start + u64::from(run.count));
        open.chain(waiting).chain(self.record.map(|record| record.start)).max().unwrap_or_default()
    }

    /// Events that were not finished.
    pub(super) fn pending(&self) -> u64 {
        self.open.len() as u64 + self.waiting.iter().map(|(_, run)| u64::from(run.count)).sum::<u64>()
    }

    /// The changes that forget it.
    pub(super) fn forget(&self, identity: &str, deltas: &mut Vec<Delta>) {
        deltas.push(Delta::Delete(subscription_key(identity)));
        deltas.extend(self.open.iter().map(|(seq, _)| Delta::Delete(open_key(identity, *seq))));
        deltas.extend(self.waiting.iter().map(|(start, _)| Delta::Delete(run_key(identity, *start))));
    }
}

/// Reads a shard back: the cursor, and what was kept by identity. Pairs that mean nothing to this version are
/// returned by number, so that they can be told.
pub(super) fn read(pairs: Pairs) -> (Option<Seq>, BTreeMap<String, Stored>, usize) {
    let mut cursor = None;
    let mut stored: BTreeMap<String, Stored> = BTreeMap::new();
    let mut unknown = 0;
    for (key, value) in pairs {
        if read_pair(&key, &value, &mut cursor, &mut stored).is_none() {
            unknown += 1;
        }
    }
    (cursor, stored, unknown)
}

fn read_pair(
    key: &[u8],
    mut value: &[u8],
    cursor: &mut Option<Seq>,
    stored: &mut BTreeMap<String, Stored>,
) -> Option<()> {
    if key == CURSOR_KEY {
        *cursor = Some(u64::from_be_bytes(take(&mut value)?));
        return Some(());
    }
    let (kind, rest) = key.split_first_chunk::<2>()?;
    if kind == b"s/" {
        let record = serde_json::from_slice(value).ok()?;
        stored.entry(String::from_utf8(rest.to_vec()).ok()?).or_default().record = Some(record);
        return Some(());
    }
    let (identity, seq) = rest.split_last_chunk::<8>()?;
    let identity = String::from_utf8(identity.strip_suffix(b"\0")?.to_vec()).ok()?;
    let seq = u64::from_be_bytes(*seq);
    match kind {
        b"o/" => stored.entry(identity).or_default().open.push((seq, OpenRecord::decode(value)?)),
        b"w/" => stored.entry(identity).or_default().waiting.push((seq, RunRecord::decode(value)?)),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_back() {
        let record = SubscriptionRecord {
            start: 7,
            counters: Counters { matched: 3, ..Counters::default() },
            gone: Some(2),
            limits: Some((10, 20)),
        };
        let open = OpenRecord { attempts: 2, due_ms: 99, pause_ms: 50, bytes: 700, appended_ms: 42 };
        let run = RunRecord { count: 5, bytes: 3_500, first_ms: 43, loose: true };
        let pairs = vec![
            (CURSOR_KEY.to_vec(), 12_u64.to_be_bytes().to_vec()),
            (subscription_key("ai/a"), record.encode()),
            (open_key("ai/a", 8), open.encode()),
            (run_key("ai/a", 9), run.encode()),
            (b"x/later".to_vec(), vec![]),
        ];
        let (cursor, stored, unknown) = read(pairs);
        assert_eq!((cursor, unknown), (Some(12), 1));
        let a = &stored["ai/a"];
        assert_eq!(a.record, Some(record));
        assert_eq!(a.open, [(8, open)]);
        assert_eq!(a.waiting, [(9, run)]);
    }
}

//! Identities of a segment that was recycled, so that a repeat is recognised after a restart although its first
//! copy is gone: `<number>.ids`, written before the segment is.

use std::io;
use std::path::Path;

use super::disk::{Disk, read_all, replace};
use super::file::ids_name;
use super::record::{array_at, u64_at};

const MAGIC: u64 = u64::from_le_bytes(*b"chatids\n");
const HEADER: usize = 24;
const ENTRY: usize = 40;

/// One identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) key: [u8; 16],
    pub(super) body_hash: [u8; 16],
    pub(super) at_ms: u64,
}

/// Writes the file, durably.
pub(super) fn write(disk: &dyn Disk, dir: &Path, number: u64, ids: &[Id]) -> io::Result<()> {
    let mut body = Vec::with_capacity(HEADER + ids.len() * ENTRY);
    body.extend_from_slice(&MAGIC.to_le_bytes());
    body.extend_from_slice(&(ids.len() as u64).to_le_bytes());
    body.extend_from_slice(&[0; 8]);
    for id in ids {
        body.extend_from_slice(&id.key);
        body.extend_from_slice(&id.body_hash);
        body.extend_from_slice(&id.at_ms.to_le_bytes());
    }
    let crc = u64::from(crc32c::crc32c(&body));
    if let Some(field) = body.get_mut(16..HEADER) {
        field.copy_from_slice(&crc.to_le_bytes());
    }
    replace(disk, dir, &ids_name(number), &body)
}

/// Reads the file; `None` if it is damaged.
pub(super) fn read(disk: &dyn Disk, dir: &Path, number: u64) -> io::Result<Option<Vec<Id>>> {
    let bytes = read_all(&*disk.open(&dir.join(ids_name(number)))?)?;
    Ok(parse(bytes))
}

fn parse(mut bytes: Vec<u8>) -> Option<Vec<Id>> {
    let crc = u64_at(&bytes, 16)?;
    bytes.get_mut(16..HEADER)?.fill(0);
    let count = usize::try_from(u64_at(&bytes, 8)?).ok()?;
    let intact = u64_at(&bytes, 0)? == MAGIC
        && u64::from(crc32c::crc32c(&bytes)) == crc
        && bytes.len() == HEADER + count * ENTRY;
    if !intact {
        return None;
    }
    let entries = bytes.get(HEADER..)?.chunks_exact(ENTRY);
    entries
        .map(|e| Some(Id { key: array_at(e, 0)?, body_hash: array_at(e, 16)?, at_ms: u64_at(e, 32)? }))
        .collect()
}

//! Reads the mounted pieces, so that a dispatcher starts while the API server is away.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::plan::shards::{MAX_SHARD_BYTES, SECRET_KEY, SHARDS};

/// What stands in the folder.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    /// Content of each piece that is there.
    pub(super) pieces: Vec<(u8, Vec<u8>)>,
    /// Pieces that are there and cannot be read, with a sentence each.
    pub(super) unreadable: Vec<String>,
}

/// Reads `<folder>/<n>/plan` of every piece; one that is not there is late.
pub(super) fn read(folder: &Path) -> Mounted {
    let mut mounted = Mounted::default();
    for index in 0..SHARDS {
        let path = folder.join(index.to_string()).join(SECRET_KEY);
        match read_file(&path) {
            Ok(bytes) => mounted.pieces.push((index, bytes)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => mounted.unreadable.push(format!("{} cannot be read: {error}", path.display())),
        }
    }
    mounted
}

/// At most one byte more than a piece may have, which then does not decode.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_SHARD_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

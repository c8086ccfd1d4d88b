//! Segment files: how one is created, named, recognised and used again. Knows nothing of what records mean.
//!
//! `<number>.seg` holds records, `*.spare` waits to be used (again), `preparing.tmp` is being filled with
//! zeros. Numbers grow with every use. The header is kept twice; the copy that names the file's own number counts,
//! so a crash in the middle of a recycling leaves either the old segment or a spare one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile, write_zeros};
use super::record::u64_at;

/// Version of the segment format; also in the `format` file of the data folder.
pub(super) const VERSION: u64 = 1;

/// Where records start: behind two pages with a copy of the header each.
pub(super) const DATA_START: u32 = 8192;

const MAGIC: u64 = u64::from_le_bytes(*b"chatseg\n");
const COPIES_AT: [u64; 2] = [0, 4096];
const HEADER: usize = 64;
const PREPARING: &str = "preparing.tmp";

/// A segment file in use.
pub(super) struct SegmentFile {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) number: u64,
    pub(super) generation: u64,
    /// Bytes on disk.
    pub(super) size: u32,
}

/// A zeroed or once used file that holds nothing that counts.
pub(super) struct Spare {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    pub(super) size: u32,
}

/// What a `.seg` file turned out to be.
pub(super) enum Opened {
    /// A segment.
    Segment(SegmentFile),
    /// Recycling had begun; nothing in it counts.
    Spare(Spare),
    /// No copy of the header is readable.
    Damaged,
}

pub(super) fn segment_name(number: u64) -> String {
    format!("{number:012}.seg")
}

pub(super) fn ids_name(number: u64) -> String {
    format!("{number:012}.ids")
}

/// Whether a name is that of a spare file.
pub(super) fn is_spare(name: &str) -> bool {
    name.strip_suffix(".spare").is_some()
}

/// The number in a name with this ending.
pub(super) fn number_in(name: &str, ending: &str) -> Option<u64> {
    name.strip_suffix(ending)?.strip_suffix('.')?.parse().ok()
}

fn header(number: u64, generation: u64, size: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER);
    for field in [MAGIC, VERSION, number, generation, u64::from(size), 0, 0] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.extend_from_slice(&u64::from(crc32c::crc32c(&bytes)).to_le_bytes());
    bytes
}

fn parse_header(bytes: &[u8]) -> Option<(u64, u64)> {
    let intact = u64_at(bytes, 0)? == MAGIC
        && u64_at(bytes, 8)? == VERSION
        && u64::from(crc32c::crc32c(bytes.get(..HEADER - 8)?)) == u64_at(bytes, HEADER - 8)?;
    Some((u64_at(bytes, 16)?, u64_at(bytes, 24)?)).filter(|_| intact)
}

/// Creates a file full of zeros, durable, that waits for its first use.
pub(super) fn create_spare(disk: &dyn Disk, dir: &Path, size: u32) -> io::Result<Spare> {
    let preparing = dir.join(PREPARING);
    let zeroed = disk.create(&preparing).and_then(|file| {
        write_zeros(&*file, 0, u64::from(size))?;
        file.sync()?;
        Ok(file)
    });
    let file = match zeroed {
        Ok(file) => file,
        Err(error) => {
            let _ = disk.remove(&preparing);
            return Err(error);
        }
    };
    let path = dir.join(format!("new-{:016x}.spare", rand::random::<u64>()));
    disk.rename(&preparing, &path)?;
    disk.sync_dir(dir)?;
    Ok(Spare { path, file, size })
}

/// Removes what an interrupted creation left.
pub(super) fn remove_unfinished(disk: &dyn Disk, dir: &Path) {
    let _ = disk.remove(&dir.join(PREPARING));
}

/// Puts a spare file to use under a new number and generation; durable when this returns.
pub(super) fn put_to_use(disk: &dyn Disk, dir: &Path, spare: Spare, number: u64) -> io::Result<SegmentFile> {
    let generation = rand::random();
    let header = header(number, generation, spare.size);
    for at in COPIES_AT {
        spare.file.write_at(at, &header)?;
    }
    spare.file.sync()?;
    disk.rename(&spare.path, &dir.join(segment_name(number)))?;
    disk.sync_dir(dir)?;
    Ok(SegmentFile { file: spare.file, number, generation, size: spare.size })
}

/// Takes a segment out of use. What was in it is gone for everyone but those who have it open.
pub(super) fn make_spare(disk: &dyn Disk, dir: &Path, segment: &SegmentFile) -> io::Result<Spare> {
    let path = dir.join(format!("{:012}.spare", segment.number));
    disk.rename(&dir.join(segment_name(segment.number)), &path)?;
    Ok(Spare { path, file: segment.file.clone(), size: segment.size })
}

/// Gives the space of a spare file back.
pub(super) fn remove_spare(disk: &dyn Disk, dir: &Path, spare: Spare) -> io::Result<()> {
    disk.remove(&spare.path)?;
    disk.sync_dir(dir)
}

/// Opens a spare file after a restart.
pub(super) fn open_spare(disk: &dyn Disk, path: PathBuf) -> io::Result<Spare> {
    let file = disk.open(&path)?;
    let size = u32::try_from(file.len()?).unwrap_or(u32::MAX);
    Ok(Spare { path, file, size })
}

/// Opens a `.seg` file after a restart.
pub(super) fn open(disk: &dyn Disk, dir: &Path, number: u64) -> io::Result<Opened> {
    let path = dir.join(segment_name(number));
    let file = disk.open(&path)?;
    let size = u32::try_from(file.len()?).unwrap_or(u32::MAX);
    let mut readable = 0;
    for at in COPIES_AT {
        let mut bytes = [0; HEADER];
        if u64::from(size) < at + HEADER as u64 {
            continue;
        }
        file.read_at(at, &mut bytes)?;
        if let Some((named, generation)) = parse_header(&bytes) {
            readable += 1;
            if named == number {
                return Ok(Opened::Segment(SegmentFile { file, number, generation, size }));
            }
        }
    }
    Ok(if readable > 0 { Opened::Spare(Spare { path, file, size }) } else { Opened::Damaged })
}

//! Where and when a measurement was taken, in words for the report.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::Result;
use crate::figures::median;

/// `f_type` of tmpfs in statfs(2): a sync costs nothing there, so nothing may be measured on it.
const TMPFS: i64 = 0x0102_1994;

/// Synced writes from which the disk's figure comes.
const SYNCS: usize = 200;

/// Bytes of each: about sixteen envelopes.
const SYNCED: usize = 11_200;

/// What a figure depends on.
#[derive(Debug)]
pub(crate) struct Machine {
    /// UTC, as `2026-11-21`.
    pub(crate) date: String,
    /// Abbreviated, with `-dirty` where the tree differed.
    pub(crate) commit: String,
    /// Processor model and cores.
    pub(crate) processor: String,
    /// GiB of memory.
    pub(crate) memory: u64,
    /// Release of the kernel.
    pub(crate) kernel: String,
    /// Milliseconds of an fdatasync after a write of some envelopes, the median.
    pub(crate) sync_millis: f64,
}

/// Describes this machine and the disk under `dir`; an error when that is no disk.
pub(crate) fn describe(dir: &Path) -> Result<Machine> {
    if rustix::fs::statfs(dir)?.f_type == TMPFS {
        return Err(format!(
            "{} is in memory (tmpfs), where a sync costs nothing; build on a disk with CARGO_TARGET_DIR",
            dir.display()
        )
        .into());
    }
    let cores = std::thread::available_parallelism()?;
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let kib: u64 = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    Ok(Machine {
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        commit: commit(),
        processor: format!("{cores} cores, {}", field("/proc/cpuinfo", "model name")),
        memory: (kib + (1 << 19)) >> 20,
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        sync_millis: sync_millis(&dir.join("sync-probe"))?,
    })
}

fn commit() -> String {
    let output =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// Overwrites a file that already has its size, as the log does, and syncs each write.
fn sync_millis(path: &Path) -> Result<f64> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; SYNCS * SYNCED])?;
    file.sync_all()?;
    let mut file = File::options().write(true).open(path)?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&[1; SYNCED])?;
        file.sync_data()?;
        took.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    fs::remove_file(path)?;
    Ok(median(took.into_iter()))
}

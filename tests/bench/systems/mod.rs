//! What can be measured: chathooks, nginx as the reference, and the bare rig. Each is started afresh for a run.

mod chathooks;
mod nginx;
mod process;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::Result;
pub(crate) use process::{Running, Usage};

/// Where load goes, and whom to charge for it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The path that takes events.
    pub(crate) path: String,
    /// The bearer token it wants.
    pub(crate) token: Option<String>,
    /// Whether its deliveries are signed.
    pub(crate) signed: bool,
    /// Its first process; the children count as well.
    process: Option<u32>,
}

impl Target {
    /// What its processes have used so far; nothing where there is no process.
    pub(crate) fn usage(&self) -> Result<Usage> {
        self.process.map_or(Ok(Usage::default()), process::usage)
    }
}

/// Starts what is measured, with its files in a folder on the disk that holds the build.
#[derive(Debug)]
pub(crate) struct Bench {
    binary: PathBuf,
    work_dir: PathBuf,
    receiver: SocketAddr,
}

impl Bench {
    /// Checks what can be checked before the first run.
    pub(crate) fn prepare(binary: &Path, receiver: SocketAddr) -> Result<Self> {
        if !binary.is_file() {
            return Err(
                format!("there is no binary at {}; run `cargo build --release`", binary.display()).into()
            );
        }
        let work_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("throughput");
        std::fs::create_dir_all(&work_dir)?;
        Ok(Self { binary: binary.to_path_buf(), work_dir, receiver })
    }

    /// The folder of all files.
    pub(crate) fn work_dir(&self) -> &Path {
        &self.work_dir
    }

    /// The receiver itself, with nothing between.
    pub(crate) fn direct(&self) -> Target {
        Target { address: self.receiver, path: "/to/0".to_owned(), token: None, signed: false, process: None }
    }

    /// nginx that passes everything on to the receiver.
    pub(crate) async fn start_nginx(&self) -> Result<Running> {
        nginx::start(&self.empty_dir("nginx")?, self.receiver).await
    }

    /// chathooks with so many subscriptions to the receiver and an empty log.
    pub(crate) async fn start_chathooks(&self, subscriptions: usize) -> Result<Running> {
        chathooks::start(&self.binary, &self.empty_dir("chathooks")?, self.receiver, subscriptions).await
    }

    /// Removes the log of the last run, which may hold gigabytes; its output stays.
    pub(crate) fn drop_data(&self) -> Result<()> {
        let data = self.work_dir.join("chathooks").join("data");
        if data.exists() {
            std::fs::remove_dir_all(data)?;
        }
        Ok(())
    }

    fn empty_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.work_dir.join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

/// A loopback address with a port that nobody holds at this moment.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

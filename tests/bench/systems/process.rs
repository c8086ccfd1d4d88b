//! A process under measurement: started with its output in a file, asked to stop, and what it used (Linux `/proc`).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::Target;
use crate::Result;
use crate::client::Client;

/// Longest wait until a started process answers.
const START: Duration = Duration::from_secs(30);

/// Longest wait until a process that was asked to stop has ended.
const STOP: Duration = Duration::from_secs(30);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Clock ticks a second in `/proc/PID/stat`: `USER_HZ`, 100 on every architecture that Rust's Linux targets have.
const TICKS_PER_SECOND: u64 = 100;

/// Lines of a log that an error shows.
const LOG_LINES: usize = 15;

/// CPU time used and the peak of resident memory, children included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Sum of the processes' peaks.
    pub(crate) peak_bytes: u64,
}

impl Usage {
    /// What was used since then; the peak is that of the whole life.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(before.cpu), ..self }
    }
}

/// A started process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    target: Target,
    log: PathBuf,
}

impl Running {
    /// Starts a command and waits until `GET ready_path` on `ready` answers 2xx.
    pub(crate) async fn start(
        mut command: Command,
        log: &Path,
        mut target: Target,
        ready: (std::net::SocketAddr, &str),
    ) -> Result<Self> {
        let output = File::create(log)?;
        let program = command.as_std().get_program().to_owned();
        command
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let child =
            command.spawn().map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        target.process = child.id();
        let mut running = Self { child, target, log: log.to_path_buf() };

        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", ready.1, ready.0);
        let mut client = Client::new(ready.0);
        let started = Instant::now();
        loop {
            if let Ok((200..=299, _)) = client.exchange(request.as_bytes()).await {
                return Ok(running);
            }
            if let Some(status) = running.child.try_wait()? {
                return Err(running.fault(&format!("ended before it was ready ({status})")));
            }
            if started.elapsed() > START {
                return Err(running.fault(&format!("was not ready after {} s", START.as_secs())));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Where to send load.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Asks it to end and waits for that.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(pid, Signal::TERM)?;
        }
        let Ok(status) = tokio::time::timeout(STOP, self.child.wait()).await else {
            return Err(self.fault(&format!("did not end within {} s of SIGTERM", STOP.as_secs())));
        };
        if status?.success() {
            Ok(())
        } else {
            Err(self.fault("ended with an error when it was asked to stop"))
        }
    }

    fn fault(&self, what: &str) -> Box<dyn std::error::Error + Send + Sync> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        format!("the measured process {what}; the end of {}:\n{tail}", self.log.display()).into()
    }
}

/// What a process and its children have used.
pub(crate) fn usage(process: u32) -> Result<Usage> {
    let mut usage = Usage::default();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The second field is the name in parentheses and may hold anything.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field =
            |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        if pid == process || field(4) == u64::from(process) {
            usage.cpu += Duration::from_millis((field(14) + field(15)) * 1000 / TICKS_PER_SECOND);
            usage.peak_bytes += peak(pid).unwrap_or(0);
        }
    }
    Ok(usage)
}

/// `VmHWM` in bytes.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

//! A process that ends with the test process, however that ends.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// A child with its output in a file.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", command.get_program().display()));
        tell_reaper("pid", &child.id().to_string());
        Self { child, log: log.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
        }
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        tell_reaper("gone", &self.child.id().to_string());
    }

    /// SIGTERM, and SIGKILL after `grace`. True when it ended by itself.
    pub async fn terminate(&mut self, grace: Duration) -> bool {
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while self.is_running() && begun.elapsed() < grace {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ended = !self.is_running();
        self.kill();
        ended
    }

    /// All that was printed by this process and its predecessors.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of [`Self::log`], for the message of a failure.
    pub fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A folder in the system's temporary folder that goes with the test process.
pub fn temporary_folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("chathooks-cluster-").tempdir().unwrap().keep();
    tell_reaper("dir", folder.to_str().unwrap());
    folder
}

/// Kills and removes what was registered as soon as its standard input ends, which no end of this process can prevent.
/// (Statics are never dropped, and a parent death signal follows the thread that forked.)
const REAPER: &str = r#"
trap '' INT TERM HUP
pids=' '
while read -r word value; do
  case $word in
    pid) pids="$pids$value " ;;
    gone) pids="${pids%% $value *} ${pids#* $value }" ;;
    dir) set -- "$@" "$value" ;;
  esac
done
for pid in $pids; do kill -KILL "$pid"; done
[ $# = 0 ] || { sleep 0.2; rm -rf -- "$@"; }
"#;

#[allow(clippy::zombie_processes, reason = "it ends after this process")]
fn tell_reaper(word: &str, value: &str) {
    static INPUT: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| {
        let mut reaper = Command::new("sh")
            .args(["-c", REAPER])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Mutex::new(reaper.stdin.take().unwrap())
    });
    writeln!(INPUT.lock().unwrap(), "{word} {value}").unwrap();
}

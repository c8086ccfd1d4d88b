//! What every watch on the Kubernetes API shares: how long a silence is believed, how long it pauses between two tries,
//! and that an outage is told once.
//!
//! Must not know what is watched.

use std::time::Duration;

use kube::Config;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher;
use tokio::time::Instant;

/// Pause after a first failure; doubles from there.
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// Without an error for this long, all is well again.
const QUIET: Duration = Duration::from_mins(1);

/// Seconds after which the API server ends a watch that is quiet, and it begins anew where it was.
const WATCH_SECONDS: u32 = 100;

/// A connection that is silent for longer is dead: the API server would have ended its watch.
const READ_TIMEOUT: Duration = Duration::from_secs(110);

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Watches everything, for bounded stretches.
pub fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// Bounds how long a client with this configuration believes in an API server that hangs.
pub fn limit(config: &mut Config) {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
}

/// Says once that the API server is away: again only after [`QUIET`] without an error.
#[derive(Debug, Default)]
pub struct Away(Option<Instant>);

impl Away {
    /// The error in a few words, if it is news.
    pub fn news(&mut self, error: &watcher::Error) -> Option<String> {
        let before = self.0.replace(Instant::now());
        before.is_none_or(|before| before.elapsed() > QUIET).then(|| why(error))
    }
}

/// The words of the API server stay out of it.
fn why(error: &watcher::Error) -> String {
    let answered =
        |status: &kube::core::Status| format!("the API server answers {} {}", status.code, status.reason);
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => answered(status),
        other => other.to_string(),
    }
}

/// Doubling pauses, each shortened by up to half so that those who wait do not come back all at once.
///
/// They begin anew after [`QUIET`] without one, and not with a success: a watcher tells of every attempt as one, and of
/// nothing at all while a watch goes on quietly.
#[derive(Debug)]
pub struct Pauses {
    longest: Duration,
    next: Duration,
    last: Option<Instant>,
}

impl Pauses {
    /// Pauses of at most `longest`: short where a few wait for the API server, long where a whole cluster does.
    pub fn up_to(longest: Duration) -> Self {
        Self { longest, next: PAUSE_MIN, last: None }
    }

    /// How long to wait now.
    pub fn pause(&mut self) -> Duration {
        if self.last.replace(Instant::now()).is_some_and(|last| last.elapsed() > QUIET) {
            self.next = PAUSE_MIN;
        }
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.pause())
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_bound_and_begin_anew() {
        let mut pauses = Pauses::up_to(Duration::from_secs(10));
        let bounds = [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000].map(Duration::from_millis);
        for bound in bounds {
            let pause = pauses.pause();
            assert!((bound / 2..=bound).contains(&pause), "{pause:?} of {bound:?}");
        }
        tokio::time::advance(QUIET + Duration::from_secs(1)).await;
        assert!(pauses.pause() <= PAUSE_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_once() {
        let mut away = Away::default();
        let error = watcher::Error::NoResourceVersion;
        assert!(away.news(&error).is_some());
        for _ in 0..20 {
            tokio::time::advance(Duration::from_secs(10)).await;
            assert_eq!(away.news(&error), None);
        }
        tokio::time::advance(QUIET + Duration::from_secs(1)).await;
        assert!(away.news(&error).is_some());
    }
}

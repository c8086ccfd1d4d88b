//! How long leadership lasts by the clocks of this process. Knows no Lease and no API.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// One reading of both clocks.
///
/// `Instant` is CLOCK_MONOTONIC: it goes on while the process is stopped, but stands still while the machine is
/// suspended. The time since boot goes on then too, so it can end a term that `Instant` believes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) clock: Instant,
    pub(super) since_boot: Duration,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { clock: Instant::now(), since_boot: since_boot() }
    }
}

/// Time since the machine booted, suspension included.
fn since_boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    // Elsewhere there is either no such clock or, as on macOS, the monotonic one counts suspension.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// A stretch of leadership that was won by one write of the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    ends: Moment,
}

impl Term {
    /// Counts from `started`, when the request that won it was sent: whoever watches the Lease counts from its arrival.
    pub(super) fn new(started: Moment, length: Duration) -> Self {
        Self { ends: Moment { clock: started.clock + length, since_boot: started.since_boot + length } }
    }

    /// Its end as an instant, `None` when it is over by either clock.
    pub(super) fn deadline(self, now: Moment) -> Option<Instant> {
        let left = self
            .ends
            .clock
            .saturating_duration_since(now.clock)
            .min(self.ends.since_boot.saturating_sub(now.since_boot));
        (!left.is_zero()).then(|| now.clock + left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn at(base: Moment, clock: u32, since_boot: u32) -> Moment {
        Moment { clock: base.clock + S * clock, since_boot: base.since_boot + S * since_boot }
    }

    #[test]
    fn a_term_ends_by_whichever_clock_is_ahead() {
        let start = Moment::now();
        let term = Term::new(start, S * 10);
        assert_eq!(term.deadline(start), Some(start.clock + S * 10));
        assert_eq!(term.deadline(at(start, 4, 4)), Some(start.clock + S * 10));
        assert_eq!(term.deadline(at(start, 10, 10)), None, "its end belongs to nobody");
        // Suspended for 3 s: the monotonic clock saw 4 s, the machine 7.
        assert_eq!(term.deadline(at(start, 4, 7)), Some(start.clock + S * 7));
        assert_eq!(term.deadline(at(start, 4, 3600)), None);
        assert_eq!(term.deadline(at(start, 3600, 4)), None);
    }

    #[test]
    fn the_clock_since_boot_moves() {
        let first = since_boot();
        assert!(first > Duration::ZERO);
        assert!(since_boot() >= first);
    }
}

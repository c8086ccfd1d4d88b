//! The figures of one run, and medians of several.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use crate::ledger::Ledger;
use crate::systems::Usage;

/// What one run showed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Events accepted, and events a second while they were sent.
    pub(crate) accepted: u64,
    pub(crate) accepted_per_second: f64,
    /// Deliveries a second from the start until the last one.
    pub(crate) delivered_per_second: f64,
    /// Milliseconds from when a request was due until its answer.
    pub(crate) accept_p50: f64,
    pub(crate) accept_p99: f64,
    /// Milliseconds from when an event was due until the receiver had it.
    pub(crate) deliver_p50: f64,
    pub(crate) deliver_p99: f64,
    /// Seconds of CPU for 1,000 events accepted.
    pub(crate) cpu_per_thousand: f64,
    /// Peak of resident memory in MiB.
    pub(crate) memory: f64,
    /// Deliveries of accepted events that never came.
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    /// Requests refused, and requests whose answer never came.
    pub(crate) refused: u64,
    pub(crate) broken: u64,
    pub(crate) signatures: u64,
    pub(crate) bad_signatures: u64,
}

impl Figures {
    /// What the books of a finished run say, with what the measured processes used meanwhile.
    pub(crate) fn of(ledger: &Ledger, used: Usage) -> Self {
        let (accepting, delivering) = ledger.spans();
        let (accept_p50, deliver_p50) = ledger.quantile(0.5);
        let (accept_p99, deliver_p99) = ledger.quantile(0.99);
        let millis = |nanos: u64| nanos as f64 / 1e6;
        let accepted = ledger.accepted();
        Self {
            accepted,
            accepted_per_second: ratio(accepted as f64, accepting.as_secs_f64()),
            delivered_per_second: ratio(ledger.delivered() as f64, delivering.as_secs_f64()),
            accept_p50: millis(accept_p50),
            accept_p99: millis(accept_p99),
            deliver_p50: millis(deliver_p50),
            deliver_p99: millis(deliver_p99),
            cpu_per_thousand: ratio(used.cpu.as_secs_f64() * 1000.0, accepted as f64),
            memory: used.peak_bytes as f64 / f64::from(1 << 20),
            lost: ledger.missing(),
            duplicates: ledger.duplicates.load(Relaxed),
            refused: ledger.refused.load(Relaxed),
            broken: ledger.broken.load(Relaxed),
            signatures: ledger.signatures.load(Relaxed),
            bad_signatures: ledger.bad_signatures.load(Relaxed),
        }
    }

    /// The median of each measure and the sum of each count.
    pub(crate) fn summary(runs: &[Self]) -> Self {
        let middle = |measure: fn(&Self) -> f64| median(runs.iter().map(measure));
        let sum = |count: fn(&Self) -> u64| runs.iter().map(count).sum();
        Self {
            accepted: sum(|run| run.accepted),
            accepted_per_second: middle(|run| run.accepted_per_second),
            delivered_per_second: middle(|run| run.delivered_per_second),
            accept_p50: middle(|run| run.accept_p50),
            accept_p99: middle(|run| run.accept_p99),
            deliver_p50: middle(|run| run.deliver_p50),
            deliver_p99: middle(|run| run.deliver_p99),
            cpu_per_thousand: middle(|run| run.cpu_per_thousand),
            memory: middle(|run| run.memory),
            lost: sum(|run| run.lost),
            duplicates: sum(|run| run.duplicates),
            refused: sum(|run| run.refused),
            broken: sum(|run| run.broken),
            signatures: sum(|run| run.signatures),
            bad_signatures: sum(|run| run.bad_signatures),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "accepted {:.0}/s, delivered {:.0}/s, accept p50 {:.2} p99 {:.2} ms, to receiver p50 {:.2} p99 {:.2} ms, \
             CPU {:.3} s/1,000, peak {:.0} MiB, lost {}, duplicates {}",
            self.accepted_per_second,
            self.delivered_per_second,
            self.accept_p50,
            self.accept_p99,
            self.deliver_p50,
            self.deliver_p99,
            self.cpu_per_thousand,
            self.memory,
            self.lost,
            self.duplicates
        )?;
        if self.refused + self.broken + self.bad_signatures > 0 {
            write!(
                f,
                ", refused {}, broken {}, bad signatures {} of {}",
                self.refused, self.broken, self.bad_signatures, self.signatures
            )?;
        }
        Ok(())
    }
}

/// The middle value, or the mean of the two in the middle; 0 of none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

/// `a / b`, 0 where there is no `b`.
pub(crate) fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

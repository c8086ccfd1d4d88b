//! The rule of "once per key and window": who may do it now, given what is known. Pure; keeps nothing.

use super::Claimed;

/// What is kept of a key that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// When the window ends that the first grant opened, Unix milliseconds.
    pub(crate) window_until_ms: u64,
    /// When the lease of the claimant ends, Unix milliseconds.
    pub(crate) lease_until_ms: u64,
    pub(crate) settled: bool,
    pub(crate) claimant: String,
}

impl Claim {
    /// Whether nobody needs it any more.
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.window_until_ms && (self.settled || now_ms >= self.lease_until_ms)
    }
}

/// Decides on a claim: the answer, and what to keep if that changed.
pub(crate) fn claim(
    known: Option<&Claim>,
    claimant: &str,
    window_ms: u64,
    lease_ms: u64,
    now_ms: u64,
) -> (Claimed, Option<Claim>) {
    let known = known.filter(|known| !known.is_over(now_ms));
    if let Some(known) = known {
        if known.settled {
            return (Claimed::Settled { until_ms: known.window_until_ms }, None);
        }
        if now_ms < known.lease_until_ms && known.claimant != claimant {
            return (Claimed::Held { until_ms: known.lease_until_ms }, None);
        }
    }
    let granted = Claim {
        window_until_ms: known.map_or(now_ms.saturating_add(window_ms), |known| known.window_until_ms),
        lease_until_ms: now_ms.saturating_add(lease_ms),
        settled: false,
        claimant: claimant.to_owned(),
    };
    (Claimed::Granted { lease_until_ms: granted.lease_until_ms }, Some(granted))
}

/// Decides on settling: what to keep, or `None` if the claimant does not hold the lease. Settling twice is fine.
pub(crate) fn settle(known: Option<&Claim>, claimant: &str, now_ms: u64) -> Option<Claim> {
    let known = known.filter(|known| known.claimant == claimant)?;
    let holds = known.settled && !known.is_over(now_ms) || now_ms < known.lease_until_ms;
    holds.then(|| Claim { settled: true, ..known.clone() })
}

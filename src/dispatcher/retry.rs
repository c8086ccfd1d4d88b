//! What an answer means, and when to try again. Pure: time and randomness come in.

use std::time::Duration;

use http::StatusCode;

/// Longest pause a `Retry-After` may ask for: the longest step of the Standard Webhooks schedule.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// What a status code asks of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// 2xx.
    Delivered,
    /// 410: nobody wants these any more; deliver nothing until the spec changes.
    Gone,
    /// Everything else, redirects included: try again by the schedule.
    Failed,
}

/// Only 2xx is success; redirects are not followed, so they are failures.
pub fn meaning(status: StatusCode) -> Meaning {
    match status {
        StatusCode::GONE => Meaning::Gone,
        status if status.is_success() => Meaning::Delivered,
        _ => Meaning::Failed,
    }
}

/// The pause before the next attempt, `None` after the last one.
///
/// `failed` attempts have been made (≥ 1); `random` is uniform in `0.0..1.0` and spreads the step by
/// `jitter_percent` both ways. `retry_after` can only make the pause longer, up to [`MAX_RETRY_AFTER`].
pub fn pause(
    schedule_ms: &[u64],
    jitter_percent: u8,
    failed: u32,
    retry_after: Option<Duration>,
    random: f64,
) -> Option<Duration> {
    let step = *schedule_ms.get(failed.checked_sub(1)? as usize)?;
    let spread = f64::from(jitter_percent.min(100)) / 100.0 * (random * 2.0 - 1.0);
    let spread = Duration::from_millis((step as f64 * (1.0 + spread)) as u64);
    Some(spread.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)))
}

/// Reads a `Retry-After` (RFC 9110 section 10.2.3): seconds or an HTTP date. `now` as Unix seconds.
pub fn retry_after(value: &str, now: u64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    let at = at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some(Duration::from_secs(at.saturating_sub(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2xx_is_success() {
        for (status, expected) in [
            (200, Meaning::Delivered),
            (204, Meaning::Delivered),
            (299, Meaning::Delivered),
            (301, Meaning::Failed),
            (400, Meaning::Failed),
            (410, Meaning::Gone),
            (429, Meaning::Failed),
            (500, Meaning::Failed),
        ] {
            assert_eq!(meaning(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        }
    }

    #[test]
    fn one_pause_per_step_then_none() {
        let schedule = [1_000, 60_000];
        assert_eq!(pause(&schedule, 0, 1, None, 0.9), Some(Duration::from_secs(1)));
        assert_eq!(pause(&schedule, 0, 2, None, 0.1), Some(Duration::from_mins(1)));
        assert_eq!(pause(&schedule, 0, 3, None, 0.5), None);
        assert_eq!(pause(&[], 20, 1, None, 0.5), None);
    }

    #[test]
    fn jitter_spreads_both_ways_and_retry_after_only_lengthens() {
        assert_eq!(pause(&[1_000], 20, 1, None, 0.0), Some(Duration::from_millis(800)));
        assert_eq!(pause(&[1_000], 20, 1, None, 0.5), Some(Duration::from_secs(1)));
        let long = Some(Duration::from_secs(30));
        assert_eq!(pause(&[1_000], 0, 1, long, 0.5), long);
        assert_eq!(pause(&[60_000], 0, 1, long, 0.5), Some(Duration::from_mins(1)));
        let absurd = Some(Duration::from_secs(u64::MAX));
        assert_eq!(pause(&[1_000], 0, 1, absurd, 0.5), Some(MAX_RETRY_AFTER));
    }

    #[test]
    fn retry_after_in_seconds_and_as_a_date() {
        assert_eq!(retry_after("120", 0), Some(Duration::from_mins(2)));
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(retry_after(date, 1_445_412_470), Some(Duration::from_secs(10)));
        assert_eq!(retry_after(date, 1_500_000_000), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", 0), None);
    }
}

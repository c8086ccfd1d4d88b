//! File descriptors: as many as the system lets this process have, and connections in proportion.
//!
//! The soft limit is low (often 1,024) for the sake of programs that use `select`; services raise it themselves.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections of one listener at once, however many descriptors there are.
const MAX_CONNECTIONS: u64 = 4096;

/// Part of the descriptors that connections of one listener may take: there are two listeners, and the rest is for
/// deliveries and the event logs.
const SHARE: u64 = 4;

/// Raises the soft limit of file descriptors to the hard one and says how many connections a listener may have.
pub(super) fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the soft limit of file descriptors stays as it is");
    }
    share(getrlimit(Resource::Nofile).current)
}

/// `None` is no limit.
fn share(descriptors: Option<u64>) -> usize {
    let share = descriptors.map_or(MAX_CONNECTIONS, |limit| (limit / SHARE).clamp(1, MAX_CONNECTIONS));
    usize::try_from(share).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_a_quarter_and_never_more_than_the_bound() {
        for (descriptors, expected) in
            [(None, 4096), (Some(1_048_576), 4096), (Some(1024), 256), (Some(256), 64), (Some(2), 1)]
        {
            assert_eq!(share(descriptors), expected, "{descriptors:?}");
        }
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        connections();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}

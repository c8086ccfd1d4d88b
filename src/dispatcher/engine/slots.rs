//! Caps on deliveries under way in the whole process, with a slot guaranteed to every subscription.

use std::sync::atomic::{AtomicU64, Ordering};

/// Deliveries under way at once in the process (each is a socket).
pub(super) const MAX_IN_FLIGHT: u64 = 1_024;
/// Bytes of events under way at once in the process.
pub(super) const MAX_IN_FLIGHT_BYTES: u64 = 256 * 1024 * 1024;

/// What is under way now.
#[derive(Debug, Default)]
pub struct Slots {
    deliveries: AtomicU64,
    bytes: AtomicU64,
}

impl Slots {
    /// Takes a slot. `guaranteed`: the subscription has none yet, so it gets one whatever the others do.
    pub(super) fn take(&self, bytes: u64, guaranteed: bool) -> bool {
        let deliveries = self.deliveries.fetch_add(1, Ordering::Relaxed);
        let in_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if guaranteed || (deliveries < MAX_IN_FLIGHT && in_bytes + bytes <= MAX_IN_FLIGHT_BYTES) {
            return true;
        }
        self.give_back(bytes);
        false
    }

    /// Gives a slot back.
    pub(super) fn give_back(&self, bytes: u64) {
        self.deliveries.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_holds_but_everyone_gets_one() {
        let slots = Slots::default();
        for _ in 0..MAX_IN_FLIGHT {
            assert!(slots.take(1, false));
        }
        assert!(!slots.take(1, false));
        assert!(slots.take(1, true));
        slots.give_back(1);
        slots.give_back(1);
        assert!(slots.take(1, false));
        assert!(!slots.take(MAX_IN_FLIGHT_BYTES, false));
    }
}

//! The replica's time: the wall clock, but never backwards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// First message time of a deterministic replica: 2025-01-01T00:00:00Z.
const DETERMINISTIC_START_NANOS: u64 = 1_735_689_600_000_000_000;
/// What every message of a deterministic replica adds.
const DETERMINISTIC_STEP_NANOS: u64 = 1_000_000_000;

/// A clock that several threads read.
pub struct Clock {
    last: AtomicU64,
    /// Time of the last message, where time is counted instead of measured.
    counted: Option<AtomicU64>,
}

impl Clock {
    /// A clock. With `deterministic`, canisters see a time that starts at a fixed instant and
    /// advances one second a message; certificates and expiry follow the wall clock all the same,
    /// as clients compare them with theirs.
    pub fn new(deterministic: bool) -> Self {
        Self {
            last: AtomicU64::new(0),
            counted: deterministic.then(|| AtomicU64::new(DETERMINISTIC_START_NANOS)),
        }
    }

    /// Nanoseconds since 1970. Never less than what was returned before.
    pub fn now(&self) -> u64 {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| {
                u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
            });
        self.last.fetch_max(wall, Ordering::Relaxed).max(wall)
    }

    /// Time for the next message.
    pub fn message_time(&self) -> u64 {
        match &self.counted {
            None => self.now(),
            Some(counted) => {
                counted.fetch_add(DETERMINISTIC_STEP_NANOS, Ordering::Relaxed)
                    + DETERMINISTIC_STEP_NANOS
            }
        }
    }

    /// Time for work that no message started. Counted time stands still for it.
    pub fn round_time(&self) -> u64 {
        match &self.counted {
            None => self.now(),
            Some(counted) => counted.load(Ordering::Relaxed),
        }
    }

    /// The latest time that a message may have seen, for [`Clock::resume`].
    pub fn latest(&self) -> u64 {
        match &self.counted {
            None => self.last.load(Ordering::Relaxed),
            Some(counted) => counted.load(Ordering::Relaxed),
        }
    }

    /// Continues from a time that was saved: neither clock goes behind it.
    pub fn resume(&self, saved: u64) {
        match &self.counted {
            Some(counted) => counted.fetch_max(saved, Ordering::Relaxed),
            None => self.last.fetch_max(saved, Ordering::Relaxed),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_goes_backwards() {
        let clock = Clock::new(false);
        let future = clock.now() + 1_000_000_000_000;
        clock.resume(future);
        assert!(clock.now() >= future);
    }

    #[test]
    fn deterministic_time_counts_messages() {
        let (a, b) = (Clock::new(true), Clock::new(true));
        assert_eq!(a.message_time(), b.message_time());
        assert_eq!(
            a.message_time(),
            DETERMINISTIC_START_NANOS + 2 * DETERMINISTIC_STEP_NANOS
        );
    }
}

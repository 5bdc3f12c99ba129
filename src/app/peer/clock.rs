//! The one place where the peer reads the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::time::Time;

/// Seconds since 1970, as the host's clock has it; 0 before that.
#[must_use]
pub fn since_1970() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

/// A monotonic clock whose origin is the moment at which it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts at [`Time::ZERO`].
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How late it is.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::ZERO + self.0.elapsed()
    }

    /// The system's name for `time`.
    #[must_use]
    pub fn instant(&self, time: Time) -> Instant {
        self.0 + time.since(Time::ZERO)
    }
}

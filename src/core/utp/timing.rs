//! How long an answer takes, and after how long it is no longer waited for (RFC 6298, with the bounds of BEP 29).

use std::time::Duration;

/// What is assumed before the first answer (BEP 29).
const INITIAL: Duration = Duration::from_secs(1);

/// Nobody waits for less (BEP 29): the other side may answer late in order to answer less often.
const SHORTEST: Duration = Duration::from_millis(500);

/// Nobody waits for longer.
pub(super) const LONGEST: Duration = Duration::from_secs(16);

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Timing {
    smoothed: Option<Duration>,
    deviation: Duration,
    least: Option<Duration>,
    doublings: u32,
}

impl Timing {
    /// A packet that was sent only once was answered after `took`.
    pub(super) fn add(&mut self, took: Duration) {
        match self.smoothed {
            None => {
                self.smoothed = Some(took);
                self.deviation = took / 2;
            }
            Some(smoothed) => {
                self.deviation = (self.deviation * 3 + smoothed.abs_diff(took)) / 4;
                self.smoothed = Some((smoothed * 7 + took) / 8);
            }
        }
        self.least = Some(self.least.map_or(took, |least| least.min(took)));
    }

    /// Something has arrived.
    pub(super) const fn heard(&mut self) {
        self.doublings = 0;
    }

    /// Nothing has.
    pub(super) const fn timed_out(&mut self) {
        self.doublings = self.doublings.saturating_add(1);
    }

    /// How often that has happened in a row.
    pub(super) const fn timeouts(&self) -> u32 {
        self.doublings
    }

    /// The shortest that an answer has taken.
    pub(super) fn least(&self) -> Duration {
        self.least.unwrap_or_default()
    }

    /// For how long an answer is waited for.
    pub(super) fn timeout(&self) -> Duration {
        let once = match self.smoothed {
            Some(smoothed) => (smoothed + self.deviation * 4).max(SHORTEST),
            None => INITIAL,
        };
        (once * (1 << self.doublings.min(8))).min(LONGEST)
    }
}

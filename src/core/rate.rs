//! Rates: how fast bytes have passed of late.

use std::time::Duration;

use crate::base::time::Time;

/// A smoothed rate: bytes a second, each byte's weight falling by 1/e with every window that passes.
///
/// It is free of bias from the first byte on: what was added is divided by the weight of the time that has passed, not by the window.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Seconds.
    window: f64,
    /// Bytes, weighted.
    sum: f64,
    started: Option<Time>,
    at: Time,
}

impl Meter {
    /// The window of the rates that people are shown.
    pub const SHOWN: Duration = Duration::from_secs(3);

    /// A meter that forgets over `window` (more than zero).
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self {
            window: window.as_secs_f64(),
            sum: 0.0,
            started: None,
            at: Time::ZERO,
        }
    }

    /// Counts `bytes` that passed at `now`.
    pub fn add(&mut self, now: Time, bytes: u64) {
        self.started.get_or_insert(now);
        self.sum = self.decayed(now) + to_f64(bytes);
        self.at = self.at.max(now);
    }

    /// Bytes a second around `now`; 0 before the first byte.
    #[must_use]
    pub fn rate(&self, now: Time) -> f64 {
        let Some(started) = self.started else {
            return 0.0;
        };
        // The first bytes say little about time; below a sixteenth of the window they would look infinitely fast.
        let age = now.since(started).as_secs_f64().max(self.window / 16.0);
        self.decayed(now) / (self.window * (1.0 - (-age / self.window).exp()))
    }

    /// [`Meter::rate`] in whole bytes.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn bytes_per_sec(&self, now: Time) -> u64 {
        self.rate(now).round() as u64
    }

    fn decayed(&self, now: Time) -> f64 {
        self.sum * (-now.since(self.at).as_secs_f64() / self.window).exp()
    }
}

/// How long `bytes` take at `rate` bytes a second; one byte a second at least.
#[must_use]
pub fn time_for(bytes: f64, rate: f64) -> Duration {
    Duration::try_from_secs_f64(bytes / rate.max(1.0)).unwrap_or(Duration::MAX)
}

/// What a link has been seen to carry: the busiest of the stretches of time that have passed, older ones counting a little less.
///
/// A [`Meter`] would mistake the burst that fills a socket's buffer for speed.
#[derive(Clone, Debug)]
pub struct Capacity {
    stretch: Duration,
    began: Option<Time>,
    bytes: u64,
    last: f64,
    /// `None` until the first stretch has passed, which does not count: it fills the buffers on the way.
    most: Option<f64>,
}

impl Capacity {
    /// How much the memory of a busy stretch fades with each that follows.
    const FADING: f64 = 0.99;

    /// Measures over stretches of that length (more than zero).
    #[must_use]
    pub const fn new(stretch: Duration) -> Self {
        Self {
            stretch,
            began: None,
            bytes: 0,
            last: 0.0,
            most: None,
        }
    }

    /// Counts `bytes` that were handed to the link at `now`.
    pub fn add(&mut self, now: Time, bytes: u64) {
        self.roll(now);
        self.bytes += bytes;
    }

    /// How much of what the link can carry it carried in the last stretch, 0 to 1; `None` until that is known.
    pub fn share(&mut self, now: Time) -> Option<f64> {
        self.roll(now);
        let most = self.most.filter(|&most| most > 0.0)?;
        Some((self.last / most).min(1.0))
    }

    /// Bytes a second in the last stretch; 0 until one has passed.
    pub fn rate(&mut self, now: Time) -> f64 {
        self.roll(now);
        self.last
    }

    /// Bytes a second in the busiest stretch; 0 until two have passed.
    pub fn most(&mut self, now: Time) -> f64 {
        self.roll(now);
        self.most.unwrap_or(0.0)
    }

    fn roll(&mut self, now: Time) {
        let began = *self.began.get_or_insert(now);
        let took = now.since(began);
        if took >= self.stretch {
            self.last = to_f64(self.bytes) / took.as_secs_f64();
            self.most = Some(
                self.most
                    .map_or(0.0, |most| (most * Self::FADING).max(self.last)),
            );
            self.bytes = 0;
            self.began = Some(now);
        }
    }
}

#[allow(clippy::cast_precision_loss)]
const fn to_f64(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_steady_stream_is_measured_within_two_percent_from_early_on() {
        let mut meter = Meter::new(Duration::from_secs(1));
        let mut now = Time::from_secs(5);
        for n in 1..=5000 {
            meter.add(now, 10_000);
            now = now + MS;
            if n > 100 {
                let rate = meter.rate(now);
                assert!((rate / 10e6 - 1.0).abs() < 0.02, "{rate} after {n} ms");
            }
        }
        assert!(meter.rate(now + Duration::from_secs(10)) < 1000.0);
        assert_eq!(Meter::new(MS).bytes_per_sec(now), 0);
    }
}

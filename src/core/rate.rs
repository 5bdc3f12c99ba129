//! Rates: how fast bytes have passed of late, and when the next ones may.

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

/// A token bucket that hands out moments instead of tokens, first come first served.
///
/// Over any stretch of time it lets through the rate times that stretch, plus one burst.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: u64,
    burst: u64,
    /// Nanoseconds since the origin: when everything reserved so far has passed. Nanoseconds, because a block takes only some
    /// microseconds on a fast link and the error must not add up.
    free: u64,
}

impl Bucket {
    /// Lets `rate` bytes a second pass (0 = no limit), and after a pause up to `burst` bytes at once.
    #[must_use]
    pub const fn new(rate: u64, burst: u64) -> Self {
        Self {
            rate,
            burst,
            free: 0,
        }
    }

    /// The limit in bytes a second; 0 = none.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// Reserves `bytes` and says when they may pass; never before `now`. Reservations are served in the order they were made.
    pub fn reserve(&mut self, now: Time, bytes: u32) -> Time {
        if self.rate == 0 {
            return now;
        }
        let now_ns = nanos(now);
        let start = self.free.max(now_ns.saturating_sub(self.span(self.burst)));
        self.free = start.saturating_add(self.span(u64::from(bytes)));
        now.max(Time::from_micros(start.div_ceil(1000)))
    }

    /// Changes the limit. What has been reserved already and has not passed waits as long as it would at the new rate.
    pub fn set_rate(&mut self, now: Time, rate: u64) {
        let owed = u128::from(self.free.saturating_sub(nanos(now)));
        if owed > 0 && rate > 0 {
            let rescaled = owed * u128::from(self.rate) / u128::from(rate);
            self.free = nanos(now).saturating_add(u64::try_from(rescaled).unwrap_or(u64::MAX));
        }
        self.rate = rate;
    }

    fn span(&self, bytes: u64) -> u64 {
        let ns = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.max(1));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

const fn nanos(time: Time) -> u64 {
    time.as_micros().saturating_mul(1000)
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

    #[test]
    fn a_bucket_holds_its_rate_over_any_stretch() {
        for rate in [10_000, 65_536, 1_000_000_007] {
            let mut bucket = Bucket::new(rate, 32_768);
            let mut at = Time::from_secs(100);
            let mut passed = 0_u64;
            while passed < rate * 10 {
                at = bucket.reserve(at, 16_384);
                passed += 16_384;
            }
            let took = at.since(Time::from_secs(100)).as_secs_f64();
            let expected = to_f64(passed - 32_768 - 16_384) / to_f64(rate);
            assert!(
                (took - expected).abs() < 0.001 * expected + 1e-3,
                "{rate}: {took} for {expected}"
            );
        }
    }

    #[test]
    fn after_a_pause_one_burst_passes_at_once() {
        let mut bucket = Bucket::new(1000, 500);
        let now = Time::from_secs(9);
        assert_eq!(bucket.reserve(now, 500), now);
        assert_eq!(bucket.reserve(now, 1000), now);
        assert_eq!(bucket.reserve(now, 1), now + Duration::from_secs(1));
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut bucket = Bucket::new(0, 0);
        let now = Time::from_secs(1);
        assert_eq!(bucket.reserve(now, u32::MAX), now);
        assert_eq!(bucket.reserve(now, u32::MAX), now);
    }

    #[test]
    fn a_changed_limit_applies_to_what_waits() {
        let mut bucket = Bucket::new(1000, 0);
        let now = Time::from_secs(1);
        bucket.reserve(now, 4000);
        bucket.set_rate(now, 4000);
        assert_eq!(bucket.reserve(now, 1), now + Duration::from_secs(1));
        bucket.set_rate(now, 0);
        assert_eq!(bucket.reserve(now, 1), now);
    }
}

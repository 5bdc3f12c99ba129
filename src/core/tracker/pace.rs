//! How fast a leecher of a swarm downloads, on average, as far as announces show it.

use super::record::Left;

/// See the module. Eight bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Bytes a second.
    rate: f32,
    /// How many announces have been looked at.
    samples: u32,
}

impl Pace {
    /// A leecher wanted `before` at `seen` and wants `left` now, in a swarm of so many leechers. Times are in seconds.
    ///
    /// The average reaches about as many announces back as there are leechers, so that each has its say.
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn note(&mut self, before: Left, seen: u32, left: Left, now: u32, leechers: u32) {
        let (Some(before), Some(left), true) = (before.bytes(), left.bytes(), now > seen) else {
            return;
        };
        if before == 0 {
            return;
        }
        self.samples = self.samples.saturating_add(1);
        let rate = before.saturating_sub(left) as f32 / (now - seen) as f32;
        self.rate += (rate - self.rate) / self.samples.min(leechers.max(4)) as f32;
    }

    /// Bytes a second of one leecher; `None` while nothing is known.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is never negative, and saturates"
    )]
    pub(super) fn rate(self) -> Option<u64> {
        (self.samples > 0).then_some(self.rate.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_settles_at_what_the_leechers_do_on_average() {
        let mut pace = Pace::default();
        assert_eq!(pace.rate(), None);
        let left = |n: u64| Left::new(Some(n << 20));
        for round in 1..50_u32 {
            for (peer, rate) in [(0, 1), (1, 3)] {
                let size = 1_000;
                let at = |round: u32| left(size - u64::from(round) * rate);
                pace.note(
                    at(round - 1),
                    (round - 1) * 10 + peer,
                    at(round),
                    round * 10 + peer,
                    2,
                );
            }
        }
        let rate = pace.rate().unwrap();
        assert!(
            (100_000..330_000).contains(&rate),
            "0.1 and 0.3 MiB/s: {rate}"
        );
    }

    #[test]
    fn seeders_and_what_makes_no_sense_do_not_count() {
        let mut pace = Pace::default();
        let left = |n| Left::new(Some(n));
        pace.note(left(0), 0, left(0), 10, 5);
        pace.note(left(9), 10, left(5), 10, 5);
        pace.note(Left::UNKNOWN, 0, left(5), 10, 5);
        assert_eq!(pace.rate(), None);
        pace.note(left(5), 0, left(900), 10, 5);
        assert_eq!(
            pace.rate(),
            Some(0),
            "who starts again has made no progress"
        );
    }
}

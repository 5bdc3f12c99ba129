//! How long a web seed is left alone that has failed.
//!
//! What lasts (it has not the file, it does not take ranges) ends its use; what may pass (it is busy, the link is down, it has sent bad data)
//! is tried again, ever less often.

use std::time::Duration;

use super::back_off::back_off;

/// The pause after a first failure.
const FIRST: Duration = Duration::from_secs(5);
/// The longest pause that failures alone lead to.
const LONGEST: Duration = Duration::from_secs(600);
/// The longest pause that a server may ask for (`Retry-After`).
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// The failures of one web seed since it last delivered what it was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failures(u32);

impl Failures {
    /// It has delivered.
    pub fn forget(&mut self) {
        self.0 = 0;
    }

    /// It has failed, and asks to be left alone for so long, if it asks for anything. Returns when to try again: never sooner than without
    /// being asked, so that no server can make us hurry.
    pub fn another(&mut self, asked: Option<Duration>, rng: &mut fastrand::Rng) -> Duration {
        self.0 += 1;
        let pause = back_off(self.0, FIRST, LONGEST, rng);
        pause.max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_it_delivers() {
        let (mut failures, mut rng) = (Failures::default(), fastrand::Rng::with_seed(1));
        let pauses: Vec<_> = (0..12).map(|_| failures.another(None, &mut rng)).collect();
        let around = |pause: Duration, secs: u64| {
            let middle = Duration::from_secs(secs);
            middle.mul_f64(0.75) <= pause && pause <= middle.mul_f64(1.25)
        };
        let wanted = [5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600];
        assert!(
            pauses.iter().zip(wanted).all(|(&p, s)| around(p, s)),
            "{pauses:?}"
        );
        failures.forget();
        assert!(around(failures.another(None, &mut rng), 5));
    }

    #[test]
    fn a_server_may_ask_for_more_time_within_reason_and_never_for_less() {
        let (mut failures, mut rng) = (Failures::default(), fastrand::Rng::with_seed(1));
        let mut asked = |secs| failures.another(Some(Duration::from_secs(secs)), &mut rng);
        assert!(asked(0) > Duration::from_secs(3));
        assert_eq!(asked(120), Duration::from_secs(120));
        assert_eq!(asked(u64::MAX), LONGEST_ASKED);
    }
}

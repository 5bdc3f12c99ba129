//! Which finished downloads a long-lived peer no longer keeps (R114). What they hold is nobody's only copy: they were fetched from a swarm.

use std::time::Duration;

/// For how long after somebody was last served a payload counts as in use. A worker that comes back after a crash finds it still there.
pub const QUIET: Duration = Duration::from_secs(300);

/// 2026-01-01, in seconds since 1970. This program is younger, so no download of its was finished before: a host whose clock says so has only just
/// started, and has not been told the time yet.
const BEGINNING: u64 = 1_767_225_600;

/// What a clock may go wrong by between two looks without having been set.
const DRIFT: u64 = 60;

/// When a download was finished, as far as that can be: 0, for not known, if its clock was wrong.
#[must_use]
pub const fn believable(at: u64) -> u64 {
    if at < BEGINNING { 0 } else { at }
}

/// Tells a clock that is set forward from time that passes: what is to be kept for a day has not lain there for a day because of that.
#[derive(Clone, Copy, Debug)]
pub struct Calendar {
    passed: Duration,
    date: u64,
}

impl Calendar {
    /// Begins at `date`, in seconds since 1970.
    #[must_use]
    pub const fn new(date: u64) -> Self {
        Self {
            passed: Duration::ZERO,
            date,
        }
    }

    /// Seconds by which the clock has been set forward since the last look; it shows `date` now, and so much time has `passed` since the beginning.
    pub fn leap(&mut self, passed: Duration, date: u64) -> u64 {
        let due = self.date + passed.saturating_sub(self.passed).as_secs();
        (self.passed, self.date) = (passed, date);
        let leap = date.saturating_sub(due);
        if leap > DRIFT { leap } else { 0 }
    }
}

/// What the operator wants to keep. By default everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Not what has been finished for longer than this.
    pub keep_for: Option<Duration>,
    /// Not more than so many bytes in all, of which the oldest go first.
    pub keep_size: Option<u64>,
    /// Also what is in use goes.
    pub strictly: bool,
}

/// A finished download, as the rule sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Bytes of payload.
    pub bytes: u64,
    /// When it was finished, in seconds since 1970.
    pub at: u64,
    /// Others are fetching it, or were within [`QUIET`].
    pub in_use: bool,
    /// The operator has paused it: it is he who decides on it.
    pub paused: bool,
}

/// Why something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It has been finished for longer than [`Rule::keep_for`].
    Age,
    /// All together are more than [`Rule::keep_size`].
    Size,
}

impl Rule {
    /// Whether it ever takes anything away.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.keep_for.is_some() || self.keep_size.is_some()
    }

    /// What goes at `now` (seconds since 1970), by its place in `all`, the oldest first. What must stay counts in the sum all the same, so that younger ones
    /// may go in its stead.
    #[must_use]
    pub fn expired(&self, now: u64, all: &[Finished]) -> Vec<(usize, Reason)> {
        let mut oldest_first: Vec<usize> = (0..all.len()).collect();
        oldest_first.sort_by_key(|&n| all[n].at);
        let mut sum: u64 = all.iter().map(|one| one.bytes).sum();
        let mut gone = Vec::new();
        for n in oldest_first {
            let one = &all[n];
            let age = Duration::from_secs(now.saturating_sub(one.at));
            // A clock that was set back makes nothing older.
            let reason = if self.keep_for.is_some_and(|most| age > most) {
                Reason::Age
            } else if self.keep_size.is_some_and(|most| sum > most) {
                Reason::Size
            } else {
                continue;
            };
            if !one.paused && (self.strictly || !one.in_use) {
                sum -= one.bytes;
                gone.push((n, reason));
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn finished(at: u64, bytes: u64) -> Finished {
        Finished {
            bytes,
            at,
            in_use: false,
            paused: false,
        }
    }

    fn keep_for(hours: u64) -> Rule {
        Rule {
            keep_for: Some(Duration::from_secs(hours * HOUR)),
            ..Rule::default()
        }
    }

    fn keep_size(bytes: u64) -> Rule {
        Rule {
            keep_size: Some(bytes),
            ..Rule::default()
        }
    }

    #[test]
    fn without_a_rule_everything_stays() {
        assert!(!Rule::default().is_any());
        assert!(
            Rule::default()
                .expired(u64::MAX, &[finished(0, 1)])
                .is_empty()
        );
    }

    #[test]
    fn what_is_older_than_the_time_goes_and_what_is_just_as_old_stays() {
        let rule = keep_for(24);
        let all = [finished(100, 5), finished(99, 5), finished(100 + HOUR, 5)];
        let mut gone = Vec::new();
        for now in (0..).step_by(60).take_while(|&now| now < 48 * HOUR) {
            for (n, reason) in rule.expired(now, &all) {
                if !gone.contains(&(n, reason)) {
                    gone.push((n, reason));
                }
                assert!(now - all[n].at > 24 * HOUR, "{n} at {now}");
            }
        }
        assert_eq!(gone, [(1, Reason::Age), (0, Reason::Age), (2, Reason::Age)]);
        assert!(rule.expired(100 + 24 * HOUR, &all[..1]).is_empty());
        assert_eq!(rule.expired(101 + 24 * HOUR, &all[..1]).len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_forward_is_told_from_time_that_passes() {
        let mut calendar = Calendar::new(1000);
        let mut look = |secs, date| calendar.leap(Duration::from_secs(secs), date);
        assert_eq!(look(10, 1010), 0);
        assert_eq!(look(86_410, 87_410), 0, "a day, and nobody looked");
        assert_eq!(look(86_411, 87_441), 0, "it is half a minute wrong");
        assert_eq!(look(86_412, 1_787_441), 1_699_999);
        assert_eq!(look(86_413, 1_787_442), 0);
        assert_eq!(look(86_414, 5), 0, "set back");
        assert_eq!(look(86_415, 1_787_444), 1_787_438, "and forward again");
    }

    #[test]
    fn nothing_was_finished_before_this_program_was_there() {
        assert_eq!([0, 77, BEGINNING - 1].map(believable), [0; 3]);
        assert_eq!(believable(BEGINNING), BEGINNING);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_older() {
        assert!(keep_for(0).expired(50, &[finished(100, 1)]).is_empty());
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let all = [finished(30, 10), finished(10, 10), finished(20, 10)];
        let gone = |bytes| {
            let gone = keep_size(bytes).expired(1000, &all).into_iter();
            gone.map(|(n, _)| n).collect::<Vec<_>>()
        };
        assert_eq!(gone(30), [0; 0]);
        assert_eq!(gone(29), [1]);
        assert_eq!(gone(20), [1]);
        assert_eq!(gone(19), [1, 2]);
        assert_eq!(gone(0), [1, 2, 0]);
    }

    #[test]
    fn what_is_in_use_stays_unless_the_rule_is_strict_and_a_younger_one_goes_in_its_stead() {
        let mut all = [finished(10, 10), finished(20, 10)];
        all[0].in_use = true;
        assert_eq!(keep_size(10).expired(1000, &all), [(1, Reason::Size)]);
        assert!(keep_for(0).expired(1000, &all[..1]).is_empty());
        let strict = Rule {
            strictly: true,
            ..keep_size(10)
        };
        assert_eq!(strict.expired(1000, &all), [(0, Reason::Size)]);
    }

    #[test]
    fn what_is_paused_stays_even_if_the_rule_is_strict() {
        let mut all = [finished(10, 10)];
        all[0].paused = true;
        let strict = Rule {
            strictly: true,
            ..keep_for(0)
        };
        assert!(strict.expired(1000, &all).is_empty());
    }

    #[test]
    fn of_both_rules_each_counts() {
        let rule = Rule {
            keep_size: Some(10),
            ..keep_for(1)
        };
        let all = [finished(0, 10), finished(HOUR, 10), finished(HOUR + 1, 10)];
        let gone = rule.expired(HOUR + 2, &all);
        assert_eq!(gone, [(0, Reason::Age), (1, Reason::Size)]);
    }
}

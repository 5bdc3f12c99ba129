//! When to announce, to which tracker, and what (BEP 3, BEP 12).
//!
//! Trackers come in tiers. Within a tier their order is random, and one that answers moves to the front. Each announce goes to the
//! first tracker, tier by tier, that is not resting after a failure; so a spare tracker is used while the first one is down, and
//! left again once it is back.

use std::time::Duration;

use crate::base::time::Time;
use crate::proto::tracker::Event;

/// What a tracker's `interval` is held to, whatever it says: neither a flood nor oblivion.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(2 * 3600));
/// Between two announces that nobody asked for earlier, where the tracker gives no `min interval`.
const USUAL_MIN: Duration = Duration::from_secs(30);
/// The rest after a first failure; it doubles with each further one.
const FIRST_REST: Duration = Duration::from_secs(5);
/// The longest rest after a failure.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// An announce that is to be made now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// To which tracker.
    pub url: String,
    /// With which event.
    pub event: Event,
}

/// The trackers of a torrent, and what each has been told.
#[derive(Clone, Debug)]
pub struct Schedule {
    tiers: Vec<Vec<Tracker>>,
    rng: fastrand::Rng,
    /// When the next announce is due; nothing while one is under way.
    due: Option<Time>,
    /// Before this, an announce out of turn would be unwelcome.
    welcome: Time,
    /// The payload has become complete during this run.
    completed: bool,
}

#[derive(Clone, Debug)]
struct Tracker {
    url: String,
    /// Not to be asked before.
    rests_until: Time,
    failures: u32,
    /// It knows of us.
    started: bool,
    /// An announce is on its way to it, so it may know of us already.
    asked: bool,
    /// It knows that we have completed.
    completed: bool,
}

impl Schedule {
    /// The first announce is due at once, unless there are no trackers. `seed` decides the order within tiers, and the jitter.
    #[must_use]
    pub fn new(tiers: &[Vec<String>], seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut tiers: Vec<Vec<_>> = tiers
            .iter()
            .map(|tier| tier.iter().map(|url| Tracker::new(url)).collect())
            .collect();
        tiers.iter_mut().for_each(|tier| rng.shuffle(tier));
        let any = tiers.iter().any(|tier| !tier.is_empty());
        Self {
            tiers,
            rng,
            due: any.then_some(Time::ZERO),
            welcome: Time::ZERO,
            completed: false,
        }
    }

    /// The announce that is due, if one is. Until it is reported with [`Schedule::succeeded`] or [`Schedule::failed`], no other is.
    pub fn next(&mut self, now: Time) -> Option<Due> {
        self.due.filter(|&due| due <= now)?;
        let Some(tracker) = self
            .tiers
            .iter_mut()
            .flatten()
            .find(|tracker| tracker.rests_until <= now)
        else {
            // All of them rest.
            self.due = self
                .tiers
                .iter()
                .flatten()
                .map(|tracker| tracker.rests_until)
                .min();
            return None;
        };
        self.due = None;
        tracker.asked = true;
        let event = tracker.event(self.completed);
        Some(Due {
            url: tracker.url.clone(),
            event,
        })
    }

    /// When [`Schedule::next`] should be asked again; nothing while an announce is under way, or if there are no trackers.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.due
    }

    /// A tracker took the announce `due`, and wants the next one after `interval`, an unscheduled one not before `min_interval`.
    pub fn succeeded(
        &mut self,
        now: Time,
        due: &Due,
        interval: Duration,
        min_interval: Option<Duration>,
    ) {
        let interval = interval.clamp(INTERVALS.0, INTERVALS.1);
        let min_interval = min_interval
            .unwrap_or(USUAL_MIN)
            .clamp(INTERVALS.0, interval);
        self.welcome = now + min_interval;
        // A little early, and never all at once.
        let mut next = now + interval.mul_f64(0.9 + 0.1 * self.rng.f64());
        let completed = self.completed;
        if let Some(tracker) = self.promote(&due.url) {
            tracker.failures = 0;
            tracker.started = true;
            tracker.asked = false;
            tracker.completed |= due.event == Event::Completed;
            if tracker.event(completed) == Event::Completed {
                next = now;
            }
        }
        self.due = Some(next);
    }

    /// The announce `due` came to nothing. `retry_in` is what the tracker itself said, as BEP 31 has it.
    pub fn failed(&mut self, now: Time, due: &Due, retry_in: Option<Duration>) {
        let jitter = 0.8 + 0.4 * self.rng.f64();
        if let Some(tracker) = self
            .tiers
            .iter_mut()
            .flatten()
            .find(|tracker| tracker.url == due.url)
        {
            let doubled = FIRST_REST * 2_u32.saturating_pow(tracker.failures.min(10));
            let rest = doubled.min(LONGEST_REST).mul_f64(jitter);
            tracker.rests_until = now + retry_in.map_or(rest, |told| told.max(rest));
            tracker.failures = tracker.failures.saturating_add(1);
            tracker.asked = false;
        }
        // Another one may be awake.
        self.due = Some(now);
    }

    /// The payload has become complete: trackers that know us hear of it at once.
    pub fn completed(&mut self, now: Time) {
        self.completed = true;
        if self.due.is_some() {
            self.due = Some(now);
        }
    }

    /// More peers would be welcome: announces as soon as the tracker lets us.
    pub fn more_peers_wanted(&mut self, now: Time) {
        self.due = self.due.map(|due| due.min(self.welcome.max(now)));
    }

    /// The trackers that have to hear that we stop.
    #[must_use]
    pub fn stopping(&self) -> Vec<String> {
        let told = self
            .tiers
            .iter()
            .flatten()
            .filter(|tracker| tracker.started || tracker.asked);
        told.map(|tracker| tracker.url.clone()).collect()
    }

    /// Whether a tracker that has to hear that we stop has not heard yet that we have completed; where an announce is under way, perhaps.
    #[must_use]
    pub fn owes_completed(&self, url: &str) -> bool {
        let mut trackers = self.tiers.iter().flatten();
        self.completed && trackers.any(|tracker| tracker.url == url && !tracker.completed)
    }

    fn promote(&mut self, url: &str) -> Option<&mut Tracker> {
        for tier in &mut self.tiers {
            if let Some(at) = tier.iter().position(|tracker| tracker.url == url) {
                tier[..=at].rotate_right(1);
                return tier.first_mut();
            }
        }
        None
    }
}

impl Tracker {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            rests_until: Time::ZERO,
            failures: 0,
            started: false,
            asked: false,
            completed: false,
        }
    }

    fn event(&self, completed: bool) -> Event {
        match (self.started, completed && !self.completed) {
            (false, _) => Event::Started,
            (true, true) => Event::Completed,
            (true, false) => Event::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn schedule(tiers: &[&[&str]]) -> Schedule {
        let tiers: Vec<Vec<String>> = tiers
            .iter()
            .map(|tier| tier.iter().map(ToString::to_string).collect())
            .collect();
        Schedule::new(&tiers, 7)
    }

    fn at(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    #[test]
    fn the_first_announce_says_started_and_the_next_comes_after_the_interval() {
        let mut s = schedule(&[&["a"]]);
        let due = s.next(at(0)).unwrap();
        assert_eq!(
            due,
            Due {
                url: "a".into(),
                event: Event::Started
            }
        );
        assert_eq!((s.next(at(1)), s.deadline()), (None, None), "one at a time");
        s.succeeded(at(2), &due, 5 * MINUTE, None);
        let next = s.deadline().unwrap();
        assert!(next >= at(2 + 270) && next <= at(2 + 300), "{next:?}");
        assert_eq!(s.next(next).unwrap().event, Event::None);
    }

    #[test]
    fn completion_is_owed_until_it_was_heard() {
        let mut s = schedule(&[&["a"]]);
        let due = s.next(at(0)).unwrap();
        s.succeeded(at(1), &due, MINUTE, None);
        assert!(!s.owes_completed("a"));
        s.completed(at(2));
        assert!(s.owes_completed("a") && !s.owes_completed("b"));
        let due = s.next(at(2)).unwrap();
        assert_eq!(due.event, Event::Completed);
        assert!(s.owes_completed("a"), "it is on its way");
        s.succeeded(at(3), &due, MINUTE, None);
        assert!(!s.owes_completed("a"));
    }

    #[test]
    fn no_trackers_means_no_deadline() {
        for tiers in [&[][..], &[&[][..], &[]]] {
            let mut s = schedule(tiers);
            assert_eq!((s.next(at(9)), s.deadline()), (None, None));
            s.completed(at(10));
            s.more_peers_wanted(at(11));
            assert_eq!((s.next(at(12)), s.stopping()), (None, vec![]));
        }
    }

    #[test]
    fn a_failure_leads_to_the_next_tier_and_back_when_the_first_is_rested() {
        let mut s = schedule(&[&["a"], &["b"]]);
        let first = s.next(at(0)).unwrap();
        s.failed(at(1), &first, None);
        let second = s.next(at(1)).unwrap();
        assert_eq!((first.url.as_str(), second.url.as_str()), ("a", "b"));
        s.succeeded(at(1), &second, MINUTE, None);
        let third = s.next(s.deadline().unwrap()).unwrap();
        assert_eq!(
            third,
            Due {
                url: "a".into(),
                event: Event::Started
            },
            "it does not know us yet"
        );
    }

    #[test]
    fn who_answers_moves_to_the_front_of_his_tier() {
        let mut s = schedule(&[&["a", "b", "c", "d"]]);
        let silent = s.next(at(0)).unwrap();
        s.failed(at(0), &silent, None);
        let answers = s.next(at(0)).unwrap();
        s.succeeded(at(0), &answers, MINUTE, None);
        // Long after the silent one is rested.
        assert_eq!(s.next(at(3600)).unwrap().url, answers.url);
    }

    #[test]
    fn failures_are_repeated_ever_more_slowly_but_within_minutes() {
        let mut s = schedule(&[&["a"]]);
        let (mut now, mut waits) = (at(0), vec![]);
        for _ in 0..12 {
            let due = s.next(now).unwrap();
            s.failed(now, &due, None);
            assert_eq!(s.next(now), None);
            let next = s.deadline().unwrap();
            waits.push(next.since(now));
            now = next;
        }
        assert!(
            waits[0] <= Duration::from_secs(6) && waits[0] >= Duration::from_secs(4),
            "{waits:?}"
        );
        assert!(
            waits[11] <= Duration::from_secs(360) && waits[11] >= Duration::from_secs(240),
            "{waits:?}"
        );
    }

    #[test]
    fn a_tracker_that_says_never_is_not_asked_again() {
        let mut s = schedule(&[&["a"]]);
        let due = s.next(at(0)).unwrap();
        s.failed(at(0), &due, Some(Duration::MAX));
        assert_eq!(s.next(at(1_000_000)), None);
    }

    #[test]
    fn a_tracker_that_may_have_heard_of_us_has_to_hear_that_we_stop() {
        let mut s = schedule(&[&["a"]]);
        let due = s.next(at(0)).unwrap();
        assert_eq!(s.stopping(), ["a"], "its answer is on the way");
        s.failed(at(1), &due, None);
        assert_eq!(s.stopping(), [""; 0]);
    }

    #[test]
    fn completed_is_said_at_once_and_once() {
        let mut s = schedule(&[&["a"]]);
        let due = s.next(at(0)).unwrap();
        // It becomes complete while the first announce is under way.
        s.completed(at(1));
        assert_eq!(s.next(at(1)), None);
        s.succeeded(at(2), &due, MINUTE, None);
        let due = s.next(at(2)).unwrap();
        assert_eq!(due.event, Event::Completed);
        s.succeeded(at(3), &due, MINUTE, None);
        assert_eq!(s.next(at(3)), None);
        assert_eq!(s.next(at(90)).unwrap().event, Event::None);
        assert_eq!(s.stopping(), ["a"]);
    }

    #[test]
    fn a_hostile_interval_is_neither_a_flood_nor_oblivion() {
        for (interval, earliest, latest) in [(0, 4, 5), (4_294_967_295, 6480, 7200)] {
            let mut s = schedule(&[&["a"]]);
            let due = s.next(at(0)).unwrap();
            s.succeeded(
                at(0),
                &due,
                Duration::from_secs(interval),
                Some(Duration::from_secs(interval)),
            );
            let next = s.deadline().unwrap();
            assert!(next >= at(earliest) && next <= at(latest), "{next:?}");
        }
    }

    #[test]
    fn peers_are_asked_for_out_of_turn_but_not_before_the_minimum() {
        let mut s = schedule(&[&["a"]]);
        let due = s.next(at(0)).unwrap();
        s.succeeded(at(0), &due, 10 * MINUTE, Some(MINUTE));
        s.more_peers_wanted(at(10));
        assert_eq!(s.deadline(), Some(at(60)));
        s.more_peers_wanted(at(200));
        assert_eq!(s.deadline(), Some(at(60)));
    }

    #[test]
    fn only_those_who_know_us_hear_that_we_stop() {
        let mut s = schedule(&[&["a"], &["b"]]);
        assert_eq!(s.stopping(), Vec::<String>::new());
        let due = s.next(at(0)).unwrap();
        s.failed(at(0), &due, None);
        let due = s.next(at(0)).unwrap();
        s.succeeded(at(0), &due, MINUTE, None);
        assert_eq!(s.stopping(), ["b"]);
    }
}

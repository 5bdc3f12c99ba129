//! When each of our torrents is looked up and announced.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::base::id::InfoHash;
use crate::base::time::Time;

/// From one announce to the next (BEP 5): half of what peers are remembered for.
const INTERVAL: Duration = Duration::from_secs(15 * 60);

/// A tenth of it by chance, so that those who began together do not stay so.
const SPREAD: u64 = 90;

/// After a lookup that nobody answered; from then on twice as long each time.
const RETRY: Duration = Duration::from_secs(15);

/// The longest of these.
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// How soon a torrent that lacks peers is looked up again; from then on twice as long each time, up to the interval.
const HURRY: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
struct Torrent {
    port: u16,
    /// When it is due; nothing while it is being looked up.
    due: Option<Time>,
    /// Lookups in a row that nobody answered.
    misses: u32,
    /// Lookups in a row that were earlier than the interval says.
    hurried: u32,
    /// The end of the latest lookup.
    looked: Time,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    torrents: HashMap<InfoHash, Torrent>,
    queue: BTreeSet<(Time, InfoHash)>,
}

impl Schedule {
    /// A torrent is ours; it is due at once.
    pub(super) fn join(&mut self, now: Time, info_hash: InfoHash, port: u16) {
        self.leave(info_hash);
        let torrent = Torrent {
            port,
            due: Some(now),
            misses: 0,
            hurried: 0,
            looked: now,
        };
        self.torrents.insert(info_hash, torrent);
        self.queue.insert((now, info_hash));
    }

    /// A torrent is no longer ours.
    pub(super) fn leave(&mut self, info_hash: InfoHash) {
        if let Some(due) = self
            .torrents
            .remove(&info_hash)
            .and_then(|torrent| torrent.due)
        {
            self.queue.remove(&(due, info_hash));
        }
    }

    /// A torrent that is due, to be looked up now.
    pub(super) fn next(&mut self, now: Time) -> Option<InfoHash> {
        let (due, info_hash) = *self.queue.first().filter(|(due, _)| *due <= now)?;
        self.queue.remove(&(due, info_hash));
        let torrent = self.torrents.get_mut(&info_hash)?;
        torrent.due = None;
        Some(info_hash)
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        Some(self.queue.first()?.0)
    }

    /// The port of a torrent, if it is still ours.
    pub(super) fn port(&self, info_hash: InfoHash) -> Option<u16> {
        Some(self.torrents.get(&info_hash)?.port)
    }

    /// A lookup is over; whether anybody has answered.
    pub(super) fn looked_up(
        &mut self,
        now: Time,
        info_hash: InfoHash,
        answered: bool,
        rng: &mut fastrand::Rng,
    ) {
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        let wait = if answered {
            torrent.misses = 0;
            INTERVAL - Duration::from_secs(rng.u64(..SPREAD))
        } else {
            torrent.misses = torrent.misses.saturating_add(1);
            (RETRY * (1 << (torrent.misses - 1).min(5))).min(LONGEST_RETRY)
        };
        torrent.looked = now;
        self.set_due(info_hash, now + wait);
    }

    /// A torrent lacks peers: it is looked up earlier than usual, but ever less often.
    pub(super) fn hurry(&mut self, now: Time, info_hash: InfoHash) {
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        let wait = HURRY * (1 << torrent.hurried.min(5));
        let early = torrent.looked + wait;
        if torrent.due.is_some_and(|due| due > early.max(now)) {
            torrent.hurried = torrent.hurried.saturating_add(1);
            self.set_due(info_hash, early.max(now));
        }
    }

    fn set_due(&mut self, info_hash: InfoHash, due: Time) {
        if let Some(torrent) = self.torrents.get_mut(&info_hash) {
            if let Some(before) = torrent.due.replace(due) {
                self.queue.remove(&(before, info_hash));
            }
            self.queue.insert((due, info_hash));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([1; 20]);

    fn at(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    /// When each of `n` lookups begins, if each takes no time and ends as `outcome` says.
    fn lookups(n: usize, outcome: bool, hurry: bool) -> Vec<u64> {
        let (mut schedule, mut rng) = (Schedule::default(), fastrand::Rng::with_seed(1));
        schedule.join(at(0), HASH, 6881);
        let mut begun = Vec::new();
        while begun.len() < n {
            let now = schedule.deadline().unwrap();
            assert_eq!(schedule.next(now), Some(HASH));
            assert_eq!(schedule.next(now), None, "it is being looked up");
            begun.push(now.as_micros() / 1_000_000);
            schedule.looked_up(now, HASH, outcome, &mut rng);
            if hurry {
                schedule.hurry(now, HASH);
            }
        }
        begun
    }

    #[test]
    fn a_torrent_is_announced_every_quarter_of_an_hour() {
        let begun = lookups(5, true, false);
        assert_eq!(begun[0], 0);
        let waits: Vec<_> = begun.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(waits.iter().all(|w| (810..=900).contains(w)), "{waits:?}");
    }

    #[test]
    fn a_lookup_that_nobody_answers_is_repeated_ever_later() {
        assert_eq!(lookups(7, false, false), [0, 15, 45, 105, 225, 465, 765]);
    }

    #[test]
    fn a_torrent_without_peers_is_looked_up_earlier_but_ever_less_often() {
        assert_eq!(lookups(6, true, true), [0, 30, 90, 210, 450, 930]);
    }

    #[test]
    fn a_torrent_that_was_left_is_forgotten() {
        let (mut schedule, mut rng) = (Schedule::default(), fastrand::Rng::with_seed(1));
        schedule.join(at(0), HASH, 6881);
        schedule.join(at(0), HASH, 6882);
        assert_eq!(schedule.port(HASH), Some(6882));
        assert_eq!(schedule.next(at(0)), Some(HASH));
        schedule.leave(HASH);
        schedule.looked_up(at(0), HASH, true, &mut rng);
        schedule.hurry(at(0), HASH);
        assert_eq!((schedule.deadline(), schedule.port(HASH)), (None, None));
    }
}

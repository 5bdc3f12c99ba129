//! One torrent's way through a run: examined, downloaded, published, seeded, ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::failure::{Exit, Failure};
use crate::base::bitfield::Bitfield;
use crate::base::geometry::PieceIndex;
use crate::base::id::InfoHash;
use crate::core::swarm::event::Stats;
use crate::disk::hash::Watch;
use crate::proto::metainfo::Metainfo;

use super::announcer::Announcer;
use super::payload::{Care, Payload, Purpose};
use super::progress::Snapshot;
use super::selection::Selection;
use super::torrent::Torrent;

/// What a torrent is doing.
pub enum Phase {
    /// Finding out what is there.
    Checking,
    /// Fetching.
    Downloading,
    /// All is here and is being published.
    Publishing,
    /// Serving others, since then.
    Seeding(Instant),
    /// Over, with this outcome.
    Ended(Result<(), Failure>),
}

/// A torrent in a run.
pub struct Job {
    /// What is shared.
    pub metainfo: Arc<Metainfo>,
    /// Where it lies or shall lie.
    pub purpose: Purpose,
    /// The files that are wanted; `None` for all.
    pub selection: Option<Arc<Selection>>,
    /// Its name for people.
    pub name: String,
    /// How much of it is hashed at the start.
    pub care: Care,
    /// What it is doing.
    pub phase: Phase,
    /// How far the check has come.
    pub watch: Arc<Watch>,
    /// The files, once they are open.
    pub payload: Option<Arc<Payload>>,
    /// The swarm, once it is joined.
    pub torrent: Option<Arc<Torrent>>,
    /// The trackers, once they are told.
    pub announcer: Option<Announcer>,
    /// When the run began with it.
    pub begun: Instant,
    /// When payload last came in, and how much had come in by then.
    pub progressed: (Instant, u64),
    /// Bytes of payload that were good when the run began.
    pub kept: u64,
    /// Trackers that have said no and have not taken it back.
    pub refusals: Vec<(String, String)>,
    /// Downloads that trackers have counted.
    pub counts: Counts,
}

/// Downloads that trackers have counted since the run heard of them first.
#[derive(Debug, Default)]
pub struct Counts(Vec<Count>);

#[derive(Debug)]
struct Count {
    tracker: String,
    first: u32,
    last: u32,
}

impl Counts {
    /// A tracker has told how many downloads it has counted so far.
    pub fn note(&mut self, tracker: &str, told: Option<u32>) {
        let Some(told) = told else { return };
        match self.0.iter_mut().find(|count| count.tracker == tracker) {
            // One that has started anew counts from the beginning.
            Some(count) if told < count.first => (count.first, count.last) = (0, told),
            Some(count) => count.last = told,
            None => self.0.push(Count {
                tracker: tracker.to_owned(),
                first: told,
                last: told,
            }),
        }
    }

    /// The most that any of them has counted.
    #[must_use]
    pub fn most(&self) -> usize {
        let counted = self.0.iter().map(|count| count.last - count.first);
        counted.max().unwrap_or(0) as usize
    }
}

impl Job {
    /// A torrent that has not begun.
    #[must_use]
    pub fn new(metainfo: Metainfo, purpose: Purpose, care: Care) -> Self {
        let now = Instant::now();
        Self {
            name: metainfo.shown_name(),
            metainfo: Arc::new(metainfo),
            purpose,
            selection: None,
            care,
            phase: Phase::Checking,
            watch: Arc::default(),
            payload: None,
            torrent: None,
            announcer: None,
            begun: now,
            progressed: (now, 0),
            kept: 0,
            refusals: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// The torrent's name in the protocol.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        self.metainfo.info_hash
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Bytes of payload that are wanted here.
    #[must_use]
    pub fn total(&self) -> u64 {
        let chosen = self.selection.as_ref().map(|chosen| chosen.fetched);
        chosen.unwrap_or(self.metainfo.geometry.total())
    }

    /// Totals and rates; zeros before the swarm is joined.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.torrent
            .as_ref()
            .map(|torrent| torrent.stats())
            .unwrap_or_default()
    }

    /// How it is going; nothing once it is over.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot<'_>> {
        let stats = self.stats();
        let total = self.total();
        let (phase, done) = match self.phase {
            Phase::Checking => ("checking", self.watch.done()),
            Phase::Downloading | Phase::Publishing => {
                ("downloading", total.saturating_sub(stats.left))
            }
            Phase::Seeding(_) => ("seeding", total),
            Phase::Ended(_) => return None,
        };
        Some(Snapshot {
            info_hash: self.info_hash(),
            name: &self.name,
            phase,
            total,
            done: done.min(total),
            stats,
        })
    }

    /// Other peers that are known to have everything, or to have had it: met, or counted by a tracker since the run began.
    #[must_use]
    pub fn finished(&self) -> usize {
        let downloaded = self.kept < self.total() && self.selection.is_none();
        let counted = self.counts.most().saturating_sub(usize::from(downloaded));
        self.stats().finished.max(counted)
    }

    /// Whether it lacks data and has nobody to get it from.
    #[must_use]
    pub fn is_lonely(&self) -> bool {
        matches!(self.phase, Phase::Downloading) && self.stats().peers == 0
    }

    /// Bytes of payload in those of `pieces` that are wanted here.
    #[must_use]
    pub fn bytes_in(&self, pieces: &Bitfield) -> u64 {
        pieces
            .iter()
            .filter(|&piece| self.wants(piece))
            .map(|piece| u64::from(self.metainfo.geometry.piece_len(piece)))
            .sum()
    }

    /// Whether `piece` holds anything that is wanted.
    #[must_use]
    pub fn wants(&self, piece: PieceIndex) -> bool {
        let chosen = self.selection.as_ref();
        chosen.is_none_or(|chosen| chosen.pieces.has(piece))
    }

    /// The pieces that are verified, wanted or not.
    #[must_use]
    pub fn verified(&self) -> Option<Bitfield> {
        let running = self.torrent.as_ref().map(|torrent| torrent.verified());
        running.or_else(|| Some(self.payload.as_ref()?.verified()))
    }

    /// Where the payload lies.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.payload
            .as_ref()
            .map(|payload| payload.storage.path())
            .unwrap_or_default()
    }

    /// Whether the time is up for which it may seed until `wanted` others are complete.
    #[must_use]
    pub fn waited_enough(&self, timeout: Option<Duration>, wanted: usize) -> Option<Failure> {
        let late = timeout.is_some_and(|timeout| self.begun.elapsed() >= timeout);
        let seeding = matches!(self.phase, Phase::Seeding(_));
        (late && seeding).then(|| {
            let finished = self.finished();
            let cause = format_args!(
                "{finished} of {wanted} other peers are complete in the time that `--timeout` gives"
            );
            Failure::new(Exit::Deadline, "seed", &self.name, cause)
        })
    }

    /// Whether a deadline of a download has passed; the failure says which.
    pub fn overdue(
        &mut self,
        timeout: Option<Duration>,
        stall_timeout: Option<Duration>,
    ) -> Option<Failure> {
        if !matches!(self.phase, Phase::Checking | Phase::Downloading) {
            return None;
        }
        let downloaded = self.stats().downloaded;
        if downloaded > self.progressed.1 || matches!(self.phase, Phase::Checking) {
            self.progressed = (Instant::now(), downloaded);
        }
        let late = |limit: Option<Duration>, since: Instant| {
            limit.is_some_and(|limit| since.elapsed() >= limit)
        };
        let what = if late(timeout, self.begun) {
            "not finished in the time that `--timeout` gives"
        } else if late(stall_timeout, self.progressed.0) {
            "no data for the time that `--stall-timeout` gives"
        } else {
            return None;
        };
        Some(Failure::new(
            Exit::Deadline,
            "download",
            &self.name,
            format_args!("{what}; the same command continues it"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_count_from_when_a_tracker_was_first_heard() {
        let mut counts = Counts::default();
        assert_eq!(counts.most(), 0);
        counts.note("a", Some(40));
        counts.note("b", None);
        assert_eq!(counts.most(), 0, "what was before does not count");
        counts.note("a", Some(42));
        counts.note("b", Some(7));
        counts.note("b", Some(8));
        assert_eq!(counts.most(), 2);
        counts.note("b", Some(3));
        assert_eq!(counts.most(), 3, "it has started anew");
    }
}

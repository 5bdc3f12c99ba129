//! One torrent's way through a run: examined, downloaded, published, seeded, ended.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::failure::{Exit, Failure};
use crate::base::bitfield::Bitfield;
use crate::base::geometry::PieceIndex;
use crate::base::id::InfoHash;
use crate::core::shares::Priority;
use crate::core::swarm::event::{Source, Stats};
use crate::disk::hash::Watch;
use crate::proto::magnet::Magnet;
use crate::proto::metainfo::Metainfo;
use crate::proto::metainfo::path::shown;

use super::announcer::Announcer;
use super::fetcher::Fetcher;
use super::history::History;
use super::payload::{Care, Payload, Purpose};
use super::progress::{FETCHING, Snapshot};
use super::selection::Selection;
use super::subject::Subject;
use super::torrent::Torrent;

/// From the first failure to the next attempt; from then on twice as long each time.
const RETRY: Duration = Duration::from_secs(60);

/// So often.
const MOST_DOUBLED: u32 = 4;

/// How long to wait after so many failures.
#[must_use]
pub fn pause_after(failures: u32) -> Duration {
    RETRY * (1 << failures.saturating_sub(1).min(MOST_DOUBLED))
}

/// What a torrent is doing.
pub enum Phase {
    /// Fetching what the torrent is about: nothing but a magnet link is known.
    Fetching,
    /// Finding out what is there.
    Checking,
    /// Taking what older versions hold.
    Reusing,
    /// Fetching.
    Downloading,
    /// All is here and is being published.
    Publishing,
    /// Serving others, since then.
    Seeding(Instant),
    /// Nothing, because the operator wants it so.
    Paused,
    /// Over, with this outcome.
    Ended(Result<(), Failure>),
}

/// What the operator wants of a torrent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// That it goes on.
    #[default]
    Run,
    /// That it does nothing until further notice.
    Pause,
    /// That it goes. It is not shown any more.
    Leave,
}

/// A torrent in a run.
pub struct Job {
    /// What is shared. As long as nothing but a magnet link is known, there is little in it.
    pub metainfo: Arc<Metainfo>,
    /// The link that it came by.
    pub magnet: Option<Arc<Magnet>>,
    /// Whoever fetches what is missing beside the link.
    pub fetcher: Option<Arc<Fetcher>>,
    /// Peers that were known before the torrent was.
    pub known: Vec<(SocketAddr, Source)>,
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
    pub refusals: Vec<Refusal>,
    /// Downloads that trackers have counted.
    pub counts: Counts,
    /// Its share of the limits.
    pub priority: Priority,
    /// What the operator wants; done as soon as it is not [`Job::busy`].
    pub wish: Wish,
    /// A thread of ours has the payload, and will say when it is done with it.
    pub busy: bool,
    /// Bytes sent and received by earlier attempts of this run.
    pub before: (u64, u64),
    /// Bytes of payload that were verified when it last did something.
    pub had: u64,
    /// Its rates of late.
    pub history: History,
    /// Attempts that have failed since it last worked.
    pub failures: u32,
    /// When it failed, to be tried again.
    pub failed: Option<Instant>,
    /// When all of it was fetched, in seconds since 1970; `None` if that was not done by runs that take and leave torrents by themselves.
    pub fetched: Option<u64>,
    /// When payload was last sent, and how much had been by then.
    pub served: (Option<Instant>, u64),
}

/// A tracker's no.
#[derive(Debug)]
pub struct Refusal {
    /// Whose.
    pub tracker: String,
    /// Why, in its words.
    pub reason: String,
    /// It is not the first, or the tracker wants not to be asked again. A first one may only mean that the torrent was made a second ago, and
    /// that the tracker has not looked into its folder since.
    pub is_final: bool,
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
    pub fn new(metainfo: impl Into<Arc<Metainfo>>, purpose: Purpose, care: Care) -> Self {
        let (now, metainfo) = (Instant::now(), metainfo.into());
        Self {
            name: metainfo.shown_name(),
            metainfo,
            magnet: None,
            fetcher: None,
            known: Vec::new(),
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
            priority: Priority::default(),
            wish: Wish::default(),
            busy: false,
            before: (0, 0),
            had: 0,
            history: History::default(),
            failures: 0,
            failed: None,
            fetched: None,
            served: (None, 0),
        }
    }

    /// The same of a magnet link.
    #[must_use]
    pub fn of_link(magnet: Arc<Magnet>, purpose: Purpose, care: Care) -> Self {
        let unknown = Metainfo::unknown(magnet.info_hash);
        let name = magnet.name.as_ref().map(|name| shown(name.as_bytes()));
        let job = Self::new(unknown, purpose, care);
        Self {
            name: name.unwrap_or_else(|| job.name.clone()),
            phase: Phase::Fetching,
            magnet: Some(magnet),
            ..job
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
        let torrent = self.torrent.as_ref().map(|torrent| torrent.stats());
        let fetcher = || Some(self.fetcher.as_ref()?.stats());
        torrent.or_else(fetcher).unwrap_or_default()
    }

    /// Whether it works, or is about to.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Paused | Phase::Ended(_))
    }

    /// Whether all that is wanted lies under its own name.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match self.phase {
            Phase::Seeding(_) | Phase::Ended(Ok(())) => true,
            Phase::Paused => self.metainfo.is_known() && self.had == self.total(),
            _ => false,
        }
    }

    /// How it is going.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        let mut stats = self.stats();
        stats.uploaded += self.before.0;
        stats.downloaded += self.before.1;
        let total = self.total();
        let (phase, done) = match self.phase {
            Phase::Fetching => (FETCHING, 0),
            Phase::Checking => ("checking", self.watch.done()),
            Phase::Reusing => {
                let verified = self.verified();
                ("reusing", verified.map_or(0, |good| self.bytes_in(&good)))
            }
            Phase::Downloading | Phase::Publishing => {
                ("downloading", total.saturating_sub(stats.left))
            }
            Phase::Seeding(_) => ("seeding", total),
            Phase::Paused => ("paused", self.had),
            Phase::Ended(Ok(())) => ("finished", total),
            Phase::Ended(Err(_)) => ("error", self.had),
        };
        Snapshot {
            info_hash: self.info_hash(),
            name: &self.name,
            phase,
            total,
            done: done.min(total),
            stats,
        }
    }

    /// Lets go of everything that it works with; what it has done so far still counts.
    pub fn let_go(&mut self) {
        let (stats, snapshot) = (self.stats(), self.snapshot());
        if !matches!(self.phase, Phase::Fetching | Phase::Checking) {
            self.had = snapshot.done;
        }
        self.before.0 += stats.uploaded;
        self.before.1 += stats.downloaded;
        (self.payload, self.torrent, self.announcer) = (None, None, None);
        self.fetcher = None;
    }

    /// Whether it has failed, and its cause may be gone: after a minute, then ever less often, for a look may mean to hash all that is there.
    #[must_use]
    pub fn is_due_again(&self) -> bool {
        let wait = pause_after(self.failures);
        self.failed.is_some_and(|failed| failed.elapsed() >= wait)
    }

    /// Adds its present rates to its history.
    pub fn note_rates(&mut self) {
        let stats = self.stats();
        self.history.push(stats.download_rate, stats.upload_rate);
    }

    /// Is as if nothing had been done yet, for another attempt.
    pub fn renew(&mut self) {
        let now = Instant::now();
        self.phase = if self.metainfo.is_known() {
            Phase::Checking
        } else {
            Phase::Fetching
        };
        self.watch = Arc::default();
        (self.begun, self.progressed) = (now, (now, 0));
        (self.failed, self.fetched) = (None, None);
        self.refusals.clear();
    }

    /// Where the payload lies or will lie once it is complete.
    #[must_use]
    pub fn destination(&self) -> PathBuf {
        match &self.purpose {
            // Under a name that is not known yet.
            Purpose::Download(folder) if !self.metainfo.is_known() => folder.clone(),
            Purpose::Download(folder) => folder.join(&self.metainfo.safe_name),
            Purpose::Seed(data) if self.payload.is_none() => data.clone(),
            Purpose::Seed(_) => self.path(),
        }
    }

    /// Other peers that are known to have everything, or to have had it: met, or counted by a tracker since the run began.
    #[must_use]
    pub fn finished(&self) -> usize {
        let downloaded = self.kept < self.total() && self.selection.is_none();
        let counted = self.counts.most().saturating_sub(usize::from(downloaded));
        self.stats().finished.max(counted)
    }

    /// Who an address of its swarm stands for.
    #[must_use]
    pub fn who(&self, addr: SocketAddr) -> String {
        let torrent = self.torrent.as_ref();
        torrent.map_or_else(|| format!("peer {addr}"), |torrent| torrent.who(addr))
    }

    /// Whether it lacks data and has nobody to get it from.
    #[must_use]
    pub fn is_lonely(&self) -> bool {
        matches!(self.phase, Phase::Fetching | Phase::Downloading) && self.stats().peers == 0
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

    /// Bytes that have come in: of payload, or as long as it is not known what that is, of metadata.
    fn received(&self) -> u64 {
        let fetcher = self.fetcher.as_ref();
        fetcher.map_or_else(|| self.stats().downloaded, |fetcher| fetcher.progress().0)
    }

    /// Whether a deadline of a download has passed; the failure says which.
    pub fn overdue(
        &mut self,
        timeout: Option<Duration>,
        stall_timeout: Option<Duration>,
    ) -> Option<Failure> {
        let looks = matches!(self.phase, Phase::Checking | Phase::Reusing);
        if !looks && !matches!(self.phase, Phase::Fetching | Phase::Downloading) {
            return None;
        }
        let downloaded = self.received();
        if downloaded > self.progressed.1 || looks {
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

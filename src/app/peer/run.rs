//! A run of `get`, `seed` or the bare form: one loop that hears of everything and decides when it is over.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::app::failure::{Exit, Failure};
use crate::app::signals::Signal;
use crate::core::swarm::event::Config;

use super::announcer::{Announcer, Farewell, Identity, Word};
use super::job::{Job, Phase};
use super::options::{Mode, Options};
use super::payload::{Payload, storage_failure};
use super::progress::Teller;
use super::session::Session;
use super::torrent::Happening;

/// Between two looks at progress and deadlines.
const TICK: Duration = Duration::from_secs(1);

/// Between two savings of what is verified. After a kill, at most what came in since the last one is hashed again.
const REMEMBER: Duration = Duration::from_secs(5);

/// Something that a run reacts to.
pub enum Occurrence {
    /// The operator wants something.
    Signal(Signal),
    /// A payload has been examined: the files, what of them is good, and whether it lies under its own name.
    Examined(usize, Box<Result<Examined, Failure>>),
    /// A payload has been published.
    Published(usize, Result<(), Failure>),
    /// A swarm has something to say.
    Swarm(usize, Happening),
    /// A tracker has something to say.
    Tracker(usize, String, Word),
    /// The command of `--on-complete` has ended.
    Hooked(usize, Result<(), Failure>),
}

/// What there was of a payload.
pub struct Examined {
    pub(super) payload: Payload,
    pub(super) word: Option<String>,
}

/// How a run behaves, from the command line and the configuration.
pub struct Plan {
    /// The command line.
    pub options: Options,
    /// For every swarm.
    pub swarm: Config,
    /// For trackers.
    pub identity: Identity,
}

/// A run under way.
pub struct Run {
    pub(super) plan: Plan,
    pub(super) session: Arc<Session>,
    pub(super) jobs: Vec<Job>,
    pub(super) teller: Teller,
    pub(super) sender: Sender<Occurrence>,
    pub(super) inbox: Receiver<Occurrence>,
    /// Examinations take turns: each uses all cores.
    pub(super) turn: Arc<Mutex<()>>,
    pub(super) remembered: Instant,
}

impl Run {
    /// Nothing happens before [`Run::run`].
    #[must_use]
    pub fn new(plan: Plan, session: Arc<Session>, torrents: Vec<Job>) -> Self {
        let (sender, inbox) = mpsc::channel();
        let teller = Teller::new(plan.options.verbosity, plan.options.json);
        Self {
            plan,
            session,
            jobs: torrents,
            teller,
            sender,
            inbox,
            turn: Arc::default(),
            remembered: Instant::now(),
        }
    }

    /// Where occurrences are to be sent, such as signals.
    #[must_use]
    pub fn sender(&self) -> Sender<Occurrence> {
        self.sender.clone()
    }

    /// Runs until every torrent is over or the operator wants no more.
    ///
    /// # Errors
    /// The first torrent's failure; all of them have been told by then.
    pub fn run(mut self) -> Result<Exit, Failure> {
        for index in 0..self.jobs.len() {
            self.examine(index);
        }
        let signal = self.live();
        self.wind_down();
        self.outcome(signal)
    }

    fn live(&mut self) -> Option<Signal> {
        let mut next = Instant::now() + TICK;
        while !self.jobs.iter().all(Job::is_over) {
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                next = Instant::now() + TICK;
                self.tick();
                continue;
            }
            match self.inbox.recv_timeout(left) {
                Ok(Occurrence::Signal(Signal::Reload)) => {}
                Ok(Occurrence::Signal(signal)) => return Some(signal),
                Ok(occurrence) => self.react(occurrence),
                Err(RecvTimeoutError::Timeout) => {}
                // The run itself holds a sender.
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }

    fn react(&mut self, occurrence: Occurrence) {
        match occurrence {
            Occurrence::Signal(_) => {}
            Occurrence::Examined(index, examined) => {
                let joined = examined.and_then(|examined| self.join(index, examined));
                self.check(index, joined);
            }
            Occurrence::Swarm(index, Happening::Complete) => self.complete(index),
            Occurrence::Swarm(index, Happening::Dropped(addr, reason)) => {
                let line = format!("{}: peer {addr} dropped: {reason}", self.jobs[index].name);
                self.teller.detail(&line);
            }
            Occurrence::Swarm(index, Happening::Blamed(addr, piece, penalty)) => {
                let name = &self.jobs[index].name;
                let line = format!("{name}: peer {addr} sent bad data in piece {piece}: {penalty}");
                self.teller.note(&line);
            }
            Occurrence::Swarm(index, Happening::Storage(error)) => {
                self.end(index, Err(storage_failure(&error)))
            }
            Occurrence::Published(index, published) => {
                let told = published.and_then(|()| self.finish(index));
                self.check(index, told);
            }
            Occurrence::Tracker(index, url, word) => self.heed(index, &url, word),
            Occurrence::Hooked(index, outcome) => {
                let done = outcome.map(|()| self.seed_or_end(index));
                self.check(index, done);
            }
        }
    }

    pub(super) fn check(&mut self, index: usize, outcome: Result<(), Failure>) {
        if let Err(failure) = outcome {
            self.end(index, Err(failure));
        }
    }

    fn tick(&mut self) {
        let snapshots: Vec<_> = self.jobs.iter().filter_map(Job::snapshot).collect();
        self.teller.progress(&snapshots);
        for index in 0..self.jobs.len() {
            let (timeout, stall_timeout) =
                (self.plan.options.timeout, self.plan.options.stall_timeout);
            if let Some(failure) = self.jobs[index].overdue(timeout, stall_timeout) {
                self.end(index, Err(failure));
            } else if self.jobs[index].is_lonely() {
                self.jobs[index]
                    .announcer
                    .iter()
                    .for_each(Announcer::more_peers_wanted);
            } else if self.has_seeded_enough(index) {
                self.end(index, Ok(()));
            } else if let Some(wanted) = self.plan.options.until_peers
                && let Some(failure) = self.jobs[index].waited_enough(timeout, wanted)
            {
                self.end(index, Err(failure));
            }
        }
        if self.remembered.elapsed() >= REMEMBER {
            self.remembered = Instant::now();
            let failures: Vec<_> = (0..self.jobs.len())
                .map(|index| self.remember(index, false))
                .collect();
            failures
                .into_iter()
                .enumerate()
                .for_each(|(index, outcome)| self.check(index, outcome));
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn has_seeded_enough(&self, index: usize) -> bool {
        let (job, options) = (&self.jobs[index], &self.plan.options);
        let Phase::Seeding(since) = job.phase else {
            return false;
        };
        let sent = job.stats().uploaded as f64 / job.total().max(1) as f64;
        options.seed_for.is_some_and(|time| since.elapsed() >= time)
            || options.seed_ratio.is_some_and(|ratio| sent >= ratio)
            || options.until_peers.is_some_and(|n| job.finished() >= n)
    }

    /// Stops everything that still runs, all at once, so that it takes no longer than the slowest.
    fn wind_down(&mut self) {
        let farewells: Vec<_> = (0..self.jobs.len())
            .filter_map(|index| self.leave(index))
            .collect();
        for index in 0..self.jobs.len() {
            self.jobs[index].watch.cancel();
            let saved = self.remember(index, true);
            self.check(index, saved);
        }
        farewells.into_iter().for_each(Farewell::wait);
    }

    fn outcome(mut self, signal: Option<Signal>) -> Result<Exit, Failure> {
        let mut first = None;
        let several = self.jobs.len() > 1;
        let mut unfinished = false;
        for job in self.jobs.drain(..) {
            match job.phase {
                Phase::Ended(Ok(())) | Phase::Seeding(_) => {}
                Phase::Ended(Err(failure)) if first.is_none() && !several => first = Some(failure),
                Phase::Ended(Err(failure)) => {
                    let more = Failure::plain(failure.exit, "not every torrent ended well");
                    first.get_or_insert(more);
                }
                Phase::Checking | Phase::Downloading | Phase::Publishing => unfinished = true,
            }
        }
        let interrupted = signal
            .and_then(Signal::exit)
            .filter(|_| unfinished && !matches!(self.plan.options.mode, Mode::Seed | Mode::Share));
        match (first, interrupted) {
            (Some(failure), _) => Err(failure),
            (None, Some(exit)) => {
                self.teller.note("interrupted; the same command continues");
                Ok(exit)
            }
            (None, None) => Ok(Exit::Done),
        }
    }
}

//! A run of `get`, `seed`, the bare form or `run`: one loop that hears of everything and decides when it is over.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::app::failure::{Exit, Failure};
use crate::app::human;
use crate::app::signals::Signal;
use crate::base::id::InfoHash;
use crate::core::swarm::event::Config;
use crate::disk::discard::Discarded;

use super::announcer::{Announcer, Farewell, Identity, Word};
use super::api::{Ask, Slot};
use super::cleanup::Cleanup;
use super::history;
use super::job::{Job, Phase};
use super::jobs::Jobs;
use super::local::LocalDiscovery;
use super::options::{Mode, Options};
use super::payload::{Payload, storage_failure};
use super::port_mapping::{self, PortMapping};
use super::progress::Teller;
use super::reuse::Reused;
use super::session::Session;
use super::status::{Door, StatusServer};
use super::torrent::Happening;
use super::watched::Watched;

/// Between two looks at progress and deadlines.
const TICK: Duration = Duration::from_secs(1);

/// Between two savings of what is verified. After a kill, at most what came in since the last one is hashed again.
const REMEMBER: Duration = Duration::from_secs(5);

/// Something that a run reacts to.
pub enum Occurrence {
    /// The operator wants something.
    Signal(Signal),
    /// The metadata of a magnet link is here: what goes by its info-hash.
    Described(usize, Vec<u8>),
    /// A payload has been examined: the files, what of them is good, and whether it lies under its own name.
    Examined(usize, Box<Result<Examined, Failure>>),
    /// What older versions hold has been taken over.
    Reused(usize, Result<Reused, Failure>),
    /// A payload has been published.
    Published(usize, Result<(), Failure>),
    /// The data of a torrent that is on the list no more has been removed.
    Removed(InfoHash, Result<Discarded, Failure>),
    /// A swarm has something to say.
    Swarm(usize, Happening),
    /// A tracker has something to say.
    Tracker(usize, String, Word),
    /// The command of `--on-complete` has ended.
    Hooked(usize, Result<(), Failure>),
    /// The gateway has, or has not, let others in.
    PortMapping(port_mapping::Word),
    /// Somebody asks over HTTP. Whoever does not wait any longer need not be answered.
    Asked(Ask, Arc<Slot>),
}

impl Occurrence {
    /// The torrent that it is about.
    const fn number(&self) -> Option<usize> {
        match self {
            Self::Signal(_) | Self::Asked(..) | Self::Removed(..) | Self::PortMapping(_) => None,
            Self::Described(index, _)
            | Self::Examined(index, _)
            | Self::Reused(index, _)
            | Self::Published(index, _)
            | Self::Swarm(index, _)
            | Self::Tracker(index, ..)
            | Self::Hooked(index, _) => Some(*index),
        }
    }
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
    /// For the local network, if it is to know of us.
    pub local: Option<Arc<LocalDiscovery>>,
}

/// A run under way.
pub struct Run {
    pub(super) plan: Plan,
    pub(super) session: Arc<Session>,
    pub(super) jobs: Jobs,
    pub(super) teller: Teller,
    pub(super) sender: Sender<Occurrence>,
    pub(super) inbox: Receiver<Occurrence>,
    /// Examinations take turns: each uses all cores.
    pub(super) turn: Arc<Mutex<()>>,
    pub(super) remembered: Instant,
    pub(super) begun: Instant,
    /// Trackers that are being told that we stop.
    pub(super) farewells: Vec<Farewell>,
    /// The folder whose torrents come and go.
    pub(super) watched: Option<Watched>,
    /// What it does not keep.
    pub(super) cleanup: Cleanup,
    /// Seconds that have been counted.
    ticks: u64,
    _status: Option<StatusServer>,
    /// What keeps the port reachable from outside.
    mapping: Option<PortMapping>,
}

impl Run {
    /// Nothing happens before [`Run::run`].
    #[must_use]
    pub fn new(
        plan: Plan,
        session: Arc<Session>,
        torrents: Vec<Job>,
        watched: Option<Watched>,
    ) -> Self {
        let (sender, inbox) = mpsc::channel();
        let (options, priority) = (&plan.options, plan.options.priority);
        let teller = Teller::new(options.verbosity, options.json, watched.is_none());
        let cleanup = Cleanup::new(options.keep);
        let torrents = torrents.into_iter();
        let jobs = torrents.map(|job| Job { priority, ..job }).collect();
        Self {
            plan,
            session,
            jobs,
            teller,
            sender,
            inbox,
            turn: Arc::default(),
            remembered: Instant::now(),
            begun: Instant::now(),
            farewells: Vec::new(),
            watched,
            cleanup,
            ticks: 0,
            _status: None,
            mapping: None,
        }
    }

    /// Lets others ask how it goes, for as long as it runs.
    ///
    /// # Errors
    /// If the address cannot be listened at.
    pub fn serve(&mut self, door: &Door) -> Result<(), Failure> {
        let server = StatusServer::start(door, self.sender())?;
        self.teller.note(&format!("status at {}", server.url()));
        self._status = Some(server);
        Ok(())
    }

    /// Asks the gateway to let others in, from now on to the end.
    pub fn map_port(&mut self) {
        let sender = self.sender();
        let tell = move |word| drop(sender.send(Occurrence::PortMapping(word)));
        let (bind, port) = (self.session.bind().clone(), self.session.listening().port());
        let door = self.session.door().clone();
        self.mapping = Some(PortMapping::start(bind, port, door, tell));
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
        for index in self.jobs.numbers() {
            self.examine(index);
        }
        self.look();
        let signal = self.live();
        self.wind_down();
        self.outcome(signal)
    }

    fn live(&mut self) -> Option<Signal> {
        let mut next = Instant::now() + TICK;
        while self.is_long_lived() || !self.jobs.iter().all(Job::is_over) {
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                next = Instant::now() + TICK;
                self.tick();
                continue;
            }
            match self.inbox.recv_timeout(left) {
                Ok(Occurrence::Signal(Signal::Reload)) => self.reload(),
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
        let gone = |index| !self.jobs.contains(index);
        if occurrence.number().is_some_and(gone) {
            return;
        }
        match occurrence {
            Occurrence::Signal(_) => {}
            Occurrence::PortMapping(word) => self.heed_mapping(word),
            Occurrence::Asked(ask, reply) => {
                let answer = self.reply(ask);
                reply.fill(answer);
            }
            Occurrence::Described(index, info) => {
                let begun = self.described(index, &info);
                self.check(index, begun);
            }
            Occurrence::Examined(index, examined) => {
                if !self.is_free(index) {
                    return;
                }
                if self.jobs[index].watch.is_cancelled() {
                    // The operator has wanted it to stop, and then not any more.
                    drop(examined);
                    self.jobs[index].watch = Arc::default();
                    return self.examine(index);
                }
                let joined = examined.and_then(|examined| self.join(index, examined));
                self.check(index, joined);
            }
            Occurrence::Reused(index, reused) => {
                if !self.is_free(index) {
                    return;
                }
                match reused {
                    // As above: the rest of it.
                    Ok(_) if self.jobs[index].watch.is_cancelled() => self.reuse(index),
                    Ok(reused) => self.reused(index, &reused),
                    Err(failure) => self.end(index, Err(failure)),
                }
            }
            Occurrence::Swarm(index, happening) => self.happened(index, happening),
            Occurrence::Published(index, published) => {
                if !self.is_free(index) {
                    return;
                }
                let told = published.and_then(|()| self.finish(index));
                self.check(index, told);
            }
            Occurrence::Removed(info_hash, outcome) => self.removed(info_hash, outcome),
            Occurrence::Tracker(index, url, word) => self.heed(index, &url, word),
            Occurrence::Hooked(index, outcome) => {
                if !self.is_free(index) {
                    return;
                }
                let done = outcome.map(|()| self.seed_or_end(index));
                self.check(index, done);
            }
        }
    }

    /// Something has happened in the swarm of a torrent.
    fn happened(&mut self, index: usize, happening: Happening) {
        match happening {
            Happening::Complete => self.complete(index),
            Happening::Dropped(addr, reason) => {
                let who = self.jobs[index].who(addr);
                let line = format!("{}: {who} dropped: {reason}", self.jobs[index].name);
                self.teller.detail(&line);
            }
            Happening::NotEncrypted(addr) => {
                let name = &self.jobs[index].name;
                let line = format!(
                    "{name}: peer {addr} does not encrypt, as `--encryption required` demands"
                );
                self.teller.detail(&line);
            }
            Happening::Blamed(addr, piece, penalty) => {
                let (name, who) = (&self.jobs[index].name, self.jobs[index].who(addr));
                let line = format!("{name}: {who} sent bad data in piece {piece}: {penalty}");
                self.teller.note(&line);
            }
            Happening::WebSeedFailed(url, why, pause) => {
                let (name, pause) = (&self.jobs[index].name, human::span(pause));
                let line = format!("{name}: web seed {url}: {why}; asked again in {pause}");
                self.teller.detail(&line);
            }
            Happening::WebSeedDropped(url, why) => {
                let name = &self.jobs[index].name;
                let line = format!("{name}: web seed {url} is not used any more: {why}");
                self.teller.note(&line);
            }
            Happening::Storage(error) => self.end(index, Err(storage_failure(&error))),
        }
    }

    pub(super) fn check(&mut self, index: usize, outcome: Result<(), Failure>) {
        if let Err(failure) = outcome {
            self.end(index, Err(failure));
        }
    }

    fn tick(&mut self) {
        let active = self.jobs.iter().filter(|job| job.is_active());
        let snapshots: Vec<_> = active.map(Job::snapshot).collect();
        self.teller.progress(&snapshots);
        self.ticks += 1;
        if self.ticks.is_multiple_of(history::EVERY) {
            self.jobs.iter_mut().for_each(Job::note_rates);
        }
        self.farewells.retain(|farewell| !farewell.is_over());
        if self.is_long_lived() {
            self.look_if_due();
            self.retry(Job::is_due_again);
            self.clean_up();
        }
        for index in self.jobs.numbers() {
            let (timeout, stall_timeout) =
                (self.plan.options.timeout, self.plan.options.stall_timeout);
            if let Some(failure) = self.jobs[index].overdue(timeout, stall_timeout) {
                self.end(index, Err(failure));
            } else if self.jobs[index].is_lonely() {
                let job = &self.jobs[index];
                job.announcer.iter().for_each(Announcer::more_peers_wanted);
                self.session.more_peers_wanted(job.info_hash());
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
            for index in self.jobs.numbers() {
                let saved = self.remember(index, false);
                self.check(index, saved);
            }
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
        self.mapping.iter().for_each(PortMapping::stop);
        for index in self.jobs.numbers() {
            self.leave(index);
        }
        for index in self.jobs.numbers() {
            self.jobs[index].watch.cancel();
            let saved = self.remember(index, true);
            self.check(index, saved);
        }
        self.session.stop();
        self.finish_removals();
        self.farewells.drain(..).for_each(Farewell::wait);
        self.mapping.take().into_iter().for_each(PortMapping::wait);
    }

    fn outcome(mut self, signal: Option<Signal>) -> Result<Exit, Failure> {
        let mut first = None;
        let several = self.jobs.len() > 1;
        let mut unfinished = false;
        for job in self.jobs.take() {
            match job.phase {
                Phase::Ended(Ok(())) | Phase::Seeding(_) | Phase::Paused => {}
                // Told when it happened, and to be tried again by the next run.
                _ if self.plan.options.mode == Mode::Run => {}
                Phase::Ended(Err(failure)) if first.is_none() && !several => first = Some(failure),
                Phase::Ended(Err(failure)) => {
                    let more = Failure::plain(failure.exit, "not every torrent ended well");
                    first.get_or_insert(more);
                }
                Phase::Fetching
                | Phase::Checking
                | Phase::Reusing
                | Phase::Downloading
                | Phase::Publishing => {
                    unfinished = true;
                }
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

//! Tells a torrent's trackers about us and learns of other peers from them: a thread for each torrent.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::core::announce::{Due, Schedule};
use crate::core::swarm::event::Source;
use crate::net::tcp::Bind;
use crate::proto::tracker::{AnnounceReply, AnnounceRequest, Event};

use super::asker::{Asker, Trouble};
use super::port_mapping::Door;
use super::subject::Subject;
use super::threads;

/// How long a tracker may take (R71).
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take to hear that we stop, when nobody wants to wait any more (R69).
const FAREWELL: Duration = Duration::from_millis(2500);

/// How a tracker's answer looks from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It took the announce and named so many peers; and how many downloads it has counted so far, if it says.
    Announced(usize, Option<u32>),
    /// It has something to say to the operator.
    Warned(String),
    /// It said no; and whether there is no use in asking again soon, because it says so (BEP 31).
    Refused(String, bool),
    /// It could not be reached, or made no sense.
    Failed(String),
}

/// Who we say we are.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The port that others can connect to.
    pub door: Door,
    /// The address that others can connect to, where the tracker cannot see it.
    pub ip: Option<IpAddr>,
    /// Proves that we are the same when our address changes.
    pub key: u32,
    /// What announces are tied to.
    pub bind: Bind,
}

/// A torrent's announcing, as long as it lasts.
pub struct Announcer {
    shared: Arc<Shared>,
}

struct Shared {
    subject: Arc<dyn Subject>,
    identity: Identity,
    schedule: Mutex<Schedule>,
    wake: Condvar,
    stopping: AtomicBool,
    asker: Asker,
    tell: Box<Tell>,
}

impl Announcer {
    /// Announces `started` at once, to one of the trackers in `tiers`. `tell` hears what each tracker answers, on the announcer's thread.
    pub fn start(
        subject: Arc<dyn Subject>,
        tiers: &[Vec<String>],
        identity: Identity,
        tell: impl Fn(&str, Word) + Send + Sync + 'static,
    ) -> Self {
        let seed = fastrand::u64(..);
        let schedule = Schedule::new(tiers, seed);
        let shared = Arc::new(Shared {
            subject,
            schedule: Mutex::new(schedule),
            wake: Condvar::new(),
            stopping: AtomicBool::new(false),
            asker: Asker::new(&identity.bind, TIMEOUT),
            identity,
            tell: Box::new(tell),
        });
        let announcer = shared.clone();
        threads::spawn("announcer", move || announcer.run());
        Self { shared }
    }

    /// The payload is complete: trackers hear `completed` at once.
    pub fn completed(&self) {
        let now = self.shared.subject.clock().now();
        self.shared.schedule().completed(now);
        self.shared.wake.notify_all();
    }

    /// More peers would be welcome: asks earlier than the schedule says, as far as the trackers allow.
    pub fn more_peers_wanted(&self) {
        let now = self.shared.subject.clock().now();
        self.shared.schedule().more_peers_wanted(now);
        self.shared.wake.notify_all();
    }

    /// Breaks off what is under way. Nothing is announced from now on but by [`Announcer::farewell`].
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.asker.abort();
        self.shared.wake.notify_all();
    }

    /// After [`Announcer::stop`]: says `stopped` to every tracker that knows us, to all at once; and `completed` before, to those that have
    /// not heard it, because a run may end as soon as its payload is complete and downloads are counted by it.
    #[must_use]
    pub fn farewell(&self) -> Farewell {
        let (sender, done) = mpsc::channel();
        let urls = self.shared.schedule().stopping();
        let asker = self.shared.asker.successor(FAREWELL);
        for url in urls {
            let (shared, asker, sender) = (self.shared.clone(), asker.clone(), sender.clone());
            let owed = shared.schedule().owes_completed(&url);
            threads::spawn("farewell", move || {
                if owed {
                    let _ = shared.announce(&asker, &url, Event::Completed);
                }
                // Nobody is left who could do anything about a failure; the tracker will notice our silence.
                let _ = shared.announce(&asker, &url, Event::Stopped);
                drop(sender);
            });
        }
        Farewell {
            done,
            deadline: Instant::now() + FAREWELL,
        }
    }
}

type Tell = dyn Fn(&str, Word) + Send + Sync;

/// `stopped` on its way to trackers.
pub struct Farewell {
    done: mpsc::Receiver<()>,
    deadline: Instant,
}

impl Farewell {
    /// Whether there is nothing left to wait for.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let waits = self.done.try_recv() == Err(mpsc::TryRecvError::Empty);
        !waits || Instant::now() >= self.deadline
    }

    /// Waits until all of them have heard it, but not for longer than 2.5 s from when it was sent.
    pub fn wait(self) {
        // Nothing is ever sent; the channel closes when the last thread is done.
        let _ = self
            .done
            .recv_timeout(self.deadline.saturating_duration_since(Instant::now()));
    }
}

impl Shared {
    fn run(&self) {
        let clock = self.subject.clock();
        let mut schedule = self.schedule();
        while !self.stopping.load(Ordering::Relaxed) {
            let now = clock.now();
            if let Some(due) = schedule.next(now) {
                drop(schedule);
                self.attend(&due);
                schedule = self.schedule();
                continue;
            }
            let wait = schedule
                .deadline()
                .map_or(Duration::from_secs(3600), |deadline| deadline.since(now));
            // A deadline in the past must not make this spin.
            let wait = wait.max(Duration::from_millis(10));
            schedule = self
                .wake
                .wait_timeout(schedule, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn attend(&self, due: &Due) {
        let outcome = self.announce(&self.asker, &due.url, due.event);
        if self.stopping.load(Ordering::Relaxed) {
            return;
        }
        let now = self.subject.clock().now();
        let word = match outcome {
            Ok(reply) => {
                let interval = |secs: u32| Duration::from_secs(secs.into());
                self.schedule().succeeded(
                    now,
                    due,
                    interval(reply.interval),
                    reply.min_interval.map(interval),
                );
                if let Some(ip) = self.identity.ip.or(reply.external_ip) {
                    let addr = SocketAddr::new(ip, self.identity.door.port());
                    self.subject.seen_at(addr);
                }
                self.subject.discovered(&reply.peers, Source::Tracker);
                let warning = reply.warning.map(Word::Warned);
                warning
                    .into_iter()
                    .for_each(|word| (self.tell)(&due.url, word));
                Word::Announced(reply.peers.len(), reply.downloaded)
            }
            Err(Trouble::Refused(reason, retry_in)) => {
                self.schedule().failed(now, due, retry_in);
                Word::Refused(reason, retry_in.is_some())
            }
            Err(Trouble::Failed(cause)) => {
                self.schedule().failed(now, due, None);
                Word::Failed(cause)
            }
        };
        (self.tell)(&due.url, word);
    }

    fn announce(&self, asker: &Asker, url: &str, event: Event) -> Result<AnnounceReply, Trouble> {
        let stats = self.subject.stats();
        let request = AnnounceRequest {
            uploaded: stats.uploaded,
            downloaded: stats.downloaded,
            left: Some(stats.left),
            event,
            numwant: (event == Event::Stopped).then_some(0),
            key: Some(self.identity.key),
            compact: Some(true),
            ip: self.identity.ip,
            ..AnnounceRequest::new(
                self.subject.info_hash(),
                self.subject.us(),
                self.identity.door.port(),
            )
        };
        asker.announce(url, &request)
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

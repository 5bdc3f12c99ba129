//! The tracker behind whatever carries requests to it: shards behind locks, lists, counters.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use super::Config;
use super::catalog::{Catalog, Published};
use super::mapping::{self, Mapping};
use super::private::Doorman;
use crate::base::cidr::Cidr;
use crate::base::id::InfoHash;
use crate::base::time::Time;
use crate::core::tracker::{
    self, Access, Commons, Shard, SwarmView, Totals, Visitor, Zones, shard_of,
};
use crate::proto::tracker::{AnnounceReply, AnnounceRequest, Event, Refusal, SwarmStats};

/// Shards. Far more than processors, so that two of them rarely want the same one.
const SHARDS: usize = 32;

/// How old the counts may be that statistics show.
const FRESH: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Service {
    shards: Vec<Mutex<Shard>>,
    secret: u64,
    access: RwLock<Access>,
    doorman: Option<Arc<dyn Doorman>>,
    trust: Vec<Cidr>,
    map: Vec<Mapping>,
    catalog: RwLock<Catalog>,
    started: Instant,
    cleaned: Mutex<Instant>,
    counters: Counters,
}

/// What has happened since the start.
#[derive(Debug, Default)]
struct Counters {
    announces: AtomicU64,
    scrapes: AtomicU64,
    errors: AtomicU64,
}

/// How it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statistics {
    pub(super) uptime: Duration,
    pub(super) totals: Totals,
    pub(super) announces: u64,
    pub(super) scrapes: u64,
    /// Requests that were refused.
    pub(super) errors: u64,
}

impl Service {
    pub(super) fn new(config: &Config, access: Access, doorman: Option<Arc<dyn Doorman>>) -> Self {
        let shard = tracker::Config {
            interval: config.interval,
            max_peers: config.max_peers,
            policy: config.policy,
            finish: config.finish,
            ..tracker::Config::default()
        };
        // The standard library seeds its hashers from the system's random numbers.
        let secret = || RandomState::new().hash_one(0);
        let commons = Arc::new(Commons::new(config.limits, secret()));
        let started = Instant::now();
        Self {
            shards: (0..SHARDS)
                .map(|_| Mutex::new(Shard::new(shard, Arc::clone(&commons), secret())))
                .collect(),
            secret: secret(),
            access: RwLock::new(access),
            doorman,
            trust: config.trust.clone(),
            map: config.map.clone(),
            catalog: RwLock::default(),
            started,
            cleaned: Mutex::new(started),
            counters: Counters::default(),
        }
    }

    /// Answers an announce, whatever carried it. `key` is the one in the announce URL, see [`key_in`](super::private::key_in). `ip` is where others should reach the peer. `reply` is filled anew; only its memory is used again.
    pub(super) fn announce(
        &self,
        key: Option<&[u8]>,
        ip: IpAddr,
        request: &AnnounceRequest,
        rng: &mut fastrand::Rng,
        reply: &mut AnnounceReply,
    ) -> Result<(), Refusal> {
        count(&self.counters.announces);
        let visitor = self.admit(key)?;
        self.check(request.info_hash)?;
        let (now, ip) = (self.now(), mapping::apply(&self.map, ip));
        if let (Some(doorman), Some(visitor)) = (&self.doorman, visitor) {
            let noted = doorman.note(now, visitor, request);
            noted.inspect_err(|_| self.remove(now, ip, request, rng, reply))?;
        }
        self.with(request.info_hash, |shard| {
            shard.announce(now, ip, request, rng, reply)
        })
    }

    /// Answers for one swarm of a scrape, whatever carried it. One that is not served looks like one that nobody has heard of.
    pub(super) fn scrape(&self, hash: InfoHash) -> SwarmStats {
        if self.check(hash).is_err() {
            return SwarmStats::default();
        }
        let now = self.now();
        self.with(hash, |shard| shard.scrape(now, hash))
    }

    /// Begins a scrape of however many swarms, whatever carries it; `key` as for an announce. Each swarm is then asked for with [`Service::scrape`].
    pub(super) fn begin_scrape(&self, key: Option<&[u8]>) -> Result<(), Refusal> {
        count(&self.counters.scrapes);
        self.admit(key).map(drop)
    }

    /// Whether keys are asked for.
    pub(super) fn is_private(&self) -> bool {
        self.doorman.is_some()
    }

    /// Notes that a request was refused.
    pub(super) fn count_error(&self) {
        count(&self.counters.errors);
    }

    /// Replaces the lists.
    pub(super) fn set_access(&self, access: Access) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = access;
    }

    /// Replaces the zones.
    pub(super) fn set_zones(&self, zones: Zones) {
        let (now, zones) = (self.now(), Arc::new(zones));
        self.each(|shard| shard.set_zones(now, Arc::clone(&zones)));
    }

    /// The torrents to hand out.
    pub(super) fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the torrents to hand out. What their payloads weigh lets progress be told in percent.
    pub(super) fn set_catalog(&self, torrents: Vec<Published>) {
        let sizes = torrents
            .iter()
            .map(|torrent| (torrent.info_hash, torrent.length));
        let sizes = Arc::new(sizes.collect::<HashMap<_, _>>());
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Catalog::new(torrents);
        self.each(|shard| shard.set_sizes(Arc::clone(&sizes)));
    }

    /// Whether `ip` may say where a request really comes from.
    pub(super) fn trusts(&self, ip: IpAddr) -> bool {
        self.trust.iter().any(|block| block.contains(ip))
    }

    /// Forgets silent peers everywhere.
    pub(super) fn cleanup(&self) {
        *self.cleaned.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let now = self.now();
        self.each(|shard| shard.cleanup(now));
    }

    /// Sums and counters.
    pub(super) fn statistics(&self) -> Statistics {
        self.freshen();
        let mut totals = Totals::default();
        self.each(|shard| totals += shard.totals());
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            uptime: self.started.elapsed(),
            totals,
            announces: read(&self.counters.announces),
            scrapes: read(&self.counters.scrapes),
            errors: read(&self.counters.errors),
        }
    }

    /// All swarms with peers, by info-hash; of each at most `limit` peers are shown.
    pub(super) fn swarms(&self, limit: usize) -> Vec<SwarmView> {
        self.freshen();
        let (mut all, now) = (Vec::new(), self.now());
        self.each(|shard| all.extend(shard.views(now, limit)));
        all.sort_by_key(|view| view.hash);
        all
    }

    /// Cleans up if it was not done lately.
    fn freshen(&self) {
        let cleaned = *self.cleaned.lock().unwrap_or_else(PoisonError::into_inner);
        if cleaned.elapsed() > FRESH {
            self.cleanup();
        }
    }

    fn admit(&self, key: Option<&[u8]>) -> Result<Option<Visitor>, Refusal> {
        let doorman = self.doorman.as_ref();
        doorman.map(|doorman| doorman.admit(key)).transpose()
    }

    /// Takes a peer out of its swarm: who is refused should not be found by others.
    fn remove(
        &self,
        now: Time,
        ip: IpAddr,
        request: &AnnounceRequest,
        rng: &mut fastrand::Rng,
        reply: &mut AnnounceReply,
    ) {
        let farewell = AnnounceRequest {
            event: Event::Stopped,
            ..request.clone()
        };
        // Somebody who leaves is never refused.
        let _ = self.with(request.info_hash, |shard| {
            shard.announce(now, ip, &farewell, rng, reply)
        });
    }

    fn check(&self, hash: InfoHash) -> Result<(), Refusal> {
        self.access
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .check(hash)
    }

    /// For how long a peer may be silent before it is forgotten.
    pub(super) fn patience(&self) -> Duration {
        let now = self.now();
        self.with(InfoHash([0; 20]), |shard| shard.patience(now))
    }

    /// The time since the start.
    pub(super) fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    fn with<T>(&self, hash: InfoHash, work: impl FnOnce(&mut Shard) -> T) -> T {
        let shard = &self.shards[shard_of(hash, self.secret, self.shards.len())];
        work(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn each(&self, mut work: impl FnMut(&mut Shard)) {
        for shard in &self.shards {
            work(&mut shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

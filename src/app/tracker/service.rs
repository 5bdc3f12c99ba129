//! The tracker behind whatever carries requests to it: shards behind locks, lists, counters.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::Config;
use super::catalog::{Catalog, Published, Shelf};
use super::dht_node;
use super::mapping::{self, Mapping};
use super::private::Doorman;
use crate::app::dht::Node;
use crate::base::cidr::Cidr;
use crate::base::id::InfoHash;
use crate::base::time::Time;
use crate::core::tracker::{
    self, Access, Commons, Shard, Sizes, SwarmView, Totals, Visitor, Zones, shard_of,
};
use crate::proto::tracker::{AnnounceReply, AnnounceRequest, Event, Refusal, SwarmStats};

/// Shards. Far more than processors, so that two of them rarely want the same one.
const SHARDS: usize = 32;

/// The start of this run, as the core sees it: 30 days after the origin.
const BEFORE: Time = Time::from_secs(30 * 86_400);

/// How old the counts may be that statistics show.
const FRESH: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Service {
    shards: Vec<Mutex<Shard>>,
    secret: u64,
    access: RwLock<Access>,
    lists: Mutex<Lists>,
    doorman: Option<Arc<dyn Doorman>>,
    trust: Vec<Cidr>,
    map: Vec<Mapping>,
    show_peers: Vec<Cidr>,
    full_scrape: bool,
    catalog: RwLock<Arc<dyn Shelf>>,
    started: Instant,
    cleaned: Mutex<Instant>,
    counters: Counters,
    dht: OnceLock<Vec<Arc<Node>>>,
}

/// What the rules are made of.
#[derive(Debug)]
struct Lists {
    access: Access,
    /// Served besides what is allowed.
    also: Option<Vec<InfoHash>>,
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
    /// Of the node of the DHT, if there is one.
    pub(super) dht: Option<crate::core::dht::Stats>,
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
            access: RwLock::new(access.clone()),
            lists: Mutex::new(Lists { access, also: None }),
            doorman,
            trust: config.trust.clone(),
            map: config.map.clone(),
            show_peers: config.show_peers.clone(),
            full_scrape: config.full_scrape,
            catalog: RwLock::new(Arc::new(Catalog::default())),
            started,
            cleaned: Mutex::new(started),
            counters: Counters::default(),
            dht: OnceLock::new(),
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
        let (now, ip) = (self.now(), self.told(ip));
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
        self.change_access(|lists| lists.access = access);
    }

    fn change_access(&self, change: impl FnOnce(&mut Lists)) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut lists);
        let access = match &lists.also {
            Some(hashes) => lists.access.clone().and(hashes.iter().copied()),
            None => lists.access.clone(),
        };
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = access;
    }

    /// Replaces the zones.
    pub(super) fn set_zones(&self, zones: Zones) {
        let (now, zones) = (self.now(), Arc::new(zones));
        self.each(|shard| shard.set_zones(now, Arc::clone(&zones)));
    }

    /// The torrents to hand out.
    pub(super) fn catalog(&self) -> Arc<dyn Shelf> {
        let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&catalog)
    }

    /// Replaces the torrents to hand out.
    pub(super) fn set_catalog(&self, torrents: Vec<Published>) {
        let sizes = torrents
            .iter()
            .map(|torrent| (torrent.info_hash, torrent.length));
        let sizes = Sizes::new(sizes);
        self.set_shelf(Arc::new(Catalog::new(torrents)), sizes);
    }

    /// Replaces the torrents to hand out. `sizes` are the bytes of their payloads, by which progress can be told in percent.
    pub(super) fn set_shelf(&self, shelf: Arc<dyn Shelf>, sizes: Sizes) {
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = shelf;
        let sizes = Arc::new(sizes);
        self.each(|shard| shard.set_sizes(Arc::clone(&sizes)));
    }

    /// From now on these are served, whatever lists say but that of what is denied; nothing else is, but what is on the list of what is allowed.
    pub(super) fn also_serve(&self, hashes: Vec<InfoHash>) {
        self.change_access(|lists| lists.also = Some(hashes));
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
            dht: self.dht.get().map(|nodes| dht_node::sum(nodes)),
        }
    }

    /// These nodes of the DHT run beside it; once.
    pub(super) fn set_dht(&self, nodes: Vec<Arc<Node>>) {
        if !nodes.is_empty() {
            let _ = self.dht.set(nodes);
        }
    }

    /// Tells the counts of every swarm with peers, shard by shard.
    pub(super) fn each_count(&self, mut tell: impl FnMut(InfoHash, SwarmStats)) {
        self.each(|shard| shard.counts().for_each(|(hash, stats)| tell(hash, stats)));
    }

    /// A swarm, if it has peers, with at most `limit` of them.
    pub(super) fn view(&self, hash: InfoHash, limit: usize) -> Option<SwarmView> {
        let now = self.now();
        self.with(hash, |shard| shard.view(now, hash, limit))
    }

    /// Swarms and peers together: what making a page may cost.
    pub(super) fn size(&self) -> u64 {
        let mut totals = Totals::default();
        self.each(|shard| totals += shard.totals());
        totals.swarms + totals.seeders + totals.leechers
    }

    /// Where others are told that a peer is that is seen at `ip`.
    pub(super) fn told(&self, ip: IpAddr) -> IpAddr {
        mapping::apply(&self.map, ip)
    }

    /// Whether `ip` may see where peers are.
    pub(super) fn shows_peers(&self, ip: IpAddr) -> bool {
        self.show_peers.iter().any(|block| block.contains(ip))
    }

    /// Whether a scrape may ask for all swarms.
    pub(super) const fn scrapes_fully(&self) -> bool {
        self.full_scrape
    }

    /// Whether the lists let this swarm be served.
    pub(super) fn serves(&self, hash: InfoHash) -> bool {
        self.check(hash).is_ok()
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

    /// How many announces there were.
    pub(super) fn announces(&self) -> u64 {
        self.counters.announces.load(Ordering::Relaxed)
    }

    /// The time since long before the start: what another run knew happened before it.
    pub(super) fn now(&self) -> Time {
        BEFORE + self.started.elapsed()
    }

    /// Lets `work` at the shard of a swarm.
    pub(super) fn with<T>(&self, hash: InfoHash, work: impl FnOnce(&mut Shard) -> T) -> T {
        let shard = &self.shards[shard_of(hash, self.secret, self.shards.len())];
        work(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets `work` at each shard in turn; only that one is locked.
    pub(super) fn each(&self, mut work: impl FnMut(&mut Shard)) {
        for shard in &self.shards {
            work(&mut shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

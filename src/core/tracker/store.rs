//! The swarms of a shard: the only place where they come and go.

use std::net::IpAddr;
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;
use std::time::Duration;

use super::commons::Commons;
use super::evict;
use super::interval::{self, Crowd};
use super::policy::Policy;
use super::record::Left;
use super::select::{Asker, Rules, select};
use super::swarm::{Report, Swarm};
use super::table::{Keyed, Table};
use super::view::SwarmView;
use super::zones::Zones;
use crate::base::id::InfoHash;
use crate::base::time::Time;
use crate::proto::tracker::{AnnounceReply, AnnounceRequest, Event, Refusal, Retry, SwarmStats};

/// How a shard behaves.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The longest time between two announces of a peer, in seconds (R48); see `interval` for what peers are told.
    pub interval: u32,
    /// Most peers in one reply (R47).
    pub max_peers: u32,
    /// Whom an asker is told about (R51).
    pub policy: Policy,
    /// By [`Policy::STAGE`], how far a leecher is that gets seeders first, in percent (R54).
    pub finish: u8,
    /// Swarms without peers whose completed count a shard remembers.
    pub remembered: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: 300,
            max_peers: 50,
            policy: Policy::RANDOM,
            finish: 80,
            remembered: 4_000,
        }
    }
}

/// Peers that are told where the asker names no number (BEP 3).
const NUMWANT: u32 = 50;

/// Minutes after which a peer may try again that found no room.
const FULL_RETRY: u32 = 5;

/// Sums over swarms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Swarms with peers.
    pub swarms: u64,
    /// Seeders in them.
    pub seeders: u64,
    /// Leechers in them.
    pub leechers: u64,
    /// Downloads that were completed, also in swarms that have no peers now.
    pub completed: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.swarms += other.swarms;
        self.seeders += other.seeders;
        self.leechers += other.leechers;
        self.completed += other.completed;
    }
}

impl AddAssign<SwarmStats> for Totals {
    fn add_assign(&mut self, stats: SwarmStats) {
        self.seeders += u64::from(stats.complete);
        self.leechers += u64::from(stats.incomplete);
        self.completed += u64::from(stats.downloaded);
    }
}

impl SubAssign<SwarmStats> for Totals {
    fn sub_assign(&mut self, stats: SwarmStats) {
        self.seeders -= u64::from(stats.complete);
        self.leechers -= u64::from(stats.incomplete);
        self.completed -= u64::from(stats.downloaded);
    }
}

/// A number that belongs to a swarm, whether or not it has peers.
#[derive(Debug)]
struct Note {
    hash: InfoHash,
    number: u64,
}

impl Note {
    /// The number as a count of downloads.
    fn completed(&self) -> u32 {
        u32::try_from(self.number).unwrap_or(u32::MAX)
    }
}

impl Keyed for Note {
    fn key(&self) -> &[u8; 20] {
        &self.hash.0
    }
}

/// Bytes of payloads, as far as they are known.
#[derive(Debug)]
pub struct Sizes(Table<Note>);

impl Sizes {
    /// Of these swarms.
    pub fn new(sizes: impl IntoIterator<Item = (InfoHash, u64)>) -> Self {
        let mut table = Table::new(0);
        for (hash, number) in sizes {
            if table.find(&hash.0).is_none() {
                table.push(Note { hash, number });
            }
        }
        Self(table)
    }

    fn of(&self, hash: InfoHash) -> Option<u64> {
        let at = self.0.find(&hash.0)?;
        self.0.get(at).map(|note| note.number)
    }
}

/// Some of the swarms of a tracker.
#[derive(Debug)]
pub struct Shard {
    config: Config,
    secret: u64,
    swarms: Table<Swarm>,
    /// Completed counts of swarms without peers.
    remains: Table<Note>,
    /// Without the number of swarms, which `swarms` knows.
    totals: Totals,
    commons: Arc<Commons>,
    zones: Arc<Zones>,
    sizes: Arc<Sizes>,
    /// Bytes of heap of the swarms themselves.
    heap: usize,
    /// Bytes that the commons have been told of.
    charged: usize,
}

/// Whether somebody who says that nothing is left may mean that he does not know: aria2 does as long as it has nothing but a magnet link, and then
/// it never says `started`. A seeder that says the same is told of seeders for once, which does no harm.
fn may_have_only_a_link(request: &AnnounceRequest) -> bool {
    request.event == Event::None && request.uploaded == 0 && request.downloaded == 0
}

impl Shard {
    /// An empty one. `secret` is a random number that nobody else knows.
    #[must_use]
    pub fn new(config: Config, commons: Arc<Commons>, secret: u64) -> Self {
        Self {
            config,
            secret,
            swarms: Table::new(secret),
            remains: Table::new(secret),
            totals: Totals::default(),
            commons,
            zones: Arc::default(),
            sizes: Arc::new(Sizes::new([])),
            heap: 0,
            charged: 0,
        }
    }

    /// From now on the payloads of these swarms are known to have so many bytes.
    pub fn set_sizes(&mut self, sizes: Arc<Sizes>) {
        self.sizes = sizes;
        for at in 0..self.swarms.len() {
            if let Some(swarm) = self.swarms.get_mut(at)
                && let Some(bytes) = self.sizes.of(swarm.hash())
            {
                swarm.set_size(bytes);
            }
        }
    }

    /// From now on these addresses are near each other.
    pub fn set_zones(&mut self, now: Time, zones: Arc<Zones>) {
        let now = seconds(now);
        self.zones = zones;
        for at in 0..self.swarms.len() {
            self.touch(at, now, |swarm, held| {
                swarm.v4_mut().rezone(|ip| held.zones.of(ip.into()));
                swarm.v6_mut().rezone(|ip| held.zones.of(ip.into()));
            });
        }
        self.charge();
    }

    /// Notes an announce and fills `reply`, whose former content is lost (only its memory is used again). `ip` is where others should reach the peer.
    ///
    /// # Errors
    /// If there is no room for a new peer.
    pub fn announce(
        &mut self,
        now: Time,
        ip: IpAddr,
        request: &AnnounceRequest,
        rng: &mut fastrand::Rng,
        reply: &mut AnnounceReply,
    ) -> Result<(), Refusal> {
        let (now, ip) = (seconds(now), ip.to_canonical());
        clear(reply);
        let noted = if request.event == Event::Stopped {
            self.stop(now, request);
            Ok(())
        } else {
            self.note(now, ip, request, rng)
        };
        self.charge();
        noted?;
        self.answer(now, ip, request, rng, reply);
        Ok(())
    }

    /// The counts of a swarm; all zero for one that nobody has heard of, which asking does not create.
    pub fn scrape(&mut self, now: Time, hash: InfoHash) -> SwarmStats {
        let now = seconds(now);
        match self.swarms.find(&hash.0) {
            Some(at) => {
                self.touch(at, now, |swarm, held| {
                    swarm.tidy(now, held.expiry, held.commons)
                });
                self.charge();
                let swarm = self.swarms.get(at).filter(|swarm| swarm.hash() == hash);
                swarm.map_or_else(|| self.remembered(hash), Swarm::stats)
            }
            None => self.remembered(hash),
        }
    }

    /// Forgets silent peers everywhere. Replies never depend on it: it gives the memory of swarms back that nobody asks for any more.
    pub fn cleanup(&mut self, now: Time) {
        let now = seconds(now);
        // From the end, for what takes the place of a removed swarm has been looked at already.
        for at in (0..self.swarms.len()).rev() {
            self.touch(at, now, |swarm, held| {
                swarm.sweep(now, held.expiry, held.commons)
            });
        }
        self.charge();
    }

    /// For how long a peer may be silent before it is forgotten.
    #[must_use]
    pub fn patience(&self, now: Time) -> Duration {
        let expiry = self.commons.expiry(self.config.interval, seconds(now));
        Duration::from_secs(expiry.into())
    }

    /// Sums over the shard.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            swarms: self.swarms.len() as u64,
            ..self.totals
        }
    }

    /// The counts of all swarms with peers, in no particular order.
    pub fn counts(&self) -> impl Iterator<Item = (InfoHash, SwarmStats)> + '_ {
        let swarms = self.swarms.iter();
        swarms.map(|swarm| (swarm.hash(), swarm.stats()))
    }

    /// A swarm, if it has peers, with at most `limit` of them.
    #[must_use]
    pub fn view(&self, now: Time, hash: InfoHash, limit: usize) -> Option<SwarmView> {
        let swarm = self.swarms.get(self.swarms.find(&hash.0)?)?;
        Some(SwarmView::of(swarm, limit, seconds(now)))
    }

    fn stop(&mut self, now: u32, request: &AnnounceRequest) {
        if let Some(at) = self.swarms.find(&request.info_hash.0) {
            self.touch(at, now, |swarm, held| {
                swarm.tidy(now, held.expiry, held.commons);
                swarm.remove(request.peer_id, held.commons);
            });
        }
    }

    fn note(
        &mut self,
        now: u32,
        ip: IpAddr,
        request: &AnnounceRequest,
        rng: &mut fastrand::Rng,
    ) -> Result<(), Refusal> {
        let hash = request.info_hash;
        let mut at = self.swarms.find(&hash.0);
        let swarm = at.and_then(|at| self.swarms.get(at));
        if swarm.is_none_or(|swarm| !swarm.knows(request.peer_id, ip)) {
            self.make_room(now, hash, ip, rng)?;
            // Others may have gone.
            at = self.swarms.find(&hash.0);
        }
        let at = match at {
            Some(at) => at,
            None => self.begin(hash, now),
        };
        let report = Report {
            id: request.peer_id,
            ip,
            port: request.port,
            left: request.left,
            completed: request.event == Event::Completed,
        };
        self.touch(at, now, |swarm, held| {
            swarm.put(report, held.zones, held.commons, now);
            swarm.tidy(now, held.expiry, held.commons);
        });
        Ok(())
    }

    fn answer(
        &mut self,
        now: u32,
        ip: IpAddr,
        request: &AnnounceRequest,
        rng: &mut fastrand::Rng,
        reply: &mut AnnounceReply,
    ) {
        let hash = request.info_hash;
        let at = self.swarms.find(&hash.0);
        let swarm = at.and_then(|at| self.swarms.get(at));
        let stats = swarm.map_or_else(|| self.remembered(hash), Swarm::stats);
        let age = swarm.map_or(0, |swarm| swarm.age(now));
        let (base, peers) = (
            self.config.interval,
            stats.complete.saturating_add(stats.incomplete),
        );
        let crowd = Crowd {
            peers,
            leechers: stats.incomplete,
            age,
        };
        reply.interval = interval::next(base, crowd, self.commons.span(now), rng);
        reply.min_interval = Some(reply.interval.div_ceil(2));
        reply.complete = Some(stats.complete);
        reply.incomplete = Some(stats.incomplete);
        reply.downloaded = Some(stats.downloaded);
        let swarm = at.and_then(|at| self.swarms.get_mut(at));
        let Some(swarm) = swarm.filter(|_| request.event != Event::Stopped) else {
            return;
        };
        let unsure = may_have_only_a_link(request);
        let left = request.left.filter(|&left| left > 0 || !unsure);
        let asker = Asker {
            id: request.peer_id,
            ip,
            left: Left::new(left),
            // Ids are shown only in replies that are not compact.
            with_ids: request.compact == Some(false) && !request.no_peer_id,
            want: request
                .numwant
                .unwrap_or(NUMWANT)
                .min(self.config.max_peers) as usize,
            since: now.saturating_sub(self.commons.expiry(base, now)),
        };
        let rules = Rules {
            zones: &self.zones,
            finish: self.config.finish,
            size: swarm.size(),
        };
        select(swarm, &asker, self.config.policy, rules, rng, reply);
    }

    /// A swarm without peers yet, with the count of an earlier life.
    fn begin(&mut self, hash: InfoHash, now: u32) -> usize {
        let earlier = self.remains.find(&hash.0).map(|at| self.remains.remove(at));
        let completed = earlier.map_or(0, |note| note.completed());
        let policy = self.config.policy;
        let mut swarm = Swarm::new(hash, completed, self.secret, policy, now);
        if let Some(bytes) = self.sizes.of(hash) {
            swarm.set_size(bytes);
        }
        self.heap += swarm.heap();
        self.swarms.push(swarm)
    }

    fn remembered(&self, hash: InfoHash) -> SwarmStats {
        let at = self.remains.find(&hash.0);
        let note = at.and_then(|at| self.remains.get(at));
        SwarmStats {
            downloaded: note.map_or(0, Note::completed),
            ..SwarmStats::default()
        }
    }

    /// Changes a swarm, and keeps the sums; a swarm that is empty afterwards goes.
    fn touch(&mut self, at: usize, now: u32, change: impl FnOnce(&mut Swarm, Held<'_>)) {
        let held = Held {
            expiry: self.commons.expiry(self.config.interval, now),
            commons: &self.commons,
            zones: &self.zones,
        };
        let Some(swarm) = self.swarms.get_mut(at) else {
            return;
        };
        let (before, heap) = (swarm.stats(), swarm.heap());
        change(swarm, held);
        let (after, is_empty) = (swarm.stats(), swarm.records() == 0);
        self.heap = self.heap + swarm.heap() - heap;
        self.totals += after;
        self.totals -= before;
        if is_empty {
            self.bury(at);
        }
    }

    /// Tells the commons how much memory the shard takes.
    fn charge(&mut self) {
        let heap = self.heap + self.swarms.heap() + self.remains.heap();
        self.commons.charge(self.charged, heap);
        self.charged = heap;
    }

    /// Ends a swarm that has no peers, but for its count. Of what is remembered, something goes where there is too much.
    #[cold]
    fn bury(&mut self, at: usize) {
        let swarm = self.swarms.remove(at);
        self.heap -= swarm.heap();
        let completed = swarm.stats().downloaded;
        if completed == 0 {
            return;
        }
        while self.remains.len() >= self.config.remembered.max(1) {
            let gone = self.remains.remove(self.least_remains(swarm.born()));
            self.totals.completed -= gone.number;
        }
        self.remains.push(Note {
            hash: swarm.hash(),
            number: completed.into(),
        });
    }

    /// Of a few remains, from a place that changes, the one with the smallest count.
    fn least_remains(&self, salt: u32) -> usize {
        let len = self.remains.len();
        let start = (self.charged ^ salt as usize) % len.max(1);
        let sample = (start..start + 8).map(|at| at % len.max(1));
        let count = |at: &usize| self.remains.get(*at).map(|note| note.number);
        sample.min_by_key(count).unwrap_or(0)
    }

    /// Makes sure that `hash` may have one more peer, at `ip`.
    fn make_room(
        &mut self,
        now: u32,
        hash: InfoHash,
        ip: IpAddr,
        rng: &mut fastrand::Rng,
    ) -> Result<(), Refusal> {
        let refuse = |reason: &str| Refusal {
            reason: reason.into(),
            retry: Retry::Minutes(FULL_RETRY),
        };
        if self.commons.is_too_many(ip) {
            return Err(refuse("this tracker has too many peers from your address"));
        }
        let swarm = self.swarms.find(&hash.0).and_then(|at| self.swarms.get(at));
        let more = match swarm {
            Some(swarm) => swarm.growth(ip),
            None => self.swarms.growth() + Swarm::FIRST,
        };
        if self.commons.has_room(more) {
            return Ok(());
        }
        self.evict(now, hash, more, rng)
            .ok_or_else(|| refuse("this tracker is full"))
    }

    /// Clears swarms until there are `more` bytes, sparing `hash`; `None` if there are not enough that may go.
    #[cold]
    fn evict(
        &mut self,
        now: u32,
        hash: InfoHash,
        more: usize,
        rng: &mut fastrand::Rng,
    ) -> Option<()> {
        while !self.commons.has_room(more) {
            let weakest = evict::weakest(&self.swarms, hash, &self.commons, rng)?;
            self.touch(weakest, now, |swarm, held| swarm.clear(held.commons));
            self.charge();
        }
        Some(())
    }
}

/// What a shard has that its swarms need.
#[derive(Clone, Copy)]
struct Held<'a> {
    /// Seconds of silence after which a peer is forgotten.
    expiry: u32,
    commons: &'a Commons,
    zones: &'a Zones,
}

fn seconds(now: Time) -> u32 {
    u32::try_from(now.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

/// Makes `reply` empty but keeps the memory of its lists.
fn clear(reply: &mut AnnounceReply) {
    let (mut peers, mut peer_ids) = (
        std::mem::take(&mut reply.peers),
        std::mem::take(&mut reply.peer_ids),
    );
    peers.clear();
    peer_ids.clear();
    *reply = AnnounceReply {
        peers,
        peer_ids,
        ..AnnounceReply::default()
    };
}

mod survive;

#[cfg(test)]
mod floods;
#[cfg(test)]
mod tests;

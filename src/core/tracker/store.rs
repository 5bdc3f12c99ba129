//! The swarms of a shard: the only place where they come and go.

use std::net::IpAddr;
use std::ops::{AddAssign, SubAssign};

use super::interval;
use super::select::{Asker, select};
use super::swarm::{Report, Swarm};
use super::table::{Keyed, Table};
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
    /// Most swarms in the shard.
    pub swarms: usize,
    /// Most peers in the shard; one at IPv4 and IPv6 counts twice.
    pub records: usize,
    /// Swarms without peers whose completed count is remembered.
    pub remembered: usize,
}

impl Default for Config {
    /// What a whole tracker has; [`Config::divided`] makes that of a shard.
    fn default() -> Self {
        Self {
            interval: 300,
            max_peers: 50,
            swarms: 200_000,
            records: 2_000_000,
            remembered: 100_000,
        }
    }
}

impl Config {
    /// The bounds of one of `shards`.
    #[must_use]
    pub const fn divided(self, shards: usize) -> Self {
        Self {
            swarms: self.swarms.div_ceil(shards),
            records: self.records.div_ceil(shards),
            remembered: self.remembered.div_ceil(shards),
            ..self
        }
    }
}

/// Peers that are told where the asker names no number (BEP 3).
const NUMWANT: u32 = 50;

/// Swarms that are looked at to find one that may go.
const CANDIDATES: usize = 16;

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

/// A swarm as statistics show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmView {
    /// Which one.
    pub hash: InfoHash,
    /// Its counts.
    pub stats: SwarmStats,
    /// How far each leecher is, in percent, judged by what it wants and the most that anybody ever wanted; those who lag behind come first.
    pub progress: Vec<u8>,
}

/// What remains of a swarm without peers.
#[derive(Debug)]
struct Remains {
    hash: InfoHash,
    completed: u32,
}

impl Keyed for Remains {
    fn key(&self) -> &[u8; 20] {
        &self.hash.0
    }
}

/// Some of the swarms of a tracker.
#[derive(Debug)]
pub struct Shard {
    config: Config,
    secret: u64,
    swarms: Table<Swarm>,
    remains: Table<Remains>,
    /// Without the number of swarms, which `swarms` knows.
    totals: Totals,
    records: usize,
}

impl Shard {
    /// An empty one. `secret` is a random number that nobody else knows.
    #[must_use]
    pub const fn new(config: Config, secret: u64) -> Self {
        Self {
            config,
            secret,
            swarms: Table::new(secret),
            remains: Table::new(secret),
            totals: Totals {
                swarms: 0,
                seeders: 0,
                leechers: 0,
                completed: 0,
            },
            records: 0,
        }
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
        if request.event == Event::Stopped {
            self.stop(now, request);
        } else {
            self.note(now, ip, request, rng)?;
        }
        self.answer(now, ip, request, rng, reply);
        Ok(())
    }

    /// The counts of a swarm; all zero for one that nobody has heard of, which asking does not create.
    pub fn scrape(&mut self, now: Time, hash: InfoHash) -> SwarmStats {
        let now = seconds(now);
        match self.swarms.find(&hash.0) {
            Some(at) => {
                self.touch(at, |swarm, expiry| swarm.tidy(now, expiry));
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
            self.touch(at, |swarm, expiry| swarm.sweep(now, expiry));
        }
    }

    /// Sums over the shard.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            swarms: self.swarms.len() as u64,
            ..self.totals
        }
    }

    /// All swarms with peers, in no particular order; of each at most `limit` leechers are shown.
    pub fn views(&self, limit: usize) -> impl Iterator<Item = SwarmView> + '_ {
        self.swarms.as_slice().iter().map(move |swarm| SwarmView {
            hash: swarm.hash(),
            stats: swarm.stats(),
            progress: swarm.progress(limit),
        })
    }

    fn stop(&mut self, now: u32, request: &AnnounceRequest) {
        if let Some(at) = self.swarms.find(&request.info_hash.0) {
            self.touch(at, |swarm, expiry| {
                swarm.tidy(now, expiry);
                swarm.remove(request.peer_id);
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
        let known = self.swarms.find(&hash.0).and_then(|at| self.swarms.get(at));
        if known.is_none_or(|swarm| !swarm.knows(request.peer_id, ip)) {
            self.make_room(hash, rng)?;
        }
        let at = match self.swarms.find(&hash.0) {
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
        self.touch(at, |swarm, expiry| {
            swarm.put(report, now);
            swarm.tidy(now, expiry);
        });
        Ok(())
    }

    fn answer(
        &self,
        now: u32,
        ip: IpAddr,
        request: &AnnounceRequest,
        rng: &mut fastrand::Rng,
        reply: &mut AnnounceReply,
    ) {
        let hash = request.info_hash;
        let swarm = self.swarms.find(&hash.0).and_then(|at| self.swarms.get(at));
        let stats = swarm.map_or_else(|| self.remembered(hash), Swarm::stats);
        let age = swarm.map_or(0, |swarm| swarm.age(now));
        let (base, peers) = (
            self.config.interval,
            stats.complete.saturating_add(stats.incomplete),
        );
        reply.interval = interval::next(base, peers, stats.incomplete, age, rng);
        reply.min_interval = Some(reply.interval.div_ceil(2));
        reply.complete = Some(stats.complete);
        reply.incomplete = Some(stats.incomplete);
        reply.downloaded = Some(stats.downloaded);
        let Some(swarm) = swarm.filter(|_| request.event != Event::Stopped) else {
            return;
        };
        let asker = Asker {
            id: request.peer_id,
            ip,
            seeder: request.left == Some(0),
            want: request
                .numwant
                .unwrap_or(NUMWANT)
                .min(self.config.max_peers) as usize,
            since: now.saturating_sub(interval::expiry(base)),
        };
        // Ids are shown only in replies that are not compact.
        let with_ids = request.compact == Some(false) && !request.no_peer_id;
        let AnnounceReply {
            peers, peer_ids, ..
        } = reply;
        select(swarm, &asker, rng, |addr, id| {
            peers.push(addr);
            if with_ids {
                peer_ids.push(id);
            }
        });
    }

    /// A swarm without peers yet, with the count of an earlier life.
    fn begin(&mut self, hash: InfoHash, now: u32) -> usize {
        let earlier = self.remains.find(&hash.0).map(|at| self.remains.remove(at));
        let completed = earlier.map_or(0, |remains| remains.completed);
        self.swarms
            .push(Swarm::new(hash, completed, self.secret, now))
    }

    fn remembered(&self, hash: InfoHash) -> SwarmStats {
        let remains = self
            .remains
            .find(&hash.0)
            .and_then(|at| self.remains.get(at));
        SwarmStats {
            downloaded: remains.map_or(0, |remains| remains.completed),
            ..SwarmStats::default()
        }
    }

    /// Changes a swarm, and keeps the sums; a swarm that is empty afterwards goes.
    fn touch(&mut self, at: usize, change: impl FnOnce(&mut Swarm, u32)) {
        let Some(swarm) = self.swarms.get_mut(at) else {
            return;
        };
        let (before, records) = (swarm.stats(), swarm.records());
        change(swarm, interval::expiry(self.config.interval));
        let (after, now) = (swarm.stats(), swarm.records());
        self.totals += after;
        self.totals -= before;
        self.records = self.records + now - records;
        if now == 0 {
            self.bury(at);
        }
    }

    /// Ends a swarm that has no peers, but for its count. Of what is remembered, something goes where there is too much.
    fn bury(&mut self, at: usize) {
        let swarm = self.swarms.remove(at);
        let completed = swarm.stats().downloaded;
        if completed == 0 {
            return;
        }
        while self.remains.len() >= self.config.remembered.max(1) {
            let gone = self.remains.remove(0);
            self.totals.completed -= u64::from(gone.completed);
        }
        let hash = swarm.hash();
        self.remains.push(Remains { hash, completed });
    }

    /// Makes sure that `hash` may have one more peer.
    fn make_room(&mut self, hash: InfoHash, rng: &mut fastrand::Rng) -> Result<(), Refusal> {
        let is_new = self.swarms.find(&hash.0).is_none();
        let full = |shard: &Self| {
            shard.records >= shard.config.records
                || (is_new && shard.swarms.len() >= shard.config.swarms)
        };
        while full(self) {
            let Some(victim) = self.victim(hash, rng) else {
                return Err(Refusal {
                    reason: "this tracker is full".into(),
                    retry: Retry::Minutes(FULL_RETRY),
                });
            };
            self.touch(victim, |swarm, _| swarm.clear());
        }
        Ok(())
    }

    /// The smallest of a few swarms without seeders, the oldest of equals.
    fn victim(&self, spare: InfoHash, rng: &mut fastrand::Rng) -> Option<usize> {
        let len = self.swarms.len();
        let sample = (0..CANDIDATES.min(len)).map(|_| rng.usize(..len));
        let swarms = sample.filter_map(|at| Some((at, self.swarms.get(at)?)));
        let weak = swarms.filter(|(_, swarm)| swarm.stats().complete == 0 && swarm.hash() != spare);
        weak.min_by_key(|(_, swarm)| (swarm.records(), swarm.born()))
            .map(|(at, _)| at)
    }
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

#[cfg(test)]
mod tests;

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
mod tests {
    use super::*;
    use crate::base::id::PeerId;

    const HASH: InfoHash = InfoHash([1; 20]);

    struct World {
        shard: Shard,
        rng: fastrand::Rng,
        now: Time,
        reply: AnnounceReply,
    }

    fn world(config: Config) -> World {
        World {
            shard: Shard::new(config, 7),
            rng: fastrand::Rng::with_seed(1),
            now: Time::from_secs(1000),
            reply: AnnounceReply::default(),
        }
    }

    fn request(id: u8, left: u64, event: Event) -> AnnounceRequest {
        AnnounceRequest {
            left: Some(left),
            event,
            ..AnnounceRequest::new(HASH, PeerId([id; 20]), 6881)
        }
    }

    impl World {
        fn ask(&mut self, ip: &str, request: &AnnounceRequest) -> Result<AnnounceReply, Refusal> {
            let ip = ip.parse().unwrap();
            let Self {
                shard,
                rng,
                now,
                reply,
            } = self;
            shard.announce(*now, ip, request, rng, reply)?;
            Ok(reply.clone())
        }

        fn say(&mut self, id: u8, left: u64, event: Event) -> AnnounceReply {
            self.ask(&format!("10.0.0.{id}"), &request(id, left, event))
                .unwrap()
        }

        fn wait(&mut self, secs: u64) {
            self.now = self.now + std::time::Duration::from_secs(secs);
        }

        /// Seeders, completed, leechers.
        fn counts(&mut self) -> (u32, u32, u32) {
            let stats = self.shard.scrape(self.now, HASH);
            let totals = self.shard.totals();
            assert_eq!(totals.completed, u64::from(stats.downloaded));
            assert_eq!(
                (totals.seeders, totals.leechers),
                (stats.complete.into(), stats.incomplete.into())
            );
            (stats.complete, stats.downloaded, stats.incomplete)
        }
    }

    #[test]
    fn peers_find_each_other() {
        let mut w = world(Config::default());
        assert_eq!(w.say(1, 0, Event::Started).peers, []);
        let reply = w.say(2, 9, Event::Started);
        assert_eq!(reply.peers, ["10.0.0.1:6881".parse().unwrap()]);
        assert_eq!((reply.complete, reply.incomplete), (Some(1), Some(1)));
        assert!(reply.min_interval.unwrap() <= reply.interval && reply.interval <= 300);
        assert_eq!(
            w.say(1, 0, Event::None).peers,
            ["10.0.0.2:6881".parse().unwrap()]
        );
    }

    #[test]
    fn whoever_has_nothing_left_is_a_seeder_whatever_the_event() {
        for event in [Event::None, Event::Started, Event::Completed] {
            let mut w = world(Config::default());
            w.say(1, 0, event);
            w.say(2, 1, event);
            let (seeders, _, leechers) = w.counts();
            assert_eq!((seeders, leechers), (1, 1), "{event:?}");
        }
    }

    #[test]
    fn completed_counts_once_for_each_peer() {
        let mut w = world(Config::default());
        w.say(1, 5, Event::Started);
        for _ in 0..3 {
            w.say(1, 0, Event::Completed);
        }
        w.say(1, 0, Event::None);
        w.say(1, 5, Event::None);
        w.say(1, 0, Event::Completed);
        assert_eq!(w.counts(), (1, 1, 0));
        w.say(2, 5, Event::Completed);
        assert_eq!(
            w.counts(),
            (1, 1, 1),
            "nothing is complete while something is left"
        );
        w.say(2, 0, Event::Completed);
        assert_eq!(w.counts(), (2, 2, 0));
    }

    #[test]
    fn stopped_removes_and_never_creates() {
        let mut w = world(Config::default());
        assert_eq!(w.say(1, 5, Event::Stopped).peers, []);
        assert_eq!(w.shard.totals(), Totals::default());
        w.say(1, 5, Event::Started);
        w.say(2, 5, Event::Started);
        assert_eq!(
            w.say(1, 5, Event::Stopped).peers,
            [],
            "it has no use for peers"
        );
        assert_eq!(w.counts(), (0, 0, 1));
    }

    #[test]
    fn a_swarm_without_peers_is_gone_but_its_count_is_remembered() {
        let mut w = world(Config::default());
        w.say(1, 0, Event::Completed);
        w.say(1, 0, Event::Stopped);
        assert_eq!(w.shard.totals().swarms, 0);
        assert_eq!(w.counts(), (0, 1, 0));
        w.say(2, 0, Event::Completed);
        assert_eq!(w.counts(), (1, 2, 0));
    }

    #[test]
    fn a_silent_peer_is_forgotten_without_any_cleanup() {
        let mut w = world(Config::default());
        w.say(1, 0, Event::Started);
        w.wait(660);
        assert_eq!(w.say(2, 5, Event::Started).peers.len(), 1);
        w.wait(1);
        assert_eq!(w.say(2, 5, Event::None).peers, []);
        assert_eq!(w.counts(), (0, 0, 1));
        w.wait(1000);
        assert_eq!(w.counts(), (0, 0, 0));
        assert_eq!(w.shard.totals().swarms, 0);
    }

    #[test]
    fn cleanup_gives_back_what_nobody_asks_for() {
        let mut w = world(Config::default());
        for n in 0..100 {
            let mut request = request(n, 5, Event::Started);
            request.info_hash = InfoHash([n; 20]);
            w.ask("10.0.0.1", &request).unwrap();
            w.wait(10);
        }
        assert_eq!(w.shard.totals().swarms, 100);
        w.shard.cleanup(w.now);
        assert_eq!(w.shard.totals().swarms, 66);
        w.wait(10_000);
        w.shard.cleanup(w.now);
        assert_eq!(w.shard.totals(), Totals::default());
    }

    #[test]
    fn a_peer_is_its_id_wherever_it_announces_from() {
        let mut w = world(Config::default());
        w.ask("10.0.0.1", &request(1, 5, Event::Started)).unwrap();
        w.ask("10.9.9.9", &request(1, 5, Event::None)).unwrap();
        w.ask("::ffff:10.9.9.9", &request(1, 5, Event::None))
            .unwrap();
        w.ask("2001:db8::1", &request(1, 5, Event::None)).unwrap();
        assert_eq!(w.counts(), (0, 0, 1));
        let reply = w.say(2, 5, Event::Started);
        assert_eq!(reply.peers, ["10.9.9.9:6881".parse().unwrap()]);
        w.ask("2001:db8::1", &request(1, 0, Event::Completed))
            .unwrap();
        w.ask("10.9.9.9", &request(1, 0, Event::Completed)).unwrap();
        assert_eq!(w.counts(), (1, 1, 1));
        w.ask("10.9.9.9", &request(1, 0, Event::Stopped)).unwrap();
        assert_eq!(w.counts(), (0, 1, 1));
    }

    #[test]
    fn as_many_peers_come_as_are_wanted_but_no_more_than_configured() {
        let mut w = world(Config {
            max_peers: 70,
            ..Config::default()
        });
        for n in 0..200 {
            w.say(n, 5, Event::Started);
        }
        let mut got = |numwant| {
            let request = AnnounceRequest {
                numwant,
                ..request(200, 5, Event::None)
            };
            w.ask("10.0.0.200", &request).unwrap().peers.len()
        };
        assert_eq!(
            (got(None), got(Some(0)), got(Some(7)), got(Some(9999))),
            (50, 0, 7, 70)
        );
    }

    #[test]
    fn ids_come_only_where_they_are_shown() {
        let mut w = world(Config::default());
        w.say(1, 5, Event::Started);
        let mut ids = |compact, no_peer_id| {
            let request = AnnounceRequest {
                compact,
                no_peer_id,
                ..request(2, 5, Event::None)
            };
            w.ask("10.0.0.2", &request).unwrap().peer_ids
        };
        assert_eq!(ids(Some(false), false), [PeerId([1; 20])]);
        assert_eq!(
            (
                ids(Some(false), true),
                ids(Some(true), false),
                ids(None, false)
            ),
            (vec![], vec![], vec![])
        );
    }

    #[test]
    fn a_flood_of_swarms_stays_bounded_and_those_with_seeders_survive() {
        let mut w = world(Config {
            swarms: 100,
            records: 150,
            remembered: 10,
            ..Config::default()
        });
        w.say(1, 0, Event::Started);
        for n in 0..5000_u16 {
            let mut request = request(2, u64::from(n % 7), Event::Completed);
            request.info_hash.0[..2].copy_from_slice(&n.to_be_bytes());
            // Once seeders fill it, there may be no room for more.
            let _ = w.ask("10.0.0.2", &request);
            assert!(w.shard.swarms.len() <= 100 && w.shard.records <= 150);
            assert!(w.shard.remains.len() <= 10);
        }
        assert_eq!(w.shard.scrape(w.now, HASH).complete, 1);
        let mut late = request(3, 0, Event::Started);
        late.info_hash = InfoHash([0xee; 20]);
        let refusal = w.ask("10.0.0.3", &late).unwrap_err();
        assert_eq!(refusal.retry, Retry::Minutes(5));
        assert!(
            w.ask("10.0.0.1", &request(1, 0, Event::None)).is_ok(),
            "whoever is in stays in"
        );
    }

    #[test]
    fn info_hashes_and_ids_of_any_bytes_stay_apart() {
        let mut w = world(Config::default());
        let ids = [[0xff; 20], [0xfe; 20], *b"::::::::::::::::::::", [0; 20]];
        for hash in ids {
            for id in ids {
                let mut request = AnnounceRequest::new(InfoHash(hash), PeerId(id), 1);
                request.left = Some(1);
                w.ask("10.0.0.1", &request).unwrap();
            }
        }
        let mut views: Vec<_> = w
            .shard
            .views(10)
            .map(|v| (v.hash.0, v.stats.incomplete))
            .collect();
        views.sort_unstable();
        assert_eq!(views, [([0; 20], 4), (ids[2], 4), (ids[1], 4), (ids[0], 4)]);
    }
}

//! How much memory `store` takes, whoever wants it to take more.

use std::net::Ipv4Addr;

use super::*;
use crate::base::id::PeerId;
use crate::core::tracker::{Limits, shard_of};

const SHARDS: usize = 32;
const MILLION: u32 = 1_000_000;
const MIB: usize = 1 << 20;

/// A whole tracker.
struct Tracker {
    shards: Vec<Shard>,
    commons: Arc<Commons>,
    rng: fastrand::Rng,
    reply: AnnounceReply,
    now: u64,
}

impl Tracker {
    fn new(limits: Limits, policy: Policy) -> Self {
        let commons = Arc::new(Commons::new(limits, 5));
        let config = Config {
            policy,
            ..Config::default()
        };
        let shard = |n| Shard::new(config, Arc::clone(&commons), n);
        Self {
            shards: (0..SHARDS as u64).map(shard).collect(),
            commons,
            rng: fastrand::Rng::with_seed(1),
            reply: AnnounceReply::default(),
            now: 1000,
        }
    }

    fn ask(&mut self, ip: IpAddr, request: &AnnounceRequest) -> Result<(), Refusal> {
        let shard = &mut self.shards[shard_of(request.info_hash, 77, SHARDS)];
        let now = Time::from_secs(self.now);
        shard.announce(now, ip, request, &mut self.rng, &mut self.reply)
    }

    fn scrape(&mut self, hash: InfoHash) -> SwarmStats {
        let now = Time::from_secs(self.now);
        self.shards[shard_of(hash, 77, SHARDS)].scrape(now, hash)
    }

    /// Every byte that is charged is there, and every one that is there is charged.
    fn check(&self) {
        let heap = |shard: &Shard| {
            let swarms = shard.swarms.iter().map(Swarm::heap).sum::<usize>();
            swarms + shard.swarms.heap() + shard.remains.heap()
        };
        let records = |shard: &Shard| shard.swarms.iter().map(Swarm::records).sum::<usize>();
        assert_eq!(
            self.commons.used(),
            self.shards.iter().map(heap).sum::<usize>()
        );
        assert_eq!(
            self.commons.records(),
            self.shards.iter().map(records).sum::<usize>()
        );
    }
}

fn number(n: u32, tag: u8) -> [u8; 20] {
    let mut bytes = [tag; 20];
    bytes[3..7].copy_from_slice(&n.to_be_bytes());
    bytes
}

/// Peer `n` of swarm `swarm`.
fn request(swarm: u32, n: u32, left: u64) -> AnnounceRequest {
    let (hash, id) = (InfoHash(number(swarm, 1)), PeerId(number(n, 2)));
    AnnounceRequest {
        left: Some(left),
        numwant: Some(0),
        event: Event::Started,
        ..AnnounceRequest::new(hash, id, 6881)
    }
}

fn honest(n: u32) -> IpAddr {
    Ipv4Addr::from_bits((10 << 24) + n).into()
}

/// A hundred swarms of a seeder and some leechers each.
fn settle_down(tracker: &mut Tracker) {
    for swarm in 0..100 {
        for n in 0..20 {
            let ip = honest(swarm * 20 + n);
            tracker.ask(ip, &request(swarm, n, n.into())).unwrap();
        }
    }
}

fn assert_settled(tracker: &mut Tracker) {
    for swarm in 0..100 {
        let stats = tracker.scrape(InfoHash(number(swarm, 1)));
        assert_eq!((stats.complete, stats.incomplete), (1, 19), "{swarm}");
    }
}

#[test]
fn a_million_announces_from_one_address_cost_what_its_share_costs() {
    let mut tracker = Tracker::new(Limits::default(), Policy::RANDOM);
    settle_down(&mut tracker);
    let mut refused = 0;
    for n in 0..MILLION {
        let flood = request(1000 + n, n, u64::from(n % 2));
        refused += u32::from(tracker.ask([6, 6, 6, 6].into(), &flood).is_err());
    }
    let share = Limits::default().per_source;
    assert_eq!(refused, MILLION - share);
    assert!(
        tracker.commons.used() < 16 * MIB,
        "{}",
        tracker.commons.used()
    );
    assert_settled(&mut tracker);
    tracker.check();
    // Others find room all the while.
    tracker.ask(honest(70_000), &request(7, 7777, 1)).unwrap();
    tracker
        .ask([6, 6, 6, 7].into(), &request(999, 1, 1))
        .unwrap();
}

#[test]
fn announces_from_a_hundred_addresses_stay_in_bounds_and_swarms_with_seeders_survive() {
    for (left, memory) in [(0, 24 * MIB), (9, 4 * MIB), (0, 4 * MIB)] {
        let limits = Limits {
            memory,
            ..Limits::default()
        };
        let mut tracker = Tracker::new(limits, Policy::RANDOM);
        settle_down(&mut tracker);
        for n in 0..MILLION / 4 {
            let [.., a] = n.to_be_bytes();
            // Once it is full, there may be no room.
            let _ = tracker.ask([6, 6, 6, a % 100].into(), &request(1000 + n, n, left));
            if n % 4096 == 0 {
                assert!(tracker.commons.used() <= memory, "{n}");
            }
        }
        assert!(tracker.commons.used() > memory / 2);
        assert_settled(&mut tracker);
        tracker.check();
        for n in 0..1000 {
            let swarm = 2_000_000 + n;
            tracker
                .ask(honest(80_000 + n), &request(swarm, n, 1))
                .unwrap();
        }
    }
}

#[test]
fn seeders_from_everywhere_fill_a_tracker_but_do_not_burst_it() {
    let limits = Limits {
        memory: 2 * MIB,
        ..Limits::default()
    };
    let mut tracker = Tracker::new(limits, Policy::NEAR);
    let mut last = Ok(());
    for n in 0..20_000 {
        last = tracker.ask(honest(n), &request(n, n, 0));
        assert!(tracker.commons.used() <= 2 * MIB);
    }
    assert_eq!(last.unwrap_err().retry, Retry::Minutes(5));
    let again = tracker.ask(honest(0), &request(0, 0, 0));
    assert!(again.is_ok(), "whoever is in stays in");
    tracker.now += 10_000;
    for shard in &mut tracker.shards {
        shard.cleanup(Time::from_secs(tracker.now));
    }
    assert_eq!(tracker.commons.records(), 0);
    assert!(
        tracker.commons.used() < 64 << 10,
        "{}",
        tracker.commons.used()
    );
    tracker.check();
}

#[test]
fn a_million_peers_fit_into_forty_eight_mebibytes() {
    for peers_each in [MILLION, 1000, 100] {
        let mut tracker = Tracker::new(Limits::default(), Policy::RANDOM);
        let mut most = 0;
        for n in 0..MILLION {
            let (swarm, peer) = (n % (MILLION / peers_each), n);
            tracker
                .ask(honest(n), &request(swarm, peer, u64::from(n % 5) + 1))
                .unwrap();
            most = most.max(tracker.commons.used());
        }
        assert_eq!(tracker.commons.records(), MILLION as usize);
        // Besides there are 256 KiB for counting sources, and what the allocator and the program want: `make bench` measures that.
        assert!(most <= 43 * MIB, "{peers_each}: {}", most / MIB);
        tracker.check();
    }
}

#[test]
fn what_a_policy_costs_in_memory_is_bounded() {
    for (policy, each) in [(Policy::STAGE, 42), (Policy::NEAR, 70)] {
        let mut tracker = Tracker::new(Limits::default(), policy);
        for n in 0..200_000 {
            tracker
                .ask(honest(n), &request(1, n, 1 + u64::from(n)))
                .unwrap();
        }
        let used = tracker.commons.used() / 200_000;
        assert!(used <= each, "{policy:?}: {used}");
        tracker.check();
    }
}

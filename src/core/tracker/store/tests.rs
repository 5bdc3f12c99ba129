//! What `store` promises.

use super::*;
use crate::base::id::PeerId;
use crate::core::tracker::Limits;

const HASH: InfoHash = InfoHash([1; 20]);

struct World {
    shard: Shard,
    rng: fastrand::Rng,
    now: Time,
    reply: AnnounceReply,
}

fn world(config: Config) -> World {
    let commons = Commons::new(Limits::default(), 5);
    World {
        shard: Shard::new(config, Arc::new(commons), 7),
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
        self.now = self.now + Duration::from_secs(secs);
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
        .counts()
        .map(|(hash, stats)| (hash.0, stats.incomplete))
        .collect();
    views.sort_unstable();
    assert_eq!(views, [([0; 20], 4), (ids[2], 4), (ids[1], 4), (ids[0], 4)]);
}

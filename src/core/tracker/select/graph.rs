//! What the policies make of whole swarms: who is told of whom, whether all are in one piece, and what it costs.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::*;
use crate::base::id::InfoHash;
use crate::core::tracker::commons::{Commons, Limits};
use crate::core::tracker::swarm::{Report, level};

const SIZE: u64 = 1000;

struct Net {
    swarm: Swarm,
    policy: Policy,
    zones: Zones,
    finish: u8,
    commons: Commons,
    rng: fastrand::Rng,
    peers: Vec<(IpAddr, u64)>,
    looks: usize,
}

fn id(n: usize) -> PeerId {
    let mut id = [7; 20];
    id[..8].copy_from_slice(&n.to_be_bytes());
    PeerId(id)
}

fn v4(a: usize, b: usize, c: usize) -> IpAddr {
    let byte = |n: usize| u8::try_from(n).unwrap();
    Ipv4Addr::new(10, byte(a), byte(b), byte(c)).into()
}

impl Net {
    fn new(policy: Policy, zones: &str) -> Self {
        let mut swarm = Swarm::new(InfoHash([1; 20]), 0, 42, policy, 0);
        swarm.set_size(SIZE);
        Self {
            swarm,
            policy,
            zones: Zones::read(zones).unwrap(),
            finish: 80,
            commons: Commons::new(Limits::default(), 1),
            rng: fastrand::Rng::with_seed(6),
            peers: Vec::new(),
            looks: 0,
        }
    }

    /// Another peer, with its number.
    fn join(&mut self, ip: IpAddr, left: u64) -> usize {
        self.peers.push((ip, left));
        self.say(self.peers.len() - 1, left)
    }

    fn say(&mut self, n: usize, left: u64) -> usize {
        let (ip, was) = &mut self.peers[n];
        *was = left;
        let report = Report {
            id: id(n),
            ip: *ip,
            port: 6881,
            left: Some(left),
            completed: false,
        };
        self.swarm.put(report, &self.zones, &self.commons, 10);
        n
    }

    /// Whom peer `n` is told of.
    fn ask(&mut self, n: usize, want: usize) -> Vec<usize> {
        let (ip, left) = self.peers[n];
        let asker = Asker {
            id: id(n),
            ip,
            left: Left::new(Some(left)),
            want,
            with_ids: true,
            since: 0,
        };
        let rules = Rules {
            zones: &self.zones,
            finish: self.finish,
            size: SIZE,
        };
        let mut found = AnnounceReply::default();
        let Self {
            swarm, policy, rng, ..
        } = self;
        self.looks = select(swarm, &asker, *policy, rules, rng, &mut found);
        let number = |id: &PeerId| id.0.first_chunk().map(|&bytes| usize::from_be_bytes(bytes));
        let told: Vec<_> = found.peer_ids.iter().filter_map(number).collect();
        assert_eq!(found.peers.len(), told.len());
        let distinct: BTreeSet<_> = told.iter().collect();
        assert_eq!(distinct.len(), told.len(), "nobody is told twice");
        assert!(!told.contains(&n) && told.len() <= want);
        if left == 0 {
            assert!(told.iter().all(|&other| self.peers[other].1 > 0), "seeders");
        }
        told
    }

    fn count(&self, told: &[usize], fits: impl Fn(IpAddr, u64) -> bool) -> usize {
        let peers = told.iter().map(|&n| self.peers[n]);
        peers.filter(|&(ip, left)| fits(ip, left)).count()
    }

    /// How many pieces the swarm falls into if everybody knows those of whom it was told, or who were told of it.
    fn pieces(&mut self, want: usize) -> usize {
        let mut piece: Vec<usize> = (0..self.peers.len()).collect();
        fn find(piece: &mut [usize], mut n: usize) -> usize {
            while piece[n] != n {
                piece[n] = piece[piece[n]];
                n = piece[n];
            }
            n
        }
        for n in 0..self.peers.len() {
            for other in self.ask(n, want) {
                let (a, b) = (find(&mut piece, n), find(&mut piece, other));
                piece[a] = b;
            }
        }
        (0..piece.len()).filter(|&n| piece[n] == n).count()
    }
}

/// Four zones of five subnets of ten, and two seeders.
fn halls() -> Net {
    let mut zones = String::new();
    for zone in 0..4 {
        zones += &format!("10.{zone}.0.0/16 hall-{zone}\n");
    }
    let mut net = Net::new(Policy::NEAR, &zones);
    for n in 0..200 {
        net.join(
            v4(n % 4, n / 4 % 5, n / 20),
            if n < 2 { 0 } else { 1 + n as u64 },
        );
    }
    net
}

#[test]
fn near_tells_of_the_subnet_then_of_the_zone_and_of_a_quarter_from_elsewhere() {
    let mut net = halls();
    for n in 2..200 {
        let told = net.ask(n, 40);
        assert_eq!(told.len(), 40);
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(_) => [0; 4],
        };
        let me = octets(net.peers[n].0);
        let subnet = net.count(&told, |ip, _| octets(ip)[..3] == me[..3]);
        let zone = net.count(&told, |ip, _| octets(ip)[..2] == me[..2]);
        assert_eq!(subnet, 9, "all of them");
        assert!((29..=32).contains(&zone), "{zone}");
        assert!(net.count(&told, |_, left| left == 0) >= 1);
    }
}

#[test]
fn near_fills_up_from_elsewhere_and_from_home_where_the_other_has_nobody() {
    let mut net = Net::new(Policy::NEAR, "10.9.0.0/16 far\n");
    for n in 0..100 {
        net.join(v4(n, 0, 1), 5);
    }
    assert_eq!(net.ask(7, 50).len(), 50, "alone in its subnet");
    let mut net = Net::new(Policy::NEAR, "");
    for n in 0..100 {
        net.join(v4(0, 0, n), 5);
    }
    assert_eq!(net.ask(7, 50).len(), 50, "all in one subnet");
}

#[test]
fn near_tells_everybody_in_a_subnet_in_turn() {
    let mut net = Net::new(Policy::NEAR, "");
    for n in 0..240 {
        net.join(v4(0, 0, n), 5);
    }
    let told: BTreeSet<_> = (0..40).flat_map(|n| net.ask(n, 20)).collect();
    assert!(told.len() > 220, "{}", told.len());
}

#[test]
fn zones_that_change_count_at_once() {
    let mut net = halls();
    net.zones = Zones::read("10.0.0.0/15 a\n").unwrap();
    let Net { swarm, zones, .. } = &mut net;
    swarm.v4_mut().rezone(|ip| zones.of(ip.into()));
    let told = net.ask(4, 80);
    let near = net.count(&told, |ip, _| net.zones.of(ip).is_some());
    assert!((60..=66).contains(&near), "{near}");
    let told = net.ask(6, 80);
    let hall = net.count(&told, |ip, _| ip.to_string().starts_with("10.2."));
    assert!(hall < 40, "no zone any more: {hall}");
}

#[test]
fn a_zone_may_have_both_families() {
    let mut net = Net::new(Policy::NEAR, "10.1.0.0/16 a\n2001:db8::/64 a\n");
    for n in 0..200 {
        net.join(v4(n % 2, n / 100, n / 2), 5);
    }
    let v6 = net.join("2001:db8::9".parse().unwrap(), 5);
    let told = net.ask(v6, 40);
    let zone = net.count(&told, |ip, _| ip.to_string().starts_with("10.1."));
    assert!(told.len() == 40 && zone >= 30, "{zone}");
}

/// Twenty seeders, and a hundred leechers at each twentieth of the way.
fn stages() -> Net {
    let mut net = Net::new(Policy::STAGE, "");
    for n in 0..20 {
        net.join(v4(0, 0, n), 0);
    }
    for n in 0..2000 {
        net.join(
            v4(1, n / 200, n % 200),
            SIZE - (n as u64 % 20) * SIZE / 20 - 1,
        );
    }
    net
}

#[test]
fn stage_tells_of_similar_progress_and_of_a_quarter_of_any() {
    let mut net = stages();
    for n in 20..1000 {
        let left = net.peers[n].1;
        if left <= SIZE / 5 {
            continue;
        }
        let told = net.ask(n, 40);
        assert_eq!(told.len(), 40);
        let similar = net.count(&told, |_, other| {
            other > 0 && other.abs_diff(left) <= SIZE / 10
        });
        assert!((29..39).contains(&similar), "{left}: {similar}");
        assert!(net.count(&told, |_, left| left == 0) >= 1);
    }
}

#[test]
fn stage_tells_whoever_is_nearly_done_of_seeders_first() {
    let mut net = stages();
    let sources = |net: &mut Net, left| {
        net.say(30, left);
        let told = net.ask(30, 30);
        assert_eq!(told.len(), 30);
        net.count(&told, |_, left| left == 0)
    };
    assert_eq!(sources(&mut net, 190), 20);
    assert!(sources(&mut net, 210) < 5);
    net.finish = 50;
    assert_eq!(sources(&mut net, 490), 20);
    net.finish = 100;
    assert!(sources(&mut net, 1) < 5, "100 switches it off");
}

#[test]
fn stage_follows_a_peer_on_its_way() {
    let mut net = stages();
    for left in (0..=SIZE).rev().step_by(10) {
        net.say(100, left);
        let told = net.ask(200, 50);
        assert!(!told.is_empty());
        let v4 = net.swarm.v4_mut();
        let at = v4.find(id(100)).unwrap();
        assert_eq!(
            v4.level(at),
            level(Left::new(Some(left)), SIZE, v4.levels())
        );
    }
}

#[test]
fn all_of_a_small_swarm_are_told_whatever_the_policy() {
    let mut rng = fastrand::Rng::with_seed(8);
    for policy in [Policy::RANDOM, Policy::NEAR, Policy::STAGE] {
        for _ in 0..200 {
            let mut net = Net::new(policy, "10.0.0.0/16 a\n10.1.0.0/24 b\n2001:db8::/64 a\n");
            let peers = rng.usize(2..40);
            for _ in 0..peers {
                let left = rng.u64(..4) * rng.u64(..=SIZE) / 3;
                let v6 = format!("2001:db8::{:x}:{:x}", rng.u16(..2), rng.u16(1..));
                let ip = match rng.bool() {
                    true => v6.parse().unwrap(),
                    false => v4(rng.usize(..3), rng.usize(..2), rng.usize(1..250)),
                };
                net.join(ip, left);
            }
            for n in 0..peers {
                let (_, left) = net.peers[n];
                let others: Vec<_> = (0..peers).filter(|&other| other != n).collect();
                let useful = net.count(&others, |_, other| left > 0 || other > 0);
                assert_eq!(net.ask(n, 200).len(), useful, "{policy:?}");
                assert_eq!(net.ask(n, 3).len(), useful.min(3), "{policy:?}");
            }
        }
    }
}

#[test]
fn every_policy_leaves_the_swarm_in_one_piece() {
    for want in [10, 50] {
        let mut near = halls();
        assert_eq!(near.pieces(want), 1);

        // One rack of a thousand, and one host far away.
        let mut lopsided = Net::new(Policy::NEAR, "10.0.0.0/16 a\n10.9.0.0/16 b\n");
        for n in 0..1000 {
            lopsided.join(v4(0, n / 250, n % 250), 9);
        }
        lopsided.join(v4(9, 9, 9), 9);
        assert_eq!(lopsided.pieces(want), 1);

        // Many racks, as they come when a cluster is switched on.
        let mut racks = Net::new(Policy::NEAR, "");
        for n in 0..2000 {
            racks.join(v4(n / 1000, n / 40 % 25, n % 40), 9);
        }
        assert_eq!(racks.pieces(want), 1);

        let mut stage = stages();
        assert_eq!(stage.pieces(want), 1);

        // Half have nothing and half have nearly all, without a seeder.
        let mut halves = Net::new(Policy::STAGE, "");
        for n in 0..2000 {
            halves.join(
                v4(n / 1000, n / 250 % 4, n % 250),
                if n % 2 == 0 { SIZE } else { 10 },
            );
        }
        assert_eq!(halves.pieces(want), 1);

        let mut random = Net::new(Policy::RANDOM, "");
        for n in 0..2000 {
            random.join(v4(n / 1000, n / 250 % 4, n % 250), n as u64 % 50);
        }
        assert_eq!(random.pieces(want), 1);
    }
}

#[test]
fn a_larger_swarm_costs_no_more_whatever_the_policy() {
    let zones = "10.0.0.0/16 a\n10.1.0.0/16 b\n10.128.0.0/9 c\n";
    for policy in [Policy::RANDOM, Policy::NEAR, Policy::STAGE] {
        for peers in [100, 1_000, 60_000] {
            let mut net = Net::new(policy, zones);
            for n in 0..peers {
                let left = if n % 10 == 0 { 0 } else { n as u64 % SIZE + 1 };
                net.join(v4(n % 256, n / 256 % 8, n / 2048), left);
            }
            for n in 0..100 {
                net.ask(n, 50);
                assert!(net.looks <= 300, "{policy:?}, {peers}: {}", net.looks);
            }
        }
    }
}

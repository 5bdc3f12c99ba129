//! Hundreds of nodes find each other's peers.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::Config;
use super::world::{Host, World, v4, v6};
use crate::base::id::InfoHash;
use crate::base::time::Time;

const MINUTE: Duration = Duration::from_secs(60);

fn hash(n: u8) -> InfoHash {
    InfoHash(std::array::from_fn(|i| {
        n.wrapping_mul(97).wrapping_add(i as u8 * 13)
    }))
}

/// Five nodes announce themselves in each of `n` torrents, and five others look for them. Returns how many lookups have found at least one real peer, and
/// the most nodes that any has asked for it.
fn lookups(world: &mut World, nodes: &[SocketAddr], n: u8) -> (usize, u32) {
    let mut rng = fastrand::Rng::with_seed(9);
    let mut nodes = nodes.to_vec();
    let (mut found, mut most) = (0, 0);
    for torrent in (0..n).map(hash) {
        rng.shuffle(&mut nodes);
        let (announcers, seekers) = (&nodes[..5], &nodes[5..10]);
        for &addr in announcers {
            world.tell(addr, |dht, now, _| dht.join(now, torrent, 7000));
        }
        world.run(MINUTE);
        world.lookups.clear();
        for &addr in seekers {
            world.tell(addr, |dht, now, _| dht.join(now, torrent, 7000));
        }
        world.run(MINUTE);
        for &addr in seekers {
            let real = |peer: &SocketAddr| announcers.iter().any(|a| a.ip() == peer.ip());
            let peers = world.found.get(&(addr, torrent));
            found += usize::from(peers.is_some_and(|peers| peers.iter().any(real)));
            most = most.max(world.lookups[&addr]);
        }
    }
    (found, most)
}

#[test]
fn a_lookup_asks_a_few_dozen_of_a_thousand() {
    let addrs: Vec<_> = (0..1000).map(v4).collect();
    let mut world = World::grown(1, addrs.iter().copied());
    world.run(6 * MINUTE);
    let lonely = addrs
        .iter()
        .filter(|a| world.dht(**a).stats(world.now).nodes[0] < 8);
    assert_eq!(lonely.count(), 0);
    let (found, most) = lookups(&mut world, &addrs, 10);
    assert_eq!(found, 50);
    assert!(most < 40, "{most}");
}

#[test]
fn a_fifth_of_dead_nodes_does_not_keep_lookups_from_finding() {
    let addrs: Vec<_> = (0..300).map(v4).collect();
    let mut world = World::grown(2, addrs.iter().copied());
    world.run(5 * MINUTE);
    // The one where all began is among them.
    let (dead, alive): (Vec<_>, Vec<_>) = addrs.iter().enumerate().partition(|(n, _)| n % 5 == 0);
    for (_, addr) in dead {
        world.hosts.insert(*addr, Host::Dead);
    }
    let alive: Vec<_> = alive.into_iter().map(|(_, addr)| *addr).collect();
    let (found, most) = lookups(&mut world, &alive, 10);
    assert_eq!(found, 50);
    assert!(most < 80, "{most}");
}

#[test]
fn a_fifth_of_liars_does_not_either() {
    let addrs: Vec<_> = (0..300).map(v4).collect();
    let mut world = World::new(3);
    let (liars, honest): (Vec<_>, Vec<_>) = addrs.iter().enumerate().partition(|(n, _)| n % 5 == 4);
    for (_, addr) in liars {
        world.hosts.insert(*addr, Host::Liar);
    }
    let honest: Vec<_> = honest.into_iter().map(|(_, addr)| *addr).collect();
    for (n, addr) in honest.iter().enumerate() {
        // Each begins at a liar, too.
        let seeds = [honest[0], v4(n as u32 / 4 * 5 + 4)];
        world.add(*addr, &seeds, &Config::default());
        world.run(Duration::from_millis(100));
    }
    world.run(5 * MINUTE);
    let (found, most) = lookups(&mut world, &honest, 10);
    assert!(found >= 48, "{found} of 50");
    assert!(most < 120, "{most}");
}

#[test]
fn a_small_cluster_goes_on_without_the_node_where_it_began() {
    let site = |n: u8| SocketAddr::from(([10, 0, 0, n], 6881));
    let addrs: Vec<_> = (0..20).map(site).collect();
    let mut world = World::grown(4, addrs.iter().copied());
    world.run(MINUTE);
    world.hosts.insert(addrs[0], Host::Dead);
    world.run(MINUTE);
    let (found, _) = lookups(&mut world, &addrs[1..], 5);
    assert_eq!(found, 25);
    // It comes back, and knows nobody; the others find it again.
    world.add(addrs[0], &[], &Config::default());
    world.run(20 * MINUTE);
    assert!(world.dht(addrs[0]).stats(world.now).nodes[0] >= 8);
}

#[test]
fn ipv6_alone_does_as_well() {
    let addrs: Vec<_> = (0..60).map(v6).collect();
    let mut world = World::grown(5, addrs.iter().copied());
    world.run(MINUTE);
    let (found, _) = lookups(&mut world, &addrs, 5);
    assert_eq!(found, 25);
}

#[test]
fn names_befit_addresses_once_others_have_told_them() {
    let addrs: Vec<_> = (0..30).map(v4).collect();
    let world = World::grown(6, addrs.iter().copied());
    // Nobody has told the first one of its address yet when it begins; whoever asks it later does.
    for addr in &addrs[1..] {
        let [id, _] = world.dht(*addr).ids();
        assert!(id.unwrap().befits(addr.ip()), "{addr}");
    }
}

#[test]
fn tables_stay_good_for_hours_and_cost_little() {
    let addrs: Vec<_> = (0..60).map(v4).collect();
    let mut world = World::grown(7, addrs.iter().copied());
    world.run(30 * MINUTE);
    world.sent.clear();
    world.run(60 * MINUTE);
    for addr in &addrs {
        assert!(world.dht(*addr).stats(world.now).nodes[0] >= 8);
        // Questions and answers, an hour.
        assert!(world.sent[addr] < 1500, "{}", world.sent[addr]);
    }
}

#[test]
fn an_announce_lasts_as_long_as_it_is_renewed() {
    let addrs: Vec<_> = (0..30).map(v4).collect();
    let mut world = World::grown(8, addrs.iter().copied());
    world.run(MINUTE);
    let seen = |world: &World| -> usize {
        let held = addrs.iter().map(|a| world.dht(*a).stats(world.now).peers);
        held.filter(|n| *n > 0).count()
    };
    world.tell(addrs[5], |dht, now, _| dht.join(now, hash(1), 7000));
    world.run(120 * MINUTE);
    let places = seen(&world);
    assert!((6..=10).contains(&places), "{places}");
    world.tell(addrs[5], |dht, _, _| dht.leave(hash(1)));
    world.run(40 * MINUTE);
    world.tell(addrs[6], |dht, now, _| dht.join(now, hash(1), 7000));
    world.run(MINUTE);
    let found = world.found.get(&(addrs[6], hash(1)));
    assert_eq!(found, None, "it is forgotten after half an hour");
}

#[test]
fn a_node_that_answers_nobody_finds_peers_and_is_in_no_table() {
    let addrs: Vec<_> = (0..30).map(v4).collect();
    let mut world = World::grown(9, addrs.iter().copied());
    let guest = v4(99);
    let config = Config {
        read_only: true,
        ..Config::default()
    };
    world.add(guest, &addrs[..1], &config);
    world.tell(addrs[5], |dht, now, _| dht.join(now, hash(1), 7000));
    world.run(MINUTE);
    world.tell(guest, |dht, now, _| dht.join(now, hash(1), 7000));
    world.run(30 * MINUTE);
    assert!(world.found.contains_key(&(guest, hash(1))));
    let stats = world.dht(guest).stats(world.now);
    assert_eq!(stats.answered, 0);
    for addr in &addrs {
        let nodes = world.dht(*addr).nodes(world.now);
        assert!(nodes.iter().all(|node| node.addr != guest));
    }
}

#[test]
fn the_next_run_begins_where_the_last_one_ended() {
    let addrs: Vec<_> = (0..30).map(v4).collect();
    let mut world = World::grown(10, addrs.iter().copied());
    world.run(MINUTE);
    let (nodes, ids) = (
        world.dht(addrs[7]).nodes(world.now),
        world.dht(addrs[7]).ids(),
    );
    assert!(nodes.len() >= 8);
    let config = Config {
        ids,
        ..Config::default()
    };
    // Nobody is named; half of those that it knew are gone.
    for node in nodes.iter().step_by(2) {
        world.hosts.insert(node.addr, Host::Dead);
    }
    world.add(addrs[7], &[], &config);
    world.tell(addrs[7], |dht, _, _| {
        nodes.iter().for_each(|node| dht.remember(*node));
    });
    world.run(MINUTE);
    let after = world.dht(addrs[7]);
    assert_eq!(after.ids(), ids);
    assert!(after.stats(world.now).nodes[0] >= 4);
}

#[test]
fn whoever_has_no_way_in_tries_ever_less_often() {
    let mut world = World::new(11);
    let nobody = v4(1);
    world.add(v4(0), &[nobody], &Config::default());
    world.tell(v4(0), |dht, now, _| dht.join(now, hash(1), 7000));
    world.run(60 * MINUTE);
    let sent = world.sent[&v4(0)];
    assert!((10..25).contains(&sent), "{sent}");
    assert!(world.now > Time::ZERO);
}

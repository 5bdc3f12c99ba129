//! Whom an asker is told about.
//!
//! From each pool a window is taken that begins at a random place, so the cost depends on how many are wanted and not on how many there are.
//! Seeders and leechers are taken in proportion, but a leecher is told of one seeder at least.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::record::{Family, Record};
use super::swarm::{Pool, Swarm};
use crate::base::endpoint;
use crate::base::id::PeerId;

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) id: PeerId,
    pub(super) ip: IpAddr,
    /// A seeder has no use for seeders.
    pub(super) seeder: bool,
    /// How many peers to tell of.
    pub(super) want: usize,
    /// Records from before this moment are stale.
    pub(super) since: u32,
}

/// Adds peers to `found`, those of the asker's own family first; another family's only while there is room.
pub(super) fn select(
    swarm: &Swarm,
    asker: &Asker,
    rng: &mut fastrand::Rng,
    mut found: impl FnMut(SocketAddr, PeerId),
) {
    let mut room = asker.want;
    let mut tell = |addr, id| {
        found(addr, id);
    };
    if asker.ip.is_ipv4() {
        room -= from_pool(swarm.v4(), asker, room, true, rng, &mut tell);
        from_pool(swarm.v6(), asker, room, false, rng, &mut tell);
    } else {
        room -= from_pool(swarm.v6(), asker, room, true, rng, &mut tell);
        from_pool(swarm.v4(), asker, room, false, rng, &mut tell);
    }
}

/// Takes up to `room` peers from `pool`; returns how many it took. In the pool of the other family (`own` is false) peers that have a record in
/// both are passed over.
fn from_pool<A: Family>(
    pool: &Pool<A>,
    asker: &Asker,
    room: usize,
    own: bool,
    rng: &mut fastrand::Rng,
    tell: &mut impl FnMut(SocketAddr, PeerId),
) -> usize {
    let (seeders, all) = (pool.seeders(), pool.len());
    let mut window = |range: Range<usize>, room: usize| {
        let fit = |record: &Record<A>| fits(record, asker, own);
        walk(
            pool.records().get(range).unwrap_or_default(),
            room,
            rng,
            fit,
            tell,
        )
    };
    if asker.seeder {
        return window(seeders..all, room);
    }
    // A little more of the one where there is too little of the other.
    let share = (room * seeders)
        .div_ceil(all.max(1))
        .max(room.saturating_sub(all - seeders));
    let sources = window(0..seeders, share.min(room));
    sources + window(seeders..all, room - sources)
}

fn fits<A: Family>(record: &Record<A>, asker: &Asker, own: bool) -> bool {
    let fresh = record.seen() >= asker.since && record.id() != asker.id;
    fresh && (own || !record.dual()) && may_be_told(record.addr(), asker.ip)
}

/// Whether `asker` can do anything with `addr`: loopback means something only on the same host.
fn may_be_told(addr: SocketAddr, asker: IpAddr) -> bool {
    endpoint::is_dialable(addr) && (!addr.ip().is_loopback() || asker.is_loopback())
}

/// Goes round once from a random place, until `room` are found, but looks at no more than twice as many and a few.
fn walk<A: Family>(
    records: &[Record<A>],
    room: usize,
    rng: &mut fastrand::Rng,
    fits: impl Fn(&Record<A>) -> bool,
    tell: &mut impl FnMut(SocketAddr, PeerId),
) -> usize {
    if records.is_empty() || room == 0 {
        return 0;
    }
    let (before, after) = records.split_at(rng.usize(..records.len()));
    let reach = room.saturating_mul(2).saturating_add(16);
    let window = after.iter().chain(before).take(reach);
    let mut taken = 0;
    for record in window.filter(|record| fits(record)).take(room) {
        tell(record.addr(), record.id());
        taken += 1;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::super::swarm::Report;
    use super::*;
    use crate::base::id::InfoHash;
    use std::collections::BTreeSet;

    fn swarm(seeders: u16, leechers: u16) -> Swarm {
        let mut swarm = Swarm::new(InfoHash([1; 20]), 0, 42, 0);
        for n in 0..seeders + leechers {
            put(
                &mut swarm,
                n,
                format!("10.0.{}.{}", n >> 8, n & 255).parse().unwrap(),
                u64::from(n >= seeders),
            );
        }
        swarm
    }

    fn id(n: u16) -> PeerId {
        let mut id = [0; 20];
        id[..2].copy_from_slice(&n.to_be_bytes());
        PeerId(id)
    }

    fn put(swarm: &mut Swarm, n: u16, ip: IpAddr, left: u64) {
        let report = Report {
            id: id(n),
            ip,
            port: 6881,
            left: Some(left),
            completed: false,
        };
        swarm.put(report, 10);
    }

    fn asker(n: u16, want: usize) -> Asker {
        Asker {
            id: id(n),
            ip: [10, 0, 0, 1].into(),
            seeder: false,
            want,
            since: 0,
        }
    }

    fn ask(swarm: &Swarm, asker: &Asker, seed: u64) -> Vec<(SocketAddr, PeerId)> {
        let mut found = Vec::new();
        let mut rng = fastrand::Rng::with_seed(seed);
        select(swarm, asker, &mut rng, |addr, id| found.push((addr, id)));
        found
    }

    #[test]
    fn nobody_is_told_of_himself_or_twice_of_another() {
        for (seeders, leechers) in [(0, 1), (1, 0), (1, 1), (3, 20), (20, 3), (100, 100)] {
            let swarm = swarm(seeders, leechers);
            for seed in 0..50 {
                let me = u16::try_from(seed).unwrap() % (seeders + leechers);
                let found = ask(&swarm, &asker(me, 50), seed);
                let distinct: BTreeSet<_> = found.iter().map(|(_, id)| *id).collect();
                assert_eq!(distinct.len(), found.len());
                assert!(!distinct.contains(&id(me)));
                assert_eq!(found.len(), usize::from(seeders + leechers - 1).min(50));
            }
        }
    }

    #[test]
    fn a_leecher_is_told_of_the_only_seeder_and_a_seeder_of_no_seeder() {
        let swarm = swarm(1, 500);
        for seed in 0..50 {
            let found = ask(&swarm, &asker(7, 10), seed);
            assert_eq!(found.len(), 10);
            assert!(found.iter().any(|(_, found)| *found == id(0)));
            let seeder = Asker {
                seeder: true,
                ..asker(999, 600)
            };
            assert!(
                ask(&swarm, &seeder, seed)
                    .iter()
                    .all(|(_, found)| *found != id(0))
            );
        }
    }

    #[test]
    fn everybody_has_a_chance() {
        let swarm = swarm(10, 300);
        let told: BTreeSet<_> = (0..400)
            .flat_map(|seed| ask(&swarm, &asker(0, 20), seed))
            .collect();
        assert_eq!(told.len(), 309);
    }

    #[test]
    fn addresses_that_lead_nowhere_are_not_told() {
        let mut swarm = Swarm::new(InfoHash([1; 20]), 0, 42, 0);
        for (n, ip) in [
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "ff02::1",
            "127.0.0.1",
            "::1",
        ]
        .iter()
        .enumerate()
        {
            put(
                &mut swarm,
                u16::try_from(n).unwrap(),
                ip.parse().unwrap(),
                1,
            );
        }
        let mut portless = Report {
            id: id(90),
            ip: [10, 0, 0, 9].into(),
            port: 0,
            left: None,
            completed: false,
        };
        swarm.put(portless, 10);
        portless.id = id(91);
        portless.port = 1;
        swarm.put(portless, 10);
        let outside = ask(&swarm, &asker(50, 50), 1);
        assert_eq!(outside, [("10.0.0.9:1".parse().unwrap(), id(91))]);
        let local = Asker {
            ip: [127, 0, 0, 1].into(),
            ..asker(50, 50)
        };
        assert_eq!(ask(&swarm, &local, 1).len(), 3, "and both of loopback");
    }

    #[test]
    fn stale_records_are_not_told_even_before_they_are_swept() {
        let mut swarm = swarm(2, 2);
        swarm.put(
            Report {
                id: id(9),
                ip: [10, 9, 9, 9].into(),
                port: 1,
                left: None,
                completed: false,
            },
            500,
        );
        let late = Asker {
            since: 400,
            ..asker(50, 50)
        };
        assert_eq!(ask(&swarm, &late, 1).len(), 1);
    }

    #[test]
    fn the_own_family_comes_first_and_a_peer_with_both_is_told_once() {
        let mut swarm = swarm(0, 3);
        put(&mut swarm, 0, "2001:db8::1".parse().unwrap(), 1);
        put(&mut swarm, 5, "2001:db8::5".parse().unwrap(), 1);
        let found = ask(&swarm, &asker(50, 50), 1);
        assert_eq!(found.len(), 4);
        assert!(found.iter().take(3).all(|(addr, _)| addr.is_ipv4()));
        assert_eq!(found[3].1, id(5));
        assert!(
            ask(&swarm, &asker(50, 3), 1)
                .iter()
                .all(|(addr, _)| addr.is_ipv4())
        );
        let v6 = Asker {
            ip: "2001:db8::9".parse().unwrap(),
            ..asker(50, 50)
        };
        assert!(
            ask(&swarm, &v6, 1)
                .iter()
                .take(2)
                .all(|(addr, _)| addr.is_ipv6())
        );
    }

    #[test]
    fn a_larger_swarm_costs_no_more() {
        let swarm = swarm(0, 60_000);
        let mut looked = 0;
        let mut rng = fastrand::Rng::with_seed(1);
        let count = std::cell::Cell::new(0);
        let nobody = |_: &Record<[u8; 4]>| {
            count.set(count.get() + 1);
            false
        };
        looked += walk(swarm.v4().records(), 50, &mut rng, nobody, &mut |_, _| {});
        assert_eq!((looked, count.get()), (0, 116));
    }
}

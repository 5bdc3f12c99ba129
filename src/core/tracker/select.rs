//! Whom an asker is told about.
//!
//! Peers are taken from windows: stretches of a range of records, or of a ring, that begin at a random place or where the last one ended. So the cost
//! depends on how many are wanted and not on how many there are. A seeder is told of no seeder, whatever the policy; a leecher of one at least.
//!
//! - [`random`]: seeders and leechers in proportion.
//! - [`near`]: those of the asker's /24 (IPv4) or /64 (IPv6), then of its zone; but a quarter, and four at least, from elsewhere, so that what one
//!   subnet or zone has finds its way to the others.
//! - [`stage`]: those of the asker's tenth of the way, then of the tenths next to it; but a quarter, and four at least, of any progress, because those who
//!   have nothing cannot help each other. Whoever is past 80 % (by default) gets seeders first, so that it finishes and becomes one.

pub(super) mod near;
pub(super) mod random;
pub(super) mod stage;
mod window;

use std::net::IpAddr;

use super::policy::Policy;
use super::pool::Pool;
use super::record::Left;
use super::swarm::Swarm;
use super::zones::Zones;
use crate::base::id::PeerId;
use crate::proto::tracker::AnnounceReply;
pub(super) use window::Tray;

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) id: PeerId,
    pub(super) ip: IpAddr,
    /// A seeder has no use for seeders.
    pub(super) left: Left,
    /// How many peers to tell of.
    pub(super) want: usize,
    /// Whether ids are to be told, too.
    pub(super) with_ids: bool,
    /// Records from before this moment are stale.
    pub(super) since: u32,
}

/// By what to choose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) zones: &'a Zones,
    /// From how much progress on, in percent, a leecher is told of seeders first, by [`Policy::STAGE`].
    pub(super) finish: u8,
    /// Bytes of the payload.
    pub(super) size: u64,
}

/// Puts peers of one family on a tray.
pub(super) type Pick<A> = fn(&mut Pool<A>, &mut Tray<'_>, Rules<'_>, &mut fastrand::Rng);

/// Adds peers to `found`, those of the asker's own family first; another family's only while there is room. Returns how many records it has looked at.
pub(super) fn select(
    swarm: &mut Swarm,
    asker: &Asker,
    policy: Policy,
    rules: Rules<'_>,
    rng: &mut fastrand::Rng,
    found: &mut AnnounceReply,
) -> usize {
    let (mut room, mut looks) = (asker.want, 0);
    for v4 in [asker.ip.is_ipv4(), !asker.ip.is_ipv4()] {
        let mut tray = Tray::new(asker, v4 == asker.ip.is_ipv4(), room, found);
        if v4 {
            (policy.v4)(swarm.v4_mut(), &mut tray, rules, rng);
        } else {
            (policy.v6)(swarm.v6_mut(), &mut tray, rules, rng);
        }
        room = tray.room();
        looks += tray.looks();
    }
    looks
}

/// How many of `room` peers are taken from anywhere where a policy prefers some: enough that the swarm stays in one piece.
fn from_anywhere(room: usize) -> usize {
    (room / 4).max(4).min(room / 2)
}

#[cfg(test)]
mod graph;

#[cfg(test)]
mod tests {
    use super::super::commons::{Commons, Limits};
    use super::super::swarm::Report;
    use super::*;
    use crate::base::id::InfoHash;
    use std::collections::BTreeSet;
    use std::net::SocketAddr;

    fn swarm(seeders: u16, leechers: u16) -> Swarm {
        let mut swarm = Swarm::new(InfoHash([1; 20]), 0, 42, Policy::RANDOM, 0);
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

    fn commons() -> Commons {
        Commons::new(Limits::default(), 1)
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
        swarm.put(report, &Zones::default(), &commons(), 10);
    }

    fn asker(n: u16, want: usize) -> Asker {
        Asker {
            id: id(n),
            ip: [10, 0, 0, 1].into(),
            left: Left::new(Some(1)),
            want,
            with_ids: true,
            since: 0,
        }
    }

    fn ask(swarm: &mut Swarm, asker: &Asker, seed: u64) -> Vec<(SocketAddr, PeerId)> {
        let rules = Rules {
            zones: &Zones::default(),
            finish: 80,
            size: 1000,
        };
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut found = AnnounceReply::default();
        select(swarm, asker, Policy::RANDOM, rules, &mut rng, &mut found);
        found.peers.into_iter().zip(found.peer_ids).collect()
    }

    #[test]
    fn nobody_is_told_of_himself_or_twice_of_another() {
        for (seeders, leechers) in [(0, 1), (1, 0), (1, 1), (3, 20), (20, 3), (100, 100)] {
            let mut swarm = swarm(seeders, leechers);
            for seed in 0..50 {
                let me = u16::try_from(seed).unwrap() % (seeders + leechers);
                let found = ask(&mut swarm, &asker(me, 50), seed);
                let distinct: BTreeSet<_> = found.iter().map(|(_, id)| *id).collect();
                assert_eq!(distinct.len(), found.len());
                assert!(!distinct.contains(&id(me)));
                assert_eq!(found.len(), usize::from(seeders + leechers - 1).min(50));
            }
        }
    }

    #[test]
    fn a_leecher_is_told_of_the_only_seeder_and_a_seeder_of_no_seeder() {
        let mut swarm = swarm(1, 500);
        for seed in 0..50 {
            let found = ask(&mut swarm, &asker(7, 10), seed);
            assert_eq!(found.len(), 10);
            assert!(found.iter().any(|(_, found)| *found == id(0)));
            let seeder = Asker {
                left: Left::new(Some(0)),
                ..asker(999, 600)
            };
            assert!(
                ask(&mut swarm, &seeder, seed)
                    .iter()
                    .all(|(_, found)| *found != id(0))
            );
        }
    }

    #[test]
    fn everybody_has_a_chance() {
        let mut swarm = swarm(10, 300);
        let told: BTreeSet<_> = (0..400)
            .flat_map(|seed| ask(&mut swarm, &asker(0, 20), seed))
            .collect();
        assert_eq!(told.len(), 309);
    }

    #[test]
    fn addresses_that_lead_nowhere_are_not_told() {
        let mut swarm = Swarm::new(InfoHash([1; 20]), 0, 42, Policy::RANDOM, 0);
        for (n, ip) in [
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "ff02::1",
            "127.0.0.1",
            "::1",
            "169.254.1.1",
            "fe80::1",
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
        swarm.put(portless, &Zones::default(), &commons(), 10);
        portless.id = id(91);
        portless.port = 1;
        swarm.put(portless, &Zones::default(), &commons(), 10);
        let outside = ask(&mut swarm, &asker(50, 50), 1);
        assert_eq!(outside, [("10.0.0.9:1".parse().unwrap(), id(91))]);
        let local = Asker {
            ip: [127, 0, 0, 1].into(),
            ..asker(50, 50)
        };
        assert_eq!(ask(&mut swarm, &local, 1).len(), 3, "and both of loopback");
        let beside = Asker {
            ip: "fe80::2".parse().unwrap(),
            ..asker(50, 50)
        };
        assert_eq!(ask(&mut swarm, &beside, 1).len(), 3, "and both of the link");
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
            &Zones::default(),
            &commons(),
            500,
        );
        let late = Asker {
            since: 400,
            ..asker(50, 50)
        };
        assert_eq!(ask(&mut swarm, &late, 1).len(), 1);
    }

    #[test]
    fn the_own_family_comes_first_and_a_peer_with_both_is_told_once() {
        let mut swarm = swarm(0, 3);
        put(&mut swarm, 0, "2001:db8::1".parse().unwrap(), 1);
        put(&mut swarm, 5, "2001:db8::5".parse().unwrap(), 1);
        let found = ask(&mut swarm, &asker(50, 50), 1);
        assert_eq!(found.len(), 4);
        assert!(found.iter().take(3).all(|(addr, _)| addr.is_ipv4()));
        assert_eq!(found[3].1, id(5));
        assert!(
            ask(&mut swarm, &asker(50, 3), 1)
                .iter()
                .all(|(addr, _)| addr.is_ipv4())
        );
        let v6 = Asker {
            ip: "2001:db8::9".parse().unwrap(),
            ..asker(50, 50)
        };
        assert!(
            ask(&mut swarm, &v6, 1)
                .iter()
                .take(2)
                .all(|(addr, _)| addr.is_ipv6())
        );
    }
}

//! A swarm as statistics show it.

use std::net::SocketAddr;

use super::swarm::{PeerRecord, Swarm, percent};
use crate::base::id::InfoHash;
use crate::proto::tracker::SwarmStats;

/// Records of a swarm that are looked through at most; of a larger one the laggards shown are those among so many.
const LOOKED_AT: usize = 20_000;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmView {
    /// Which one.
    pub hash: InfoHash,
    /// Its counts.
    pub stats: SwarmStats,
    /// Seconds since it began.
    pub age: u32,
    /// How far each leecher is, in percent, judged by what it wants and by the size of the payload or, where that is not known, the most that anybody
    /// ever wanted; those who lag behind come first.
    pub progress: Vec<u8>,
    /// How many leechers are in each tenth of the way, of those that were looked at.
    pub tenths: [u32; 10],
    /// The peers in the same order; after the leechers, seeders as far as there is room.
    pub peers: Vec<PeerView>,
    /// Bytes a second that a leecher downloads on average; `None` while nobody has shown progress.
    pub rate: Option<u64>,
    /// Seconds until the last of the leechers is done if it downloads at that rate; `None` if nobody knows, 0 if there is none.
    pub remaining: Option<u64>,
}

/// One of its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Where others reach it. For the operator's eyes.
    pub addr: SocketAddr,
    /// How far it is; 100 means that it is a seeder.
    pub percent: u8,
    /// Seconds since it was last heard of.
    pub silent: u32,
}

impl SwarmView {
    /// Shows `swarm` with at most `limit` peers.
    #[cold]
    pub(super) fn of(swarm: &Swarm, limit: usize, now: u32) -> Self {
        let leechers: Vec<_> = swarm.leechers().take(LOOKED_AT).collect();
        let (size, mut tenths) = (swarm.size(), [0; 10]);
        for peer in &leechers {
            let tenth = usize::from(percent(peer.left, size)) / 10;
            if let Some(count) = tenths.get_mut(tenth.min(9)) {
                *count += 1;
            }
        }
        // Numbers instead of peers, since sorting them is code that is there anyway.
        let number = |(at, peer): (u64, &PeerRecord)| u64::from(!peer.left.rank()) << 32 | at;
        let mut order: Vec<u64> = (0..).zip(&leechers).map(number).collect();
        order.sort_unstable();
        order.truncate(limit);
        let at = |number: u64| usize::try_from(number & u64::from(u32::MAX)).ok();
        let leechers = order
            .into_iter()
            .filter_map(|n| leechers.get(at(n)?).copied());
        let leechers: Vec<_> = leechers.collect();
        let seeders = swarm.seeders().take(limit - leechers.len());
        let view = |peer: &PeerRecord| PeerView {
            addr: peer.addr,
            percent: percent(peer.left, size),
            silent: now.saturating_sub(peer.seen),
        };
        let seeders: Vec<_> = seeders.map(|peer| view(&peer)).collect();
        let most = leechers.iter().find_map(|peer| peer.left.bytes());
        let peers: Vec<_> = leechers.iter().map(view).chain(seeders).collect();
        let rate = swarm.rate();
        Self {
            hash: swarm.hash(),
            stats: swarm.stats(),
            age: swarm.age(now),
            progress: leechers
                .iter()
                .map(|peer| percent(peer.left, size))
                .collect(),
            tenths,
            peers,
            rate,
            remaining: match (most, rate) {
                (None, _) if leechers.is_empty() => Some(0),
                (Some(most), Some(rate)) if rate > 0 => Some(most.div_ceil(rate)),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::commons::{Commons, Limits};
    use super::super::policy::Policy;
    use super::super::swarm::Report;
    use super::super::zones::Zones;
    use super::*;
    use crate::base::id::PeerId;

    fn put(swarm: &mut Swarm, id: u8, left: u64, now: u32) {
        let commons = Commons::new(Limits::default(), 1);
        let report = Report {
            id: PeerId([id; 20]),
            ip: [10, 0, 0, id].into(),
            port: 6881,
            left: Some(left),
            completed: false,
        };
        swarm.put(report, &Zones::default(), &commons, now);
    }

    #[test]
    fn progress_is_told_with_the_laggards_first() {
        let mut swarm = Swarm::new(InfoHash([1; 20]), 0, 42, Policy::RANDOM, 0);
        for (id, left) in [(1, 1000), (2, 0), (3, 500), (4, 1), (5, 999)] {
            put(&mut swarm, id, left, 1);
        }
        let view = SwarmView::of(&swarm, 10, 11);
        assert_eq!((&view.progress[..], view.age), (&[0, 0, 50, 99][..], 11));
        let peer = |id: u8, percent| PeerView {
            addr: SocketAddr::from(([10, 0, 0, id], 6881)),
            percent,
            silent: 10,
        };
        let expected = [
            peer(1, 0),
            peer(5, 0),
            peer(3, 50),
            peer(4, 99),
            peer(2, 100),
        ];
        assert_eq!(view.peers, expected);
        let short = SwarmView::of(&swarm, 2, 11);
        assert_eq!(short.tenths, [2, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(
            (short.progress, short.peers),
            (vec![0, 0], expected[..2].to_vec())
        );
        assert_eq!(SwarmView::of(&swarm, 4, 11).peers, expected[..4]);
        swarm.set_size(2000);
        assert_eq!(SwarmView::of(&swarm, 10, 11).progress, [50, 50, 75, 99]);
    }

    #[test]
    fn the_end_is_foretold_from_what_the_leechers_have_done() {
        let mut swarm = Swarm::new(InfoHash([1; 20]), 0, 42, Policy::RANDOM, 0);
        assert_eq!(SwarmView::of(&swarm, 10, 0).remaining, Some(0));
        for id in 1..=4 {
            put(&mut swarm, id, 1000, 0);
        }
        let view = SwarmView::of(&swarm, 10, 0);
        assert_eq!((view.rate, view.remaining), (None, None));
        for second in (10..=80).step_by(10) {
            for id in 1..=4 {
                put(&mut swarm, id, 1000 - u64::from(second) * 10, second);
            }
        }
        let view = SwarmView::of(&swarm, 10, 80);
        assert_eq!((view.rate, view.remaining), (Some(10), Some(20)));
        for id in 1..=4 {
            put(&mut swarm, id, 0, 100);
        }
        assert_eq!(SwarmView::of(&swarm, 10, 100).remaining, Some(0));
    }

    #[test]
    fn a_large_swarm_is_shown_in_part() {
        let mut swarm = Swarm::new(InfoHash([1; 20]), 0, 42, Policy::RANDOM, 0);
        let commons = Commons::new(Limits::default(), 1);
        for n in 0..30_000_u32 {
            let mut id = [0; 20];
            id[..4].copy_from_slice(&n.to_be_bytes());
            let report = Report {
                id: PeerId(id),
                ip: std::net::Ipv4Addr::from_bits(n + (1 << 24)).into(),
                port: 6881,
                left: Some(u64::from(n) + 1),
                completed: false,
            };
            swarm.put(report, &Zones::default(), &commons, 0);
        }
        let view = SwarmView::of(&swarm, 1000, 0);
        assert_eq!((view.progress.len(), view.peers.len()), (1000, 1000));
        assert!(view.progress.is_sorted());
    }
}

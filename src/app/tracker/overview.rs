//! The state of things for statistics: sums, and the busiest swarms, never more than a bounded part of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::service::{Service, Statistics};
use crate::base::id::InfoHash;
use crate::core::tracker::SwarmView;
use crate::proto::tracker::SwarmStats;

/// How much is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Swarms.
    pub(super) swarms: usize,
    /// Peers of one swarm.
    pub(super) each: usize,
    /// Peers of all of them together.
    pub(super) peers: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Overview {
    pub(super) now: Statistics,
    /// Those with the most leechers first.
    pub(super) swarms: Vec<Shown>,
    /// Swarms that are not among them.
    pub(super) omitted: u64,
}

/// A swarm.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) view: SwarmView,
    /// The payload's name, where it is known.
    pub(super) name: Option<String>,
}

impl Overview {
    pub(super) fn of(service: &Service, extent: Extent) -> Self {
        let now = service.statistics();
        let busiest = busiest(service, extent.swarms);
        let (mut left, mut swarms) = (extent.peers, Vec::with_capacity(busiest.len()));
        for (hash, _) in busiest {
            // It may have gone meanwhile.
            if let Some(view) = service.view(hash, extent.each.min(left)) {
                left -= view.peers.len();
                let name = service.catalog().name(hash).map(str::to_owned);
                swarms.push(Shown { view, name });
            }
        }
        let omitted = now.totals.swarms.saturating_sub(swarms.len() as u64);
        Self {
            now,
            swarms,
            omitted,
        }
    }
}

/// The `n` swarms with the most leechers, of those with equally many the ones with the most seeders.
pub(super) fn busiest(service: &Service, n: usize) -> Vec<(InfoHash, SwarmStats)> {
    let mut best = BinaryHeap::with_capacity(n.min(1000) + 1);
    service.each_count(|hash, stats| {
        let rank = (stats.incomplete, stats.complete, Reverse(hash));
        best.push(Reverse((rank, stats.downloaded)));
        if best.len() > n {
            best.pop();
        }
    });
    let sorted = best.into_sorted_vec().into_iter();
    sorted
        .map(
            |Reverse(((incomplete, complete, Reverse(hash)), downloaded))| {
                let stats = SwarmStats {
                    complete,
                    downloaded,
                    incomplete,
                };
                (hash, stats)
            },
        )
        .collect()
}

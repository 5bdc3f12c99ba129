//! Which swarm goes when there is no room for a new peer.
//!
//! Whoever wants to crowd others out can say that it has everything, so a seeder alone proves nothing. What it cannot do is to come from many places: so
//! the swarms go first whose peers all come from a source that has far more peers than most, those of the largest first, seeders or not. Next go those without seeders, the
//! smallest and youngest first, since an old one has somebody who waits. Other swarms never go.

use super::commons::Commons;
use super::swarm::Swarm;
use super::table::Table;
use crate::base::id::InfoHash;

/// Swarms that are looked at to find one that may go.
const CANDIDATES: usize = 16;

/// The position of the one that should go, of a few taken at random; never that of `spare`.
pub(super) fn weakest(
    swarms: &Table<Swarm>,
    spare: InfoHash,
    commons: &Commons,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let len = swarms.len();
    let sample = (0..CANDIDATES.min(len)).map(|_| rng.usize(..len));
    let others = sample.filter_map(|at| Some((at, swarms.get(at)?)));
    let others = others.filter(|(_, swarm)| swarm.hash() != spare);
    let ranked = others.filter_map(|(at, swarm)| Some((rank(swarm, commons)?, at)));
    ranked.max().map(|(_, at)| at)
}

/// How much a swarm deserves to go; `None` if not at all.
fn rank(swarm: &Swarm, commons: &Commons) -> Option<(u32, bool, usize, u32)> {
    let source = swarm.only_source(commons);
    let crowd = source.filter(|&ip| commons.is_crowd(ip));
    let may_go = crowd.is_some() || swarm.stats().complete == 0;
    let smallness = usize::MAX - swarm.records();
    let crowd = crowd.map_or(0, |ip| commons.crowd(ip));
    may_go.then_some((crowd, source.is_some(), smallness, swarm.born()))
}

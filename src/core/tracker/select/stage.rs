//! Those of similar progress (R53), and seeders for whoever is nearly done (R54).

use std::net::SocketAddr;

use super::window::{Tray, Window};
use super::{Asker, from_anywhere};
use crate::base::id::PeerId;
use crate::core::tracker::pool::{Pool, STAGES};
use crate::core::tracker::record::Family;
use crate::core::tracker::swarm::Swarm;

/// Where the asker stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    /// Its level in a pool with stages.
    level: usize,
    /// It is to get seeders first.
    finishes: bool,
}

impl Goal {
    pub(super) fn of(swarm: &Swarm, asker: &Asker, finish: u8) -> Self {
        Self {
            level: swarm.level(asker.left, STAGES + 1),
            finishes: swarm.percent(asker.left) >= finish,
        }
    }
}

pub(super) fn pick<A: Family, F: FnMut(SocketAddr, PeerId)>(
    pool: &Pool<A>,
    tray: &mut Tray<'_, F>,
    goal: Goal,
    rng: &mut fastrand::Rng,
) {
    let (seeders, all) = (pool.seeders(), pool.len());
    let mut anybody = Window::new(seeders..all, rng);
    if goal.level == 0 {
        tray.take(pool, &mut anybody, usize::MAX, |_, _| true);
        return;
    }
    let mut windows: [Window; STAGES + 1] =
        std::array::from_fn(|level| Window::new(pool.range(level), rng));
    let first = if goal.finishes { tray.room() } else { 1 };
    take_level(pool, tray, &mut windows, 0, first);

    // Those of the asker's own level, and of others while they do not suffice.
    let others = from_anywhere(tray.room());
    let (mut low, mut high) = (goal.level, goal.level);
    for level in by_distance(goal.level) {
        let room = tray.room() - others.min(tray.room());
        if room == 0 {
            break;
        }
        (low, high) = (low.min(level), high.max(level));
        take_level(pool, tray, &mut windows, level, room);
    }
    let share = (tray.room() * seeders).div_ceil(all.max(1));
    take_level(pool, tray, &mut windows, 0, share);
    // What lies between has been told of.
    let between = pool.range(low).start..pool.range(high).end;
    tray.take(pool, &mut anybody, usize::MAX, |at, _| {
        !between.contains(&at)
    });
    // Where that is not enough, more of the same.
    for level in by_distance(goal.level).filter(|level| (low..=high).contains(level)) {
        take_level(pool, tray, &mut windows, level, usize::MAX);
    }
    take_level(pool, tray, &mut windows, 0, usize::MAX);
}

fn take_level<A: Family, F: FnMut(SocketAddr, PeerId)>(
    pool: &Pool<A>,
    tray: &mut Tray<'_, F>,
    windows: &mut [Window],
    level: usize,
    most: usize,
) {
    if let Some(window) = windows.get_mut(level) {
        tray.take(pool, window, most, |_, _| true);
    }
}

/// The levels of leechers, those next to `level` first.
fn by_distance(level: usize) -> impl Iterator<Item = usize> {
    let both = (1..=STAGES).flat_map(move |away| [level.wrapping_sub(away), level + away]);
    std::iter::once(level)
        .chain(both)
        .filter(|level| (1..=STAGES).contains(level))
}

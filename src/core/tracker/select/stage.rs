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
    let mut sources = Window::new(0..seeders, rng);
    let first = if goal.finishes { tray.room() } else { 1 };
    tray.take(pool, &mut sources, first, |_, _| true);

    let mut similar = tray.room() - from_anywhere(tray.room());
    let mut own = Window::new(pool.range(goal.level), rng);
    let mut taken = |tray: &mut Tray<'_, F>, window: &mut Window| {
        let before = tray.room();
        tray.take(pool, window, similar, |_, _| true);
        similar -= before - tray.room();
        similar > 0
    };
    let (mut low, mut high) = (goal.level, goal.level);
    let mut wanting = taken(tray, &mut own);
    while wanting && (low > 1 || high < pool.levels() - 1) {
        if low > 1 {
            low -= 1;
            wanting = taken(tray, &mut Window::new(pool.range(low), rng));
        }
        if wanting && high < pool.levels() - 1 {
            high += 1;
            wanting = taken(tray, &mut Window::new(pool.range(high), rng));
        }
    }
    let room = tray.room();
    let share = (room * seeders).div_ceil(all.max(1));
    tray.take(pool, &mut sources, share, |_, _| true);
    // What lies between has been told of.
    let between = pool.range(low).start..pool.range(high).end;
    tray.take(pool, &mut anybody, room, |at, _| !between.contains(&at));
    tray.take(pool, &mut own, usize::MAX, |_, _| true);
    tray.take(pool, &mut sources, usize::MAX, |_, _| true);
}

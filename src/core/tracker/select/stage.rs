//! Those of similar progress (R53), and seeders for whoever is nearly done (R54).

use super::window::{Tray, Window};
use super::{Rules, from_anywhere};
use crate::core::tracker::pool::{Pool, STAGES};
use crate::core::tracker::record::Family;
use crate::core::tracker::swarm::{level, percent};

pub(in super::super) fn pick<A: Family>(
    pool: &mut Pool<A>,
    tray: &mut Tray<'_>,
    rules: Rules<'_>,
    rng: &mut fastrand::Rng,
) {
    let left = tray.asker.left;
    let own = level(left, rules.size, STAGES + 1);
    let finishes = percent(left, rules.size) >= rules.finish;
    let (seeders, all) = (pool.seeders(), pool.len());
    let mut anybody = Window::new(seeders..all, rng);
    if own == 0 {
        tray.take(pool, &mut anybody, usize::MAX);
        return;
    }
    let mut windows: [Window; STAGES + 1] =
        std::array::from_fn(|level| Window::new(pool.range(level), rng));
    let first = if finishes { tray.room() } else { 1 };
    take_level(pool, tray, &mut windows, 0, first);

    // Those of the asker's own level, and of others while they do not suffice.
    let others = from_anywhere(tray.room());
    let (mut low, mut high) = (own, own);
    for level in by_distance(own) {
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
    tray.take_good(pool, &mut anybody, usize::MAX, &|at, _| {
        !between.contains(&at)
    });
    // Where that is not enough, more of the same.
    for level in by_distance(own).filter(|level| (low..=high).contains(level)) {
        take_level(pool, tray, &mut windows, level, usize::MAX);
    }
    take_level(pool, tray, &mut windows, 0, usize::MAX);
}

fn take_level<A: Family>(
    pool: &Pool<A>,
    tray: &mut Tray<'_>,
    windows: &mut [Window],
    level: usize,
    most: usize,
) {
    if let Some(window) = windows.get_mut(level) {
        tray.take(pool, window, most);
    }
}

/// The levels of leechers, those next to `level` first.
fn by_distance(level: usize) -> impl Iterator<Item = usize> {
    let both = (1..=STAGES).flat_map(move |away| [level.wrapping_sub(away), level + away]);
    std::iter::once(level)
        .chain(both)
        .filter(|level| (1..=STAGES).contains(level))
}

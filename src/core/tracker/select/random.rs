//! Anybody (R51).

use super::Rules;
use super::window::{Tray, Window};
use crate::core::tracker::pool::Pool;
use crate::core::tracker::record::Family;

/// Seeders and leechers in proportion; a little more of the one where there is too little of the other.
pub(in super::super) fn pick<A: Family>(
    pool: &mut Pool<A>,
    tray: &mut Tray<'_>,
    _: Rules<'_>,
    rng: &mut fastrand::Rng,
) {
    let (seeders, all) = (pool.seeders(), pool.len());
    let mut leechers = Window::new(seeders..all, rng);
    if tray.asker.left.is_nothing() {
        tray.take(pool, &mut leechers, usize::MAX);
        return;
    }
    let mut sources = Window::new(0..seeders, rng);
    let share = (tray.room() * seeders).div_ceil(all.max(1));
    tray.take(pool, &mut sources, share);
    tray.take(pool, &mut leechers, usize::MAX);
    tray.take(pool, &mut sources, usize::MAX);
}

//! Those of the same subnet first, then those of the same zone, and some from elsewhere (R52).

use std::net::SocketAddr;

use super::from_anywhere;
use super::window::{Tray, Window};
use crate::base::id::PeerId;
use crate::core::tracker::pool::Pool;
use crate::core::tracker::record::{Family, Record};
use crate::core::tracker::rings::Walk;
use crate::core::tracker::zones::Zones;

pub(super) fn pick<A: Family, F: FnMut(SocketAddr, PeerId)>(
    pool: &mut Pool<A>,
    tray: &mut Tray<'_, F>,
    zones: &Zones,
    rng: &mut fastrand::Rng,
) {
    let (seeders, all) = (pool.seeders(), pool.len());
    let leeches = !tray.asker.left.is_nothing();
    let mut sources = Window::new(if leeches { 0..seeders } else { 0..0 }, rng);
    let mut leechers = Window::new(seeders..all, rng);
    let zone = zones.of(tray.asker.ip);
    let home = A::from_ip(tray.asker.ip);
    let same_subnet = |r: &Record<A>| home.is_some_and(|ip| ip.subnet() == r.ip().subnet());
    let same_zone = |r: &Record<A>| zone.is_some() && zones.of(r.ip().ip()) == zone;

    tray.take_first(pool, &mut sources);
    let mut of_subnet = home.and_then(|ip| pool.subnet(ip));
    let mut of_zone = zone.and_then(|zone| pool.zone(zone));
    let near = tray.room() - from_anywhere(tray.room());
    // Those of the subnet are told of before those of the zone, which holds them, too.
    let mut round = |tray: &mut Tray<'_, F>, most| {
        let before = tray.room();
        let of_subnet = of_subnet.as_mut();
        let fits = |at, _: &Record<A>| leeches || at >= seeders;
        go(pool, tray, of_subnet, most, Pool::next_of_subnet, fits);
        let most = most - (before - tray.room());
        let fits = |at, record: &Record<A>| fits(at, record) && !same_subnet(record);
        go(pool, tray, of_zone.as_mut(), most, Pool::next_of_zone, fits);
    };
    round(tray, near);
    let elsewhere = |_, record: &Record<A>| !same_subnet(record) && !same_zone(record);
    let room = tray.room();
    let share = (room * seeders).div_ceil(all.max(1));
    tray.take(pool, &mut sources, share, elsewhere);
    tray.take(pool, &mut leechers, room, elsewhere);
    // Where nobody is elsewhere, there is more room for those at home.
    let room = tray.room();
    round(tray, room);
    tray.take(pool, &mut sources, usize::MAX, elsewhere);
    pool.rotate(of_subnet, of_zone);
}

/// Tells of up to `most` from a walk that are `good`.
fn go<A: Family, F: FnMut(SocketAddr, PeerId)>(
    pool: &Pool<A>,
    tray: &mut Tray<'_, F>,
    walk: Option<&mut Walk>,
    most: usize,
    next: impl Fn(&Pool<A>, &mut Walk) -> Option<usize>,
    good: impl Fn(usize, &Record<A>) -> bool,
) {
    let Some(walk) = walk else {
        return;
    };
    let mut ring = std::iter::from_fn(|| next(pool, walk));
    tray.take(pool, &mut ring, most, good);
}

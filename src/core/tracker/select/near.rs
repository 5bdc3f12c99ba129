//! Those of the same subnet first, then those of the same zone, and some from elsewhere (R52).

use super::window::{Tray, Window};
use super::{Rules, from_anywhere};
use crate::core::tracker::pool::{Neighbours, Pool};
use crate::core::tracker::record::{Family, Record};
use crate::core::tracker::rings::{Rings, Walk};
use crate::core::tracker::zones::Zone;

/// Rings of subnets and of zones.
#[derive(Debug)]
struct Near {
    subnets: Rings,
    zones: Rings,
}

/// What a pool needs for [`pick`].
pub(in super::super) fn neighbours() -> Box<dyn Neighbours> {
    Box::new(Near {
        subnets: Rings::new(),
        zones: Rings::new(),
    })
}

impl Neighbours for Near {
    fn push(&mut self, subnet: u128, zone: Option<Zone>) {
        self.subnets.push(Some(subnet));
        self.zones.push(zone.map(u128::from));
    }

    fn rejoin(&mut self, at: usize, subnet: u128, zone: Option<Zone>) {
        self.subnets.rejoin(at, Some(subnet));
        self.zones.rejoin(at, zone.map(u128::from));
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.subnets.swap(a, b);
        self.zones.swap(a, b);
    }

    fn remove(&mut self, at: usize) {
        self.subnets.remove(at);
        self.zones.remove(at);
    }

    fn heap(&self) -> usize {
        size_of::<Self>() + self.subnets.heap() + self.zones.heap()
    }

    fn growth(&self) -> usize {
        self.subnets.growth() + self.zones.growth()
    }

    fn rings(&self) -> [&Rings; 2] {
        [&self.subnets, &self.zones]
    }

    fn rings_mut(&mut self) -> [&mut Rings; 2] {
        [&mut self.subnets, &mut self.zones]
    }
}

pub(in super::super) fn pick<A: Family>(
    pool: &mut Pool<A>,
    tray: &mut Tray<'_>,
    Rules { zones, .. }: Rules<'_>,
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
    let Some([subnets, zoned]) = pool.rings() else {
        return;
    };
    let mut of_subnet = home.and_then(|ip| subnets.find(ip.subnet()));
    let mut of_zone = zone.and_then(|zone| zoned.find(zone.into()));
    let near = tray.room() - from_anywhere(tray.room());
    // Those of the subnet are told of before those of the zone, which holds them, too.
    let mut round = |tray: &mut Tray<'_>, most| {
        let before = tray.room();
        let fits = |at, _: &Record<A>| leeches || at >= seeders;
        go(pool, tray, subnets, of_subnet.as_mut(), most, &fits);
        let most = most - (before - tray.room());
        let fits = |at, record: &Record<A>| fits(at, record) && !same_subnet(record);
        go(pool, tray, zoned, of_zone.as_mut(), most, &fits);
    };
    round(tray, near);
    let elsewhere = |_, record: &Record<A>| !same_subnet(record) && !same_zone(record);
    let room = tray.room();
    let share = (room * seeders).div_ceil(all.max(1));
    tray.take_good(pool, &mut sources, share, &elsewhere);
    tray.take_good(pool, &mut leechers, room, &elsewhere);
    // Where nobody is elsewhere, there is more room for those at home.
    let room = tray.room();
    round(tray, room);
    tray.take_good(pool, &mut sources, usize::MAX, &elsewhere);
    let walks = [of_subnet, of_zone];
    for (rings, walk) in pool.rings_mut().into_iter().flatten().zip(walks) {
        walk.into_iter().for_each(|walk| rings.rotate(walk));
    }
}

/// Tells of up to `most` from a walk that are `good`.
fn go<A: Family>(
    pool: &Pool<A>,
    tray: &mut Tray<'_>,
    rings: &Rings,
    walk: Option<&mut Walk>,
    most: usize,
    good: &dyn Fn(usize, &Record<A>) -> bool,
) {
    let Some(walk) = walk else {
        return;
    };
    let mut ring = std::iter::from_fn(|| rings.next(walk));
    tray.take_good(pool, &mut ring, most, good);
}

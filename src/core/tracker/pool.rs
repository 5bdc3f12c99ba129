//! The records of a swarm that have addresses of one family, in an order that lets some be told of without looking through the rest.
//!
//! Seeders stand first, then leechers. Where peers are selected by stage, leechers stand in ten ranges by how much they still want; moving from one range
//! to the next is one swap. Where they are selected by network, rings hold those of a subnet and those of a zone together.

use std::ops::Range;

use super::policy::Policy;
use super::record::{Family, Left, Record};
use super::rings::{Rings, Walk};
use super::table::{Keyed, Table};
use super::zones::Zone;
use crate::base::id::PeerId;

/// Ranges of leechers where peers are selected by stage.
pub(super) const STAGES: usize = 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Pool<A> {
    table: Table<Record<A>>,
    ends: Ends,
    near: Option<Box<Near>>,
}

/// Where the levels end, all but the last: 0 is that of seeders, the rest are leechers, those that want least first.
#[derive(Debug)]
enum Ends {
    /// Seeders and leechers.
    Plain([u32; 1]),
    /// Seeders and leechers in stages.
    Stages(Box<[u32; STAGES]>),
}

/// Who is near whom.
#[derive(Debug)]
struct Near {
    subnets: Rings,
    zones: Rings,
}

impl Ends {
    fn all(&self) -> &[u32] {
        match self {
            Self::Plain(ends) => ends,
            Self::Stages(ends) => ends.as_slice(),
        }
    }

    fn all_mut(&mut self) -> &mut [u32] {
        match self {
            Self::Plain(ends) => ends,
            Self::Stages(ends) => ends.as_mut_slice(),
        }
    }
}

impl<A: Family> Pool<A> {
    pub(super) fn new(secret: u64, policy: Policy) -> Self {
        let near = || Near {
            subnets: Rings::new(),
            zones: Rings::new(),
        };
        Self {
            table: Table::new(secret),
            ends: match policy {
                Policy::Stage => Ends::Stages(Box::default()),
                Policy::Random | Policy::Near => Ends::Plain([0]),
            },
            near: (policy == Policy::Near).then(|| Box::new(near())),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn seeders(&self) -> usize {
        self.range(0).end
    }

    /// Number of levels: one of seeders, and one or ten of leechers.
    pub(super) fn levels(&self) -> usize {
        self.ends.all().len() + 1
    }

    /// The positions of a level.
    pub(super) fn range(&self, level: usize) -> Range<usize> {
        let ends = self.ends.all();
        let end = |level: usize| ends.get(level).map_or(self.len(), |&end| end as usize);
        level.checked_sub(1).map_or(0, end)..end(level)
    }

    /// The level of a position.
    pub(super) fn level(&self, at: usize) -> usize {
        let over = |end: &&u32| **end as usize <= at;
        self.ends.all().iter().take_while(over).count()
    }

    pub(super) fn record(&self, at: usize) -> Option<&Record<A>> {
        self.table.get(at)
    }

    /// All records, seeders first.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record<A>> {
        self.table.iter()
    }

    pub(super) fn get(&self, id: PeerId) -> Option<&Record<A>> {
        self.table.get(self.find(id)?)
    }

    pub(super) fn find(&self, id: PeerId) -> Option<usize> {
        self.table.find(&id.0)
    }

    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        let near = self.near.as_ref().map_or(0, |near| {
            size_of::<Near>() + near.subnets.heap() + near.zones.heap()
        });
        let ends = match self.ends {
            Ends::Plain(_) => 0,
            Ends::Stages(_) => size_of::<[u32; STAGES]>(),
        };
        self.table.heap() + ends + near
    }

    /// Bytes of heap that one more record may cost.
    pub(super) fn growth(&self) -> usize {
        let near = self.near.as_ref();
        self.table.growth() + near.map_or(0, |near| near.subnets.growth() + near.zones.growth())
    }

    /// Adds or refreshes a record, which belongs into `level`. Returns where it was before.
    pub(super) fn put(
        &mut self,
        record: Record<A>,
        level: usize,
        zone: Option<Zone>,
        now: u32,
    ) -> Option<A> {
        let (ip, left) = (record.ip(), record.left());
        let Some(at) = self.table.find(record.key()) else {
            let at = self.table.push(record);
            if let Some(near) = &mut self.near {
                near.subnets.push(Some(ip.subnet()));
                near.zones.push(zone.map(u128::from));
            }
            self.settle(at, level);
            return None;
        };
        let old = self.table.get_mut(at)?;
        let before = old.ip();
        old.refresh(ip, record.port(), now);
        if let Some(near) = &mut self.near
            && before != ip
        {
            near.subnets.rejoin(at, Some(ip.subnet()));
            near.zones.rejoin(at, zone.map(u128::from));
        }
        self.set_left(at, left, level);
        Some(before)
    }

    /// Notes what the peer at `at` wants, which belongs into `level`.
    pub(super) fn set_left(&mut self, at: usize, left: Left, level: usize) {
        if let Some(record) = self.table.get_mut(at) {
            record.set_left(left);
        }
        self.settle(at, level);
    }

    /// Moves the record at `at` to where its level stands: one swap for each level on the way. Returns where it stands then.
    fn settle(&mut self, mut at: usize, level: usize) -> usize {
        let mut from = self.level(at);
        while from != level {
            let ends = self.ends.all_mut();
            let to = if from > level {
                from -= 1;
                ends[from] += 1;
                ends[from] - 1
            } else {
                ends[from] -= 1;
                from += 1;
                ends[from - 1]
            };
            self.swap(at, to as usize);
            at = to as usize;
        }
        at
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.table.swap(a, b);
        if let Some(near) = self.near.as_mut().filter(|_| a != b) {
            near.subnets.swap(a, b);
            near.zones.swap(a, b);
        }
    }

    pub(super) fn remove(&mut self, at: usize) -> Record<A> {
        // Only one of the last level may leave its place to the last record.
        let at = self.settle(at, self.levels() - 1);
        if let Some(near) = &mut self.near {
            near.subnets.remove(at);
            near.zones.remove(at);
        }
        self.table.remove(at)
    }

    /// Lets `change` at the record of `id`, if there is one.
    pub(super) fn with(&mut self, id: PeerId, change: impl FnOnce(&mut Record<A>)) {
        if let Some(record) = self.find(id).and_then(|at| self.table.get_mut(at)) {
            change(record);
        }
    }

    /// Takes out every record that was not refreshed since `since`, and tells of each. Returns when the oldest one left was.
    pub(super) fn sweep(&mut self, since: u32, mut gone: impl FnMut(&Record<A>)) -> u32 {
        let mut oldest = u32::MAX;
        let mut at = self.len();
        // From the end, for what takes the place of a removed record has been looked at already.
        while at > 0 {
            at -= 1;
            let Some(seen) = self.table.get(at).map(Record::seen) else {
                break;
            };
            if seen < since {
                gone(&self.remove(at));
            } else {
                oldest = oldest.min(seen);
            }
        }
        oldest
    }

    /// The ring of the subnet of `ip`, if anybody is in it.
    pub(super) fn subnet(&self, ip: A) -> Option<Walk> {
        self.near.as_ref()?.subnets.find(ip.subnet())
    }

    /// The ring of a zone, if anybody is in it.
    pub(super) fn zone(&self, zone: Zone) -> Option<Walk> {
        self.near.as_ref()?.zones.find(zone.into())
    }

    /// The next position of a ring that [`Pool::subnet`] has found.
    pub(super) fn next_of_subnet(&self, walk: &mut Walk) -> Option<usize> {
        self.near.as_ref()?.subnets.next(walk)
    }

    /// The next position of a ring that [`Pool::zone`] has found.
    pub(super) fn next_of_zone(&self, walk: &mut Walk) -> Option<usize> {
        self.near.as_ref()?.zones.next(walk)
    }

    /// Lets the next walks begin where these have ended.
    pub(super) fn rotate(&mut self, subnet: Option<Walk>, zone: Option<Walk>) {
        if let Some(near) = &mut self.near {
            subnet
                .into_iter()
                .for_each(|walk| near.subnets.rotate(walk));
            zone.into_iter().for_each(|walk| near.zones.rotate(walk));
        }
    }

    /// Puts every record into the ring of its zone, after zones have changed.
    pub(super) fn rezone(&mut self, zone: impl Fn(A) -> Option<Zone>) {
        let Some(near) = &mut self.near else {
            return;
        };
        for (at, record) in self.table.iter().enumerate() {
            near.zones.rejoin(at, zone(record.ip()).map(u128::from));
        }
    }
}

//! The records of a swarm that have addresses of one family, in an order that lets some be told of without looking through the rest.
//!
//! Seeders stand first, then leechers. Where peers are selected by stage, leechers stand in ten ranges by how much they still want; moving from one range
//! to the next is one swap. Where they are selected by network, rings hold those of a subnet and those of a zone together.

use std::fmt;
use std::ops::Range;

use super::policy::Policy;
use super::record::{Family, Left, Record};
use super::rings::Rings;
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
    near: Option<Box<dyn Neighbours>>,
}

/// Where the levels end, all but the last: 0 is that of seeders, the rest are leechers, those that want least first.
#[derive(Debug)]
enum Ends {
    /// Seeders and leechers.
    Plain([u32; 1]),
    /// Seeders and leechers in stages.
    Stages(Box<[u32; STAGES]>),
}

/// What knows who is near whom, where that matters. Entries are known by their positions in the pool, as in [`Rings`].
pub(super) trait Neighbours: fmt::Debug + Send {
    /// Adds the record of the next position.
    fn push(&mut self, subnet: u128, zone: Option<Zone>);
    /// The record at `at` is elsewhere.
    fn rejoin(&mut self, at: usize, subnet: u128, zone: Option<Zone>);
    /// Two records change places.
    fn swap(&mut self, a: usize, b: usize);
    /// The record at `at` goes; the last one takes its place.
    fn remove(&mut self, at: usize);
    /// Bytes of heap, nearly.
    fn heap(&self) -> usize;
    /// Bytes of heap that one more record may cost, nearly.
    fn growth(&self) -> usize;
    /// Those of subnets and those of zones.
    fn rings(&self) -> [&Rings; 2];
    /// The same, to be changed.
    fn rings_mut(&mut self) -> [&mut Rings; 2];
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
        Self {
            table: Table::new(secret),
            ends: if policy.stages {
                Ends::Stages(Box::default())
            } else {
                Ends::Plain([0])
            },
            near: policy.neighbours.map(|make| make()),
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
        let near = self.near.as_ref().map_or(0, |near| near.heap());
        let ends = match self.ends {
            Ends::Plain(_) => 0,
            Ends::Stages(_) => size_of::<[u32; STAGES]>(),
        };
        self.table.heap() + ends + near
    }

    /// Bytes of heap that one more record may cost.
    pub(super) fn growth(&self) -> usize {
        self.table.growth() + self.near.as_ref().map_or(0, |near| near.growth())
    }

    /// Adds or refreshes a record, which belongs into `level`. Returns where it stands, and what it was before.
    pub(super) fn put(
        &mut self,
        record: Record<A>,
        level: usize,
        zone: Option<Zone>,
        now: u32,
    ) -> (usize, Option<Record<A>>) {
        let ip = record.ip();
        let Some(at) = self.table.find(record.key()) else {
            let at = self.table.push(record);
            if let Some(near) = &mut self.near {
                near.push(ip.subnet(), zone);
            }
            return (self.settle(at, level), None);
        };
        let before = self.table.get_mut(at).map(|old| {
            let before = *old;
            old.refresh(ip, record.port(), now);
            before
        });
        if let Some(near) = &mut self.near
            && before.is_some_and(|before| before.ip() != ip)
        {
            near.rejoin(at, ip.subnet(), zone);
        }
        (self.set_left(at, record.left(), level), before)
    }

    /// Notes what the peer at `at` wants, which belongs into `level`. Returns where it stands then.
    pub(super) fn set_left(&mut self, at: usize, left: Left, level: usize) -> usize {
        if let Some(record) = self.table.get_mut(at) {
            record.set_left(left);
        }
        self.settle(at, level)
    }

    /// Sets the flags of the record at `at`; having completed stays.
    pub(super) fn mark(&mut self, at: usize, completed: bool, dual: bool) {
        if let Some(record) = self.table.get_mut(at) {
            if completed {
                record.set_completed();
            }
            record.set_dual(dual);
        }
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
            near.swap(a, b);
        }
    }

    pub(super) fn remove(&mut self, at: usize) -> Record<A> {
        // Only one of the last level may leave its place to the last record.
        let at = self.settle(at, self.levels() - 1);
        if let Some(near) = &mut self.near {
            near.remove(at);
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

    /// Rings of subnets and of zones, if there are any.
    pub(super) fn rings(&self) -> Option<[&Rings; 2]> {
        self.near.as_ref().map(|near| near.rings())
    }

    /// The same, to be changed.
    pub(super) fn rings_mut(&mut self) -> Option<[&mut Rings; 2]> {
        self.near.as_mut().map(|near| near.rings_mut())
    }

    /// Puts every record into the ring of its zone, after zones have changed.
    pub(super) fn rezone(&mut self, zone: impl Fn(A) -> Option<Zone>) {
        let Some(near) = &mut self.near else {
            return;
        };
        for (at, record) in self.table.iter().enumerate() {
            near.rejoin(at, record.ip().subnet(), zone(record.ip()));
        }
    }
}

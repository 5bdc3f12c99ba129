//! What all policies take peers with: windows of positions, and a tray that knows who fits.

use std::ops::Range;

use super::Asker;
use crate::core::tracker::pool::Pool;
use crate::core::tracker::record::{Family, Record};
use crate::proto::tracker::AnnounceReply;

/// What has been found for an asker in one pool.
#[derive(Debug)]
pub(in super::super) struct Tray<'a> {
    pub(super) asker: &'a Asker,
    /// Whether the pool is that of the asker's family. In the other one, peers that have a record in both are passed over.
    pub(super) own: bool,
    room: usize,
    /// A position that has been told of out of turn.
    skip: Option<usize>,
    /// How many positions have been looked at.
    looks: usize,
    found: &'a mut AnnounceReply,
}

impl<'a> Tray<'a> {
    pub(super) const fn new(
        asker: &'a Asker,
        own: bool,
        room: usize,
        found: &'a mut AnnounceReply,
    ) -> Self {
        Self {
            asker,
            own,
            room,
            skip: None,
            looks: 0,
            found,
        }
    }

    /// How many positions it has cost so far.
    pub(super) const fn looks(&self) -> usize {
        self.looks
    }

    /// How many more are wanted.
    pub(super) const fn room(&self) -> usize {
        self.room
    }

    /// Tells of the record at `at` if it fits; whether it did.
    fn offer<A: Family>(&mut self, record: &Record<A>, at: usize) -> bool {
        let fits = record.seen() >= self.asker.since
            && (self.own || !record.dual())
            && self.skip != Some(at)
            && record.may_be_told_to(self.asker.ip)
            && record.id() != self.asker.id;
        if fits {
            self.found.peers.push(record.addr());
            if self.asker.with_ids {
                self.found.peer_ids.push(record.id());
            }
            self.room -= 1;
        }
        fits
    }

    /// Tells of one from a window, which later windows may hold, too.
    pub(super) fn take_first<A: Family>(&mut self, pool: &Pool<A>, window: &mut Window) {
        if self.room > 0 {
            let mut few = window.take(LOOKS);
            self.skip = few.find(|&at| pool.record(at).is_some_and(|r| self.offer(r, at)));
        }
    }

    /// Tells of up to `most` that a window holds.
    pub(super) fn take<A: Family>(&mut self, pool: &Pool<A>, window: &mut Window, most: usize) {
        self.gather(pool, window, most, |_, _| true);
    }

    /// Tells of up to `most` of these positions that are `good`.
    pub(super) fn take_good<A: Family>(
        &mut self,
        pool: &Pool<A>,
        mut positions: &mut dyn Iterator<Item = usize>,
        most: usize,
        good: &dyn Fn(usize, &Record<A>) -> bool,
    ) {
        self.gather(pool, &mut positions, most, good);
    }

    fn gather<A: Family>(
        &mut self,
        pool: &Pool<A>,
        positions: &mut impl Iterator<Item = usize>,
        most: usize,
        good: impl Fn(usize, &Record<A>) -> bool,
    ) {
        let most = most.min(self.room);
        let (mut taken, mut looks) = (0, reach(most));
        while taken < most && looks > 0 {
            let Some(at) = positions.next() else {
                break;
            };
            looks -= 1;
            self.looks += 1;
            let record = pool.record(at).filter(|record| good(at, record));
            taken += usize::from(record.is_some_and(|record| self.offer(record, at)));
        }
    }
}

/// Records that are looked at for one.
const LOOKS: usize = 16;

/// How many records are looked at to find `room` that fit.
const fn reach(room: usize) -> usize {
    room.saturating_mul(2).saturating_add(LOOKS)
}

/// Goes round a range of positions once, from a random place.
#[derive(Clone, Debug)]
pub(super) struct Window {
    range: Range<usize>,
    at: usize,
    left: usize,
}

impl Window {
    pub(super) fn new(range: Range<usize>, rng: &mut fastrand::Rng) -> Self {
        let at = if range.is_empty() {
            range.start
        } else {
            rng.usize(range.clone())
        };
        Self {
            left: range.len(),
            at,
            range,
        }
    }
}

impl Iterator for Window {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let at = self.at;
        self.at = if at + 1 == self.range.end {
            self.range.start
        } else {
            at + 1
        };
        Some(at)
    }
}

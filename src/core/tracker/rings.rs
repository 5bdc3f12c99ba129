//! Entries of a pool by what they have in common (a subnet, a zone): each lot is a ring, which is handed out a stretch at a time.
//!
//! Entries are known by their positions. A ring remembers where the last stretch ended, so that all of it are told in turn and nobody has to look
//! through it. Joining, leaving and changing places cost the same whatever the size.

use std::collections::HashMap;

use super::segments::Segments;

/// No position, no ring.
const NONE: u32 = u32::MAX;

/// Twelve bytes for each entry.
#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    previous: u32,
    ring: u32,
}

const LOOSE: Link = Link {
    next: NONE,
    previous: NONE,
    ring: NONE,
};

#[derive(Clone, Copy, Debug)]
struct Ring {
    key: u128,
    /// Where the next stretch begins.
    head: u32,
    len: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Rings {
    links: Segments<Link>,
    rings: Vec<Ring>,
    /// Rings that have become empty.
    free: Vec<u32>,
    by_key: HashMap<u128, u32>,
}

impl Rings {
    pub(super) fn new() -> Self {
        Self {
            links: Segments::new(),
            rings: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
        }
    }

    /// Bytes of heap, nearly.
    pub(super) fn heap(&self) -> usize {
        let by_key = self.by_key.capacity() * (size_of::<(u128, u32)>() + 1) * 8 / 7;
        self.links.heap()
            + self.rings.capacity() * size_of::<Ring>()
            + self.free.capacity() * size_of::<u32>()
            + by_key
    }

    /// Bytes of heap that one more entry may cost, nearly.
    pub(super) const fn growth(&self) -> usize {
        self.links.growth() + size_of::<Ring>() + size_of::<(u128, u32)>()
    }

    /// Adds the entry of the next position, to the ring of `key` if there is one.
    pub(super) fn push(&mut self, key: Option<u128>) {
        let at = self.links.len();
        self.links.push(LOOSE);
        self.join(at, key);
    }

    /// Takes out the entry at `at`; the last one takes its place.
    pub(super) fn remove(&mut self, at: usize) {
        let last = self.links.len() - 1;
        self.swap(at, last);
        self.leave(last);
        self.links.pop();
    }

    /// Moves the entry at `at` to the ring of `key`.
    pub(super) fn rejoin(&mut self, at: usize, key: Option<u128>) {
        if self.key(at) != key {
            self.leave(at);
            self.join(at, key);
        }
    }

    /// Lets two entries change places.
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        let (key_a, key_b) = (self.key(a), self.key(b));
        if a == b || (key_a.is_none() && key_b.is_none()) {
            return;
        }
        self.leave(a);
        self.leave(b);
        self.join(a, key_b);
        self.join(b, key_a);
    }

    /// The ring of `key`, if anybody is in it.
    pub(super) fn find(&self, key: u128) -> Option<Walk> {
        let ring = *self.by_key.get(&key)?;
        let Ring { head, len, .. } = *self.rings.get(ring as usize)?;
        Some(Walk {
            ring,
            at: head,
            left: len,
        })
    }

    /// The next position on a walk round a ring; `None` when it has been round.
    pub(super) fn next(&self, walk: &mut Walk) -> Option<usize> {
        walk.left = walk.left.checked_sub(1)?;
        let at = walk.at as usize;
        walk.at = self.links.get(at)?.next;
        Some(at)
    }

    /// Lets the next walk begin where this one has ended.
    pub(super) fn rotate(&mut self, walk: Walk) {
        if let Some(ring) = self.rings.get_mut(walk.ring as usize) {
            ring.head = walk.at;
        }
    }

    fn key(&self, at: usize) -> Option<u128> {
        let ring = self.links.get(at)?.ring;
        self.rings.get(ring as usize).map(|ring| ring.key)
    }

    /// Behind all others: it is the last to be told of.
    fn join(&mut self, at: usize, key: Option<u128>) {
        let Some(key) = key else {
            return;
        };
        let new = narrow(at);
        let Some(&id) = self.by_key.get(&key) else {
            let ring = self.begin(Ring {
                key,
                head: new,
                len: 1,
            });
            self.set(
                at,
                Link {
                    next: new,
                    previous: new,
                    ring,
                },
            );
            return;
        };
        let Some(ring) = self.rings.get_mut(id as usize) else {
            return;
        };
        ring.len += 1;
        let next = ring.head;
        let previous = self
            .links
            .get(next as usize)
            .map_or(next, |link| link.previous);
        let link = Link {
            next,
            previous,
            ring: id,
        };
        self.set(at, link);
        self.change(previous, |link| link.next = new);
        self.change(next, |link| link.previous = new);
    }

    fn begin(&mut self, ring: Ring) -> u32 {
        let id = self.free.pop().unwrap_or(narrow(self.rings.len()));
        self.by_key.insert(ring.key, id);
        match self.rings.get_mut(id as usize) {
            Some(place) => *place = ring,
            None => self.rings.push(ring),
        }
        id
    }

    fn leave(&mut self, at: usize) {
        let Some(&link) = self.links.get(at).filter(|link| link.ring != NONE) else {
            return;
        };
        self.change(link.previous, |before| before.next = link.next);
        self.change(link.next, |after| after.previous = link.previous);
        self.set(at, LOOSE);
        let Some(ring) = self.rings.get_mut(link.ring as usize) else {
            return;
        };
        ring.len -= 1;
        if ring.len == 0 {
            self.by_key.remove(&ring.key);
            self.free.push(link.ring);
        } else if ring.head == narrow(at) {
            ring.head = link.next;
        }
    }

    fn set(&mut self, at: usize, link: Link) {
        if let Some(place) = self.links.get_mut(at) {
            *place = link;
        }
    }

    fn change(&mut self, at: u32, change: impl FnOnce(&mut Link)) {
        if let Some(link) = self.links.get_mut(at as usize) {
            change(link);
        }
    }
}

/// On the way round a ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    ring: u32,
    at: u32,
    left: u32,
}

fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_ring_holds_those_of_its_key_and_nobody_else() {
        let mut rng = fastrand::Rng::with_seed(4);
        let (mut rings, mut model) = (Rings::new(), Vec::<Option<u128>>::new());
        for _ in 0..20_000 {
            let key = rng.bool().then(|| rng.u128(..5));
            let (a, b) = (rng.usize(..40), rng.usize(..40));
            match rng.u8(..5) {
                0 | 1 if model.len() < 40 => {
                    rings.push(key);
                    model.push(key);
                }
                2 if a < model.len() => {
                    rings.remove(a);
                    model.swap_remove(a);
                }
                3 if a < model.len() && b < model.len() => {
                    rings.swap(a, b);
                    model.swap(a, b);
                }
                4 if a < model.len() => {
                    rings.rejoin(a, key);
                    if let Some(place) = model.get_mut(a) {
                        *place = key;
                    }
                }
                _ => {}
            }
            for key in 0..5 {
                let mut walk = rings.find(key);
                let positions = std::iter::from_fn(|| rings.next(walk.as_mut()?));
                let positions: Vec<_> = positions.collect();
                let expected = (0..model.len()).filter(|&at| model[at] == Some(key));
                let distinct: BTreeSet<_> = positions.iter().copied().collect();
                assert_eq!(distinct.len(), positions.len());
                assert_eq!(distinct, expected.collect());
            }
            if let Some(mut walk) = rings.find(rng.u128(..5)) {
                for _ in 0..rng.usize(..4) {
                    rings.next(&mut walk);
                }
                rings.rotate(walk);
            }
        }
        assert!(rings.rings.len() <= 5, "rings are used again");
    }

    #[test]
    fn stretches_follow_each_other() {
        let mut rings = Rings::new();
        for _ in 0..6 {
            rings.push(Some(1));
        }
        let mut told = Vec::new();
        for _ in 0..3 {
            let mut walk = rings.find(1).unwrap();
            told.extend([
                rings.next(&mut walk).unwrap(),
                rings.next(&mut walk).unwrap(),
            ]);
            rings.rotate(walk);
        }
        told.sort_unstable();
        assert_eq!(told, [0, 1, 2, 3, 4, 5]);
    }
}

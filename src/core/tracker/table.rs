//! A set of entries, each under a key of 20 bytes: dense, so that a window of it can be handed out, and with an index, so that one is found at once.
//!
//! The entries stand one after the other, in an order that the owner may use ([`Table::swap`]). Keys are chosen by strangers, so they are mixed with a
//! secret before they choose a slot of the index.
//!
//! A slot holds a position, and in the bits that the position leaves free a mark of the key, so that a search rarely looks at an entry in vain. Slots
//! have two bytes up to 65,536 of them, four beyond, and are 40 to 81 % in use: 2.5 to 5 bytes for an entry in small tables, 5 to 10 in large ones.

use super::segments::Segments;

/// An entry that knows its key.
pub(super) trait Keyed {
    /// The key; never changes while the entry is in a table.
    fn key(&self) -> &[u8; 20];
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Segments<T>,
    slots: Slots,
    secret: u64,
}

/// A power of two of slots.
#[derive(Debug)]
enum Slots {
    /// None, while a walk over the entries is as fast.
    None,
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

/// A slot without an entry. Never a position with its mark, since the last position is never reached.
const EMPTY: u32 = u32::MAX;

/// Up to so many entries are looked through one by one.
const FEW: usize = 8;

/// So many slots still have two bytes.
const NARROW: usize = 1 << 16;

impl Slots {
    fn new(slots: usize) -> Self {
        if slots <= NARROW {
            Self::Narrow(vec![u16::MAX; slots].into())
        } else {
            Self::Wide(vec![EMPTY; slots].into())
        }
    }

    const fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Narrow(slots) => slots.len(),
            Self::Wide(slots) => slots.len(),
        }
    }

    const fn heap(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Narrow(slots) => slots.len() * 2,
            Self::Wide(slots) => slots.len() * 4,
        }
    }

    /// What the slot holds, or [`EMPTY`].
    fn get(&self, slot: usize) -> u32 {
        match self {
            Self::None => EMPTY,
            Self::Narrow(slots) => match slots[slot] {
                u16::MAX => EMPTY,
                held => held.into(),
            },
            Self::Wide(slots) => slots[slot],
        }
    }

    /// `held` fits, or is [`EMPTY`].
    fn set(&mut self, slot: usize, held: u32) {
        match self {
            Self::None => {}
            Self::Narrow(slots) => slots[slot] = u16::try_from(held).unwrap_or(u16::MAX),
            Self::Wide(slots) => slots[slot] = held,
        }
    }

    /// The mark of a key with this hash, in the bits that a position leaves free.
    fn mark(&self, hash: u64) -> u32 {
        let high = (hash >> 32) as u32;
        let mask = u32::try_from(self.len() - 1).unwrap_or(u32::MAX);
        match self {
            Self::None => 0,
            Self::Narrow(_) => high & 0xffff & !mask,
            Self::Wide(_) => high & !mask,
        }
    }
}

impl<T: Keyed> Table<T> {
    /// An empty table, which takes no heap.
    pub(super) const fn new(secret: u64) -> Self {
        Self {
            entries: Segments::new(),
            slots: Slots::None,
            secret,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.entries.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.entries.get_mut(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter()
    }

    /// Bytes of heap, without what entries have of their own.
    pub(super) const fn heap(&self) -> usize {
        self.entries.heap() + self.slots.heap()
    }

    /// Bytes of heap that one more entry may cost.
    pub(super) fn growth(&self) -> usize {
        let slots = match self.len() + 1 {
            n if n > FEW && self.is_crowded(n) => {
                let slots = Self::slots_for(n);
                let each = if slots <= NARROW { 2 } else { 4 };
                (slots * each).saturating_sub(self.slots.heap())
            }
            _ => 0,
        };
        self.entries.growth() + slots
    }

    /// Where the entry with this key stands.
    pub(super) fn find(&self, key: &[u8; 20]) -> Option<usize> {
        if self.slots.len() == 0 {
            return self.entries.iter().position(|entry| entry.key() == key);
        }
        let hash = mix(self.secret, key);
        let (mask, mark) = (self.mask(), self.slots.mark(hash));
        let mut slot = home(hash, mask);
        loop {
            let held = self.slots.get(slot);
            if held == EMPTY {
                return None;
            }
            let at = held as usize & mask;
            if held & !(mask as u32) == mark && self.is_at(at, key) {
                return Some(at);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn is_at(&self, at: usize, key: &[u8; 20]) -> bool {
        self.entries.get(at).is_some_and(|entry| entry.key() == key)
    }

    /// Adds an entry whose key is not in the table, at the end. Returns where it stands.
    pub(super) fn push(&mut self, entry: T) -> usize {
        let at = self.len();
        self.entries.push(entry);
        if self.len() > FEW {
            if self.is_crowded(self.len()) {
                self.rebuild();
            } else {
                self.link(at);
            }
        }
        at
    }

    /// Takes out the entry at `at`; the last one takes its place.
    pub(super) fn remove(&mut self, at: usize) -> T {
        let last = self.len() - 1;
        self.swap(at, last);
        self.unlink(last);
        let entry = self.entries.pop().expect("there is an entry at `at`");
        if self.len() <= FEW {
            self.slots = Slots::None;
        } else if self.slots.len() > self.len() * 16 {
            self.rebuild();
        }
        entry
    }

    /// Lets two entries change places.
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        if self.slots.len() > 0 {
            let (slot_a, slot_b) = (self.slot_of(a), self.slot_of(b));
            let (held_a, held_b) = (self.slots.get(slot_a), self.slots.get(slot_b));
            // The marks belong to the slots' keys, and stay.
            let positions = (held_a ^ held_b) & self.mask() as u32;
            self.slots.set(slot_a, held_a ^ positions);
            self.slots.set(slot_b, held_b ^ positions);
        }
        self.entries.swap(a, b);
    }

    /// The slot that holds position `at`.
    fn slot_of(&self, at: usize) -> usize {
        let mask = self.mask();
        let mut slot = home(self.hash_at(at), mask);
        while self.slots.get(slot) as usize & mask != at {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn link(&mut self, at: usize) {
        let (hash, mask) = (self.hash_at(at), self.mask());
        let mut slot = home(hash, mask);
        while self.slots.get(slot) != EMPTY {
            slot = (slot + 1) & mask;
        }
        let position = u32::try_from(at).expect("fewer entries than 2^32, by the bound on memory");
        self.slots.set(slot, position | self.slots.mark(hash));
    }

    /// Frees the slot of position `at`, and moves those up that had to go past it: so no slot has to be marked as left.
    fn unlink(&mut self, at: usize) {
        if self.slots.len() == 0 {
            return;
        }
        let mask = self.mask();
        let mut hole = self.slot_of(at);
        let mut slot = hole;
        loop {
            slot = (slot + 1) & mask;
            let next = self.slots.get(slot);
            if next == EMPTY {
                break;
            }
            let home = home(self.hash_at(next as usize & mask), mask);
            // Whether the hole lies on the way from its home to where it stands.
            if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(hole) & mask) {
                self.slots.set(hole, next);
                hole = slot;
            }
        }
        self.slots.set(hole, EMPTY);
    }

    #[cold]
    fn rebuild(&mut self) {
        // The old ones go before the new ones come.
        self.slots = Slots::None;
        self.slots = Slots::new(Self::slots_for(self.len()));
        for at in 0..self.len() {
            self.link(at);
        }
    }

    /// Whether `n` entries are more than thirteen sixteenths of the slots: beyond that a search in vain takes too long.
    const fn is_crowded(&self, n: usize) -> bool {
        n * 16 > self.slots.len() * 13
    }

    const fn slots_for(n: usize) -> usize {
        (n * 16 / 13 + 1).next_power_of_two()
    }

    const fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    fn hash_at(&self, at: usize) -> u64 {
        let entry = self.entries.get(at);
        mix(self.secret, entry.expect("a position of an entry").key())
    }
}

fn home(hash: u64, mask: usize) -> usize {
    hash as usize & mask
}

/// Folds `key` and `secret` into a number that nobody can foresee who does not know the secret.
pub(super) fn mix(secret: u64, key: &[u8; 20]) -> u64 {
    let [
        a0,
        a1,
        a2,
        a3,
        a4,
        a5,
        a6,
        a7,
        b0,
        b1,
        b2,
        b3,
        b4,
        b5,
        b6,
        b7,
        c0,
        c1,
        c2,
        c3,
    ] = *key;
    let a = u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]);
    let b = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
    let c = u32::from_le_bytes([c0, c1, c2, c3]);
    let first = fold(
        a ^ secret,
        b ^ secret.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15,
    );
    fold(first ^ u64::from(c), secret | 1)
}

fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    let (high, low) = ((wide >> 64) as u64, wide as u64);
    high ^ low
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[derive(Debug, PartialEq)]
    struct Entry([u8; 20], u32);

    impl Keyed for Entry {
        fn key(&self) -> &[u8; 20] {
            &self.0
        }
    }

    fn key(n: u8) -> [u8; 20] {
        let mut key = [7; 20];
        key[13] = n;
        key
    }

    #[test]
    fn it_agrees_with_a_map_whatever_is_done_to_it() {
        let mut rng = fastrand::Rng::with_seed(1);
        for upper in [4, 9, 40, 250] {
            let mut table = Table::new(rng.u64(..));
            let mut model = HashMap::new();
            for step in 0..20_000 {
                let k = key(rng.u8(..upper));
                match (table.find(&k), rng.u8(..4)) {
                    (None, _) => {
                        let at = table.push(Entry(k, step));
                        assert_eq!(at + 1, table.len());
                        model.insert(k, step);
                    }
                    (Some(at), 0 | 1) => {
                        assert_eq!(table.remove(at).1, model.remove(&k).unwrap());
                    }
                    (Some(at), _) => table.swap(at, rng.usize(..table.len())),
                }
                assert_eq!(table.len(), model.len());
                let probe = key(rng.u8(..upper));
                let found = table.find(&probe).and_then(|at| table.get(at)).map(|e| e.1);
                assert_eq!(found, model.get(&probe).copied());
            }
            for (k, value) in &model {
                assert_eq!(
                    table.find(k).and_then(|at| table.get(at)).unwrap().1,
                    *value
                );
            }
        }
    }

    #[test]
    fn keys_that_differ_in_one_bit_spread_over_all_slots() {
        let mut used = [0_u32; 256];
        for bit in 0..160 {
            for other in 0..160 {
                let mut k = [0; 20];
                k[bit / 8] ^= 1 << (bit % 8);
                k[other / 8] ^= 1 << (other % 8);
                used[(mix(0x1234_5678_9abc_def1, &k) & 255) as usize] += 1;
            }
        }
        // 12,720 different keys twice and 160 times the same one: about 100 in each.
        assert!(used.iter().all(|&n| (40..500).contains(&n)), "{used:?}");
    }
}

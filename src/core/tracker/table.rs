//! A set of entries, each under a key of 20 bytes: dense, so that a window of it can be handed out, and with an index, so that one is found at once.
//!
//! The entries stand in one vector, whose order the owner may use ([`Table::swap`]). The index costs 5 to 10 bytes for each. Keys are chosen by
//! strangers, so they are mixed with a secret before they choose a slot.

/// An entry that knows its key.
pub(super) trait Keyed {
    /// The key; never changes while the entry is in a table.
    fn key(&self) -> &[u8; 20];
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Vec<T>,
    /// Positions in `entries`, or [`EMPTY`]; a power of two of them, or none while a walk over the entries is as fast.
    slots: Vec<u32>,
    secret: u64,
}

const EMPTY: u32 = u32::MAX;

/// Up to so many entries are looked through one by one.
const FEW: usize = 8;

impl<T: Keyed> Table<T> {
    /// An empty table, which takes no heap.
    pub(super) const fn new(secret: u64) -> Self {
        Self {
            entries: Vec::new(),
            slots: Vec::new(),
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

    pub(super) fn as_slice(&self) -> &[T] {
        &self.entries
    }

    /// Where the entry with this key stands.
    pub(super) fn find(&self, key: &[u8; 20]) -> Option<usize> {
        if self.slots.is_empty() {
            return self.entries.iter().position(|entry| entry.key() == key);
        }
        let mut slot = self.home(key);
        loop {
            let at = self.slots[slot] as usize;
            if at == EMPTY as usize {
                return None;
            }
            if self.entries[at].key() == key {
                return Some(at);
            }
            slot = self.after(slot);
        }
    }

    /// Adds an entry whose key is not in the table, at the end. Returns where it stands.
    pub(super) fn push(&mut self, entry: T) -> usize {
        let at = self.entries.len();
        if at == self.entries.capacity() {
            // By a quarter: doubling would leave up to half of the memory unused.
            self.entries.reserve_exact((at / 4).max(2));
        }
        self.entries.push(entry);
        if self.entries.len() > FEW {
            // At most seven eighths full, so that a search ends soon.
            if self.entries.len() * 8 > self.slots.len() * 7 {
                self.rebuild();
            } else {
                self.link(at);
            }
        }
        at
    }

    /// Takes out the entry at `at`; the last one takes its place.
    pub(super) fn remove(&mut self, at: usize) -> T {
        let last = self.entries.len() - 1;
        self.swap(at, last);
        self.unlink(last);
        let entry = self.entries.swap_remove(last);
        if self.entries.len() <= FEW {
            self.slots = Vec::new();
        } else if self.slots.len() > self.entries.len() * 16 {
            self.rebuild();
        }
        if self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        entry
    }

    /// Lets two entries change places.
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        if !self.slots.is_empty() {
            let (slot_a, slot_b) = (self.slot_of(a), self.slot_of(b));
            self.slots.swap(slot_a, slot_b);
        }
        self.entries.swap(a, b);
    }

    /// The slot that holds position `at`.
    fn slot_of(&self, at: usize) -> usize {
        let mut slot = self.home(self.entries[at].key());
        while self.slots[slot] as usize != at {
            slot = self.after(slot);
        }
        slot
    }

    fn link(&mut self, at: usize) {
        let mut slot = self.home(self.entries[at].key());
        while self.slots[slot] != EMPTY {
            slot = self.after(slot);
        }
        self.slots[slot] =
            u32::try_from(at).expect("fewer entries than 2^32, by the bound on peers");
    }

    /// Frees the slot of position `at`, and moves those up that had to go past it: so no slot has to be marked as left.
    fn unlink(&mut self, at: usize) {
        if self.slots.is_empty() {
            return;
        }
        let mask = self.slots.len() - 1;
        let mut hole = self.slot_of(at);
        let mut slot = hole;
        loop {
            slot = self.after(slot);
            let next = self.slots[slot];
            if next == EMPTY {
                break;
            }
            let home = self.home(self.entries[next as usize].key());
            // Whether the hole lies on the way from its home to where it stands.
            if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(hole) & mask) {
                self.slots[hole] = next;
                hole = slot;
            }
        }
        self.slots[hole] = EMPTY;
    }

    fn rebuild(&mut self) {
        let slots = (self.entries.len() * 8 / 7 + 1).next_power_of_two();
        self.slots = vec![EMPTY; slots];
        for at in 0..self.entries.len() {
            self.link(at);
        }
    }

    const fn after(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    fn home(&self, key: &[u8; 20]) -> usize {
        usize::try_from(mix(self.secret, key)).unwrap_or(usize::MAX) & (self.slots.len() - 1)
    }
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

//! Connections under numbers that are not used twice.

use std::time::Instant;

use super::conn::Conn;

/// Names a connection of a [`Slab`], and none that takes its place later. At least 2^32, which leaves the smaller numbers to others.
pub(super) type Token = u64;

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    conn: Option<Conn>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Slab {
    slots: Vec<Slot>,
    free: Vec<u32>,
    len: usize,
}

impl Slab {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, conn: Conn) -> Token {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1)
                .expect("fewer connections than 2^32, by their limit")
        });
        let slot = &mut self.slots[at as usize];
        // From 1 to 2^32 - 1, over and over.
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        slot.conn = Some(conn);
        self.len += 1;
        token(slot.generation, at)
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Conn> {
        let slot = self.slots.get_mut(index(token))?;
        slot.conn
            .as_mut()
            .filter(|_| slot.generation == generation(token))
    }

    /// Takes a connection out, but keeps its place: [`Slab::put_back`] or [`Slab::release`] has to follow.
    pub(super) fn take(&mut self, token: Token) -> Option<Conn> {
        let slot = self
            .slots
            .get_mut(index(token))
            .filter(|slot| slot.generation == generation(token))?;
        slot.conn.take()
    }

    pub(super) fn put_back(&mut self, token: Token, conn: Conn) {
        if let Some(slot) = self.slots.get_mut(index(token)) {
            slot.conn = Some(conn);
        }
    }

    /// Gives the place of a connection free that was taken out.
    pub(super) fn release(&mut self, token: Token) {
        self.free.push(token as u32);
        self.len -= 1;
    }

    pub(super) fn remove(&mut self, token: Token) {
        if self.take(token).is_some() {
            self.release(token);
        }
    }

    /// Those whose time was up at `now`.
    pub(super) fn overdue(&self, now: Instant) -> Vec<Token> {
        self.list(|conn| conn.deadline <= now)
            .map(|(_, token)| token)
            .collect()
    }

    /// The `n` that have done nothing for longest.
    pub(super) fn longest_idle(&self, n: usize) -> Vec<Token> {
        let mut all: Vec<_> = self.list(|_| true).collect();
        if n < all.len() {
            all.select_nth_unstable(n);
            all.truncate(n);
        }
        all.into_iter().map(|(_, token)| token).collect()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn list(&self, wanted: impl Fn(&Conn) -> bool) -> impl Iterator<Item = (Instant, Token)> {
        self.slots.iter().zip(0..).filter_map(move |(slot, at)| {
            let conn = slot.conn.as_ref().filter(|conn| wanted(conn))?;
            Some((conn.since, token(slot.generation, at)))
        })
    }
}

const fn token(generation: u32, at: u32) -> Token {
    ((generation as u64) << 32) | at as u64
}

const fn index(token: Token) -> usize {
    token as u32 as usize
}

const fn generation(token: Token) -> u32 {
    (token >> 32) as u32
}

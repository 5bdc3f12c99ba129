//! Pieces by how rare they are: buckets, so that every change costs the same however many pieces there are.

use crate::base::bitfield::Bitfield;
use crate::base::geometry::PieceIndex;

/// Pieces looked at in search of the rarest one that a peer has, before any one that it has will do.
///
/// Up to this many open pieces the choice is exact; beyond, a peer that has few pieces could make every choice a walk over all of them.
const MAX_PROBES: usize = 4096;

/// How many connected peers have each piece (seeds apart: they have all), and the pieces that nobody has been asked for yet, by that number.
#[derive(Clone, Debug)]
pub(super) struct Rarity {
    copies: Vec<u16>,
    /// Open pieces with `n` copies are in `buckets[n]`, in no order.
    buckets: Vec<Vec<PieceIndex>>,
    /// Where in its bucket an open piece is.
    place: Vec<u32>,
    open: Bitfield,
    /// What finding pieces has cost so far, in pieces looked at. The tests watch it.
    probes: u64,
}

impl Rarity {
    /// `pieces` pieces, none open and no copies of any.
    pub(super) fn new(pieces: u32) -> Self {
        Self {
            copies: vec![0; pieces as usize],
            buckets: Vec::new(),
            place: vec![0; pieces as usize],
            open: Bitfield::none(pieces),
            probes: 0,
        }
    }

    /// How many peers that are not seeds have `piece`.
    pub(super) fn copies(&self, piece: PieceIndex) -> u16 {
        self.copies.get(piece.idx()).copied().unwrap_or(0)
    }

    /// The open pieces.
    pub(super) const fn open(&self) -> &Bitfield {
        &self.open
    }

    /// `piece` may be picked from now on.
    pub(super) fn insert(&mut self, piece: PieceIndex) {
        if self.open.set(piece) {
            self.put(piece);
        }
    }

    /// `piece` may not be picked any more.
    pub(super) fn remove(&mut self, piece: PieceIndex) {
        if self.open.clear(piece) {
            self.take(piece);
        }
    }

    /// One more peer has `piece`.
    pub(super) fn gained(&mut self, piece: PieceIndex) {
        self.recount(piece, u16::saturating_add);
    }

    /// One peer less has `piece`.
    pub(super) fn lost(&mut self, piece: PieceIndex) {
        self.recount(piece, u16::saturating_sub);
    }

    fn recount(&mut self, piece: PieceIndex, change: fn(u16, u16) -> u16) {
        let open = self.open.has(piece);
        if open {
            self.take(piece);
        }
        self.copies[piece.idx()] = change(self.copies[piece.idx()], 1);
        if open {
            self.put(piece);
        }
    }

    fn put(&mut self, piece: PieceIndex) {
        let copies = usize::from(self.copies[piece.idx()]);
        if self.buckets.len() <= copies {
            self.buckets.resize(copies + 1, Vec::new());
        }
        let bucket = &mut self.buckets[copies];
        self.place[piece.idx()] = u32::try_from(bucket.len()).unwrap_or(u32::MAX);
        bucket.push(piece);
    }

    fn take(&mut self, piece: PieceIndex) {
        let bucket = &mut self.buckets[usize::from(self.copies[piece.idx()])];
        let at = self.place[piece.idx()];
        bucket.swap_remove(at as usize);
        if let Some(moved) = bucket.get(at as usize) {
            self.place[moved.idx()] = at;
        }
    }

    /// The rarest open piece in `have`; among equals a random one.
    pub(super) fn rarest(
        &mut self,
        have: &Bitfield,
        rng: &mut fastrand::Rng,
    ) -> Option<PieceIndex> {
        let mut budget = MAX_PROBES;
        for bucket in self.buckets.iter().filter(|b| !b.is_empty()) {
            let start = rng.usize(..bucket.len());
            let (before, after) = bucket.split_at(start);
            let round = after.iter().chain(before).take(budget);
            let tried = bucket.len().min(budget);
            if let Some((n, &piece)) = round.enumerate().find(|(_, p)| have.has(**p)) {
                self.probes += n as u64 + 1;
                return Some(piece);
            }
            self.probes += tried as u64;
            budget -= tried;
            if budget == 0 {
                let from = rng.u32(..self.open.len());
                return self.any_from(have, from).or_else(|| self.any_from(have, 0));
            }
        }
        None
    }

    /// The first open piece in `have`, in the payload's order.
    pub(super) fn first(&mut self, have: &Bitfield) -> Option<PieceIndex> {
        self.any_from(have, 0)
    }

    fn any_from(&mut self, have: &Bitfield, from: u32) -> Option<PieceIndex> {
        let skip = (from / 8) as usize;
        let both = self.open.as_bytes().iter().zip(have.as_bytes()).skip(skip);
        let (n, byte) = both
            .map(|(a, b)| a & b)
            .enumerate()
            .find(|(_, byte)| *byte != 0)?;
        self.probes += n as u64 / 8 + 1;
        let at = u32::try_from(skip + n).ok()?;
        Some(PieceIndex(at * 8 + byte.leading_zeros()))
    }

    /// What finding pieces has cost so far, in pieces looked at.
    #[cfg(test)]
    pub(super) const fn probes(&self) -> u64 {
        self.probes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_move_between_buckets_as_copies_come_and_go() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut rarity = Rarity::new(50);
        let all = Bitfield::all(50);
        all.iter().for_each(|p| rarity.insert(p));
        let mut copies = [0_i32; 50];
        for _ in 0..5000 {
            let piece = PieceIndex(rng.u32(..50));
            if rng.bool() {
                rarity.gained(piece);
                copies[piece.idx()] += 1;
            } else if copies[piece.idx()] > 0 {
                rarity.lost(piece);
                copies[piece.idx()] -= 1;
            }
            match rng.u32(..4) {
                0 => rarity.remove(piece),
                1 => rarity.insert(piece),
                _ => {}
            }
            let least = rarity.open().iter().map(|p| copies[p.idx()]).min();
            let found = rarity.rarest(&all, &mut rng).map(|p| copies[p.idx()]);
            assert_eq!(found, least);
        }
    }

    #[test]
    fn equals_are_chosen_evenly() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut rarity = Rarity::new(8);
        let all = Bitfield::all(8);
        all.iter().for_each(|p| rarity.insert(p));
        let mut hits = [0; 8];
        for _ in 0..8000 {
            hits[rarity.rarest(&all, &mut rng).unwrap().idx()] += 1;
        }
        assert!(hits.iter().all(|h| (850..1150).contains(h)), "{hits:?}");
    }

    #[test]
    fn the_first_piece_is_the_first_that_the_peer_has_and_nobody_was_asked_for() {
        let mut rarity = Rarity::new(20);
        let mut have = Bitfield::none(20);
        assert_eq!(rarity.first(&have), None);
        for p in [3, 9, 17] {
            have.set(PieceIndex(p));
        }
        for p in [2, 9, 17, 19] {
            rarity.insert(PieceIndex(p));
        }
        assert_eq!(rarity.first(&have), Some(PieceIndex(9)));
    }
}

//! Pieces by how rare they are: buckets, so that every change costs the same however many pieces there are.

use crate::base::bitfield::Bitfield;
use crate::base::geometry::PieceIndex;

/// Pieces looked at in search of the rarest one that a peer has, before the rarest of [`SAMPLE`] that it has will do.
///
/// Up to this many open pieces the choice is exact; beyond, it could be a walk over all of them.
const MAX_PROBES: usize = 4096;

/// Pieces looked at before it is assumed that the peer has few of those that are rare, so that going through what it has may be shorter.
const QUICK: usize = 128;

/// Pieces that a peer has, up to which going through all of them is short.
const SAMPLE: usize = 512;

/// How many connected peers have each piece (seeds apart: they have all), and the pieces that nobody has been asked for yet, by that number.
#[derive(Clone, Debug)]
pub(super) struct Rarity {
    copies: Vec<u16>,
    /// Open pieces with `n` copies are in `buckets[n]`, in no order.
    buckets: Vec<Vec<PieceIndex>>,
    /// Where in its bucket an open piece is.
    place: Vec<u32>,
    open: Bitfield,
    /// No piece before the `64 * open_from`th is open.
    open_from: usize,
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
            open_from: 0,
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
            self.open_from = self.open_from.min(piece.idx() / 64);
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

    /// The rarest open piece in `have`, which is what a connected peer has; among equals a random one.
    pub(super) fn rarest(
        &mut self,
        have: &Bitfield,
        rng: &mut fastrand::Rng,
    ) -> Option<PieceIndex> {
        let quick = self.probe(have, QUICK, usize::MAX, rng);
        if quick.is_some() {
            return quick;
        }
        let (sampled, all) = self.sample(have, rng);
        if all {
            return sampled;
        }
        let least = sampled.map_or(0, |piece| usize::from(self.copies(piece)));
        self.probe(have, MAX_PROBES, least, rng).or(sampled)
    }

    /// Looks at up to `budget` open pieces of fewer than `below` copies, the rarest first.
    fn probe(
        &mut self,
        have: &Bitfield,
        mut budget: usize,
        below: usize,
        rng: &mut fastrand::Rng,
    ) -> Option<PieceIndex> {
        // Whatever a peer has that is no seed has been counted, so nothing of it is among the pieces without a copy.
        let counted = usize::from(!have.is_full());
        let buckets = self.buckets.iter().take(below).skip(counted);
        for bucket in buckets.filter(|bucket| !bucket.is_empty()) {
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
                break;
            }
        }
        None
    }

    /// The rarest of the first [`SAMPLE`] open pieces in `have` from a random place on, and whether that is all of them.
    fn sample(&mut self, have: &Bitfield, rng: &mut fastrand::Rng) -> (Option<PieceIndex>, bool) {
        let words = self.open.len().div_ceil(64) as usize;
        let from = rng.usize(..words.max(1));
        let after = self.open.common(have, from);
        let before = self.open.common(have, self.open_from);
        let mut round = after.chain(before.take_while(|piece| piece.idx() / 64 < from));
        let (mut best, mut least, mut equals) = (None, u16::MAX, 0);
        let (mut looked, mut last) = (0, from);
        for piece in round.by_ref().take(SAMPLE) {
            (looked, last) = (looked + 1, piece.idx() / 64);
            let copies = self.copies(piece);
            if copies < least {
                (least, equals) = (copies, 0);
            }
            if copies == least {
                equals += 1;
                if rng.u32(..equals) == 0 {
                    best = Some(piece);
                }
            }
        }
        let all = looked < SAMPLE || round.next().is_none();
        let walked = if all {
            words
        } else {
            (last + words - from) % words
        };
        self.probes += (walked + looked) as u64;
        (best, all)
    }

    /// The first open piece in `have`, in the payload's order.
    pub(super) fn first(&mut self, have: &Bitfield) -> Option<PieceIndex> {
        let first = self.open.common(&self.open, self.open_from).next()?;
        self.open_from = first.idx() / 64;
        let found = self.open.common(have, self.open_from).next();
        let end = found.map_or(self.open.len() as usize / 64, |piece| piece.idx() / 64);
        self.probes += (end - self.open_from) as u64 + 1;
        found
    }

    /// The first open piece in `have` that is `from` or comes after it.
    pub(super) fn first_from(&self, have: &Bitfield, from: PieceIndex) -> Option<PieceIndex> {
        let mut ahead = self.open.common(have, from.idx() / 64);
        ahead.find(|piece| *piece >= from)
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
    fn of_what_a_peer_has_the_rarest_comes_first_however_little_it_is_and_equals_come_evenly() {
        let pieces = 20_000;
        let mut rng = fastrand::Rng::with_seed(5);
        let mut rarity = Rarity::new(pieces);
        // Most pieces are rarer than any that the peer has.
        let (mut have, mut rare) = (Bitfield::none(pieces), [0, 0, 0]);
        for piece in Bitfield::all(pieces).iter() {
            rarity.insert(piece);
            rarity.gained(piece);
            if piece.0 % 1000 == 7 {
                have.set(piece);
                rarity.gained(piece);
                let others = u32::from(![1007, 9007, 19_007].contains(&piece.0));
                (0..others).for_each(|_| rarity.gained(piece));
            }
        }
        let before = rarity.probes();
        for _ in 0..3000 {
            let found = rarity.rarest(&have, &mut rng).unwrap();
            rare[[1007, 9007, 19_007]
                .iter()
                .position(|&p| p == found.0)
                .unwrap()] += 1;
        }
        assert!(
            rare.iter().all(|hits| (850..1150).contains(hits)),
            "{rare:?}"
        );
        let cost = (rarity.probes() - before) / 3000;
        assert!(cost < 1000, "{cost} pieces looked at for one");
        have.iter().for_each(|piece| rarity.remove(piece));
        assert_eq!(rarity.rarest(&have, &mut rng), None);
    }

    #[test]
    fn among_a_few_thousand_pieces_one_that_is_rarer_is_found_whatever_else_the_peer_has() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut rarity = Rarity::new(4000);
        let mut have = Bitfield::none(4000);
        for piece in Bitfield::all(4000).iter() {
            let copies = match piece.0 {
                ..3000 => 1,
                3500 => 2,
                _ => 3,
            };
            (0..copies).for_each(|_| rarity.gained(piece));
            if copies > 1 {
                have.set(piece);
            }
            rarity.insert(piece);
        }
        for _ in 0..50 {
            let found = rarity.rarest(&have, &mut rng);
            assert_eq!(found, Some(PieceIndex(3500)));
        }
    }

    #[test]
    fn what_nobody_but_seeds_has_is_not_looked_at_for_others() {
        let pieces = 5000;
        let mut rng = fastrand::Rng::with_seed(6);
        let mut rarity = Rarity::new(pieces);
        let all = Bitfield::all(pieces);
        all.iter().for_each(|piece| rarity.insert(piece));
        let mut have = Bitfield::none(pieces);
        for n in [17, 4711] {
            have.set(PieceIndex(n));
            rarity.gained(PieceIndex(n));
        }
        for n in 1..100 {
            assert!(have.has(rarity.rarest(&have, &mut rng).unwrap()));
            assert!(
                rarity.probes() <= 2 * n,
                "its own two are alone in their bucket"
            );
        }
        let of_seed = rarity.rarest(&all, &mut rng).unwrap();
        assert_eq!(rarity.copies(of_seed), 0);
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
        rarity.insert(PieceIndex(3));
        assert_eq!(rarity.first(&have), Some(PieceIndex(3)));
    }

    #[test]
    fn finding_the_first_piece_costs_little_wherever_it_is() {
        let pieces = 100_000;
        let mut rarity = Rarity::new(pieces);
        let all = Bitfield::all(pieces);
        all.iter().for_each(|piece| rarity.insert(piece));
        for piece in all.iter() {
            assert_eq!(rarity.first(&all), Some(piece));
            rarity.remove(piece);
        }
        assert_eq!(rarity.first(&all), None);
        assert!(rarity.probes() <= 2 * u64::from(pieces));
        rarity.insert(PieceIndex(70));
        assert_eq!(
            rarity.first(&all),
            Some(PieceIndex(70)),
            "one that came back"
        );
    }
}

//! Which block to ask a peer for: partial pieces first, then the rarest piece (R84), and in the end game a block that another peer owes (R85).
//!
//! A wanted piece is in one of four states:
//!
//! ```text
//! open ──asked for──▶ partial ──all blocks here──▶ unverified ──good──▶ had
//!  ▲                     │                             │
//!  └──nothing asked, ────┘◀────────────bad─────────────┘
//!     nothing here
//! ```
//!
//! A piece that was bad is a case from then on (see `trace`): it is not open to all, but fetched from one peer alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::bitfield::Bitfield;
use crate::base::geometry::{Block, Geometry, PieceIndex};
use crate::base::time::Time;

use super::event::PeerKey;
use super::partial::{Arrival, Partial};
use super::rarity::Rarity;
use super::trace::{Cases, Who};
use super::web_seed::Run;

/// The peer that a block is picked for.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    /// Which.
    pub(super) key: PeerKey,
    /// What it has.
    pub(super) have: &'a Bitfield,
    /// Who it is.
    pub(super) who: Who,
    /// When it is asked.
    pub(super) now: Time,
    /// How it is asked for long runs, if it is a web seed.
    pub(super) run: Option<Run>,
}

/// What a verdict on a piece says of the peers that sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Whoever took part.
    pub(super) from: Vec<PeerKey>,
    /// Whoever has certainly lied, in this piece or when it was bad before.
    pub(super) liars: Vec<PeerKey>,
}

/// What the arrival of a block means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landed {
    /// Of no use.
    Useless,
    /// Wanted. `also` owe it too and need not send it; `whole`: it was the last one of its piece.
    Wanted {
        also: [Option<PeerKey>; 2],
        whole: bool,
    },
}

/// What we lack, and what is on its way.
#[derive(Clone, Debug)]
pub(super) struct Picker {
    geometry: Geometry,
    sequential: bool,
    /// Wanted pieces that are not verified yet.
    lacking: Bitfield,
    /// Bytes in them.
    left: u64,
    rarity: Rarity,
    partials: BTreeMap<PieceIndex, Partial>,
    /// The partial pieces that have missing blocks.
    unfinished: BTreeSet<PieceIndex>,
    /// Whole pieces whose hash is awaited.
    unverified: BTreeMap<PieceIndex, Partial>,
    unverified_bytes: u64,
    /// Pieces that were bad.
    cases: Cases,
    /// Changes whenever blocks become available that were not before.
    epoch: u64,
}

impl Picker {
    /// Wants every piece in `wanted` that is not in `have`.
    pub(super) fn new(
        geometry: Geometry,
        have: &Bitfield,
        wanted: Option<&Bitfield>,
        sequential: bool,
    ) -> Self {
        let pieces = geometry.pieces();
        let mut picker = Self {
            geometry,
            sequential,
            lacking: Bitfield::none(pieces),
            left: 0,
            rarity: Rarity::new(pieces),
            partials: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            unverified: BTreeMap::new(),
            unverified_bytes: 0,
            cases: Cases::default(),
            epoch: 1,
        };
        for piece in geometry.all() {
            if !have.has(piece) && wanted.is_none_or(|w| w.has(piece)) {
                picker.lacking.set(piece);
                picker.left += u64::from(geometry.piece_len(piece));
                picker.rarity.insert(piece);
            }
        }
        picker
    }

    /// Whether `piece` is wanted and not verified yet.
    pub(super) fn lacks(&self, piece: PieceIndex) -> bool {
        self.lacking.has(piece)
    }

    /// Number of pieces in `have` that we want and do not have.
    pub(super) fn useful(&self, have: &Bitfield) -> u32 {
        let both = self.lacking.as_bytes().iter().zip(have.as_bytes());
        both.map(|(a, b)| (a & b).count_ones()).sum()
    }

    /// Whether every wanted piece is verified.
    pub(super) const fn is_done(&self) -> bool {
        self.lacking.ones() == 0
    }

    /// Bytes in wanted pieces that are not verified.
    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    /// Bytes of whole pieces whose hash is awaited.
    pub(super) const fn unverified_bytes(&self) -> u64 {
        self.unverified_bytes
    }

    /// A number that changes whenever there may be blocks to ask for that there were not before.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many peers have which piece.
    pub(super) const fn rarity(&self) -> &Rarity {
        &self.rarity
    }

    /// One more peer has `piece`.
    pub(super) fn gained(&mut self, piece: PieceIndex) {
        self.rarity.gained(piece);
    }

    /// One peer less has `piece`.
    pub(super) fn lost(&mut self, piece: PieceIndex) {
        self.rarity.lost(piece);
    }

    /// A block to ask `asker` for: of a piece that was bad, else of a partial one, else of a new one. It counts as asked for.
    pub(super) fn pick(&mut self, asker: Asker<'_>, rng: &mut fastrand::Rng) -> Option<Block> {
        let piece = self
            .retry(asker)
            .or_else(|| self.run_on(asker, rng))
            .or_else(|| self.best_unfinished(asker))
            .or_else(|| self.begin(asker, rng))?;
        let partial = self.partials.get_mut(&piece)?;
        let n = partial.ask(asker.key);
        if partial.missing() == 0 {
            self.unfinished.remove(&piece);
        }
        n.map(|n| self.geometry.block(piece, n))
    }

    /// In the end game, when nothing is missing that has not been asked for: a block that one other peer owes and `take` approves of.
    pub(super) fn pick_again(
        &mut self,
        asker: Asker<'_>,
        mut take: impl FnMut(PeerKey) -> bool,
    ) -> Option<Block> {
        if !self.in_end_game() {
            return None;
        }
        self.partials.iter_mut().find_map(|(&piece, partial)| {
            let eligible = partial.only().is_none() && asker.have.has(piece);
            let n = eligible.then(|| partial.ask_again(asker.key, &mut take))??;
            Some(self.geometry.block(piece, n))
        })
    }

    /// Whether the blocks of `piece` may be asked for from whoever has them.
    pub(super) fn is_shared(&self, piece: PieceIndex) -> bool {
        let partial = self.partials.get(&piece);
        partial.is_some_and(|partial| partial.only().is_none())
    }

    /// Whether there are blocks of `piece` that nobody has been asked for.
    pub(super) fn is_missing(&self, piece: PieceIndex) -> bool {
        self.unfinished.contains(&piece) || self.rarity.open().has(piece)
    }

    /// Whether every missing block has been asked for, pieces that were bad apart.
    pub(super) fn in_end_game(&self) -> bool {
        let reserved = |piece| {
            self.partials
                .get(piece)
                .is_some_and(|p: &Partial| p.only().is_some())
        };
        self.rarity.open().ones() == 0 && self.unfinished.iter().all(reserved)
    }

    /// `peer` will not send this block after all: it chokes us, is too late, or is gone.
    pub(super) fn free(&mut self, piece: PieceIndex, n: u32, peer: PeerKey) {
        let Some(partial) = self.partials.get_mut(&piece) else {
            return;
        };
        if partial.free(n, peer) {
            self.epoch += 1;
            self.unfinished.insert(piece);
            if partial.is_untouched() {
                self.reopen(piece);
            }
        }
    }

    /// Gives up the pieces that `peer` holds, which is gone or too slow, so that others can fetch them whole. Call [`Picker::free`] for
    /// what it owed first. Returns the pieces of which blocks were here, and how many.
    pub(super) fn release(&mut self, peer: PeerKey) -> Vec<(PieceIndex, u32)> {
        if self.cases.is_empty() {
            return Vec::new();
        }
        let reserved = |(&piece, partial): (&PieceIndex, &Partial)| {
            (partial.only() == Some(peer)).then(|| (piece, partial.here()))
        };
        let pieces: Vec<_> = self.partials.iter().filter_map(reserved).collect();
        pieces.iter().for_each(|(piece, _)| self.reopen(*piece));
        pieces
    }

    /// Block `n` of `piece` has come from `peer`.
    pub(super) fn arrive(&mut self, piece: PieceIndex, n: u32, peer: PeerKey) -> Landed {
        let Some(partial) = self.partials.get_mut(&piece).filter(|p| p.open_to(peer)) else {
            return Landed::Useless;
        };
        let Arrival::Fresh { also } = partial.arrive(n, peer) else {
            return Landed::Useless;
        };
        if partial.missing() == 0 {
            self.unfinished.remove(&piece);
        }
        let whole = partial.is_whole();
        if whole && let Some(partial) = self.partials.remove(&piece) {
            self.unverified.insert(piece, partial);
            self.unverified_bytes += u64::from(self.geometry.piece_len(piece));
        }
        Landed::Wanted { also, whole }
    }

    /// The hash of `piece` has been compared; `sums` are those of its blocks, or nothing. `None` if nobody awaited it.
    pub(super) fn verified(
        &mut self,
        now: Time,
        piece: PieceIndex,
        good: bool,
        sums: &[u64],
    ) -> Option<Judgement> {
        let senders = self.unverified.remove(&piece)?.senders();
        let len = u64::from(self.geometry.piece_len(piece));
        self.unverified_bytes -= len;
        let mut from = senders.clone();
        from.sort_unstable();
        from.dedup();
        let mut liars = Vec::new();
        if good {
            self.lacking.clear(piece);
            self.left -= len;
            liars = self.cases.good(piece, sums);
        } else {
            self.epoch += 1;
            if !self.cases.bad(now, piece, &senders, sums) {
                self.rarity.insert(piece);
            }
            if let [sole] = *from {
                liars.push(sole);
            }
        }
        Some(Judgement { from, liars })
    }

    /// The pieces that were bad.
    pub(super) const fn cases(&mut self) -> &mut Cases {
        &mut self.cases
    }

    /// Whether the sums of the blocks of `piece` tell something if it is good.
    pub(super) fn has_evidence(&self, piece: PieceIndex) -> bool {
        self.cases.has_evidence(piece)
    }

    /// A piece that `asker` may fetch alone: the one that it holds, or another that was bad and now is its own.
    fn retry(&mut self, asker: Asker<'_>) -> Option<PieceIndex> {
        if self.cases.is_empty() {
            return None;
        }
        let holds = |piece: &PieceIndex| self.partials[piece].only() == Some(asker.key);
        if let Some(&piece) = self.unfinished.iter().find(|&piece| holds(piece)) {
            return Some(piece);
        }
        let piece = self.cases.open_to(&asker)?;
        self.cases.hold(asker.now, piece);
        self.add(piece, Some(asker.key));
        Some(piece)
    }

    /// A piece that `asker` may take over since its holder is too slow, and the holder.
    pub(super) fn lapsed(&self, asker: Asker<'_>) -> Option<(PieceIndex, PeerKey)> {
        if self.cases.is_empty() {
            return None;
        }
        let held = |piece| Some((piece, self.partials.get(&piece)?.only()?));
        let others = |&(_, holder): &(PieceIndex, PeerKey)| holder != asker.key;
        self.cases.lapsed(&asker).filter_map(held).find(others)
    }

    /// Whatever comes with time alone. Returns whether there may be something to ask for now that there was not before.
    pub(super) fn review(&mut self, now: Time) -> bool {
        let news = self.cases.review(now);
        self.epoch += u64::from(news);
        news
    }

    fn best_unfinished(&self, asker: Asker<'_>) -> Option<PieceIndex> {
        let usable = self.unfinished.iter().filter_map(|&piece| {
            let partial = self.partials.get(&piece)?;
            let fits = partial.open_to(asker.key) && asker.have.has(piece);
            fits.then_some((partial.missing(), piece))
        });
        let best = if self.sequential {
            usable.min_by_key(|&(_, piece)| piece)
        } else {
            usable.min()
        };
        best.map(|(_, piece)| piece)
    }

    /// The piece that a web seed goes on with: the one that it is in, else the next one if no other is rarer, else a rarest one. Pieces that
    /// others have begun would cut its ranges short.
    fn run_on(&mut self, asker: Asker<'_>, rng: &mut fastrand::Rng) -> Option<PieceIndex> {
        let run = asker.run.filter(|_| !self.sequential)?;
        if let Some(last) = run.last
            && let Some(partial) = self.partials.get(&last)
            && partial.missing() > 0
            && partial.open_to(asker.key)
        {
            return Some(last);
        }
        let next = run
            .last
            .map_or(PieceIndex(0), |last| PieceIndex(last.0 + 1));
        let piece = if run.in_order {
            let ahead = self.rarity.first_from(asker.have, next);
            ahead.or_else(|| self.rarity.first(asker.have))?
        } else {
            let rarest = self.rarity.rarest(asker.have, rng)?;
            let follows = run.last.is_some()
                && self.rarity.open().has(next)
                && self.rarity.copies(next) <= self.rarity.copies(rarest);
            if follows { next } else { rarest }
        };
        self.rarity.remove(piece);
        self.add(piece, None);
        Some(piece)
    }

    fn begin(&mut self, asker: Asker<'_>, rng: &mut fastrand::Rng) -> Option<PieceIndex> {
        let piece = if self.sequential {
            self.rarity.first(asker.have)
        } else {
            self.rarity.rarest(asker.have, rng)
        }?;
        self.rarity.remove(piece);
        self.add(piece, None);
        Some(piece)
    }

    fn add(&mut self, piece: PieceIndex, only: Option<PeerKey>) {
        let partial = Partial::new(self.geometry.blocks(piece), only);
        self.partials.insert(piece, partial);
        self.unfinished.insert(piece);
    }

    fn reopen(&mut self, piece: PieceIndex) {
        self.partials.remove(&piece);
        self.unfinished.remove(&piece);
        if !self.cases.reopen(piece) {
            self.rarity.insert(piece);
        }
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests;

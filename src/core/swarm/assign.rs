//! The only seed of a swarm does not let everybody ask for anything: it shows each piece to one peer, and leaves the rest to them.
//!
//! Peers that choose for themselves ask an only seed for the same pieces at the same time, and the swarm's time is the number of copies
//! that its link sends. So the seed says at first that it has nothing, and then announces (`have`) one piece here, another there. Any
//! client understands that (BEP 16 is the same idea); unlike there, the next piece is shown without waiting for the last one to spread. Whoever
//! wants that can have it: the origin then sends hardly anything twice, and idles while it waits.
//! Once every piece has been shown, this ends, and peers are told of whatever they still lack.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::base::bitfield::Bitfield;
use crate::base::geometry::{BLOCK, Geometry, PieceIndex};
use crate::base::time::Time;
use crate::core::rate::time_for;

use super::event::PeerKey;

/// Pieces shown and not sent, in all.
const PIECES_AHEAD: u64 = 3;
/// The same as a span of what the uplink carries: on a fast link more pieces are under way.
const SPAN_AHEAD: Duration = Duration::from_millis(80);
/// A peer with no more blocks than this shown and not sent may be shown another piece.
const BLOCKS_LEFT: u64 = 4;
/// The same as a span of the peer's rate.
const SPAN_LEFT: Duration = Duration::from_millis(8);
/// Pieces shown beyond [`PIECES_AHEAD`] because the peers that have some are slow.
const MOST_EXTRA: u64 = 16;
/// Whoever is shown a piece asks for it well within this time, unless it hangs.
const OVERLOOKED: Duration = Duration::from_millis(250);
/// A piece that was sent whole and that its peer has not announced after this many times the time it took is shown to another.
const PATIENCE: u32 = 8;
/// But not before this, nor later than [`MOST_PATIENCE`].
const LEAST_PATIENCE: Duration = Duration::from_secs(2);
const MOST_PATIENCE: Duration = Duration::from_secs(60);

/// Of so many pieces a random one is the next to be shown. Peers that want the payload in order get it nearly so; two seeds that do not know
/// of each other seldom show the same piece.
const AT_RANDOM: usize = 32;

/// A piece shown to a peer and not yet sent to it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) piece: PieceIndex,
    /// Bytes of it that have not been sent.
    pub(super) unsent: u64,
}

/// A piece that was shown and that nobody has announced yet.
#[derive(Clone, Copy, Debug)]
struct Shown {
    to: PeerKey,
    at: Time,
    /// That peer has announced it, and as we wait for it to spread, somebody else has to.
    here: bool,
}

/// What an only seed has shown to whom.
#[derive(Clone, Debug)]
pub(super) struct Assigner {
    geometry: Geometry,
    active: bool,
    /// Wait for each piece to spread before its peer is shown another (BEP 16).
    strict: bool,
    /// Pieces nobody was shown, the next ones at the end.
    unshown: VecDeque<PieceIndex>,
    /// Pieces shown to peers that left, to be shown before those.
    returned: Vec<PieceIndex>,
    /// Pieces shown that nobody has announced.
    pending: BTreeMap<PieceIndex, Shown>,
    /// The same by time.
    oldest: BTreeSet<(Time, PieceIndex)>,
    /// Bytes shown and not sent.
    unsent: u64,
    extra: u64,
    extra_at: Time,
}

impl Assigner {
    /// Active if we have everything, and that is more than one piece: there is nothing to share out otherwise, and libtorrent drops a
    /// peer whose first `have` makes it a seed.
    pub(super) fn new(geometry: Geometry, active: bool, strict: bool, now: Time) -> Self {
        let mut unshown = Vec::new();
        if active && geometry.pieces() > 1 {
            unshown.extend(geometry.all().rev());
        }
        Self {
            geometry,
            active: !unshown.is_empty(),
            strict,
            unshown: unshown.into(),
            returned: Vec::new(),
            pending: BTreeMap::new(),
            oldest: BTreeSet::new(),
            unsent: 0,
            extra: 0,
            extra_at: now,
        }
    }

    /// Whether pieces are still shown one by one.
    pub(super) const fn is_active(&self) -> bool {
        self.active
    }

    /// Stops for good: there is another seed, or everything has been shown.
    pub(super) fn retire(&mut self) {
        self.active = false;
        self.unshown = VecDeque::new();
        self.returned.clear();
        self.pending.clear();
        self.oldest.clear();
    }

    /// Whether another piece should be shown, given that the uplink carries `rate` bytes a second and that the nearest peer is `delay` away
    /// and back.
    pub(super) fn wants_more(&self, rate: f64, delay: Duration) -> bool {
        let piece = u64::from(self.geometry.piece_length());
        let flight = span(rate, SPAN_AHEAD + delay * 2);
        let ahead = (piece * PIECES_AHEAD).max(flight) + piece * self.extra;
        self.active && self.unsent < ahead
    }

    /// Whether a peer that has `unsent` bytes coming, at `rate` bytes a second and over `delay`, may be shown another piece.
    pub(super) fn has_room(unsent: u64, rate: f64, delay: Duration) -> bool {
        let least = BLOCKS_LEFT * u64::from(BLOCK);
        unsent <= least.max(span(rate, SPAN_LEFT + delay * 2))
    }

    /// Whether every piece has been shown and announced by somebody. Until the last ones are, everybody would ask us for them.
    pub(super) fn is_done(&self) -> bool {
        self.unshown.is_empty() && self.returned.is_empty() && self.pending.is_empty()
    }

    /// How soon to look whether the uplink idles or a piece has been lost, if either can be; `often` while something is on its way.
    pub(super) fn look_again(&self, often: Duration) -> Option<Duration> {
        let shown = self.active && !self.pending.is_empty();
        shown.then(|| if self.unsent > 0 { often } else { often * 10 })
    }

    /// The next piece to show, one for which `is_rare` holds: nobody has it. `None` if all have been shown.
    pub(super) fn next(
        &mut self,
        rng: &mut fastrand::Rng,
        is_rare: impl Fn(PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        loop {
            let piece = match self.returned.pop() {
                Some(piece) => piece,
                None => self.take_unshown(rng)?,
            };
            if is_rare(piece) {
                return Some(piece);
            }
        }
    }

    fn take_unshown(&mut self, rng: &mut fastrand::Rng) -> Option<PieceIndex> {
        let last = self.unshown.len().checked_sub(1)?;
        let chosen = last - rng.usize(..=last.min(AT_RANDOM - 1));
        self.unshown.swap(chosen, last);
        self.unshown.pop_back()
    }

    /// `piece` has been shown to `to`.
    pub(super) fn shown(&mut self, now: Time, piece: PieceIndex, to: PeerKey) -> Assignment {
        let unsent = u64::from(self.geometry.piece_len(piece));
        let shown = Shown {
            to,
            at: now,
            here: false,
        };
        self.pending.insert(piece, shown);
        self.oldest.insert((now, piece));
        self.unsent += unsent;
        Assignment { piece, unsent }
    }

    /// When `piece` was shown, if nobody has announced it since.
    pub(super) fn shown_at(&self, piece: PieceIndex) -> Option<Time> {
        self.pending.get(&piece).map(|shown| shown.at)
    }

    /// Bytes shown and not sent.
    #[cfg(test)]
    pub(super) const fn unsent(&self) -> u64 {
        self.unsent
    }

    /// `bytes` of an assignment have been sent, or will never be.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.unsent = self.unsent.saturating_sub(bytes);
    }

    /// Whether `peer` has to wait until what it was shown has spread.
    pub(super) fn is_to_wait(&self, peer: PeerKey) -> bool {
        self.strict && self.pending.values().any(|shown| shown.to == peer)
    }

    /// Which of the pieces in `set` have been shown, and not announced since.
    pub(super) fn pending_in(&self, set: &Bitfield) -> Vec<PieceIndex> {
        let pending = self.pending.keys().copied();
        pending.filter(|&piece| set.has(piece)).collect()
    }

    /// The peer `by` has announced `piece`. Returns whom it was shown to, if that was still open and is no more.
    pub(super) fn announced(&mut self, piece: PieceIndex, by: PeerKey) -> Option<PeerKey> {
        let shown = self.pending.get_mut(&piece)?;
        shown.here |= shown.to == by;
        if self.strict && shown.to == by {
            return None;
        }
        self.settled(piece)
    }

    /// `piece` is not waited for any more. Returns whom it was shown to, if it was.
    fn settled(&mut self, piece: PieceIndex) -> Option<PeerKey> {
        let shown = self.pending.remove(&piece)?;
        self.oldest.remove(&(shown.at, piece));
        Some(shown.to)
    }

    /// `peer` is gone: what it was shown and did not announce has to be shown again.
    pub(super) fn gone(&mut self, peer: PeerKey) {
        let theirs: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, s)| s.to == peer)
            .map(|(p, _)| *p)
            .collect();
        for piece in theirs {
            self.settled(piece);
            self.returned.push(piece);
        }
    }

    /// Whoever was shown these is waited for no longer: others are to be shown them.
    pub(super) fn take_back(&mut self, assigned: impl IntoIterator<Item = Assignment>) {
        for Assignment { piece, unsent } in assigned {
            self.sent(unsent);
            if self.settled(piece).is_some() {
                self.returned.push(piece);
            }
        }
    }

    /// Shows again what was shown long ago and has not been announced, at `rate` bytes a second of uplink. Returns what had been shown to
    /// whom.
    pub(super) fn review(&mut self, now: Time, rate: f64) -> Vec<(PieceIndex, PeerKey)> {
        let patience = self.patience(rate);
        let old = self
            .oldest
            .iter()
            .take_while(|(at, _)| now >= *at + patience);
        let old: Vec<_> = old.map(|&(_, piece)| piece).collect();
        let mut withdrawn = Vec::new();
        for piece in old {
            let here = self.pending.get(&piece).is_some_and(|shown| shown.here);
            withdrawn.extend(self.settled(piece).map(|to| (piece, to)));
            // Last, so that a peer that hangs does not get the same ones again and again. One that does not pass on what it has is waited for no longer.
            if !here {
                self.unshown.push_front(piece);
            }
        }
        withdrawn
    }

    /// The uplink idles though pieces are shown: their peers are slow. One more, but not again before `pause` has passed.
    pub(super) fn blocked(&mut self, now: Time, pause: Duration) {
        if self.extra < MOST_EXTRA && now.since(self.extra_at) >= pause {
            self.extra += 1;
            self.extra_at = now;
        }
    }

    /// The uplink is busy.
    pub(super) fn unblocked(&mut self) {
        self.extra = self.extra.saturating_sub(1);
    }

    /// Whether something was shown so long ago that somebody should have asked for it.
    pub(super) fn is_overlooked(&self, now: Time) -> bool {
        let oldest = self.oldest.first();
        oldest.is_some_and(|&(at, _)| now.since(at) >= OVERLOOKED)
    }

    fn patience(&self, rate: f64) -> Duration {
        if rate <= 0.0 {
            // Nothing at all has been asked for.
            return LEAST_PATIENCE;
        }
        let ahead = f64::from(self.geometry.piece_length()) * 4.0;
        time_for(ahead, rate)
            .saturating_mul(PATIENCE)
            .clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn span(rate: f64, time: Duration) -> u64 {
    (rate * time.as_secs_f64()) as u64
}

//! What a peer lets us ask for while it chokes us (BEP 6): a few pieces, so that we have something to pass on before our turn comes.
//!
//! We let nobody ourselves: with sets of ten pieces (BEP 6), workers that came three seconds late to a simulated swarm of sixteen took 1.47 times the bound, without them
//! 1.08. Suggested pieces (BEP 6) are not asked for before others: what is rare counts, not what somebody has at hand.

use crate::base::bitfield::Bitfield;
use crate::base::geometry::PieceIndex;
use crate::base::time::Time;

use super::Swarm;
use super::event::{Action, PeerKey};

/// Pieces that we remember of one peer. BEP 6 has ten.
const MAX_ALLOWED: usize = 64;

/// What we may ask a peer for that chokes us.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowed {
    pieces: Vec<PieceIndex>,
    /// Those of them that it has and has not refused; `None` if there never was one.
    open: Option<Bitfield>,
}

impl Allowed {
    /// The pieces that we may ask it for; `None` for none.
    pub(super) const fn open(&self) -> Option<&Bitfield> {
        self.open.as_ref()
    }

    /// It has `piece` now; the torrent has `pieces`.
    pub(super) fn announced(&mut self, piece: PieceIndex, pieces: u32) {
        if self.pieces.contains(&piece) {
            let open = self.open.get_or_insert_with(|| Bitfield::none(pieces));
            open.set(piece);
        }
    }

    /// It does not send `piece` after all.
    pub(super) fn refused(&mut self, piece: PieceIndex) {
        if let Some(open) = &mut self.open {
            open.clear(piece);
        }
    }
}

impl Swarm {
    /// The peer allows us to ask for `piece` while it chokes us.
    pub(super) fn allowed(
        &mut self,
        now: Time,
        key: PeerKey,
        piece: PieceIndex,
        out: &mut Vec<Action>,
    ) {
        let pieces = self.geometry.pieces();
        let Some(peer) = self.peers.get_mut(&key).filter(|p| p.fast) else {
            return;
        };
        let allowed = &mut peer.download.allowed;
        if allowed.pieces.len() >= MAX_ALLOWED || allowed.pieces.contains(&piece) {
            return;
        }
        allowed.pieces.push(piece);
        if peer.have.has(piece) {
            allowed.announced(piece, pieces);
            peer.download.dry = 0;
            self.fill(now, key, out);
        }
    }
}

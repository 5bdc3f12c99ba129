//! How the only seed of a swarm shows its pieces: one by one, and in the end all of them.

use std::time::Duration;

use crate::base::geometry::{Block, PieceIndex};
use crate::base::time::Time;
use crate::proto::peer::message::Message;

use super::Swarm;
use super::assign::Assigner;
use super::event::{Action, PeerKey};
use super::peer::Peer;
use super::restraint::Restraint;

/// How often an idle uplink is looked for while pieces are shown one by one.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The uplink counts as blocked by slow receivers below this share of what it has carried.
const BLOCKED_SHARE: f64 = 0.85;
/// A peer that does not want a piece that it was shown, or does not ask for it, is passed over after this time.
const ALOOF: Duration = Duration::from_secs(1);
/// A peer that has been alone with us for so long will hardly get company in the next moment.
const ALONE: Duration = Duration::from_secs(2);
/// Pieces that a peer is told of at once when everything is revealed; more as it gets them.
const REVEAL: usize = 1024;

impl Swarm {
    /// Shows pieces to peers, as long as there is little on its way.
    pub(super) fn assign(&mut self, now: Time, out: &mut Vec<Action>) {
        let rate = self.uplink.rate(now);
        if !self.assigner.is_active() {
            return;
        }
        let delays = self.peers.values().filter_map(|p| p.upload.delay);
        let delay = delays.min().unwrap_or_default();
        while self.assigner.wants_more(rate, delay) {
            let Some(key) = self.next_to_assign(now) else {
                break;
            };
            let rarity = self.picker.rarity();
            let Some(piece) = self.assigner.next(&mut self.rng, |p| rarity.copies(p) == 0) else {
                break;
            };
            let assignment = self.assigner.shown(now, piece, key);
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.upload.last_assigned = Some(now);
                peer.upload.call(now);
                peer.upload.assigned.push(assignment);
                if let Some(shown) = &mut peer.shown {
                    shown.set(piece);
                }
            }
            self.say(now, key, Message::Have(piece), out);
            self.wake_by(now, now + LOOK_EVERY);
        }
        if self.assigner.is_done() && !self.restraint.is_pausing() {
            self.step_back(now, out);
        }
    }

    /// Every piece is out: looks whether the swarm gets on without us, and helps where it does not.
    fn step_back(&mut self, now: Time, out: &mut Vec<Action>) {
        let lacking = self.peers.values().filter(|p| !p.is_seed());
        let (lacking, held) = lacking.fold((0, 0.0), |(n, held), p| {
            (n + 1, held + f64::from(p.have.ones()))
        });
        let all =
            f64::from(self.have.len()) * f64::from(u32::try_from(lacking).unwrap_or(u32::MAX));
        let missing = 1.0 - held / all.max(1.0);
        let sent = self.up.meter.rate(now);
        let piece = self.geometry.piece_length();
        if self.restraint.is_over(now, piece, lacking, missing, sent) {
            return self.reveal_all(now, out);
        }
        let patience = self.restraint.patience(now, piece, lacking);
        let starved = |p: &Peer| p.shown.is_some() && now.since(p.announced) >= patience;
        let starving: Vec<_> = self.peers.iter().filter(|(_, p)| starved(p)).collect();
        let starving: Vec<_> = starving.into_iter().map(|(&key, _)| key).collect();
        for key in starving {
            self.reveal(now, key, out);
        }
        self.wake_by(now, now + Restraint::look_again());
    }

    /// Of the peers that have little coming from us and can best be relied on, the one that has waited longest for another piece.
    fn next_to_assign(&self, now: Time) -> Option<PeerKey> {
        let fit = self.peers.iter().filter(|(key, p)| {
            let unsent = p.upload.assigned.iter().map(|a| a.unsent).sum();
            let rate = p.upload.traffic.meter.rate(now);
            p.shown.is_some()
                && !p.upload_only
                && !p.upload.aloof
                && !p.upload.standing.is_out()
                && !self.assigner.is_to_wait(**key)
                && Assigner::has_room(unsent, rate, p.upload.delay.unwrap_or_default())
        });
        let best = fit.min_by_key(|(key, p)| {
            let upload = &p.upload;
            (upload.standing.failures(), upload.last_assigned, **key)
        });
        best.map(|(&key, _)| key)
    }

    pub(super) fn count_assigned(
        &mut self,
        now: Time,
        key: PeerKey,
        blocks: &[Block],
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        for block in blocks {
            let assigned = &mut peer.upload.assigned;
            if let Some(a) = assigned.iter_mut().find(|a| a.piece == block.piece) {
                let sent = a.unsent.min(u64::from(block.len));
                a.unsent -= sent;
                self.assigner.sent(sent);
            }
            assigned.retain(|a| a.unsent > 0);
        }
        self.assign(now, out);
    }

    /// Somebody has announced `piece`, so it is out.
    pub(super) fn assignment_done(
        &mut self,
        now: Time,
        key: PeerKey,
        piece: PieceIndex,
        out: &mut Vec<Action>,
    ) {
        let to = self.assigner.announced(piece, key);
        if let Some(to) = to {
            self.withdraw(to, piece);
        }
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let upload = &mut peer.upload;
        let piece_length = self.geometry.piece_length();
        let taken = upload.traffic.total;
        if upload.standing.announces(taken, piece_length) || to.is_some() {
            self.assign(now, out);
        }
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        if peer.shown.is_some() && peer.reveal_in > 0 {
            peer.reveal_in -= 1;
            if peer.reveal_in == 0 {
                self.reveal(now, key, out);
            }
        }
    }

    /// Peers that were shown a piece and do not want it: seeds that hide it as we do, or broken ones.
    /// They may also want nothing but some of the files, so they are told what else there is.
    /// And those that want it and do not ask for it: it costs a stranger nothing to say so, and what it was shown would be waited for.
    fn pass_over_idle(&mut self, now: Time, out: &mut Vec<Action>) {
        for peer in self.peers.values_mut() {
            let upload = &mut peer.upload;
            if upload.assigned.is_empty() {
                continue;
            }
            let waited = |since: Option<Time>| since.map_or(Duration::ZERO, |at| now.since(at));
            let aloof = !peer.peer_interested && waited(upload.last_assigned) >= ALOOF;
            let way = upload.delay.unwrap_or_default();
            let silent = peer.peer_interested && waited(upload.called) >= ALOOF + way * 2;
            if aloof || silent {
                upload.aloof |= aloof;
                if silent {
                    upload.standing.fails();
                }
                self.assigner.take_back(upload.assigned.drain(..));
            }
        }
        let aloof = |p: &Peer| p.upload.aloof && p.shown.is_some();
        let aloof = self.peers.iter().filter(|(_, p)| aloof(p));
        let aloof: Vec<_> = aloof.map(|(&key, _)| key).collect();
        for key in aloof {
            self.reveal(now, key, out);
            self.wake_by(now, now + LOOK_EVERY * 10);
        }
    }

    /// A peer that has been alone with us for a while is told of everything: there is nobody to share pieces out to.
    fn indulge_loner(&mut self, now: Time, out: &mut Vec<Action>) {
        let mut peers = self.peers.iter();
        if let (Some((&key, peer)), None) = (peers.next(), peers.next())
            && now.since(peer.since) >= ALONE
            && peer.reveal_in == 0
        {
            self.reveal(now, key, out);
        }
    }

    fn withdraw(&mut self, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let assigned = &mut peer.upload.assigned;
        if let Some(at) = assigned.iter().position(|a| a.piece == piece) {
            self.assigner.sent(assigned.swap_remove(at).unsent);
        }
    }

    pub(super) fn check_assigned(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.assigner.is_active() {
            return;
        }
        let rate = self.uplink.most(now);
        for (piece, to) in self.assigner.review(now, rate) {
            self.withdraw(to, piece);
            if let Some(peer) = self.peers.get_mut(&to).filter(|p| !p.have.has(piece)) {
                peer.upload.standing.fails();
            }
        }
        self.pass_over_idle(now, out);
        self.indulge_loner(now, out);
        let share = self.uplink.share(now);
        let unused = self.up.total == 0 && self.assigner.is_overlooked(now);
        if unused || share.is_some_and(|share| share < BLOCKED_SHARE) {
            self.assigner.blocked(now, LOOK_EVERY * 2);
        } else {
            self.assigner.unblocked();
        }
        self.assign(now, out);
        if self.assigner.is_active() && self.assigner.is_done() {
            self.step_back(now, out);
        }
        if let Some(pause) = self.assigner.look_again(LOOK_EVERY) {
            self.wake_by(now, now + pause);
        }
    }

    /// Stops assigning: peers are told of whatever they lack.
    pub(super) fn reveal_all(&mut self, now: Time, out: &mut Vec<Action>) {
        self.assigner.retire();
        let keys: Vec<_> = self.peers.keys().copied().collect();
        for key in keys {
            self.reveal(now, key, out);
        }
        self.review_slots(now, out);
    }

    fn reveal(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let Some(shown) = &mut peer.shown else {
            return;
        };
        let secret = |p: &PieceIndex| !shown.has(*p) && !peer.have.has(*p);
        let pieces: Vec<_> = self.have.iter().filter(secret).take(REVEAL).collect();
        pieces.iter().for_each(|&piece| {
            shown.set(piece);
        });
        peer.reveal_in = u32::try_from(pieces.len() / 2).unwrap_or(0);
        let all = pieces.len() < REVEAL;
        if all {
            peer.shown = None;
        }
        for piece in pieces {
            self.say(now, key, Message::Have(piece), out);
        }
        // Not before: whoever gives nothing away now and wants nothing ever is of no use, and libtorrent ends the connection.
        if all {
            out.push(Action::UploadOnly { peer: key });
        }
    }
}

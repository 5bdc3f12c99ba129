//! What becomes of peers that have sent bad data, and of pieces that one peer has to send alone.
//!
//! Blame follows connections, never what a peer says of itself: nobody can put it on another. A ban is on the peer's id together with the
//! address that its data came from.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::geometry::{BLOCK, PieceIndex};
use crate::base::id::PeerId;
use crate::base::time::Time;
use crate::proto::peer::message::Message;

use super::Swarm;
use super::event::{Action, Close, PeerKey, Penalty};
use super::peer::Peer;
use super::picker::Judgement;

/// The only source of something that we lack is banned no longer than this, the first time; doubles each time, up to an hour.
const SOLE_SOURCE_BAN: Duration = Duration::from_secs(60);
/// The only source of a piece is not asked for it again for so long after it was bad; doubles each time, up to an hour. Longer than the
/// ban, so that it can send the rest meanwhile.
const SOLE_SOURCE_PAUSE: Duration = Duration::from_secs(120);
/// For so many good pieces one bad piece that nobody else has is put up with: a disk with a flipped bit, not a liar.
const GOOD_PER_BAD: u32 = 16;

impl Swarm {
    /// Whether the sums of the blocks of `piece` are wanted with [`super::event::Event::Verified`] even if it is good.
    #[must_use]
    pub fn wants_sums(&self, piece: PieceIndex) -> bool {
        self.picker.has_evidence(piece)
    }

    /// A verdict on a piece is one on its senders.
    pub(super) fn judge(
        &mut self,
        now: Time,
        piece: PieceIndex,
        good: bool,
        judgement: &Judgement,
        out: &mut Vec<Action>,
    ) {
        for key in judgement.from.iter().filter(|_| good) {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.download.good += 1;
            }
        }
        for &liar in &judgement.liars {
            self.convict(now, liar, piece, out);
        }
        let takes_part = |key: &PeerKey| judgement.from.binary_search(key).is_ok();
        let mut servers = self.peers.iter().filter(|(_, p)| !p.peer_choking);
        if !good && servers.all(|(key, p)| takes_part(key) || !p.have.has(piece)) {
            self.picker.cases().let_suspects_try(piece);
        }
    }

    /// `key` has certainly sent wrong data for `piece`. It is banned, for good unless we depend on it.
    fn convict(&mut self, now: Time, key: PeerKey, piece: PieceIndex, out: &mut Vec<Action>) {
        let Some((addr, id)) = self.identify(key) else {
            return;
        };
        let present = self.peers.contains_key(&key);
        if !present && self.roster.is_banned(now, addr.ip(), id) {
            return;
        }
        let penalty = if !self.depends_on(key) {
            self.roster.ban(addr.ip(), id, Time::from_micros(u64::MAX));
            Penalty::Banned
        } else if let Some(pause) = self.spare(now, key, piece) {
            Penalty::Spared(pause)
        } else {
            let times = self.roster.times_banned(addr.ip(), id).min(6);
            let span = (SOLE_SOURCE_BAN * (1 << times)).min(Duration::from_secs(3600));
            self.roster.ban(addr.ip(), id, now + span);
            Penalty::BannedFor(span)
        };
        out.push(Action::Blame {
            addr,
            piece,
            penalty,
        });
        if !matches!(penalty, Penalty::Spared(_)) {
            self.expel(now, key, penalty, out);
        }
    }

    fn expel(&mut self, now: Time, key: PeerKey, penalty: Penalty, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get(&key) else {
            return;
        };
        // Where a peer that has dialled us listens is its own word only: another may listen there.
        let (dialled, listen) = (peer.outgoing, peer.listen);
        self.close(now, key, Close::BadData, out);
        match (penalty, listen) {
            (Penalty::BannedFor(span), Some(at)) => {
                self.roster.rest(now, at, span, &mut self.rng);
            }
            (Penalty::Banned, Some(at)) if dialled => self.roster.never(at),
            _ => {}
        }
    }

    /// Where a peer is or was connected from, and who it said it was.
    fn identify(&self, key: PeerKey) -> Option<(SocketAddr, PeerId)> {
        let present = self.peers.get(&key).map(|p| (p.addr, p.id));
        let former = || self.former.iter().find(|f| f.0 == key);
        present.or_else(|| former().map(|&(_, addr, id)| (addr, id)))
    }

    /// Whether we lack something that nobody else has. What a peer had that has gone is not known any more; it may be all of it.
    fn depends_on(&self, key: PeerKey) -> bool {
        if self.peers.iter().any(|(&k, p)| k != key && p.is_seed()) {
            return false;
        }
        let peer = self.peers.get(&key);
        self.geometry.all().any(|piece| {
            let counted = peer.is_some_and(|p| !p.uncounted && p.have.has(piece));
            self.picker.lacks(piece)
                && peer.is_none_or(|p| p.have.has(piece))
                && self.picker.rarity().copies(piece) <= u16::from(counted)
        })
    }

    /// Puts up with a bad piece that nobody else has, if this peer has sent enough that was good. In any case it is not asked for it again soon.
    fn spare(&mut self, now: Time, key: PeerKey, piece: PieceIndex) -> Option<Duration> {
        if !self.picker.lacks(piece) {
            return None;
        }
        let peer = self.peers.get_mut(&key)?;
        peer.faults.bad += 1;
        let proven = peer.download.good >= peer.faults.bad.saturating_mul(GOOD_PER_BAD);
        let who = peer.who();
        let pause = self
            .picker
            .cases()
            .bar_the_only_source(now, piece, who, SOLE_SOURCE_PAUSE)?;
        proven.then_some(pause)
    }

    /// Another peer is to fetch `piece` instead of its holder, which is too slow.
    pub(super) fn take_from(
        &mut self,
        now: Time,
        holder: PeerKey,
        piece: PieceIndex,
        out: &mut Vec<Action>,
    ) {
        if let Some(peer) = self.peers.get_mut(&holder) {
            let who = peer.who();
            let owed = std::mem::take(&mut peer.download.owed);
            let (lost, kept): (VecDeque<_>, _) = owed.into_iter().partition(|a| a.piece == piece);
            peer.faults.excused += u32::try_from(lost.len()).unwrap_or(u32::MAX);
            peer.download.owed = kept;
            self.picker.cases().bar_the_slow(now, piece, who);
            for asked in lost {
                let block = self.geometry.block(piece, asked.n);
                self.picker.free(piece, asked.n, holder);
                self.say(now, holder, Message::Cancel(block), out);
            }
        }
        self.release(now, holder, out);
    }

    /// What `key` has sent of pieces that were its own is of no use to anybody else: the next one has to answer for the whole piece.
    pub(super) fn release(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let who = self.peers.get(&key).map(Peer::who);
        for (piece, here) in self.picker.release(key) {
            self.wasted += u64::from(here) * u64::from(BLOCK);
            out.push(Action::Forget(piece));
            if let Some(who) = who {
                self.picker.cases().bar_the_slow(now, piece, who);
            }
        }
    }

    /// Looks again when a holder has had time enough.
    pub(super) fn watch_holders(&mut self, now: Time) {
        if let Some(at) = self.picker.cases().deadline() {
            self.wake_by(now, at);
        }
    }
}

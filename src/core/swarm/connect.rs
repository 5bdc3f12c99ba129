//! Who may connect, what they say of themselves, and who has to go.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::bitfield::Bitfield;
use crate::base::geometry::PieceIndex;
use crate::base::time::Time;
use crate::proto::peer::extended::ExtendedHandshake;
use crate::proto::peer::message::Message;
use crate::proto::peer::{metadata, pex};

use super::Swarm;
use super::event::{Action, Close, PeerKey, Source};
use super::peer::Peer;

/// A peer that neither side has wanted anything from for this long makes room for another.
const USELESS: Duration = Duration::from_secs(60);
/// As many connections may all be with peers that we chose to dial.
const FEW: usize = 8;
/// A peer that has everything is not dialled again for this long once we have, too.
const REST: Duration = Duration::from_secs(600);
/// Peers remembered after they went.
const MAX_FORMER: usize = 256;
/// Peers remembered as complete: as many as anybody can wait for. Peer ids cost a stranger nothing.
const MAX_FINISHED: usize = 65_535;

impl Swarm {
    /// A connection is up. Either it is closed again at once, or the peer is told what we have.
    pub(super) fn connected(&mut self, now: Time, key: PeerKey, peer: Peer, out: &mut Vec<Action>) {
        if let Some(addr) = peer.listen {
            self.roster.connected(now, addr, Source::Tracker);
        }
        if let Err(reason) = self.admit(now, &peer, out) {
            self.refused(now, &peer, reason);
            out.push(Action::Close { peer: key, reason });
            return;
        }
        let listens = peer.listen.is_some();
        self.peers.insert(key, peer);
        if listens {
            self.neighbourhood_changed(now);
        }
        self.wake_by(now, now + super::KEEP_ALIVE);
        self.introduce_ourselves(now, key, out);
        if self.assigner.is_active() {
            self.unchoke(now, key, false, out);
            self.assign(now, out);
        }
    }

    fn admit(&mut self, now: Time, peer: &Peer, out: &mut Vec<Action>) -> Result<(), Close> {
        if self.closed {
            return Err(Close::Stopping);
        }
        if peer.id == self.us {
            return Err(Close::Ourselves);
        }
        if self.roster.is_banned(now, peer.addr.ip(), peer.id) {
            return Err(Close::BadData);
        }
        let twin = self.peers.iter().find(|(_, p)| p.id == peer.id);
        if let Some((&twin, old)) = twin {
            if !self.replaces(peer, old) {
                return Err(Close::Duplicate);
            }
            self.close(now, twin, Close::Duplicate, out);
        }
        if self.connections() >= self.config.max_peers {
            let useless = self.useless(now).map(|key| (key, Close::Useless));
            let yields = || self.who_yields_to(peer);
            let (key, reason) = useless.or_else(yields).ok_or(Close::Full)?;
            self.close(now, key, reason, out);
        }
        Ok(())
    }

    /// Of two connections with the same peer, both sides keep the one that the lower peer id has dialled. If the same side has dialled
    /// both, the older stays: otherwise anybody who knows a peer's id could push it out.
    fn replaces(&self, new: &Peer, old: &Peer) -> bool {
        let we_are_lower = self.us < new.id;
        new.outgoing != old.outgoing
            && new.outgoing == we_are_lower
            && new.addr.ip() == old.addr.ip()
    }

    fn refused(&mut self, now: Time, peer: &Peer, reason: Close) {
        let Some(addr) = peer.listen else {
            return;
        };
        match reason {
            Close::Ourselves => self.roster.never(addr),
            // The address stays connected as long as the other connection does.
            Close::Duplicate => self.learn_address(now, peer, addr),
            _ => self.roster.lost(now, addr, &mut self.rng),
        }
    }

    fn learn_address(&mut self, now: Time, peer: &Peer, addr: SocketAddr) {
        match self.peers.values_mut().find(|p| p.id == peer.id) {
            Some(twin) if twin.listen.is_none() => {
                twin.listen = Some(addr);
                self.neighbourhood_changed(now);
            }
            Some(twin) if twin.listen == Some(addr) => {}
            // A second address of the same peer.
            _ => self.roster.rest(now, addr, REST, &mut self.rng),
        }
    }

    fn useless(&self, now: Time) -> Option<PeerKey> {
        let idle = self.peers.iter().filter(|(_, p)| {
            let idle = !p.am_interested && !p.peer_interested && p.web_seed.is_none();
            idle && now.since(p.since) >= USELESS
        });
        idle.min_by_key(|(_, p)| p.heard).map(|(&key, _)| key)
    }

    /// Of those that have dialled us the one that makes room for `newcomer`, who has dialled us, too, and why. Those that we chose to dial stay.
    ///
    /// One of the host that most of them are from, the last to come, if fewer are from the newcomer's: nobody can fill all places from one address.
    /// Among equals by canonical priority (BEP 40), so that who is connected with whom does not follow from who came first, and the swarm
    /// hangs together. Nobody can be of high priority for everybody.
    fn who_yields_to(&self, newcomer: &Peer) -> Option<(PeerKey, Close)> {
        if newcomer.outgoing {
            return None;
        }
        let from = |peer: &Peer| self.roster.host_of(peer.addr.ip());
        let rank = |peer: &Peer| self.roster.priority_of_caller(peer.addr.ip());
        let callers = || self.peers.iter().filter(|(_, peer)| !peer.outgoing);
        let mut crowds = BTreeMap::from([(from(newcomer), 1_usize)]);
        for (_, peer) in callers() {
            *crowds.entry(from(peer)).or_default() += 1;
        }
        let crowd = |peer: &Peer| crowds.get(&from(peer)).copied();
        let order = |&(key, peer): &(&PeerKey, &Peer)| {
            let (rank, youth) = (rank(peer), (Reverse(peer.since), Reverse(*key)));
            (Reverse(crowd(peer)), rank.is_none(), rank, youth)
        };
        let (&key, first) = callers().min_by_key(order)?;
        match crowd(first).cmp(&crowd(newcomer)) {
            Ordering::Greater => Some((key, Close::Crowded)),
            Ordering::Equal => (rank(first)? < rank(newcomer)?).then_some((key, Close::Outranked)),
            Ordering::Less => None,
        }
    }

    fn introduce_ourselves(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let fast = peer.fast;
        let secret = self.assigner.is_active();
        peer.shown = secret.then(|| Bitfield::none(self.have.len()));
        if secret || self.have.ones() == 0 {
            if fast {
                self.say(now, key, Message::HaveNone, out);
            }
        } else if fast && self.have.is_full() {
            self.say(now, key, Message::HaveAll, out);
        } else {
            self.say(now, key, Message::Bitfield(self.have.clone()), out);
        }
        if !secret && self.is_complete() {
            out.push(Action::UploadOnly { peer: key });
        }
    }

    /// The peer has said what it has.
    pub(super) fn introduced(
        &mut self,
        now: Time,
        key: PeerKey,
        set: Bitfield,
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        if peer.introduced {
            // BEP 3 allows a bitfield only as the first message, but aria2 sends another where that is shorter than many `have`.
            let news: Vec<_> = set.iter().filter(|&p| !peer.have.has(p)).collect();
            for piece in news {
                self.announced(now, key, piece, out);
            }
            return;
        }
        peer.introduced = true;
        peer.uncounted = set.is_full();
        peer.useful = self.picker.useful(&set);
        let no_longer_rare = self.assigner.pending_in(&set);
        peer.have = set;
        if !peer.uncounted {
            peer.have.iter().for_each(|piece| self.picker.gained(piece));
        }
        if peer.is_seed() {
            self.has_finished(key);
            return self.met_seed(now, key, out);
        }
        // It may have been shown them itself before it could say so, and would never ask for them.
        for piece in no_longer_rare {
            self.assignment_done(now, key, piece, out);
        }
        self.show_interest(now, key, out);
    }

    /// The peer has one more piece.
    pub(super) fn announced(
        &mut self,
        now: Time,
        key: PeerKey,
        piece: PieceIndex,
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        peer.introduced = true;
        if !peer.have.set(piece) {
            return;
        }
        peer.announced = now;
        let pieces = peer.have.len();
        peer.download.allowed.announced(piece, pieces);
        self.restraint
            .announced(now, self.geometry.piece_len(piece));
        self.picker.gained(piece);
        self.assignment_done(now, key, piece, out);
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        if self.picker.lacks(piece) {
            peer.useful += 1;
            peer.download.dry = 0;
        }
        if peer.is_seed() {
            self.has_finished(key);
            if self.is_complete() {
                return self.close(now, key, Close::BothComplete, out);
            }
        }
        self.show_interest(now, key, out);
        self.fill(now, key, out);
    }

    /// The peer has everything.
    fn has_finished(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get(&key)
            && self.finished.len() < MAX_FINISHED
        {
            self.finished.insert(peer.id);
        }
    }

    /// A peer had everything when it came: we are not the only seed, and if we have everything, neither has use for the other.
    fn met_seed(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        if self.is_complete() {
            self.close(now, key, Close::BothComplete, out);
            if self.assigner.is_active() {
                self.reveal_all(now, out);
            }
        } else {
            self.show_interest(now, key, out);
            self.fill(now, key, out);
        }
    }

    /// The peer's extension handshake (BEP 10).
    pub(super) fn extended(
        &mut self,
        now: Time,
        key: PeerKey,
        said: &ExtendedHandshake,
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        if let Some(reqq) = said.request_queue {
            peer.download.pipeline.set_reqq(reqq);
        }
        // What a later one does not name stays as it was.
        if let Some(&number) = said.extensions.get(metadata::NAME) {
            peer.metadata.number = number;
        }
        if let Some(&number) = said.extensions.get(pex::NAME) {
            peer.pex.number = number;
        }
        peer.upload_only = said.upload_only;
        peer.client = said.client.clone().unwrap_or_default();
        if let (Some(port), None) = (said.listen_port, peer.listen) {
            let addr = SocketAddr::new(peer.addr.ip(), port);
            peer.listen = Some(addr);
            self.roster.connected(now, addr, Source::Gossip);
        }
        // It may be new to others, and others to it.
        self.neighbourhood_changed(now);
        // Another only seed keeps its pieces to itself as we do.
        if (said.upload_only || said.seed) && self.is_complete() {
            self.met_seed(now, key, out);
        }
    }

    /// Tells the peer whether it has anything for us, if that has changed.
    pub(super) fn show_interest(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let interested = peer.useful > 0;
        if interested != peer.am_interested {
            peer.am_interested = interested;
            let message = if interested {
                Message::Interested
            } else {
                Message::NotInterested
            };
            self.say(now, key, message, out);
        }
    }

    /// We have everything that we want: connections to seeds are of no use any more.
    pub(super) fn part_from_seeds(&mut self, now: Time, out: &mut Vec<Action>) {
        let seeds: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, p)| p.is_seed())
            .map(|(&k, _)| k)
            .collect();
        for key in seeds {
            self.close(now, key, Close::BothComplete, out);
        }
    }

    /// Ends a connection. The peer is forgotten at once.
    pub(super) fn close(&mut self, now: Time, key: PeerKey, reason: Close, out: &mut Vec<Action>) {
        let Some(listen) = self.peers.get(&key).map(|p| p.listen) else {
            return;
        };
        out.push(Action::Close { peer: key, reason });
        self.remove(now, key, out);
        if let (Close::BothComplete | Close::Useless | Close::Protocol, Some(addr)) =
            (reason, listen)
        {
            self.roster.rest(now, addr, REST, &mut self.rng);
        }
    }

    /// The connection has ended.
    pub(super) fn remove(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.remove(&key) else {
            return;
        };
        self.waiting -= usize::from(peer.waits());
        self.web_seeds -= usize::from(peer.web_seed.is_some());
        if let Some(addr) = peer.listen {
            self.roster.lost(now, addr, &mut self.rng);
            self.neighbourhood_changed(now);
        }
        // Whoever has sent nothing cannot have lied.
        if peer.download.traffic.total > 0 {
            if self.former.len() >= MAX_FORMER {
                self.former.pop_front();
            }
            self.former.push_back((key, peer.addr, peer.id));
        }
        if !peer.uncounted {
            peer.have.iter().for_each(|piece| self.picker.lost(piece));
        }
        for &asked in &peer.download.owed {
            self.free(asked, key);
        }
        self.release(now, key, out);
        for assignment in &peer.upload.assigned {
            self.assigner.sent(assignment.unsent);
        }
        self.assigner.gone(key);
        self.fill_all(now, out);
        self.assign(now, out);
        self.review_slots(now, out);
        self.hand_out(now, None, out);
    }

    /// Dials until half of the connections are taken. The rest is for those who come later and dial us: if the first to come filled all their places
    /// with one another, nobody else would reach the origin, and pieces would leave their circle over a few connections. Simulated with 128 workers of 25 connections each,
    /// the first were done after 1.07 × the bound and all others after 2.4 to 2.7.
    pub(super) fn dial(&mut self, now: Time, out: &mut Vec<Action>) {
        let most = self.config.max_peers;
        let enough = most.div_ceil(2).max(FEW.min(most));
        let room = if self.closed {
            0
        } else {
            enough.saturating_sub(self.connections())
        };
        while self.roster.dialling() < room {
            let Some(addr) = self.roster.next(now) else {
                break;
            };
            out.push(Action::Dial(addr));
            self.wake_by(now, now + USELESS);
        }
        if let (1.., Some(at)) = (room, self.roster.deadline()) {
            self.wake_by(now, at);
        }
    }
}

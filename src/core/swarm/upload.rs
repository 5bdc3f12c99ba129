//! What others ask us for, and what they get.

use crate::base::geometry::Block;
use crate::base::time::Time;
use crate::proto::peer::message::Message;

use super::Swarm;
use super::choker::{self, turn_ends};
use super::event::{Action, Close, PeerKey};
use super::peer::Peer;

/// Requests of one peer that wait at most; what we tell others in our extension handshake (`reqq`, BEP 10) stays well below.
pub const MAX_QUEUE: usize = 2000;
/// Requests that a peer had no right to, before it is dropped: those sent before it could know that it was choked are no fault.
const MAX_REFUSED: u32 = 4000;

impl Swarm {
    /// What to read and send to `peer` now, best first: at most `max_bytes` (but at least one block), neighbours where there are any.
    /// Called by the peer's writer whenever it has nothing else to send. Nothing is due if no block is returned; [`Action::Serve`] will
    /// tell when there is. The blocks count as sent.
    pub fn next_uploads(
        &mut self,
        now: Time,
        peer: PeerKey,
        max_bytes: u32,
        blocks: &mut Vec<Block>,
        out: &mut Vec<Action>,
    ) {
        if !self.may_send(now, peer, out) {
            return;
        }
        self.take_batch(peer, max_bytes, blocks);
        let sent: u64 = blocks.iter().map(|b| u64::from(b.len)).sum();
        let Some(to) = self.peers.get_mut(&peer).filter(|_| sent > 0) else {
            return;
        };
        to.spoke = now;
        to.upload.traffic.add(now, sent);
        to.upload.turn_blocks += u32::try_from(blocks.len()).unwrap_or(u32::MAX);
        let idle = to.upload.queue.is_empty();
        to.upload.idle_since = idle.then_some(now);
        self.up.add(now, sent);
        self.uplink.add(now, sent);
        self.took_batch(now, peer, sent);
        if self.assigner.is_active() {
            self.count_assigned(now, peer, blocks, out);
        } else if idle {
            self.review_slots(now, out);
        }
    }

    /// Moves the next blocks out of the queue: those of the rarest piece among our neighbours, or the oldest while we are the only seed.
    fn take_batch(&mut self, key: PeerKey, max_bytes: u32, blocks: &mut Vec<Block>) {
        let rarity = self.picker.rarity();
        let Some(peer) = self.peers.get_mut(&key).filter(|p| !p.am_choking) else {
            return;
        };
        let queue = &mut peer.upload.queue;
        let first = if self.assigner.is_active() {
            0
        } else {
            let places = queue.iter().enumerate();
            places
                .min_by_key(|(n, b)| (rarity.copies(b.piece), *n))
                .map_or(0, |(n, _)| n)
        };
        let Some(mut last) = queue.remove(first) else {
            return;
        };
        blocks.push(last);
        let mut left = max_bytes.saturating_sub(last.len);
        while let Some(&next) = queue.get(first) {
            let follows =
                next.piece == last.piece && last.begin.checked_add(last.len) == Some(next.begin);
            if !follows || next.len > left {
                break;
            }
            queue.remove(first);
            blocks.push(next);
            left -= next.len;
            last = next;
        }
    }

    /// The peer asks for a block.
    pub(super) fn requested(
        &mut self,
        now: Time,
        key: PeerKey,
        block: Block,
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let granted =
            !peer.am_choking && self.have.has(block.piece) && peer.upload.queue.len() < MAX_QUEUE;
        if granted {
            let waits = !peer.upload.queue.is_empty();
            peer.upload.woke(now);
            peer.upload.queue.push_back(block);
            if !waits {
                self.queue_writer(now, key, out);
            }
            return;
        }
        peer.faults.refused += 1;
        let (fast, refused) = (peer.fast, peer.faults.refused);
        if refused > MAX_REFUSED {
            self.close(now, key, Close::Protocol, out);
        } else if fast {
            self.say(now, key, Message::Reject(block), out);
        }
    }

    /// The peer does not want a block any more.
    pub(super) fn cancelled(
        &mut self,
        now: Time,
        key: PeerKey,
        block: Block,
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let Some(at) = peer.upload.queue.iter().position(|b| *b == block) else {
            return;
        };
        peer.upload.queue.remove(at);
        if peer.upload.queue.is_empty() {
            peer.upload.idle_since = Some(now);
        }
        if peer.fast {
            self.say(now, key, Message::Reject(block), out);
        }
    }

    /// The peer wants something of ours, or no more.
    pub(super) fn interest(
        &mut self,
        now: Time,
        key: PeerKey,
        interested: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        if peer.peer_interested == interested {
            return;
        }
        self.waiting -= usize::from(peer.waits());
        peer.peer_interested = interested;
        peer.upload.waiting_since = now;
        peer.upload.aloof &= !interested;
        self.waiting += usize::from(peer.waits());
        if interested && !peer.am_choking {
            peer.upload.begin_turn(now);
            self.shed(now, key, out);
        }
        self.review_slots(now, out);
    }

    /// A peer that kept its slot while it wanted nothing wants something again. If that makes one too many, the slot of one whose turn is
    /// over goes, or else its own.
    fn shed(&mut self, now: Time, back: PeerKey, out: &mut Vec<Action>) {
        if !self.assigner.is_active() && self.serving() > self.choker.slots() {
            let key = self.turn_over(now).unwrap_or(back);
            self.choke(now, key, out);
        }
    }

    /// Peers that are served and want to be.
    fn serving(&self) -> usize {
        let holds_slot = |p: &&Peer| !p.am_choking && p.peer_interested;
        self.peers.values().filter(holds_slot).count()
    }

    /// Peers that use a slot: those that are served and want to be. One that has been silent for a while leaves its slot to another,
    /// unless the operator has said how many may be served.
    fn slots_in_use(&self, now: Time) -> usize {
        if self.choker.is_fixed() {
            return self.serving();
        }
        let served = self
            .peers
            .values()
            .filter(|p| !p.am_choking && p.peer_interested);
        let idle = |p: &Peer| p.upload.idle_since.map(|at| at + choker::grace(p));
        served
            .filter(|p| idle(p).is_none_or(|until| now < until))
            .count()
    }

    /// Serves `key` from now on.
    pub(super) fn unchoke(
        &mut self,
        now: Time,
        key: PeerKey,
        optimistic: bool,
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&key).filter(|p| p.am_choking) else {
            return;
        };
        self.waiting -= usize::from(peer.waits());
        peer.am_choking = false;
        peer.faults.refused = 0;
        peer.upload.begin_turn(now);
        if peer.peer_interested {
            peer.upload.call(now);
        }
        peer.upload.optimistic = optimistic;
        self.say(now, key, Message::Unchoke, out);
    }

    /// Serves `key` no more. What it has asked for is forgotten; with BEP 6 it is told so block by block.
    fn choke(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&key).filter(|p| !p.am_choking) else {
            return;
        };
        peer.am_choking = true;
        peer.upload.waiting_since = now;
        self.waiting += usize::from(peer.waits());
        let dropped = std::mem::take(&mut peer.upload.queue);
        let fast = peer.fast;
        self.say(now, key, Message::Choke, out);
        for block in dropped.into_iter().filter(|_| fast) {
            self.say(now, key, Message::Reject(block), out);
        }
    }

    /// Hands slots that are free, or whose peers have had their turn, to peers that wait.
    pub(super) fn review_slots(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.assigner.is_active() {
            return;
        }
        while self.waiting > 0 {
            let free = self.slots_in_use(now) < self.choker.slots();
            let seeding = self.is_complete();
            let over = self.turn_over(now);
            if !free && over.is_none() {
                break;
            }
            let waiting = self
                .peers
                .iter()
                .filter(|(_, p)| p.waits())
                .map(|(&k, p)| (k, p));
            let Some((next, optimistic)) =
                self.choker.next(now, waiting, seeding, free, &mut self.rng)
            else {
                break;
            };
            if let (false, Some(over)) = (free, over) {
                self.choke(now, over, out);
            }
            self.unchoke(now, next, optimistic, out);
        }
        if self.waiting > 0 {
            let seeding = self.is_complete();
            let served = self
                .peers
                .values()
                .filter(|p| !p.am_choking && p.peer_interested);
            let ends = served
                .map(|p| turn_ends(p, now, seeding))
                .filter(|&at| at > now);
            let next = ends.min().unwrap_or(now + choker::GROW_EVERY);
            self.wake_by(now, next.min(now + choker::GROW_EVERY));
        }
    }

    /// The peer whose turn was over first.
    fn turn_over(&self, now: Time) -> Option<PeerKey> {
        let seeding = self.is_complete();
        let served = self
            .peers
            .iter()
            .filter(|(_, p)| !p.am_choking && p.peer_interested);
        let ends = served.map(|(&key, p)| (turn_ends(p, now, seeding), key));
        ends.min().filter(|(at, _)| *at <= now).map(|(_, key)| key)
    }

    pub(super) fn adapt_slots(&mut self, now: Time) {
        if self.waiting > 0 {
            let share = self.uplink.share(now).unwrap_or(1.0);
            self.choker.adapt(now, share);
        }
    }
}

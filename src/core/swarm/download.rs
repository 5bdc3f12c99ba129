//! What we ask for and what comes of it.

use std::time::Duration;

use crate::base::geometry::{Block, PieceIndex};
use crate::base::time::Time;
use crate::proto::peer::message::Message;

use super::Swarm;
use super::event::{Action, Close, PeerKey, Verdict};
use super::peer::{Asked, Peer};
use super::picker::{Asker, Landed};

/// Blocks that nobody asked for, before the peer is dropped.
const MAX_STRAYS: u32 = 32;
/// How long a peer that has rejected a request has peace, if it has the block alone.
const AFTER_REJECT: Duration = Duration::from_secs(1);
/// Requests at once to one peer in the end game.
const END_GAME_DEPTH: usize = 8;

impl Swarm {
    /// The data of a `piece` message has come from `peer`. Says what to do with it; the block is to be kept before any of `out` is done.
    pub fn block_arrived(
        &mut self,
        now: Time,
        peer: PeerKey,
        block: Block,
        out: &mut Vec<Action>,
    ) -> Verdict {
        let Some(from) = self.peers.get_mut(&peer) else {
            return Verdict::Discard;
        };
        from.heard = now;
        from.download.last_block = now;
        from.download.snubbed = false;
        from.download.traffic.add(now, u64::from(block.len));
        self.down.add(now, u64::from(block.len));
        let verdict = self.land(now, peer, block, out);
        if verdict == Verdict::Discard {
            self.wasted += u64::from(block.len);
        }
        self.fill(now, peer, out);
        verdict
    }

    fn land(&mut self, now: Time, key: PeerKey, block: Block, out: &mut Vec<Action>) -> Verdict {
        let n = self.geometry.block_number(block);
        let Some(peer) = self.peers.get_mut(&key) else {
            return Verdict::Discard;
        };
        let asked = n.and_then(|n| peer.settle(block.piece, n));
        if let Some(asked) = asked {
            let took = now.since(asked.at);
            peer.download
                .pipeline
                .arrived(now, block.len, took, asked.alone);
        } else if peer.faults.excused > 0 {
            peer.faults.excused -= 1;
        } else {
            peer.faults.strays += 1;
            if peer.faults.strays > MAX_STRAYS {
                self.close(now, key, Close::Protocol, out);
            }
            return Verdict::Discard;
        }
        let Some(n) = n else {
            return Verdict::Discard;
        };
        let Landed::Wanted { also, whole } = self.picker.arrive(block.piece, n, key) else {
            return Verdict::Discard;
        };
        for other in also.into_iter().flatten() {
            self.call_off(now, other, block, n, out);
        }
        if whole {
            out.push(Action::Verify(block.piece));
        }
        Verdict::Keep
    }

    /// A block that `key` owes has come from elsewhere.
    fn call_off(&mut self, now: Time, key: PeerKey, block: Block, n: u32, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        if peer.settle(block.piece, n).is_some() {
            peer.faults.excused += 1;
            self.allowance.give_back(block.len);
            self.say(now, key, Message::Cancel(block), out);
            self.fill(now, key, out);
        }
    }

    /// Asks `key` for blocks until its pipeline is full or it has no more for us.
    pub(super) fn fill(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        if self.is_limited() {
            return self.deal(now, out);
        }
        let Some(depth) = self.room(now, key) else {
            return;
        };
        while let Some(block) = self.choose(now, key, depth, out) {
            self.ask(now, key, block, out);
        }
        self.watch_holders(now);
    }

    /// How many blocks `key` may owe us, if there is any point in asking it for more now.
    pub(super) fn room(&mut self, now: Time, key: PeerKey) -> Option<usize> {
        let peer = self.peers.get(&key)?;
        if peer.on_offer().is_none() || peer.useful == 0 {
            return None;
        }
        if self.picker.unverified_bytes() >= self.config.max_unverified {
            self.throttled = true;
            return None;
        }
        let depth = if peer.download.snubbed {
            1
        } else {
            peer.download.pipeline.depth(now)
        };
        // Requests in small batches wake the writers less often; those to a web seed become one range each.
        let share = if peer.web_seed.is_some() { 2 } else { 16 };
        (peer.download.owed.len() + depth / share < depth).then_some(depth)
    }

    pub(super) fn choose(
        &mut self,
        now: Time,
        key: PeerKey,
        depth: usize,
        out: &mut Vec<Action>,
    ) -> Option<Block> {
        let peer = self.peers.get(&key)?;
        let download = &peer.download;
        let asker = Asker {
            key,
            have: peer.on_offer()?,
            who: peer.who(),
            now,
            run: peer.web_seed.map(|web| web.run),
        };
        if download.owed.len() >= depth {
            return None;
        }
        if download.dry == self.picker.epoch() {
            self.recall(now, key, out);
            return None;
        }
        if let Some(block) = self.picker.pick(asker, &mut self.rng) {
            return Some(block);
        }
        if let Some((piece, holder)) = self.picker.lapsed(asker) {
            self.take_from(now, holder, piece, out);
            return self.choose(now, key, depth, out);
        }
        let back = asker.run.is_some_and(|run| run.in_order);
        if self.picker.in_end_game() && !back {
            let peers = &self.peers;
            let slower = |by: PeerKey| peers.get(&by).is_none_or(|by| is_slower(by, peer, now));
            return (download.owed.len() < END_GAME_DEPTH)
                .then(|| self.picker.pick_again(asker, slower))?;
        }
        let epoch = self.picker.epoch();
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.download.dry = epoch;
        }
        self.recall(now, key, out);
        None
    }

    pub(super) fn ask(&mut self, now: Time, key: PeerKey, block: Block, out: &mut Vec<Action>) {
        let timeout = self.config.request_timeout;
        let (Some(peer), Some(n)) = (self.peers.get_mut(&key), self.geometry.block_number(block))
        else {
            return;
        };
        self.allowance.take(block.len);
        if let Some(web) = &mut peer.web_seed {
            web.run.last = Some(block.piece);
        }
        let alone = peer.download.owed.is_empty();
        peer.download.owed.push_back(Asked {
            piece: block.piece,
            n,
            at: now,
            alone,
            recalled_for: None,
        });
        self.say(now, key, Message::Request(block), out);
        if alone {
            self.wake_by(now, now + timeout);
        }
    }

    /// Asks everybody who has room; blocks have become available.
    pub(super) fn fill_all(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.is_complete() {
            return;
        }
        if self.is_limited() {
            return self.deal(now, out);
        }
        let keys: Vec<_> = self.peers.keys().copied().collect();
        for key in keys {
            self.fill(now, key, out);
        }
    }

    /// The peer serves us no more.
    pub(super) fn choked(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        peer.peer_choking = true;
        // With BEP 6 each request is answered all the same, by its block or a reject.
        if !peer.fast {
            let owed = std::mem::take(&mut peer.download.owed);
            self.give_up(now, key, owed, out);
        }
    }

    /// The peer serves us.
    pub(super) fn unchoked(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.peer_choking = false;
            // It may have had nothing that it allowed us to ask for.
            peer.download.dry = 0;
            peer.download.last_block = now;
        }
        self.fill(now, key, out);
    }

    /// The peer will not send this block (BEP 6).
    pub(super) fn rejected(
        &mut self,
        now: Time,
        key: PeerKey,
        block: Block,
        out: &mut Vec<Action>,
    ) {
        let n = self.geometry.block_number(block);
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        if peer.peer_choking {
            peer.download.allowed.refused(block.piece);
        }
        if let Some(asked) = n.and_then(|n| peer.settle(block.piece, n)) {
            let again = *peer.download.again.get_or_insert(now + AFTER_REJECT);
            self.wake_by(now, again);
            if let Some(idle) = asked.recalled_for {
                self.free(asked, key);
                self.fill(now, idle, out);
                if self.picker.is_missing(block.piece) {
                    self.fill_others(now, key, out);
                }
            } else {
                self.give_up(now, key, [asked], out);
            }
        } else {
            peer.faults.excused = peer.faults.excused.saturating_sub(1);
        }
    }

    /// Frees what `key` owed and asks others for it.
    fn give_up(
        &mut self,
        now: Time,
        key: PeerKey,
        owed: impl IntoIterator<Item = Asked>,
        out: &mut Vec<Action>,
    ) {
        for asked in owed {
            self.free(asked, key);
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.faults.excused += 1;
            }
        }
        self.fill_others(now, key, out);
    }

    /// What `key` was asked for will not come from it.
    pub(super) fn free(&mut self, asked: Asked, key: PeerKey) {
        self.picker.free(asked.piece, asked.n, key);
        let block = self.geometry.block(asked.piece, asked.n);
        self.allowance.give_back(block.len);
    }

    fn fill_others(&mut self, now: Time, but: PeerKey, out: &mut Vec<Action>) {
        if self.is_limited() {
            return self.deal(now, out);
        }
        let keys: Vec<_> = self.peers.keys().copied().filter(|&k| k != but).collect();
        for key in keys {
            self.fill(now, key, out);
        }
    }

    /// Asks a peer again that has rejected something, which nobody else may have.
    pub(super) fn ask_again(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        match peer.download.again {
            Some(at) if now >= at => {
                peer.download.again = None;
                self.fill(now, key, out);
            }
            Some(at) => self.wake_by(now, at),
            None => {}
        }
    }

    /// Frees requests that have waited for too long (R71, R81).
    pub(super) fn check_overdue(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let timeout = self.config.request_timeout;
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let download = &mut peer.download;
        let last = download.last_block;
        let late = |asked: &Asked| now >= due(asked.at, last, timeout);
        let count = download.owed.iter().take_while(|a| late(a)).count();
        let overdue: Vec<_> = download.owed.drain(..count).collect();
        if let Some(first) = download.owed.front() {
            let at = due(first.at, last, timeout);
            self.wake_by(now, at);
        }
        if overdue.is_empty() {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.download.snubbed = now.since(last) >= timeout;
        }
        for asked in &overdue {
            let block = self.geometry.block(asked.piece, asked.n);
            self.say(now, key, Message::Cancel(block), out);
        }
        self.give_up(now, key, overdue, out);
        self.release(now, key, out);
        self.fill_all(now, out);
    }

    /// The hash of a piece has been compared.
    pub(super) fn verified(
        &mut self,
        now: Time,
        piece: PieceIndex,
        good: bool,
        sums: &[u64],
        out: &mut Vec<Action>,
    ) {
        let Some(judgement) = self.picker.verified(now, piece, good, sums) else {
            return;
        };
        if good {
            self.gained(now, piece, out);
        } else {
            self.wasted += u64::from(self.geometry.piece_len(piece));
        }
        self.judge(now, piece, good, &judgement, out);
        let throttled = std::mem::take(&mut self.throttled);
        if !good || throttled {
            self.fill_all(now, out);
        }
    }

    fn gained(&mut self, now: Time, piece: PieceIndex, out: &mut Vec<Action>) {
        if self.withheld.pieces.has(piece) {
            self.withheld.here.set(piece);
        } else {
            self.have.set(piece);
            self.say_to_all(now, &Message::Have(piece), out);
        }
        let owners: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, p)| p.have.has(piece))
            .map(|(&k, _)| k)
            .collect();
        for key in owners {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.useful = peer.useful.saturating_sub(1);
            }
            self.show_interest(now, key, out);
        }
        if self.is_complete() {
            let peers = self.peers.keys();
            out.extend(peers.map(|&peer| Action::UploadOnly { peer }));
            out.push(Action::Complete);
            self.part_from_seeds(now, out);
            self.review_slots(now, out);
        }
    }
}

/// When a request is overdue: `timeout` after it was made, or after the peer's last block, since slow is not silent; but a peer that sends
/// everything except this is given no more than four times as long.
fn due(asked: Time, last_block: Time, timeout: Duration) -> Time {
    (asked.max(last_block) + timeout).min(asked + timeout * 4)
}

/// Whether what `by` owes is likely to come sooner from `peer`.
fn is_slower(by: &Peer, peer: &Peer, now: Time) -> bool {
    by.download.snubbed || by.download.pipeline.rate(now) <= peer.download.pipeline.rate(now)
}

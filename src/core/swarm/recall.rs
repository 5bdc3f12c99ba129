//! Blocks that one peer will not send for long, while another that has them too has nothing to do, are called back and asked for there.
//!
//! In a busy swarm everything that there is has been asked for, most of it from peers with long queues, and others idle. A duplicate
//! would cost the link what it saves in time; so the first peer is asked not to send the block, and only when it has agreed (BEP 6: each
//! request is answered, by its block or a reject) the second one is asked for it.

use std::time::Duration;

use crate::base::geometry::BLOCK;
use crate::base::time::Time;
use crate::core::rate::time_for;
use crate::proto::peer::message::Message;

use super::Swarm;
use super::event::{Action, PeerKey};
use super::peer::{Asked, Peer};

/// A peer that owes us no more than so many blocks is about to have nothing to do.
const IDLE: usize = 3;
/// What will come within this time may as well be waited for.
const SOON: Duration = Duration::from_millis(20);
/// Blocks called back at once for a peer…
const AT_ONCE: usize = 8;
/// …and how long until the next ones, since it takes a while until they are free.
const PAUSE: Duration = Duration::from_millis(15);

impl Swarm {
    /// `key` has nothing more to be asked for: calls back what the peer with the longest queue would send last.
    pub(super) fn recall(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let limited = self.is_limited();
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let chokes = peer.peer_choking;
        let download = &mut peer.download;
        let paused = download.recalled.is_some_and(|at| now < at + PAUSE);
        let in_order = peer.web_seed.is_some_and(|web| web.run.in_order);
        if chokes || in_order || download.snubbed || download.owed.len() > IDLE || paused || limited
        {
            return;
        }
        download.recalled = Some(now);
        let Some(peer) = self.peers.get(&key) else {
            return;
        };
        let fits = |asked: &&Asked| {
            asked.recalled_for.is_none()
                && peer.have.has(asked.piece)
                && self.picker.is_shared(asked.piece)
        };
        let busy = self.peers.iter().filter(|(k, p)| **k != key && p.fast);
        let owing = busy.filter(|(_, p)| tail(p, now).any(|asked| fits(&asked)));
        let Some((_, from, other)) = owing
            .map(|(&k, p)| (wait(p, now), k, p))
            .max_by_key(|&(wait, k, _)| (wait, k))
        else {
            return;
        };
        let chosen: Vec<_> = tail(other, now)
            .filter(fits)
            .take(AT_ONCE)
            .copied()
            .collect();
        for asked in chosen {
            if let Some(other) = self.peers.get_mut(&from) {
                let owed = &mut other.download.owed;
                let same = owed
                    .iter_mut()
                    .find(|a| (a.piece, a.n) == (asked.piece, asked.n));
                same.into_iter().for_each(|a| a.recalled_for = Some(key));
            }
            let block = self.geometry.block(asked.piece, asked.n);
            self.say(now, from, Message::Cancel(block), out);
        }
    }
}

/// What a peer will not send soon of what it owes, the last first.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]
fn tail(peer: &Peer, now: Time) -> impl Iterator<Item = &Asked> {
    let rate = peer.download.pipeline.rate(now);
    let soon = rate * SOON.as_secs_f64() / f64::from(BLOCK);
    peer.download.owed.iter().skip(soon as usize).rev()
}

/// How long a peer needs for what it owes.
#[allow(clippy::cast_precision_loss)]
fn wait(peer: &Peer, now: Time) -> Duration {
    let bytes = peer.download.owed.len() as f64 * f64::from(BLOCK);
    let rate = peer.download.pipeline.rate(now);
    time_for(bytes, rate)
}

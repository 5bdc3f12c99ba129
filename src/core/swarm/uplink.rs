//! Which of the peers that we serve sends next.
//!
//! If every writer sent as soon as its peer asks for something, the kernel would share the uplink among all of them: ten pieces would
//! arrive at the same time, each ten times as late as the first one could have been, and a piece is of use to others only once it is whole.
//! So a few writers hold the uplink at a time. Whoever has handed over its batch makes way for whoever is more urgent.

use std::time::Duration;

use crate::base::time::Time;
use crate::core::rate::time_for;

use super::event::{Action, PeerKey};
use super::peer::Peer;
use super::{Swarm, no_later};

/// Writers that hold the uplink at a time: with fewer, it idles while one wakes up; with many, pieces arrive late.
const HOLDERS: usize = 3;
/// The same while some peer has nothing at all: the sooner the first pieces are whole, the sooner others can pass them on.
const HOLDERS_AT_FIRST: usize = 2;
/// A writer that has not come back after so many times the time that its batch should take, among the others', is held up by its receiver,
/// and does not count.
const LATE: u32 = 4;
/// The time that a batch should take as long as nobody knows what the uplink carries.
const UNKNOWN: Duration = Duration::from_millis(25);
/// But it has at least this long.
const LEAST_LATE: Duration = Duration::from_millis(2);
/// And no longer than this, whatever the uplink has carried.
const MOST_LATE: Duration = Duration::from_secs(1);

/// Where the writer of a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// The peer has asked for nothing.
    Idle,
    /// It has, and waits for the uplink.
    Waiting,
    /// It may take a batch. After that moment nobody waits for it any more.
    Called(Time),
    /// It has taken one. After that moment nobody waits for it any more.
    Sending(Time),
}

impl Writer {
    /// Until when it holds the uplink, if it does.
    fn holds(self, now: Time) -> Option<Time> {
        match self {
            Self::Called(until) | Self::Sending(until) => (until > now).then_some(until),
            Self::Idle | Self::Waiting => None,
        }
    }
}

impl Swarm {
    /// The peer, whose queue was empty, has asked for something.
    pub(super) fn queue_writer(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        if let Some(peer) = self.peers.get_mut(&key)
            && peer.upload.writer == Writer::Idle
        {
            peer.upload.writer = Writer::Waiting;
        }
        self.hand_out(now, None, out);
    }

    /// The writer of `key` is here, for the first time or with its last batch handed over. Whether it may take another one at once.
    pub(super) fn may_send(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) -> bool {
        let Some(peer) = self.peers.get_mut(&key) else {
            return false;
        };
        let empty = peer.upload.queue.is_empty();
        peer.upload.writer = match peer.upload.writer {
            Writer::Called(_) if !empty => return true,
            _ if empty => Writer::Idle,
            _ => Writer::Waiting,
        };
        self.hand_out(now, Some(key), out)
    }

    /// The writer of `key` has taken a batch of `bytes`.
    pub(super) fn took_batch(&mut self, now: Time, key: PeerKey, bytes: u64) {
        let rate = self.uplink.most(now);
        #[allow(clippy::cast_precision_loss)]
        let expected = if rate > 0.0 {
            time_for(bytes as f64 * HOLDERS as f64, rate)
        } else {
            UNKNOWN
        };
        let time = expected.saturating_mul(LATE);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.upload.writer = Writer::Sending(now + time.clamp(LEAST_LATE, MOST_LATE));
        }
    }

    /// Calls the most urgent writers as long as the uplink has too few. Returns whether `here` is one of them, which needs no call.
    pub(super) fn hand_out(
        &mut self,
        now: Time,
        here: Option<PeerKey>,
        out: &mut Vec<Action>,
    ) -> bool {
        let holders = || {
            self.peers
                .values()
                .filter_map(|p| p.upload.writer.holds(now))
        };
        let empty = |p: &Peer| p.peer_interested && p.have.ones() == 0;
        let most = if self.peers.values().any(empty) {
            HOLDERS_AT_FIRST
        } else {
            HOLDERS
        };
        let (mut free, next) = (most.saturating_sub(holders().count()), holders().min());
        while free > 0 {
            let Some(key) = self.most_urgent(here) else {
                return false;
            };
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.upload.writer = Writer::Called(now + LEAST_LATE);
            }
            if here == Some(key) {
                return true;
            }
            out.push(Action::Serve { peer: key });
            free -= 1;
        }
        let waits = |p: &Peer| p.upload.writer == Writer::Waiting;
        if self.peers.values().any(waits) {
            no_later(&mut self.uplink_due, now, next.unwrap_or(now + LEAST_LATE));
        }
        false
    }

    /// Of the writers that wait, the one whose peer has asked for the rarest piece, or while we are the only seed for the piece that was
    /// shown first; of equals the one that is here, because the sooner its piece is whole the better; then one whose peer has nothing at
    /// all. The rest is left to the dice: many hosts learn of the same pieces at the same moment, and would all serve the same peers.
    fn most_urgent(&mut self, here: Option<PeerKey>) -> Option<PeerKey> {
        let rarity = self.picker.rarity();
        let only_seed = self.assigner.is_active();
        let rng = &mut self.rng;
        let waiting = self.peers.iter().filter_map(|(&key, peer)| {
            if peer.upload.writer != Writer::Waiting {
                return None;
            }
            let queue = &peer.upload.queue;
            let urgency = if only_seed {
                let piece = queue.front()?.piece;
                let mut assigned = peer.upload.assigned.iter();
                let at = assigned
                    .any(|a| a.piece == piece)
                    .then(|| self.assigner.shown_at(piece));
                at.flatten().map_or(u64::MAX, Time::as_micros)
            } else {
                queue
                    .iter()
                    .map(|b| u64::from(rarity.copies(b.piece)))
                    .min()?
            };
            let empty = peer.have.ones() == 0;
            Some((urgency, here != Some(key), !empty, rng.u32(..), key))
        });
        waiting.min().map(|(.., key)| key)
    }
}

//! Whom to serve: how many at once, when a turn ends, and whose turn is next.
//!
//! Turns end by event, not by a ten-second clock: in a swarm of peers that co-operate, most turns are over within a fraction of a second.

use std::time::Duration;

use crate::base::time::Time;

use super::event::PeerKey;
use super::peer::Peer;

/// Slots to begin with. Few of those that are served send at a time (see `uplink`); with fewer to choose from, the uplink idles.
const FIRST: usize = 20;
/// Slots at most, when each peer served is limited by its own link.
const MOST: usize = 24;
/// A turn lasts at least so many blocks if they are asked for without a pause.
pub(super) const TURN: u32 = 16;
/// A turn of a peer that always asks for more.
pub(super) const LONGEST_TURN: Duration = Duration::from_secs(10);
/// A turn of a peer that does not co-operate and was given a slot that nobody else wanted.
const LEFTOVER_TURN: Duration = Duration::from_secs(1);
/// A peer that can give to us and does not for this long does not co-operate.
const GIVING: Duration = Duration::from_secs(20);
/// Peers that do not co-operate share one turn each time this has passed (the optimistic unchoke of BEP 3).
const OPTIMISTIC: Duration = Duration::from_secs(10);
/// What the way to a peer and back is taken for until it has been measured.
const UNKNOWN_DELAY: Duration = Duration::from_millis(100);
/// The uplink counts as idle below this share of what it has carried before.
const IDLE_SHARE: f64 = 0.9;
/// How often the number of slots may grow.
pub(super) const GROW_EVERY: Duration = Duration::from_millis(50);
/// How often it shrinks again while the uplink is busy.
const SHRINK_EVERY: Duration = Duration::from_secs(5);

/// The number of slots, and the optimistic clock.
#[derive(Clone, Debug)]
pub(super) struct Choker {
    fixed: Option<usize>,
    slots: usize,
    changed: Time,
    optimistic_due: Time,
}

impl Choker {
    /// `fixed` slots, or as many as the link can use.
    pub(super) fn new(fixed: Option<usize>, now: Time) -> Self {
        Self {
            fixed,
            slots: FIRST,
            changed: now,
            optimistic_due: now + OPTIMISTIC,
        }
    }

    /// Peers to serve at once.
    pub(super) fn slots(&self) -> usize {
        self.fixed.unwrap_or(self.slots)
    }

    /// Whether the operator has said how many.
    pub(super) const fn is_fixed(&self) -> bool {
        self.fixed.is_some()
    }

    /// The operator has changed his mind.
    pub(super) fn fix(&mut self, fixed: Option<usize>) {
        self.fixed = fixed;
    }

    /// Every slot is in use and somebody waits, while the uplink carries this share of what it can. If it could carry more, the peers
    /// served are limited by their own links: one more may use what they leave.
    pub(super) fn adapt(&mut self, now: Time, share: f64) {
        let idle = share < IDLE_SHARE;
        let since = now.since(self.changed);
        if idle && self.slots < MOST && since >= GROW_EVERY {
            self.slots += 1;
            self.changed = now;
        } else if !idle && self.slots > FIRST && since >= SHRINK_EVERY {
            self.slots -= 1;
            self.changed = now;
        }
    }

    /// Chooses among the peers that wait: who co-operates and has nothing at all yet, else who co-operates and has waited longest. From time to time, and when nobody else waits for a slot
    /// that is `free` anyway, one that does not co-operate. Returns whether it is an optimistic turn, too.
    pub(super) fn next<'a>(
        &mut self,
        now: Time,
        waiting: impl Iterator<Item = (PeerKey, &'a Peer)>,
        seeding: bool,
        free: bool,
        rng: &mut fastrand::Rng,
    ) -> Option<(PeerKey, bool)> {
        type Rank = (Time, u32, PeerKey);
        let longer = |best: Option<Rank>, this| Some(best.map_or(this, |b| b.min(this)));
        let (mut willing, mut unwilling) = (None, None);
        for (key, peer) in waiting {
            // Whoever has nothing yet can give nothing. Everybody hears of a new piece at the same moment: without the dice all who have
            // pieces would serve the same few, and the rest of the swarm would stand idle.
            let rank = if peer.have.ones() == 0 {
                (Time::ZERO, rng.u32(..), key)
            } else {
                (peer.upload.waiting_since, 0, key)
            };
            if seeding || co_operates(peer, now) {
                willing = longer(willing, rank);
            } else {
                unwilling = longer(unwilling, rank);
            }
        }
        let optimistic =
            unwilling.filter(|_| (free && willing.is_none()) || now >= self.optimistic_due);
        if optimistic.is_some() {
            self.optimistic_due = now + OPTIMISTIC;
        }
        let chosen = optimistic.or(willing);
        chosen.map(|(.., key)| (key, optimistic.is_some()))
    }
}

/// Whether a peer gives to us what it can: it serves us or did so of late, or has nothing for us.
pub(super) fn co_operates(peer: &Peer, now: Time) -> bool {
    let gives = !peer.peer_choking || now.since(peer.download.last_block) < GIVING;
    peer.useful == 0 || (gives && !peer.download.snubbed)
}

/// When the turn of a peer that we serve is over, if others wait; it may lie in the future.
pub(super) fn turn_ends(peer: &Peer, now: Time, seeding: bool) -> Time {
    let upload = &peer.upload;
    let deserved = seeding || upload.optimistic || co_operates(peer, now);
    let latest = upload.turn_began
        + if deserved {
            LONGEST_TURN
        } else {
            LEFTOVER_TURN
        };
    match upload.idle_since {
        Some(idle) if upload.turn_blocks >= TURN => idle,
        Some(idle) => latest.min(idle + grace(peer)),
        None => latest,
    }
}

/// How long a peer that is served may ask for nothing before its turn is over: a way there and back, twice, and a little.
pub(super) fn grace(peer: &Peer) -> Duration {
    peer.upload.delay.unwrap_or(UNKNOWN_DELAY) * 2 + Duration::from_millis(6)
}

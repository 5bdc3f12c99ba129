//! Asking for less: under a download limit, blocks are asked for only as far as the shell allows, and peers take turns.

use crate::base::geometry::BLOCK;
use crate::base::time::Time;

use super::Swarm;
use super::event::{Action, PeerKey};

/// What may be asked for under a limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    /// Bytes; `None` without a limit.
    left: Option<u64>,
    /// Somebody could have been asked for more.
    starved: bool,
    /// Whose turn it was last.
    last: PeerKey,
}

impl Allowance {
    /// A block of `len` bytes is asked for.
    pub(super) fn take(&mut self, len: u32) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(len.into());
        }
    }

    /// A block of `len` bytes that was asked for will not come.
    pub(super) fn give_back(&mut self, len: u32) {
        if let Some(left) = &mut self.left {
            *left += u64::from(len);
        }
    }

    fn is_spent(&self) -> bool {
        self.left.is_some_and(|left| left < BLOCK.into())
    }
}

impl Swarm {
    /// Whether blocks are asked for only as far as [`Swarm::allow`] allows.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.allowance.left.is_some()
    }

    /// Begins to ask only for what is allowed, or ends it.
    pub fn limit(&mut self, now: Time, limited: bool, out: &mut Vec<Action>) {
        if limited != self.is_limited() {
            self.allowance.left = limited.then_some(0);
            self.allowance.starved = false;
            self.fill_all(now, out);
        }
    }

    /// Whether more would be asked for if it were allowed.
    #[must_use]
    pub const fn is_starved(&self) -> bool {
        self.allowance.starved
    }

    /// Allows so many bytes more to be asked for. `false` if there is no use for them, which may then not be counted as allowed.
    pub fn allow(&mut self, now: Time, bytes: u32, out: &mut Vec<Action>) -> bool {
        if !self.is_limited() || !std::mem::take(&mut self.allowance.starved) {
            return false;
        }
        self.allowance.give_back(bytes);
        self.deal(now, out);
        true
    }

    /// Asks peer by peer for a block, as long as it is allowed and anybody has room.
    pub(super) fn deal(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.allowance.starved && self.allowance.is_spent() {
            return;
        }
        let last = self.allowance.last;
        let mut keys: Vec<_> = self.peers.keys().copied().collect();
        let next = keys.partition_point(|&key| key <= last);
        keys.rotate_left(next);
        keys.retain(|&key| self.has_more(key) && self.room(now, key).is_some());
        while !keys.is_empty() && !self.allowance.is_spent() {
            keys.retain(|&key| {
                if self.allowance.is_spent() {
                    return true;
                }
                self.allowance.last = key;
                self.ask_one(now, key, out)
            });
        }
        self.allowance.starved = !keys.is_empty();
        self.watch_holders(now);
    }

    fn has_more(&self, key: PeerKey) -> bool {
        let epoch = self.picker.epoch();
        let peer = self.peers.get(&key);
        peer.is_some_and(|peer| peer.download.dry != epoch)
    }

    /// Whether `key` could be asked for a block, and was.
    fn ask_one(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) -> bool {
        let block = self
            .room(now, key)
            .and_then(|depth| self.choose(now, key, depth, out));
        block.map(|block| self.ask(now, key, block, out)).is_some()
    }
}

//! A piece on its way: what is known of each of its blocks.

use super::event::PeerKey;

/// Connections that may be asked for the same block at once, end game included.
pub const MAX_ASKED: usize = 2;

/// What is known of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// Nobody has been asked.
    Missing,
    /// Asked for, from one peer or (in the end game) two.
    Asked(PeerKey, Option<PeerKey>),
    /// Here, from this peer.
    Here(PeerKey),
}

/// What the arrival of a block changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The block is here for the first time. `also` had been asked for it too and need not send it any more.
    Fresh { also: [Option<PeerKey>; 2] },
    /// It was here already.
    Repeated,
}

/// The blocks of one piece.
#[derive(Clone, Debug)]
pub(super) struct Partial {
    slots: Vec<Slot>,
    missing: u32,
    asked_once: u32,
    here: u32,
    /// No block before this one is missing.
    cursor: usize,
    /// A piece that was bad comes from one peer alone, so that the next verdict on it is one on that peer.
    only: Option<PeerKey>,
}

impl Partial {
    /// A piece of `blocks` blocks, none of them here; fetched from `only` alone, if given.
    pub(super) fn new(blocks: u32, only: Option<PeerKey>) -> Self {
        Self {
            slots: vec![Slot::Missing; blocks as usize],
            missing: blocks,
            asked_once: 0,
            here: 0,
            cursor: 0,
            only,
        }
    }

    /// Blocks that nobody has been asked for.
    pub(super) const fn missing(&self) -> u32 {
        self.missing
    }

    /// Blocks that are here.
    pub(super) const fn here(&self) -> u32 {
        self.here
    }

    /// Whether all blocks are here.
    pub(super) fn is_whole(&self) -> bool {
        self.here as usize == self.slots.len()
    }

    /// Whether no block is here and none has been asked for.
    pub(super) fn is_untouched(&self) -> bool {
        self.missing as usize == self.slots.len()
    }

    /// The peer that this piece comes from alone.
    pub(super) const fn only(&self) -> Option<PeerKey> {
        self.only
    }

    /// Whether `peer` may be asked for blocks of this piece.
    pub(super) fn open_to(&self, peer: PeerKey) -> bool {
        self.only.is_none_or(|only| only == peer)
    }

    /// The first missing block, now asked for from `peer`.
    pub(super) fn ask(&mut self, peer: PeerKey) -> Option<u32> {
        let rest = self.slots.get_mut(self.cursor..)?;
        let Some(step) = rest.iter().position(|s| *s == Slot::Missing) else {
            self.cursor = self.slots.len();
            return None;
        };
        rest[step] = Slot::Asked(peer, None);
        let n = self.cursor + step;
        self.cursor = n + 1;
        self.missing -= 1;
        self.asked_once += 1;
        u32::try_from(n).ok()
    }

    /// A block that one other peer has been asked for and `take` approves of, now asked for from `peer` as well.
    pub(super) fn ask_again(
        &mut self,
        peer: PeerKey,
        mut take: impl FnMut(PeerKey) -> bool,
    ) -> Option<u32> {
        if self.asked_once == 0 {
            return None;
        }
        let n = self
            .slots
            .iter()
            .position(|s| matches!(*s, Slot::Asked(by, None) if by != peer && take(by)))?;
        let Slot::Asked(by, None) = self.slots[n] else {
            return None;
        };
        self.slots[n] = Slot::Asked(by, Some(peer));
        self.asked_once -= 1;
        u32::try_from(n).ok()
    }

    /// `peer` will not send the block after all. Returns whether it is missing now.
    pub(super) fn free(&mut self, n: u32, peer: PeerKey) -> bool {
        let at = n as usize;
        let Some(slot) = self.slots.get_mut(at) else {
            return false;
        };
        match *slot {
            Slot::Asked(a, Some(b)) if a == peer || b == peer => {
                *slot = Slot::Asked(if a == peer { b } else { a }, None);
                self.asked_once += 1;
                false
            }
            Slot::Asked(a, None) if a == peer => {
                *slot = Slot::Missing;
                self.asked_once -= 1;
                self.missing += 1;
                self.cursor = self.cursor.min(at);
                true
            }
            _ => false,
        }
    }

    /// The block has come from `peer`.
    pub(super) fn arrive(&mut self, n: u32, peer: PeerKey) -> Arrival {
        let Some(slot) = self.slots.get_mut(n as usize) else {
            return Arrival::Repeated;
        };
        let also = match *slot {
            Slot::Here(_) => return Arrival::Repeated,
            Slot::Missing => {
                self.missing -= 1;
                [None, None]
            }
            Slot::Asked(a, b) => {
                self.asked_once -= u32::from(b.is_none());
                [Some(a), b].map(|by| by.filter(|&by| by != peer))
            }
        };
        *slot = Slot::Here(peer);
        self.here += 1;
        Arrival::Fresh { also }
    }

    /// The peers that the blocks here came from, block by block.
    pub(super) fn senders(&self) -> Vec<PeerKey> {
        let from = self.slots.iter().filter_map(|s| match s {
            Slot::Here(from) => Some(*from),
            _ => None,
        });
        from.collect()
    }

    /// The peers asked for each block, for tests and the simulation's checks.
    #[cfg(test)]
    pub(super) fn asked(&self, n: u32) -> usize {
        match self.slots[n as usize] {
            Slot::Asked(_, Some(_)) => 2,
            Slot::Asked(_, None) => 1,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerKey = PeerKey(1);
    const B: PeerKey = PeerKey(2);
    const C: PeerKey = PeerKey(3);

    #[test]
    fn each_block_is_asked_for_once_and_in_order() {
        let mut partial = Partial::new(3, None);
        assert_eq!(
            [(); 4].map(|()| partial.ask(A)),
            [Some(0), Some(1), Some(2), None]
        );
    }

    #[test]
    fn a_freed_block_is_the_next_to_be_asked_for() {
        let mut partial = Partial::new(3, None);
        while partial.ask(A).is_some() {}
        assert!(!partial.free(1, B), "B was not asked");
        assert!(partial.free(1, A));
        assert_eq!((partial.ask(B), partial.ask(B)), (Some(1), None));
    }

    #[test]
    fn a_block_is_asked_for_twice_at_most_and_the_other_need_not_send_it() {
        let mut partial = Partial::new(1, None);
        partial.ask(A);
        assert_eq!(
            partial.ask_again(A, |_| true),
            None,
            "not from the same peer"
        );
        assert_eq!(partial.ask_again(B, |by| by != A), None, "not approved of");
        assert_eq!(partial.ask_again(B, |_| true), Some(0));
        assert_eq!(partial.ask_again(C, |_| true), None);
        assert_eq!(partial.asked(0), MAX_ASKED);
        assert_eq!(
            partial.arrive(0, B),
            Arrival::Fresh {
                also: [Some(A), None]
            }
        );
        assert_eq!(partial.arrive(0, A), Arrival::Repeated);
        assert!(partial.is_whole());
        assert_eq!(partial.senders(), [B]);
    }

    #[test]
    fn when_one_of_two_gives_up_the_other_is_still_asked() {
        let mut partial = Partial::new(1, None);
        partial.ask(A);
        partial.ask_again(B, |_| true);
        assert!(!partial.free(0, A), "B still owes it");
        assert_eq!(partial.asked(0), 1);
        assert!(partial.free(0, B));
        assert!(partial.is_untouched());
    }
}

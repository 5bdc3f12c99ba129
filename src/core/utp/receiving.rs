//! What has come: in order, to be read; ahead of a gap, to wait for what is missing.

use std::collections::VecDeque;

/// The most packets behind the first that is missing that are kept.
const MOST_AHEAD: usize = 1024;

/// The most bytes of a selective acknowledgement: what is further ahead is not told, as libtorrent does it.
const MASK: usize = 32;

/// What a packet brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The next one, and nothing is missing: it may be acknowledged with others.
    InOrder,
    /// One that fills or follows a gap, or came before, or is the end: the other side waits to hear of it.
    Notable,
    /// No room for it. The other side should hear of that, too.
    TooMuch,
    /// One that makes no sense here.
    Nonsense,
}

#[derive(Debug)]
enum Ahead {
    Data(Box<[u8]>),
    Fin,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Receiving {
    limit: usize,
    ready: VecDeque<u8>,
    /// The last packet before which none is missing.
    ack: u16,
    /// What came from `ack + 2` on.
    ahead: VecDeque<Option<Ahead>>,
    ahead_bytes: usize,
    /// The number of the end, once it is known.
    end: Option<u16>,
    ended: bool,
}

impl Receiving {
    /// Packets follow `ack`; about `limit` bytes are kept at most.
    pub(super) const fn new(ack: u16, limit: usize) -> Self {
        Self {
            limit,
            ready: VecDeque::new(),
            ack,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            end: None,
            ended: false,
        }
    }

    /// The last packet before which none is missing.
    pub(super) const fn ack(&self) -> u16 {
        self.ack
    }

    /// Bytes that there is room for.
    pub(super) fn window(&self) -> usize {
        let kept = self.ready.len() + self.ahead_bytes;
        self.limit.saturating_sub(kept)
    }

    /// Whether the other side has sent its end, and nothing before it is missing.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether everything has been read, up to the end.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended && self.ready.is_empty()
    }

    /// Whether there is something to be read.
    pub(super) fn has_bytes(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> usize {
        let (front, back) = self.ready.as_slices();
        let first = front.len().min(into.len());
        let second = back.len().min(into.len() - first);
        into[..first].copy_from_slice(&front[..first]);
        into[first..first + second].copy_from_slice(&back[..second]);
        self.ready.drain(..first + second);
        first + second
    }

    /// Takes in the packet with that number; `fin` is whether it is the end.
    pub(super) fn take(&mut self, seq: u16, payload: &[u8], fin: bool) -> Arrival {
        let distance = seq.wrapping_sub(self.ack).wrapping_sub(1);
        let behind = usize::from(u16::MAX - distance) <= MOST_AHEAD;
        if behind {
            return Arrival::Notable;
        }
        let after_end = self
            .end
            .is_some_and(|end| end.wrapping_sub(self.ack) <= distance + u16::from(!fin));
        let other_end = fin && self.end.is_some_and(|end| end != seq);
        if self.ended || after_end || other_end {
            return Arrival::Nonsense;
        }
        if distance == 0 {
            return self.take_next(seq, payload, fin);
        }
        self.take_ahead(usize::from(distance) - 1, payload, fin)
    }

    fn take_next(&mut self, seq: u16, payload: &[u8], fin: bool) -> Arrival {
        if self.ready.len() + payload.len() > self.limit {
            return Arrival::TooMuch;
        }
        let gap = !self.ahead.is_empty();
        self.ack = seq;
        if fin {
            self.end = Some(seq);
            self.ended = true;
            self.ahead.clear();
            self.ahead_bytes = 0;
            return Arrival::Notable;
        }
        self.ready.extend(payload);
        self.join();
        if gap {
            Arrival::Notable
        } else {
            Arrival::InOrder
        }
    }

    /// Moves over what waited for the packet that has just come.
    fn join(&mut self) {
        // The place of the one that is missing next, which `ahead` does not have.
        while let Some(slot) = self.ahead.pop_front() {
            let Some(ahead) = slot else {
                return;
            };
            self.ack = self.ack.wrapping_add(1);
            match ahead {
                Ahead::Data(bytes) => {
                    self.ahead_bytes -= bytes.len();
                    self.ready.extend(&bytes[..]);
                }
                Ahead::Fin => self.ended = true,
            }
        }
    }

    fn take_ahead(&mut self, index: usize, payload: &[u8], fin: bool) -> Arrival {
        if index >= MOST_AHEAD {
            return Arrival::Nonsense;
        }
        if payload.len() > self.window() {
            return Arrival::TooMuch;
        }
        if self.ahead.len() <= index {
            self.ahead.resize_with(index + 1, || None);
        } else if fin && index + 1 < self.ahead.len() {
            // Something came that would follow the end.
            return Arrival::Nonsense;
        }
        let slot = &mut self.ahead[index];
        if slot.is_none() {
            if fin {
                #[allow(clippy::cast_possible_truncation)]
                let seq = self.ack.wrapping_add(index as u16).wrapping_add(2);
                self.end = Some(seq);
                *slot = Some(Ahead::Fin);
            } else {
                self.ahead_bytes += payload.len();
                *slot = Some(Ahead::Data(payload.into()));
            }
        }
        Arrival::Notable
    }

    /// Whether something is missing before what has come.
    pub(super) fn has_gap(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// The selective acknowledgement, if something is missing: how many bytes of `mask` it takes.
    pub(super) fn mask(&self, mask: &mut [u8; MASK]) -> Option<usize> {
        if self.ahead.is_empty() {
            return None;
        }
        let told = self.ahead.iter().take(MASK * 8).enumerate();
        for (index, _) in told.filter(|(_, slot)| slot.is_some()) {
            mask[index / 8] |= 1 << (index % 8);
        }
        // It comes in multiples of 32 bits (BEP 29).
        let bits = self.ahead.len().min(MASK * 8);
        Some(bits.div_ceil(32) * 4)
    }
}

//! The receiving half of a connection: finds the frames in a stream and lets payload go straight to its place.
//!
//! Where blocks come one after another, and faster than they are taken, a read is laid out for several of them: the rest of this one,
//! a head, a block, a head, a block… If the stream turns out to hold something else, what was read that way is copied together.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read};
use std::ops::DerefMut;

use crate::base::geometry::{BLOCK, Block, Geometry};
use crate::proto::peer::message::{self, Fault, PIECE_ID, PIECE_PREFIX};

/// Bytes read ahead when a frame is awaited: room for many small messages in one system call.
const AHEAD: usize = 2048;

/// Bytes read ahead behind a payload: enough for the head of the next `piece`. What is read ahead has to be copied, so not more.
const BEHIND_PAYLOAD: usize = 64;

/// Blocks that a read reaches for at most, beside the one that is awaited.
const FURTHEST: usize = 15;

/// Bytes of a `piece` message with a whole block.
const WHOLE: usize = PIECE_PREFIX + BLOCK as usize;

/// Where the memory for blocks comes from.
pub trait Stock<B> {
    /// Room for `len` bytes, at most a block.
    fn take(&self, len: u32) -> B;
    /// Room for a whole block that may come next; nothing if memory is short.
    fn spare(&self) -> Option<B>;
}

/// What comes next on a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole message, from its id on; empty for a keep-alive.
    Message(&'a [u8]),
    /// The head of a `piece` message. Its payload, as many bytes as the block has, must be taken with [`Inbox::payload`] next.
    Piece(Block),
}

/// Why nothing more can be read from a connection.
#[derive(Debug)]
pub enum Broken {
    /// The far end closed it, or the network did.
    Link(io::Error),
    /// The far end does not keep to the protocol.
    Protocol(Fault),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Link(error)
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Protocol(fault)
    }
}

/// Reads frames from `R`, payload into `B`. Its memory is bounded by the longest message of the payload ([`message::max_len`]), and by what the
/// [`Stock`] gives.
#[derive(Debug)]
pub struct Inbox<R, B> {
    from: R,
    /// Blocks that a read reached for. What they hold comes before what is in `ahead`.
    slots: VecDeque<Slot<B>>,
    /// Bytes in them.
    filled: usize,
    /// Blocks to reach for next time.
    reach: usize,
    ahead: Vec<u8>,
    start: usize,
    end: usize,
    body: Vec<u8>,
}

/// Room for a `piece` message with a whole block.
#[derive(Debug)]
struct Slot<B> {
    head: [u8; PIECE_PREFIX],
    data: B,
}

impl<R: Read, B: DerefMut<Target = [u8]>> Inbox<R, B> {
    /// Begins to read, at a frame boundary.
    pub fn new(from: R) -> Self {
        Self {
            from,
            slots: VecDeque::new(),
            filled: 0,
            reach: 0,
            ahead: vec![0; AHEAD],
            start: 0,
            end: 0,
            body: Vec::new(),
        }
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    /// If the stream ends, fails or times out, or does not hold a frame that can be about this payload.
    pub fn next(&mut self, geometry: &Geometry) -> Result<Frame<'_>, Broken> {
        if let Some(block) = self.foreseen(geometry)? {
            return Ok(Frame::Piece(block));
        }
        self.straighten();
        let len = u32::from_be_bytes(self.take()?);
        let wanted = len as usize;
        if wanted >= 1 && self.peek()? == PIECE_ID {
            let [_, body @ ..]: [u8; 9] = if wanted < 9 {
                return Err(Fault::Length(PIECE_ID).into());
            } else {
                self.take()?
            };
            return Ok(Frame::Piece(message::decode_piece(len, body, geometry)?));
        }
        if wanted > message::max_len(geometry) {
            return Err(Fault::TooLong.into());
        }
        if wanted <= AHEAD {
            self.fill(wanted)?;
            self.start += wanted;
            return Ok(Frame::Message(&self.ahead[self.start - wanted..self.start]));
        }
        let mut body = std::mem::take(&mut self.body);
        body.resize(wanted, 0);
        let outcome = self.fill_body(&mut body);
        self.body = body;
        outcome?;
        Ok(Frame::Message(&self.body))
    }

    /// Takes the payload that comes next, `len` bytes; more than those that were read ahead are not copied.
    ///
    /// # Errors
    /// If the stream ends, fails or times out before the payload is whole.
    pub fn payload(&mut self, len: u32, stock: &impl Stock<B>) -> io::Result<B> {
        let (mut into, held) = if let Some(slot) = self.slots.pop_front() {
            let held = self.filled.saturating_sub(PIECE_PREFIX).min(BLOCK as usize);
            self.filled -= PIECE_PREFIX + held;
            (slot.data, held)
        } else {
            let mut into = stock.take(len);
            let held = self.copy_ahead(&mut into);
            (into, held)
        };
        if let Some(rest) = into.get_mut(held..).filter(|rest| !rest.is_empty()) {
            self.receive(rest, stock)?;
        }
        Ok(into)
    }

    /// The block in the next slot, if that is what came.
    fn foreseen(&self, geometry: &Geometry) -> Result<Option<Block>, Fault> {
        let Some(slot) = self.slots.front().filter(|_| self.filled >= PIECE_PREFIX) else {
            return Ok(None);
        };
        let [a, b, c, d, id, body @ ..] = slot.head;
        let len = u32::from_be_bytes([a, b, c, d]);
        if id != PIECE_ID || len != BLOCK + 9 {
            return Ok(None);
        }
        message::decode_piece(len, body, geometry).map(Some)
    }

    /// Copies what is in slots to where any frame can be found.
    fn straighten(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        let mut bytes = Vec::with_capacity(self.filled + AHEAD);
        for slot in self.slots.drain(..) {
            for part in [&slot.head[..], &slot.data] {
                let n = part.len().min(self.filled);
                bytes.extend_from_slice(&part[..n]);
                self.filled -= n;
            }
        }
        bytes.extend_from_slice(&self.ahead[self.start..self.end]);
        (self.start, self.end) = (0, bytes.len());
        bytes.resize(bytes.len().max(AHEAD), 0);
        self.ahead = bytes;
    }

    /// Receives into all of `rest`, and ahead into slots; nothing is read ahead when it is called.
    fn receive(&mut self, mut rest: &mut [u8], stock: &impl Stock<B>) -> io::Result<()> {
        (self.start, self.end) = (0, 0);
        while !rest.is_empty() {
            while self.slots.len() < self.reach
                && let Some(data) = stock.spare()
            {
                let head = [0; PIECE_PREFIX];
                self.slots.push_back(Slot { head, data });
            }
            let missing = rest.len();
            let mut parts = Vec::with_capacity(2 * self.slots.len() + 2);
            parts.push(IoSliceMut::new(rest));
            for slot in &mut self.slots {
                parts.push(IoSliceMut::new(&mut slot.head));
                parts.push(IoSliceMut::new(&mut slot.data));
            }
            parts.push(IoSliceMut::new(&mut self.ahead[..BEHIND_PAYLOAD]));
            let got = read_some(|| self.from.read_vectored(&mut parts))?;
            drop(parts);
            let beyond = got.saturating_sub(missing);
            self.filled = beyond.min(self.slots.len() * WHOLE);
            self.end = beyond - self.filled;
            rest = &mut rest[got.min(missing)..];
        }
        self.learn();
        Ok(())
    }

    /// Reaches further where a read was answered in full, and lets go of what came to nothing.
    fn learn(&mut self) {
        let used = self.filled.div_ceil(WHOLE);
        self.reach = if self.end == BEHIND_PAYLOAD {
            (2 * self.reach + 1).min(FURTHEST)
        } else {
            used
        };
        self.slots.truncate(used);
    }

    /// Fills `body` with the bytes that come next.
    fn fill_body(&mut self, body: &mut [u8]) -> io::Result<()> {
        let mut done = self.copy_ahead(body);
        while done < body.len() {
            done += read_some(|| self.from.read(&mut body[done..]))?;
        }
        Ok(())
    }

    /// Moves what was read ahead to the beginning of `into`, as far as it goes.
    fn copy_ahead(&mut self, into: &mut [u8]) -> usize {
        let held = into.len().min(self.end - self.start);
        into[..held].copy_from_slice(&self.ahead[self.start..self.start + held]);
        self.start += held;
        held
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.fill(N)?;
        let mut out = [0; N];
        out.copy_from_slice(&self.ahead[self.start..self.start + N]);
        self.start += N;
        Ok(out)
    }

    fn peek(&mut self) -> io::Result<u8> {
        self.fill(1)?;
        Ok(self.ahead[self.start])
    }

    /// Makes sure that at least `wanted` bytes are read ahead; `wanted` is at most [`AHEAD`].
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.end - self.start >= wanted {
            return Ok(());
        }
        self.ahead.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        // It was longer if blocks had to be straightened.
        self.ahead.truncate(AHEAD);
        self.ahead.shrink_to_fit();
        while self.end < wanted {
            self.end += read_some(|| self.from.read(&mut self.ahead[self.end..]))?;
        }
        Ok(())
    }
}

/// A read that repeats when a signal interrupts it and takes the end of the stream for an error.
fn read_some(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::base::bitfield::Bitfield;
    use crate::base::geometry::PieceIndex;
    use crate::proto::peer::message::Message;

    /// Hands out its bytes in portions, so that frames are cut wherever they can be.
    struct Dribble<'a> {
        bytes: &'a [u8],
        portion: usize,
    }

    impl Read for Dribble<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let portion = into.len().min(self.portion);
            self.bytes.read(&mut into[..portion])
        }

        fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            let mut done = 0;
            for part in parts {
                let portion = part.len().min(self.portion - done);
                done += self.bytes.read(&mut part[..portion])?;
            }
            Ok(done)
        }
    }

    fn geometry() -> Geometry {
        Geometry::new(u64::from(BLOCK) * 30_000, BLOCK).unwrap()
    }

    fn stream(blocks: &[Block]) -> Vec<u8> {
        let mut out = Vec::new();
        Message::Bitfield(Bitfield::all(30_000)).encode(&mut out);
        for block in blocks {
            Message::Have(block.piece).encode(&mut out);
            out.extend_from_slice(&message::encode_piece(*block));
            out.extend((0..block.len).map(|i| (i % 251) as u8));
            Message::KeepAlive.encode(&mut out);
        }
        out
    }

    /// Gives so many spare blocks.
    impl Stock<Vec<u8>> for Cell<usize> {
        fn take(&self, len: u32) -> Vec<u8> {
            vec![0xee; len as usize]
        }

        fn spare(&self) -> Option<Vec<u8>> {
            let left = self.get().checked_sub(1)?;
            self.set(left);
            Some(vec![0xee; BLOCK as usize])
        }
    }

    fn block(piece: u32, len: u32) -> Block {
        Block {
            piece: PieceIndex(piece),
            begin: 0,
            len,
        }
    }

    #[test]
    fn frames_are_found_however_the_stream_is_cut() {
        let g = geometry();
        let blocks: Vec<_> = [1, 5, 63, 64, 65, 2047, 2048, 2049, BLOCK - 1, BLOCK, BLOCK]
            .iter()
            .map(|&len| block(len, len))
            .collect();
        let bytes = stream(&blocks);
        for portion in (1..90).chain([2030, 2048, 2049, 16384, 16397, 50_000, usize::MAX]) {
            let mut inbox = Inbox::new(Dribble {
                bytes: &bytes,
                portion,
            });
            let Frame::Message(first) = inbox.next(&g).unwrap() else {
                panic!("a bitfield comes first")
            };
            assert_eq!(
                Message::decode(first, &g),
                Ok(Message::Bitfield(Bitfield::all(30_000)))
            );
            for &block in &blocks {
                let Frame::Message(have) = inbox.next(&g).unwrap() else {
                    panic!("a have comes first")
                };
                assert_eq!(Message::decode(have, &g), Ok(Message::Have(block.piece)));
                assert_eq!(inbox.next(&g).unwrap(), Frame::Piece(block));
                let data = inbox.payload(block.len, &Cell::new(3)).unwrap();
                assert!(is_payload(&data, block), "{portion} {block:?}");
                assert_eq!(inbox.next(&g).unwrap(), Frame::Message(&[]));
            }
            assert!(
                matches!(inbox.next(&g), Err(Broken::Link(e)) if e.kind() == io::ErrorKind::UnexpectedEof)
            );
        }
    }

    fn is_payload(data: &[u8], block: Block) -> bool {
        let mut bytes = data.iter().zip(0_u32..);
        data.len() == block.len as usize && bytes.all(|(&b, i)| u32::from(b) == i % 251)
    }

    #[test]
    fn blocks_that_follow_one_another_are_read_many_at_a_time_and_whatever_is_among_them_is_found()
    {
        let g = geometry();
        let mut rng = fastrand::Rng::with_seed(9);
        for portion in [1000, 16_384, 16_397, 16_400, 40_000, 300_000, usize::MAX] {
            let (mut bytes, mut frames) = (Vec::new(), Vec::new());
            for piece in 0..200 {
                let short = rng.u32(..9) == 0;
                let block = block(piece, if short { rng.u32(1..BLOCK) } else { BLOCK });
                bytes.extend_from_slice(&message::encode_piece(block));
                bytes.extend((0..block.len).map(|i| (i % 251) as u8));
                let haves = if rng.u32(..12) == 0 {
                    rng.u32(1..300)
                } else {
                    0
                };
                (0..haves).for_each(|n| Message::Have(PieceIndex(n)).encode(&mut bytes));
                frames.push((block, haves));
            }
            let mut reads = 0;
            let counted = Counted {
                from: Dribble {
                    bytes: &bytes,
                    portion,
                },
                reads: &mut reads,
            };
            let mut inbox = Inbox::new(counted);
            for (block, haves) in frames {
                assert_eq!(inbox.next(&g).unwrap(), Frame::Piece(block));
                let spares = Cell::new(rng.usize(..20));
                let data = inbox.payload(block.len, &spares).unwrap();
                assert!(is_payload(&data, block), "{portion} {block:?}");
                for n in 0..haves {
                    let mut have = Vec::new();
                    Message::Have(PieceIndex(n)).encode(&mut have);
                    assert_eq!(inbox.next(&g).unwrap(), Frame::Message(&have[4..]));
                }
            }
            assert!(inbox.next(&g).is_err());
            if portion == usize::MAX {
                assert!(reads < 120, "{reads} reads");
            }
        }
    }

    /// Counts the reads.
    struct Counted<'a> {
        from: Dribble<'a>,
        reads: &'a mut usize,
    }

    impl Read for Counted<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            *self.reads += 1;
            self.from.read(into)
        }

        fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            *self.reads += 1;
            self.from.read_vectored(parts)
        }
    }

    #[test]
    fn impossible_lengths_are_refused_before_memory_is_taken() {
        let g = geometry();
        let refuse = |bytes: &[u8]| match Inbox::<_, Vec<u8>>::new(bytes).next(&g) {
            Err(Broken::Protocol(fault)) => fault,
            other => panic!("{other:?}"),
        };
        assert_eq!(refuse(&[0xff, 0xff, 0xff, 0xff, 5, 0]), Fault::TooLong);
        assert_eq!(refuse(&[0, 1, 0x60, 0, 20, 0]), Fault::TooLong);
        assert_eq!(
            refuse(&[0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0]),
            Fault::Length(7)
        );
        assert_eq!(
            refuse(&[0, 0, 0, 9, 7, 0, 0, 0, 0, 0, 0, 0, 0]),
            Fault::Range(7)
        );
        assert_eq!(
            refuse(&[0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0]),
            Fault::Range(7)
        );
    }
}

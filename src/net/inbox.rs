//! The receiving half of a connection: finds the frames in a stream and lets payload go straight to its place.

use std::io::{self, IoSliceMut, Read};

use crate::base::geometry::{Block, Geometry};
use crate::proto::peer::message::{self, Fault, PIECE_ID};

/// Bytes read ahead when a frame is awaited: room for many small messages in one system call.
const AHEAD: usize = 2048;

/// Bytes read ahead behind a payload: enough for the head of the next `piece`. What is read ahead has to be copied, so not more.
const BEHIND_PAYLOAD: usize = 64;

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

/// Reads frames from `R`. Its memory is bounded by the longest message of the payload ([`message::max_len`]).
#[derive(Debug)]
pub struct Inbox<R> {
    from: R,
    ahead: Box<[u8; AHEAD]>,
    start: usize,
    end: usize,
    body: Vec<u8>,
}

impl<R: Read> Inbox<R> {
    /// Begins to read, at a frame boundary.
    pub fn new(from: R) -> Self {
        Self {
            from,
            ahead: Box::new([0; AHEAD]),
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
        let outcome = self.payload(&mut body);
        self.body = body;
        outcome?;
        Ok(Frame::Message(&self.body))
    }

    /// Fills `into` with the bytes that come next, without copying more of them than were read ahead.
    ///
    /// # Errors
    /// If the stream ends, fails or times out before `into` is full.
    pub fn payload(&mut self, into: &mut [u8]) -> io::Result<()> {
        let held = into.len().min(self.end - self.start);
        into[..held].copy_from_slice(&self.ahead[self.start..self.start + held]);
        self.start += held;
        let mut done = held;
        while done < into.len() {
            // Nothing is left read ahead here, so the buffer is free.
            (self.start, self.end) = (0, 0);
            let rest = &mut into[done..];
            let missing = rest.len();
            let mut parts = [
                IoSliceMut::new(rest),
                IoSliceMut::new(&mut self.ahead[..BEHIND_PAYLOAD]),
            ];
            let got = read_some(|| self.from.read_vectored(&mut parts))?;
            self.end = got.saturating_sub(missing);
            done += got.min(missing);
        }
        Ok(())
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
        if self.start + wanted > AHEAD {
            self.ahead.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < wanted {
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
    use super::*;
    use crate::base::bitfield::Bitfield;
    use crate::base::geometry::{BLOCK, PieceIndex};
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

    #[test]
    fn frames_are_found_however_the_stream_is_cut() {
        let g = geometry();
        let blocks: Vec<_> = [1, 5, 63, 64, 65, 2047, 2048, 2049, BLOCK - 1, BLOCK, BLOCK]
            .iter()
            .map(|&len| Block {
                piece: PieceIndex(len),
                begin: 0,
                len,
            })
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
                let mut data = vec![0; block.len as usize];
                inbox.payload(&mut data).unwrap();
                assert!(
                    data.iter()
                        .zip(0_u32..)
                        .all(|(&b, i)| u32::from(b) == i % 251),
                    "{portion} {block:?}"
                );
                assert_eq!(inbox.next(&g).unwrap(), Frame::Message(&[]));
            }
            assert!(
                matches!(inbox.next(&g), Err(Broken::Link(e)) if e.kind() == io::ErrorKind::UnexpectedEof)
            );
        }
    }

    #[test]
    fn impossible_lengths_are_refused_before_memory_is_taken() {
        let g = geometry();
        let refuse = |bytes: &[u8]| match Inbox::new(bytes).next(&g) {
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

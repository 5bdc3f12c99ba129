//! The messages of a connection after its handshake (BEP 3, BEP 6, BEP 10), all but the payload of `piece`.
//!
//! On the wire: a length (4 bytes, big-endian), an id (1 byte), a body. `piece` carries the data itself, which goes straight
//! from the socket into its buffer and never through here: see [`decode_piece`] and [`encode_piece`].

use std::borrow::Cow;
use std::fmt;

use crate::base::bitfield::Bitfield;
use crate::base::geometry::{Block, Geometry, PieceIndex};

/// The id of `piece` (BEP 3).
pub const PIECE_ID: u8 = 7;

/// The id of `extended` (BEP 10).
pub const EXTENDED_ID: u8 = 20;

/// Bytes before the data in a `piece` message: length, id, index, begin.
pub const PIECE_PREFIX: usize = 13;

/// The longest request that we serve: 128 KiB. Clients ask for 16 KiB; some older ones for more.
pub const MAX_REQUEST: u32 = 128 * 1024;

/// The longest `extended` message that we read: 64 KiB and some framing; a metadata piece has 16 KiB (BEP 9).
const MAX_EXTENDED: usize = 66 * 1024;

/// A message whose numbers have been checked against the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Nothing to say, but still there: a length of 0.
    KeepAlive,
    /// I shall not serve your requests.
    Choke,
    /// I shall serve your requests.
    Unchoke,
    /// You have something that I want.
    Interested,
    /// You have nothing that I want.
    NotInterested,
    /// I have this piece now.
    Have(PieceIndex),
    /// I have these pieces; only ever the first message.
    Bitfield(Bitfield),
    /// Please send this.
    Request(Block),
    /// Do not send this after all.
    Cancel(Block),
    /// My DHT node listens on this port (BEP 5).
    Port(u16),
    /// You would do well to ask for this piece (BEP 6).
    Suggest(PieceIndex),
    /// I have everything (BEP 6).
    HaveAll,
    /// I have nothing yet (BEP 6).
    HaveNone,
    /// I shall not serve this request (BEP 6).
    Reject(Block),
    /// You may ask for this piece even while choked (BEP 6).
    AllowedFast(PieceIndex),
    /// An extension's message; id 0 is the extension handshake (BEP 10).
    Extended {
        /// The number that the receiver gave to the extension.
        id: u8,
        /// The extension's own bytes.
        payload: Cow<'a, [u8]>,
    },
    /// Something of a later protocol; ignored.
    Unknown(u8),
}

/// Why a message is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Longer than any message of its kind.
    TooLong,
    /// A body that is shorter or longer than its kind demands.
    Length(u8),
    /// A piece, block or bit that the payload does not have.
    Range(u8),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("a message of impossible length"),
            Self::Length(id) => write!(f, "a message {id} of wrong length"),
            Self::Range(id) => write!(f, "a message {id} about something that does not exist"),
        }
    }
}

impl std::error::Error for Fault {}

/// The 13 bytes of a `piece` message that stand before the data of `block`.
#[must_use]
pub fn encode_piece(block: Block) -> [u8; PIECE_PREFIX] {
    let mut out = [0; PIECE_PREFIX];
    out[..4].copy_from_slice(&(block.len + 9).to_be_bytes());
    out[4] = PIECE_ID;
    out[5..9].copy_from_slice(&block.piece.0.to_be_bytes());
    out[9..].copy_from_slice(&block.begin.to_be_bytes());
    out
}

/// The block that a `piece` message of length `len` brings, given the 8 bytes after its id.
///
/// # Errors
/// If it has no data, or if there is no such block in the payload.
pub fn decode_piece(len: u32, body: [u8; 8], geometry: &Geometry) -> Result<Block, Fault> {
    let [a, b, c, d, e, f, g, h] = body;
    let len = len.checked_sub(9).ok_or(Fault::Length(PIECE_ID))?;
    let (piece, begin) = (
        PieceIndex(u32::from_be_bytes([a, b, c, d])),
        u32::from_be_bytes([e, f, g, h]),
    );
    let block = Block { piece, begin, len };
    if geometry.holds(block) {
        Ok(block)
    } else {
        Err(Fault::Range(PIECE_ID))
    }
}

/// The longest message, id included, that a peer may send about this payload; `piece` apart.
#[must_use]
pub fn max_len(geometry: &Geometry) -> usize {
    MAX_EXTENDED.max(1 + geometry.pieces().div_ceil(8) as usize)
}

impl<'a> Message<'a> {
    /// Reads a message from what follows its length: the id and the body; nothing for a keep-alive. Not for `piece`.
    ///
    /// # Errors
    /// If the body has the wrong length for its id, or names something that the payload does not have.
    pub fn decode(bytes: &'a [u8], geometry: &Geometry) -> Result<Self, Fault> {
        let Some((&id, body)) = bytes.split_first() else {
            return Ok(Self::KeepAlive);
        };
        if bytes.len() > max_len(geometry) {
            return Err(Fault::TooLong);
        }
        let length = Fault::Length(id);
        let piece = || {
            let index = u32::from_be_bytes(body.try_into().map_err(|_| length)?);
            geometry.piece(index).ok_or(Fault::Range(id))
        };
        let block = || {
            let (words, []) = body.as_chunks::<4>() else {
                return Err(length);
            };
            let &[piece, begin, len] = words else {
                return Err(length);
            };
            let [piece, begin, len] = [piece, begin, len].map(u32::from_be_bytes);
            let block = Block {
                piece: PieceIndex(piece),
                begin,
                len,
            };
            if geometry.holds(block) && len <= MAX_REQUEST {
                Ok(block)
            } else {
                Err(Fault::Range(id))
            }
        };
        let bare = |message| {
            if body.is_empty() {
                Ok(message)
            } else {
                Err(length)
            }
        };
        match id {
            0 => bare(Self::Choke),
            1 => bare(Self::Unchoke),
            2 => bare(Self::Interested),
            3 => bare(Self::NotInterested),
            4 => Ok(Self::Have(piece()?)),
            5 if body.len() != geometry.pieces().div_ceil(8) as usize => Err(length),
            5 => Bitfield::from_wire(body, geometry.pieces())
                .map(Self::Bitfield)
                .ok_or(Fault::Range(id)),
            6 => Ok(Self::Request(block()?)),
            PIECE_ID => Err(length),
            8 => Ok(Self::Cancel(block()?)),
            9 => Ok(Self::Port(u16::from_be_bytes(
                body.try_into().map_err(|_| length)?,
            ))),
            13 => Ok(Self::Suggest(piece()?)),
            14 => bare(Self::HaveAll),
            15 => bare(Self::HaveNone),
            16 => Ok(Self::Reject(block()?)),
            17 => Ok(Self::AllowedFast(piece()?)),
            EXTENDED_ID => body
                .split_first()
                .map(|(&id, payload)| Self::Extended {
                    id,
                    payload: payload.into(),
                })
                .ok_or(length),
            other => Ok(Self::Unknown(other)),
        }
    }

    /// Appends the message, length and all, to `out`. [`Message::Unknown`] writes nothing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::KeepAlive => out.extend_from_slice(&[0; 4]),
            Self::Choke => frame(out, 0, &[]),
            Self::Unchoke => frame(out, 1, &[]),
            Self::Interested => frame(out, 2, &[]),
            Self::NotInterested => frame(out, 3, &[]),
            Self::Have(piece) => frame(out, 4, &[&piece.0.to_be_bytes()]),
            Self::Bitfield(set) => frame(out, 5, &[set.as_bytes()]),
            Self::Request(block) => frame_block(out, 6, *block),
            Self::Cancel(block) => frame_block(out, 8, *block),
            Self::Port(port) => frame(out, 9, &[&port.to_be_bytes()]),
            Self::Suggest(piece) => frame(out, 13, &[&piece.0.to_be_bytes()]),
            Self::HaveAll => frame(out, 14, &[]),
            Self::HaveNone => frame(out, 15, &[]),
            Self::Reject(block) => frame_block(out, 16, *block),
            Self::AllowedFast(piece) => frame(out, 17, &[&piece.0.to_be_bytes()]),
            Self::Extended { id, payload } => frame(out, EXTENDED_ID, &[&[*id], payload]),
            Self::Unknown(_) => {}
        }
    }

    /// The same message, owning what it borrowed.
    #[must_use]
    pub fn into_owned(self) -> Message<'static> {
        match self {
            Self::Extended { id, payload } => Message::Extended {
                id,
                payload: payload.into_owned().into(),
            },
            Self::KeepAlive => Message::KeepAlive,
            Self::Choke => Message::Choke,
            Self::Unchoke => Message::Unchoke,
            Self::Interested => Message::Interested,
            Self::NotInterested => Message::NotInterested,
            Self::Have(piece) => Message::Have(piece),
            Self::Bitfield(set) => Message::Bitfield(set),
            Self::Request(block) => Message::Request(block),
            Self::Cancel(block) => Message::Cancel(block),
            Self::Port(port) => Message::Port(port),
            Self::Suggest(piece) => Message::Suggest(piece),
            Self::HaveAll => Message::HaveAll,
            Self::HaveNone => Message::HaveNone,
            Self::Reject(block) => Message::Reject(block),
            Self::AllowedFast(piece) => Message::AllowedFast(piece),
            Self::Unknown(id) => Message::Unknown(id),
        }
    }
}

fn frame(out: &mut Vec<u8>, id: u8, body: &[&[u8]]) {
    let len = 1 + body.iter().map(|part| part.len()).sum::<usize>();
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    out.push(id);
    body.iter().for_each(|part| out.extend_from_slice(part));
}

fn frame_block(out: &mut Vec<u8>, id: u8, block: Block) {
    frame(
        out,
        id,
        &[
            &block.piece.0.to_be_bytes(),
            &block.begin.to_be_bytes(),
            &block.len.to_be_bytes(),
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::BLOCK;

    fn geometry() -> Geometry {
        Geometry::new(u64::from(BLOCK) * 20 + 5, 2 * BLOCK).unwrap()
    }

    fn samples() -> Vec<Message<'static>> {
        let block = Block {
            piece: PieceIndex(10),
            begin: 0,
            len: 5,
        };
        let mut set = Bitfield::none(11);
        set.set(PieceIndex(3));
        vec![
            Message::KeepAlive,
            Message::Choke,
            Message::Unchoke,
            Message::Interested,
            Message::NotInterested,
            Message::Have(PieceIndex(10)),
            Message::Bitfield(set),
            Message::Request(block),
            Message::Cancel(block),
            Message::Port(6881),
            Message::Suggest(PieceIndex(0)),
            Message::HaveAll,
            Message::HaveNone,
            Message::Reject(block),
            Message::AllowedFast(PieceIndex(1)),
            Message::Extended {
                id: 0,
                payload: b"de".into(),
            },
        ]
    }

    fn wire(message: &Message<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        assert_eq!(
            out[..4],
            u32::try_from(out.len() - 4).unwrap().to_be_bytes()
        );
        out.split_off(4)
    }

    #[test]
    fn every_message_survives_the_wire() {
        for message in samples() {
            assert_eq!(
                Message::decode(&wire(&message), &geometry()).map(Message::into_owned),
                Ok(message)
            );
        }
    }

    #[test]
    fn a_wrong_length_of_any_message_is_refused() {
        for message in samples() {
            let bytes = wire(&message);
            if let Message::Extended { .. } | Message::KeepAlive = message {
                continue;
            }
            for cut in 1..bytes.len() {
                let read = Message::decode(&bytes[..cut], &geometry());
                assert_eq!(
                    read,
                    Err(Fault::Length(bytes[0])),
                    "{message:?} cut to {cut}"
                );
            }
            let long = [&bytes[..], &[0]].concat();
            assert_eq!(
                Message::decode(&long, &geometry()),
                Err(Fault::Length(bytes[0])),
                "{message:?}"
            );
        }
        assert_eq!(Message::decode(&[20], &geometry()), Err(Fault::Length(20)));
        let piece = [PIECE_ID, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            Message::decode(&piece, &geometry()),
            Err(Fault::Length(PIECE_ID))
        );
    }

    #[test]
    fn every_changed_byte_gives_a_checked_message_or_an_error() {
        let g = geometry();
        for message in samples() {
            let good = wire(&message);
            for at in 0..good.len() {
                for byte in 0..=255 {
                    let mut bytes = good.clone();
                    bytes[at] = byte;
                    match Message::decode(&bytes, &g) {
                        Ok(Message::Have(p) | Message::Suggest(p) | Message::AllowedFast(p)) => {
                            assert!(p.0 < g.pieces());
                        }
                        Ok(Message::Request(b) | Message::Cancel(b) | Message::Reject(b)) => {
                            assert!(g.holds(b));
                        }
                        Ok(Message::Bitfield(set)) => assert_eq!(set.len(), g.pieces()),
                        _ => {}
                    }
                }
            }
        }
    }

    #[test]
    fn what_lies_outside_the_payload_is_refused() {
        let g = geometry();
        assert_eq!(Message::decode(&[4, 0, 0, 0, 11], &g), Err(Fault::Range(4)));
        let huge = Message::Request(Block {
            piece: PieceIndex(0),
            begin: 0,
            len: 3 * BLOCK,
        });
        assert_eq!(Message::decode(&wire(&huge), &g), Err(Fault::Range(6)));
        assert_eq!(
            Message::decode(&[5, 0, 1], &g),
            Err(Fault::Range(5)),
            "a spare bit"
        );
        assert_eq!(
            Message::decode(&vec![99; max_len(&g) + 1], &g),
            Err(Fault::TooLong)
        );
        assert_eq!(Message::decode(&[99, 1], &g), Ok(Message::Unknown(99)));
    }

    #[test]
    fn a_piece_header_names_a_block_of_the_payload_or_is_refused() {
        let g = geometry();
        let block = g.block(PieceIndex(10), 0);
        let wire = encode_piece(block);
        let len = u32::from_be_bytes([wire[0], wire[1], wire[2], wire[3]]);
        let body: [u8; 8] = wire[5..].try_into().unwrap();
        assert_eq!(decode_piece(len, body, &g), Ok(block));
        assert_eq!(decode_piece(len + 1, body, &g), Err(Fault::Range(PIECE_ID)));
        for short in 0..9 {
            assert_eq!(decode_piece(short, body, &g), Err(Fault::Length(PIECE_ID)));
        }
        assert_eq!(
            decode_piece(9, body, &g),
            Err(Fault::Range(PIECE_ID)),
            "no data"
        );
        assert_eq!(
            decode_piece(u32::MAX, [0xff; 8], &g),
            Err(Fault::Range(PIECE_ID))
        );
    }
}

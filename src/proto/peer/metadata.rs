//! The `info` dictionary, part by part (BEP 9). A part of it is 16 KiB, the last one what remains.
//!
//! A message is a small dictionary; in `data`, the bytes of the part follow it.

use crate::base::bencode::{Document, Limits, Value};

/// The extension's name in the extension handshake (BEP 10).
pub const NAME: &str = "ut_metadata";

/// Bytes in a part.
pub const PART: u32 = 16 << 10;

/// The largest `info` dictionary that is asked for or handed out, in bytes: 32 MiB name 1.6 million pieces.
pub const MAX_SIZE: u32 = 32 << 20;

/// What is said about metadata. Parts are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataMessage<'a> {
    /// Please send this part.
    Request(u32),
    /// Here it is.
    Data {
        /// Which part.
        part: u32,
        /// Bytes of the whole dictionary, as the sender says; 0 if it does not.
        total_size: u32,
        /// The part itself.
        data: &'a [u8],
    },
    /// I do not send this part.
    Reject(u32),
}

impl<'a> MetadataMessage<'a> {
    /// Reads the payload of the extended message. `None` if it is not bencoded, names no part, or is of a kind that BEP 9 does not have,
    /// which is to be ignored.
    #[must_use]
    pub fn decode(payload: &'a [u8]) -> Option<Self> {
        let (document, end) = Document::parse_prefix(payload, Limits::MESSAGE).ok()?;
        let dict = document.root().dict()?;
        let number = |key: &[u8]| dict.get(key)?.uint();
        let part = u32::try_from(number(b"piece")?).ok()?;
        match number(b"msg_type")? {
            0 => Some(Self::Request(part)),
            1 => Some(Self::Data {
                part,
                total_size: number(b"total_size")
                    .and_then(|n| u32::try_from(n).ok())
                    .unwrap_or(0),
                data: payload.get(end..)?,
            }),
            2 => Some(Self::Reject(part)),
            _ => None,
        }
    }

    /// The payload of the extended message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, part) = match *self {
            Self::Request(part) => (0, part),
            Self::Data { part, .. } => (1, part),
            Self::Reject(part) => (2, part),
        };
        let mut entries = vec![
            (&b"msg_type"[..], Value::Int(kind)),
            (b"piece", Value::from(part)),
        ];
        let Self::Data {
            total_size, data, ..
        } = *self
        else {
            return Value::dict(entries).to_bytes();
        };
        entries.push((b"total_size", Value::from(total_size)));
        let mut bytes = Value::dict(entries).to_bytes();
        bytes.extend_from_slice(data);
        bytes
    }
}

/// Parts in a dictionary of `size` bytes.
#[must_use]
pub const fn parts(size: u32) -> u32 {
    size.div_ceil(PART)
}

/// Bytes in a part of a dictionary of `size` bytes; 0 if it has no such part.
#[must_use]
pub const fn part_len(size: u32, part: u32) -> u32 {
    let left = size.saturating_sub(part.saturating_mul(PART));
    if left < PART { left } else { PART }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: MetadataMessage<'_> = MetadataMessage::Data {
        part: 3,
        total_size: 50_000,
        data: b"d4:infod",
    };

    #[test]
    fn messages_survive_the_wire() {
        for message in [
            MetadataMessage::Request(0),
            MetadataMessage::Reject(u32::MAX),
            DATA,
        ] {
            let bytes = message.encode();
            assert_eq!(MetadataMessage::decode(&bytes), Some(message));
        }
        assert_eq!(
            MetadataMessage::Request(0).encode(),
            b"d8:msg_typei0e5:piecei0ee"
        );
        let data = b"d8:msg_typei1e5:piecei3e10:total_sizei50000eed4:infod";
        assert_eq!(DATA.encode(), data);
    }

    #[test]
    fn what_is_no_message_is_none() {
        for bad in [
            &b""[..],
            b"le",
            b"de",
            b"d8:msg_typei0ee",
            b"d8:msg_typei3e5:piecei0ee",
            b"d8:msg_typei0e5:piecei-1ee",
            b"d8:msg_typei0e5:piecei4294967296ee",
            b"d8:msg_type1:05:piecei0ee",
        ] {
            assert_eq!(MetadataMessage::decode(bad), None);
        }
        let odd = b"d8:msg_typei1e5:piecei0e10:total_sizei-5eexy";
        let read = MetadataMessage::decode(odd);
        let wanted = MetadataMessage::Data {
            part: 0,
            total_size: 0,
            data: b"xy",
        };
        assert_eq!(
            read,
            Some(wanted),
            "the part counts, not what is said of it"
        );
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_survived() {
        let good = DATA.encode();
        for end in 0..good.len() {
            let cut = MetadataMessage::decode(&good[..end]);
            assert_eq!(cut.is_some(), end >= good.len() - 8, "{end}");
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = byte;
                if let Some(message) = MetadataMessage::decode(&bytes) {
                    let again = message.encode();
                    assert_eq!(MetadataMessage::decode(&again), Some(message));
                }
            }
        }
    }

    #[test]
    fn all_parts_are_whole_but_the_last() {
        for size in [1, PART - 1, PART, PART + 1, 5 * PART, MAX_SIZE] {
            let lengths = (0..parts(size)).map(|part| part_len(size, part));
            assert_eq!(lengths.clone().sum::<u32>(), size);
            assert!(lengths.rev().skip(1).all(|len| len == PART));
            assert_eq!(part_len(size, parts(size)), 0);
            assert_eq!(part_len(size, u32::MAX), 0);
        }
    }
}

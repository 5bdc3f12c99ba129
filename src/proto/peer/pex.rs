//! Peers that the sender is connected to, and peers that it has lost (BEP 11).

use std::net::SocketAddr;

use crate::base::bencode::{Dict, Document, Limits, Value};
use crate::base::endpoint::{read_v4, read_v6, write_compact};

/// The extension's name in the extension handshake (BEP 10).
pub const NAME: &str = "ut_pex";

/// The most peers that one message may add, and drop.
pub const MAX_PEERS: usize = 50;

/// It has everything, or wants nothing more (BEP 21).
pub const SEED: u8 = 0x02;

/// It takes connections over uTP (BEP 29).
pub const UTP: u8 = 0x04;

/// The sender has dialled it, so it can be reached.
pub const REACHABLE: u8 = 0x10;

/// What has changed since the sender's last message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PexMessage {
    /// Peers that came, and what is said of each: [`SEED`], [`UTP`], [`REACHABLE`] and bits of no use to us.
    pub added: Vec<(SocketAddr, u8)>,
    /// Peers that went.
    pub dropped: Vec<SocketAddr>,
}

impl PexMessage {
    /// Reads the payload of the extended message. Lists of a wrong type or length count as absent, and of each family no more than
    /// [`MAX_PEERS`] are read; `None` only if it is no dictionary.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (document, _) = Document::parse_prefix(payload, Limits::MESSAGE).ok()?;
        let dict = document.root().dict()?;
        let flags = |key: &[u8], n: usize| {
            let flags = dict.get(key).and_then(|item| item.bytes());
            flags.and_then(|flags| flags.get(n).copied()).unwrap_or(0)
        };
        let mut message = Self::default();
        for (peers, said) in [(&b"added"[..], &b"added.f"[..]), (b"added6", b"added6.f")] {
            let found = addresses(dict, peers).into_iter().enumerate();
            message
                .added
                .extend(found.map(|(n, addr)| (addr, flags(said, n))));
        }
        for peers in [&b"dropped"[..], b"dropped6"] {
            message.dropped.extend(addresses(dict, peers));
        }
        Some(message)
    }

    /// The payload of the extended message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut added = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
        for &(addr, said) in &self.added {
            let (peers, flags) = &mut added[family(addr)];
            write_compact(addr, peers);
            flags.push(said);
        }
        let mut dropped = [Vec::new(), Vec::new()];
        for &addr in &self.dropped {
            write_compact(addr, &mut dropped[family(addr)]);
        }
        let [(v4, v4_flags), (v6, v6_flags)] = added;
        let [gone4, gone6] = dropped;
        Value::dict([
            (&b"added"[..], Value::from(v4)),
            (b"added.f", Value::from(v4_flags)),
            (b"added6", Value::from(v6)),
            (b"added6.f", Value::from(v6_flags)),
            (b"dropped", Value::from(gone4)),
            (b"dropped6", Value::from(gone6)),
        ])
        .to_bytes()
    }
}

/// 0 for IPv4, also where it is mapped into IPv6, and 1 for IPv6.
fn family(addr: SocketAddr) -> usize {
    usize::from(addr.ip().to_canonical().is_ipv6())
}

fn addresses(dict: Dict<'_>, key: &[u8]) -> Vec<SocketAddr> {
    let bytes = dict.get(key).and_then(|item| item.bytes());
    let read = if key.ends_with(b"6") {
        read_v6
    } else {
        read_v4
    };
    let mut found = bytes.and_then(read).unwrap_or_default();
    found.truncate(MAX_PEERS);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> PexMessage {
        PexMessage {
            added: vec![
                ("10.0.0.1:6881".parse().unwrap(), SEED),
                ("10.0.0.2:1".parse().unwrap(), 0),
                ("[2001:db8::1]:6881".parse().unwrap(), REACHABLE | UTP),
            ],
            dropped: vec![
                "10.0.0.3:6881".parse().unwrap(),
                "[2001:db8::2]:6881".parse().unwrap(),
            ],
        }
    }

    #[test]
    fn a_message_survives_the_wire() {
        assert_eq!(PexMessage::decode(&sample().encode()), Some(sample()));
        let empty = PexMessage::default();
        assert_eq!(PexMessage::decode(&empty.encode()), Some(empty.clone()));
        assert_eq!(PexMessage::decode(b"de"), Some(empty));
    }

    #[test]
    fn lists_of_the_wrong_kind_count_as_absent() {
        let odd = b"d5:added5:abcde7:added.f1:\x026:added66:abcdef7:droppedi1ee";
        assert_eq!(PexMessage::decode(odd), Some(PexMessage::default()));
        assert_eq!(PexMessage::decode(b"le"), None);
        let without_flags = b"d5:added6:\x0a\x00\x00\x01\x1a\xe1e";
        let added = PexMessage::decode(without_flags).unwrap().added;
        assert_eq!(added, [("10.0.0.1:6881".parse().unwrap(), 0)]);
    }

    #[test]
    fn no_more_is_read_than_a_message_may_hold() {
        let added = (0..2000_u16).map(|n| (([10, 0, 0, 1], 1024 + n).into(), 0));
        let message = PexMessage {
            added: added.collect(),
            dropped: Vec::new(),
        };
        let read = PexMessage::decode(&message.encode()).unwrap();
        assert_eq!(read.added, message.added[..MAX_PEERS]);
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_survived() {
        let good = sample().encode();
        for end in 0..good.len() {
            assert_eq!(PexMessage::decode(&good[..end]), None);
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = byte;
                if let Some(message) = PexMessage::decode(&bytes) {
                    let again = message.encode();
                    assert!(PexMessage::decode(&again).is_some());
                }
            }
        }
    }
}

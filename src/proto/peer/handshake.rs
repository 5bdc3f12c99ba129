//! The 68 bytes that open every connection (BEP 3), and the capabilities in their reserved bits.

use crate::base::id::{InfoHash, PeerId};

/// Bytes in a handshake.
pub const LEN: usize = 68;

const PROTOCOL: [u8; 20] = *b"\x13BitTorrent protocol";

/// Whether a handshake can begin with these bytes.
#[must_use]
pub fn can_begin_with(bytes: &[u8]) -> bool {
    let n = bytes.len().min(PROTOCOL.len());
    bytes[..n] == PROTOCOL[..n]
}

/// The opening of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Who speaks.
    pub peer_id: PeerId,
    /// Understands `extended` messages (BEP 10).
    pub extended: bool,
    /// Understands the fast extension (BEP 6).
    pub fast: bool,
    /// Has a node of the DHT (BEP 5).
    pub dht: bool,
}

impl Handshake {
    /// The handshake as it goes over the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..20].copy_from_slice(&PROTOCOL);
        out[25] = if self.extended { 0x10 } else { 0 };
        out[27] = if self.fast { 0x04 } else { 0 } | u8::from(self.dht);
        out[28..48].copy_from_slice(&self.info_hash.0);
        out[48..].copy_from_slice(&self.peer_id.0);
        out
    }

    /// Reads a handshake. `None` if it is not BitTorrent; reserved bits that we do not know are no fault.
    #[must_use]
    pub fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        can_begin_with(bytes).then_some(())?;
        Some(Self {
            info_hash: InfoHash::from_slice(&bytes[28..48])?,
            peer_id: PeerId::from_slice(&bytes[48..])?,
            extended: bytes[25] & 0x10 != 0,
            fast: bytes[27] & 0x04 != 0,
            dht: bytes[27] & 0x01 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(extended: bool, fast: bool, dht: bool) -> Handshake {
        Handshake {
            info_hash: InfoHash([7; 20]),
            peer_id: PeerId([9; 20]),
            extended,
            fast,
            dht,
        }
    }

    #[test]
    fn a_handshake_survives_the_wire() {
        for bits in 0..8 {
            let hello = hello(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
            assert_eq!(Handshake::decode(&hello.encode()), Some(hello));
        }
    }

    #[test]
    fn another_protocol_is_refused_whichever_byte_differs() {
        let good = hello(true, true, true).encode();
        for at in 0..LEN {
            let mut bytes = good;
            bytes[at] ^= 0x80;
            assert_eq!(Handshake::decode(&bytes).is_none(), at < 20, "byte {at}");
            assert!(at > 20 || can_begin_with(&bytes[..at]), "byte {at}");
            assert_eq!(can_begin_with(&bytes[..=at]), at >= 20, "byte {at}");
        }
    }
}

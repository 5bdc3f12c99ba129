//! The names of DHT nodes (BEP 5), how far they are from one another, and which of them a host may bear (BEP 42).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::crc32c::crc32c;
use super::endpoint::Scope;
use super::id::InfoHash;

/// The 20 bytes by which a DHT node names itself. Nodes and info-hashes live in the same space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 20]);

/// How far two ids are from one another: their exclusive or, as a number (BEP 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance([u8; 20]);

/// A node and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Its name.
    pub id: NodeId,
    /// Its address. Never an IPv4 one in IPv6 clothes.
    pub addr: SocketAddr,
}

/// The bits of an IPv4 address that an id depends on (BEP 42).
const MASK_V4: u32 = 0x030f_3fff;

/// The same for the first half of an IPv6 address.
const MASK_V6: u64 = 0x0103_070f_1f3f_7fff;

/// Bits of an id that follow from its host's address.
const BOUND_BITS: u32 = 21;

impl NodeId {
    /// Takes exactly 20 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Any id.
    #[must_use]
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        let mut id = [0; 20];
        rng.fill(&mut id);
        Self(id)
    }

    /// An id that the host at `ip` may bear (BEP 42). Where the address is not one of the world's, any id.
    #[must_use]
    pub fn of_host(ip: IpAddr, rng: &mut fastrand::Rng) -> Self {
        let mut id = Self::random(rng);
        if Scope::of(ip) == Scope::World {
            let bound = bound_bits(ip, id.0[19]) << (u32::BITS - BOUND_BITS);
            let free = u32::MAX >> BOUND_BITS;
            let head = bound | (id.head() & free);
            id.0[..4].copy_from_slice(&head.to_be_bytes());
        }
        id
    }

    /// Whether the host at `ip` may bear this id: its first 21 bits follow from the address and the last byte (BEP 42). Addresses of a host or a site
    /// alone are exempt.
    #[must_use]
    pub fn befits(self, ip: IpAddr) -> bool {
        let bound = || self.head() >> (u32::BITS - BOUND_BITS);
        Scope::of(ip) != Scope::World || bound() == bound_bits(ip, self.0[19])
    }

    /// An id that has exactly the first `bits` bits in common with this one; `bits` below 160.
    #[must_use]
    pub fn beside(self, bits: usize, rng: &mut fastrand::Rng) -> Self {
        let mut id = Self::random(rng);
        let (whole, rest) = (bits / 8, bits % 8);
        id.0[..whole].copy_from_slice(&self.0[..whole]);
        let (kept, flipped) = (!(0xff_u8 >> rest), 0x80 >> rest);
        let own = self.0[whole];
        id.0[whole] = (own & kept) | (!own & flipped) | (id.0[whole] & !(kept | flipped));
        id
    }

    /// How far `other` is.
    #[must_use]
    pub fn distance(self, other: Self) -> Distance {
        Distance(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    fn head(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

impl Distance {
    /// The bits that both ids begin with alike, up to 160.
    #[must_use]
    pub fn common_bits(self) -> usize {
        let whole = self.0.iter().take_while(|byte| **byte == 0).count();
        let rest = self.0.get(whole).map_or(0, |byte| byte.leading_zeros());
        whole * 8 + rest as usize
    }
}

impl From<InfoHash> for NodeId {
    fn from(hash: InfoHash) -> Self {
        Self(hash.0)
    }
}

impl fmt::Display for NodeId {
    /// 40 lower-case hexadecimal characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        InfoHash(self.0).fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// What the first bits of an id have to be at `ip`, if its last byte is `last`.
fn bound_bits(ip: IpAddr, last: u8) -> u32 {
    let salt = last & 7;
    let sum = match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let masked = ip.to_bits() & MASK_V4 | u32::from(salt) << 29;
            crc32c(&masked.to_be_bytes())
        }
        IpAddr::V6(ip) => {
            let high = (ip.to_bits() >> 64) as u64;
            let masked = high & MASK_V6 | u64::from(salt) << 61;
            crc32c(&masked.to_be_bytes())
        }
    };
    sum >> (u32::BITS - BOUND_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn id(hex: &str) -> NodeId {
        hex.parse::<InfoHash>().unwrap().into()
    }

    #[test]
    fn the_examples_of_bep_42_are_understood() {
        for (host, hex) in [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ] {
            assert!(id(hex).befits(ip(host)), "{host}");
            for bit in 0..BOUND_BITS {
                let mut other = id(hex);
                other.0[(bit / 8) as usize] ^= 0x80 >> (bit % 8);
                assert!(!other.befits(ip(host)), "{host}, bit {bit}");
                assert!(other.befits(ip("10.0.0.1")), "in a site any id will do");
            }
        }
    }

    #[test]
    fn an_id_made_for_a_host_befits_it_and_its_neighbours_alone() {
        let mut rng = fastrand::Rng::with_seed(4);
        for host in ["8.8.8.8", "2001:db8:1:2::3", "::ffff:8.8.8.8"].map(ip) {
            let ids: Vec<_> = (0..100).map(|_| NodeId::of_host(host, &mut rng)).collect();
            assert!(ids.iter().all(|id| id.befits(host)), "{host}");
            let other = ip("9.9.9.9");
            assert!(ids.iter().filter(|id| id.befits(other)).count() < 3);
            assert_ne!(ids[0].0[4..19], ids[1].0[4..19]);
        }
    }

    #[test]
    fn an_id_beside_another_has_as_many_bits_in_common_as_asked_for() {
        let mut rng = fastrand::Rng::with_seed(5);
        let own = NodeId::random(&mut rng);
        for bits in 0..160 {
            let other = own.beside(bits, &mut rng);
            assert_eq!(own.distance(other).common_bits(), bits);
        }
        assert_eq!(own.distance(own).common_bits(), 160);
    }
}

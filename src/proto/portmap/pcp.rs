//! PCP (RFC 6887): the MAP opcode, for TCP over IPv4.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Mapping, Refusal, lease, sane, u16_at, u32_at};

const VERSION: u8 = 2;
/// Opcode (11).
const MAP: u8 = 1;
/// Says in a response that it is one.
const RESPONSE: u8 = 0x80;
/// The protocol's number with IANA.
const TCP: u8 = 6;
/// Bytes of a request or response with its MAP part.
const LEN: usize = 60;
/// Result: the version is not spoken (7.4).
const UNSUPPORTED_VERSION: u8 = 1;

/// Tells our mapping from those of others, who could only guess it (11.1).
pub type Nonce = [u8; 12];

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Our address in the gateway's network, which has to be the one that the packet comes from.
    pub client: Ipv4Addr,
    /// Our port.
    pub port: u16,
    /// The port outside that we would like.
    pub external: u16,
    /// See [`Nonce`].
    pub nonce: Nonce,
}

impl Ask {
    /// Asks for the mapping for so many seconds; 0 ends it.
    #[must_use]
    pub fn write(&self, secs: u32) -> [u8; LEN] {
        let mut packet = [0; LEN];
        packet[..2].copy_from_slice(&[VERSION, MAP]);
        packet[4..8].copy_from_slice(&secs.to_be_bytes());
        packet[8..24].copy_from_slice(&self.client.to_ipv6_mapped().octets());
        packet[24..36].copy_from_slice(&self.nonce);
        packet[36] = TCP;
        packet[40..42].copy_from_slice(&self.port.to_be_bytes());
        packet[42..44].copy_from_slice(&self.external.to_be_bytes());
        let any = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
        packet[44..].copy_from_slice(&any.octets());
        packet
    }

    /// Reads the answer. `None` if the packet is none to this.
    #[must_use]
    pub fn read(&self, packet: &[u8]) -> Option<Result<Mapping, Refusal>> {
        // A NAT-PMP server, or one of another version, says so in the form that all versions share (Appendix A).
        if let [version, said, _, result, ..] = *packet
            && version != VERSION
            && said >= RESPONSE
        {
            return (result == UNSUPPORTED_VERSION).then_some(Err(Refusal::Unknown));
        }
        let [VERSION, said, _, result, ..] = *packet else {
            return None;
        };
        if said != RESPONSE | MAP {
            return None;
        }
        match result {
            0 => {}
            UNSUPPORTED_VERSION => return Some(Err(Refusal::Unknown)),
            code => return Some(Err(Refusal::Code(code.into()))),
        }
        let ours = packet.get(24..36)? == self.nonce.as_slice()
            && packet.get(36) == Some(&TCP)
            && u16_at(packet, 40)? == self.port;
        if !ours {
            return None;
        }
        let external: [u8; 16] = packet.get(44..LEN)?.try_into().ok()?;
        Some(Ok(Mapping {
            port: u16_at(packet, 42)?,
            address: Ipv6Addr::from(external).to_ipv4_mapped().and_then(sane),
            lease: Some(lease(u32_at(packet, 4)?)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask = Ask {
        client: Ipv4Addr::new(192, 168, 1, 7),
        port: 6881,
        external: 6882,
        nonce: *b"twelve bytes",
    };

    fn reply() -> [u8; LEN] {
        let mut packet = ASK.write(1800);
        packet[1] |= RESPONSE;
        packet[42..44].copy_from_slice(&7000_u16.to_be_bytes());
        let outside = Ipv4Addr::new(203, 0, 113, 5).to_ipv6_mapped();
        packet[44..].copy_from_slice(&outside.octets());
        packet
    }

    #[test]
    fn a_mapping_is_asked_for_and_read() {
        let packet = ASK.write(3600);
        assert_eq!(packet[..8], [2, 1, 0, 0, 0, 0, 14, 16]);
        assert_eq!(packet[18..24], [255, 255, 192, 168, 1, 7]);
        assert_eq!(packet[36..44], [6, 0, 0, 0, 0x1a, 0xe1, 0x1a, 0xe2]);
        let mapping = Mapping {
            port: 7000,
            address: Some(Ipv4Addr::new(203, 0, 113, 5)),
            lease: Some(lease(1800)),
        };
        assert_eq!(ASK.read(&reply()), Some(Ok(mapping)));
        assert_eq!(ASK.read(&ASK.write(1)), None, "our own request");
    }

    #[test]
    fn what_is_not_ours_is_not_taken() {
        for at in [24, 35, 36, 40, 41] {
            let mut packet = reply();
            packet[at] ^= 1;
            assert_eq!(ASK.read(&packet), None, "{at}");
        }
    }

    #[test]
    fn a_gateway_of_another_version_says_so() {
        assert_eq!(
            ASK.read(&[0, 128, 0, 1, 0, 0, 0, 9]),
            Some(Err(Refusal::Unknown))
        );
        assert_eq!(ASK.read(&[0, 129, 0, 1]), Some(Err(Refusal::Unknown)));
        assert_eq!(ASK.read(&[0, 128, 0, 0]), None);
        let mut refused = reply();
        refused[3] = 2;
        assert_eq!(ASK.read(&refused), Some(Err(Refusal::Code(2))));
    }

    #[test]
    fn a_packet_cut_or_changed_anywhere_is_read_or_refused() {
        let good = reply();
        for at in 0..good.len() {
            assert!(!matches!(ASK.read(&good[..at]), Some(Ok(_))), "{at}");
            for byte in 0..=255 {
                let mut packet = good;
                packet[at] = byte;
                if let Some(Ok(mapping)) = ASK.read(&packet) {
                    assert!(mapping.address.is_none_or(|ip| !ip.is_unspecified()));
                }
            }
        }
    }
}

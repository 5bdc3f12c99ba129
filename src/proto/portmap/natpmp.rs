//! NAT-PMP (RFC 6886), TCP mappings.

use std::net::Ipv4Addr;

use super::{Mapping, Refusal, lease, sane, u16_at, u32_at};

/// Says in a response that it is one.
const RESPONSE: u8 = 0x80;
/// Opcode: the external address.
const ADDRESS: u8 = 0;
/// Opcode: a TCP mapping.
const TCP: u8 = 2;
/// Result: the version is not spoken. PCP servers that do not take NAT-PMP answer so, too.
const UNSUPPORTED_VERSION: u16 = 1;

/// Asks for the external address (3.2).
#[must_use]
pub const fn ask_address() -> [u8; 2] {
    [0, ADDRESS]
}

/// Asks for `port` of this host to be reached at the same port outside for so many seconds; 0 ends it (3.3, 3.4).
#[must_use]
pub fn ask_mapping(port: u16, external: u16, secs: u32) -> [u8; 12] {
    let mut packet = [0; 12];
    packet[1] = TCP;
    packet[4..6].copy_from_slice(&port.to_be_bytes());
    // Who ends a mapping suggests no port.
    let suggested = if secs == 0 { 0 } else { external };
    packet[6..8].copy_from_slice(&suggested.to_be_bytes());
    packet[8..].copy_from_slice(&secs.to_be_bytes());
    packet
}

/// Reads the external address. `None` if the packet is not an answer to [`ask_address`].
#[must_use]
pub fn read_address(packet: &[u8]) -> Option<Result<Ipv4Addr, Refusal>> {
    check(packet, ADDRESS)?;
    Some(result(packet).and_then(|()| {
        let bits = u32_at(packet, 8).ok_or(Refusal::Nonsense)?;
        sane(Ipv4Addr::from(bits)).ok_or(Refusal::Nonsense)
    }))
}

/// Reads the mapping of `port`. `None` if the packet is not an answer to [`ask_mapping`].
#[must_use]
pub fn read_mapping(packet: &[u8], port: u16) -> Option<Result<Mapping, Refusal>> {
    check(packet, TCP)?;
    if let Err(refusal) = result(packet) {
        return Some(Err(refusal));
    }
    if u16_at(packet, 8)? != port {
        return None;
    }
    let (external, secs) = (u16_at(packet, 10)?, u32_at(packet, 12)?);
    Some(Ok(Mapping {
        port: external,
        address: None,
        lease: Some(lease(secs)),
    }))
}

fn check(packet: &[u8], opcode: u8) -> Option<()> {
    let [0, said, _, _, ..] = *packet else {
        return None;
    };
    // A server that does not speak this version need not say what was asked.
    let refused = said >= RESPONSE && u16_at(packet, 2)? == UNSUPPORTED_VERSION;
    (said == RESPONSE | opcode || refused).then_some(())
}

fn result(packet: &[u8]) -> Result<(), Refusal> {
    match u16_at(packet, 2) {
        Some(0) => Ok(()),
        Some(UNSUPPORTED_VERSION) => Err(Refusal::Unknown),
        Some(code) => Err(Refusal::Code(code)),
        None => Err(Refusal::Nonsense),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS_REPLY: [u8; 12] = [0, 128, 0, 0, 0, 0, 0, 9, 203, 0, 113, 5];
    const MAPPED: [u8; 16] = [
        0, 130, 0, 0, 0, 0, 0, 9, 0x1a, 0xe1, 0x1a, 0xe2, 0, 0, 14, 16,
    ];

    #[test]
    fn an_address_and_a_mapping_are_asked_for_and_read() {
        assert_eq!(ask_address(), [0, 0]);
        assert_eq!(
            ask_mapping(6881, 6882, 3600),
            [0, 2, 0, 0, 0x1a, 0xe1, 0x1a, 0xe2, 0, 0, 14, 16]
        );
        assert_eq!(
            ask_mapping(6881, 6882, 0),
            [0, 2, 0, 0, 0x1a, 0xe1, 0, 0, 0, 0, 0, 0]
        );
        let outside = Ipv4Addr::new(203, 0, 113, 5);
        assert_eq!(read_address(&ADDRESS_REPLY), Some(Ok(outside)));
        let mapping = Mapping {
            port: 6882,
            address: None,
            lease: Some(lease(3600)),
        };
        assert_eq!(read_mapping(&MAPPED, 6881), Some(Ok(mapping)));
        assert_eq!(read_mapping(&MAPPED, 6880), None, "somebody else's");
    }

    #[test]
    fn a_refusal_says_why() {
        let refused = |code: u8| {
            let mut packet = MAPPED;
            packet[3] = code;
            read_mapping(&packet, 6881).unwrap().unwrap_err()
        };
        assert_eq!(
            (refused(1), refused(2)),
            (Refusal::Unknown, Refusal::Code(2))
        );
        assert_eq!(
            read_mapping(&[0, 128, 0, 1], 1),
            Some(Err(Refusal::Unknown))
        );
    }

    #[test]
    fn a_packet_cut_or_changed_anywhere_is_read_or_refused() {
        for good in [&ADDRESS_REPLY[..], &MAPPED] {
            for at in 0..good.len() {
                let _ = (read_address(&good[..at]), read_mapping(&good[..at], 6881));
                for byte in 0..=255 {
                    let mut packet = good.to_vec();
                    packet[at] = byte;
                    if let Some(Ok(address)) = read_address(&packet) {
                        assert!(!address.is_unspecified());
                    }
                    let _ = read_mapping(&packet, 6881);
                }
            }
        }
    }
}

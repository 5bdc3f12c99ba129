//! Canonical peer priority (BEP 40): a number for each pair of peers that both come to by themselves. In a swarm that is larger than anybody's room, whoever dials
//! those of the highest priority first is likely to be let in there, and nobody can choose to be of high priority for everybody.

use std::net::{IpAddr, SocketAddr};

use crate::base::crc32c::crc32c;

/// The priority of the connection between `ours` and `theirs`; `None` if they are of different families.
pub(super) fn priority(ours: SocketAddr, theirs: SocketAddr) -> Option<u32> {
    match (ours.ip().to_canonical(), theirs.ip().to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) if a != b => Some(of(a.octets(), b.octets(), 2)),
        (IpAddr::V6(a), IpAddr::V6(b)) if a != b => Some(of(a.octets(), b.octets(), 6)),
        (a, b) if a == b => {
            let (a, b) = (ours.port(), theirs.port());
            Some(of(a.to_be_bytes(), b.to_be_bytes(), 2))
        }
        _ => None,
    }
}

/// Of the bytes behind those that both have in common and one more, or behind the first `least`, every second bit does not count: a network is not to have many
/// priorities to choose from.
fn of<const N: usize>(a: [u8; N], b: [u8; N], least: usize) -> u32 {
    let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let whole = least.max(common + 1);
    let masked = |bytes: [u8; N]| -> [u8; N] {
        std::array::from_fn(|i| bytes[i] & if i < whole { 0xff } else { 0x55 })
    };
    let mut both = [masked(a), masked(b)];
    both.sort_unstable();
    crc32c(both.as_flattened())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_bep_40_and_others_hold_from_both_sides() {
        for (a, b, expected) in [
            ("123.213.32.10:1", "98.76.54.32:2", 0xec2d_7224),
            ("123.213.32.10:1", "123.213.32.234:2", 0x9956_8189),
            // From the tests of Transmission.
            ("123.213.32.10:1", "123.213.33.234:2", 0xf618_50a9),
            ("123.213.32.10:51413", "123.213.32.10:6881", 0x9f85_2e9f),
            (
                "[2a03:2880:f277:1cd:face:b00c:0:167]:1",
                "[2a03:2880:f177:185:face:b00c:0:25de]:2",
                0xe4d0_f2e2,
            ),
            (
                "[2a03:2880:f177:f1cd:face:b00c:0:167]:1",
                "[2a03:2880:f177:f285:face:b00c:0:25de]:2",
                0xcd99_3d35,
            ),
            (
                "[2a03:2880:f177:1cd:face:b00c:0:167]:1",
                "[2a03:2880:f177:1cd:facf:b00c:0:25de]:2",
                0x04bf_aa11,
            ),
            (
                "[2a03:2880:f177:1cd:face:b00c:0:167]:6882",
                "[2a03:2880:f177:1cd:face:b00c:0:167]:6881",
                0x67f8_fe57,
            ),
        ] {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(priority(a, b), Some(expected), "{a} and {b}");
            assert_eq!(priority(b, a), Some(expected), "{b} and {a}");
        }
    }

    #[test]
    fn families_do_not_mix_but_an_address_is_the_same_however_it_is_written() {
        let v4: SocketAddr = "1.2.3.4:5".parse().unwrap();
        let mapped: SocketAddr = "[::ffff:1.2.3.4]:5".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::1]:5".parse().unwrap();
        let other: SocketAddr = "9.2.3.4:5".parse().unwrap();
        assert_eq!(priority(v4, v6), None);
        assert_eq!(priority(v4, other), priority(other, mapped));
    }
}

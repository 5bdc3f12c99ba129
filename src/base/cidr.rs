//! Blocks of addresses, such as `10.0.0.0/8` or `2001:db8::/32`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses that begin with the same bits. IPv4-mapped IPv6 addresses count as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    ip: IpAddr,
    bits: u8,
}

/// A text that is no block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCidr;

impl fmt::Display for BadCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a block of addresses such as 10.0.0.0/8 or 2001:db8::/32")
    }
}

impl std::error::Error for BadCidr {}

impl Cidr {
    /// Whether `ip` lies in the block.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differ = a.to_bits() ^ b.to_bits();
                differ.checked_shr(32 - bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differ = a.to_bits() ^ b.to_bits();
                differ.checked_shr(128 - bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl Cidr {
    /// Whether it is a block of IPv6 addresses.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        self.ip.is_ipv6()
    }

    /// Its first and its last address as numbers.
    #[must_use]
    pub const fn range(&self) -> (u128, u128) {
        let (number, width) = match self.ip {
            IpAddr::V4(ip) => (ip.to_bits() as u128, 32),
            IpAddr::V6(ip) => (ip.to_bits(), 128),
        };
        // Of the bits after those that all have in common.
        let rest = match 1_u128.checked_shl(width - self.bits as u32) {
            Some(size) => size - 1,
            None => u128::MAX,
        };
        (number & !rest, number | rest)
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    /// An address alone is a block of one.
    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| BadCidr)?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|&n| n <= most).ok_or(BadCidr)?,
            None => most,
        };
        Ok(Self { ip, bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_what_begins_like_it() {
        for (block, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.168.7.9", "192.168.7.9", "192.168.7.8"),
            ("192.168.7.8/31", "::ffff:192.168.7.9", "192.168.7.10"),
            ("0.0.0.0/0", "255.1.1.1", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"),
            ("::/0", "ff::1", "1.2.3.4"),
            ("::1", "::1", "::2"),
        ] {
            let cidr: Cidr = block.parse().unwrap();
            assert!(cidr.contains(inside.parse().unwrap()), "{block} {inside}");
            assert!(
                !cidr.contains(outside.parse().unwrap()),
                "{block} {outside}"
            );
            assert_eq!(cidr.to_string().parse(), Ok(cidr));
        }
    }

    #[test]
    fn a_block_reaches_from_its_first_address_to_its_last() {
        for (block, first, last) in [
            ("10.1.2.3/8", "10.0.0.0", "10.255.255.255"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.3"),
            ("1.2.3.4/0", "0.0.0.0", "255.255.255.255"),
        ] {
            let number =
                |text: &str| u128::from(text.parse::<std::net::Ipv4Addr>().unwrap().to_bits());
            let cidr: Cidr = block.parse().unwrap();
            assert_eq!(cidr.range(), (number(first), number(last)), "{block}");
        }
        assert_eq!("::/0".parse::<Cidr>().unwrap().range(), (0, u128::MAX));
        assert_eq!("::8/127".parse::<Cidr>().unwrap().range(), (8, 9));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "host/8",
            "1.2.3.4/",
            "1.2.3.4/-1",
        ] {
            assert_eq!(bad.parse::<Cidr>(), Err(BadCidr), "{bad}");
        }
    }
}

//! `--map CIDR=HOST`: peers that a NAT or a container bridge hides behind its own address, and where they are reached instead.

use std::net::{IpAddr, ToSocketAddrs};

use crate::app::args;
use crate::app::failure::{Exit, Failure};
use crate::base::cidr::Cidr;

/// Addresses in a block, and what is told in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// What the tracker sees.
    pub block: Cidr,
    /// Where others should reach such a peer.
    pub host: IpAddr,
}

impl Mapping {
    /// Reads `CIDR=HOST`. A name is resolved here and now; of several addresses the first of the block's family counts.
    ///
    /// # Errors
    /// If the value is no mapping, or the name has no address.
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        let bad = || {
            let takes = "a block of addresses, `=` and a host, such as 172.17.0.0/16=192.0.2.7";
            args::bad_value("--map", text, takes)
        };
        let (block, host) = text.split_once('=').ok_or_else(bad)?;
        let block: Cidr = block.parse().map_err(|_| bad())?;
        if host.is_empty() {
            return Err(bad());
        }
        let host = resolve(host, block.is_v6())?;
        Ok(Self { block, host })
    }
}

fn resolve(host: &str, v6: bool) -> Result<IpAddr, Failure> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(host).parse::<IpAddr>() {
        return Ok(ip.to_canonical());
    }
    let failed = |cause: &dyn std::fmt::Display| {
        Failure::new(Exit::Network, "find the address of", host, cause)
    };
    let found = (host, 0)
        .to_socket_addrs()
        .map_err(|cause| failed(&cause))?;
    let found: Vec<_> = found.map(|addr| addr.ip().to_canonical()).collect();
    let fits = found.iter().find(|ip| ip.is_ipv6() == v6);
    let ip = fits.or(found.first()).copied();
    ip.ok_or_else(|| failed(&"it has none"))
}

/// Where others reach a peer that is seen at `ip`: the first mapping counts.
pub(super) fn apply(mappings: &[Mapping], ip: IpAddr) -> IpAddr {
    let mapping = mappings.iter().find(|mapping| mapping.block.contains(ip));
    mapping.map_or(ip, |mapping| mapping.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_in_a_block_are_replaced_and_others_are_not() {
        let read = |text| Mapping::read(text).unwrap();
        let mappings = [
            read("172.17.0.1=192.0.2.7"),
            read("172.16.0.0/12=[2001:db8::7]"),
            read("fd00::/8=2001:db8::8"),
        ];
        for (seen, told) in [
            ("172.17.0.1", "192.0.2.7"),
            ("::ffff:172.17.0.1", "192.0.2.7"),
            ("172.17.0.2", "2001:db8::7"),
            ("fd00::1", "2001:db8::8"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(apply(&mappings, ip(seen)), ip(told), "{seen}");
        }
    }

    #[test]
    fn a_name_stands_for_its_address() {
        use std::net::ToSocketAddrs;
        // A bare chroot has no file of hosts.
        let Ok(mut known) = ("localhost", 0).to_socket_addrs() else {
            return;
        };
        let mapping = Mapping::read("172.17.0.0/16=localhost").unwrap();
        let told = apply(&[mapping], ip("172.17.1.1"));
        assert!(known.any(|addr| addr.ip() == told), "{told}");
    }

    #[test]
    fn what_is_no_mapping_is_told_with_its_option() {
        for bad in [
            "",
            "10.0.0.0/8",
            "10.0.0.0/8=",
            "10/8=192.0.2.1",
            "=192.0.2.1",
        ] {
            let failure = Mapping::read(bad).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{bad}");
            assert!(failure.to_string().contains("`--map`"), "{failure}");
        }
    }
}

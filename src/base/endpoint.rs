//! Peer addresses in compact form: 6 bytes for IPv4 (BEP 23), 18 for IPv6 (BEP 7), port last, in network order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The same address, as IPv4 if it is one that is mapped into IPv6, which is how a socket of both families has it.
#[must_use]
pub const fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// What one host has of addresses, for whoever counts what comes from it: one of IPv4, a /64 of IPv6.
#[must_use]
pub fn host(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Appends the compact form of `addr`; an IPv4-mapped IPv6 address is written as IPv4.
pub fn write_compact(addr: SocketAddr, out: &mut Vec<u8>) {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

/// Reads a `peers` string of 6-byte entries. `None` if its length is not a multiple of 6.
#[must_use]
pub fn read_v4(bytes: &[u8]) -> Option<Vec<SocketAddr>> {
    let (entries, rest) = bytes.as_chunks::<6>();
    rest.is_empty().then(|| {
        entries
            .iter()
            .map(|&[a, b, c, d, p, q]| {
                (Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p, q])).into()
            })
            .collect()
    })
}

/// Reads a `peers6` string of 18-byte entries. `None` if its length is not a multiple of 18.
#[must_use]
pub fn read_v6(bytes: &[u8]) -> Option<Vec<SocketAddr>> {
    let (entries, rest) = bytes.as_chunks::<18>();
    rest.is_empty()
        .then(|| entries.iter().map(read_entry_v6).collect())
}

fn read_entry_v6(entry: &[u8; 18]) -> SocketAddr {
    let mut ip = [0; 16];
    ip.copy_from_slice(&entry[..16]);
    (
        Ipv6Addr::from(ip),
        u16::from_be_bytes([entry[16], entry[17]]),
    )
        .into()
}

/// Whether a peer can listen at `addr` at all: a port, and an address of a single host.
///
/// Loopback counts: tests and single-host swarms live there. Who may be told about a loopback peer is the tracker's decision.
#[must_use]
pub fn is_dialable(addr: SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0);
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// How far an address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// On this host: loopback, and 0.0.0.0/8 and `::`, which lead there, too.
    Host,
    /// In a network of its own: private, shared and link-local addresses (RFC 1918, 6598, 3927, 4193, 4291).
    Site,
    /// Everywhere.
    World,
}

impl Scope {
    /// The scope of `ip`.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        let (host, site) = match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                let shared = a == 100 && b & 0xc0 == 64;
                let site = ip.is_private() || ip.is_link_local() || shared;
                (ip.is_loopback() || a == 0, site)
            }
            IpAddr::V6(ip) => {
                let site = ip.is_unique_local() || ip.is_unicast_link_local();
                (ip.is_loopback() || ip.is_unspecified(), site)
            }
        };
        if host {
            Self::Host
        } else if site {
            Self::Site
        } else {
            Self::World
        }
    }

    /// Whether somebody at an address of this scope can know anything about `ip`, and we can reach it from where we know them: a stranger
    /// somewhere in the world has no business with addresses in our own network.
    #[must_use]
    pub fn may_name(self, ip: IpAddr) -> bool {
        Self::of(ip) >= self
    }
}

/// Whether a peer at `ip` may be told of `addr`, or believed to know of it ([`Scope::may_name`]). Addresses of a link lack their interface where they
/// are told, so nobody is told of them.
#[must_use]
pub fn may_be_told_to(addr: SocketAddr, ip: IpAddr) -> bool {
    let of_link = match addr.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    is_dialable(addr) && !of_link && Scope::of(ip).may_name(addr.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_names_addresses_of_a_narrower_scope_than_its_own() {
        let scopes = [
            (
                Scope::Host,
                ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"],
            ),
            (
                Scope::Site,
                ["10.1.2.3", "169.254.0.1", "100.64.0.1", "fd00::1"],
            ),
            (
                Scope::World,
                ["100.128.0.1", "172.32.0.1", "2001:db8::1", "8.8.8.8"],
            ),
        ];
        for (scope, ips) in scopes {
            for ip in ips.map(|ip| ip.parse().unwrap()) {
                assert_eq!(Scope::of(ip), scope, "{ip}");
                for (other, _) in scopes {
                    assert_eq!(other.may_name(ip), other <= scope, "{other:?} of {ip}");
                }
            }
        }
    }

    #[test]
    fn compact_addresses_round_trip() {
        let v4: Vec<SocketAddr> = vec![
            "10.0.0.1:6881".parse().unwrap(),
            "255.1.2.3:65535".parse().unwrap(),
        ];
        let v6: Vec<SocketAddr> = vec![
            "[2001:db8::1]:6881".parse().unwrap(),
            "[::1]:1".parse().unwrap(),
        ];
        let compact = |addrs: &[SocketAddr]| {
            let mut out = Vec::new();
            addrs.iter().for_each(|&a| write_compact(a, &mut out));
            out
        };
        assert_eq!(compact(&v4)[..6], [10, 0, 0, 1, 0x1a, 0xe1]);
        assert_eq!(read_v4(&compact(&v4)), Some(v4));
        assert_eq!(read_v6(&compact(&v6)), Some(v6));
        assert_eq!(
            compact(&["[::ffff:1.2.3.4]:5".parse().unwrap()]),
            [1, 2, 3, 4, 0, 5]
        );
    }

    #[test]
    fn addresses_are_told_where_they_mean_something() {
        let told = |addr: &str, ip: &str| {
            let addr = format!("{addr}:7").parse().unwrap();
            may_be_told_to(addr, ip.parse().unwrap())
        };
        let (host, site, world) = ("127.0.0.1", "10.1.2.3", "198.51.100.1");
        assert!(told(host, "127.9.9.9") && told(host, "::1") && told("[::1]", host));
        assert!(!told(host, site) && !told(host, world) && !told("[::ffff:127.0.0.1]", site));
        for inner in ["192.168.1.1", "172.16.0.1", "100.64.0.1", "[fd00::1]"] {
            assert!(
                told(inner, site) && told(inner, host) && told(inner, "fe80::1"),
                "{inner}"
            );
            assert!(
                !told(inner, world) && !told(inner, "2001:db8::1"),
                "{inner}"
            );
        }
        assert!(told(world, site) && told("[2001:db8::2]", world) && told("100.128.0.1", world));
        assert!(!told("[fe80::2]", "fe80::1") && !told("169.254.0.1", site));
        assert!(!told("224.0.0.1", site) && !told("0.0.0.0", site));
    }

    #[test]
    fn every_wrong_length_is_refused() {
        for n in 0..60 {
            assert_eq!(read_v4(&vec![1; n]).is_some(), n % 6 == 0);
            assert_eq!(read_v6(&vec![1; n]).is_some(), n % 18 == 0);
        }
    }

    #[test]
    fn addresses_that_nobody_listens_at_are_not_dialled() {
        for bad in [
            "1.2.3.4:0",
            "0.0.0.0:1",
            "0.1.2.3:1",
            "255.255.255.255:1",
            "224.0.0.1:1",
            "[::]:1",
            "[ff02::1]:1",
            "[::ffff:0.0.0.0]:1",
        ] {
            assert!(!is_dialable(bad.parse().unwrap()), "{bad}");
        }
        assert!(
            is_dialable("127.0.0.1:1".parse().unwrap())
                && is_dialable("[fe80::1]:1".parse().unwrap())
        );
    }
}

//! Addresses of this host that others may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// An address of an interface of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The address.
    pub addr: IpAddr,
    /// The number of the interface, for an IPv6 address; 0 for an IPv4 address, which names its interface by itself.
    pub index: u32,
    /// The name of the interface, for an IPv6 address; empty for an IPv4 address.
    pub name: String,
}

/// The addresses of all interfaces, loopback included.
#[must_use]
pub fn all() -> Vec<Interface> {
    platform::all()
}

/// The address that other hosts most likely reach this one at: the one that the default route would use, else any address of
/// an interface, else loopback. Sends nothing.
#[must_use]
pub fn likely_address() -> IpAddr {
    let routed = [("192.0.2.1", "0.0.0.0"), ("2001:db8::1", "::")]
        .into_iter()
        .filter_map(|(far, near)| source_towards(far, near));
    let candidates = routed.chain(all().into_iter().map(|interface| interface.addr));
    candidates
        .into_iter()
        .find(|&ip| is_reachable(ip))
        .unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// Which local address the kernel would use towards `far`. Connecting a datagram socket only looks up the route; the far
/// addresses used here are set aside for documentation (RFC 5737, RFC 3849).
fn source_towards(far: &str, near: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(near.parse().ok()?, 0)).ok()?;
    socket.connect(SocketAddr::new(far.parse().ok()?, 9)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}

/// Link-local addresses need a zone that another host does not know.
fn is_reachable(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
}

#[cfg(target_os = "linux")]
mod platform {
    use super::{Interface, IpAddr, Ipv6Addr};

    /// IPv4 first, as the kernel lists them under `/proc/net`.
    pub(super) fn all() -> Vec<Interface> {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let v4 = ipv4(&read("/proc/net/fib_trie")).into_iter();
        let mut found: Vec<_> = v4
            .map(|addr| Interface {
                addr,
                index: 0,
                name: String::new(),
            })
            .collect();
        found.extend(ipv6(&read("/proc/net/if_inet6")));
        found
    }

    /// In `fib_trie`, a leaf `|-- ADDRESS` is followed by a line for each route; `host LOCAL` marks our own addresses.
    pub(super) fn ipv4(trie: &str) -> Vec<IpAddr> {
        let mut found = Vec::new();
        let mut leaf = None;
        for line in trie.lines().map(str::trim) {
            if let Some(address) = line.strip_prefix("|-- ") {
                leaf = address.parse().ok();
            } else if line.ends_with("host LOCAL") {
                found.extend(leaf.take().filter(|ip| !found.contains(ip)));
            }
        }
        found
    }

    /// In `if_inet6`, a line is the 32 hexadecimal digits of an address, the number of its interface in hexadecimal, three more numbers and the name.
    pub(super) fn ipv6(table: &str) -> Vec<Interface> {
        let row = |line: &str| {
            let mut words = line.split_whitespace();
            let bits = u128::from_str_radix(words.next()?, 16).ok()?;
            let index = u32::from_str_radix(words.next()?, 16).ok()?;
            Some(Interface {
                addr: Ipv6Addr::from(bits).into(),
                index,
                name: words.next_back()?.to_owned(),
            })
        };
        table.lines().filter_map(row).collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use super::Interface;

    pub(super) fn all() -> Vec<Interface> {
        Vec::new()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn our_own_addresses_are_read_from_the_routing_table() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 10.0.0.0/24 2 0 2\n        \
                    |-- 10.0.0.0\n           /24 link UNICAST\n        |-- 10.0.0.7\n           /32 host LOCAL\n        \
                    |-- 10.0.0.255\n           /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\nLocal:\n     \
                    |-- 10.0.0.7\n           /32 host LOCAL\n";
        let found = platform::ipv4(trie);
        assert_eq!(
            found,
            [
                "10.0.0.7".parse::<IpAddr>().unwrap(),
                "127.0.0.1".parse().unwrap()
            ]
        );
        let table = "fe80000000000000000000fffe000001 02 40 20 80 eth0\n20010db8000000000000000000000007 02 40 00 80 eth0\n";
        assert_eq!(
            platform::ipv6(table)[1],
            Interface {
                addr: "2001:db8::7".parse().unwrap(),
                index: 2,
                name: "eth0".into(),
            }
        );
    }

    #[test]
    fn loopback_and_link_local_addresses_reach_nobody_else() {
        for ip in [
            "127.0.0.1",
            "::1",
            "169.254.1.1",
            "fe80::1",
            "0.0.0.0",
            "ff02::1",
        ] {
            assert!(!is_reachable(ip.parse().unwrap()), "{ip}");
        }
        assert!(
            is_reachable("10.0.0.7".parse().unwrap())
                && is_reachable("2001:db8::7".parse().unwrap())
        );
    }
}

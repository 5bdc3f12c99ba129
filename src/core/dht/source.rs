//! Who is behind an address, as far as limits are concerned, and how many questions of theirs are answered.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::base::endpoint::Scope;
use crate::base::time::Time;

/// Questions of one source that are answered in a second.
const PER_SOURCE: u32 = 50;

/// Questions of all sources that are answered in a second.
const IN_ALL: u32 = 2_000;

/// The one that counts: an IPv4 address, or a /64 of IPv6. On this host every port is somebody else.
pub(super) fn source(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        ip if Scope::of(ip) == Scope::Host => addr,
        IpAddr::V4(ip) => (ip, 0).into(),
        IpAddr::V6(ip) => {
            let network = ip.to_bits() & !u128::from(u64::MAX);
            (Ipv6Addr::from_bits(network), 0).into()
        }
    }
}

/// Counts the questions of a second. It remembers no more sources than questions are answered.
#[derive(Debug, Default)]
pub(super) struct Flood {
    second: u64,
    all: u32,
    sources: HashMap<SocketAddr, u32>,
}

impl Flood {
    /// Whether a question of `from` is to be answered.
    pub(super) fn admits(&mut self, now: Time, from: SocketAddr) -> bool {
        let second = now.since(Time::ZERO).as_secs();
        if second != self.second {
            (self.second, self.all) = (second, 0);
            self.sources.clear();
        }
        if self.all >= IN_ALL {
            return false;
        }
        let count = self.sources.entry(source(from)).or_default();
        if *count >= PER_SOURCE {
            return false;
        }
        *count += 1;
        self.all += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_answered_within_bounds_and_others_meanwhile() {
        let mut flood = Flood::default();
        let addr = |n: u32| SocketAddr::from((std::net::Ipv4Addr::from_bits(n << 8), 1));
        let now = Time::from_secs(9);
        let mut answered = |n: u32, times: u32| {
            let times = (0..times).filter(|_| flood.admits(now, addr(n)));
            times.count() as u32
        };
        assert_eq!(answered(8 << 16, 10_000), PER_SOURCE);
        assert_eq!(answered(9 << 16, 5), 5);
        let all: u32 = (0..10_000).map(|n| answered((10 << 16) + n, 1)).sum();
        assert_eq!(all, IN_ALL - PER_SOURCE - 5);
        assert!(flood.sources.len() <= IN_ALL as usize);
        assert!(flood.admits(Time::from_secs(10), addr(8 << 16)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_a_port_of_this_host_another() {
        let same = |a: &str, b: &str| source(a.parse().unwrap()) == source(b.parse().unwrap());
        assert!(same("1.2.3.4:5", "1.2.3.4:6"));
        assert!(!same("1.2.3.4:5", "1.2.3.5:5"));
        assert!(same("[2001:db8::1]:5", "[2001:db8::2]:6"));
        assert!(!same("[2001:db8:0:1::1]:5", "[2001:db8::1]:5"));
        assert!(!same("127.0.0.1:5", "127.0.0.1:6"));
    }
}

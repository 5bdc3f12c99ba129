//! What the tracker keeps of a peer: 32 bytes for one at IPv4, 44 at IPv6.

use std::net::{IpAddr, SocketAddr};

use super::table::Keyed;
use crate::base::endpoint::is_dialable;
use crate::base::id::PeerId;

/// An address without its port: 4 bytes or 16.
pub(super) trait Family: Copy + Eq {
    /// The address.
    fn ip(self) -> IpAddr;
    /// What all addresses of its subnet have in common: a /24 of IPv4, a /64 of IPv6.
    fn subnet(self) -> u128;
    /// The other way round; `None` for an address of the other family.
    fn from_ip(ip: IpAddr) -> Option<Self>;
}

impl Family for [u8; 4] {
    fn ip(self) -> IpAddr {
        self.into()
    }

    fn subnet(self) -> u128 {
        (u32::from_be_bytes(self) >> 8).into()
    }

    fn from_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) => Some(ip.octets()),
            IpAddr::V6(_) => None,
        }
    }
}

impl Family for [u8; 16] {
    fn ip(self) -> IpAddr {
        self.into()
    }

    fn subnet(self) -> u128 {
        u128::from_be_bytes(self) >> 64
    }

    fn from_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V6(ip) => Some(ip.octets()),
            IpAddr::V4(_) => None,
        }
    }
}

/// A peer at one address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<A> {
    id: [u8; 20],
    ip: A,
    port: u16,
    left: Left,
    /// When the latest announce came, in seconds since the origin of time (17 years of them), and three flags on top.
    seen: u32,
}

/// The peer has completed its download, and been counted for it.
const COMPLETED: u32 = 1 << 31;
/// The same peer also has a record of the other family.
const DUAL: u32 = 1 << 30;
/// Whoever can reach anybody can reach the peer: its address is no loopback, no link's own, and it has a port.
const ROUTABLE: u32 = 1 << 29;
const SECONDS: u32 = ROUTABLE - 1;

impl<A: Family> Record<A> {
    pub(super) fn new(id: PeerId, ip: A, port: u16, left: Left, now: u32) -> Self {
        let mut record = Self {
            id: id.0,
            ip,
            port,
            left,
            seen: 0,
        };
        record.refresh(ip, port, now);
        record
    }

    pub(super) const fn id(&self) -> PeerId {
        PeerId(self.id)
    }

    pub(super) const fn ip(&self) -> A {
        self.ip
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip.ip(), self.port)
    }

    pub(super) const fn left(&self) -> Left {
        self.left
    }

    pub(super) const fn set_left(&mut self, left: Left) {
        self.left = left;
    }

    /// The peer announced itself again, perhaps from elsewhere. What it is stays.
    pub(super) fn refresh(&mut self, ip: A, port: u16, now: u32) {
        self.ip = ip;
        self.port = port;
        let addr = self.addr();
        let routable = is_dialable(addr) && !addr.ip().is_loopback() && !is_of_link(addr.ip());
        let flag = if routable { ROUTABLE } else { 0 };
        self.seen = (self.seen & (COMPLETED | DUAL)) | flag | (now & SECONDS);
    }

    /// Whether an asker at `ip` can do anything with the address: loopback means something only on the same host, a link's own addresses only on
    /// that link. Nearly always that was found out when the peer announced itself.
    pub(super) fn may_be_told_to(&self, ip: IpAddr) -> bool {
        self.seen & ROUTABLE != 0 || self.is_close_to(ip)
    }

    #[cold]
    fn is_close_to(&self, asker: IpAddr) -> bool {
        let (addr, ip) = (self.addr(), self.ip.ip());
        is_dialable(addr)
            && (!ip.is_loopback() || asker.is_loopback())
            && (!is_of_link(ip) || is_of_link(asker))
    }

    /// In seconds since the origin of time.
    pub(super) const fn seen(&self) -> u32 {
        self.seen & SECONDS
    }

    pub(super) const fn completed(&self) -> bool {
        self.seen & COMPLETED != 0
    }

    pub(super) const fn set_completed(&mut self) {
        self.seen |= COMPLETED;
    }

    pub(super) const fn dual(&self) -> bool {
        self.seen & DUAL != 0
    }

    pub(super) const fn set_dual(&mut self, dual: bool) {
        if dual {
            self.seen |= DUAL;
        } else {
            self.seen &= !DUAL;
        }
    }
}

const fn is_of_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

impl<A> Keyed for Record<A> {
    fn key(&self) -> &[u8; 20] {
        &self.id
    }
}

/// How many bytes a peer still wants, to almost three digits, in two bytes: ten bits of number, above them six that say how far to shift it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left(u16);

impl Left {
    /// The peer has not said, which makes it a leecher.
    pub(super) const UNKNOWN: Self = Self(u16::MAX);

    /// Rounds down, but never to 0: only a seeder wants nothing.
    pub(super) fn new(left: Option<u64>) -> Self {
        let Some(bytes) = left else {
            return Self::UNKNOWN;
        };
        let shift = (64 - bytes.leading_zeros()).saturating_sub(10);
        let mantissa = u16::try_from(bytes >> shift).unwrap_or(0x3ff);
        Self((u16::try_from(shift).unwrap_or(0) << 10) | mantissa)
    }

    /// A number that is larger for whoever wants more; that of those who have not said is the largest.
    pub(super) const fn rank(self) -> u16 {
        self.0
    }

    /// Whether the peer is a seeder (R37).
    pub(super) const fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// The bytes; `None` if unknown.
    pub(super) fn bytes(self) -> Option<u64> {
        let (shift, mantissa) = (self.0 >> 10, u64::from(self.0 & 0x3ff));
        (self != Self::UNKNOWN).then(|| mantissa << shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_small_as_it_claims() {
        assert_eq!(size_of::<Record<[u8; 4]>>(), 32);
        assert_eq!(size_of::<Record<[u8; 16]>>(), 44);
    }

    #[test]
    fn bytes_left_keep_three_digits_and_only_nothing_is_nothing() {
        for n in 0..64 {
            for bytes in [1_u64 << n, (1 << n) + (1 << n) / 3, (1 << n) - 1] {
                let left = Left::new(Some(bytes));
                assert_eq!(left.is_nothing(), bytes == 0);
                let kept = left.bytes().unwrap();
                assert!(
                    kept <= bytes && kept >= bytes - bytes / 512,
                    "{bytes} {kept}"
                );
            }
        }
        let ranks: Vec<_> = (0..5000).map(|n| Left::new(Some(n)).rank()).collect();
        assert!(ranks.is_sorted());
        assert!(Left::new(Some(u64::MAX)).rank() < Left::new(None).rank());
        assert!(!Left::new(None).is_nothing());
        assert_eq!(Left::new(None).bytes(), None);
        assert!(Left::new(Some(u64::MAX)).bytes().is_some());
    }

    #[test]
    fn flags_and_seconds_do_not_disturb_each_other() {
        let mut record = Record::new(PeerId([1; 20]), [1, 2, 3, 4], 5, Left::UNKNOWN, u32::MAX);
        assert!(!record.completed() && !record.dual());
        record.set_completed();
        record.set_dual(true);
        record.refresh([5, 6, 7, 8], 9, 77);
        assert!(record.completed() && record.dual());
        assert_eq!(
            (record.seen(), record.addr()),
            (77, "5.6.7.8:9".parse().unwrap())
        );
        record.set_dual(false);
        assert!(record.completed() && !record.dual());
    }
}

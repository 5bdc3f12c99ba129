//! What the shards of a tracker have in common: how much memory there is for all, how many peers each source has, and how often all may ask.
//!
//! A source is an IPv4 address or an IPv6 /64, which a single host may use all of. Sources are counted in a fixed number of buckets, so that counting
//! costs no memory that a stranger could ask for; two sources that meet in a bucket share its limit. The numbers are atomic, not locked: shards work side
//! by side, and none needs more than its own share of the truth at a time.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::interval;
use super::table::mix;

/// Buckets of sources.
const BUCKETS: usize = 1 << 16;

/// So many records of one source are no crowd, however few there are of others.
const A_FEW: usize = 16;

/// What strangers may make a tracker do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that all shards together may take.
    pub memory: usize,
    /// Peers of one address, or one /64 of IPv6.
    pub per_source: u32,
    /// Announces a second that peers are told to stay below, see `interval`.
    pub rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            per_source: 20_000,
            rate: 5_000,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Commons {
    limits: Limits,
    secret: u64,
    /// The longest span that was told lately, and on top when it was told, both in seconds.
    longest: AtomicU64,
    used: AtomicUsize,
    records: AtomicUsize,
    sources: Box<[AtomicU32]>,
}

impl Commons {
    /// For shards that have these limits together. `secret` is a random number that nobody else knows.
    #[must_use]
    pub fn new(limits: Limits, secret: u64) -> Self {
        Self {
            limits,
            secret,
            longest: AtomicU64::new(0),
            used: AtomicUsize::new(0),
            records: AtomicUsize::new(0),
            sources: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Bytes that the shards take.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Peers in all shards; one at IPv4 and IPv6 counts twice.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// The span of `interval` for as many peers as there are.
    pub(super) fn span(&self, now: u32) -> u32 {
        let span = interval::span(self.records(), self.limits.rate);
        if span > self.longest_span(now) {
            let noted = u64::from(now) << 32 | u64::from(span);
            self.longest.store(noted, Ordering::Relaxed);
        }
        span
    }

    /// The longest span that peers may have been told who still wait. It shrinks by a second in sixteen, slower than anybody waits.
    fn longest_span(&self, now: u32) -> u32 {
        let noted = self.longest.load(Ordering::Relaxed);
        let (when, span) = ((noted >> 32) as u32, noted as u32);
        span.saturating_sub(now.saturating_sub(when) / 16)
    }

    /// Seconds of silence after which a peer is forgotten, where `base` is the configured interval.
    pub(super) fn expiry(&self, base: u32, now: u32) -> u32 {
        interval::expiry(base, self.longest_span(now))
    }

    /// Whether `more` bytes are left.
    pub(super) fn has_room(&self, more: usize) -> bool {
        self.used().saturating_add(more) <= self.limits.memory
    }

    /// A shard takes `after` bytes instead of `before`.
    pub(super) fn charge(&self, before: usize, after: usize) {
        if after >= before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// A record of this address has come.
    pub(super) fn join(&self, ip: IpAddr) {
        self.bucket(ip).fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(1, Ordering::Relaxed);
    }

    /// A record of this address has gone.
    pub(super) fn leave(&self, ip: IpAddr) {
        self.bucket(ip).fetch_sub(1, Ordering::Relaxed);
        self.records.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many records the source of this address has.
    pub(super) fn crowd(&self, ip: IpAddr) -> u32 {
        self.bucket(ip).load(Ordering::Relaxed)
    }

    /// Whether the source of this address has as many records as it may. The tracker's own host may have any number.
    pub(super) fn is_too_many(&self, ip: IpAddr) -> bool {
        !ip.is_loopback() && self.crowd(ip) >= self.limits.per_source
    }

    /// Whether the source of this address has far more records than most: one in five hundred of all.
    pub(super) fn is_crowd(&self, ip: IpAddr) -> bool {
        let crowd = self.crowd(ip) as usize;
        crowd > A_FEW && crowd * 500 > self.records()
    }

    /// Whether two addresses are of one source.
    pub(super) fn is_same(&self, a: IpAddr, b: IpAddr) -> bool {
        self.index(a) == self.index(b)
    }

    fn bucket(&self, ip: IpAddr) -> &AtomicU32 {
        &self.sources[self.index(ip)]
    }

    #[inline(never)]
    fn index(&self, ip: IpAddr) -> usize {
        let mut key = [0; 20];
        match ip.to_canonical() {
            IpAddr::V4(ip) => key[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => {
                key[4..12].copy_from_slice(&ip.octets()[..8]);
                key[19] = 6;
            }
        }
        mix(self.secret, &key) as usize % BUCKETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits {
        memory: 100,
        per_source: 2,
        rate: 10,
    };

    #[test]
    fn whoever_was_told_to_wait_long_is_not_forgotten_when_many_have_left() {
        let commons = Commons::new(SMALL, 7);
        let ip = [10, 0, 0, 1].into();
        assert_eq!((commons.span(50), commons.expiry(300, 50)), (0, 660));
        (0..7500).for_each(|_| commons.join(ip));
        assert_eq!(commons.span(100), 1000);
        (0..7500).for_each(|_| commons.leave(ip));
        assert_eq!(commons.span(101), 0);
        // Told to wait 1,700 s at most.
        for later in [0, 100, 1000, 1700, 2400] {
            assert!(commons.expiry(300, 101 + later) > later, "{later}");
        }
        assert_eq!(commons.expiry(300, 101 + 16 * 1000), 660);
    }

    #[test]
    fn sources_are_addresses_or_blocks_of_sixty_four_bits() {
        let commons = Commons::new(SMALL, 7);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        commons.join(ip("10.0.0.1"));
        commons.join(ip("::ffff:10.0.0.1"));
        commons.join(ip("2001:db8::1"));
        commons.join(ip("2001:db8::ffff:2"));
        for full in ["10.0.0.1", "2001:db8::9"] {
            assert!(commons.is_too_many(ip(full)), "{full}");
        }
        for other in ["10.0.0.2", "2001:db8:0:1::1"] {
            assert_eq!(commons.crowd(ip(other)), 0, "{other}");
        }
        (0..9).for_each(|_| commons.join(ip("127.0.0.1")));
        assert!(!commons.is_too_many(ip("127.0.0.1")));
        (0..9).for_each(|_| commons.leave(ip("127.0.0.1")));
        commons.leave(ip("10.0.0.1"));
        assert!(!commons.is_too_many(ip("10.0.0.1")));
        assert_eq!(commons.records(), 3);
    }

    #[test]
    fn there_is_room_up_to_the_limit() {
        let commons = Commons::new(SMALL, 7);
        commons.charge(0, 60);
        commons.charge(20, 10);
        assert_eq!(commons.used(), 50);
        assert!(commons.has_room(50) && !commons.has_room(51));
        assert!(!commons.has_room(usize::MAX));
    }
}

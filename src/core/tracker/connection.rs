//! Connection ids of the UDP protocol (BEP 15): how a client proves that its address is no lie, without a tracker having to remember anybody.
//!
//! ```text
//! id = the low 16 bits of the second it was made in | 48 bits of SipHash-2-4(secret, address, that second)
//! ```
//!
//! An id is good for two minutes, as BEP 15 has it (clients use it for one), at the address that it was given to, from any port: what stands between may change that.
//! Whoever does not know the secret has to guess 48 bits, which takes years at a million packets a second. The whole second is hashed, so an id does not become good again when
//! its 16 bits come round.

use std::net::IpAddr;

use crate::base::siphash::siphash;
use crate::base::time::Time;

/// How long an id is good (BEP 15), in seconds.
const LIFE: u64 = 120;

const HASH_BITS: u32 = 48;

/// Makes connection ids and knows them again.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionIds {
    secret: [u64; 2],
}

impl ConnectionIds {
    /// `secret` is a random number that nobody else knows. Only ids of the same secret are known again.
    #[must_use]
    pub const fn new(secret: [u64; 2]) -> Self {
        Self { secret }
    }

    /// An id for the client at `ip`.
    #[must_use]
    pub fn issue(&self, now: Time, ip: IpAddr) -> u64 {
        self.made_in(second(now), ip)
    }

    /// Whether `id` was given to a client at `ip` and is still good.
    #[must_use]
    pub fn accepts(&self, now: Time, ip: IpAddr, id: u64) -> bool {
        let now = second(now);
        let age = now.wrapping_sub(id >> HASH_BITS) & 0xffff;
        // What is too old costs no hash. An id from before the beginning of time is nobody's.
        age <= LIFE && age <= now && id == self.made_in(now - age, ip)
    }

    fn made_in(&self, second: u64, ip: IpAddr) -> u64 {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let bits = ip.to_bits();
        let words = [(bits >> 64) as u64, bits as u64, second];
        (second << HASH_BITS) | (siphash(self.secret, words) >> (u64::BITS - HASH_BITS))
    }
}

fn second(now: Time) -> u64 {
    now.since(Time::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: ConnectionIds = ConnectionIds::new([0x0123_4567_89ab_cdef, 42]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    #[test]
    fn an_id_is_good_for_two_minutes_at_its_address() {
        for made in [0, 1, 65_500, 65_536, 1_000_000] {
            let id = IDS.issue(at(made), ip("10.0.0.1"));
            for age in [0, 1, 60, 119, 120] {
                assert!(IDS.accepts(at(made + age), ip("10.0.0.1"), id), "{age} s");
                assert!(IDS.accepts(at(made + age), ip("::ffff:10.0.0.1"), id));
            }
            for age in [121, 300, 65_536, 65_537, 65_536 * 100] {
                assert!(!IDS.accepts(at(made + age), ip("10.0.0.1"), id), "{age} s");
            }
            for other in ["10.0.0.2", "::1", "::10.0.0.1", "2001:db8::a00:1"] {
                assert!(!IDS.accepts(at(made), ip(other), id), "{other}");
            }
        }
    }

    #[test]
    fn an_id_of_the_future_or_of_another_tracker_is_refused() {
        let id = IDS.issue(at(100), ip("::1"));
        assert!(!IDS.accepts(at(99), ip("::1"), id));
        assert!(!IDS.accepts(at(0), ip("::1"), id));
        let other = ConnectionIds::new([0x0123_4567_89ab_cdef, 43]);
        assert!(!other.accepts(at(100), ip("::1"), id));
    }

    #[test]
    fn every_changed_bit_makes_it_another() {
        let id = IDS.issue(at(500), ip("10.0.0.1"));
        for bit in 0..64 {
            let forged = id ^ (1 << bit);
            assert!(!IDS.accepts(at(500), ip("10.0.0.1"), forged), "bit {bit}");
        }
    }

    #[test]
    fn guessing_leads_nowhere() {
        let mut rng = fastrand::Rng::with_seed(1);
        let hits = (0..100_000).filter(|_| IDS.accepts(at(5), ip("10.0.0.1"), rng.u64(..)));
        assert_eq!(hits.count(), 0);
    }
}

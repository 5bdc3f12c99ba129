//! Tokens: how an announcing peer proves that its address is no lie (BEP 5), without us having to remember anybody.
//!
//! ```text
//! token = SipHash-2-4(secret, address, five-minute span since the origin of time)
//! ```
//!
//! A token is good in its span and the one after it, so for five to ten minutes, at the address that it was given to, from any port.

use std::net::IpAddr;

use crate::base::siphash::siphash;
use crate::base::time::Time;

/// Seconds of a span (BEP 5).
const SPAN: u64 = 300;

/// Makes tokens and knows them again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    secret: [u64; 2],
}

impl Tokens {
    /// `secret` is a random number that nobody else knows.
    pub(super) const fn new(secret: [u64; 2]) -> Self {
        Self { secret }
    }

    /// A token for whoever is at `ip`.
    pub(super) fn issue(&self, now: Time, ip: IpAddr) -> [u8; 8] {
        self.made_in(span(now), ip)
    }

    /// Whether `token` was given to somebody at `ip` and is still good.
    pub(super) fn accepts(&self, now: Time, ip: IpAddr, token: &[u8]) -> bool {
        let now = span(now);
        let before = now.checked_sub(1);
        let mut spans = [Some(now), before].into_iter().flatten();
        spans.any(|span| self.made_in(span, ip) == token)
    }

    fn made_in(&self, span: u64, ip: IpAddr) -> [u8; 8] {
        let bits = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        siphash(self.secret, [(bits >> 64) as u64, bits as u64, span]).to_be_bytes()
    }
}

fn span(now: Time) -> u64 {
    now.since(Time::ZERO).as_secs() / SPAN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_five_to_ten_minutes_at_its_address() {
        let tokens = Tokens::new([1, 2]);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for made in [0, 1, 299, 300, 100_000] {
            let token = tokens.issue(Time::from_secs(made), ip("10.0.0.1"));
            let good = |age| tokens.accepts(Time::from_secs(made + age), ip("10.0.0.1"), &token);
            assert!([0, 1, 299, 300].into_iter().all(good), "{made}");
            assert!(![600, 601, 9000].into_iter().any(good), "{made}");
            let now = Time::from_secs(made);
            assert!(!tokens.accepts(now, ip("10.0.0.2"), &token));
            assert!(!Tokens::new([1, 3]).accepts(now, ip("10.0.0.1"), &token));
            for bad in [&b""[..], &token[..7], &[0; 8], &[token, token].concat()] {
                assert!(!tokens.accepts(now, ip("10.0.0.1"), bad));
            }
        }
    }
}

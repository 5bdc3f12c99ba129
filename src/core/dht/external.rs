//! Our own address, as others see it (BEP 42). No single stranger is believed.

use std::net::IpAddr;

use crate::base::endpoint::Scope;

/// Voters that are remembered, the latest.
const VOTERS: usize = 16;

/// Weight that an address needs, and more than half of what all have.
const ENOUGH: u32 = 2;

/// Weight of a host that the operator has named: enough if nobody else says anything.
const NAMED: u32 = 2;

#[derive(Clone, Copy, Debug)]
struct Vote {
    voter: IpAddr,
    seen: IpAddr,
    weight: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct External {
    votes: Vec<Vote>,
}

impl External {
    /// Somebody who was asked has seen us at `seen`. The address that most agree on, if they do.
    pub(super) fn note(&mut self, voter: IpAddr, seen: IpAddr, named: bool) -> Option<IpAddr> {
        if Scope::of(seen) != Scope::World || seen.is_ipv4() != voter.is_ipv4() {
            return None;
        }
        self.votes.retain(|vote| vote.voter != voter);
        if self.votes.len() == VOTERS {
            self.votes.remove(0);
        }
        let weight = if named { NAMED } else { 1 };
        self.votes.push(Vote {
            voter,
            seen,
            weight,
        });
        let sum = |votes: &mut dyn Iterator<Item = &Vote>| votes.map(|v| v.weight).sum::<u32>();
        let all = sum(&mut self.votes.iter());
        let same = sum(&mut self.votes.iter().filter(|vote| vote.seen == seen));
        (same >= ENOUGH && same * 2 > all).then_some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_most_say_is_believed_and_a_single_stranger_is_not() {
        let mut external = External::default();
        let (ours, wrong) = (ip("8.8.8.8"), ip("9.9.9.9"));
        assert_eq!(external.note(ip("1.0.0.1"), wrong, false), None);
        assert_eq!(external.note(ip("1.0.0.1"), wrong, false), None, "the same");
        assert_eq!(external.note(ip("1.0.0.2"), ours, false), None);
        assert_eq!(external.note(ip("1.0.0.3"), ours, false), Some(ours));
        for n in 0..20 {
            let voter = IpAddr::from([2, 0, 0, n]);
            let told = external.note(voter, if n % 3 == 0 { wrong } else { ours }, false);
            assert_ne!(told, Some(wrong));
        }
    }

    #[test]
    fn a_host_that_the_operator_named_suffices_until_others_outvote_it() {
        let mut external = External::default();
        let (ours, wrong) = (ip("2001:db8::8"), ip("2001:db8::9"));
        assert_eq!(external.note(ip("2001::1"), wrong, true), Some(wrong));
        for n in 2..5_u8 {
            let voter = IpAddr::from([0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]);
            let told = external.note(voter, ours, false);
            assert_eq!(told, (n == 4).then_some(ours));
        }
    }

    #[test]
    fn addresses_of_a_site_and_of_the_other_family_are_no_votes() {
        let mut external = External::default();
        assert_eq!(external.note(ip("10.0.0.1"), ip("10.0.0.9"), true), None);
        assert_eq!(external.note(ip("1.0.0.1"), ip("2001:db8::9"), true), None);
    }
}

//! The addresses we know: whom to dial next, whom to leave alone and for how long.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::endpoint::{canonical, host, is_dialable};
use crate::base::id::PeerId;
use crate::base::time::Time;
use crate::core::back_off::back_off;

use super::event::Source;
use super::priority::priority;

/// Addresses kept at most. A tracker hands out fifty at a time; strangers could hand out any number.
const MAX_KNOWN: usize = 2000;
/// Of these, as many may be hearsay: what peers tell of peers.
const MAX_GOSSIP: usize = 1000;
/// Dials under way at once. Home routers and firewalls choke on more.
const MAX_DIALLING: usize = 32;
/// Bans kept at most; the oldest go first.
const MAX_BANS: usize = 1000;
/// So many banned peers behind one address, and the address itself is banned: peer ids and ports cost nothing.
const BANS_PER_IP: usize = 3;
/// The pause before the second try; doubles with every failure.
const FIRST_PAUSE: Duration = Duration::from_secs(4);
/// The pause never grows beyond this.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// A connection that held for this long clears its address of earlier failures.
const PROVEN: Duration = Duration::from_secs(60);
/// A dial of which nothing was heard for this long counts as failed.
const DIAL_LOST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be dialled at that moment; of several, the one with the lowest number first.
    Waiting(Time, u32),
    Dialling(Time),
    Connected(Time),
    /// It is ourselves, or banned for good.
    Never,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    source: Source,
    failures: u32,
    /// It takes connections over uTP, as others say.
    utp: bool,
    state: State,
}

#[derive(Clone, Copy, Debug)]
struct Ban {
    ip: IpAddr,
    id: PeerId,
    until: Time,
}

/// What is known of addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    known: BTreeMap<SocketAddr, Known>,
    /// The waiting ones by when they are due.
    due: BTreeSet<(Time, u32, SocketAddr)>,
    /// The ones being dialled.
    dialling: BTreeSet<SocketAddr>,
    bans: VecDeque<Ban>,
    /// Where others see us, in IPv4 and IPv6, as far as we know.
    us: [Option<SocketAddr>; 2],
}

impl Roster {
    /// Others see us at `addr`.
    pub(super) fn seen_at(&mut self, addr: SocketAddr) {
        let addr = canonical(addr);
        self.us[usize::from(addr.is_ipv6())] = Some(addr);
    }

    /// Somebody told us of `addr`.
    pub(super) fn discovered(
        &mut self,
        now: Time,
        addr: SocketAddr,
        source: Source,
        rng: &mut fastrand::Rng,
    ) {
        if !is_dialable(addr) || self.is_ip_banned(now, addr.ip()) {
            return;
        }
        if let Some(known) = self.known.get_mut(&addr) {
            if source == Source::Operator {
                known.source = source;
            }
            return;
        }
        let full =
            self.known.len() >= MAX_KNOWN || (source == Source::Gossip && self.is_full_of_gossip());
        if full && !self.evict(source) {
            return;
        }
        let state = State::Never;
        self.known.insert(
            addr,
            Known {
                source,
                failures: 0,
                utp: false,
                state,
            },
        );
        self.wait_until(addr, now, rng);
    }

    /// Somebody says that whoever listens at `addr` takes connections over uTP.
    pub(super) fn says_utp(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.get_mut(&addr) {
            known.utp = true;
        }
    }

    /// Whether somebody has said so.
    pub(super) fn speaks_utp(&self, addr: SocketAddr) -> bool {
        self.known.get(&addr).is_some_and(|known| known.utp)
    }

    /// The addresses that may be dialled, with where they were heard of.
    pub(super) fn known(&self) -> impl Iterator<Item = (SocketAddr, Source)> {
        let good = self.known.iter().filter(|(_, k)| k.state != State::Never);
        good.map(|(&addr, known)| (addr, known.source))
    }

    fn is_full_of_gossip(&self) -> bool {
        let gossip = || self.known.values().filter(|k| k.source == Source::Gossip);
        self.known.len() >= MAX_GOSSIP && gossip().count() >= MAX_GOSSIP
    }

    /// Makes room by forgetting the least promising address: one that failed, or was heard of from a lesser source.
    fn evict(&mut self, for_source: Source) -> bool {
        let idle = self
            .known
            .iter()
            .filter(|(_, k)| matches!(k.state, State::Waiting(..)));
        let worst = idle.max_by_key(|(_, k)| (k.failures, k.source == Source::Gossip));
        let Some((&addr, known)) = worst else {
            return false;
        };
        let lesser = known.source == Source::Gossip && for_source != Source::Gossip;
        if known.source == Source::Operator || (known.failures == 0 && !lesser) {
            return false;
        }
        self.set(addr, State::Never);
        self.known.remove(&addr);
        true
    }

    /// The next address to dial, now counted as being dialled.
    pub(super) fn next(&mut self, now: Time) -> Option<SocketAddr> {
        let &(at, _, addr) = self.due.first()?;
        (at <= now && self.dialling.len() < MAX_DIALLING).then(|| {
            self.set(addr, State::Dialling(now));
            addr
        })
    }

    /// When [`Roster::next`] will have something, if room for it is all that matters.
    pub(super) fn deadline(&self) -> Option<Time> {
        let due = self.due.first().map(|&(at, ..)| at);
        due.filter(|_| self.dialling.len() < MAX_DIALLING)
    }

    /// Dials under way.
    pub(super) fn dialling(&self) -> usize {
        self.dialling.len()
    }

    /// Gives up dials that nothing was heard of.
    pub(super) fn expire(&mut self, now: Time, rng: &mut fastrand::Rng) {
        let started = |addr: &SocketAddr| match self.known.get(addr).map(|k| k.state) {
            Some(State::Dialling(at)) => at,
            _ => now,
        };
        let lost: Vec<_> = self
            .dialling
            .iter()
            .copied()
            .filter(|a| now.since(started(a)) >= DIAL_LOST)
            .collect();
        for addr in lost {
            self.failed(now, addr, rng);
        }
    }

    /// We are connected to whoever listens at `addr`.
    pub(super) fn connected(&mut self, now: Time, addr: SocketAddr, source: Source) {
        if !is_dialable(addr) || (self.known.len() >= MAX_KNOWN && !self.known.contains_key(&addr))
        {
            return;
        }
        let state = State::Never;
        self.known.entry(addr).or_insert(Known {
            source,
            failures: 0,
            utp: false,
            state,
        });
        self.set(addr, State::Connected(now));
    }

    /// Dialling `addr` led nowhere.
    pub(super) fn failed(&mut self, now: Time, addr: SocketAddr, rng: &mut fastrand::Rng) {
        let Some(known) = self.known.get_mut(&addr) else {
            return;
        };
        if !matches!(known.state, State::Dialling(_)) {
            return;
        }
        known.failures += 1;
        let pause = back_off(known.failures, FIRST_PAUSE, LONGEST_PAUSE, rng);
        self.wait_until(addr, now + pause, rng);
    }

    /// A connection to `addr` has ended; it is dialled again after a pause.
    pub(super) fn lost(&mut self, now: Time, addr: SocketAddr, rng: &mut fastrand::Rng) {
        let Some(known) = self.known.get_mut(&addr) else {
            return;
        };
        let State::Connected(since) = known.state else {
            return;
        };
        known.failures = if now.since(since) >= PROVEN {
            0
        } else {
            known.failures + 1
        };
        let pause = back_off(known.failures.max(1), FIRST_PAUSE, LONGEST_PAUSE, rng);
        self.wait_until(addr, now + pause, rng);
    }

    /// Does not dial `addr` again before `pause` has passed.
    pub(super) fn rest(
        &mut self,
        now: Time,
        addr: SocketAddr,
        pause: Duration,
        rng: &mut fastrand::Rng,
    ) {
        if self
            .known
            .get(&addr)
            .is_some_and(|k| k.state != State::Never)
        {
            self.wait_until(addr, now + pause, rng);
        }
    }

    /// Never dials `addr` again.
    pub(super) fn never(&mut self, addr: SocketAddr) {
        if let Some(known) = self.known.get(&addr).copied() {
            self.set(addr, State::Never);
            self.known.insert(
                addr,
                Known {
                    state: State::Never,
                    ..known
                },
            );
        }
    }

    /// Refuses the peer `id` at `ip` until `until`.
    pub(super) fn ban(&mut self, ip: IpAddr, id: PeerId, until: Time) {
        self.bans.push_back(Ban { ip, id, until });
        if self.bans.len() > MAX_BANS {
            self.bans.pop_front();
        }
    }

    /// How often the peer `id` at `ip` has been banned, as far as is remembered.
    pub(super) fn times_banned(&self, ip: IpAddr, id: PeerId) -> usize {
        let hit = |b: &&Ban| b.ip == ip && b.id == id;
        self.bans.iter().filter(hit).count()
    }

    /// Whether the peer `id` at `ip` is refused.
    pub(super) fn is_banned(&self, now: Time, ip: IpAddr, id: PeerId) -> bool {
        let hit = |b: &Ban| b.ip == ip && b.id == id && b.until > now;
        self.bans.iter().any(hit) || self.is_ip_banned(now, ip)
    }

    fn is_ip_banned(&self, now: Time, ip: IpAddr) -> bool {
        self.bans
            .iter()
            .filter(|b| b.ip == ip && b.until > now)
            .count()
            >= BANS_PER_IP
    }

    /// The priority of a connection with `addr` (BEP 40), if it is known where others see us.
    fn priority(&self, addr: SocketAddr) -> Option<u32> {
        self.us.iter().flatten().find_map(|&us| priority(us, addr))
    }

    /// The same for a peer that has dialled us, of which only the host counts: its port is not the one that it is known by.
    pub(super) fn priority_of_caller(&self, ip: IpAddr) -> Option<u32> {
        let other_host = |us: &&SocketAddr| us.ip() != ip.to_canonical();
        let us = self.us.iter().flatten().find(other_host)?;
        priority(*us, SocketAddr::new(ip, 0))
    }

    /// Which host `ip` is of, for whoever counts. Of networks of one's own, and of ours, each address is a host.
    pub(super) fn host_of(&self, ip: IpAddr) -> IpAddr {
        let network = host(ip);
        let ours = self.us.iter().flatten();
        let near = ours.map(|us| host(us.ip())).any(|ours| ours == network)
            || matches!(network, IpAddr::V6(v6) if v6.is_unique_local() || v6.is_unicast_link_local());
        if near { ip.to_canonical() } else { network }
    }

    fn wait_until(&mut self, addr: SocketAddr, at: Time, rng: &mut fastrand::Rng) {
        let turn = self
            .priority(addr)
            .map_or_else(|| rng.u32(..), |priority| !priority);
        self.set(addr, State::Waiting(at, turn));
    }

    fn set(&mut self, addr: SocketAddr, state: State) {
        let Some(known) = self.known.get_mut(&addr) else {
            return;
        };
        match std::mem::replace(&mut known.state, state) {
            State::Waiting(at, tie) => {
                self.due.remove(&(at, tie, addr));
            }
            State::Dialling(_) => {
                self.dialling.remove(&addr);
            }
            State::Connected(_) | State::Never => {}
        }
        match state {
            State::Waiting(at, tie) => {
                self.due.insert((at, tie, addr));
            }
            State::Dialling(_) => {
                self.dialling.insert(addr);
            }
            State::Connected(_) | State::Never => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u16) -> SocketAddr {
        ([10, 0, (n >> 8) as u8, (n & 255) as u8], 6881).into()
    }

    fn roster(n: u16) -> (Roster, fastrand::Rng) {
        let (mut roster, mut rng) = (Roster::default(), fastrand::Rng::with_seed(1));
        (0..n).for_each(|n| roster.discovered(Time::ZERO, addr(n), Source::Tracker, &mut rng));
        (roster, rng)
    }

    #[test]
    fn each_address_is_dialled_once_and_not_all_at_a_time() {
        let (mut roster, mut rng) = roster(100);
        let first: BTreeSet<_> = std::iter::from_fn(|| roster.next(Time::ZERO)).collect();
        assert_eq!(first.len(), MAX_DIALLING);
        first
            .iter()
            .for_each(|&a| roster.connected(Time::ZERO, a, Source::Tracker));
        roster.discovered(
            Time::ZERO,
            *first.first().unwrap(),
            Source::Tracker,
            &mut rng,
        );
        let second: BTreeSet<_> = std::iter::from_fn(|| roster.next(Time::ZERO)).collect();
        assert!(first.is_disjoint(&second) && second.len() == MAX_DIALLING);
    }

    #[test]
    fn of_those_that_are_due_the_highest_priority_is_dialled_first() {
        let us: SocketAddr = "192.0.2.1:6881".parse().unwrap();
        let (mut roster, mut rng) = (Roster::default(), fastrand::Rng::with_seed(1));
        roster.seen_at("[2001:db8::1]:6881".parse().unwrap());
        roster.seen_at(us);
        (0..MAX_DIALLING as u16).for_each(|n| {
            roster.discovered(Time::ZERO, addr(n), Source::Tracker, &mut rng);
        });
        let dialled: Vec<_> = std::iter::from_fn(|| roster.next(Time::ZERO)).collect();
        assert_eq!(dialled.len(), MAX_DIALLING);
        assert!(dialled.is_sorted_by_key(|&addr| std::cmp::Reverse(priority(us, addr))));
    }

    #[test]
    fn pauses_double_with_each_failure_up_to_a_bound() {
        let (mut roster, mut rng) = roster(1);
        let mut now = Time::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..14 {
            assert_eq!(roster.next(now), Some(addr(0)));
            roster.failed(now, addr(0), &mut rng);
            let due = roster.deadline().unwrap();
            pauses.push(due.since(now));
            assert_eq!(roster.next(now), None);
            now = due;
        }
        assert!(
            pauses[0] < FIRST_PAUSE * 2 && pauses[3] > FIRST_PAUSE * 5,
            "{pauses:?}"
        );
        assert!(
            pauses.iter().all(|p| *p <= LONGEST_PAUSE.mul_f64(1.25)),
            "{pauses:?}"
        );
        assert!(
            *pauses.last().unwrap() >= LONGEST_PAUSE.mul_f64(0.75),
            "{pauses:?}"
        );
    }

    #[test]
    fn a_lost_peer_is_dialled_again_after_a_pause_unless_it_is_ourselves() {
        let (mut roster, mut rng) = roster(2);
        while let Some(a) = roster.next(Time::ZERO) {
            roster.connected(Time::ZERO, a, Source::Tracker);
        }
        roster.never(addr(1));
        let now = Time::from_secs(100);
        roster.lost(now, addr(0), &mut rng);
        roster.lost(now, addr(1), &mut rng);
        assert_eq!(roster.next(now), None);
        let later = now + FIRST_PAUSE * 2;
        assert_eq!(
            (roster.next(later), roster.next(later)),
            (Some(addr(0)), None)
        );
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_does_not_push_out_the_good_ones() {
        let (mut roster, mut rng) = roster(10);
        for n in 10..5000 {
            roster.discovered(Time::ZERO, addr(n), Source::Gossip, &mut rng);
        }
        assert_eq!(roster.known.len(), 10 + MAX_GOSSIP);
        let rest = u16::try_from(MAX_KNOWN - MAX_GOSSIP - 10).unwrap();
        for n in 5000..5000 + rest {
            roster.discovered(Time::ZERO, addr(n), Source::Tracker, &mut rng);
        }
        assert_eq!(roster.known.len(), MAX_KNOWN);
        roster.discovered(Time::ZERO, addr(7000), Source::Tracker, &mut rng);
        assert!(
            roster.known.contains_key(&addr(7000)),
            "better than hearsay"
        );
        assert!((0..10).all(|n| roster.known.contains_key(&addr(n))));
        assert_eq!(
            (roster.known.len(), roster.due.len()),
            (MAX_KNOWN, MAX_KNOWN)
        );
    }

    #[test]
    fn a_banned_peer_is_refused_and_its_address_after_the_third() {
        let (mut roster, _) = roster(0);
        let (ip, id) = (addr(1).ip(), |n| PeerId([n; 20]));
        let (now, until) = (Time::from_secs(1), Time::from_secs(10));
        roster.ban(ip, id(1), until);
        assert!(roster.is_banned(now, ip, id(1)) && !roster.is_banned(now, ip, id(2)));
        assert!(!roster.is_banned(until, ip, id(1)), "the ban has ended");
        roster.ban(ip, id(2), until);
        roster.ban(ip, id(3), until);
        assert!(roster.is_banned(now, ip, id(9)));
        assert!(!roster.is_banned(now, addr(2).ip(), id(1)));
    }

    #[test]
    fn a_dial_that_is_never_answered_fails() {
        let (mut roster, mut rng) = roster(1);
        roster.next(Time::ZERO);
        roster.expire(Time::from_secs(59), &mut rng);
        assert_eq!(roster.dialling(), 1);
        roster.expire(Time::from_secs(60), &mut rng);
        assert_eq!((roster.dialling(), roster.due.len()), (0, 1));
    }
}

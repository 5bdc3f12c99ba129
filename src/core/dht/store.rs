//! The peers that have announced themselves to us (BEP 5), bounded whatever strangers do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::source::source;
use crate::base::endpoint::Scope;
use crate::base::id::InfoHash;
use crate::base::time::Time;

/// How long a peer counts that does not announce itself again; most do so every 15 minutes.
const LIFE: Duration = Duration::from_secs(30 * 60);

/// Torrents.
const MAX_TORRENTS: usize = 10_000;

/// Peers of all torrents.
const MAX_PEERS: usize = 50_000;

/// Peers of a torrent; the one that has been silent for longest makes room.
const MAX_OF_TORRENT: usize = 500;

/// Peers of a torrent at one address of the world.
const MAX_OF_ADDRESS: usize = 4;

/// Peers of all torrents at one address, or in one /64 of IPv6; on this host, at one port.
const MAX_OF_SOURCE: u32 = 1_000;

/// How often those are forgotten that have been silent for too long.
const SWEEP: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct Peer {
    addr: SocketAddr,
    seen: Time,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Store {
    torrents: HashMap<InfoHash, Vec<Peer>>,
    /// Peers of each source.
    sources: HashMap<SocketAddr, u32>,
    peers: usize,
    swept: Time,
}

impl Store {
    /// A peer has announced itself. `false` if there is no room for it.
    pub(super) fn announce(&mut self, now: Time, info_hash: InfoHash, addr: SocketAddr) -> bool {
        self.sweep(now);
        let known = self.torrents.get_mut(&info_hash);
        let mut known = known.into_iter().flatten();
        if let Some(peer) = known.find(|peer| peer.addr == addr) {
            peer.seen = now;
            return true;
        }
        self.make_room(info_hash, addr);
        let new = !self.torrents.contains_key(&info_hash);
        let of_source = self.sources.get(&source(addr)).copied().unwrap_or(0);
        if self.peers >= MAX_PEERS
            || of_source >= MAX_OF_SOURCE
            || (new && self.torrents.len() >= MAX_TORRENTS)
        {
            return false;
        }
        *self.sources.entry(source(addr)).or_default() += 1;
        self.peers += 1;
        let peer = Peer { addr, seen: now };
        self.torrents.entry(info_hash).or_default().push(peer);
        true
    }

    /// Takes out the oldest peer of a torrent where it has too many, or of an address where that has.
    fn make_room(&mut self, info_hash: InfoHash, addr: SocketAddr) {
        let Some(peers) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        let ip = addr.ip();
        let same = |peer: &&Peer| peer.addr.ip() == ip;
        let many =
            Scope::of(ip) == Scope::World && peers.iter().filter(same).count() >= MAX_OF_ADDRESS;
        if !many && peers.len() < MAX_OF_TORRENT {
            return;
        }
        let enumerated = peers.iter().enumerate();
        let candidates = enumerated.filter(|(_, peer)| !many || same(peer));
        let oldest = candidates
            .min_by_key(|(_, peer)| peer.seen)
            .map(|(at, _)| at);
        if let Some(at) = oldest {
            let gone = peers.swap_remove(at);
            self.forget(gone.addr);
        }
    }

    /// Up to `n` peers that somebody may hear of who is known within `scope`, of one family, from a random place on.
    pub(super) fn some(
        &self,
        now: Time,
        info_hash: InfoHash,
        (is_v6, scope): (bool, Scope),
        n: usize,
        rng: &mut fastrand::Rng,
    ) -> Vec<SocketAddr> {
        let Some(peers) = self.torrents.get(&info_hash) else {
            return Vec::new();
        };
        let (before, after) = peers.split_at(rng.usize(..=peers.len()));
        let fits = |peer: &&Peer| {
            peer.addr.is_ipv6() == is_v6
                && scope.may_name(peer.addr.ip())
                && now.since(peer.seen) < LIFE
        };
        let all = after.iter().chain(before).filter(fits);
        all.take(n).map(|peer| peer.addr).collect()
    }

    /// Torrents and peers.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.torrents.len(), self.peers)
    }

    fn sweep(&mut self, now: Time) {
        if now.since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        let mut gone = Vec::new();
        self.torrents.retain(|_, peers| {
            peers.retain(|peer| {
                let stays = now.since(peer.seen) < LIFE;
                gone.extend((!stays).then_some(peer.addr));
                stays
            });
            !peers.is_empty()
        });
        gone.into_iter().for_each(|addr| self.forget(addr));
    }

    /// A peer is no longer there.
    fn forget(&mut self, addr: SocketAddr) {
        self.peers -= 1;
        let source = source(addr);
        if let Some(n) = self.sources.get_mut(&source) {
            *n -= 1;
            if *n == 0 {
                self.sources.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([1; 20]);

    fn at(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    fn peer(n: u32) -> SocketAddr {
        let [a, b, c, d] = n.to_be_bytes();
        ([8 + a, b, c, d], 6881).into()
    }

    fn some(store: &Store, now: Time, n: usize) -> Vec<SocketAddr> {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut peers = store.some(now, HASH, (false, Scope::World), n, &mut rng);
        peers.sort_unstable();
        peers
    }

    #[test]
    fn a_peer_is_told_of_for_half_an_hour() {
        let mut store = Store::default();
        assert!(store.announce(at(0), HASH, peer(1)));
        assert!(store.announce(at(1000), HASH, peer(2)));
        assert!(store.announce(at(1000), HASH, "[2001:db8::1]:1".parse().unwrap()));
        assert_eq!(some(&store, at(1799), 9), [peer(1), peer(2)]);
        assert_eq!(some(&store, at(1800), 9), [peer(2)]);
        assert!(store.announce(at(1800), HASH, peer(2)));
        assert_eq!(some(&store, at(3000), 9), [peer(2)]);
        assert_eq!(store.len(), (1, 2));
        store.announce(at(9999), InfoHash([2; 20]), peer(2));
        assert_eq!((store.len(), store.sources.len()), ((1, 1), 1));
    }

    #[test]
    fn whoever_is_elsewhere_hears_of_nobody_in_our_network() {
        let mut store = Store::default();
        let peers = ["8.8.8.8:1", "10.0.0.1:1", "127.0.0.1:1"].map(|p| p.parse().unwrap());
        peers.iter().for_each(|&peer| {
            store.announce(at(0), HASH, peer);
        });
        let mut rng = fastrand::Rng::with_seed(1);
        let mut count = |scope| store.some(at(0), HASH, (false, scope), 9, &mut rng).len();
        assert_eq!(
            [Scope::World, Scope::Site, Scope::Host].map(&mut count),
            [1, 2, 3]
        );
    }

    #[test]
    fn a_torrent_an_address_and_all_together_are_bounded() {
        let mut store = Store::default();
        for n in 0..600 {
            assert!(store.announce(at(n.into()), HASH, peer(n)));
        }
        assert_eq!(store.len(), (1, MAX_OF_TORRENT));
        let left = some(&store, at(600), 999);
        assert_eq!((left[0], left.len()), (peer(100), 500), "the latest stay");
        for port in 1..100 {
            store.announce(at(600), HASH, SocketAddr::new(peer(0).ip(), port));
        }
        let all = store.torrents[&HASH].iter();
        let same = all.filter(|other| other.addr.ip() == peer(0).ip());
        assert_eq!(same.count(), MAX_OF_ADDRESS);
        let hash = |n: u32| {
            let mut hash = [0; 20];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            InfoHash(hash)
        };
        let taken = (0..2000).filter(|&n| store.announce(at(600), hash(n), peer(7)));
        assert_eq!(taken.count() as u32, MAX_OF_SOURCE);
        let mut taken = 0;
        for n in 0..100_000 {
            taken += usize::from(store.announce(at(600), hash(n % 20_000), peer(10_000 + n)));
        }
        let (torrents, peers) = store.len();
        assert!(taken > 40_000 && torrents <= MAX_TORRENTS && peers == MAX_PEERS);
        store.announce(at(5000), HASH, peer(1));
        assert_eq!(
            (store.len(), store.sources.len()),
            ((1, 1), 1),
            "all is given back"
        );
    }
}

//! When to announce which torrent on the local network, and what to make of the announcements of others (BEP 14).
//!
//! Nothing is ever sent in answer to an announcement: whoever hears one of a torrent that it has dials the peer that made it. So a flood
//! costs those who hear it no datagram; and of one address, no more is heeded than one announcement of each torrent a minute.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::endpoint::is_dialable;
use crate::base::id::InfoHash;
use crate::base::time::Time;
use crate::proto::lsd::{Announcement, MAX_TORRENTS};

/// Between two announcements of a torrent, as BEP 14 has it.
const INTERVAL: Duration = Duration::from_secs(300);
/// Between two datagrams.
const PAUSE: Duration = Duration::from_secs(1);
/// An announcement that was heeded is not heeded again for this long.
const DEAF: Duration = Duration::from_secs(60);
/// Announcements remembered for that; while there are as many, others are not heeded.
const MAX_HEARD: usize = 1000;
/// Below it, other services listen.
const LEAST_PORT: u16 = 1024;

/// The announcing of one process in one group.
#[derive(Clone, Debug)]
pub struct Lsd {
    port: u16,
    cookie: String,
    rng: fastrand::Rng,
    /// When each torrent is due.
    torrents: BTreeMap<InfoHash, Time>,
    /// Before this, nothing is sent.
    next: Time,
    /// Whose announcements were heeded, and when.
    heard: BTreeMap<(IpAddr, InfoHash), Time>,
}

impl Lsd {
    /// We listen at `port`, and nobody else has `cookie`.
    #[must_use]
    pub fn new(port: u16, cookie: String, seed: u64) -> Self {
        Self {
            port,
            cookie,
            rng: fastrand::Rng::with_seed(seed),
            torrents: BTreeMap::new(),
            next: Time::ZERO,
            heard: BTreeMap::new(),
        }
    }

    /// These torrents, and no others, are announced from now on; a new one at once.
    pub fn set_torrents(&mut self, now: Time, torrents: &[InfoHash]) {
        self.torrents.retain(|hash, _| torrents.contains(hash));
        for &info_hash in torrents {
            self.torrents.entry(info_hash).or_insert(now);
        }
    }

    /// What is to be sent now, if anything is.
    pub fn next(&mut self, now: Time) -> Option<Announcement> {
        if now < self.next {
            return None;
        }
        let due = self.torrents.iter_mut().filter(|(_, at)| **at <= now);
        let due = due.take(MAX_TORRENTS);
        let mut info_hashes = Vec::new();
        for (&info_hash, at) in due {
            // Up to a tenth later: those that began together must not go on together.
            *at = now + INTERVAL.mul_f64(1.0 + 0.1 * self.rng.f64());
            info_hashes.push(info_hash);
        }
        (!info_hashes.is_empty()).then(|| {
            self.next = now + PAUSE;
            Announcement {
                port: self.port,
                info_hashes,
                cookie: Some(self.cookie.clone()),
            }
        })
    }

    /// An announcement has come from `from`. Returns where to dial, and for which of our torrents.
    pub fn heard(
        &mut self,
        now: Time,
        from: SocketAddr,
        said: &Announcement,
    ) -> Option<(SocketAddr, Vec<InfoHash>)> {
        let mut addr = from;
        addr.set_port(said.port);
        let ours = said.cookie.as_ref() == Some(&self.cookie);
        if ours || said.port < LEAST_PORT || !is_dialable(addr) {
            return None;
        }
        self.heard.retain(|_, at| now.since(*at) < DEAF);
        let mut fresh = Vec::new();
        for &info_hash in &said.info_hashes {
            let key = (from.ip(), info_hash);
            let known = self.heard.contains_key(&key);
            if self.torrents.contains_key(&info_hash) && !known && self.heard.len() < MAX_HEARD {
                self.heard.insert(key, now);
                fresh.push(info_hash);
            }
        }
        (!fresh.is_empty()).then_some((addr, fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn hash(n: u8) -> InfoHash {
        InfoHash([n; 20])
    }

    fn lsd(torrents: u8) -> Lsd {
        let mut lsd = Lsd::new(6881, "us".into(), 1);
        let all: Vec<_> = (0..torrents).map(hash).collect();
        lsd.set_torrents(Time::ZERO, &all);
        lsd
    }

    fn said(hashes: &[InfoHash]) -> Announcement {
        Announcement {
            port: 7000,
            info_hashes: hashes.to_vec(),
            cookie: Some("them".into()),
        }
    }

    fn from(n: u8) -> SocketAddr {
        ([10, 0, 0, n], 6771).into()
    }

    #[test]
    fn each_torrent_is_announced_at_once_and_then_every_five_minutes() {
        let mut lsd = lsd(2);
        let (mut now, mut sent) = (Time::ZERO, Vec::new());
        while now < Time::from_secs(1500) {
            sent.extend(lsd.next(now).map(|said| (now, said.info_hashes.len())));
            now = now + SEC / 4;
        }
        assert_eq!(sent[0], (Time::ZERO, 2));
        let count: usize = sent.iter().map(|(_, n)| n).sum();
        assert!((8..=10).contains(&count), "{sent:?}");
        let late = Time::from_secs(2000);
        lsd.set_torrents(late, &[hash(0), hash(1), hash(9)]);
        assert!(lsd.next(late).unwrap().info_hashes.contains(&hash(9)));
        lsd.set_torrents(late + SEC, &[]);
        assert_eq!(lsd.next(late + INTERVAL * 2), None);
    }

    #[test]
    fn many_torrents_go_out_in_datagrams_a_second_apart() {
        let mut lsd = lsd(50);
        let sent = (0..10_u64).map(|n| {
            let said = lsd.next(Time::ZERO + SEC / 2 * u32::try_from(n).unwrap());
            said.map_or(0, |said| said.info_hashes.len())
        });
        assert_eq!(sent.collect::<Vec<_>>(), [20, 0, 20, 0, 10, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn whoever_announces_a_torrent_of_ours_is_dialled_once_a_minute() {
        let mut lsd = lsd(2);
        let now = Time::from_secs(9);
        let heard = lsd.heard(now, from(1), &said(&[hash(1), hash(7)]));
        let wanted = ("10.0.0.1:7000".parse().unwrap(), vec![hash(1)]);
        assert_eq!(heard, Some(wanted));
        assert_eq!(lsd.heard(now + SEC, from(1), &said(&[hash(1)])), None);
        assert!(lsd.heard(now + SEC, from(2), &said(&[hash(1)])).is_some());
        assert!(lsd.heard(now + DEAF, from(1), &said(&[hash(1)])).is_some());
    }

    #[test]
    fn our_own_announcements_and_odd_ports_are_passed_over() {
        let mut lsd = lsd(1);
        let now = Time::from_secs(9);
        let mut ours = lsd.next(now).unwrap();
        assert_eq!(lsd.heard(now, from(1), &ours), None);
        ours.cookie = None;
        assert!(lsd.heard(now, from(1), &ours).is_some());
        ours.port = 25;
        assert_eq!(lsd.heard(now, from(2), &ours), None);
        assert_eq!(lsd.heard(now, from(3), &said(&[hash(9)])), None);
    }

    #[test]
    fn a_flood_is_heeded_up_to_a_bound() {
        let mut lsd = lsd(1);
        let now = Time::from_secs(9);
        let flood = (0..5000_u32).filter(|&n| {
            let addr = SocketAddr::from(((0x0a00_0001 + n).to_be_bytes(), 6771));
            lsd.heard(now, addr, &said(&[hash(0)])).is_some()
        });
        assert_eq!(flood.count(), MAX_HEARD);
        assert!(lsd.heard(now + DEAF, from(9), &said(&[hash(0)])).is_some());
    }
}

//! Which peers we tell our peers about, and which of theirs we believe in (BEP 11).
//!
//! We tell of peers that we are connected to, by the address that they listen at: the one that we dialled, or the one that the peer
//! itself has named. What we hear is hearsay: a stranger can name anybody. So an address of a narrower network than the one that the
//! sender is on is not dialled, nor is a port below 1024, where other services listen; a sender is heard once a minute and
//! never for more than [`MAX_TAKEN`] addresses; and the roster keeps hearsay within bounds of its own.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::endpoint::may_be_told_to;
use crate::base::time::Time;
use crate::proto::peer::message::Message;
use crate::proto::peer::pex::{MAX_PEERS, PexMessage, REACHABLE, SEED, UTP};

use super::Swarm;
use super::event::{Action, PeerKey, Source};

/// Between two messages to a peer.
const INTERVAL: Duration = Duration::from_secs(60);
/// Between two messages of a peer that are heeded: a little less, for clocks and networks vary.
const HEED: Duration = Duration::from_secs(45);
/// Peers often come several at a time; so long is waited for more.
const SETTLE: Duration = Duration::from_secs(1);
/// Addresses that are taken from one peer, as long as it is connected.
const MAX_TAKEN: u32 = 200;
/// Below it, other services listen.
const LEAST_PORT: u16 = 1024;

/// What is exchanged with a peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchange {
    /// The number under which it takes messages; 0 if it does not.
    pub(super) number: u8,
    /// The addresses that it has been told of, and not told that they are gone.
    told: BTreeSet<SocketAddr>,
    /// The state of our neighbourhood that it knows.
    knows: u64,
    /// It is not told anything before.
    next: Time,
    heard: Option<Time>,
    taken: u32,
}

impl Swarm {
    /// A peer with a known address has come or gone.
    pub(super) fn neighbourhood_changed(&mut self, now: Time) {
        if self.config.pex {
            self.neighbourhood += 1;
            self.wake_by(now, now + SETTLE);
        }
    }

    /// Tells every peer what has changed, if its time has come.
    pub(super) fn tell_of_peers(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.config.pex {
            return;
        }
        let behind = |(_, p): &(&PeerKey, &super::Peer)| {
            p.pex.number != 0 && p.pex.knows < self.neighbourhood
        };
        let behind: Vec<_> = self.peers.iter().filter(behind).map(|(&k, _)| k).collect();
        for key in behind {
            let Some(peer) = self.peers.get(&key) else {
                continue;
            };
            let next = peer.pex.next;
            if now < next {
                self.wake_by(now, next);
                continue;
            }
            let message = self.news_for(key);
            self.tell_news(now, key, &message, out);
        }
    }

    /// What `key` does not know yet of the other peers.
    fn news_for(&self, key: PeerKey) -> PexMessage {
        let Some(peer) = self.peers.get(&key) else {
            return PexMessage::default();
        };
        let others = self.peers.iter().filter(|(other, _)| **other != key);
        let tellable = others.filter_map(|(_, other)| {
            let addr = other.listen?;
            let fits = may_be_told_to(addr, peer.addr.ip()) && addr.port() >= LEAST_PORT;
            let seed = if other.is_seed() || other.upload_only {
                SEED
            } else {
                0
            };
            let reachable = if other.outgoing { REACHABLE } else { 0 };
            let utp = if other.utp { UTP } else { 0 };
            fits.then_some((addr, seed | reachable | utp))
        });
        let tellable: Vec<_> = tellable.collect();
        let still = |addr: &&SocketAddr| tellable.iter().any(|(there, _)| there == *addr);
        let dropped = peer.pex.told.iter().filter(|addr| !still(addr));
        let dropped = dropped.take(MAX_PEERS).copied().collect();
        let new = |(addr, _): &&(SocketAddr, u8)| !peer.pex.told.contains(addr);
        let added = tellable.iter().filter(new).take(MAX_PEERS).copied();
        PexMessage {
            added: added.collect(),
            dropped,
        }
    }

    fn tell_news(&mut self, now: Time, key: PeerKey, news: &PexMessage, out: &mut Vec<Action>) {
        let neighbourhood = self.neighbourhood;
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let (added, dropped) = (news.added.len(), news.dropped.len());
        if added < MAX_PEERS && dropped < MAX_PEERS {
            peer.pex.knows = neighbourhood;
        }
        if added + dropped == 0 {
            return;
        }
        let next = now + INTERVAL;
        peer.pex.next = next;
        peer.pex
            .told
            .extend(news.added.iter().map(|&(addr, _)| addr));
        for addr in &news.dropped {
            peer.pex.told.remove(addr);
        }
        let message = Message::Extended {
            id: peer.pex.number,
            payload: news.encode().into(),
        };
        if peer.pex.knows < neighbourhood {
            self.wake_by(now, next);
        }
        self.say(now, key, message, out);
    }

    /// A peer tells of others.
    pub(super) fn heard_of_peers(&mut self, now: Time, key: PeerKey, payload: &[u8]) {
        let complete = self.is_complete();
        let Some(peer) = self.peers.get_mut(&key).filter(|_| self.config.pex) else {
            return;
        };
        let too_early = peer.pex.heard.is_some_and(|heard| now.since(heard) < HEED);
        let Some(news) = PexMessage::decode(payload).filter(|_| !too_early) else {
            return;
        };
        peer.pex.heard = Some(now);
        for (addr, said) in news.added {
            // Two that have everything have no use for each other.
            let useless = complete && said & SEED != 0;
            let fits = addr.port() >= LEAST_PORT && may_be_told_to(addr, peer.addr.ip());
            if useless || !fits {
                continue;
            }
            if peer.pex.taken >= MAX_TAKEN {
                break;
            }
            peer.pex.taken += 1;
            self.roster
                .discovered(now, addr, Source::Gossip, &mut self.rng);
            if said & UTP != 0 {
                self.roster.says_utp(addr);
            }
        }
    }
}

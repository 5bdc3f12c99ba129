//! A node of the DHT (BEP 5): finds peers of torrents, and lets others find theirs. Also both families of addresses (BEP 32), names that befit addresses
//! (BEP 42), and nodes that answer nobody (BEP 43).
//!
//! In scope: the table, lookups, tokens, the peers that others announce, our own announces, and what bounds all of them. Not in scope: sockets, names of
//! hosts, files. Whoever owns one hands in datagrams and the time, and does what the actions say.
//!
//! What strangers can do, and what stops them:
//!
//! | they | are stopped by |
//! | --- | --- |
//! | ask and ask | 50 answers a second for each source, 2,000 in all (`source`) |
//! | have answers sent to somebody else | an answer has four times the bytes of its question at most, unless that address and port have answered us before |
//! | answer what others were asked | four bytes that nobody can foresee, from the very address and port that was asked |
//! | announce somebody else | tokens, bound to the address (`tokens`) |
//! | announce everything | bounds for each torrent, address, source, and in all; half an hour (`store`) |
//! | fill the table | names befit addresses, one node an address, two a network in a bucket; old nodes stay as long as they answer (`table`) |
//! | lead lookups astray | credit for whoever names others; 160 questions a lookup (`search`) |
//! | have us dial our own network | whoever is elsewhere names nobody there ([`Scope`](crate::base::endpoint::Scope)) |
//! | tell us a wrong address of ours | several have to agree (`external`) |

mod answer;
mod external;
mod schedule;
mod search;
mod side;
mod source;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod tokens;

use std::net::{IpAddr, SocketAddr};

use crate::base::endpoint::is_dialable;
use crate::base::id::InfoHash;
use crate::base::node::{Contact, NodeId};
use crate::base::time::Time;
use crate::proto::krpc::{self, Body};

use side::Side;
use source::Flood;
use store::Store;
use tokens::Tokens;

/// How a node runs.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Whether it takes part over IPv4.
    pub v4: bool,
    /// Whether it takes part over IPv6.
    pub v6: bool,
    /// It asks, but answers nobody: others cannot reach it (BEP 43).
    pub read_only: bool,
    /// A random number that nobody else knows.
    pub secret: [u64; 2],
    /// The names of an earlier run, of IPv4 and of IPv6.
    pub ids: [Option<NodeId>; 2],
    /// The address at which others see it, if that is known.
    pub external: Option<IpAddr>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this datagram.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// These peers share that torrent, somebody says.
    Found {
        /// The torrent.
        info_hash: InfoHash,
        /// At least one.
        peers: Vec<SocketAddr>,
    },
}

/// How it is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Nodes of IPv4 and of IPv6 that have been heard within the last 15 minutes.
    pub nodes: [usize; 2],
    /// Torrents and peers that others have announced here.
    pub torrents: usize,
    /// Peers of them.
    pub peers: usize,
    /// Questions of others that were answered.
    pub answered: u64,
    /// Questions of others that were one too many.
    pub refused: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Dht {
    sides: [Option<Side>; 2],
    read_only: bool,
    tokens: Tokens,
    store: Store,
    flood: Flood,
    rng: fastrand::Rng,
    answered: u64,
    refused: u64,
}

impl Dht {
    /// A node that knows nobody. `seed` decides what is left to chance.
    #[must_use]
    pub fn new(config: &Config, now: Time, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let sides = [config.v4, config.v6];
        let mut side = |is_v6: bool| {
            sides[usize::from(is_v6)].then(|| Side::new(is_v6, config, now, &mut rng))
        };
        Self {
            sides: [side(false), side(true)],
            read_only: config.read_only,
            tokens: Tokens::new(config.secret),
            store: Store::default(),
            flood: Flood::default(),
            rng,
            answered: 0,
            refused: 0,
        }
    }

    /// Begins at this address, too, which the operator has named.
    pub fn add_seed(&mut self, now: Time, addr: SocketAddr) {
        if let Some(side) = self.side(addr) {
            side.add_seed(now, addr);
        }
    }

    /// Begins at this node of an earlier run, too; it may be gone.
    pub fn remember(&mut self, node: Contact) {
        if let Some(side) = self.side(node.addr) {
            side.remember(node);
        }
    }

    /// A peer says that it has a node at `addr` (BEP 5, `port`).
    pub fn meet(&mut self, now: Time, addr: SocketAddr, out: &mut Vec<Action>) {
        if let Some(side) = self.side(addr).filter(|_| is_dialable(addr)) {
            side.consider(now, addr, None, out);
        }
    }

    /// Finds peers of a torrent from now on, and announces that we listen for them at `port`.
    pub fn join(&mut self, now: Time, info_hash: InfoHash, port: u16) {
        self.each_side(|side| side.schedule().join(now, info_hash, port));
    }

    /// No longer announces a torrent. Others forget us within half an hour.
    pub fn leave(&mut self, info_hash: InfoHash) {
        self.each_side(|side| side.schedule().leave(info_hash));
    }

    /// A torrent lacks peers: it is looked up earlier than it would be.
    pub fn hurry(&mut self, now: Time, info_hash: InfoHash) {
        self.each_side(|side| side.schedule().hurry(now, info_hash));
    }

    /// A datagram has come.
    pub fn received(&mut self, now: Time, from: SocketAddr, bytes: &[u8], out: &mut Vec<Action>) {
        let family = usize::from(from.is_ipv6());
        if self.sides[family].is_none() || !is_dialable(from) {
            return;
        }
        let Some(mut packet) = krpc::read(bytes) else {
            return;
        };
        match std::mem::replace(&mut packet.body, Body::Error(0)) {
            Body::Query(..) | Body::BadQuery(_) if self.read_only => {}
            Body::Query(..) | Body::BadQuery(_) if !self.flood.admits(now, from) => {
                self.refused += 1;
            }
            Body::Query(id, query) => {
                self.answered += 1;
                let answer = self.answer(now, from, bytes.len(), &packet, query);
                out.push(Action::Send {
                    to: from,
                    bytes: answer,
                });
                if let Some(side) = self.side(from).filter(|_| !packet.read_only) {
                    side.asked_us(now, Contact { id, addr: from }, out);
                }
            }
            Body::BadQuery(code) => {
                let bytes = krpc::write_error(&packet.transaction, code);
                out.push(Action::Send { to: from, bytes });
            }
            Body::Reply(mut reply) => {
                reply.leave_out_what_is_none_of(from);
                let hints = reply.nodes.iter();
                let hints = hints.filter(|node| node.addr.is_ipv6() != from.is_ipv6());
                let hints: Vec<_> = hints.take(table::K).copied().collect();
                let rng = &mut self.rng;
                let asked = self.sides[family]
                    .as_mut()
                    .is_some_and(|side| side.answered(now, from, &packet, reply, rng, out));
                let other = self.sides[1 - family].as_mut();
                if let Some(other) = other.filter(|other| asked && other.is_hungry()) {
                    let consider =
                        |node: Contact| other.consider(now, node.addr, Some(node.id), out);
                    hints.into_iter().for_each(consider);
                }
            }
            Body::Error(_) => {
                if let Some(side) = self.side(from) {
                    side.refused(from, &packet);
                }
            }
        }
        self.tick(now, out);
    }

    /// Does what is due. To be called at the [`Dht::deadline`], and whenever something else has been told.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Action>) {
        let hungry = [0, 1].map(|n| self.sides[n].as_ref().is_some_and(Side::is_hungry));
        for (family, side) in self.sides.iter_mut().enumerate() {
            if let Some(side) = side {
                side.ask_for_other(hungry[1 - family]);
                side.tick(now, &mut self.rng, out);
            }
        }
    }

    /// When there is something to do, if nothing comes before.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.sides.iter().flatten().filter_map(Side::deadline).min()
    }

    /// How it is doing.
    #[must_use]
    pub fn stats(&self, now: Time) -> Stats {
        let good = |side: &Option<Side>| side.as_ref().map_or(0, |side| side.table().good(now));
        let (torrents, peers) = self.store.len();
        Stats {
            nodes: [good(&self.sides[0]), good(&self.sides[1])],
            torrents,
            peers,
            answered: self.answered,
            refused: self.refused,
        }
    }

    /// Its names, of IPv4 and of IPv6.
    #[must_use]
    pub fn ids(&self) -> [Option<NodeId>; 2] {
        let id = |side: &Option<Side>| side.as_ref().map(Side::id);
        [id(&self.sides[0]), id(&self.sides[1])]
    }

    /// The good nodes that the next run may begin at.
    #[must_use]
    pub fn nodes(&self, now: Time) -> Vec<Contact> {
        let sides = self.sides.iter().flatten();
        let good = |side: &Side| side.table().closest(side.id(), usize::MAX, now, true);
        sides.flat_map(good).collect()
    }

    fn side(&mut self, addr: SocketAddr) -> Option<&mut Side> {
        let mut sides = self.sides.iter_mut().flatten();
        sides.find(|side| side.serves(&addr))
    }

    fn each_side(&mut self, tell: impl FnMut(&mut Side)) {
        self.sides.iter_mut().flatten().for_each(tell);
    }
}

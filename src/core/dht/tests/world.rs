//! Many nodes and the network between them, in virtual time, from one seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::super::{Action, Config, Dht};
use crate::base::id::InfoHash;
use crate::base::node::{Contact, NodeId};
use crate::base::time::Time;
use crate::proto::krpc::{Body, Packet, Query, Reply, read, write_reply};

/// Who stands at an address.
pub(super) enum Host {
    /// A node of ours.
    Node(Box<Dht>),
    /// Names a node for every target that is as close as can be, and does not exist, and peers that do not.
    Liar,
    /// Nobody.
    Dead,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(SocketAddr, SocketAddr, Vec<u8>),
    Wakes(SocketAddr),
}

/// See the module.
pub(super) struct World {
    pub(super) now: Time,
    pub(super) hosts: HashMap<SocketAddr, Host>,
    pub(super) found: HashMap<(SocketAddr, InfoHash), HashSet<SocketAddr>>,
    /// Datagrams sent by each.
    pub(super) sent: HashMap<SocketAddr, u32>,
    /// Those of them that ask for peers.
    pub(super) lookups: HashMap<SocketAddr, u32>,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    count: u64,
    rng: fastrand::Rng,
}

pub(super) fn v4(n: u32) -> SocketAddr {
    (Ipv4Addr::from_bits((20 << 24) + (n << 8) + 1), 6881).into()
}

pub(super) fn v6(n: u32) -> SocketAddr {
    let high = (0x2001_0db8_u128 << 32) + u128::from(n);
    (Ipv6Addr::from_bits((high << 64) + 1), 6881).into()
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Time::from_secs(1),
            hosts: HashMap::new(),
            found: HashMap::new(),
            sent: HashMap::new(),
            lookups: HashMap::new(),
            events: BinaryHeap::new(),
            count: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Nodes at `addrs` that begin, one every tenth of a second, at the first of them.
    pub(super) fn grown(seed: u64, addrs: impl IntoIterator<Item = SocketAddr>) -> Self {
        let mut world = Self::new(seed);
        let mut first = None;
        for addr in addrs {
            world.add(addr, &[*first.get_or_insert(addr)], &Config::default());
            world.run(Duration::from_millis(100));
        }
        world
    }

    pub(super) fn add(&mut self, addr: SocketAddr, seeds: &[SocketAddr], config: &Config) {
        let config = Config {
            v4: addr.is_ipv4(),
            v6: addr.is_ipv6(),
            secret: [self.rng.u64(..), 2],
            ..config.clone()
        };
        let mut dht = Dht::new(&config, self.now, self.rng.u64(..));
        let others = seeds.iter().filter(|seed| **seed != addr);
        others.for_each(|&seed| dht.add_seed(self.now, seed));
        self.hosts.insert(addr, Host::Node(Box::new(dht)));
        self.tell(addr, |_, _, _| {});
    }

    /// Tells a node something, and does what follows.
    pub(super) fn tell(
        &mut self,
        addr: SocketAddr,
        tell: impl FnOnce(&mut Dht, Time, &mut Vec<Action>),
    ) {
        let now = self.now;
        let Some(Host::Node(dht)) = self.hosts.get_mut(&addr) else {
            return;
        };
        let mut out = Vec::new();
        tell(dht, now, &mut out);
        dht.tick(now, &mut out);
        let deadline = dht.deadline();
        for action in out {
            match action {
                Action::Send { to, bytes } => self.send(addr, to, bytes),
                Action::Found { info_hash, peers } => {
                    self.found
                        .entry((addr, info_hash))
                        .or_default()
                        .extend(peers);
                }
            }
        }
        if let Some(deadline) = deadline {
            assert!(deadline > now, "it would spin");
            self.push(deadline, Event::Wakes(addr));
        }
    }

    pub(super) fn dht(&self, addr: SocketAddr) -> &Dht {
        match &self.hosts[&addr] {
            Host::Node(dht) => dht,
            _ => panic!("no node at {addr}"),
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        *self.sent.entry(from).or_default() += 1;
        if let Some(Packet {
            body: Body::Query(_, Query::GetPeers(..)),
            ..
        }) = read(&bytes)
        {
            *self.lookups.entry(from).or_default() += 1;
        }
        let delay = Duration::from_millis(self.rng.u64(10..100));
        self.push(self.now + delay, Event::Arrives(from, to, bytes));
    }

    fn push(&mut self, at: Time, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at <= end
        {
            let Some(Reverse((at, _, event))) = self.events.pop() else {
                break;
            };
            self.now = at;
            match event {
                Event::Wakes(addr) => {
                    // An earlier word may have made it needless.
                    let due = match self.hosts.get(&addr) {
                        Some(Host::Node(dht)) => dht.deadline().is_some_and(|due| due <= at),
                        _ => false,
                    };
                    if due {
                        self.tell(addr, |_, _, _| {});
                    }
                }
                Event::Arrives(from, to, bytes) => self.deliver(from, to, &bytes),
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        match self.hosts.get(&to) {
            Some(Host::Node(_)) => {
                self.tell(to, |dht, now, out| dht.received(now, from, bytes, out));
            }
            Some(Host::Liar) => self.lie(to, from, bytes),
            Some(Host::Dead) | None => {}
        }
    }

    fn lie(&mut self, liar: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let packet = read(bytes).unwrap();
        let Body::Query(_, query) = packet.body else {
            return;
        };
        let own = NodeId::of_host(liar.ip(), &mut fastrand::Rng::with_seed(liar.port().into()));
        let mut reply = Reply::new(own);
        if let Query::FindNode(NodeId(target), _) | Query::GetPeers(InfoHash(target), _) = query {
            for _ in 0..16 {
                let addr = v4(self.rng.u32(1 << 20..1 << 21));
                // The closest of those that befit the address.
                let made = std::iter::repeat_with(|| NodeId::of_host(addr.ip(), &mut self.rng));
                let id = made.take(20).min_by_key(|id| id.distance(NodeId(target)));
                let id = id.unwrap();
                reply.nodes.push(Contact { id, addr });
                reply.peers.push(addr);
            }
        }
        let bytes = write_reply(&packet.transaction, &reply, to);
        self.send(liar, to, bytes);
    }
}

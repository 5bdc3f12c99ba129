//! The nodes that are known: a bucket of eight for each number of bits that they have in common with our id (BEP 5).
//!
//! Nobody gets in who has not answered a question of ours, so nobody who lies about an address. An id has to befit the address (BEP 42); in the world, one
//! address has one node, and a bucket takes two of a network. So whoever wants to fill the table needs addresses, and many.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::endpoint::Scope;
use crate::base::node::{Contact, NodeId};
use crate::base::time::Time;

/// Nodes in a bucket, and nodes that are looked for (BEP 5).
pub(super) const K: usize = 8;

/// After so long without a word a node is questionable, and a bucket is looked through (BEP 5).
pub(super) const FRESH: Duration = Duration::from_secs(15 * 60);

/// How long a questionable node has for its answer before another one is asked for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Questions in a row without an answer, after which a node is bad.
const BAD: u8 = 2;

/// Nodes in a bucket with addresses of one network: IPv4 of a /24, IPv6 of a /48.
const MAX_OF_NETWORK: usize = 2;

/// Numbers of bits that an id can have in common with another one.
const BUCKETS: usize = 160;

#[derive(Clone, Copy, Debug)]
struct Node {
    contact: Contact,
    /// When it last asked or answered.
    heard: Time,
    /// When it was last asked whether it is still there.
    asked: Option<Time>,
    /// Questions that it has not answered since it last answered one.
    failures: u8,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    nodes: Vec<Node>,
    /// Take the places of bad ones; the latest last.
    spare: Vec<Node>,
    /// When it was last looked through, or somebody in it was heard.
    touched: Time,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Table {
    own: NodeId,
    buckets: Vec<Bucket>,
}

impl Node {
    fn is_good(&self, now: Time) -> bool {
        self.failures == 0 && now.since(self.heard) < FRESH
    }

    const fn is_bad(&self) -> bool {
        self.failures >= BAD
    }
}

impl Table {
    /// A table without nodes. `now` counts as the last time that all of it was looked through.
    pub(super) fn new(own: NodeId, now: Time) -> Self {
        let bucket = Bucket {
            touched: now,
            ..Bucket::default()
        };
        Self {
            own,
            buckets: vec![bucket; BUCKETS],
        }
    }

    /// The same nodes around another id.
    pub(super) fn rebase(&mut self, own: NodeId, now: Time) {
        let old = std::mem::replace(self, Self::new(own, now));
        for node in old.buckets.into_iter().flat_map(|bucket| bucket.nodes) {
            self.insert(node, now);
        }
    }

    /// A node has answered a question of ours.
    pub(super) fn answered(&mut self, now: Time, contact: Contact) {
        let node = Node {
            contact,
            heard: now,
            asked: None,
            failures: 0,
        };
        self.insert(node, now);
    }

    fn insert(&mut self, node: Node, now: Time) {
        let Contact { id, addr } = node.contact;
        if id == self.own || !id.befits(addr.ip()) {
            return;
        }
        // It is no longer who it was.
        for bucket in &mut self.buckets {
            let is_same = |other: &Node| other.contact.addr != addr || other.contact.id == id;
            bucket.nodes.retain(is_same);
            bucket.spare.retain(is_same);
        }
        let crowded = self.is_crowded(node.contact);
        let bucket = self.bucket(id);
        if let Some(known) = bucket.nodes.iter_mut().find(|n| n.contact.id == id) {
            // Somebody else says so, too: the first one counts as long as it answers.
            if known.contact.addr == addr || known.is_bad() {
                *known = node;
                bucket.touched = now;
            }
            return;
        }
        bucket.spare.retain(|other| other.contact.id != id);
        if crowded {
            return;
        }
        bucket.touched = now;
        if bucket.nodes.len() < K {
            bucket.nodes.push(node);
        } else if let Some(bad) = bucket.nodes.iter_mut().find(|other| other.is_bad()) {
            *bad = node;
        } else {
            if bucket.spare.len() == K {
                bucket.spare.remove(0);
            }
            bucket.spare.push(node);
        }
    }

    /// Whether its address, or its network in its bucket, has as many nodes as it may have.
    fn is_crowded(&self, contact: Contact) -> bool {
        let ip = contact.addr.ip();
        let others = |bucket: &Bucket, is_like: &dyn Fn(IpAddr) -> bool| {
            let others = bucket.nodes.iter().map(|node| node.contact);
            let others = others.filter(|other| other.id != contact.id);
            others.filter(|other| is_like(other.addr.ip())).count()
        };
        let same = |other| other == ip;
        let near = |other| network(other) == network(ip);
        let bucket = &self.buckets[self.number(contact.id)];
        Scope::of(ip) == Scope::World
            && (self.buckets.iter().any(|bucket| others(bucket, &same) > 0)
                || others(bucket, &near) >= MAX_OF_NETWORK)
    }

    /// Whether a node of that name would find a place if it answered.
    pub(super) fn wants(&self, contact: Contact) -> bool {
        let bucket = &self.buckets[self.number(contact.id)];
        let known = bucket.nodes.iter().any(|n| n.contact.id == contact.id);
        let room = bucket.nodes.len() < K || bucket.nodes.iter().any(Node::is_bad);
        contact.id != self.own
            && contact.id.befits(contact.addr.ip())
            && !known
            && (room || bucket.spare.len() < K)
            && !self.is_crowded(contact)
    }

    /// A node has asked us something.
    pub(super) fn asked_us(&mut self, now: Time, contact: Contact) {
        let bucket = self.bucket(contact.id);
        let known = bucket.nodes.iter_mut().find(|n| n.contact == contact);
        if let Some(node) = known.filter(|node| node.failures == 0) {
            node.heard = now;
        }
    }

    /// A node has not answered. The latest spare one takes its place if that has happened too often; without a spare one it stays for the time being, for it may be
    /// us who are cut off.
    pub(super) fn failed(&mut self, contact: Contact) {
        let many = self.len() > K;
        let bucket = self.bucket(contact.id);
        let Some(at) = bucket.nodes.iter().position(|n| n.contact == contact) else {
            return;
        };
        let node = &mut bucket.nodes[at];
        node.failures = node.failures.saturating_add(1);
        if !node.is_bad() {
            return;
        }
        if let Some(spare) = bucket.spare.pop() {
            bucket.nodes[at] = spare;
        } else if many {
            bucket.nodes.swap_remove(at);
        }
    }

    /// The `n` nodes that are closest to `target`, the closest first: good ones alone, or all but bad ones.
    pub(super) fn closest(
        &self,
        target: NodeId,
        n: usize,
        now: Time,
        only_good: bool,
    ) -> Vec<Contact> {
        let fits = |node: &&Node| {
            if only_good {
                node.is_good(now)
            } else {
                !node.is_bad()
            }
        };
        let nodes = self.nodes().filter(fits).map(|node| node.contact);
        let mut nodes: Vec<_> = nodes.collect();
        nodes.sort_unstable_by_key(|node| node.id.distance(target));
        nodes.truncate(n);
        nodes
    }

    /// Whether a node at this very address and port has answered lately.
    pub(super) fn has_proven(&self, addr: std::net::SocketAddr, now: Time) -> bool {
        let mut nodes = self.nodes();
        nodes.any(|node| node.contact.addr == addr && node.is_good(now))
    }

    /// The node that has been silent for longest, if that is too long.
    pub(super) fn questionable(&mut self, now: Time) -> Option<Contact> {
        let nodes = self.buckets.iter_mut().flat_map(|b| &mut b.nodes);
        let waits = |node: &Node| node.asked.is_some_and(|at| now.since(at) < PATIENCE);
        let silent = nodes.filter(|node| !node.is_good(now) && !waits(node));
        let node = silent.min_by_key(|node| node.heard)?;
        node.asked = Some(now);
        Some(node.contact)
    }

    /// How many bits the nodes of a bucket have in common with our id that nobody has been heard of for too long; it counts as looked through from now on. Buckets beyond the
    /// closest node are none.
    pub(super) fn stale_bucket(&mut self, now: Time) -> Option<usize> {
        let deepest = self.buckets.iter().rposition(|b| !b.nodes.is_empty())?;
        let mut buckets = self.buckets[..=deepest].iter_mut();
        let at = buckets.position(|bucket| now.since(bucket.touched) >= FRESH)?;
        self.buckets[at].touched = now;
        Some(at)
    }

    /// Nodes in all, bad ones too.
    pub(super) fn len(&self) -> usize {
        self.nodes().count()
    }

    /// Nodes that have been heard lately.
    pub(super) fn good(&self, now: Time) -> usize {
        self.nodes().filter(|node| node.is_good(now)).count()
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.buckets.iter().flat_map(|bucket| &bucket.nodes)
    }

    fn number(&self, id: NodeId) -> usize {
        self.own.distance(id).common_bits().min(BUCKETS - 1)
    }

    fn bucket(&mut self, id: NodeId) -> &mut Bucket {
        let number = self.number(id);
        &mut self.buckets[number]
    }
}

fn network(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits() >> 8),
        IpAddr::V6(ip) => ip.to_bits() >> 80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    fn own() -> NodeId {
        NodeId([0; 20])
    }

    /// A node with `bits` bits in common with us, in a network where any id will do.
    fn node(bits: usize, n: u8) -> Contact {
        let mut rng = fastrand::Rng::with_seed(u64::from(n));
        Contact {
            id: own().beside(bits, &mut rng),
            addr: ([10, 0, bits as u8, n], 6881).into(),
        }
    }

    fn full(now: Time) -> Table {
        let mut table = Table::new(own(), now);
        (0..8).for_each(|n| table.answered(now, node(0, n)));
        table
    }

    #[test]
    fn a_bucket_holds_eight_and_the_rest_wait_for_a_place() {
        let mut table = full(at(0));
        table.answered(at(0), node(0, 8));
        table.answered(at(0), node(0, 9));
        table.answered(at(0), node(1, 0));
        assert_eq!((table.len(), table.good(at(0))), (9, 9));
        table.failed(node(0, 3));
        assert_eq!((table.len(), table.good(at(0))), (9, 8), "once is chance");
        table.failed(node(0, 3));
        let nodes = table.closest(own(), 20, at(0), true);
        assert!(nodes.contains(&node(0, 9)) && !nodes.contains(&node(0, 3)));
        assert_eq!(nodes.len(), 9);
    }

    #[test]
    fn a_node_that_answers_again_is_good_again() {
        let mut table = Table::new(own(), at(0));
        table.answered(at(0), node(0, 1));
        table.failed(node(0, 1));
        table.failed(node(0, 1));
        assert_eq!(table.closest(own(), 9, at(0), false), [], "it is bad");
        assert_eq!(table.len(), 1, "yet it may be us");
        table.answered(at(1), node(0, 1));
        assert_eq!(table.closest(own(), 9, at(1), true), [node(0, 1)]);
    }

    #[test]
    fn silence_makes_questionable_and_only_one_is_asked_at_a_time() {
        let mut table = full(at(0));
        assert_eq!(table.questionable(at(899)), None);
        table.asked_us(at(899), node(0, 2));
        let asked: Vec<_> = (0..8).filter_map(|_| table.questionable(at(900))).collect();
        assert_eq!(asked.len(), 7, "each once, but the one that asked us");
        assert!(!asked.contains(&node(0, 2)));
        assert_eq!(table.good(at(900)), 1);
        assert!(table.questionable(at(961)).is_some(), "and again");
    }

    #[test]
    fn a_question_of_somebody_who_does_not_answer_does_not_make_it_good() {
        let mut table = Table::new(own(), at(0));
        table.asked_us(at(0), node(0, 1));
        assert_eq!(table.len(), 0);
        table.answered(at(0), node(0, 1));
        table.failed(node(0, 1));
        table.asked_us(at(1), node(0, 1));
        assert_eq!(table.good(at(1)), 0);
    }

    #[test]
    fn in_the_world_an_id_befits_its_address_and_an_address_has_one_node() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut table = Table::new(own(), at(0));
        let mut world = |ip: [u8; 4], port: u16| {
            let addr = std::net::SocketAddr::from((ip, port));
            // All in one bucket, that of ids that begin with a 1.
            let ids = std::iter::repeat_with(|| NodeId::of_host(addr.ip(), &mut rng));
            let id = ids.take(1000).find(|id| id.0[0] & 0x80 != 0).unwrap();
            Contact { id, addr }
        };
        let liar = Contact {
            id: NodeId([0xff; 20]),
            ..world([8, 8, 8, 8], 1)
        };
        assert!(!table.wants(liar));
        table.answered(at(0), liar);
        assert_eq!(table.len(), 0, "an id of its own choice");
        for contact in [
            world([8, 8, 8, 8], 1),
            world([8, 8, 8, 8], 2),
            world([8, 8, 8, 9], 1),
            world([8, 8, 8, 10], 1),
            world([8, 8, 9, 1], 1),
        ] {
            table.answered(at(0), contact);
        }
        let ips = table.closest(own(), 9, at(0), true);
        let mut ips: Vec<_> = ips.iter().map(|node| node.addr.to_string()).collect();
        ips.sort_unstable();
        assert_eq!(ips, ["8.8.8.8:1", "8.8.8.9:1", "8.8.9.1:1"]);
    }

    #[test]
    fn another_address_does_not_take_over_a_name_and_a_new_name_replaces_the_old() {
        let mut table = Table::new(own(), at(0));
        table.answered(at(0), node(0, 1));
        let thief = Contact {
            addr: node(0, 2).addr,
            ..node(0, 1)
        };
        table.answered(at(1), thief);
        assert_eq!(table.closest(own(), 9, at(1), true), [node(0, 1)]);
        let renamed = Contact {
            id: node(3, 1).id,
            ..node(0, 1)
        };
        table.answered(at(2), renamed);
        assert_eq!(table.closest(own(), 9, at(2), true), [renamed]);
    }

    #[test]
    fn the_closest_come_first_and_our_own_name_is_never_there() {
        let mut table = Table::new(own(), at(0));
        for bits in 0..30 {
            table.answered(at(0), node(bits, 0));
        }
        let myself = Contact {
            id: own(),
            addr: node(9, 9).addr,
        };
        table.answered(at(0), myself);
        assert!(!table.wants(myself));
        let closest = table.closest(own(), 3, at(0), true);
        assert_eq!(closest, [node(29, 0), node(28, 0), node(27, 0)]);
    }

    #[test]
    fn buckets_go_stale_and_are_looked_through_once_each() {
        let mut table = Table::new(own(), at(0));
        table.answered(at(0), node(0, 0));
        table.answered(at(100), node(2, 0));
        assert_eq!(table.stale_bucket(at(899)), None);
        assert_eq!(table.stale_bucket(at(900)), Some(0));
        assert_eq!(
            table.stale_bucket(at(900)),
            Some(1),
            "empty, but not beyond"
        );
        assert_eq!(table.stale_bucket(at(900)), None);
        assert_eq!(table.stale_bucket(at(1000)), Some(2));
    }

    #[test]
    fn another_own_id_keeps_the_nodes() {
        let mut table = full(at(0));
        table.rebase(NodeId([0xff; 20]), at(1));
        assert_eq!((table.len(), table.good(at(1))), (8, 8));
    }
}

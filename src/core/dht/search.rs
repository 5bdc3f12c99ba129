//! A lookup: asks nodes ever closer to a target until the eight closest have answered (BEP 5).
//!
//! Whoever answers may lie. What it makes up costs a question each, so a node loses its credit when those that it has named do not answer; a lookup asks so
//! many and no more; and of an address of the world only the first answer counts.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use super::table::K;
use crate::base::endpoint::Scope;
use crate::base::node::{Contact, Distance, NodeId};
use crate::proto::krpc::Reply;

/// Questions under way at once (BEP 5: alpha); such as have taken long already do not count.
const ALPHA: usize = 4;

/// Questions in all.
const MAX_ASKED: usize = 160;

/// Nodes that are remembered as worth asking, the closest.
const MAX_CANDIDATES: usize = 200;

/// Nodes that an answer may name, the closest.
const MAX_NAMED: usize = 2 * K;

/// Peers that are told of.
const MAX_PEERS: usize = 1_000;

/// Nodes named by one that do not answer, after which no others of its are asked unless at least as many have answered.
const MAX_DUDS: u32 = 3;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Nodes, for the table.
    Nodes,
    /// Peers of a torrent; to be announced to the closest nodes afterwards.
    Peers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not asked yet.
    New,
    /// Asked of late.
    Asked,
    /// Asked a while ago; it may still answer.
    Slow,
    /// Has answered.
    Answered,
    /// Will not.
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    addr: SocketAddr,
    /// Unknown of the nodes where everything begins.
    id: Option<NodeId>,
    state: State,
    token: Option<Vec<u8>>,
    /// Who has named it; nobody if it was known.
    named_by: Option<SocketAddr>,
}

/// How those that a node has named have done.
#[derive(Clone, Copy, Debug, Default)]
struct Credit {
    answered: u32,
    failed: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) target: NodeId,
    pub(super) purpose: Purpose,
    /// In the order of their distance, those of unknown id first.
    candidates: Vec<Candidate>,
    credits: HashMap<SocketAddr, Credit>,
    peers: HashSet<SocketAddr>,
    asked: usize,
}

impl Search {
    /// Begins at `known`, and at `seeds`, whose names are not known.
    pub(super) fn new(
        target: NodeId,
        purpose: Purpose,
        known: &[Contact],
        seeds: &[SocketAddr],
    ) -> Self {
        let mut search = Self {
            target,
            purpose,
            candidates: Vec::new(),
            credits: HashMap::new(),
            peers: HashSet::new(),
            asked: 0,
        };
        known
            .iter()
            .for_each(|node| search.add(node.addr, Some(node.id), None));
        seeds.iter().for_each(|&addr| search.add(addr, None, None));
        search.sort();
        search
    }

    fn add(&mut self, addr: SocketAddr, id: Option<NodeId>, named_by: Option<SocketAddr>) {
        if self.candidates.iter().all(|other| other.addr != addr) {
            self.candidates.push(Candidate {
                addr,
                id,
                state: State::New,
                token: None,
                named_by,
            });
        }
    }

    fn sort(&mut self) {
        let target = self.target;
        let distance = |c: &Candidate| -> Option<Distance> { Some(c.id?.distance(target)) };
        self.candidates.sort_by_key(distance);
        let mut kept = 0;
        self.candidates.retain(|candidate| {
            kept += 1;
            kept <= MAX_CANDIDATES || candidate.state != State::New
        });
    }

    /// Whom to ask now, if anybody; it counts as asked.
    pub(super) fn next(&mut self) -> Option<(SocketAddr, Option<NodeId>)> {
        if self.count(State::Asked) >= ALPHA || self.asked >= MAX_ASKED {
            return None;
        }
        let at = self.worth_asking()?;
        self.asked += 1;
        let candidate = &mut self.candidates[at];
        candidate.state = State::Asked;
        Some((candidate.addr, candidate.id))
    }

    /// The closest that has not been asked, if fewer than eight closer ones have answered or may do so soon.
    fn worth_asking(&self) -> Option<usize> {
        let mut closer = 0;
        for (at, candidate) in self.candidates.iter().enumerate() {
            match candidate.state {
                // Where everything begins is not where it ends.
                State::Answered | State::Asked => closer += usize::from(candidate.id.is_some()),
                State::New if self.is_trusted(candidate) => return Some(at),
                State::New | State::Slow | State::Failed => {}
            }
            if closer >= K {
                return None;
            }
        }
        None
    }

    fn is_trusted(&self, candidate: &Candidate) -> bool {
        let credit = |teller| self.credits.get(&teller).copied().unwrap_or_default();
        let credit = candidate.named_by.map_or(Credit::default(), credit);
        credit.failed < MAX_DUDS || credit.answered >= credit.failed
    }

    /// Whether nothing more is to come.
    pub(super) fn is_over(&self) -> bool {
        let exhausted = self.asked >= MAX_ASKED || self.worth_asking().is_none();
        let enough = self.closest().count() >= K;
        exhausted && self.count(State::Asked) == 0 && (enough || self.count(State::Slow) == 0)
    }

    /// A node has answered. Returns the peers that are new.
    pub(super) fn answered(&mut self, from: SocketAddr, reply: Reply) -> Vec<SocketAddr> {
        let ip = from.ip();
        let twin = Scope::of(ip) == Scope::World
            && self.candidates.iter().any(|other| {
                other.state == State::Answered && other.addr.ip() == ip && other.addr != from
            });
        let Some(candidate) = self.candidates.iter_mut().find(|c| c.addr == from) else {
            return Vec::new();
        };
        if twin {
            candidate.state = State::Failed;
            return Vec::new();
        }
        let begins = candidate.named_by.is_none();
        // Of the nodes where everything begins, any name will do to hear of others; but it is no place to announce anything at.
        candidate.state = if reply.id.befits(ip) {
            State::Answered
        } else {
            State::Failed
        };
        (candidate.id, candidate.token) = (Some(reply.id), reply.token);
        if let Some(teller) = candidate.named_by {
            self.credits.entry(teller).or_default().answered += 1;
        }
        if candidate.state == State::Answered || begins {
            self.hear_of(reply.nodes, from);
        }
        self.sort();
        let peers = reply.peers.into_iter();
        let peers = peers.filter(|&peer| self.peers.len() < MAX_PEERS && self.peers.insert(peer));
        peers.collect()
    }

    fn hear_of(&mut self, mut nodes: Vec<Contact>, from: SocketAddr) {
        let target = self.target;
        nodes
            .retain(|node| node.addr.is_ipv4() == from.is_ipv4() && node.id.befits(node.addr.ip()));
        nodes.sort_by_key(|node| node.id.distance(target));
        nodes.truncate(MAX_NAMED);
        let nodes = nodes.into_iter();
        nodes.for_each(|node| self.add(node.addr, Some(node.id), Some(from)));
    }

    /// A node takes long.
    pub(super) fn is_slow(&mut self, addr: SocketAddr) {
        self.change(addr, State::Slow);
    }

    /// A node has not answered, or with an error.
    pub(super) fn failed(&mut self, addr: SocketAddr) {
        if let Some(Some(teller)) = self.change(addr, State::Failed) {
            self.credits.entry(teller).or_default().failed += 1;
        }
    }

    /// Returns who has named it.
    fn change(&mut self, addr: SocketAddr, state: State) -> Option<Option<SocketAddr>> {
        let candidate = self.candidates.iter_mut().find(|c| c.addr == addr)?;
        let waits = matches!(candidate.state, State::Asked | State::Slow);
        waits.then(|| {
            candidate.state = state;
            candidate.named_by
        })
    }

    fn count(&self, state: State) -> usize {
        self.candidates.iter().filter(|c| c.state == state).count()
    }

    fn closest(&self) -> impl Iterator<Item = &Candidate> {
        let all = self.candidates.iter();
        all.filter(|c| c.state == State::Answered).take(K)
    }

    /// The closest nodes that have answered, with the tokens for an announce; at most eight.
    pub(super) fn places(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.closest()
            .filter_map(|c| Some((c.addr, c.token.as_deref()?)))
    }

    /// Nodes that have answered, of the eight that count.
    pub(super) fn answers(&self) -> usize {
        self.closest().count()
    }

    /// Questions so far.
    #[cfg(test)]
    pub(super) const fn asked(&self) -> usize {
        self.asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: NodeId = NodeId([0; 20]);

    /// A node at a distance of `n`, where any id will do.
    fn node(n: u8) -> Contact {
        let mut id = [0; 20];
        id[0] = n;
        Contact {
            id: NodeId(id),
            addr: ([10, 0, 0, n], 1).into(),
        }
    }

    fn reply(from: Contact, nodes: impl IntoIterator<Item = u8>) -> Reply {
        Reply {
            token: Some(vec![from.id.0[0]]),
            nodes: nodes.into_iter().map(node).collect(),
            ..Reply::new(from.id)
        }
    }

    fn search(known: impl IntoIterator<Item = u8>) -> Search {
        let known: Vec<_> = known.into_iter().map(node).collect();
        Search::new(TARGET, Purpose::Peers, &known, &[])
    }

    fn asked(search: &mut Search) -> Vec<u8> {
        std::iter::from_fn(|| search.next())
            .map(|(_, id)| id.unwrap().0[0])
            .collect()
    }

    #[test]
    fn the_closest_are_asked_first_and_four_at_a_time() {
        let mut search = search([9, 3, 5, 7, 1, 8]);
        assert_eq!(asked(&mut search), [1, 3, 5, 7]);
        search.answered(node(3).addr, reply(node(3), [2, 200]));
        assert_eq!(asked(&mut search), [2]);
        search.is_slow(node(1).addr);
        assert_eq!(
            asked(&mut search),
            [8],
            "one that takes long does not count"
        );
        assert!(!search.is_over());
    }

    #[test]
    fn it_ends_when_the_eight_closest_have_answered() {
        let mut search = search(1..=40);
        let mut all = Vec::new();
        while let Some((addr, id)) = search.next() {
            all.push(id.unwrap().0[0]);
            search.answered(addr, reply(node(id.unwrap().0[0]), [100, 101]));
        }
        assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(search.is_over());
        let places: Vec<_> = search
            .places()
            .map(|(addr, token)| (addr, token[0]))
            .collect();
        let expected: Vec<_> = (1..=8).map(|n| (node(n).addr, n)).collect();
        assert_eq!(places, expected);
    }

    #[test]
    fn the_dead_are_passed_over() {
        let mut search = search(1..=12);
        while let Some((addr, id)) = search.next() {
            match id.unwrap().0[0] {
                n @ (1 | 3 | 6) => {
                    search.is_slow(addr);
                    assert!(n < 12);
                    search.failed(addr);
                }
                n => drop(search.answered(addr, reply(node(n), []))),
            }
        }
        let places: Vec<_> = search.places().map(|(_, token)| token[0]).collect();
        assert_eq!(places, [2, 4, 5, 7, 8, 9, 10, 11]);
        assert!(search.is_over());
    }

    #[test]
    fn one_that_names_the_dead_is_no_longer_listened_to() {
        let mut search = search([50, 60]);
        assert_eq!(asked(&mut search), [50, 60]);
        search.answered(node(50).addr, reply(node(50), 1..=16));
        search.answered(node(60).addr, reply(node(60), [30, 31]));
        let mut wasted = 0;
        while let Some((addr, id)) = search.next() {
            match id.unwrap().0[0] {
                n @ (30 | 31) => drop(search.answered(addr, reply(node(n), []))),
                _ => {
                    wasted += 1;
                    search.failed(addr);
                }
            }
        }
        assert_eq!((wasted, search.answers()), (3, 4));
        assert!(search.is_over());
    }

    #[test]
    fn whatever_is_made_up_it_ends() {
        let mut search = search([255]);
        let mut rng = fastrand::Rng::with_seed(1);
        let mut n = 0_u32;
        // Everybody who is asked answers, and knows sixteen who are closer.
        while let Some((addr, id)) = search.next() {
            let mut nodes = Vec::new();
            for _ in 0..16 {
                n += 1;
                let [_, b, c, d] = n.to_be_bytes();
                let id = TARGET.beside((n / 64).min(150) as usize, &mut rng);
                let addr = ([10, b, c, d], 1).into();
                nodes.push(Contact { id, addr });
            }
            let answer = Reply {
                nodes,
                ..Reply::new(id.unwrap())
            };
            search.answered(addr, answer);
            assert!(search.candidates.len() <= MAX_CANDIDATES + MAX_ASKED);
        }
        assert_eq!(search.asked(), MAX_ASKED);
        assert!(search.is_over());
    }

    #[test]
    fn of_an_address_of_the_world_one_answer_counts() {
        let mut rng = fastrand::Rng::with_seed(1);
        let addr = |port| SocketAddr::from(([8, 8, 8, 8], port));
        let mut contact = |port| Contact {
            id: NodeId::of_host(addr(port).ip(), &mut rng),
            addr: addr(port),
        };
        let nodes = [contact(1), contact(2), contact(3)];
        let mut search = Search::new(TARGET, Purpose::Peers, &nodes, &[]);
        while let Some((addr, id)) = search.next() {
            let peer = SocketAddr::from(([9, 9, 9, 9], addr.port()));
            let answer = Reply {
                peers: vec![peer, peer],
                ..Reply::new(id.unwrap())
            };
            let told = search.answered(addr, answer);
            assert!(told.len() <= 1);
        }
        assert_eq!((search.answers(), search.peers.len()), (1, 1));
    }

    #[test]
    fn a_beginning_without_a_name_is_asked_first_and_leads_on() {
        let seed = SocketAddr::from(([8, 8, 8, 8], 1));
        let mut search = Search::new(TARGET, Purpose::Nodes, &[node(9)], &[seed]);
        assert_eq!(search.next(), Some((seed, None)));
        // Its name does not befit its address.
        let answer = Reply {
            nodes: vec![node(1), node(2)],
            ..Reply::new(NodeId([7; 20]))
        };
        search.answered(seed, answer);
        assert_eq!(asked(&mut search), [1, 2, 9]);
        assert_eq!(search.places().count(), 0);
    }
}

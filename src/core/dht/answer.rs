//! What a question is answered with, and how long the answer may be.

use std::net::SocketAddr;

use super::Dht;
use super::table::K;
use crate::base::endpoint::Scope;
use crate::base::node::{Contact, NodeId};
use crate::base::time::Time;
use crate::proto::krpc::{
    ErrorCode, Packet, Query, Reply, Want, node_len, peer_len, write_error, write_reply,
};

/// The most bytes of an answer for each byte of its question, while nobody knows who has asked: a forged sender gains little.
const FACTOR: usize = 4;

/// The most bytes of an answer to whoever has shown that it gets what is sent to it. No network cuts it up.
const MOST: usize = 1_200;

/// Bytes that the keys of the lists take up.
const KEYS: usize = "5:nodes208:6:nodes6304:6:valuesle".len();

/// Peers that go before nodes, which lead to others.
const FIRST_PEERS: usize = 4;

/// Peers at most.
const MAX_PEERS: usize = 100;

impl Dht {
    /// The answer to a question of `len` bytes from `from`.
    pub(super) fn answer(
        &mut self,
        now: Time,
        from: SocketAddr,
        len: usize,
        packet: &Packet,
        query: Query,
    ) -> Vec<u8> {
        let Some(id) = self.ids()[usize::from(from.is_ipv6())] else {
            return Vec::new();
        };
        let transaction = &packet.transaction;
        let mut reply = Reply::new(id);
        let (target, want, peers) = match query {
            Query::Ping => return write_reply(transaction, &reply, from),
            Query::AnnouncePeer(announce) => {
                let port = announce.port.unwrap_or(from.port());
                if port == 0 || !self.tokens.accepts(now, from.ip(), &announce.token) {
                    return write_error(transaction, ErrorCode::Protocol);
                }
                let peer = SocketAddr::new(from.ip(), port);
                // Where there is no room for it, others will remember it.
                self.store.announce(now, announce.info_hash, peer);
                return write_reply(transaction, &reply, from);
            }
            Query::FindNode(target, want) => (target, want, Vec::new()),
            Query::GetPeers(info_hash, want) => {
                reply.token = Some(self.tokens.issue(now, from.ip()).to_vec());
                let whom = (from.is_ipv6(), Scope::of(from.ip()));
                let rng = &mut self.rng;
                let peers = self.store.some(now, info_hash, whom, MAX_PEERS, rng);
                (info_hash.into(), want, peers)
            }
        };
        let side = self.side(from);
        let known = side.is_some_and(|side| side.table().has_proven(from, now));
        let most = if known { MOST } else { MOST.min(FACTOR * len) };
        let bare = write_reply(transaction, &reply, from).len() + KEYS;
        let mut room = Room(most.saturating_sub(bare));
        let mut peers = peers.into_iter();
        let len = peer_len(from.is_ipv6());
        reply
            .peers
            .extend(room.take(peers.by_ref().take(FIRST_PEERS), len));
        let own = Want {
            v4: from.is_ipv4(),
            v6: from.is_ipv6(),
        };
        let wanted = if want == Want::default() { own } else { want };
        for (is_own, is_v6) in [(true, from.is_ipv6()), (false, from.is_ipv4())] {
            if if is_v6 { wanted.v6 } else { wanted.v4 } {
                let nodes = self.nodes_for(now, from, is_v6, target);
                reply.nodes.extend(room.take(nodes, node_len(is_v6)));
            }
            if is_own {
                reply.peers.extend(room.take(peers.by_ref(), len));
            }
        }
        write_reply(transaction, &reply, from)
    }

    /// The closest good nodes of a family that somebody at `from` may hear of, but for itself.
    fn nodes_for(
        &self,
        now: Time,
        from: SocketAddr,
        is_v6: bool,
        target: NodeId,
    ) -> impl Iterator<Item = Contact> + use<> {
        let scope = Scope::of(from.ip());
        let side = self.sides[usize::from(is_v6)].as_ref();
        // Some of them may be none of its business.
        let nodes = side.map(|side| side.table().closest(target, 4 * K, now, true));
        let nodes = nodes.into_iter().flatten();
        let nodes = nodes.filter(move |node| node.addr != from && scope.may_name(node.addr.ip()));
        nodes.take(K)
    }
}

/// Bytes that are left in a datagram.
struct Room(usize);

impl Room {
    /// As many of `items`, of `len` bytes each, as fit.
    fn take<T>(&mut self, items: impl Iterator<Item = T>, len: usize) -> Vec<T> {
        let taken: Vec<T> = items.take(self.0 / len).collect();
        self.0 -= taken.len() * len;
        taken
    }
}

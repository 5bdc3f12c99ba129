//! KRPC, the datagrams between DHT nodes (BEP 5): one bencoded dictionary each, a query, a reply or an error.
//!
//! Also IPv6 (BEP 32: `nodes6`, `want`), the receiver's address (BEP 42: `ip`) and read-only nodes (BEP 43: `ro`). What is read is checked once and
//! owned: no length or address of a stranger's goes further unchecked. What is written is never longer than [`LONGEST`] if its lists are what a node
//! gives out.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::net::SocketAddr;

use crate::base::endpoint::Scope;
use crate::base::id::InfoHash;
use crate::base::node::{Contact, NodeId};

pub(super) use read::contacts;
pub use read::read;
pub(super) use write::compact_nodes;
pub use write::{write_error, write_query, write_reply};

/// Bytes of the longest datagram that is read or written: what an Ethernet frame carries.
pub const LONGEST: usize = 1472;

/// Bytes of the longest transaction id that is answered. Ours have 4, most programs' 2.
pub const MAX_TRANSACTION: usize = 32;

/// Bytes of the longest token that is kept for an announce. Ours have 8, some programs' 20.
pub const MAX_TOKEN: usize = 64;

/// Our name in `v`: program and version (BEP 5).
const VERSION: [u8; 4] = *b"HM\x01\x00";

/// A datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What a reply repeats of its query.
    pub transaction: Vec<u8>,
    /// The sender answers nobody and is not to be remembered (BEP 43).
    pub read_only: bool,
    /// Where the sender sees the receiver (BEP 42).
    pub external: Option<SocketAddr>,
    /// What it is about.
    pub body: Body,
}

/// What a datagram is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A question of this node.
    Query(NodeId, Query),
    /// A question that cannot be answered.
    BadQuery(ErrorCode),
    /// An answer.
    Reply(Reply),
    /// An answer that is none, with its number (BEP 5).
    Error(i64),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Are you there?
    Ping,
    /// Which nodes are closest to this id?
    FindNode(NodeId, Want),
    /// Who shares this torrent, and which nodes are closest to it?
    GetPeers(InfoHash, Want),
    /// I share this torrent.
    AnnouncePeer(Announce),
}

/// A peer makes itself known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The port that the peer listens on; `None` if it is that of the datagram (`implied_port`).
    pub port: Option<u16>,
    /// What the receiver has given the peer's address.
    pub token: Vec<u8>,
}

/// The families of nodes that are asked for (BEP 32); neither is the family of the datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// `n4`
    pub v4: bool,
    /// `n6`
    pub v6: bool,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Who answers.
    pub id: NodeId,
    /// What an announce has to bring.
    pub token: Option<Vec<u8>>,
    /// Nodes of either family.
    pub nodes: Vec<Contact>,
    /// Peers of either family.
    pub peers: Vec<SocketAddr>,
}

/// Why a query is not answered (BEP 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// It makes no sense, or its token is not the receiver's.
    Protocol = 203,
    /// It asks for what the receiver does not do.
    UnknownMethod = 204,
}

impl Reply {
    /// An answer with nothing in it.
    #[must_use]
    pub const fn new(id: NodeId) -> Self {
        Self {
            id,
            token: None,
            nodes: Vec::new(),
            peers: Vec::new(),
        }
    }

    /// Leaves out what somebody at `teller` cannot know: nodes and peers in our own network or on our own host, if the teller is not there itself.
    pub fn leave_out_what_is_none_of(&mut self, teller: SocketAddr) {
        let scope = Scope::of(teller.ip());
        self.nodes.retain(|node| scope.may_name(node.addr.ip()));
        self.peers.retain(|peer| scope.may_name(peer.ip()));
    }
}

/// Bytes of a node in `nodes` or `nodes6` (BEP 5, BEP 32).
#[must_use]
pub const fn node_len(is_v6: bool) -> usize {
    if is_v6 { 38 } else { 26 }
}

/// Bytes of a peer in `values`, its length told (BEP 5, BEP 32).
#[must_use]
pub const fn peer_len(is_v6: bool) -> usize {
    if is_v6 { 21 } else { 8 }
}

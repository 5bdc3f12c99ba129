//! Bytes → datagram.

use std::net::SocketAddr;

use super::{
    Announce, Body, ErrorCode, LONGEST, MAX_TOKEN, MAX_TRANSACTION, Packet, Query, Reply, Want,
    node_len,
};
use crate::base::bencode::{Dict, Document, Limits};
use crate::base::endpoint::{is_dialable, read_v4, read_v6};
use crate::base::id::InfoHash;
use crate::base::node::{Contact, NodeId};

/// The deepest that means anything is a peer in `values`: dictionary, dictionary, list.
const LIMITS: Limits = Limits {
    size: LONGEST,
    depth: 4,
    nodes: 400,
};

/// Reads a datagram. `None` if it is none, or one that cannot even be refused. Parts that are of the wrong type or length count as absent; addresses at which
/// nobody can listen are left out.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Packet> {
    let document = Document::parse(bytes, LIMITS).ok()?;
    let packet = document.root().dict()?;
    let transaction = packet.get(b"t")?.bytes()?;
    if transaction.len() > MAX_TRANSACTION {
        return None;
    }
    let body = match packet.get(b"y")?.bytes()? {
        b"q" => query(packet).unwrap_or(Body::BadQuery(ErrorCode::Protocol)),
        b"r" => Body::Reply(reply(packet.get(b"r")?.dict()?)?),
        b"e" => Body::Error(packet.get(b"e")?.list()?.next()?.int()?),
        _ => return None,
    };
    Some(Packet {
        transaction: transaction.to_vec(),
        read_only: flag(packet, b"ro"),
        external: packet.get(b"ip").and_then(|ip| address(ip.bytes()?)),
        body,
    })
}

fn flag(dict: Dict<'_>, key: &[u8]) -> bool {
    dict.get(key).and_then(|value| value.int()) == Some(1)
}

fn address(bytes: &[u8]) -> Option<SocketAddr> {
    match bytes.len() {
        6 => read_v4(bytes)?.first().copied(),
        18 => read_v6(bytes)?.first().copied(),
        _ => None,
    }
}

fn query(packet: Dict<'_>) -> Option<Body> {
    let method = packet.get(b"q")?.bytes()?;
    let args = packet.get(b"a")?.dict()?;
    let id = |key: &[u8]| NodeId::from_slice(args.get(key)?.bytes()?);
    let info_hash = || Some(InfoHash(id(b"info_hash")?.0));
    let query = match method {
        b"ping" => Query::Ping,
        b"find_node" => Query::FindNode(id(b"target")?, want(args)),
        b"get_peers" => Query::GetPeers(info_hash()?, want(args)),
        b"announce_peer" => {
            let port = args.get(b"port").and_then(|port| port.uint());
            let port = port.and_then(|port| u16::try_from(port).ok());
            let implied = flag(args, b"implied_port");
            Query::AnnouncePeer(Announce {
                info_hash: info_hash()?,
                port: if implied { None } else { Some(port?) },
                token: args.get(b"token")?.bytes()?.to_vec(),
            })
        }
        _ => return Some(Body::BadQuery(ErrorCode::UnknownMethod)),
    };
    Some(Body::Query(id(b"id")?, query))
}

fn want(args: Dict<'_>) -> Want {
    let mut want = Want::default();
    let words = args.get(b"want").and_then(|want| want.list());
    for word in words.into_iter().flatten() {
        match word.bytes() {
            Some(b"n4") => want.v4 = true,
            Some(b"n6") => want.v6 = true,
            _ => {}
        }
    }
    want
}

fn reply(values: Dict<'_>) -> Option<Reply> {
    let bytes = |key: &[u8]| values.get(key).and_then(|value| value.bytes());
    let token = bytes(b"token").filter(|token| token.len() <= MAX_TOKEN);
    let peers = values.get(b"values").and_then(|peers| peers.list());
    let peers = peers.into_iter().flatten();
    let peers = peers.filter_map(|peer| address(peer.bytes()?));
    let mut nodes = contacts(bytes(b"nodes").unwrap_or_default(), false);
    nodes.extend(contacts(bytes(b"nodes6").unwrap_or_default(), true));
    Some(Reply {
        id: NodeId::from_slice(bytes(b"id")?)?,
        token: token.map(<[u8]>::to_vec),
        nodes,
        peers: peers.filter(|&peer| is_dialable(peer)).collect(),
    })
}

/// The nodes in a string of compact ones of a family; none if it is not a whole number of them.
pub(in crate::proto) fn contacts(bytes: &[u8], is_v6: bool) -> Vec<Contact> {
    let nodes = bytes.chunks(node_len(is_v6));
    let nodes = nodes.map(|node| {
        let (id, addr) = node.split_at_checked(20)?;
        Some(Contact {
            id: NodeId::from_slice(id)?,
            addr: address(addr)?,
        })
    });
    let nodes: Option<Vec<_>> = nodes.collect();
    let mut nodes = nodes.unwrap_or_default();
    // Of an IPv4 address in IPv6 clothes, the receiver of a datagram would never know the sender again.
    nodes.retain(|node| is_dialable(node.addr) && !is_mapped(node.addr));
    nodes
}

fn is_mapped(addr: SocketAddr) -> bool {
    addr.ip().is_ipv6() && addr.ip().to_canonical().is_ipv4()
}

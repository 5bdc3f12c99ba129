//! Datagram → bytes.

use std::net::SocketAddr;

use super::{Announce, ErrorCode, Query, Reply, VERSION, Want};
use crate::base::bencode::Value;
use crate::base::endpoint::write_compact;
use crate::base::node::{Contact, NodeId};

/// A question of `id`; `read_only` if it answers nobody (BEP 43).
#[must_use]
pub fn write_query(transaction: &[u8], id: NodeId, query: &Query, read_only: bool) -> Vec<u8> {
    let mut args = vec![(&b"id"[..], Value::from(&id.0[..]))];
    let method = match query {
        Query::Ping => "ping",
        Query::FindNode(target, want) => {
            args.push((b"target", target.0[..].into()));
            args.extend(wanted(*want));
            "find_node"
        }
        Query::GetPeers(info_hash, want) => {
            args.push((b"info_hash", info_hash.0[..].into()));
            args.extend(wanted(*want));
            "get_peers"
        }
        Query::AnnouncePeer(Announce {
            info_hash,
            port,
            token,
        }) => {
            args.push((b"info_hash", info_hash.0[..].into()));
            args.push((b"implied_port", Value::Int(port.is_none().into())));
            args.push((b"port", u32::from(port.unwrap_or(0)).into()));
            args.push((b"token", token[..].into()));
            "announce_peer"
        }
    };
    let mut packet = vec![(&b"a"[..], Value::dict(args)), (b"q", method.into())];
    packet.extend(read_only.then_some((&b"ro"[..], Value::Int(1))));
    finish(transaction, "q", packet)
}

/// An answer to a question from `to`.
#[must_use]
pub fn write_reply(transaction: &[u8], reply: &Reply, to: SocketAddr) -> Vec<u8> {
    let mut values = vec![(&b"id"[..], Value::from(&reply.id.0[..]))];
    let token = reply.token.as_deref();
    values.extend(token.map(|token| (&b"token"[..], Value::from(token))));
    for (key, is_v6) in [(&b"nodes"[..], false), (b"nodes6", true)] {
        let nodes = compact_nodes(&reply.nodes, is_v6);
        if !nodes.is_empty() {
            values.push((key, nodes.into()));
        }
    }
    if !reply.peers.is_empty() {
        let peers = reply.peers.iter().map(|&peer| address(peer));
        values.push((b"values", peers.collect::<Vec<_>>().into()));
    }
    let packet = vec![(&b"ip"[..], address(to)), (b"r", Value::dict(values))];
    finish(transaction, "r", packet)
}

/// That a question cannot be answered.
#[must_use]
pub fn write_error(transaction: &[u8], code: ErrorCode) -> Vec<u8> {
    let (number, text) = match code {
        ErrorCode::Protocol => (203, "Protocol Error"),
        ErrorCode::UnknownMethod => (204, "Method Unknown"),
    };
    let error = vec![Value::Int(number), text.into()];
    finish(transaction, "e", vec![(b"e", error.into())])
}

fn finish<'a>(
    transaction: &'a [u8],
    kind: &'a str,
    mut packet: Vec<(&'a [u8], Value<'a>)>,
) -> Vec<u8> {
    packet.push((b"t", transaction.into()));
    packet.push((b"v", VERSION[..].into()));
    packet.push((b"y", kind.into()));
    Value::dict(packet).to_bytes()
}

fn wanted(want: Want) -> Option<(&'static [u8], Value<'static>)> {
    let words = [(want.v4, "n4"), (want.v6, "n6")].into_iter();
    let words = words.filter_map(|(wanted, word)| wanted.then_some(Value::from(word)));
    let words: Vec<_> = words.collect();
    (!words.is_empty()).then(|| (&b"want"[..], words.into()))
}

fn address(addr: SocketAddr) -> Value<'static> {
    let mut bytes = Vec::new();
    write_compact(addr, &mut bytes);
    bytes.into()
}

/// The string of the nodes of a family.
pub(in crate::proto) fn compact_nodes(nodes: &[Contact], is_v6: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for node in nodes.iter().filter(|node| node.addr.is_ipv6() == is_v6) {
        bytes.extend_from_slice(&node.id.0);
        write_compact(node.addr, &mut bytes);
    }
    bytes
}

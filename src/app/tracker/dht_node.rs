//! The tracker host as the node of the DHT where a cluster begins: a plain node, without torrents of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::app::dht::{self, Node, Plan};
use crate::app::failure::Failure;
use crate::core::dht::Stats;

/// Starts one at `port` of each address that the tracker listens at, or of all addresses of the host.
///
/// # Errors
/// If an address cannot be listened at.
pub(super) fn start(listen: &[SocketAddr], port: u16) -> Result<Vec<Arc<Node>>, Failure> {
    // Nobody looks for peers here.
    let at = |addr| Node::start(Plan::default(), addr, true, |_, _| {});
    if listen.is_empty() {
        let [both, v4] = dht::anywhere(port);
        return Ok(vec![at(both).or_else(|_| at(v4))?]);
    }
    let mut ips: Vec<_> = listen.iter().map(SocketAddr::ip).collect();
    ips.sort_unstable();
    ips.dedup();
    let nodes = ips.into_iter().map(|ip| at(SocketAddr::new(ip, port)));
    nodes.collect()
}

/// Where one listens, as the operator sees it.
pub(super) fn url(node: &Node) -> String {
    format!("dht://{}", node.addr())
}

/// What all of them know and do together.
pub(super) fn sum(nodes: &[Arc<Node>]) -> Stats {
    let mut sum = Stats::default();
    for stats in nodes.iter().map(|node| node.stats()) {
        sum.nodes = [sum.nodes[0] + stats.nodes[0], sum.nodes[1] + stats.nodes[1]];
        sum.torrents += stats.torrents;
        sum.peers += stats.peers;
        sum.answered += stats.answered;
        sum.refused += stats.refused;
    }
    sum
}

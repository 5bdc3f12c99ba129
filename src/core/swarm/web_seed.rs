//! HTTP servers that have the payload (BEP 19), as peers of the swarm: they have everything, serve us, and want nothing.
//!
//! A range of many blocks costs a server little more than one block, and each range costs us a way there and back. So a web seed is asked for
//! long runs: piece after piece, in batches of what it sends in half a second. Everything else is as with any other peer: who sends what
//! first, who is blamed, and how much may be asked for under a limit.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::base::bitfield::Bitfield;
use crate::base::geometry::PieceIndex;
use crate::base::id::PeerId;
use crate::base::time::Time;

use super::Swarm;
use super::event::{Action, Close, PeerKey};
use super::peer::Peer;
use super::pipeline::Pipeline;

/// What makes a peer a web seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WebSeed {
    pub(super) number: u16,
    pub(super) run: Run,
}

/// How a web seed is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// From the start to the end, since it can only be read that way.
    pub(super) in_order: bool,
    /// The piece that it was asked for last.
    pub(super) last: Option<PieceIndex>,
}

/// Stands for the address of a web seed in bans and statistics: nobody can connect from 0.0.0.0/8.
#[must_use]
pub fn addr_of(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(0, 0, high, low).into(), 0)
}

/// Which web seed an address of the swarm's actions and statistics stands for, if it does.
#[must_use]
pub fn number_of(addr: SocketAddr) -> Option<u16> {
    match addr.ip() {
        IpAddr::V4(ip) => match ip.octets() {
            [0, 0, high, low] => Some(u16::from_be_bytes([high, low])),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

impl Peer {
    /// A web seed, which has everything and serves us from the start.
    fn web_seed(number: u16, in_order: bool, pieces: u32, now: Time) -> Self {
        let mut id = [0; 20];
        id[18..].copy_from_slice(&number.to_be_bytes());
        let mut peer = Self::new(PeerId(id), addr_of(number), true, true, pieces, now);
        let run = Run {
            in_order,
            last: None,
        };
        peer.web_seed = Some(WebSeed { number, run });
        peer.listen = None;
        peer.have = Bitfield::all(pieces);
        peer.uncounted = true;
        peer.introduced = true;
        peer.am_interested = true;
        peer.peer_choking = false;
        peer.download.pipeline = Pipeline::of_ranges();
        peer
    }
}

impl Swarm {
    /// A web seed may be asked. It takes no place that a peer could have.
    pub(super) fn web_seed(
        &mut self,
        now: Time,
        key: PeerKey,
        number: u16,
        in_order: bool,
        out: &mut Vec<Action>,
    ) {
        let mut peer = Peer::web_seed(number, in_order, self.geometry.pieces(), now);
        let refused = if self.closed {
            Some(Close::Stopping)
        } else if self.is_complete() {
            Some(Close::BothComplete)
        } else if self.roster.is_banned(now, peer.addr.ip(), peer.id) {
            Some(Close::BadData)
        } else {
            let twin = self.peers.values().any(|p| p.id == peer.id);
            twin.then_some(Close::Duplicate)
        };
        if let Some(reason) = refused {
            out.push(Action::Close { peer: key, reason });
            return;
        }
        peer.useful = self.picker.useful(&peer.have);
        self.peers.insert(key, peer);
        self.web_seeds += 1;
        self.fill(now, key, out);
    }

    /// Connections to peers, web seeds apart.
    pub(super) fn connections(&self) -> usize {
        self.peers.len() - self.web_seeds
    }
}

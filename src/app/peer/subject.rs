//! What trackers and others who find peers are told about, and tell of peers.

use std::net::SocketAddr;

use crate::base::id::{InfoHash, PeerId};
use crate::core::swarm::event::{Source, Stats};

use super::clock::Clock;
use super::torrent::Torrent;

/// What is announced: a torrent, or what wants to become one.
pub trait Subject: Send + Sync {
    /// Its name in the protocol.
    fn info_hash(&self) -> InfoHash;
    /// Our name for this run.
    fn us(&self) -> PeerId;
    /// The one clock.
    fn clock(&self) -> Clock;
    /// Totals.
    fn stats(&self) -> Stats;
    /// Others see us at `addr`.
    fn seen_at(&self, addr: SocketAddr);
    /// Tells of peers that may be dialled.
    fn discovered(&self, addrs: &[SocketAddr], source: Source);
}

impl Subject for Torrent {
    fn info_hash(&self) -> InfoHash {
        self.info_hash()
    }

    fn us(&self) -> PeerId {
        self.setting.us
    }

    fn clock(&self) -> Clock {
        self.setting.clock
    }

    fn stats(&self) -> Stats {
        self.stats()
    }

    fn seen_at(&self, addr: SocketAddr) {
        self.seen_at(addr);
    }

    fn discovered(&self, addrs: &[SocketAddr], source: Source) {
        self.discovered(addrs, source);
    }
}

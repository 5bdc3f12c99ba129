//! What is to happen, in the order of its time.

use std::cmp::Ordering;
use std::net::SocketAddr;

use hivebt::base::geometry::PieceIndex;
use hivebt::base::time::Time;

use super::Host;
use super::links::Wire;

#[derive(Debug)]
pub(super) enum Happening {
    Join(Host),
    Leave(Host),
    Tick(Host),
    Uplink(usize),
    Arrival { conn: u64, to: usize, wire: Wire },
    Up { conn: u64 },
    NoAnswer(Host, SocketAddr),
    Down { conn: u64, to: usize },
    Hashed(Host, u64, PieceIndex, Vec<u64>),
}

/// A happening to come. The earliest is the greatest; of two at the same time, the one that was foreseen first.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) at: Time,
    pub(super) seq: u64,
    pub(super) what: Happening,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

//! How large datagrams are.
//!
//! A packet keeps its number for good, and with it its length: whoever cut it again might be talking to somebody who has got it already. So on a path that
//! swallows large datagrams (a tunnel in the way, and a firewall that drops the routers' word of it: RFC 2923) everything would stand still behind the
//! first one. Therefore the first one of a size travels with nothing behind it. If it does not arrive, the other side is asked by a small packet
//! what it has; once it says that it does not have the large one, that one is taken back and cut smaller.

use crate::proto::utp::HEADER;

/// Datagrams of full size: they fit into Ethernet's 1,500 bytes, and the 1,420 to 1,460 that tunnels and clouds leave of them, in most cases; into the 1,280
/// that IPv6 promises; into the 576 that any host takes (RFC 1122).
const SIZES: [usize; 3] = [1400, 1280 - 48, 576 - 28];

/// After so many timeouts of a packet larger than any that has arrived, its size is in doubt.
const DOUBTS: u32 = 2;

/// See the module. All sizes are those of payloads.
#[derive(Clone, Debug)]
pub(super) struct PacketSize {
    choice: usize,
    proven: usize,
}

impl PacketSize {
    pub(super) const fn new() -> Self {
        Self {
            choice: 0,
            proven: SIZES[SIZES.len() - 1] - HEADER,
        }
    }

    /// Bytes of a full packet.
    pub(super) const fn full(&self) -> usize {
        SIZES[self.choice] - HEADER
    }

    /// Bytes of the largest that is known to get through.
    pub(super) const fn proven(&self) -> usize {
        self.proven
    }

    /// One of that many bytes has arrived.
    pub(super) fn arrived(&mut self, bytes: usize) {
        self.proven = self.proven.max(bytes);
    }

    /// Whether a packet of `bytes` that has timed out so often may be too large.
    pub(super) const fn doubts(&self, bytes: usize, timeouts: u32) -> bool {
        bytes > self.proven && timeouts >= DOUBTS && timeouts.is_multiple_of(2)
    }

    /// One of full size did not get through.
    pub(super) fn shrink(&mut self) {
        self.choice = (self.choice + 1).min(SIZES.len() - 1);
    }
}

//! The tracker: who shares what, and whom to tell about whom.
//!
//! A [`Shard`] holds the swarms of some of the info-hashes; [`shard_of`] says which. Each is a plain value that its owner locks as it likes, so that a busy
//! swarm holds up only its neighbours. Carriers (HTTP now, datagrams with the same types) turn bytes into an
//! [`AnnounceRequest`](crate::proto::tracker::AnnounceRequest) and a source address, and the reply into bytes.
//!
//! What a stranger can make it remember is bounded by [`Config`]: where a new peer finds no room, a swarm without seeders has to go, and if there is
//! none the peer is refused. Swarms with seeders survive.

mod access;
mod connection;
mod interval;
mod record;
mod select;
mod store;
mod swarm;
mod table;

pub use access::{Access, BadList};
pub use connection::ConnectionIds;
pub use store::{Config, Shard, SwarmView, Totals};

use crate::base::id::InfoHash;

/// Which of `shards` an info-hash belongs to. `secret` keeps strangers from crowding into one.
#[must_use]
pub fn shard_of(hash: InfoHash, secret: u64, shards: usize) -> usize {
    let high = table::mix(secret, &hash.0) >> 32;
    usize::try_from(high).unwrap_or(0) % shards.max(1)
}

//! The tracker: who shares what, and whom to tell about whom.
//!
//! A [`Shard`] holds the swarms of some of the info-hashes; [`shard_of`] says which. Each is a plain value that its owner locks as it likes, so that a busy
//! swarm holds up only its neighbours. Carriers (HTTP now, datagrams with the same types) turn bytes into an
//! [`AnnounceRequest`](crate::proto::tracker::AnnounceRequest) and a source address, and the reply into bytes.
//!
//! What a stranger can make it remember is bounded by the [`Commons`] of all shards: one address may have so many peers, all together take so many
//! bytes. Where a new peer finds no room, a swarm has to go that is one source's alone or has no seeders; if there is none the peer is refused.

mod access;
mod accounts;
mod book;
mod commons;
mod connection;
mod evict;
mod interval;
mod pace;
mod policy;
mod pool;
mod record;
mod rings;
mod segments;
mod select;
mod store;
mod swarm;
mod table;
mod view;
mod zones;

pub use access::{Access, BadList};
pub use accounts::{Account, Accounts, Rule, UserId, Visitor};
pub use book::Book;
pub use commons::{Commons, Limits};
pub use connection::ConnectionIds;
pub use policy::Policy;
pub use store::{Config, Shard, Sizes, Totals};
pub use view::{PeerView, SwarmView};
pub use zones::{BadZone, BadZones, Zones};

use crate::base::id::InfoHash;

/// Which of `shards` an info-hash belongs to. `secret` keeps strangers from crowding into one.
#[must_use]
pub fn shard_of(hash: InfoHash, secret: u64, shards: usize) -> usize {
    let high = table::mix(secret, &hash.0) >> 32;
    usize::try_from(high).unwrap_or(0) % shards.max(1)
}

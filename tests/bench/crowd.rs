//! The peers that a load of announces is made of: so many swarms of the same size, always the same.

use hivebt::base::id::{InfoHash, PeerId};
use hivebt::proto::tracker::AnnounceRequest;

/// Swarms.
pub const SWARMS: u32 = 1000;

/// Peers in each of them, a quarter of them seeders.
pub const PEERS: u32 = 100;

/// Peers that are asked for.
pub const WANTED: u32 = 50;

/// The info-hash of a swarm; none of its bytes could be misread.
pub fn hash(swarm: u32) -> InfoHash {
    let mut hash = [0x11; 20];
    hash[16..].copy_from_slice(&(0x1111_1111 + swarm).to_be_bytes());
    InfoHash(hash)
}

/// The info-hashes of all swarms, in hexadecimal digits.
pub fn hashes() -> Vec<String> {
    (0..SWARMS).map(|swarm| hash(swarm).to_string()).collect()
}

/// The announce of a peer, counted over all swarms.
pub fn announce(peer: u32) -> AnnounceRequest {
    let (swarm, n) = (peer / PEERS, peer % PEERS);
    let mut id = *b"-XX0001-000000000000";
    id[12..].copy_from_slice(format!("{peer:08x}").as_bytes());
    // Trackers that know peers by address and port see them as different ones.
    let port = 1024 + u16::try_from(n).expect("a small number");
    AnnounceRequest {
        left: Some(if n % 4 == 0 { 0 } else { 1_000_000 }),
        numwant: Some(WANTED),
        key: Some(peer),
        ..AnnounceRequest::new(hash(swarm), PeerId(id), port)
    }
}

/// The part of all peers that belongs to client `n` of `clients`.
pub fn share(n: u32, clients: u32) -> std::ops::Range<u32> {
    let all = SWARMS * PEERS;
    all / clients * n..all / clients * (n + 1)
}

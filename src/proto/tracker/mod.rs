//! What is said between a peer and a tracker, whatever carries it (BEP 3, 7, 15, 23, 24, 31, 48). Shared by client and server.

pub mod http;
pub mod udp;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::base::id::{InfoHash, PeerId};

/// Most addresses that are read from one reply; what lies beyond is ignored.
pub const MAX_PEERS: usize = 10_000;

/// Most info-hashes in one scrape; as many as fit a packet of BEP 15.
pub const MAX_SCRAPE: usize = 74;

/// What a peer sends as `left` while it does not know the size of the payload. Nobody lacks that much.
const LEFT_UNKNOWN: u64 = i64::MAX.unsigned_abs();

/// Most characters that are kept of a text from a tracker.
const MAX_TEXT: usize = 500;

/// Text from a tracker for people: no control characters, since it ends up on a terminal, and not too much of it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_TEXT)
        .collect()
}

/// Why a peer announces itself (BEP 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Event {
    /// Nothing happened; it is time again.
    #[default]
    None,
    /// The first announce.
    Started,
    /// The last announce.
    Stopped,
    /// The payload has just become complete.
    Completed,
}

/// A peer's report about itself, and its wish for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Who announces; the same throughout a run of its program.
    pub peer_id: PeerId,
    /// TCP port at which the peer listens; 0 if it does not.
    pub port: u16,
    /// Payload bytes sent since `started`.
    pub uploaded: u64,
    /// Payload bytes received since `started`.
    pub downloaded: u64,
    /// Payload bytes that the peer still wants; `None` before it knows (a magnet link without metadata).
    pub left: Option<u64>,
    /// Why now.
    pub event: Event,
    /// How many addresses are wanted; `None` leaves it to the tracker.
    pub numwant: Option<u32>,
    /// Proves that a peer whose address changed is still the same one.
    pub key: Option<u32>,
    /// Over HTTP: whether compact addresses are wanted (BEP 23). `None` leaves it to the tracker, which prefers them.
    pub compact: Option<bool>,
    /// Over HTTP, in the form that is not compact: whether peer ids may be left out.
    pub no_peer_id: bool,
    /// The address that the peer says it has. Nobody has to believe it.
    pub ip: Option<IpAddr>,
    /// What the tracker gave as `tracker id` earlier.
    pub tracker_id: Option<Vec<u8>>,
}

impl AnnounceRequest {
    /// A plain announce: nothing moved yet, nothing known about the payload.
    #[must_use]
    pub const fn new(info_hash: InfoHash, peer_id: PeerId, port: u16) -> Self {
        Self {
            info_hash,
            peer_id,
            port,
            uploaded: 0,
            downloaded: 0,
            left: None,
            event: Event::None,
            numwant: None,
            key: None,
            compact: None,
            no_peer_id: false,
            ip: None,
            tracker_id: None,
        }
    }
}

/// What a tracker answers to an announce that it accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnounceReply {
    /// Seconds to wait before the next announce.
    pub interval: u32,
    /// Seconds that have to pass before the next announce, whatever happens.
    pub min_interval: Option<u32>,
    /// Number of seeders.
    pub complete: Option<u32>,
    /// Number of leechers.
    pub incomplete: Option<u32>,
    /// How many peers have completed their download so far.
    pub downloaded: Option<u32>,
    /// Other peers, IPv4 and IPv6.
    pub peers: Vec<SocketAddr>,
    /// Their ids in the same order, or nothing: compact replies have none.
    pub peer_ids: Vec<PeerId>,
    /// A word to the operator of the peer.
    pub warning: Option<String>,
    /// To be sent back with the next announce.
    pub tracker_id: Option<Vec<u8>>,
    /// The address from which the tracker saw the announce come (BEP 24).
    pub external_ip: Option<IpAddr>,
}

/// When a refused peer may ask again (BEP 31).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// The tracker does not say.
    #[default]
    Unsaid,
    /// After so many minutes.
    Minutes(u32),
    /// Never: the answer will not change.
    Never,
}

/// A tracker's no, with the reason for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: String,
    /// When to ask again.
    pub retry: Retry,
}

impl Refusal {
    /// A refusal that says nothing about later.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retry: Retry::Unsaid,
        }
    }

    /// A refusal for good: the same request will be refused again.
    pub fn never(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retry: Retry::Never,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The numbers of one swarm (BEP 48).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwarmStats {
    /// Number of seeders.
    pub complete: u32,
    /// How many peers have completed their download so far.
    pub downloaded: u32,
    /// Number of leechers.
    pub incomplete: u32,
}

/// Why a reply tells nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// The tracker refused.
    Refused(Refusal),
    /// The bytes are not a tracker's reply; the text says what is wrong.
    Malformed(String),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the tracker says: {refusal}"),
            Self::Malformed(what) => write!(f, "the tracker's reply makes no sense: {what}"),
        }
    }
}

impl std::error::Error for ReplyError {}

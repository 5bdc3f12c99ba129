//! What the shell tells the swarm and what the swarm tells the shell.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::geometry::PieceIndex;
use crate::base::id::PeerId;
use crate::proto::peer::message::Message;

/// A connection. The shell numbers them and never uses a number twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub u64);

/// Where an address was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A tracker's reply.
    Tracker,
    /// The operator (`--peer`, `x.pe` of a magnet link).
    Operator,
    /// Another peer (BEP 11) or the local network (BEP 14).
    Gossip,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A connection is up and both handshakes are exchanged.
    Connected {
        /// Its number from now on.
        peer: PeerKey,
        /// Who it says it is.
        id: PeerId,
        /// The far end; for a connection that we dialled, the address that we dialled.
        addr: SocketAddr,
        /// Whether we dialled.
        outgoing: bool,
        /// Both sides speak the fast extension (BEP 6).
        fast: bool,
        /// uTP carries it (BEP 29).
        utp: bool,
    },
    /// An HTTP server that has the payload (BEP 19) may be asked. It is sent nothing but `request` and `cancel`, and has to answer each
    /// request by its block or a `reject`.
    WebSeed {
        /// Its number from now on.
        peer: PeerKey,
        /// Which of the torrent's web seeds it is, see [`super::number_of`].
        number: u16,
        /// It can only be read from its start to its end, so that pieces have to be asked for in their order.
        in_order: bool,
    },
    /// An address that we were asked to dial did not lead to a connection.
    DialFailed {
        /// The address.
        addr: SocketAddr,
    },
    /// A connection has ended, for whatever reason; also after [`Action::Close`].
    Disconnected {
        /// Which.
        peer: PeerKey,
    },
    /// A message has come, `piece` apart. Extended messages come here too; those that the swarm has no use for are ignored.
    Message {
        /// From whom.
        peer: PeerKey,
        /// What it says.
        message: Message<'a>,
    },
    /// The hash of a piece has been compared, and a good piece has been written.
    Verified {
        /// The piece.
        piece: PieceIndex,
        /// Whether it is what the torrent says.
        good: bool,
        /// A sum for each of its blocks: always if it is bad; if it is good, where [`super::Swarm::wants_sums`] says so; else nothing.
        /// Equal blocks have equal sums, and nobody outside can make different ones that do.
        sums: &'a [u64],
    },
    /// Addresses of peers have been found.
    Discovered {
        /// Where to dial.
        addrs: &'a [SocketAddr],
        /// Who told us.
        source: Source,
    },
    /// Nothing but the passing of time; due at the swarm's deadline.
    Tick,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put this message into the peer's outbox.
    Send {
        /// To whom.
        peer: PeerKey,
        /// What.
        message: Message<'static>,
    },
    /// Blocks wait to be sent: the peer's writer may call for them as soon as it is idle.
    Serve {
        /// To whom.
        peer: PeerKey,
    },
    /// All blocks of this piece are here: hash it, write it if it is good, and say [`Event::Verified`].
    Verify(PieceIndex),
    /// Drop the blocks of this piece that have come so far: they will be fetched again, from somebody else.
    Forget(PieceIndex),
    /// Connect to this address and shake hands, then say [`Event::Connected`] or [`Event::DialFailed`].
    Dial(SocketAddr),
    /// End this connection, then say [`Event::Disconnected`].
    Close {
        /// Which.
        peer: PeerKey,
        /// Why, for the log.
        reason: Close,
    },
    /// Tell the operator: this peer has certainly sent data that does not match the torrent.
    Blame {
        /// The peer; it may have gone meanwhile.
        addr: SocketAddr,
        /// The piece that was bad.
        piece: PieceIndex,
        /// What is done about it.
        penalty: Penalty,
    },
    /// Say that we want no pieces (BEP 21), in the introduction if that is still to come.
    UploadOnly {
        /// To whom.
        peer: PeerKey,
    },
    /// Every piece that is wanted is here and verified. Said once.
    Complete,
}

/// What becomes of a peer that has sent bad data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalty {
    /// It is banned for good.
    Banned,
    /// It is banned for so long: nobody else has all that we lack.
    BannedFor(Duration),
    /// It stays, for it has sent much that was good, and nobody else has this piece, which it is asked for again after so long.
    Spared(Duration),
}

impl fmt::Display for Penalty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Banned => f.write_str("banned"),
            Self::BannedFor(span) => {
                let s = span.as_secs();
                write!(
                    f,
                    "banned for {s} s only, nobody else has all that is missing"
                )
            }
            Self::Spared(span) => {
                let s = span.as_secs();
                write!(f, "nobody else has it, so it is asked again in {s} s")
            }
        }
    }
}

/// Why we end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// It is ourselves.
    Ourselves,
    /// We are connected to this peer already.
    Duplicate,
    /// There are connections enough.
    Full,
    /// There are connections enough, and of those more from its host than from another's.
    Crowded,
    /// There are connections enough, and another one is of a higher priority (BEP 40).
    Outranked,
    /// Both sides have everything.
    BothComplete,
    /// It sent data that does not match the torrent.
    BadData,
    /// It broke the protocol.
    Protocol,
    /// It has said nothing for too long.
    Silent,
    /// It was found to be of no use and another peer waits for its place.
    Useless,
    /// We stop.
    Stopping,
}

impl Close {
    /// Whether the peer has brought it upon itself.
    #[must_use]
    pub const fn is_its_fault(self) -> bool {
        matches!(self, Self::BadData | Self::Protocol | Self::Silent)
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ourselves => "it is ourselves",
            Self::Duplicate => "we are connected already",
            Self::Full => "there are connections enough",
            Self::Crowded => "too many of its host are connected",
            Self::Outranked => "another one comes first",
            Self::BothComplete => "both have everything",
            Self::BadData => "it sent data that does not match the torrent",
            Self::Protocol => "it broke the protocol",
            Self::Silent => "it was silent for too long",
            Self::Useless => "another one is of more use",
            Self::Stopping => "we are stopping",
        })
    }
}

/// What becomes of a block that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is wanted: keep it for its piece.
    Keep,
    /// We have it already, or never asked for it.
    Discard,
}

/// What the operator chose. Everything else tunes itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// Connections at most.
    pub max_peers: usize,
    /// Peers served at once; `None` lets it follow what the link can carry.
    pub upload_slots: Option<usize>,
    /// How long a request may stay unanswered.
    pub request_timeout: Duration,
    /// Fetch pieces in order rather than rarest first.
    pub sequential: bool,
    /// Bytes of complete pieces that may wait for their hash; beyond this, fewer blocks are asked for.
    pub max_unverified: u64,
    /// Tell peers of each other (BEP 11), and dial those that they tell of.
    pub pex: bool,
    /// While we are the only seed, show each piece to one peer at a time. Off: behave as an ordinary seed from the start.
    pub assign: bool,
    /// The same as BEP 16 has it: a peer is shown the next piece only once somebody else has the one before. Nothing without `assign`.
    pub super_seed: bool,
}

impl Default for Config {
    /// 200 connections, self-tuned upload slots, 30 s for a request, 64 MiB unverified.
    fn default() -> Self {
        Self {
            max_peers: 200,
            upload_slots: None,
            request_timeout: Duration::from_secs(30),
            sequential: false,
            max_unverified: 64 << 20,
            pex: false,
            assign: true,
            super_seed: false,
        }
    }
}

/// Totals and rates of a swarm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Payload bytes sent since the start.
    pub uploaded: u64,
    /// Payload bytes received since the start, those discarded or bad included.
    pub downloaded: u64,
    /// Payload bytes received that were of no use.
    pub wasted: u64,
    /// Bytes a second sent of late.
    pub upload_rate: u64,
    /// Bytes a second received of late.
    pub download_rate: u64,
    /// Connections to peers.
    pub peers: usize,
    /// Connections to peers that have everything.
    pub seeds: usize,
    /// Web seeds that may be asked.
    pub web_seeds: usize,
    /// Peers that were seen to have everything, those that have gone included.
    pub finished: usize,
    /// Pieces verified.
    pub have: u32,
    /// Payload bytes in wanted pieces that are not verified yet.
    pub left: u64,
}

/// One connection, for the operator.
#[derive(Clone, Debug)]
pub struct PeerStats {
    /// Which.
    pub peer: PeerKey,
    /// The far end; for a web seed, see [`super::number_of`].
    pub addr: SocketAddr,
    /// Who it says it is.
    pub id: PeerId,
    /// uTP carries the connection (BEP 29).
    pub utp: bool,
    /// Name and version of its program, as it says; empty if it does not.
    pub client: String,
    /// Pieces that it has.
    pub have: u32,
    /// Payload bytes sent to it.
    pub uploaded: u64,
    /// Payload bytes received from it.
    pub downloaded: u64,
    /// Bytes a second sent of late.
    pub upload_rate: u64,
    /// Bytes a second received of late.
    pub download_rate: u64,
    /// We do not serve it.
    pub am_choking: bool,
    /// We want something that it has.
    pub am_interested: bool,
    /// It does not serve us.
    pub peer_choking: bool,
    /// It wants something that we have.
    pub peer_interested: bool,
}

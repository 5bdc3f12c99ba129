//! What we know of one connected peer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::bitfield::Bitfield;
use crate::base::geometry::{Block, PieceIndex};
use crate::base::id::PeerId;
use crate::base::time::Time;
use crate::core::rate::Meter;

use super::assign::Assignment;
use super::event::PeerKey;
use super::fast::Allowed;
use super::metadata::Serving;
use super::pex::Exchange;
use super::pipeline::Pipeline;
use super::standing::Standing;
use super::trace::Who;
use super::uplink::Writer;
use super::web_seed::WebSeed;

/// A block that we asked a peer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) piece: PieceIndex,
    /// Which block of the piece.
    pub(super) n: u32,
    /// When.
    pub(super) at: Time,
    /// Nothing else was owed then.
    pub(super) alone: bool,
    /// It was asked not to send it, so that this peer can, and has not answered yet.
    pub(super) recalled_for: Option<PeerKey>,
}

/// Bytes in one direction.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    pub(super) total: u64,
    pub(super) meter: Meter,
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self {
            total: 0,
            meter: Meter::new(Meter::SHOWN),
        }
    }

    pub(super) fn add(&mut self, now: Time, bytes: u64) {
        self.total += bytes;
        self.meter.add(now, bytes);
    }
}

/// What a peer has done towards being dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Blocks that nobody asked for.
    pub(super) strays: u32,
    /// Blocks that may still come though we do not wait for them any more: cancelled, overdue or choked.
    pub(super) excused: u32,
    /// Bad pieces that it alone has sent.
    pub(super) bad: u32,
    /// Requests that it had no right to, since it was last unchoked.
    pub(super) refused: u32,
}

/// Our side of the upload to a peer.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    /// What it asked for and we have not sent, oldest first.
    pub(super) queue: VecDeque<Block>,
    /// Who sends that.
    pub(super) writer: Writer,
    pub(super) traffic: Traffic,
    /// When its turn began, while we serve it.
    pub(super) turn_began: Time,
    /// Blocks sent in this turn.
    pub(super) turn_blocks: u32,
    /// Since when it has asked for nothing, in this turn.
    pub(super) idle_since: Option<Time>,
    /// Since when it has been waiting for a turn.
    pub(super) waiting_since: Time,
    /// From being served, or shown a piece, to its first request, the shortest so far: a way there and back.
    pub(super) delay: Option<Duration>,
    /// When it was last given reason to ask for something, and has not yet.
    pub(super) called: Option<Time>,
    /// Its turn is the optimistic one.
    pub(super) optimistic: bool,
    /// What an origin has shown to it and not yet sent.
    pub(super) assigned: Vec<Assignment>,
    pub(super) last_assigned: Option<Time>,
    /// It was shown a piece and did not want it. It is shown no more before it wants something.
    pub(super) aloof: bool,
    /// Whether what it is shown can be left to it.
    pub(super) standing: Standing,
}

impl Upload {
    /// The peer is served from now on.
    pub(super) fn begin_turn(&mut self, now: Time) {
        self.turn_began = now;
        self.turn_blocks = 0;
        self.idle_since = self.queue.is_empty().then_some(now);
    }

    /// The peer was served or shown a piece, and has every reason to ask for something at once.
    pub(super) fn call(&mut self, now: Time) {
        self.called = self.queue.is_empty().then_some(now);
    }

    /// The peer has asked for something; its answer to [`Upload::call`] tells how far away it is.
    pub(super) fn woke(&mut self, now: Time) {
        self.idle_since = None;
        if let Some(called) = self.called.take() {
            let took = now.since(called);
            self.delay = Some(self.delay.map_or(took, |delay| delay.min(took)));
        }
    }
}

/// Our side of the download from a peer.
#[derive(Clone, Debug)]
pub(super) struct Download {
    /// What it owes us, oldest first.
    pub(super) owed: VecDeque<Asked>,
    /// When blocks were last called back from others for it.
    pub(super) recalled: Option<Time>,
    pub(super) pipeline: Pipeline,
    pub(super) traffic: Traffic,
    /// When its last block came; at first, when the connection began.
    pub(super) last_block: Time,
    /// It let a request go overdue and has sent nothing since.
    pub(super) snubbed: bool,
    /// Good pieces that it took part in.
    pub(super) good: u32,
    /// The picker's epoch in which it had nothing for us; 0 if it may have.
    pub(super) dry: u64,
    /// What we may ask it for though it chokes us.
    pub(super) allowed: Allowed,
    /// It has rejected a request: when it is asked again, should nobody else have been.
    pub(super) again: Option<Time>,
}

/// One connected peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    /// Name and version of its program, as it says; empty if it does not.
    pub(super) client: String,
    pub(super) addr: SocketAddr,
    /// Where it listens, as far as we know.
    pub(super) listen: Option<SocketAddr>,
    pub(super) outgoing: bool,
    /// uTP carries the connection.
    pub(super) utp: bool,
    /// It is no peer but an HTTP server.
    pub(super) web_seed: Option<WebSeed>,
    /// Both sides speak BEP 6.
    pub(super) fast: bool,
    pub(super) since: Time,
    /// Its last message.
    pub(super) heard: Time,
    /// Our last message to it.
    pub(super) spoke: Time,

    /// What it has.
    pub(super) have: Bitfield,
    /// It had everything when it came: its pieces are not counted one by one.
    pub(super) uncounted: bool,
    /// It has said what it has: a second bitfield would break the protocol.
    pub(super) introduced: bool,
    /// When it last announced a piece; at first, when the connection began.
    pub(super) announced: Time,
    /// It wants no pieces (BEP 21).
    pub(super) upload_only: bool,
    /// Pieces that it has, and we want and lack.
    pub(super) useful: u32,
    /// The pieces that it knows we have, while we keep others to ourselves; `None` if it knows of all.
    pub(super) shown: Option<Bitfield>,
    /// After so many more pieces of its own it is told of more of ours.
    pub(super) reveal_in: u32,

    pub(super) am_choking: bool,
    pub(super) am_interested: bool,
    pub(super) peer_choking: bool,
    pub(super) peer_interested: bool,

    pub(super) upload: Upload,
    pub(super) download: Download,
    pub(super) faults: Faults,
    pub(super) metadata: Serving,
    pub(super) pex: Exchange,
}

impl Peer {
    /// A peer that has just connected: choked and not interested on both sides, with nothing (BEP 3).
    pub(super) fn new(
        id: PeerId,
        addr: SocketAddr,
        outgoing: bool,
        fast: bool,
        pieces: u32,
        now: Time,
    ) -> Self {
        Self {
            id,
            client: String::new(),
            addr,
            listen: outgoing.then_some(addr),
            outgoing,
            utp: false,
            web_seed: None,
            fast,
            since: now,
            heard: now,
            spoke: now,
            have: Bitfield::none(pieces),
            uncounted: false,
            introduced: false,
            announced: now,
            upload_only: false,
            useful: 0,
            shown: None,
            reveal_in: 0,
            am_choking: true,
            am_interested: false,
            peer_choking: true,
            peer_interested: false,
            upload: Upload {
                queue: VecDeque::new(),
                writer: Writer::Idle,
                traffic: Traffic::new(),
                turn_began: now,
                turn_blocks: 0,
                idle_since: None,
                waiting_since: now,
                delay: None,
                called: None,
                optimistic: false,
                assigned: Vec::new(),
                last_assigned: None,
                aloof: false,
                standing: Standing::default(),
            },
            download: Download {
                owed: VecDeque::new(),
                recalled: None,
                pipeline: Pipeline::new(),
                traffic: Traffic::new(),
                last_block: now,
                snubbed: false,
                good: 0,
                dry: 0,
                allowed: Allowed::default(),
                again: None,
            },
            faults: Faults::default(),
            metadata: Serving::default(),
            pex: Exchange::default(),
        }
    }

    /// Who it is, beyond this connection.
    pub(super) fn who(&self) -> Who {
        (self.addr.ip(), self.id)
    }

    /// Whether it has every piece.
    pub(super) fn is_seed(&self) -> bool {
        self.have.is_full()
    }

    /// What we may ask it for, as far as it has that; `None` for nothing.
    pub(super) const fn on_offer(&self) -> Option<&Bitfield> {
        if self.peer_choking {
            self.download.allowed.open()
        } else {
            Some(&self.have)
        }
    }

    /// Whether it waits for us to serve it.
    pub(super) const fn waits(&self) -> bool {
        self.am_choking && self.peer_interested
    }

    /// Takes a block out of what it owes. `None` if it does not owe it.
    pub(super) fn settle(&mut self, piece: PieceIndex, n: u32) -> Option<Asked> {
        let at = self
            .download
            .owed
            .iter()
            .position(|a| (a.piece, a.n) == (piece, n))?;
        self.download.owed.remove(at)
    }
}

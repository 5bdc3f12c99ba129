//! The rules of a swarm as sentences. Whole swarms run in `tests/sim`.

mod blame;
mod chaos;
mod connections;
mod downloads;
mod fast;
mod gossip;
mod limited;
mod shown;
mod uploads;
mod web_seeds;

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::bitfield::Bitfield;
use crate::base::geometry::{BLOCK, Block, Geometry, PieceIndex};
use crate::base::id::PeerId;
use crate::base::time::Time;
use crate::proto::peer::message::Message;

use super::Swarm;
use super::event::{Action, Close, Config, Event, PeerKey, Penalty, Source, Verdict};

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

/// A swarm, its time, and what it did last.
struct Bench {
    swarm: Swarm,
    now: Time,
    did: Vec<Action>,
}

/// A set drawn as text: `x` has the piece, anything else not.
fn set(drawn: &str) -> Bitfield {
    let mut set = Bitfield::none(u32::try_from(drawn.len()).unwrap());
    for (n, _) in drawn.match_indices('x') {
        set.set(PieceIndex(u32::try_from(n).unwrap()));
    }
    set
}

fn addr(n: u64) -> SocketAddr {
    ([10, 0, 0, u8::try_from(n).unwrap()], 6881).into()
}

fn id(n: u64) -> PeerId {
    PeerId([u8::try_from(n).unwrap(); 20])
}

const US: u64 = 100;

impl Bench {
    /// We have the pieces drawn; each has two blocks.
    fn new(have: &str) -> Self {
        Self::with(have, Config::default())
    }

    fn with(have: &str, config: Config) -> Self {
        let total = u64::from(BLOCK) * 2 * have.len() as u64;
        let geometry = Geometry::new(total, 2 * BLOCK).unwrap();
        let now = Time::from_secs(1000);
        let swarm = Swarm::new(config, id(US), geometry, set(have), None, 1, now);
        Self {
            swarm,
            now,
            did: Vec::new(),
        }
    }

    fn tell(&mut self, event: Event<'_>) {
        self.did.clear();
        self.swarm.handle(self.now, event, &mut self.did);
    }

    fn connect(&mut self, n: u64, outgoing: bool, fast: bool) {
        self.tell(Event::Connected {
            peer: PeerKey(n),
            id: id(n),
            addr: addr(n),
            outgoing,
            fast,
            utp: false,
        });
    }

    fn says(&mut self, n: u64, message: Message<'_>) {
        self.tell(Event::Message {
            peer: PeerKey(n),
            message,
        });
    }

    /// An incoming peer without BEP 6 that has the pieces drawn.
    fn peer(&mut self, n: u64, has: &str) {
        self.connect(n, false, false);
        if has.contains('x') {
            self.says(n, Message::Bitfield(set(has)));
        }
    }

    /// The same, and it serves us.
    fn server(&mut self, n: u64, has: &str) {
        self.peer(n, has);
        self.says(n, Message::Unchoke);
    }

    /// Lets time pass, with every tick that the swarm asks for.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        let mut did = Vec::new();
        while let Some(at) = self.swarm.deadline().filter(|&at| at <= end) {
            self.now = at;
            self.tell(Event::Tick);
            did.append(&mut self.did);
        }
        self.now = end;
        self.did = did;
    }

    fn block(&mut self, n: u64, block: Block) -> Verdict {
        self.did.clear();
        self.swarm
            .block_arrived(self.now, PeerKey(n), block, &mut self.did)
    }

    fn verified(&mut self, piece: u32, good: bool) {
        self.summed(piece, good, &[]);
    }

    fn summed(&mut self, piece: u32, good: bool, sums: &[u64]) {
        self.tell(Event::Verified {
            piece: PieceIndex(piece),
            good,
            sums,
        });
    }

    fn uploads(&mut self, n: u64, max_bytes: u32) -> Vec<Block> {
        self.did.clear();
        let mut blocks = Vec::new();
        self.swarm
            .next_uploads(self.now, PeerKey(n), max_bytes, &mut blocks, &mut self.did);
        blocks
    }

    /// What was said to a peer.
    fn said(&self, n: u64) -> Vec<&Message<'static>> {
        let to = self.did.iter().filter_map(|a| match a {
            Action::Send { peer, message } if *peer == PeerKey(n) => Some(message),
            _ => None,
        });
        to.collect()
    }

    /// The blocks that a peer was asked for.
    fn asked(&self, n: u64) -> Vec<Block> {
        let requests = self.said(n).into_iter().filter_map(|m| match m {
            Message::Request(block) => Some(*block),
            _ => None,
        });
        requests.collect()
    }

    fn closed(&self) -> Vec<(u64, Close)> {
        let closed = self.did.iter().filter_map(|a| match a {
            Action::Close { peer, reason } => Some((peer.0, *reason)),
            _ => None,
        });
        closed.collect()
    }

    /// Who was said to have sent bad data, and what becomes of it.
    fn blamed(&self) -> Vec<(SocketAddr, Penalty)> {
        let blamed = self.did.iter().filter_map(|a| match a {
            Action::Blame { addr, penalty, .. } => Some((*addr, *penalty)),
            _ => None,
        });
        blamed.collect()
    }

    fn dialled(&self) -> Vec<SocketAddr> {
        let dials = self.did.iter().filter_map(|a| match a {
            Action::Dial(addr) => Some(*addr),
            _ => None,
        });
        dials.collect()
    }

    fn discover(&mut self, addrs: &[SocketAddr]) {
        self.tell(Event::Discovered {
            addrs,
            source: Source::Tracker,
        });
    }

    fn peers(&self) -> Vec<u64> {
        self.swarm.peers(self.now).map(|p| p.peer.0).collect()
    }

    fn choking(&self, n: u64) -> bool {
        self.swarm
            .peers(self.now)
            .any(|p| p.peer == PeerKey(n) && p.am_choking)
    }
}

fn block(piece: u32, n: u32) -> Block {
    Block {
        piece: PieceIndex(piece),
        begin: n * BLOCK,
        len: BLOCK,
    }
}

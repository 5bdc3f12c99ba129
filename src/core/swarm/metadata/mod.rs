//! The metadata of a magnet link (BEP 9): whom to ask for which part of the `info` dictionary, and whom to believe.
//!
//! Only the whole can be verified, so whoever sends a bad part can hide among those who send good ones. At first, the parts come from all
//! peers that claim the same size, so that it goes fast. If the result is wrong and a single peer has sent all of it, that peer lies and
//! is banned. If several have, then from now on everybody is asked for a whole copy of its own, several side by side: a wrong one has one
//! author. Peers that claim another size than the common copy has are asked for copies of their own from the start. So a liar costs a
//! copy, and one honest peer is enough.
//!
//! Memory: parts are kept as they come, the common copy is at most [`metadata::MAX_SIZE`], and copies of single peers take turns once
//! they claim more than twice that together.

mod copy;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::id::{InfoHash, PeerId};
use crate::base::time::Time;
use crate::proto::peer::extended::{ExtendedHandshake, HANDSHAKE_ID, UT_METADATA};
use crate::proto::peer::message::Message;
use crate::proto::peer::metadata::{self, MetadataMessage};

use super::event::{Action, Close, Event, PeerKey, Source};
use super::roster::Roster;
use copy::Copy;

pub(super) use serve::Serving;

/// Connections at most. A handful is enough; the others are in case those lie or have nothing.
const MAX_PEERS: usize = 32;
/// Parts that a peer is asked for at once. Some clients answer no more than a few.
const PIPELINE: usize = 4;
/// Bytes that copies of single peers may claim together; one is always allowed.
const BUDGET: u64 = 2 * metadata::MAX_SIZE as u64;
/// How long a copy of a single peer may take while others wait for their turn.
const TURN: Duration = Duration::from_secs(60);
/// A part of the common copy that has been awaited for this long is asked of another peer, too.
const OVERDUE: Duration = Duration::from_secs(4);
/// A request that is not answered in this time counts as refused.
const TIMEOUT: Duration = Duration::from_secs(15);
/// A peer that has refused is not asked again for this long.
const REST: Duration = Duration::from_secs(20);
/// A peer that does not introduce itself (BEP 10) in this time is of no use.
const INTRODUCTION: Duration = Duration::from_secs(20);
/// A peer that has no metadata itself is kept for this long: it may get it, but it will not tell.
const HOPE: Duration = Duration::from_secs(120);
/// Refusals in a row before a peer is let go.
const MAX_REFUSALS: u32 = 5;
/// Parts that nobody asked for, before a peer is let go: late ones are no fault.
const MAX_STRAYS: u32 = 64;
/// Requests of a peer that are answered, with a refusal.
const MAX_ANSWERS: u32 = 64;
/// Between two looks at those who take their time.
const TICK: Duration = Duration::from_secs(1);

/// A peer that may have the metadata.
#[derive(Debug)]
struct Peer {
    id: PeerId,
    addr: SocketAddr,
    /// Where it listens, as far as we know.
    listen: Option<SocketAddr>,
    since: Time,
    /// It has sent its extension handshake.
    introduced: bool,
    /// The number under which it takes requests.
    number: u8,
    /// Bytes of the dictionary, as it claims; `None` if it has none.
    size: Option<u32>,
    /// What it was asked for, and when.
    asked: Vec<(u32, Time)>,
    /// Its own copy, while it has its turn.
    own: Option<Turn>,
    /// Turns that it has had.
    turns: u32,
    /// Not to be asked before.
    rests_until: Time,
    refusals: u32,
    strays: u32,
    answers: u32,
}

/// A copy that one peer alone sends.
#[derive(Debug)]
struct Turn {
    copy: Copy,
    began: Time,
}

/// See the module. It is told what happened, and says what to do, as [`super::Swarm`] does; of the actions, it uses
/// [`Action::Send`], [`Action::Dial`], [`Action::Close`] and [`Action::Complete`].
#[derive(Debug)]
pub struct Metadata {
    us: PeerId,
    info_hash: InfoHash,
    rng: fastrand::Rng,
    roster: Roster,
    peers: BTreeMap<PeerKey, Peer>,
    /// What all peers that claim its size send together.
    common: Option<Copy>,
    /// A common copy was wrong, and nobody knows by whose fault.
    distrust: bool,
    received: u64,
    found: Option<Vec<u8>>,
    complete: bool,
    wake: Option<Time>,
}

impl Metadata {
    /// Nobody is known yet. The same `seed` and the same events at the same times lead to the same actions.
    #[must_use]
    pub fn new(us: PeerId, info_hash: InfoHash, seed: u64) -> Self {
        Self {
            us,
            info_hash,
            rng: fastrand::Rng::with_seed(seed),
            roster: Roster::default(),
            peers: BTreeMap::new(),
            common: None,
            distrust: false,
            received: 0,
            found: None,
            complete: false,
            wake: None,
        }
    }

    /// Takes in what happened at `now`, and appends to `out` what is to be done, in this order. Of messages, only extended ones are looked
    /// at. After [`Action::Complete`], which comes once, [`Metadata::take`] has the dictionary, and nothing more is done.
    pub fn handle(&mut self, now: Time, event: Event<'_>, out: &mut Vec<Action>) {
        match event {
            Event::Connected {
                peer,
                id,
                addr,
                outgoing,
                ..
            } => self.connected(now, peer, Peer::new(id, addr, outgoing, now), out),
            Event::Disconnected { peer } => self.remove(now, peer),
            Event::DialFailed { addr } => self.roster.failed(now, addr, &mut self.rng),
            Event::Discovered { addrs, source } => {
                for &addr in addrs {
                    self.roster.discovered(now, addr, source, &mut self.rng);
                }
            }
            Event::Message {
                peer,
                message: Message::Extended { id, payload },
            } => self.extended(now, peer, id, &payload, out),
            Event::Tick => self.sweep(now, out),
            // About payload, which there is none of here.
            Event::Message { .. } | Event::Verified { .. } | Event::WebSeed { .. } => {}
        }
        if !self.complete {
            self.take_turns(now, out);
            self.dial(out, now);
        }
    }

    /// When [`Event::Tick`] is due; ask again after every call.
    #[must_use]
    pub const fn deadline(&self) -> Option<Time> {
        self.wake
    }

    /// The dictionary, once it is there.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.found.take()
    }

    /// Connections.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Bytes of metadata received.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Parts that are there and parts in all, of the copy that has come furthest; nothing before somebody has told how large it is.
    #[must_use]
    pub fn progress(&self) -> Option<(u32, u32)> {
        let own = self.peers.values().filter_map(|peer| peer.own.as_ref());
        let copies = own.map(|turn| &turn.copy).chain(&self.common);
        copies.map(Copy::progress).max_by_key(|&(there, all)| {
            // In thousandths: only an order is needed.
            u64::from(there) * 1000 / u64::from(all.max(1))
        })
    }

    /// The addresses that were heard of and may be dialled for the payload, with where they were heard of.
    pub fn known(&self) -> impl Iterator<Item = (SocketAddr, Source)> {
        self.roster.known()
    }

    fn connected(&mut self, now: Time, key: PeerKey, peer: Peer, out: &mut Vec<Action>) {
        if let Some(addr) = peer.listen {
            self.roster.connected(now, addr, Source::Tracker);
        }
        match self.admit(now, &peer) {
            Ok(weak) => {
                if let Some(weak) = weak {
                    self.close(now, weak, Close::Useless, out);
                }
                self.peers.insert(key, peer);
                self.wake_by(now, now + TICK);
            }
            Err(reason) => {
                match (reason, peer.listen) {
                    (Close::Ourselves, Some(addr)) => self.roster.never(addr),
                    (_, Some(addr)) => self.roster.lost(now, addr, &mut self.rng),
                    (_, None) => {}
                }
                out.push(Action::Close { peer: key, reason });
            }
        }
    }

    /// Whether a peer may stay; and who has to go for it.
    fn admit(&self, now: Time, peer: &Peer) -> Result<Option<PeerKey>, Close> {
        if self.complete {
            return Err(Close::Stopping);
        }
        if peer.id == self.us {
            return Err(Close::Ourselves);
        }
        if self.roster.is_banned(now, peer.addr.ip(), peer.id) {
            return Err(Close::BadData);
        }
        if self.peers.values().any(|other| other.id == peer.id) {
            return Err(Close::Duplicate);
        }
        if self.peers.len() < MAX_PEERS {
            return Ok(None);
        }
        let weak = self.peers.iter().filter(|(_, other)| other.size.is_none());
        let weakest = weak.min_by_key(|(_, other)| other.since);
        weakest.map(|(&key, _)| Some(key)).ok_or(Close::Full)
    }

    fn extended(&mut self, now: Time, key: PeerKey, id: u8, payload: &[u8], out: &mut Vec<Action>) {
        match id {
            HANDSHAKE_ID => {
                if let Some(said) = ExtendedHandshake::decode(payload) {
                    self.introduced(now, key, &said, out);
                }
            }
            UT_METADATA => match MetadataMessage::decode(payload) {
                Some(MetadataMessage::Request(part)) => self.refuse(key, part, out),
                Some(MetadataMessage::Data { part, data, .. }) => {
                    self.arrived(now, key, part, data, out);
                }
                Some(MetadataMessage::Reject(part)) => self.refused(now, key, part, out),
                None => {}
            },
            _ => {}
        }
    }

    fn introduced(
        &mut self,
        now: Time,
        key: PeerKey,
        said: &ExtendedHandshake,
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        peer.introduced = true;
        if let (Some(port), None) = (said.listen_port, peer.listen) {
            let addr = SocketAddr::new(peer.addr.ip(), port);
            peer.listen = Some(addr);
            self.roster.connected(now, addr, Source::Gossip);
        }
        // What a later handshake does not name stays as it was.
        let before = Some(peer.number).filter(|&number| number != 0);
        let Some(number) = said.takes(metadata::NAME).or(before) else {
            return self.close(now, key, Close::Useless, out);
        };
        peer.number = number;
        match said.metadata_size {
            // Whoever changes its mind about the size is believed the first time.
            _ if peer.size.is_some() => {}
            None | Some(0) => {}
            Some(size) if size > metadata::MAX_SIZE => {
                self.close(now, key, Close::Protocol, out);
            }
            Some(size) => {
                peer.size = Some(size);
                self.ask(now, key, out);
            }
        }
    }

    /// We have nothing to hand out. Whoever keeps asking is not answered any more.
    fn refuse(&mut self, key: PeerKey, part: u32, out: &mut Vec<Action>) {
        if let Some(peer) = self.peers.get_mut(&key)
            && peer.number != 0
            && peer.answers < MAX_ANSWERS
        {
            peer.answers += 1;
            out.push(said(key, peer.number, MetadataMessage::Reject(part)));
        }
    }

    fn refused(&mut self, now: Time, key: PeerKey, part: u32, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let before = peer.asked.len();
        peer.asked.retain(|&(asked, _)| asked != part);
        if peer.asked.len() < before {
            peer.rests_until = now + REST;
            self.disappointed(now, key, out);
        }
    }

    /// A peer has not sent what it said it has.
    fn disappointed(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        peer.refusals += 1;
        if peer.refusals >= MAX_REFUSALS {
            return self.close(now, key, Close::Useless, out);
        }
        // What it does not send, another one may.
        self.ask_all(now, out);
    }

    fn arrived(&mut self, now: Time, key: PeerKey, part: u32, data: &[u8], out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let Some(at) = peer.asked.iter().position(|&(asked, _)| asked == part) else {
            peer.strays += 1;
            if peer.strays > MAX_STRAYS {
                self.close(now, key, Close::Protocol, out);
            }
            return;
        };
        peer.asked.swap_remove(at);
        let copy = match &mut peer.own {
            Some(turn) => Some(&mut turn.copy),
            None => self.common.as_mut(),
        };
        let Some(copy) = copy else { return };
        if !copy.fits(part, data) {
            return self.close(now, key, Close::Protocol, out);
        }
        peer.refusals = 0;
        self.received += data.len() as u64;
        copy.insert(part, data, key);
        if copy.is_full() {
            self.judge(now, key, out);
        } else {
            self.ask(now, key, out);
        }
    }

    /// All of the copy that `key` has a part in is there.
    fn judge(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let own = self.peers.get_mut(&key).and_then(|peer| peer.own.take());
        let Some(copy) = own.map(|turn| turn.copy).or_else(|| self.common.take()) else {
            return;
        };
        if let Some(info) = copy.verified(self.info_hash) {
            self.found = Some(info);
            self.complete = true;
            self.wake = None;
            out.push(Action::Complete);
            return;
        }
        let givers = copy.givers();
        if givers.len() > 1 {
            self.distrust = true;
        }
        for peer in self.peers.values_mut().filter(|peer| peer.own.is_none()) {
            peer.asked.clear();
        }
        if let (Some(&liar), 1) = (givers.first(), givers.len()) {
            self.ban(now, liar, out);
        }
        self.ask_all(now, out);
    }

    fn ban(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get(&key) else {
            return;
        };
        let (ip, id, listen) = (peer.addr.ip(), peer.id, peer.listen);
        self.roster.ban(ip, id, now + Duration::MAX);
        self.close(now, key, Close::BadData, out);
        listen.into_iter().for_each(|addr| self.roster.never(addr));
    }

    fn ask_all(&mut self, now: Time, out: &mut Vec<Action>) {
        let keys: Vec<_> = self.peers.keys().copied().collect();
        keys.into_iter().for_each(|key| self.ask(now, key, out));
    }

    /// Asks a peer for as much as it may be asked for.
    fn ask(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        while !self.complete
            && let Some(part) = self.next_part(now, key)
            && let Some(peer) = self.peers.get_mut(&key)
        {
            peer.asked.push((part, now));
            out.push(said(key, peer.number, MetadataMessage::Request(part)));
        }
    }

    /// What to ask a peer for next.
    fn next_part(&mut self, now: Time, key: PeerKey) -> Option<u32> {
        let peer = self.peers.get(&key)?;
        let size = peer.size?;
        if peer.asked.len() >= PIPELINE || now < peer.rests_until {
            return None;
        }
        let lacks = |part: &u32| !peer.asked.iter().any(|(asked, _)| asked == part);
        if let Some(turn) = &peer.own {
            return turn.copy.missing().find(lacks);
        }
        if self.distrust {
            return None;
        }
        let common = self.common.get_or_insert_with(|| Copy::new(size));
        if common.size() != size {
            return None;
        }
        let waited = |part: u32| {
            let asked = self.peers.values().filter(|peer| peer.own.is_none());
            let asked = asked.flat_map(|peer| &peer.asked);
            let last = asked.filter(|&&(asked, _)| asked == part);
            last.map(|&(_, at)| at).max()
        };
        let free = common.missing().find(|&part| waited(part).is_none());
        free.or_else(|| {
            let mut late = common.missing().filter(lacks);
            late.find(|&part| waited(part).is_some_and(|at| now.since(at) >= OVERDUE))
        })
    }

    /// Whether a peer has no part in the common copy, and no turn.
    fn waits(&self, peer: &Peer) -> bool {
        let common = self.common.as_ref().map(Copy::size);
        let apart = self.distrust || common.is_some_and(|common| peer.size != Some(common));
        apart && peer.size.is_some() && peer.own.is_none()
    }

    /// Lets peers send copies of their own, those first that have had the fewest turns and claim the least.
    fn take_turns(&mut self, now: Time, out: &mut Vec<Action>) {
        let waits = |(_, peer): &(&PeerKey, &Peer)| self.waits(peer) && now >= peer.rests_until;
        let mut waiting: Vec<_> = self.peers.iter().filter(waits).collect();
        waiting.sort_by_key(|(_, peer)| (peer.turns, peer.size));
        let waiting: Vec<_> = waiting.into_iter().map(|(&key, _)| key).collect();
        let own = self.peers.values().filter_map(|peer| peer.own.as_ref());
        let mut claimed: u64 = own.map(|turn| u64::from(turn.copy.size())).sum();
        for key in waiting {
            let Some(peer) = self.peers.get_mut(&key) else {
                continue;
            };
            let Some(size) = peer.size else { continue };
            if claimed > 0 && claimed + u64::from(size) > BUDGET {
                break;
            }
            claimed += u64::from(size);
            peer.turns += 1;
            peer.asked.clear();
            peer.own = Some(Turn {
                copy: Copy::new(size),
                began: now,
            });
            self.ask(now, key, out);
        }
    }

    /// Everything that comes with time.
    fn sweep(&mut self, now: Time, out: &mut Vec<Action>) {
        self.wake = None;
        if self.complete {
            return;
        }
        self.roster.expire(now, &mut self.rng);
        let somebody_waits = self.peers.values().any(|peer| self.waits(peer));
        let keys: Vec<_> = self.peers.keys().copied().collect();
        for key in keys {
            self.check(now, key, somebody_waits, out);
        }
        self.ask_all(now, out);
        if !self.peers.is_empty() || self.roster.dialling() > 0 {
            self.wake_by(now, now + TICK);
        }
    }

    /// Looks after a peer that takes its time.
    fn check(&mut self, now: Time, key: PeerKey, somebody_waits: bool, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let age = now.since(peer.since);
        if !peer.introduced && age >= INTRODUCTION {
            return self.close(now, key, Close::Silent, out);
        }
        if peer.size.is_none() && age >= HOPE {
            return self.close(now, key, Close::Useless, out);
        }
        if let Some(turn) = &peer.own
            && somebody_waits
            && now.since(turn.began) >= TURN
        {
            peer.own = None;
            peer.asked.clear();
        }
        let before = peer.asked.len();
        peer.asked.retain(|&(_, at)| now.since(at) < TIMEOUT);
        if peer.asked.len() < before {
            self.disappointed(now, key, out);
        }
    }

    fn close(&mut self, now: Time, key: PeerKey, reason: Close, out: &mut Vec<Action>) {
        let Some(listen) = self.peers.get(&key).map(|peer| peer.listen) else {
            return;
        };
        out.push(Action::Close { peer: key, reason });
        self.remove(now, key);
        if let Some(addr) = listen {
            self.roster.rest(now, addr, HOPE, &mut self.rng);
        }
    }

    fn remove(&mut self, now: Time, key: PeerKey) {
        if let Some(peer) = self.peers.remove(&key)
            && let Some(addr) = peer.listen
        {
            self.roster.lost(now, addr, &mut self.rng);
        }
    }

    fn dial(&mut self, out: &mut Vec<Action>, now: Time) {
        while self.peers.len() + self.roster.dialling() < MAX_PEERS {
            let Some(addr) = self.roster.next(now) else {
                break;
            };
            out.push(Action::Dial(addr));
            self.wake_by(now, now + TICK);
        }
        if self.peers.len() < MAX_PEERS
            && let Some(at) = self.roster.deadline()
        {
            self.wake_by(now, at);
        }
    }

    fn wake_by(&mut self, now: Time, at: Time) {
        super::no_later(&mut self.wake, now, at);
    }
}

impl Peer {
    fn new(id: PeerId, addr: SocketAddr, outgoing: bool, now: Time) -> Self {
        Self {
            id,
            addr,
            listen: outgoing.then_some(addr),
            since: now,
            introduced: false,
            number: 0,
            size: None,
            asked: Vec::new(),
            own: None,
            turns: 0,
            rests_until: Time::ZERO,
            refusals: 0,
            strays: 0,
            answers: 0,
        }
    }
}

/// A message about metadata for a peer that takes those under `number`.
fn said(peer: PeerKey, number: u8, message: MetadataMessage<'_>) -> Action {
    let payload = message.encode().into();
    let message = Message::Extended {
        id: number,
        payload,
    };
    Action::Send { peer, message }
}

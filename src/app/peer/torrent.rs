//! One torrent at work: the swarm behind its lock, and what its decisions become.
//!
//! Whoever has an event locks the swarm, tells it, and turns its actions into messages in outboxes before unlocking. Bytes move
//! outside the lock: connections read and write sockets, the hasher hashes and writes pieces.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::app::dht::Node;
use crate::base::bitfield::Bitfield;
use crate::base::geometry::{Block, Geometry, PieceIndex};
use crate::base::id::{InfoHash, PeerId};
use crate::base::time::Time;
use crate::core::shares::Priority;
use crate::core::swarm::event::{
    Action, Close, Config, Event, PeerKey, PeerStats, Penalty, Source, Stats, Verdict,
};
use crate::core::swarm::{Swarm, number_of};
use crate::disk::assembly::{Assembly, Finished, Inserted};
use crate::disk::error::StorageError;
use crate::disk::hasher::{self, Hasher, Job, Target};
use crate::disk::pool::{Buffer, Pool};
use crate::disk::storage::Storage;
use crate::proto::metainfo::Metainfo;
use crate::proto::peer::message::Message;

use super::batches::Batches;
use super::clock::Clock;
use super::limits::{Claimant, Limits};
use super::link::{Far, Link};
use super::outbox::Outbox;
use super::stream::Stream;
use super::web_seed::Wishes;

/// What a torrent tells whoever runs it.
#[derive(Debug)]
pub enum Happening {
    /// Every piece is here, verified and written.
    Complete,
    /// The payload can no longer be read or written.
    Storage(StorageError),
    /// We have ended the connection to a peer.
    Dropped(SocketAddr, Close),
    /// A peer does not encrypt, and we require it.
    NotEncrypted(SocketAddr),
    /// A peer has sent bad data.
    Blamed(SocketAddr, PieceIndex, Penalty),
    /// A web seed has not delivered, for this reason, and is tried again after so long.
    WebSeedFailed(String, String, Duration),
    /// A web seed is of no use, for this reason, and is left alone from now on.
    WebSeedDropped(String, String),
}

/// See [`Setting::dial`].
pub type Dial = dyn Fn(&Arc<Torrent>, SocketAddr) + Send + Sync;

/// What a torrent needs from its surroundings.
pub struct Setting {
    /// The one clock.
    pub clock: Clock,
    /// Our name for this run.
    pub us: PeerId,
    /// Rate limits of the process.
    pub limits: Limits,
    /// Called outside all locks, from any thread.
    pub on_happening: Box<dyn Fn(Happening) + Send + Sync>,
    /// Starts to connect to an address, without blocking; ends in [`Torrent::dial_failed`] or a connection.
    pub dial: Box<Dial>,
    /// Where blocks of unfinished pieces live.
    pub pool: Pool,
    /// Memory for large batches of blocks to send.
    pub batches: Arc<Batches>,
    /// Who hashes and writes finished pieces.
    pub hasher: Arc<Hasher>,
    /// Our node of the DHT; none for a private torrent.
    pub dht: Option<Arc<Node>>,
}

/// Pieces, as a torrent begins.
#[derive(Debug)]
pub struct Holdings {
    /// Verified, and others may have them.
    pub have: Bitfield,
    /// To be fetched unless they are here; `None` for all.
    pub wanted: Option<Bitfield>,
    /// Never shown to others: we may not keep them whole.
    pub withheld: Bitfield,
    /// Those of them that are verified.
    pub withheld_here: Bitfield,
}

/// A torrent at work.
pub struct Torrent {
    /// What is shared.
    pub metainfo: Arc<Metainfo>,
    /// Where it lies.
    pub storage: Arc<Storage>,
    /// What surrounds it.
    pub setting: Setting,
    /// Peers are told of each other.
    pex: bool,
    state: Mutex<State>,
    tick: Condvar,
    idle: Condvar,
    target: Arc<Target>,
    itself: Weak<Torrent>,
    /// A [`Priority`].
    priority: AtomicU8,
}

pub(super) struct State {
    pub(super) swarm: Swarm,
    assembly: Assembly,
    links: HashMap<PeerKey, Link>,
    next_key: u64,
    /// By their numbers; those that are of no use any more keep theirs.
    pub(super) web_seeds: Vec<Arc<Wishes>>,
    /// When the timer thread means to look again.
    alarm: Option<Time>,
    pub(super) stopped: bool,
    failed: bool,
    /// Threads that are about to write, and pieces that the hasher has.
    busy: usize,
    actions: Vec<Action>,
    /// The download limit has been asked and has not answered.
    claimed: bool,
}

/// What cannot be done under the lock.
#[derive(Default)]
struct Deferred {
    dials: Vec<SocketAddr>,
    news: Vec<Happening>,
    complete: bool,
}

impl Torrent {
    /// Starts the torrent's threads. It dials nobody before it hears of somebody.
    pub fn start(
        metainfo: Arc<Metainfo>,
        storage: Arc<Storage>,
        holdings: Holdings,
        mut config: Config,
        setting: Setting,
    ) -> Arc<Self> {
        let geometry = metainfo.geometry;
        // BEP 27: peers of a private torrent come from its trackers alone.
        config.pex &= !metainfo.private;
        let pex = config.pex;
        let seed = fastrand::u64(..);
        let mut swarm = Swarm::new(
            config,
            setting.us,
            geometry,
            holdings.have,
            holdings.wanted.as_ref(),
            seed,
            setting.clock.now(),
        );
        swarm.withhold(holdings.withheld, holdings.withheld_here);
        swarm.offer_metadata(&metainfo);
        let state = State {
            swarm,
            assembly: Assembly::new(geometry, setting.pool.clone()),
            links: HashMap::new(),
            next_key: 0,
            web_seeds: Vec::new(),
            alarm: None,
            stopped: false,
            failed: false,
            busy: 0,
            actions: Vec::new(),
            claimed: false,
        };
        let torrent = Arc::new_cyclic(|itself: &Weak<Self>| {
            let done = itself.clone();
            let on_done = move |piece, verdict| {
                if let Some(torrent) = done.upgrade() {
                    torrent.hashed(piece, verdict);
                }
            };
            let target = Target::new(storage.clone(), geometry, on_done);
            Self {
                metainfo,
                storage,
                setting,
                pex,
                state: Mutex::new(state),
                tick: Condvar::new(),
                idle: Condvar::new(),
                target,
                itself: itself.clone(),
                priority: AtomicU8::new(Priority::Normal as u8),
            }
        });
        let timer = torrent.clone();
        super::threads::spawn("timer", move || timer.keep_time());
        torrent
    }

    /// The torrent's name in the protocol.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        self.metainfo.info_hash
    }

    /// How its payload is cut.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.metainfo.geometry
    }

    /// Whether peers are told of each other (BEP 11).
    #[must_use]
    pub const fn exchanges_peers(&self) -> bool {
        self.pex
    }

    /// Totals and rates.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let now = self.setting.clock.now();
        self.lock().swarm.stats(now)
    }

    /// Every connection. For web seeds, [`PeerStats::client`] is the URL.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStats> {
        let now = self.setting.clock.now();
        let state = self.lock();
        let named = state.swarm.peers(now).map(|mut peer| {
            if let Some(wishes) =
                number_of(peer.addr).and_then(|number| state.web_seeds.get(usize::from(number)))
            {
                peer.client.clone_from(&wishes.name);
            }
            peer
        });
        named.collect()
    }

    /// The pieces that are verified and written.
    #[must_use]
    pub fn verified(&self) -> Bitfield {
        self.lock().swarm.verified_pieces()
    }

    /// What share of the limits it gets, beside other torrents.
    pub fn set_priority(&self, priority: Priority) {
        self.priority.store(priority as u8, Ordering::Relaxed);
    }

    fn priority(&self) -> Priority {
        let priority = self.priority.load(Ordering::Relaxed);
        [Priority::Low, Priority::Normal, Priority::High]
            .into_iter()
            .find(|&p| p as u8 == priority)
            .unwrap_or_default()
    }

    /// Asks the upload limit for a portion, for the writer of this outbox.
    pub fn claim_upload(&self, writer: Arc<Outbox>) {
        let limit = &self.setting.limits.upload;
        limit.claim(self.info_hash(), self.priority(), limit.portion(), writer);
    }

    /// Keeps the swarm and the download limit in step: the swarm asks for what was granted, and what it lacks is claimed.
    fn obey(&self, state: &mut State, now: Time, actions: &mut Vec<Action>) {
        let limit = &self.setting.limits.download;
        state.swarm.limit(now, limit.is_on(), actions);
        if state.swarm.is_starved()
            && !state.claimed
            && !state.stopped
            && let Some(torrent) = self.itself.upgrade()
        {
            state.claimed = true;
            limit.claim(self.info_hash(), self.priority(), limit.portion(), torrent);
        }
    }

    /// Tells of peers that may be dialled.
    pub fn discovered(&self, addrs: &[SocketAddr], source: Source) {
        self.tell(Event::Discovered { addrs, source });
    }

    /// Others see us at `addr`.
    pub fn seen_at(&self, addr: SocketAddr) {
        self.lock().swarm.seen_at(addr);
    }

    /// Tells that dialling `addr` came to nothing.
    pub fn dial_failed(&self, addr: SocketAddr) {
        self.tell(Event::DialFailed { addr });
    }

    /// A peer at `addr` does not encrypt, and we require it.
    pub fn not_encrypted(&self, addr: SocketAddr) {
        (self.setting.on_happening)(Happening::NotEncrypted(addr));
    }

    /// A connection is up. Returns its number, or nothing if the torrent has been stopped.
    pub fn connected(
        &self,
        id: PeerId,
        addr: SocketAddr,
        outgoing: bool,
        fast: bool,
        outbox: Arc<Outbox>,
        stream: Arc<Stream>,
    ) -> Option<PeerKey> {
        let utp = stream.is_utp();
        let peer = {
            let mut state = self.lock();
            if state.stopped {
                return None;
            }
            let far = Far::Peer(outbox, stream);
            state.link(Link { addr, far })
        };
        self.tell(Event::Connected {
            peer,
            id,
            addr,
            outgoing,
            fast,
            utp,
        });
        Some(peer)
    }

    /// A connection is over.
    pub fn disconnected(&self, peer: PeerKey) {
        self.drive(|state, now, actions| {
            state
                .swarm
                .handle(now, Event::Disconnected { peer }, actions);
            state.links.remove(&peer);
        });
    }

    /// A message has come.
    pub fn message(&self, peer: PeerKey, message: Message<'_>) {
        self.tell(Event::Message { peer, message });
    }

    /// A block has come. It is kept if it is wanted; beyond the cache it goes to the file here and now.
    pub fn block(&self, peer: PeerKey, block: Block, buffer: Buffer) {
        let inserted = self.drive(|state, now, actions| {
            match state.swarm.block_arrived(now, peer, block, actions) {
                Verdict::Keep => Some(state.assembly.insert(block, buffer)),
                Verdict::Discard => None,
            }
        });
        match inserted {
            Some(Inserted::Complete(finished)) => self.hash(finished),
            Some(Inserted::Spill(buffer)) => self.spill(block, &buffer),
            Some(Inserted::Kept | Inserted::Unwanted) | None => {}
        }
    }

    fn spill(&self, block: Block, buffer: &Buffer) {
        let Some(_busy) = Busy::begin(self) else {
            return;
        };
        match self
            .storage
            .write_vectored_at(self.geometry().block_offset(block), &[buffer])
        {
            Ok(()) => {
                let finished = self.lock().assembly.written(block);
                finished
                    .into_iter()
                    .for_each(|finished| self.hash(finished));
            }
            Err(error) => self.fail(error),
        }
    }

    /// Waits while the hasher has its hands full, which makes the caller's peer wait too.
    fn hash(&self, finished: Finished) {
        let digest = self.metainfo.piece_hash(finished.piece);
        // Ends in `hashed`.
        let Some(busy) = Busy::begin(self) else {
            return;
        };
        std::mem::forget(busy);
        let traced = self.lock().swarm.wants_sums(finished.piece);
        self.setting.hasher.submit(Job {
            target: self.target.clone(),
            finished,
            digest,
            traced,
        });
    }

    /// Blocks for the writer of `peer` to send now.
    pub fn next_uploads(&self, peer: PeerKey, max_bytes: u32, blocks: &mut Vec<Block>) {
        self.drive(|state, now, actions| {
            state
                .swarm
                .next_uploads(now, peer, max_bytes, blocks, actions)
        });
    }

    /// Puts a part of the metadata into `messages` that the writer of `peer` is to send now. `false` if it waits for none.
    pub fn next_metadata(&self, peer: PeerKey, messages: &mut Vec<u8>) -> bool {
        let now = self.setting.clock.now();
        let next = self.lock().swarm.next_metadata(now, peer);
        next.iter().for_each(|message| message.encode(messages));
        next.is_some()
    }

    /// The payload can no longer be used. Said once; connections are closed.
    pub fn fail(&self, error: StorageError) {
        let first = !std::mem::replace(&mut self.lock().failed, true);
        if first {
            (self.setting.on_happening)(Happening::Storage(error));
        }
    }

    /// Ends all connections and threads, and waits for pieces that are being hashed and written. Nothing is written from then on.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        state
            .links
            .values()
            .for_each(|link| link.close(Close::Stopping));
        state.web_seeds.iter().for_each(|wishes| wishes.stop());
        self.tick.notify_all();
        while state.busy > 0 {
            state = self
                .idle
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn hashed(&self, piece: PieceIndex, verdict: hasher::Verdict) {
        let _busy = Busy { torrent: self };
        let (good, sums) = match verdict {
            hasher::Verdict::Good(sums) => (true, sums),
            hasher::Verdict::Bad(sums) => (false, sums),
            hasher::Verdict::Failed(error) => return self.fail(error),
        };
        let sums = &sums;
        self.tell(Event::Verified { piece, good, sums });
    }

    pub(super) fn tell(&self, event: Event<'_>) {
        self.drive(|state, now, actions| state.swarm.handle(now, event, actions));
    }

    /// Locks the swarm, lets `act` tell it something, and does what follows.
    fn drive<R>(&self, act: impl FnOnce(&mut State, Time, &mut Vec<Action>) -> R) -> R {
        let mut state = self.lock();
        let now = self.setting.clock.now();
        let mut actions = std::mem::take(&mut state.actions);
        let result = act(&mut state, now, &mut actions);
        self.obey(&mut state, now, &mut actions);
        let deferred = state.perform(&mut actions);
        state.actions = actions;
        self.rewind(&mut state);
        drop(state);
        if let Some(torrent) = self.itself.upgrade() {
            deferred
                .dials
                .into_iter()
                .for_each(|addr| (self.setting.dial)(&torrent, addr));
        }
        deferred
            .news
            .into_iter()
            .for_each(|news| (self.setting.on_happening)(news));
        if deferred.complete {
            (self.setting.on_happening)(Happening::Complete);
        }
        result
    }

    /// Wakes the timer thread if the swarm wants to be looked at earlier than that thread means to.
    fn rewind(&self, state: &mut State) {
        if let Some(deadline) = state.swarm.deadline()
            && state.alarm.is_none_or(|alarm| deadline < alarm)
        {
            state.alarm = Some(deadline);
            self.tick.notify_one();
        }
    }

    fn keep_time(&self) {
        let mut state = self.lock();
        while !state.stopped {
            let now = self.setting.clock.now();
            match state.swarm.deadline() {
                Some(deadline) if deadline <= now => {
                    drop(state);
                    self.tell(Event::Tick);
                    state = self.lock();
                }
                deadline => {
                    state.alarm = deadline;
                    let wait =
                        deadline.map_or(Duration::from_secs(60), |deadline| deadline.since(now));
                    state = self
                        .tick
                        .wait_timeout(state, wait)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
            }
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claimant for Torrent {
    fn granted(&self, bytes: u32) -> bool {
        self.drive(|state, now, actions| {
            state.claimed = false;
            !state.stopped && state.swarm.allow(now, bytes, actions)
        })
    }
}

/// Counted while somebody writes, or is about to.
struct Busy<'a> {
    torrent: &'a Torrent,
}

impl<'a> Busy<'a> {
    /// `None` once the torrent has been stopped.
    fn begin(torrent: &'a Torrent) -> Option<Self> {
        let mut state = torrent.lock();
        (!state.stopped).then(|| {
            state.busy += 1;
            Self { torrent }
        })
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.torrent.lock().busy -= 1;
        self.torrent.idle.notify_all();
    }
}

impl State {
    pub(super) fn link(&mut self, link: Link) -> PeerKey {
        let peer = PeerKey(self.next_key);
        self.next_key += 1;
        self.links.insert(peer, link);
        peer
    }

    fn perform(&mut self, actions: &mut Vec<Action>) -> Deferred {
        let mut deferred = Deferred::default();
        for action in actions.drain(..) {
            match action {
                Action::Send { peer, message } => {
                    if let Some(link) = self.links.get(&peer)
                        && !link.send(&message)
                    {
                        link.cut(Close::Protocol);
                    }
                }
                Action::Serve { peer } => self.links.get(&peer).into_iter().for_each(Link::serve),
                Action::Close { peer, reason } => {
                    if let Some(link) = self.links.get(&peer) {
                        link.end(reason);
                        deferred.news.push(Happening::Dropped(link.addr, reason));
                    }
                }
                // The assembly tells when the last block of a piece has found its place, which may be later than its arrival.
                Action::Verify(_) => {}
                Action::Forget(piece) => self.assembly.forget(piece),
                Action::Dial(addr) if !self.stopped => deferred.dials.push(addr),
                Action::Dial(_) => {}
                Action::Blame {
                    addr,
                    piece,
                    penalty,
                } => deferred.news.push(Happening::Blamed(addr, piece, penalty)),
                Action::UploadOnly { peer } => {
                    let link = self.links.get(&peer).into_iter();
                    link.for_each(Link::upload_only);
                }
                Action::Complete => deferred.complete = true,
            }
        }
        deferred
    }
}

//! One torrent's swarm as we see it: who has what, whom to ask for which block, whom to serve.
//!
//! [`Swarm`] is told what happened ([`event::Event`]) and says what to do ([`event::Action`]). It keeps no clock: time comes with every
//! call, and [`Swarm::deadline`] says when it wants to be called even if nothing happens.
//!
//! | file | decides |
//! | --- | --- |
//! | `connect` | who may connect, who has to go |
//! | `trace`, `blame` | who lies, and what becomes of it |
//! | `pex` | whom to tell of which peers, and what to believe |
//! | `roster`, `priority` | whom to dial, and when again |
//! | `download`, `picker`, `partial`, `rarity`, `pipeline` | which block to ask whom for, and how many at once |
//! | `recall` | which block to call back from a busy peer, for an idle one |
//! | `allowance` | how much of that, under a limit |
//! | `upload`, `choker` | whom to serve, and which block next |
//! | `uplink` | which of those that are served sends next |
//! | `assign`, `show`, `standing` | what the only seed shows to whom |
//! | `web_seed` | how HTTP servers are peers like others |
//! | `fast` | what may be asked for while a peer chokes us |
//! | `metadata` | a magnet link's metadata: whom to ask and to believe; who gets ours |
//! | `stats` | what the operator sees |

mod allowance;
mod assign;
mod blame;
mod choker;
mod connect;
mod download;
pub mod event;
mod fast;
pub mod metadata;
mod partial;
mod peer;
mod pex;
mod picker;
mod pipeline;
mod priority;
mod rarity;
mod recall;
mod restraint;
mod roster;
mod show;
mod standing;
mod stats;
#[cfg(test)]
mod tests;
mod trace;
mod uplink;
mod upload;
mod web_seed;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::bitfield::Bitfield;
use crate::base::geometry::Geometry;
use crate::base::id::PeerId;
use crate::base::time::Time;
use crate::core::rate::Capacity;
use crate::proto::metainfo::Metainfo;
use crate::proto::peer::extended::{ExtendedHandshake, HANDSHAKE_ID, UT_METADATA, UT_PEX};
use crate::proto::peer::message::Message;

use allowance::Allowance;
use assign::Assigner;
use choker::Choker;
use event::{Action, Close, Config, Event, PeerKey};
use peer::{Peer, Traffic};
use picker::Picker;
use restraint::Restraint;
use roster::Roster;

pub use partial::MAX_ASKED;
pub use upload::MAX_QUEUE;
pub use web_seed::{addr_of, number_of};

/// Something is said to each peer at least this often; two minutes of silence end a connection (BEP 3).
const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// A peer that says nothing for this long is gone.
const SILENCE: Duration = Duration::from_secs(150);
/// Ticks are never closer together than this.
const LEAST_TICK: Duration = Duration::from_millis(1);

/// Pieces that are fetched and never shown.
#[derive(Debug)]
struct Withheld {
    pieces: Bitfield,
    /// Those that are verified.
    here: Bitfield,
}

impl Withheld {
    fn none(pieces: u32) -> Self {
        Self {
            pieces: Bitfield::none(pieces),
            here: Bitfield::none(pieces),
        }
    }
}

/// The swarm of one torrent.
#[derive(Debug)]
pub struct Swarm {
    config: Config,
    us: PeerId,
    geometry: Geometry,
    have: Bitfield,
    withheld: Withheld,
    rng: fastrand::Rng,
    peers: BTreeMap<PeerKey, Peer>,
    roster: Roster,
    picker: Picker,
    choker: Choker,
    assigner: Assigner,
    restraint: Restraint,
    /// Those of the peers that are web seeds.
    web_seeds: usize,
    /// Peers that wait to be served.
    waiting: usize,
    allowance: Allowance,
    /// Requests were held back because too much is unverified.
    throttled: bool,
    /// The last peers that went, for pieces that turn out bad when their senders are gone.
    former: VecDeque<(PeerKey, SocketAddr, PeerId)>,
    /// Peers that were seen to have everything, present or gone.
    finished: BTreeSet<PeerId>,
    up: Traffic,
    down: Traffic,
    wasted: u64,
    uplink: Capacity,
    /// What others may have of the torrent itself.
    metadata: Option<Arc<Metainfo>>,
    /// Counts the peers with known addresses that came and went.
    neighbourhood: u64,
    wake: Option<Time>,
    /// When the uplink has to be looked at: far more often than everything else that comes with time.
    uplink_due: Option<Time>,
    closed: bool,
}

impl Swarm {
    /// A swarm with no peers yet. `have`: pieces verified already; `wanted`: pieces to fetch, `None` for all.
    ///
    /// The same `seed` and the same events at the same times lead to the same actions.
    #[must_use]
    pub fn new(
        config: Config,
        us: PeerId,
        geometry: Geometry,
        have: Bitfield,
        wanted: Option<&Bitfield>,
        seed: u64,
        now: Time,
    ) -> Self {
        Self {
            us,
            geometry,
            peers: BTreeMap::new(),
            roster: Roster::default(),
            picker: Picker::new(geometry, &have, wanted, config.sequential),
            choker: Choker::new(config.upload_slots, now),
            assigner: Assigner::new(
                geometry,
                config.assign && have.is_full(),
                config.super_seed,
                now,
            ),
            restraint: Restraint::new(),
            web_seeds: 0,
            waiting: 0,
            allowance: Allowance::default(),
            throttled: false,
            former: VecDeque::new(),
            finished: BTreeSet::new(),
            up: Traffic::new(),
            down: Traffic::new(),
            wasted: 0,
            uplink: Capacity::new(Duration::from_millis(250)),
            metadata: None,
            neighbourhood: 0,
            wake: None,
            uplink_due: None,
            closed: false,
            rng: fastrand::Rng::with_seed(seed),
            withheld: Withheld::none(have.len()),
            have,
            config,
        }
    }

    /// Pieces that nobody is ever shown, because we may not keep them whole; they are fetched if they are wanted. `here` are those of them
    /// that are verified already, which must be neither in `have` nor wanted. To be called before anything happens.
    pub fn withhold(&mut self, pieces: Bitfield, here: Bitfield) {
        self.withheld = Withheld { pieces, here };
    }

    /// Others see us at `addr`: whom we dial first, and who gives way when we are full, follows from that (BEP 40).
    pub fn seen_at(&mut self, addr: SocketAddr) {
        self.roster.seen_at(addr);
    }

    /// Whether it is known that a peer at `addr` takes connections over uTP (BEP 29).
    #[must_use]
    pub fn speaks_utp(&self, addr: SocketAddr) -> bool {
        self.roster.speaks_utp(addr)
    }

    /// Takes in what happened at `now`, and appends to `out` what is to be done, in this order.
    ///
    /// Events about connections that the swarm has closed, or never heard of, change nothing.
    pub fn handle(&mut self, now: Time, event: Event<'_>, out: &mut Vec<Action>) {
        match event {
            Event::Connected {
                peer,
                id,
                addr,
                outgoing,
                fast,
                utp,
            } => {
                let pieces = self.geometry.pieces();
                let new = Peer {
                    utp,
                    ..Peer::new(id, addr, outgoing, fast, pieces, now)
                };
                self.connected(now, peer, new, out);
            }
            Event::WebSeed {
                peer,
                number,
                in_order,
            } => self.web_seed(now, peer, number, in_order, out),
            Event::DialFailed { addr } => self.roster.failed(now, addr, &mut self.rng),
            Event::Disconnected { peer } => self.remove(now, peer, out),
            Event::Message { peer, message } => self.message(now, peer, message, out),
            Event::Verified { piece, good, sums } => self.verified(now, piece, good, sums, out),
            Event::Discovered { addrs, source } => {
                for &addr in addrs {
                    self.roster.discovered(now, addr, source, &mut self.rng);
                }
            }
            Event::Tick => {
                if self.uplink_due.is_some_and(|due| now >= due) {
                    self.uplink_due = None;
                    self.hand_out(now, None, out);
                }
                if self.wake.is_some_and(|wake| now >= wake) {
                    self.sweep(now, out);
                }
            }
        }
        self.dial(now, out);
    }

    /// When [`Event::Tick`] is due; ask again after every call.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.wake.into_iter().chain(self.uplink_due).min()
    }

    /// Pieces that are verified and that others may have from us.
    #[must_use]
    pub const fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Pieces that are verified, those that are withheld included.
    #[must_use]
    pub fn verified_pieces(&self) -> Bitfield {
        let mut all = self.have.clone();
        self.withheld.here.iter().for_each(|piece| {
            all.set(piece);
        });
        all
    }

    /// Whether every wanted piece is verified.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.picker.is_done()
    }

    /// Changes the number of peers served at once; `None` lets it tune itself.
    pub fn set_upload_slots(&mut self, slots: Option<usize>) {
        self.choker.fix(slots);
    }

    /// Changes the number of connections allowed. Those there are stay.
    pub fn set_max_peers(&mut self, max: usize) {
        self.config.max_peers = max;
    }

    /// Closes every connection and opens no more.
    pub fn shutdown(&mut self, now: Time, out: &mut Vec<Action>) {
        self.closed = true;
        let keys: Vec<_> = self.peers.keys().copied().collect();
        for key in keys {
            self.close(now, key, Close::Stopping, out);
        }
    }

    fn message(&mut self, now: Time, key: PeerKey, message: Message<'_>, out: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        peer.heard = now;
        match message {
            Message::Choke => self.choked(now, key, out),
            Message::Unchoke => self.unchoked(now, key, out),
            Message::Interested => self.interest(now, key, true, out),
            Message::NotInterested => self.interest(now, key, false, out),
            Message::Have(piece) => self.announced(now, key, piece, out),
            Message::Bitfield(set) => self.introduced(now, key, set, out),
            Message::HaveAll if peer.fast => {
                self.introduced(now, key, Bitfield::all(self.geometry.pieces()), out);
            }
            Message::HaveNone if peer.fast => {
                self.introduced(now, key, Bitfield::none(self.geometry.pieces()), out);
            }
            Message::HaveAll | Message::HaveNone | Message::Reject(_) if !peer.fast => {
                self.close(now, key, Close::Protocol, out);
            }
            Message::Request(block) => self.requested(now, key, block, out),
            Message::Cancel(block) => self.cancelled(now, key, block, out),
            Message::Reject(block) => self.rejected(now, key, block, out),
            Message::AllowedFast(piece) => self.allowed(now, key, piece, out),
            Message::Extended {
                id: HANDSHAKE_ID,
                payload,
            } => {
                if let Some(handshake) = ExtendedHandshake::decode(&payload) {
                    self.extended(now, key, &handshake, out);
                }
            }
            Message::Extended {
                id: UT_METADATA,
                payload,
            } => self.metadata_asked(key, &payload, out),
            Message::Extended {
                id: UT_PEX,
                payload,
            } => self.heard_of_peers(now, key, &payload),
            _ => {}
        }
    }

    /// Puts a message into a peer's outbox. A web seed is told of requests alone.
    fn say(&mut self, now: Time, key: PeerKey, message: Message<'static>, out: &mut Vec<Action>) {
        let for_all = matches!(message, Message::Request(_) | Message::Cancel(_));
        if let Some(peer) = self.peers.get_mut(&key)
            && (for_all || peer.web_seed.is_none())
        {
            peer.spoke = now;
            out.push(Action::Send { peer: key, message });
        }
    }

    fn say_to_all(&mut self, now: Time, message: &Message<'static>, out: &mut Vec<Action>) {
        let peers = self.peers.iter_mut();
        for (&peer, state) in peers.filter(|(_, p)| p.web_seed.is_none()) {
            state.spoke = now;
            out.push(Action::Send {
                peer,
                message: message.clone(),
            });
        }
    }

    /// Everything that comes with time. Looks at every peer, and sets the next deadline.
    fn sweep(&mut self, now: Time, out: &mut Vec<Action>) {
        self.wake = None;
        self.roster.expire(now, &mut self.rng);
        let keys: Vec<_> = self.peers.keys().copied().collect();
        for key in keys {
            self.check_pulse(now, key, out);
            self.check_overdue(now, key, out);
            self.ask_again(now, key, out);
        }
        if self.picker.review(now) {
            self.fill_all(now, out);
        }
        self.watch_holders(now);
        self.tell_of_peers(now, out);
        self.check_assigned(now, out);
        self.adapt_slots(now);
        self.review_slots(now, out);
    }

    fn check_pulse(&mut self, now: Time, key: PeerKey, out: &mut Vec<Action>) {
        // A web seed says nothing unless it is asked.
        let Some(peer) = self.peers.get(&key).filter(|p| p.web_seed.is_none()) else {
            return;
        };
        if now.since(peer.heard) >= SILENCE {
            return self.close(now, key, Close::Silent, out);
        }
        if now.since(peer.spoke) >= KEEP_ALIVE {
            self.say(now, key, Message::KeepAlive, out);
        }
        if let Some(peer) = self.peers.get(&key) {
            let due = (peer.heard + SILENCE).min(peer.spoke + KEEP_ALIVE);
            self.wake_by(now, due);
        }
    }

    /// Makes the next sweep no later than `at`.
    fn wake_by(&mut self, now: Time, at: Time) {
        no_later(&mut self.wake, now, at);
    }
}

/// Makes `due` no later than `at`, but not before the next tick.
fn no_later(due: &mut Option<Time>, now: Time, at: Time) {
    let at = at.max(now + LEAST_TICK);
    *due = Some(due.map_or(at, |due| due.min(at)));
}

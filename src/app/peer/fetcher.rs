//! A magnet link at work: finds peers of a torrent of which only the info-hash is known, and fetches its metadata from them (BEP 9).
//!
//! What is asked of whom is decided in [`crate::core::swarm::metadata`]; this moves the messages. Nothing but extended messages is said here: a
//! peer of which we know no piece is neither interesting nor interested.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::base::geometry::{BLOCK, Geometry};
use crate::base::id::{InfoHash, PeerId};
use crate::base::time::Time;
use crate::core::swarm::event::{Action, Close, Event, PeerKey, Source, Stats};
use crate::core::swarm::metadata::Metadata;
use crate::net::decrypted::Ahead;
use crate::net::inbox::{Broken, Frame, Inbox};
use crate::proto::magnet::Magnet;
use crate::proto::peer::extended::ExtendedHandshake;
use crate::proto::peer::message::{EXTENDED_ID, Message};
use crate::proto::peer::metadata;
use crate::proto::peer::mse::Rc4;

use super::clock::Clock;
use super::connection;
use super::greeting::Greeted;
use super::link::{Far, Link};
use super::outbox::{Outbox, Work};
use super::stream::Stream;
use super::subject::Subject;
use super::threads;

/// What a tracker is told to be missing, in bytes, as long as nobody knows: anything but nothing, which would be a seed.
const LEFT: u64 = 16 << 10;

/// Pieces that metadata can name which we would take: a bitfield has a bit for each.
const MOST_PIECES: u64 = metadata::MAX_SIZE as u64 / 20;

/// Starts to connect to an address, without blocking; ends in [`Fetcher::dial_failed`] or a connection.
pub type Dial = dyn Fn(&Arc<Fetcher>, SocketAddr) + Send + Sync;

/// What a fetcher needs from its surroundings.
pub struct Setting {
    /// The one clock.
    pub clock: Clock,
    /// Our name for this run.
    pub us: PeerId,
    /// See [`Dial`].
    pub dial: Box<Dial>,
    /// Called once, with an `info` dictionary of the right info-hash.
    pub on_found: Box<dyn Fn(Vec<u8>) + Send + Sync>,
}

/// See the module.
pub struct Fetcher {
    info_hash: InfoHash,
    setting: Setting,
    state: Mutex<State>,
    tick: Condvar,
    itself: Weak<Fetcher>,
}

struct State {
    metadata: Metadata,
    links: HashMap<PeerKey, Link>,
    next_key: u64,
    stopped: bool,
}

impl Fetcher {
    /// Begins to dial the peers that the link names.
    pub fn start(magnet: &Magnet, setting: Setting) -> Arc<Self> {
        let info_hash = magnet.info_hash;
        let state = State {
            metadata: Metadata::new(setting.us, info_hash, fastrand::u64(..)),
            links: HashMap::new(),
            next_key: 0,
            stopped: false,
        };
        let fetcher = Arc::new_cyclic(|itself| Self {
            info_hash,
            setting,
            state: Mutex::new(state),
            tick: Condvar::new(),
            itself: itself.clone(),
        });
        let timer = fetcher.clone();
        threads::spawn("fetcher", move || timer.keep_time());
        fetcher.look_up(&magnet.peers);
        fetcher
    }

    /// Bytes received, and parts that are there and in all as far as that is known.
    #[must_use]
    pub fn progress(&self) -> (u64, Option<(u32, u32)>) {
        let state = self.lock();
        (state.metadata.received(), state.metadata.progress())
    }

    /// Addresses that the payload may be had from, with where they were heard of.
    #[must_use]
    pub fn known(&self) -> Vec<(SocketAddr, Source)> {
        self.lock().metadata.known().collect()
    }

    /// Tells that dialling `addr` came to nothing.
    pub fn dial_failed(&self, addr: SocketAddr) {
        self.tell(Event::DialFailed { addr });
    }

    /// Ends all connections and threads.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        let links = state.links.values();
        links.for_each(|link| link.close(Close::Stopping));
        self.tick.notify_all();
    }

    /// Peers that are named by address are known at once; other names take the system its time.
    fn look_up(&self, peers: &[String]) {
        let (addrs, names): (Vec<_>, Vec<_>) = peers
            .iter()
            .map(|peer| peer.parse::<SocketAddr>().map_err(|_| peer.clone()))
            .partition(Result::is_ok);
        let addrs: Vec<_> = addrs.into_iter().flatten().collect();
        self.discovered(&addrs, Source::Operator);
        let names: Vec<_> = names.into_iter().filter_map(Result::err).collect();
        if let (false, Some(fetcher)) = (names.is_empty(), self.itself.upgrade()) {
            threads::spawn("resolver", move || {
                for name in names {
                    let found: Vec<_> = name.to_socket_addrs().into_iter().flatten().collect();
                    fetcher.discovered(&found, Source::Operator);
                }
            });
        }
    }

    /// Runs a connection on the calling thread, and a writer beside it, until either end closes it.
    pub fn run(&self, greeted: Greeted, listen_port: u16) {
        let Greeted {
            stream,
            ahead,
            sending,
            addr,
            outgoing,
            theirs,
        } = greeted;
        if !theirs.extended || connection::relax(&stream).is_err() {
            return self.dial_failed(addr);
        }
        let (stream, outbox) = (Arc::new(stream), Arc::new(Outbox::default()));
        if theirs.fast {
            outbox.send(&Message::HaveNone);
        }
        let hello = ExtendedHandshake {
            extensions: connection::extensions(true, false),
            ..connection::introduction(addr, listen_port)
        };
        outbox.send(&hello.message());
        let link = Link {
            addr,
            far: Far::Peer(outbox.clone(), stream.clone()),
        };
        let Some(peer) = self.connected(theirs.peer_id, addr, outgoing, link) else {
            return;
        };
        let writer = {
            let (stream, outbox) = (stream.clone(), outbox.clone());
            threads::spawn("peer-writer", move || {
                // Which error it was does not matter: the reader says that it is over.
                let _ = write(&stream, sending, &outbox);
                stream.hang_up();
            })
        };
        if writer.is_some()
            && let Err(Broken::Protocol(_)) = self.read(peer, &stream, ahead)
        {
            stream.reset_at_end();
        }
        let mut state = self.lock();
        state.links.remove(&peer);
        drop(state);
        self.tell(Event::Disconnected { peer });
        outbox.close();
        stream.hang_up();
        if let Some(writer) = writer {
            // A panic of the writer has ended the program.
            let _ = writer.join();
        }
    }

    fn connected(
        &self,
        id: PeerId,
        addr: SocketAddr,
        outgoing: bool,
        link: Link,
    ) -> Option<PeerKey> {
        let mut state = self.lock();
        if state.stopped {
            return None;
        }
        let peer = PeerKey(state.next_key);
        state.next_key += 1;
        state.links.insert(peer, link);
        drop(state);
        self.tell(Event::Connected {
            peer,
            id,
            addr,
            outgoing,
            fast: false,
            utp: false,
        });
        Some(peer)
    }

    fn read(&self, peer: PeerKey, stream: &Stream, ahead: Ahead) -> Result<(), Broken> {
        // Nobody knows yet what there is: of no other message than an extended one does the meaning matter, and of none the length but this.
        let Some(anything) = Geometry::new(MOST_PIECES * u64::from(BLOCK), BLOCK) else {
            return Ok(());
        };
        let mut inbox: Inbox<_, Vec<u8>> = Inbox::new(ahead.of(stream));
        loop {
            match inbox.next(&anything)? {
                Frame::Message(bytes) if bytes.first() == Some(&EXTENDED_ID) => {
                    let message = Message::decode(bytes, &anything)?;
                    self.tell(Event::Message { peer, message });
                }
                Frame::Message(_) => {}
                // Nobody asked for it.
                Frame::Piece(_) => return Ok(()),
            }
        }
    }

    fn tell(&self, event: Event<'_>) {
        let mut state = self.lock();
        if state.stopped {
            return;
        }
        let mut actions = Vec::new();
        let now = self.setting.clock.now();
        state.metadata.handle(now, event, &mut actions);
        let (dials, complete) = state.perform(actions);
        let found = complete.then(|| state.metadata.take()).flatten();
        // The timer may mean to sleep for longer.
        self.tick.notify_all();
        drop(state);
        if let Some(fetcher) = self.itself.upgrade() {
            let dial = |addr| (self.setting.dial)(&fetcher, addr);
            dials.into_iter().for_each(dial);
        }
        found
            .into_iter()
            .for_each(|info| (self.setting.on_found)(info));
    }

    fn keep_time(&self) {
        let mut state = self.lock();
        while !state.stopped {
            let deadline = state.metadata.deadline();
            let now = self.setting.clock.now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                drop(state);
                self.tell(Event::Tick);
                state = self.lock();
                continue;
            }
            let wait = |deadline: Time| deadline.since(now);
            let wait = deadline.map_or(Duration::from_secs(60), wait);
            let waited = self.tick.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Does what was decided. Returns whom to dial, and whether the metadata is there.
    fn perform(&self, actions: Vec<Action>) -> (Vec<SocketAddr>, bool) {
        let (mut dials, mut complete) = (Vec::new(), false);
        for action in actions {
            match action {
                Action::Send { peer, message } => {
                    if let Some(link) = self.links.get(&peer)
                        && !link.send(&message)
                    {
                        link.cut(Close::Protocol);
                    }
                }
                Action::Close { peer, reason } => {
                    let link = self.links.get(&peer).into_iter();
                    link.for_each(|link| link.end(reason));
                }
                Action::Dial(addr) => dials.push(addr),
                Action::Complete => complete = true,
                // About payload, which there is none of here.
                Action::Serve { .. }
                | Action::Verify(_)
                | Action::Forget(_)
                | Action::UploadOnly { .. }
                | Action::Blame { .. } => {}
            }
        }
        (dials, complete)
    }
}

impl Subject for Fetcher {
    fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    fn us(&self) -> PeerId {
        self.setting.us
    }

    fn clock(&self) -> Clock {
        self.setting.clock
    }

    fn stats(&self) -> Stats {
        Stats {
            left: LEFT,
            peers: self.lock().metadata.peers(),
            ..Stats::default()
        }
    }

    fn seen_at(&self, _: SocketAddr) {}

    fn discovered(&self, addrs: &[SocketAddr], source: Source) {
        self.tell(Event::Discovered { addrs, source });
    }
}

/// Sends messages until the connection is over.
fn write(stream: &Stream, mut cipher: Option<Rc4>, outbox: &Outbox) -> std::io::Result<()> {
    let mut messages = Vec::new();
    loop {
        match outbox.next(&mut messages) {
            Work::Closed => return Ok(()),
            Work::Messages => {
                if let Some(cipher) = &mut cipher {
                    cipher.apply(&mut messages);
                }
                std::io::Write::write_all(&mut &*stream, &messages)?;
                messages.clear();
            }
            Work::Serve | Work::Granted(_) => {}
        }
    }
}

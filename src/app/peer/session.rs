//! What all torrents of a process share: the listener, our name, limits, memory, hashing threads.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crate::app::dht::{self, Inlet};
use crate::app::failure::{Exit, Failure};
use crate::base::endpoint::canonical;
use crate::base::id::{InfoHash, PeerId};
use crate::base::sha1::Digest;
use crate::core::swarm::event::{Config, Source};
use crate::disk::hasher::{self, Hasher};
use crate::disk::pool::Pool;
use crate::disk::storage::Storage;
use crate::net::tcp::Bind;
use crate::net::udp::Datagram;
use crate::proto::magnet::Magnet;
use crate::proto::metainfo::Metainfo;
use crate::proto::peer::handshake::Handshake;
use crate::proto::peer::mse::{self, Encryption};

use super::batches::Batches;
use super::clock::Clock;
use super::connection;
use super::doors::{Dialler, Doors, Transport};
use super::fetcher::{self, Fetcher};
use super::greeting::{self, Greeted, NotEncrypted};
use super::limits::Limits;
use super::port_mapping::Door;
use super::stream::Stream;
use super::subject::Subject;
use super::threads;
use super::torrent::{Happening, Holdings, Setting, Torrent};
use super::utp::Endpoint;

/// Connections that may be shaking hands at once, in all and from one address. A stranger who dials and says nothing holds a
/// place for ten seconds.
const MAX_GREETING: usize = 256;
const MAX_GREETING_FROM_ONE: usize = 64;

/// How long to wait when the system has no file descriptor or no thread for one more connection.
const BREATHER: Duration = Duration::from_millis(100);

/// What a session is made with.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Local address or interface.
    pub bind: Bind,
    /// Ports to try for the listener.
    pub ports: RangeInclusive<u16>,
    /// Bytes a second, 0 for no limit.
    pub max_upload: u64,
    /// Bytes a second, 0 for no limit.
    pub max_download: u64,
    /// Bytes of unfinished pieces in memory.
    pub cache: u64,
    /// What connections are encrypted.
    pub encryption: Encryption,
    /// What carries them.
    pub transport: Transport,
    /// The DHT, if it takes part in that, and the port to announce there, where it is not the one listened on.
    pub dht: Option<(dht::Plan, Option<u16>)>,
}

/// The part of a running `hivebt-peer` that is one for all torrents.
pub struct Session {
    us: PeerId,
    clock: Clock,
    bind: Bind,
    encryption: Encryption,
    transport: Transport,
    listening: SocketAddr,
    door: Door,
    limits: Limits,
    pool: Pool,
    batches: Arc<Batches>,
    hasher: Arc<Hasher>,
    parties: Mutex<Parties>,
    greeting: Mutex<HashMap<IpAddr, usize>>,
    dht: OnceLock<Dht>,
    utp: OnceLock<Arc<Endpoint>>,
}

/// The session's node of the DHT.
struct Dht {
    node: Arc<dht::Node>,
    /// The port to announce.
    port: u16,
}

/// What an info-hash stands for here.
#[derive(Clone)]
enum Party {
    Torrent(Arc<Torrent>),
    Fetcher(Arc<Fetcher>),
}

impl Party {
    fn info_hash(&self) -> InfoHash {
        match self {
            Self::Torrent(torrent) => torrent.info_hash(),
            Self::Fetcher(fetcher) => fetcher.info_hash(),
        }
    }

    /// Our handshake. As long as nobody knows whether a torrent is private, it counts as private.
    fn hello(&self, us: PeerId) -> Handshake {
        let dht = match self {
            Self::Torrent(torrent) => torrent.setting.dht.is_some(),
            Self::Fetcher(_) => false,
        };
        greeting::ours(self.info_hash(), us, dht)
    }

    /// Runs a connection on the calling thread.
    fn run(&self, greeted: Greeted, listen_port: u16) {
        match self {
            Self::Torrent(torrent) => connection::run(torrent, greeted, listen_port),
            Self::Fetcher(fetcher) => fetcher.run(greeted, listen_port),
        }
    }

    /// A peer at `addr` does not encrypt, and we require it.
    fn not_encrypted(&self, addr: SocketAddr) {
        match self {
            Self::Torrent(torrent) => torrent.not_encrypted(addr),
            // Nothing is told of single peers yet.
            Self::Fetcher(_) => {}
        }
    }

    /// Whether a peer at `addr` is known to take connections over uTP.
    fn speaks_utp(&self, addr: SocketAddr) -> bool {
        match self {
            Self::Torrent(torrent) => torrent.lock().swarm.speaks_utp(addr),
            Self::Fetcher(_) => false,
        }
    }

    fn dial_failed(&self, addr: SocketAddr) {
        match self {
            Self::Torrent(torrent) => torrent.dial_failed(addr),
            Self::Fetcher(fetcher) => fetcher.dial_failed(addr),
        }
    }
}

impl Session {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`Exit::Network`] if no port is free.
    pub fn start(options: &SessionOptions) -> Result<Arc<Self>, Failure> {
        let doors = Doors::open(&options.bind, options.ports.clone(), options.transport);
        let doors = doors.map_err(|error| cannot_listen(options, &error))?;
        let listening = doors.addr;
        // Half of the cache may wait for its hash: a third of that for company, and as much is being hashed meanwhile.
        let hasher = Hasher::start(hasher::default_threads(), options.cache / 6, || {
            std::process::exit(Exit::Failed as i32)
        });
        let clock = Clock::start();
        let limits = Limits::none(clock);
        if !limits.upload.set(options.max_upload) || !limits.download.set(options.max_download) {
            let cause = "the system refuses another one";
            return Err(Failure::new(Exit::Failed, "start", "limit threads", cause));
        }
        let session =
            Arc::new(Self {
                us: PeerId::generate(&mut fastrand::Rng::new()),
                clock,
                bind: options.bind.clone(),
                encryption: options.encryption,
                transport: options.transport,
                listening,
                door: Door::new(listening.port()),
                limits,
                pool: Pool::new(options.cache),
                batches: Arc::default(),
                hasher: Arc::new(hasher.map_err(|error| {
                    Failure::new(Exit::Failed, "start", "hashing threads", error)
                })?),
                parties: Mutex::default(),
                greeting: Mutex::default(),
                dht: OnceLock::new(),
                utp: OnceLock::new(),
            });
        let utp = doors.utp.map(Arc::new);
        let (inlet, others) = match &utp {
            Some(socket) if options.dht.is_some() => {
                let (inlet, others) = Inlet::shared(socket.clone(), listening);
                (Some(inlet), Some(others))
            }
            _ => (None, None),
        };
        if let Some((plan, port)) = &options.dht {
            session.take_part(plan, *port, inlet)?;
        }
        if let Some(socket) = utp {
            session
                .take_utp(socket, others)
                .map_err(|error| cannot_listen(options, &error))?;
        }
        if let Some(listener) = doors.tcp {
            let acceptor = session.clone();
            threads::spawn("accept", move || acceptor.accept(&listener));
        }
        Ok(session)
    }

    /// Begins with uTP. What comes to the socket and is not uTP goes to `others`.
    fn take_utp(
        self: &Arc<Self>,
        socket: Arc<UdpSocket>,
        others: Option<SyncSender<Datagram>>,
    ) -> io::Result<()> {
        let session = Arc::downgrade(self);
        let accepted = move |stream, addr| {
            if let Some(session) = Weak::upgrade(&session) {
                session.greet(Stream::Utp(stream), addr);
            }
        };
        let endpoint = Endpoint::start(socket, self.clock, others, accepted)?;
        // It is the only one that there ever is.
        let _ = self.utp.set(endpoint);
        Ok(())
    }

    /// Begins with the DHT: on the socket that it shares with uTP, else at the port of the listener if it is free.
    fn take_part(
        self: &Arc<Self>,
        plan: &dht::Plan,
        port: Option<u16>,
        inlet: Option<Inlet>,
    ) -> Result<(), Failure> {
        let session = Arc::downgrade(self);
        let found = move |info_hash, peers: &[SocketAddr]| {
            let session = Weak::upgrade(&session);
            let party = session.and_then(|s| s.parties().by_hash.get(&info_hash).cloned());
            if let Some(Party::Torrent(torrent)) = party {
                torrent.discovered(peers, Source::Gossip);
            }
        };
        let node = match inlet {
            Some(inlet) => dht::Node::begin(plan.clone(), inlet, found)?,
            None => dht::Node::start(plan.clone(), self.listening, false, found)?,
        };
        let port = port.unwrap_or(self.listening.port());
        // It is the only one that there ever is.
        let _ = self.dht.set(Dht { node, port });
        Ok(())
    }

    /// How its node of the DHT is doing, if it has one.
    #[must_use]
    pub fn dht(&self) -> Option<crate::core::dht::Stats> {
        self.dht.get().map(|dht| dht.node.stats())
    }

    /// A torrent lacks peers: the DHT is asked earlier than it would be.
    pub fn more_peers_wanted(&self, info_hash: InfoHash) {
        if let Some(dht) = self.dht.get() {
            dht.node.hurry(info_hash);
        }
    }

    /// Ends what goes on beside the torrents.
    pub fn stop(&self) {
        if let Some(dht) = self.dht.get() {
            dht.node.stop();
        }
        if let Some(utp) = self.utp.get() {
            utp.stop();
        }
    }

    /// The local address and interface.
    #[must_use]
    pub fn bind(&self) -> &Bind {
        &self.bind
    }

    /// What connections are encrypted.
    #[must_use]
    pub fn encryption(&self) -> Encryption {
        self.encryption
    }

    /// The one clock.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// The limits, which may be changed at any time.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Where peers can connect.
    #[must_use]
    pub fn listening(&self) -> SocketAddr {
        self.listening
    }

    /// The port at which others reach that, which a mapping may change.
    #[must_use]
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Lets peers in on a torrent, and dials those that it hears of.
    pub fn add(
        self: &Arc<Self>,
        metainfo: Arc<Metainfo>,
        storage: Arc<Storage>,
        holdings: Holdings,
        config: Config,
        on_happening: impl Fn(Happening) + Send + Sync + 'static,
    ) -> Arc<Torrent> {
        let session = self.clone();
        // Peers of a private torrent come from its trackers alone (BEP 27).
        let dht = self.dht.get().filter(|_| !metainfo.private);
        let setting = Setting {
            clock: self.clock,
            us: self.us,
            limits: self.limits.clone(),
            on_happening: Box::new(on_happening),
            dial: Box::new(move |torrent, addr| {
                session.dial(&Party::Torrent(torrent.clone()), addr);
            }),
            pool: self.pool.clone(),
            batches: self.batches.clone(),
            hasher: self.hasher.clone(),
            dht: dht.map(|dht| dht.node.clone()),
        };
        let places = metainfo.nodes.clone();
        let torrent = Torrent::start(metainfo, storage, holdings, config, setting);
        self.enter(Party::Torrent(torrent.clone()));
        if let Some(dht) = dht {
            dht.node.begin_at(places);
            dht.node.join(torrent.info_hash(), dht.port);
        }
        torrent
    }

    /// Fetches the metadata of a magnet link, and lets in peers that may have it. `on_found` is called once, with what goes by the link's
    /// info-hash.
    pub fn fetch(
        self: &Arc<Self>,
        magnet: &Magnet,
        on_found: impl Fn(Vec<u8>) + Send + Sync + 'static,
    ) -> Arc<Fetcher> {
        let session = self.clone();
        let setting = fetcher::Setting {
            clock: self.clock,
            us: self.us,
            dial: Box::new(move |fetcher, addr| {
                session.dial(&Party::Fetcher(fetcher.clone()), addr);
            }),
            on_found: Box::new(on_found),
        };
        let fetcher = Fetcher::start(magnet, setting);
        self.enter(Party::Fetcher(fetcher.clone()));
        fetcher
    }

    fn enter(&self, party: Party) {
        self.parties().insert(party);
    }

    /// Ends a torrent's connections and forgets it.
    pub fn remove(&self, torrent: &Torrent) {
        self.parties().remove(torrent.info_hash());
        if let Some(dht) = self.dht.get() {
            dht.node.leave(torrent.info_hash());
        }
        torrent.stop();
    }

    /// Ends a magnet link's connections and forgets it.
    pub fn give_up(&self, fetcher: &Fetcher) {
        self.parties().remove(fetcher.info_hash());
        fetcher.stop();
    }

    fn dial(self: &Arc<Self>, party: &Party, addr: SocketAddr) {
        let (session, on_its_way) = (self.clone(), party.clone());
        let dialled = threads::spawn("peer", move || {
            let hello = on_its_way.hello(session.us);
            let dialler = session.dialler(addr, on_its_way.speaks_utp(addr));
            match greeting::dial(|| dialler.connect(), session.encryption, addr, &hello) {
                Ok(greeted) => on_its_way.run(greeted, session.door.port()),
                Err(error) => {
                    if NotEncrypted::cause_of(&error).is_some() {
                        on_its_way.not_encrypted(addr);
                    }
                    on_its_way.dial_failed(addr);
                }
            }
        });
        if dialled.is_none() {
            party.dial_failed(addr);
        }
    }

    fn dialler(&self, addr: SocketAddr, speaks_utp: bool) -> Dialler<'_> {
        Dialler {
            bind: &self.bind,
            transport: self.transport,
            utp: self.utp.get().map(|utp| &**utp),
            addr,
            speaks_utp,
            deaf: Cell::new(false),
        }
    }

    /// Runs until the process ends.
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            match listener.accept() {
                Ok((stream, addr)) => self.greet(Stream::Tcp(stream), addr),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(_) => thread::sleep(BREATHER),
            }
        }
    }

    fn greet(self: &Arc<Self>, stream: Stream, addr: SocketAddr) {
        let addr = canonical(addr);
        let Some(place) = Place::take(self, addr.ip()) else {
            return;
        };
        let session = self.clone();
        threads::spawn("peer", move || {
            let find = |info_hash| session.parties().by_hash.get(&info_hash).cloned();
            let unmask = |disguise: &Digest| session.parties().disguises.get(disguise).copied();
            let hello = |party: &Party| party.hello(session.us);
            let encryption = session.encryption;
            let answered = greeting::answer(stream, addr, encryption, hello, find, unmask);
            drop(place);
            match answered {
                Ok((party, greeted)) => party.run(greeted, session.door.port()),
                Err(error) => {
                    let party = NotEncrypted::cause_of(&error).and_then(find);
                    if let Some(party) = party {
                        party.not_encrypted(addr);
                    }
                }
            }
        });
    }

    fn parties(&self) -> MutexGuard<'_, Parties> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn greeting(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.greeting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The torrents that peers may have, by both names that they have for them.
#[derive(Default)]
struct Parties {
    by_hash: HashMap<InfoHash, Party>,
    disguises: HashMap<Digest, InfoHash>,
}

impl Parties {
    fn insert(&mut self, party: Party) {
        let info_hash = party.info_hash();
        self.disguises.insert(mse::disguise(info_hash), info_hash);
        self.by_hash.insert(info_hash, party);
    }

    fn remove(&mut self, info_hash: InfoHash) {
        self.disguises.remove(&mse::disguise(info_hash));
        self.by_hash.remove(&info_hash);
    }
}

/// A place among those who are shaking hands; given back when dropped.
struct Place {
    session: Arc<Session>,
    ip: IpAddr,
}

impl Place {
    fn take(session: &Arc<Session>, ip: IpAddr) -> Option<Self> {
        let mut greeting = session.greeting();
        let all: usize = greeting.values().sum();
        let same = greeting.entry(ip).or_default();
        if all >= MAX_GREETING || *same >= MAX_GREETING_FROM_ONE {
            return None;
        }
        *same += 1;
        Some(Self {
            session: session.clone(),
            ip,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut greeting = self.session.greeting();
        if let Some(same) = greeting.get_mut(&self.ip) {
            *same -= 1;
            if *same == 0 {
                greeting.remove(&self.ip);
            }
        }
    }
}

fn cannot_listen(options: &SessionOptions, error: &io::Error) -> Failure {
    let host = options
        .bind
        .addr
        .map_or("*".to_owned(), |ip| ip.to_string());
    let ports = match (options.ports.start(), options.ports.end()) {
        (a, b) if a == b => a.to_string(),
        (a, b) => format!("{a}-{b}"),
    };
    Failure::new(
        Exit::Network,
        "listen on",
        format_args!("{host}:{ports}"),
        format_args!("{error}; `--port` and `--bind` choose another"),
    )
}

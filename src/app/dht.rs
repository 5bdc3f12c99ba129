//! A DHT node at work: the socket, the thread and the file around the decisions of [`core::dht`](crate::core::dht).
//!
//! One thread reads the socket and keeps the time. Whoever else has something to say locks the node, tells it, and sends what follows.

use std::fmt::{self, Display};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{io, mem};

use crate::app::failure::{Exit, Failure};
use crate::base::endpoint::is_dialable;
use crate::base::id::InfoHash;
use crate::base::time::Time;
use crate::core::dht::{Action, Config, Dht, Stats};
use crate::disk::publish::write_whole;
use crate::net::tcp::Bind;
use crate::net::udp::{self, Datagram};
use crate::proto::dht_state::DhtState;
use crate::proto::krpc::LONGEST;

/// The longest that the thread waits for a datagram, before it looks whether it is to end.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// The shortest, so that it never spins.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);

/// How long to wait where the system has nothing to give, before trying again.
const PAUSE: Duration = Duration::from_millis(50);

/// How often the nodes are saved.
const SAVE: Duration = Duration::from_secs(300);

/// From one attempt to find out the address of a name to the next; from then on twice as long each time.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);

/// The longest of these.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Names of hosts that are looked up.
const MAX_NAMES: usize = 64;

/// Datagrams that wait for a node on a socket that somebody else reads. What comes when there are more is lost, as at any socket.
const WAITING: usize = 64;

/// A host and a port to begin at.
pub type Place = (String, u16);

/// The places that have names.
#[derive(Debug, Default)]
struct Names {
    known: Vec<Place>,
    /// Those whose addresses are not known yet.
    wanted: Vec<Place>,
    /// A thread is at it.
    is_looked_up: bool,
}

/// How a node runs.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What its traffic is tied to.
    pub bind: Bind,
    /// Where to begin.
    pub places: Vec<Place>,
    /// Where names and nodes are kept for the next run, if they are.
    pub state: Option<PathBuf>,
    /// It answers nobody (BEP 43).
    pub read_only: bool,
    /// The address at which others see it, if the operator says so.
    pub external: Option<IpAddr>,
}

/// Where a node's datagrams come from and go to.
#[derive(Debug)]
pub struct Inlet {
    socket: Arc<UdpSocket>,
    addr: SocketAddr,
    /// What comes, where somebody else reads the socket.
    shared: Option<Receiver<Datagram>>,
}

impl Inlet {
    /// A socket of [`udp::bind_peer`] at `addr` that somebody else reads, who sends on what is for the node.
    #[must_use]
    pub fn shared(socket: Arc<UdpSocket>, addr: SocketAddr) -> (Self, SyncSender<Datagram>) {
        let (sender, shared) = mpsc::sync_channel(WAITING);
        let inlet = Self {
            socket,
            addr,
            shared: Some(shared),
        };
        (inlet, sender)
    }
}

fn cannot_listen(at: impl Display, cause: &dyn Display) -> Failure {
    let subject = format_args!("udp://{at} (DHT)");
    Failure::new(Exit::Network, "listen on", subject, cause)
}

/// Hears of peers.
type Found = dyn Fn(InfoHash, &[SocketAddr]) + Send + Sync;

/// A running node. Its thread ends with [`Node::stop`].
pub struct Node {
    dht: Mutex<Dht>,
    socket: Arc<UdpSocket>,
    addr: SocketAddr,
    begun: Instant,
    state: Option<PathBuf>,
    found: Box<Found>,
    names: Mutex<Names>,
    stopping: AtomicBool,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.addr)
    }
}

impl Node {
    /// Binds `at`, or another port of the same address if that one is taken and nobody insists on it, and begins there as [`Node::begin`] does.
    ///
    /// # Errors
    /// [`Exit::Network`] if the address cannot be bound.
    pub fn start(
        plan: Plan,
        at: SocketAddr,
        insist: bool,
        found: impl Fn(InfoHash, &[SocketAddr]) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, Failure> {
        let bound = udp::bind_peer(&plan.bind, at).or_else(|error| match error.kind() {
            io::ErrorKind::AddrInUse if !insist => {
                udp::bind_peer(&plan.bind, SocketAddr::new(at.ip(), 0))
            }
            _ => Err(error),
        });
        let socket = bound.map_err(|error| cannot_listen(at, &error))?;
        let addr = socket.local_addr();
        let inlet = Inlet {
            addr: addr.map_err(|error| cannot_listen(at, &error))?,
            socket: Arc::new(socket),
            shared: None,
        };
        Self::begin(plan, inlet, found)
    }

    /// Begins on a socket that is bound. `found` hears of peers, on any thread.
    ///
    /// # Errors
    /// [`Exit::Network`] if the system has no thread to give.
    pub fn begin(
        plan: Plan,
        inlet: Inlet,
        found: impl Fn(InfoHash, &[SocketAddr]) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, Failure> {
        let Inlet {
            socket,
            addr,
            shared,
        } = inlet;
        let kept = plan.state.as_ref().and_then(|path| fs::read(path).ok());
        let kept = kept.and_then(|bytes| DhtState::from_bytes(&bytes).ok());
        let kept = kept.unwrap_or_default();
        // The standard library seeds its hashers from the system's random numbers.
        let secret = || RandomState::new().hash_one(0);
        let config = Config {
            v4: addr.is_ipv4() || addr.ip().is_unspecified(),
            v6: addr.is_ipv6(),
            read_only: plan.read_only,
            secret: [secret(), secret()],
            ids: kept.ids,
            external: plan.external,
        };
        let mut dht = Dht::new(&config, Time::ZERO, secret());
        kept.nodes.into_iter().for_each(|node| dht.remember(node));
        let node = Arc::new(Self {
            dht: Mutex::new(dht),
            socket,
            addr,
            begun: Instant::now(),
            state: plan.state,
            found: Box::new(found),
            names: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        node.begin_at(plan.places);
        let runner = Arc::clone(&node);
        let thread = thread::Builder::new().name("dht".into());
        let started = thread.spawn(move || runner.run(shared.as_ref()));
        started.map_err(|error| cannot_listen(addr, &error))?;
        Ok(node)
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How it is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let now = self.now();
        self.lock().stats(now)
    }

    /// Finds peers of a torrent from now on, and announces that we listen for them at `port`.
    pub fn join(&self, info_hash: InfoHash, port: u16) {
        self.act(|dht, now, _| dht.join(now, info_hash, port));
    }

    /// No longer finds peers of a torrent.
    pub fn leave(&self, info_hash: InfoHash) {
        self.act(|dht, _, _| dht.leave(info_hash));
    }

    /// A torrent lacks peers.
    pub fn hurry(&self, info_hash: InfoHash) {
        self.act(|dht, now, _| dht.hurry(now, info_hash));
    }

    /// A peer says that it has a node at `addr`.
    pub fn meet(&self, addr: SocketAddr) {
        self.act(|dht, now, out| dht.meet(now, addr, out));
    }

    /// Begins at these places, too. Names are looked up on a thread of their own, until each has told its addresses once.
    pub fn begin_at(self: &Arc<Self>, places: Vec<Place>) {
        for place in places {
            match place.0.parse() {
                Ok(ip) => self.add_seed(SocketAddr::new(ip, place.1)),
                Err(_) => self.find(place),
            }
        }
    }

    /// One thread looks up all names.
    fn find(self: &Arc<Self>, place: Place) {
        let mut names = self.names();
        if names.known.len() >= MAX_NAMES || names.known.contains(&place) {
            return;
        }
        names.known.push(place.clone());
        names.wanted.push(place);
        if !names.is_looked_up {
            let node = Arc::clone(self);
            let thread = thread::Builder::new().name("resolver".into());
            // Without a thread there are other places, and peers that tell of theirs.
            names.is_looked_up = thread.spawn(move || node.look_up()).is_ok();
        }
    }

    fn look_up(&self) {
        let mut pause = RESOLVE_AGAIN;
        loop {
            let wanted = mem::take(&mut self.names().wanted);
            let (mut again, begun) = (Vec::new(), Instant::now());
            for place in wanted {
                // The system may take its time.
                match (place.0.as_str(), place.1).to_socket_addrs() {
                    Ok(addrs) => addrs.for_each(|addr| self.add_seed(addr)),
                    Err(_) => again.push(place),
                }
            }
            let mut names = self.names();
            // What has come meanwhile is looked up at once, what has failed later.
            let is_new = !names.wanted.is_empty();
            names.wanted.append(&mut again);
            if names.wanted.is_empty() {
                names.is_looked_up = false;
                return;
            }
            drop(names);
            while !is_new && begun.elapsed() < pause {
                if self.stopping.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(LONGEST_WAIT);
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_seed(&self, addr: SocketAddr) {
        if is_dialable(addr) {
            self.act(|dht, now, _| dht.add_seed(now, addr));
        }
    }

    /// Ends it, and saves what it knows.
    pub fn stop(&self) {
        if !self.stopping.swap(true, Ordering::Relaxed) {
            self.save();
        }
    }

    fn run(&self, shared: Option<&Receiver<Datagram>>) {
        let mut buffer = [0; LONGEST + 1];
        let mut saved = Instant::now();
        while !self.stopping.load(Ordering::Relaxed) {
            let step = || self.step(shared, &mut buffer);
            // A fault costs this datagram its answer; where half a program is worse than none, it has ended the program.
            let outcome = panic::catch_unwind(AssertUnwindSafe(step));
            if !matches!(outcome, Ok(Ok(()))) {
                thread::sleep(PAUSE);
            }
            if saved.elapsed() >= SAVE {
                saved = Instant::now();
                self.save();
            }
        }
    }

    fn step(&self, shared: Option<&Receiver<Datagram>>, buffer: &mut [u8]) -> io::Result<()> {
        let due = self.lock().deadline().map(|due| due.since(self.now()));
        let wait = due.unwrap_or(LONGEST_WAIT);
        let wait = wait.clamp(SHORTEST_WAIT, LONGEST_WAIT);
        if let Some(shared) = shared {
            match shared.recv_timeout(wait) {
                Ok((bytes, from)) => self.received(from, &bytes),
                Err(RecvTimeoutError::Timeout) => self.act(|_, _, _| {}),
                // Whoever has the socket has ended.
                Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            return Ok(());
        }
        match udp::receive(&self.socket, buffer, wait)? {
            Some((len, from)) => self.received(from, buffer.get(..len).unwrap_or_default()),
            None => self.act(|_, _, _| {}),
        }
        Ok(())
    }

    fn received(&self, from: SocketAddr, bytes: &[u8]) {
        self.act(|dht, now, out| dht.received(now, from, bytes, out));
    }

    /// Tells the node something, and does what follows outside its lock.
    fn act(&self, tell: impl FnOnce(&mut Dht, Time, &mut Vec<Action>)) {
        let mut out = Vec::new();
        let mut dht = self.lock();
        let now = self.now();
        tell(&mut dht, now, &mut out);
        dht.tick(now, &mut out);
        drop(dht);
        for action in out {
            match action {
                // Whoever misses it is asked again, or asks again.
                Action::Send { to, bytes } => drop(udp::send(&self.socket, &bytes, to)),
                Action::Found { info_hash, peers } => (self.found)(info_hash, &peers),
            }
        }
    }

    /// Writes down what the next run may begin at. Without it, that begins where the operator says.
    fn save(&self) {
        let Some(path) = &self.state else { return };
        let now = self.now();
        let dht = self.lock();
        let state = DhtState {
            ids: dht.ids(),
            nodes: dht.nodes(now),
        };
        drop(dht);
        if !state.nodes.is_empty() {
            let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
            let _ = folder.and_then(|()| write_whole(path, &state.to_bytes(), true));
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.begun.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Dht> {
        self.dht.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a node listens if nobody says at which address: `[::]` for both families.
#[must_use]
pub fn anywhere(port: u16) -> [SocketAddr; 2] {
    let v6: IpAddr = std::net::Ipv6Addr::UNSPECIFIED.into();
    let v4: IpAddr = Ipv4Addr::UNSPECIFIED.into();
    [v6, v4].map(|ip| SocketAddr::new(ip, port))
}

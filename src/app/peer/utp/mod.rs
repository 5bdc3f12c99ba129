//! uTP at work (BEP 29): one UDP socket at the port that peers know, one thread, and the streams of bytes that go over it.
//!
//! The thread takes datagrams and keeps the time; decisions are those of [`core::utp`](crate::core::utp). What is not uTP, such as the DHT's, goes to whoever
//! else listens at that port.

mod line;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::base::time::Time;
use crate::core::utp::strangers::{Answer, Strangers};
use crate::core::utp::{Connection, Limits};
use crate::net::udp::{self, Datagram};
use crate::proto::utp::{Kind, Packet};

use super::clock::Clock;
use super::threads;
use line::Line;

pub use line::Stream;

/// The longest that the thread waits for a datagram while there are connections. What whoever writes has made due is done that much later at most.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// The same while there are none.
const IDLE_WAIT: Duration = Duration::from_millis(500);

/// Between two looks at what is due, so that many packets cost one.
const SHORTEST_WAIT: Duration = Duration::from_millis(2);

/// How long to wait where the system has nothing to give, before trying again.
const PAUSE: Duration = Duration::from_millis(50);

/// Datagrams that are taken before what follows from them goes out.
const BATCH: usize = 64;

/// Connections at a time, in all and with one address, those that are ending included. Whoever comes when there are more gets no answer.
const MAX_LINES: usize = 4096;
const MAX_LINES_FROM_ONE: usize = 512;

/// Attempts at an id that is free.
const TRIES: usize = 8;

/// Takes connections that others have made.
type Accepted = dyn Fn(Stream, SocketAddr) + Send + Sync;

/// What is known by the far end and the id that it sends to.
type Lines = HashMap<(SocketAddr, u16), Arc<Line>>;

/// The socket, and what time it is there.
struct Wire {
    socket: Arc<UdpSocket>,
    /// It is one for both families.
    both: bool,
    clock: Clock,
}

impl Wire {
    fn now(&self) -> Time {
        self.clock.now()
    }

    /// A far end's address as the socket takes it.
    fn reach(&self, far: SocketAddr) -> SocketAddr {
        udp::reach(self.both, far)
    }

    fn send(&self, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        self.socket.send_to(packet, to).map(drop)
    }
}

/// The end of all uTP connections of a process. Its thread ends with [`Endpoint::stop`].
pub struct Endpoint {
    wire: Arc<Wire>,
    lines: Mutex<Lines>,
    accepted: Box<Accepted>,
    /// Who else listens at this port.
    others: Option<SyncSender<Datagram>>,
    stopping: AtomicBool,
}

impl Endpoint {
    /// Begins on a socket of [`udp::bind_peer`]. `accepted` takes connections that others have made; it must not block. What is not uTP goes to `others`.
    ///
    /// # Errors
    /// If the socket is none, or the system has no thread to give.
    pub fn start(
        socket: Arc<UdpSocket>,
        clock: Clock,
        others: Option<SyncSender<Datagram>>,
        accepted: impl Fn(Stream, SocketAddr) + Send + Sync + 'static,
    ) -> io::Result<Arc<Self>> {
        let both = socket.local_addr()?.is_ipv6();
        let endpoint = Arc::new(Self {
            wire: Arc::new(Wire {
                socket,
                both,
                clock,
            }),
            lines: Mutex::default(),
            accepted: Box::new(accepted),
            others,
            stopping: AtomicBool::new(false),
        });
        let runner = endpoint.clone();
        let started = threads::spawn("utp", move || runner.run());
        started.ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(endpoint)
    }

    /// Connects to a peer.
    ///
    /// # Errors
    /// If it cannot be reached, or has not answered in time.
    pub fn dial(&self, far: SocketAddr, timeout: Duration) -> io::Result<Stream> {
        let line = self.begin(far).ok_or(io::ErrorKind::AddrInUse)?;
        let stream = Stream::new(line);
        stream
            .connect(timeout)
            .inspect_err(|_| stream.reset_at_end())?;
        Ok(stream)
    }

    fn begin(&self, far: SocketAddr) -> Option<Arc<Line>> {
        let mut lines = self.lines();
        let mut ids = (0..TRIES).map(|_| fastrand::u16(..));
        let id = ids.find(|&id| !lines.contains_key(&(far, id)))?;
        let (now, limits) = (self.wire.now(), Limits::default());
        let connection = Connection::dial(now, id, fastrand::u16(..), limits);
        let line = Arc::new(Line::new(self.wire.clone(), far, connection));
        lines.insert((far, id), line.clone());
        Some(line)
    }

    /// Ends all connections, and says so to their far ends.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let lines: Vec<_> = self.lines().drain().map(|(_, line)| line).collect();
        lines.iter().for_each(|line| line.cut());
    }

    fn run(&self) {
        let mut buffer = vec![0; udp::LONGEST];
        // The standard library seeds its hashers from the system's random numbers.
        let secret = || RandomState::new().hash_one(0);
        let mut strangers = Strangers::new([secret(), secret()]);
        let mut due = Time::ZERO;
        while !self.stopping.load(Ordering::Relaxed) {
            let wait = due.since(self.wire.now()).max(SHORTEST_WAIT);
            match self.take(&mut buffer, wait, &mut strangers) {
                Ok(next) => due = due.min(next),
                Err(_) => thread::sleep(PAUSE),
            }
            if due <= self.wire.now() {
                due = self.tick();
            }
        }
    }

    /// Takes what has come, once something has, and sends what follows from it. When there is more to do for those whom it was for.
    fn take(
        &self,
        buffer: &mut [u8],
        wait: Duration,
        strangers: &mut Strangers,
    ) -> io::Result<Time> {
        let mut touched = Vec::new();
        let mut next = udp::receive(&self.wire.socket, buffer, wait)?;
        let mut taken = 0;
        while let Some((len, from)) = next {
            let bytes = buffer.get(..len).unwrap_or_default();
            if let Some(line) = self.heard(from, bytes, strangers)
                && !touched.iter().any(|other| Arc::ptr_eq(other, &line))
            {
                touched.push(line);
            }
            taken += 1;
            if taken == BATCH {
                break;
            }
            next = udp::receive_now(&self.wire.socket, buffer)?;
        }
        let due = touched.iter().filter_map(|line| line.flush()).min();
        Ok(due.unwrap_or(self.wire.now() + LONGEST_WAIT))
    }

    /// The connection that a datagram was for.
    fn heard(
        &self,
        from: SocketAddr,
        bytes: &[u8],
        strangers: &mut Strangers,
    ) -> Option<Arc<Line>> {
        let Ok(packet) = Packet::decode(bytes) else {
            if let Some(others) = &self.others {
                // Whoever does not keep up loses some, as at any socket.
                let _ = others.try_send((bytes.to_vec(), from));
            }
            return None;
        };
        let Some(line) = self.find(from, &packet) else {
            return self.approached(from, &packet, strangers);
        };
        line.heard(&packet);
        Some(line)
    }

    fn find(&self, from: SocketAddr, packet: &Packet<'_>) -> Option<Arc<Line>> {
        let lines = self.lines();
        let known = |id| lines.get(&(from, id)).cloned();
        let id = packet.connection_id;
        match packet.kind {
            // It names the id that its sender will hear.
            Kind::Syn => known(id.wrapping_add(1)),
            // It may do so, too.
            Kind::Reset => {
                let ids = [id, id.wrapping_add(1), id.wrapping_sub(1)];
                ids.into_iter().find_map(known)
            }
            Kind::Data | Kind::Fin | Kind::State => known(id),
        }
    }

    /// Somebody who has no connection says something.
    fn approached(
        &self,
        from: SocketAddr,
        packet: &Packet<'_>,
        strangers: &mut Strangers,
    ) -> Option<Arc<Line>> {
        let now = self.wire.now();
        match strangers.heard(now, from, packet, Limits::default()) {
            Answer::Nothing => None,
            Answer::Reply(bytes) => {
                // Whoever misses it asks again.
                let _ = self.wire.send(&bytes, self.wire.reach(from));
                None
            }
            Answer::Connection(connection) => {
                let line = self.admit(from, *connection)?;
                (self.accepted)(Stream::new(line.clone()), from);
                Some(line)
            }
        }
    }

    fn admit(&self, from: SocketAddr, connection: Connection) -> Option<Arc<Line>> {
        let mut lines = self.lines();
        let same = || {
            lines
                .keys()
                .filter(|(far, _)| far.ip() == from.ip())
                .count()
        };
        if lines.len() >= MAX_LINES || same() >= MAX_LINES_FROM_ONE {
            return None;
        }
        let key = (from, connection.receive_id());
        let line = Arc::new(Line::new(self.wire.clone(), from, connection));
        lines.insert(key, line.clone());
        Some(line)
    }

    /// Lets time pass for all connections, and forgets those that are over. When to do so again.
    fn tick(&self) -> Time {
        let now = self.wire.now();
        let mut lines = self.lines();
        let mut due = now
            + if lines.is_empty() {
                IDLE_WAIT
            } else {
                LONGEST_WAIT
            };
        lines.retain(|_, line| {
            let next = line.tick(now);
            due = next.map_or(due, |next| next.min(due));
            next.is_some()
        });
        due.max(now + SHORTEST_WAIT)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

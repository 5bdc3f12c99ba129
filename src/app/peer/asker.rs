//! Asks one tracker, over HTTP or UDP as its URL says, and waits for the answer.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::time::Time;
use crate::core::udp_announce::{ConnectionId, Question, Step, UdpAnnounce};
use crate::net::http_client::{Client, HttpError, Options};
use crate::net::tcp::Bind;
use crate::net::udp;
use crate::proto::tracker::http::{announce_url, parse_announce};
use crate::proto::tracker::{AnnounceReply, AnnounceRequest, ReplyError, Retry};
use crate::proto::url::{self, Scheme, Target};

use super::clock::Clock;
use super::threads;

/// More than any datagram of a tracker.
const DATAGRAM: usize = 1 << 16;

/// Why there is no reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The tracker said no, for this reason and this long.
    Refused(String, Option<Duration>),
    /// It could not be reached, or made no sense.
    Failed(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason, _) => write!(f, "the tracker refuses: {reason}"),
            Self::Failed(cause) => f.write_str(cause),
        }
    }
}

impl From<HttpError> for Trouble {
    fn from(error: HttpError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ReplyError> for Trouble {
    fn from(error: ReplyError) -> Self {
        match error {
            ReplyError::Refused(refusal) => Self::Refused(refusal.reason, retry_in(refusal.retry)),
            ReplyError::Malformed(_) => Self::Failed(error.to_string()),
        }
    }
}

fn retry_in(retry: Retry) -> Option<Duration> {
    match retry {
        Retry::Unsaid => None,
        Retry::Minutes(minutes) => Some(Duration::from_secs(60 * u64::from(minutes))),
        Retry::Never => Some(Duration::MAX),
    }
}

/// Asks trackers; may be shared by threads. Clones share connections and fate.
#[derive(Clone)]
pub(super) struct Asker {
    http: Client,
    bind: Bind,
    patience: Duration,
    clock: Clock,
    /// What UDP trackers have given us.
    ids: Arc<Mutex<HashMap<SocketAddr, ConnectionId>>>,
    aborted: Arc<AtomicBool>,
}

impl Asker {
    /// Gives each tracker so much time for an answer.
    pub(super) fn new(bind: &Bind, patience: Duration) -> Self {
        Self {
            http: http(bind, patience),
            bind: bind.clone(),
            patience,
            clock: Clock::start(),
            ids: Arc::default(),
            aborted: Arc::default(),
        }
    }

    /// Another one, with other patience, that knows what this one has learned but does not share its fate.
    pub(super) fn successor(&self, patience: Duration) -> Self {
        Self {
            http: http(&self.bind, patience),
            patience,
            aborted: Arc::default(),
            ..self.clone()
        }
    }

    /// Breaks off what is under way in other threads, and fails all that comes later. Over UDP nothing more is sent, but the thread may wait
    /// until it would have been time to.
    pub(super) fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
        self.http.abort();
    }

    /// Announces to the tracker at `url`.
    pub(super) fn announce(
        &self,
        url: &str,
        request: &AnnounceRequest,
    ) -> Result<AnnounceReply, Trouble> {
        match url::tracker(url) {
            Ok(target) if target.scheme == Scheme::Udp => {
                let question = Question::Announce(request, url::path_and_query(url));
                self.ask_udp(&target, question)
            }
            Err(error) if url.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("udp:")) => {
                Err(Trouble::Failed(error.to_string()))
            }
            // Where it is no URL at all, that is told there.
            _ => self.announce_http(url, request),
        }
    }

    fn announce_http(
        &self,
        url: &str,
        request: &AnnounceRequest,
    ) -> Result<AnnounceReply, Trouble> {
        let response = self.http.get(&announce_url(url, request))?;
        match parse_announce(&response.body) {
            // Some trackers send their refusal with a status that says the same; the reason is worth more than the number.
            Err(ReplyError::Malformed(_)) if response.status != 200 => {
                Err(HttpError::Status(response.status).into())
            }
            outcome => Ok(outcome?),
        }
    }

    /// One address after the other; each but the last has half of the time that is left, so that a dead one does not use it all up.
    pub(super) fn ask_udp(
        &self,
        target: &Target,
        question: Question<'_>,
    ) -> Result<AnnounceReply, Trouble> {
        let end = self.clock.now() + self.patience;
        let mut addrs = self.resolve(target)?;
        let bound =
            |addr: &SocketAddr| self.bind.addr.is_none_or(|b| b.is_ipv4() == addr.is_ipv4());
        addrs.retain(bound);
        let mut outcome = Err(HttpError::UnknownHost.into());
        for (n, &addr) in addrs.iter().enumerate() {
            let left = end.since(self.clock.now());
            let share = if n + 1 < addrs.len() { left / 2 } else { left };
            outcome = self.ask_at(addr, question, share);
            if !matches!(outcome, Err(Trouble::Failed(_))) {
                break;
            }
        }
        outcome
    }

    /// The system may take its time for a name, and cannot be told how much.
    fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, Trouble> {
        let (host, port) = (target.host.clone(), target.port);
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let (tell, told) = mpsc::channel();
        threads::spawn("resolver", move || {
            let found = (host.as_str(), port).to_socket_addrs();
            // Nobody listens who has waited for too long.
            let _ = tell.send(found.map(Iterator::collect));
        });
        match told.recv_timeout(self.patience) {
            Ok(Ok(addrs)) => Ok(addrs),
            Ok(Err(_)) => Err(HttpError::UnknownHost.into()),
            Err(_) => Err(HttpError::TimedOut.into()),
        }
    }

    fn ask_at(
        &self,
        addr: SocketAddr,
        question: Question<'_>,
        patience: Duration,
    ) -> Result<AnnounceReply, Trouble> {
        let socket = udp::dial(&self.bind, addr)?;
        let (now, seed) = (self.clock.now(), fastrand::u64(..));
        let kept = self.ids().remove(&addr);
        let mut announce = UdpAnnounce::new(now, patience, addr.ip(), question, kept, seed);
        let outcome = self.carry(&socket, &mut announce);
        if let Some(id) = announce.connection() {
            self.ids().insert(addr, id);
        }
        outcome
    }

    /// Moves datagrams until there is an outcome.
    fn carry(
        &self,
        socket: &UdpSocket,
        announce: &mut UdpAnnounce<'_>,
    ) -> Result<AnnounceReply, Trouble> {
        let mut buffer = vec![0; DATAGRAM];
        while !self.aborted.load(Ordering::Relaxed) {
            let now = self.clock.now();
            match announce.next(now) {
                Step::Send(packet) => {
                    socket.send(&packet)?;
                }
                Step::Wait(until) => {
                    let Some(len) = receive(socket, &mut buffer, until, now)? else {
                        continue;
                    };
                    let packet = buffer.get(..len).unwrap_or_default();
                    if let Some(outcome) = announce.received(self.clock.now(), packet) {
                        return Ok(outcome?);
                    }
                }
                Step::GiveUp => return Err(HttpError::TimedOut.into()),
            }
        }
        Err(Trouble::Failed("it was broken off".into()))
    }

    fn ids(&self) -> MutexGuard<'_, HashMap<SocketAddr, ConnectionId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn http(bind: &Bind, timeout: Duration) -> Client {
    Client::new(&Options {
        timeout,
        bind: bind.clone(),
        ..Options::default()
    })
}

/// Waits for a datagram; returns its length, or nothing if none has come by then.
fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    until: Time,
    now: Time,
) -> io::Result<Option<usize>> {
    // Zero would mean for ever.
    let wait = until.since(now).max(Duration::from_millis(1));
    socket.set_read_timeout(Some(wait))?;
    match socket.recv(buffer) {
        Ok(len) => Ok(Some(len)),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{InfoHash, PeerId};
    use crate::proto::tracker::udp::{
        Action, read_announce, read_head, write_announced, write_connected,
    };
    use std::thread;

    /// A tracker at `ip` that answers until it has answered so many announces. Its URL, and what was announced, and from where.
    fn tracker(ip: &str, announces: usize) -> (String, mpsc::Receiver<(SocketAddr, Vec<u8>, u64)>) {
        let socket = UdpSocket::bind(format!("{ip}:0")).unwrap();
        let url = format!("udp://{}/announce/key", socket.local_addr().unwrap());
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let (mut buffer, mut connects, mut answered) = ([0; 2048], 0, 0);
            while answered < announces {
                let (len, from) = socket.recv_from(&mut buffer).unwrap();
                let head = read_head(&buffer[..len]).unwrap();
                let mut packet = Vec::new();
                if head.action == Action::Connect {
                    connects += 1;
                    write_connected(head.transaction, connects, &mut packet);
                } else {
                    answered += 1;
                    let asked = read_announce(&buffer[..len]).unwrap();
                    tell.send((from, asked.path.into_owned(), head.connection))
                        .unwrap();
                    let reply = AnnounceReply {
                        interval: 77,
                        ..AnnounceReply::default()
                    };
                    write_announced(head.transaction, &reply, from.ip(), &mut packet);
                }
                socket.send_to(&packet, from).unwrap();
            }
        });
        (url, told)
    }

    fn request() -> AnnounceRequest {
        AnnounceRequest::new(InfoHash([1; 20]), PeerId([2; 20]), 6881)
    }

    fn asker(bind: &str, patience: Duration) -> Asker {
        Asker::new(&Bind::parse(bind), patience)
    }

    const USUAL: Duration = Duration::from_secs(10);

    #[test]
    fn a_udp_tracker_is_asked_from_the_bound_address_and_its_id_is_used_again() {
        for (bind, ip) in [("127.0.0.9", "127.0.0.1"), ("::1", "[::1]")] {
            let (url, told) = tracker(ip, 2);
            let asker = asker(bind, USUAL);
            assert_eq!(asker.announce(&url, &request()).unwrap().interval, 77);
            asker.abort();
            let last = asker.successor(USUAL);
            assert_eq!(last.announce(&url, &request()).unwrap().interval, 77);
            for _ in 0..2 {
                let (from, path, id) = told.recv().unwrap();
                assert_eq!(from.ip().to_string(), bind);
                assert_eq!((path.as_slice(), id), (&b"/announce/key"[..], 1));
            }
        }
    }

    #[test]
    fn a_udp_tracker_that_cannot_be_asked_is_told_of() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let url = format!("udp://{}", silent.local_addr().unwrap());
        let failed = |asker: &Asker, url: &str| match asker.announce(url, &request()) {
            Err(Trouble::Failed(why)) => why,
            other => panic!("{other:?}"),
        };
        let hasty = asker("127.0.0.1", Duration::from_millis(100));
        assert_eq!(failed(&hasty, &url), "no answer in time");
        assert!(failed(&hasty, "udp://localhost").contains("port"));
        assert!(failed(&hasty, "udp://[::1]:9").contains("no address"));
        drop(silent);
        let patient = asker("127.0.0.1", USUAL);
        assert!(failed(&patient, &url).contains("refused"));
        patient.abort();
        assert!(failed(&patient, &url).contains("broken off"));
    }
}

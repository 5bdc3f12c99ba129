//! A worker: the loop that accepts, reads, answers and closes.

use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};

use super::conn::{Body, Conn, Phase, Progress, READ, Room};
use super::head::{Head, Parsed, parse};
use super::limits::{Limits, Permit};
use super::relay::{Back, Job, Relays};
use super::slab::{Slab, Token};
use super::{Answer, Config, Handler, reply};
use crate::base::endpoint::canonical;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long nobody is accepted after the system had no descriptor left and none could be freed.
const REST: Duration = Duration::from_millis(50);

/// How long a client may take to notice that the connection has ended.
const DRAIN: Duration = Duration::from_secs(2);

/// Bytes that a client may still send until it has noticed.
const LATE: usize = 256 << 10;

/// Connections that are accepted before those that are there get their turn.
const BATCH: usize = 64;

/// Bytes of answers that pile up before they are sent.
const ENOUGH: usize = 16 << 10;

/// The token of the order to stop; those of listeners follow.
const STOP: Token = 0;

/// The token of answers that have come back from the relays.
const BACK: Token = 0xffff_ffff;

/// What all workers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) listeners: Vec<TcpListener>,
    pub(super) limits: Arc<Limits>,
    pub(super) stop: Arc<OwnedFd>,
    /// Bytes of bodies that are on their way.
    pub(super) bodies: Arc<AtomicUsize>,
}

/// What becomes of a connection after a step.
enum Fate {
    /// It waits for what its phase says.
    Keep,
    /// It ends.
    Close,
    /// It goes to a relay with this request.
    Page(Vec<u8>),
}

/// See the module.
pub(super) struct Worker {
    shared: Arc<Shared>,
    relays: Relays,
    /// Where the relays put connections with their answers.
    back: Arc<Back>,
    handler: Box<dyn Handler>,
    epoll: OwnedFd,
    conns: Slab,
    /// Where bytes are read into; most requests never leave it.
    scratch: Vec<u8>,
    out: Vec<u8>,
    body: Vec<u8>,
    now: Instant,
    /// Nobody is accepted for the time being.
    resting: bool,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        relays: Relays,
        handler: Box<dyn Handler>,
    ) -> io::Result<Self> {
        let worker = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            shared,
            relays,
            back: Arc::new(Back::new()?),
            handler,
            conns: Slab::default(),
            scratch: vec![0; READ],
            out: Vec::new(),
            body: Vec::new(),
            now: Instant::now(),
            resting: false,
        };
        worker.watch(&*worker.shared.stop, STOP, epoll::EventFlags::IN)?;
        worker.watch(worker.back.bell(), BACK, epoll::EventFlags::IN)?;
        worker.open_doors()?;
        Ok(worker)
    }

    /// Works until the order to stop comes.
    pub(super) fn run(mut self) {
        // Faults of the handler are caught where it is called; should there be one here, it costs the connections of this worker, not the service.
        while panic::catch_unwind(AssertUnwindSafe(|| self.turn())).is_err() {
            self.conns.clear();
        }
    }

    fn turn(&mut self) {
        let mut events = Vec::with_capacity(256);
        let mut next_tick = Instant::now() + TICK;
        loop {
            let wait = Timespec::try_from(if self.resting { REST } else { TICK }).ok();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), wait.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                // It cannot happen, and if it did, it would again: do not burn the processor.
                Err(_) => thread::sleep(REST),
            }
            self.now = Instant::now();
            for event in events.drain(..) {
                match event.data.u64() {
                    STOP => return,
                    BACK => self.take_back(),
                    small @ 1..=0xffff_ffff => self.accept(usize::try_from(small - 1).unwrap_or(0)),
                    token => self.wake(token),
                }
            }
            if self.resting {
                self.resting = self.open_doors().is_err();
            }
            if self.now >= next_tick {
                next_tick = self.now + TICK;
                for token in self.conns.overdue(self.now) {
                    self.conns.remove(token);
                }
            }
        }
    }

    fn watch(&self, fd: impl AsFd, token: Token, what: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token),
            what,
        )?)
    }

    /// Waits for connections. One that comes wakes one worker, not all.
    fn open_doors(&self) -> io::Result<()> {
        let what = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
        for (listener, token) in self.shared.listeners.iter().zip(1..) {
            match self.watch(listener, token, what) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn close_doors(&mut self) {
        for listener in &self.shared.listeners {
            let _ = epoll::delete(&self.epoll, listener);
        }
        self.resting = true;
    }

    fn accept(&mut self, listener: usize) {
        let shared = Arc::clone(&self.shared);
        let Some(listener) = shared.listeners.get(listener) else {
            return;
        };
        for _ in 0..BATCH {
            match acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((fd, from)) => {
                    if let Some(from) = from.and_then(|from| SocketAddr::try_from(from).ok()) {
                        self.admit(fd.into(), from);
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    if self.make_room() == 0 {
                        self.close_doors();
                        return;
                    }
                }
                // That connection was over before it was accepted; the next may be better.
                Err(_) => {}
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, from: SocketAddr) {
        let from = canonical(from);
        let permit = if self.handler.exempts(from.ip()) {
            Some(Permit::exempt())
        } else {
            self.shared.limits.acquire(from.ip())
        };
        let Some(permit) = permit else {
            return;
        };
        let config = &self.shared.config;
        let mut conn = Conn {
            stream,
            from,
            _permit: permit,
            load: None,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            since: self.now,
            deadline: self.now + config.head_time,
            phase: Phase::Reading,
            head_begun: false,
            body: None,
        };
        // The request is often there already; then the connection may be over before it was ever waited for.
        match self.step(&mut conn) {
            Fate::Close => {}
            Fate::Page(request) => self.pass_on(conn, request),
            Fate::Keep => self.keep(conn),
        }
    }

    /// Waits for what a connection that is new here needs.
    fn keep(&mut self, conn: Conn) {
        let config = &self.shared.config;
        if self.conns.len() >= config.connections.div_ceil(config.workers.max(1)) {
            self.make_room();
        }
        let what = interest(conn.phase);
        let token = self.conns.insert(conn);
        if self.start_watching(token, what).is_err() {
            self.conns.remove(token);
        }
    }

    fn start_watching(&mut self, token: Token, what: epoll::EventFlags) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(token) else {
            return Ok(());
        };
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, &conn.stream, data, what)?)
    }

    /// Ends a part of the connections that have done nothing for longest. Returns how many.
    fn make_room(&mut self) -> usize {
        let idle = self.conns.longest_idle((self.conns.len() / 16).max(1));
        for &token in &idle {
            self.conns.remove(token);
        }
        idle.len()
    }

    /// Something has happened to a connection.
    fn wake(&mut self, token: Token) {
        // It may have been closed to make room a moment ago.
        let Some(mut conn) = self.conns.take(token) else {
            return;
        };
        let before = conn.phase;
        match self.step(&mut conn) {
            Fate::Keep => {
                let (was, is) = (interest(before), interest(conn.phase));
                let data = epoll::EventData::new_u64(token);
                let watched =
                    was == is || epoll::modify(&self.epoll, &conn.stream, data, is).is_ok();
                self.conns.put_back(token, conn);
                if !watched {
                    self.conns.remove(token);
                }
            }
            Fate::Close => self.conns.release(token),
            Fate::Page(request) => {
                let _ = epoll::delete(&self.epoll, &conn.stream);
                self.conns.release(token);
                self.pass_on(conn, request);
            }
        }
    }

    fn pass_on(&mut self, mut conn: Conn, request: Vec<u8>) {
        // What can go before it need not wait for the page.
        if !conn.flush() {
            return;
        }
        let exempt = self.handler.exempts(conn.from.ip());
        let job = Job {
            conn,
            request,
            back: Arc::clone(&self.back),
        };
        if let Err(mut job) = self.relays.submit(job, exempt) {
            reply::write_error(503, &mut job.conn.output);
            self.finish(job.conn);
        }
    }

    /// Sends what the relays brought back.
    fn take_back(&mut self) {
        for conn in self.back.take() {
            self.finish(conn);
        }
    }

    /// Sends the last answer of a connection.
    fn finish(&mut self, mut conn: Conn) {
        conn.phase = Phase::Closing;
        conn.since = self.now;
        conn.deadline = self.now + self.shared.config.page_time;
        if let Fate::Keep = self.step(&mut conn) {
            self.keep(conn);
        }
    }

    /// Does what can be done now.
    fn step(&mut self, conn: &mut Conn) -> Fate {
        match conn.phase {
            Phase::Reading => self.read(conn),
            Phase::Receiving => self.receive(conn),
            Phase::Draining(left) => self.drain(conn, left),
            Phase::Writing | Phase::Closing => {
                if !conn.flush() {
                    return Fate::Close;
                }
                if !conn.output.is_empty() {
                    return Fate::Keep;
                }
                if conn.phase == Phase::Closing {
                    return self.part(conn);
                }
                conn.phase = Phase::Reading;
                let waiting = mem::take(&mut conn.input);
                self.serve(conn, &waiting, false)
            }
        }
    }

    fn read(&mut self, conn: &mut Conn) -> Fate {
        let mut scratch = mem::take(&mut self.scratch);
        let fate = match conn.read(&mut scratch) {
            Progress::Gone => Fate::Close,
            Progress::Blocked => Fate::Keep,
            Progress::Some(n) => {
                let (fresh, more) = (scratch.get(..n).unwrap_or_default(), n == scratch.len());
                if conn.input.is_empty() {
                    self.serve(conn, fresh, more)
                } else {
                    let mut all = mem::take(&mut conn.input);
                    all.extend_from_slice(fresh);
                    self.serve(conn, &all, more)
                }
            }
        };
        self.scratch = scratch;
        fate
    }

    /// Takes what has come of a body.
    fn receive(&mut self, conn: &mut Conn) -> Fate {
        let Some(mut body) = conn.body.take() else {
            return Fate::Close;
        };
        let fate = match conn.read(&mut self.scratch) {
            Progress::Gone => Fate::Close,
            Progress::Blocked => Fate::Keep,
            Progress::Some(n) => {
                let fresh = self.scratch.get(..n.min(body.missing)).unwrap_or_default();
                body.request.extend_from_slice(fresh);
                body.missing -= fresh.len();
                if body.missing == 0 {
                    Fate::Page(mem::take(&mut body.request))
                } else {
                    Fate::Keep
                }
            }
        };
        conn.body = Some(body);
        fate
    }

    /// Waits for what is missing of a body, which begins with `fresh`.
    fn expect_body(&self, conn: &mut Conn, due: Due, fresh: &[u8]) -> Fate {
        let Due {
            mut request,
            length,
            expects,
        } = due;
        let (bodies, max) = (&self.shared.bodies, self.shared.config.max_body);
        let Some(room) = Room::take(bodies, length, max.saturating_mul(2)) else {
            reply::write_error(503, &mut conn.output);
            conn.phase = Phase::Closing;
            conn.deadline = self.now + self.shared.config.head_time;
            return Fate::Keep;
        };
        let fresh = fresh.get(..length.min(fresh.len())).unwrap_or_default();
        request.extend_from_slice(fresh);
        let missing = length - fresh.len();
        if missing == 0 {
            return Fate::Page(request);
        }
        if expects {
            conn.output.extend_from_slice(reply::CONTINUE);
        }
        if !conn.flush() {
            return Fate::Close;
        }
        conn.phase = Phase::Receiving;
        conn.deadline = self.now + self.shared.config.page_time;
        conn.body = Some(Box::new(Body {
            request,
            missing,
            _room: room,
        }));
        Fate::Keep
    }

    fn drain(&self, conn: &mut Conn, mut left: usize) -> Fate {
        // Not into the scratch buffer, which is out while a request from it is answered.
        let mut late = [0; 4096];
        // Not to the end: somebody who sends faster than we read would keep us from everybody else.
        for _ in 0..16 {
            match conn.read(&mut late) {
                Progress::Some(n) if n < left => left -= n,
                Progress::Blocked => break,
                Progress::Some(_) | Progress::Gone => return Fate::Close,
            }
        }
        conn.phase = Phase::Draining(left);
        Fate::Keep
    }

    /// Ends a connection whose client may still be sending.
    fn part(&mut self, conn: &mut Conn) -> Fate {
        conn.finish();
        conn.deadline = self.now + DRAIN;
        self.drain(conn, LATE)
    }

    /// Answers the requests in `bytes`, all that are there; `more` tells that the kernel may hold more.
    fn serve(&mut self, conn: &mut Conn, bytes: &[u8], more: bool) -> Fate {
        let mut rest = bytes;
        let mut out = mem::take(&mut self.out);
        let fate = loop {
            out.clear();
            let (before, end) = (rest.len(), self.answer_some(conn, &mut rest, &mut out));
            if rest.len() < before {
                conn.since = self.now;
            }
            let end = match end {
                End::Page(due) => {
                    conn.output.extend_from_slice(&out);
                    // What follows a body is none of ours: the connection ends with the page.
                    let fresh = mem::take(&mut rest);
                    conn.since = self.now;
                    break self.expect_body(conn, due, fresh);
                }
                other => other,
            };
            if !conn.send(&out) {
                break Fate::Close;
            }
            let ends = matches!(end, End::Close | End::Error);
            if !conn.output.is_empty() {
                conn.phase = if ends { Phase::Closing } else { Phase::Writing };
                conn.deadline = self.now + self.shared.config.head_time;
                break Fate::Keep;
            }
            match end {
                End::Full => {}
                End::Close if rest.is_empty() && !more => break Fate::Close,
                End::Close | End::Error => break self.part(conn),
                End::Wait | End::Page(_) => {
                    let served = rest.len() < bytes.len();
                    self.set_deadline(conn, served, rest.is_empty());
                    break Fate::Keep;
                }
            }
        };
        if !matches!(conn.phase, Phase::Draining(_)) && matches!(fate, Fate::Keep) {
            conn.input = rest.to_vec();
        }
        self.out = out;
        fate
    }

    /// A head that has begun keeps its deadline, however many bytes of it come.
    fn set_deadline(&self, conn: &mut Conn, served: bool, idle: bool) {
        let config = &self.shared.config;
        if idle {
            conn.deadline = self.now + config.idle_time;
        } else if served || !conn.head_begun {
            conn.deadline = self.now + config.head_time;
        }
        conn.head_begun = !idle;
    }

    /// Answers requests until there is no whole one left, or enough to send.
    fn answer_some(&mut self, conn: &Conn, rest: &mut &[u8], out: &mut Vec<u8>) -> End {
        loop {
            match parse(rest, self.shared.config.max_body) {
                Parsed::Incomplete => return End::Wait,
                Parsed::Bad(status) => {
                    reply::write_error(status, out);
                    return End::Error;
                }
                Parsed::Whole(mut head, len) => {
                    head.keep_alive &= head.body == 0;
                    *rest = rest.get(len..).unwrap_or_default();
                    if let Some(request) = self.answer(&head, conn.from, out) {
                        return End::Page(Due {
                            request,
                            length: head.body,
                            expects: head.expects,
                        });
                    }
                    // A body that nobody wants must not be taken for the next request.
                    if head.body > 0 {
                        return End::Error;
                    }
                    if !head.keep_alive {
                        return End::Close;
                    }
                    if out.len() > ENOUGH {
                        return End::Full;
                    }
                }
            }
        }
    }

    /// Answers one request, or says what the pages are to be asked.
    fn answer(&mut self, head: &Head<'_>, from: SocketAddr, out: &mut Vec<u8>) -> Option<Vec<u8>> {
        let Self { handler, body, .. } = self;
        body.clear();
        let answer = panic::catch_unwind(AssertUnwindSafe(|| handler.answer(head, from, body)));
        match answer {
            Ok(Answer::Page { asker }) => return Some(self.relays.request(head, asker)),
            Ok(Answer::Reply {
                status,
                content_type,
            }) => {
                reply::write(head, status, content_type, body, out);
            }
            Err(_) => reply::write(
                head,
                500,
                "text/plain; charset=utf-8",
                b"internal error\n",
                out,
            ),
        }
        None
    }
}

/// Why no more requests are answered for now.
enum End {
    /// There is no whole one.
    Wait,
    /// There may be more, but the answers have to be sent first.
    Full,
    /// The client wants no more.
    Close,
    /// What came is no request.
    Error,
    /// This one is for the pages.
    Page(Due),
}

/// A request for the pages that may lack its body.
struct Due {
    /// As it goes to the pages.
    request: Vec<u8>,
    /// Bytes of body.
    length: usize,
    /// The client wants to be told to send them.
    expects: bool,
}

fn interest(phase: Phase) -> epoll::EventFlags {
    match phase {
        Phase::Reading | Phase::Receiving | Phase::Draining(_) => epoll::EventFlags::IN,
        Phase::Writing | Phase::Closing => epoll::EventFlags::OUT,
    }
}

//! One uTP connection as a stream of bytes that threads read and write, waiting.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::base::time::Time;
use crate::core::utp::{Connection, Failure};
use crate::proto::utp::Packet;

use super::Wire;

/// How long a connection that we have hung up on may take to end, before it is cut.
const LINGER: Duration = Duration::from_secs(10);

/// A connection, from both sides of its lock: the endpoint's thread brings packets and the time, whoever reads and writes waits for what that changes.
/// Whoever has changed something sends what follows.
pub(super) struct Line {
    far: SocketAddr,
    /// The same as the socket takes it.
    to: SocketAddr,
    wire: Arc<Wire>,
    state: Mutex<State>,
    readable: Condvar,
    writable: Condvar,
}

struct State {
    connection: Connection,
    /// A packet on its way out.
    packet: Vec<u8>,
    /// Nobody reads or writes any more, from this moment on.
    hung_up: Option<Time>,
    /// The end is to be a reset.
    resets: bool,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl Line {
    pub(super) fn new(wire: Arc<Wire>, far: SocketAddr, connection: Connection) -> Self {
        let state = State {
            connection,
            packet: Vec::new(),
            hung_up: None,
            resets: false,
            read_timeout: None,
            write_timeout: None,
        };
        Self {
            far,
            to: wire.reach(far),
            wire,
            state: Mutex::new(state),
            readable: Condvar::new(),
            writable: Condvar::new(),
        }
    }

    /// Takes a packet. What follows from it goes out with [`Line::flush`].
    pub(super) fn heard(&self, packet: &Packet<'_>) {
        let now = self.wire.now();
        self.lock().connection.handle(now, packet);
    }

    /// Sends what there is to send, and wakes those who have waited for what has come. When there is more to do, if nothing else happens.
    pub(super) fn flush(&self) -> Option<Time> {
        let mut state = self.lock();
        // Only whoever dials has to know why it cannot be reached.
        let _ = self.send(&mut state);
        self.wake(&state);
        state.connection.deadline()
    }

    /// Lets time pass. When there is more to do at the latest; `None` if it is over.
    pub(super) fn tick(&self, now: Time) -> Option<Time> {
        let mut state = self.lock();
        let lingers = state.hung_up.map(|since| since + LINGER);
        if lingers.is_some_and(|end| end <= now) {
            state.connection.abort();
        }
        state.connection.tick(now);
        let _ = self.send(&mut state);
        self.wake(&state);
        let due = state.connection.deadline().into_iter().chain(lingers).min();
        (!state.connection.is_over()).then(|| due.unwrap_or(now + LINGER))
    }

    /// Ends it at once.
    pub(super) fn cut(&self) {
        let mut state = self.lock();
        state.resets = true;
        self.end(&mut state);
    }

    fn end(&self, state: &mut State) {
        if state.resets {
            state.connection.abort();
        } else {
            state.connection.finish();
        }
        state.hung_up.get_or_insert(self.wire.now());
        let _ = self.send(state);
        self.readable.notify_all();
        self.writable.notify_all();
    }

    /// Sends under the lock, so that packets go in their order.
    fn send(&self, state: &mut State) -> io::Result<()> {
        if state.hung_up.is_some() {
            // What nobody reads any more would keep the far end from finishing.
            let mut nowhere = [0; 4096];
            while state.connection.read(&mut nowhere) > 0 {}
        }
        let mut outcome = Ok(());
        while state
            .connection
            .transmit(self.wire.now(), &mut state.packet)
        {
            outcome = outcome.and(self.wire.send(&state.packet, self.to));
        }
        outcome
    }

    fn wake(&self, state: &State) {
        if state.connection.is_readable() {
            self.readable.notify_all();
        }
        if state.connection.is_writable() || state.connection.failure().is_some() {
            self.writable.notify_all();
        }
    }

    /// Waits until `attempt` comes to something, for at most so long.
    fn until<T>(
        &self,
        changed: &Condvar,
        timeout: impl Fn(&State) -> Option<Duration>,
        mut attempt: impl FnMut(&mut State) -> Option<io::Result<T>>,
    ) -> io::Result<T> {
        let mut state = self.lock();
        let deadline = timeout(&state).map(|timeout| Instant::now() + timeout);
        loop {
            if let Some(outcome) = attempt(&mut state) {
                return outcome;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return Err(io::ErrorKind::TimedOut.into()),
                Some(left) => {
                    let waited = changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A uTP connection as TCP has them: one thread may read and another write at the same time. Dropped, it ends as [`Stream::hang_up`] has it.
pub struct Stream(Arc<Line>);

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "utp::Stream({})", self.0.far)
    }
}

impl Stream {
    pub(super) const fn new(line: Arc<Line>) -> Self {
        Self(line)
    }

    /// Says the first word, and waits for the answer for so long.
    pub(super) fn connect(&self, timeout: Duration) -> io::Result<()> {
        let line = &self.0;
        line.send(&mut line.lock())?;
        line.until(
            &line.writable,
            |_| Some(timeout),
            |state| {
                if let Some(failure) = state.connection.failure() {
                    return Some(Err(error(failure)));
                }
                state.connection.is_connected().then_some(Ok(()))
            },
        )
    }

    /// How long a read may wait, which is more than nothing; `None` for ever.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.0.lock().read_timeout = timeout;
    }

    /// How long a write may wait in which nothing goes, which is more than nothing; `None` for ever.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.0.lock().write_timeout = timeout;
    }

    /// Makes its end a reset: whatever is still to be sent is thrown away, and the far end is told at once that nobody listens.
    pub fn reset_at_end(&self) {
        self.0.lock().resets = true;
    }

    /// Wakes whoever reads or writes, for good, and takes leave of the far end.
    pub fn hang_up(&self) {
        let mut state = self.0.lock();
        if state.hung_up.is_none() {
            self.0.end(&mut state);
        }
    }

    /// Reads what has come, at least one byte; none at the end.
    ///
    /// # Errors
    /// If the connection has failed, or nothing has come in time.
    pub fn read_vectored(&self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let line = &self.0;
        line.until(
            &line.readable,
            |state| state.read_timeout,
            |state| {
                if state.hung_up.is_some() {
                    return Some(Ok(0));
                }
                let mut done = 0;
                for part in &mut *parts {
                    let got = state.connection.read(part);
                    done += got;
                    if got < part.len() {
                        break;
                    }
                }
                if done > 0 {
                    // The far end may wait to hear that there is room again.
                    let _ = line.send(state);
                    return Some(Ok(done));
                }
                if state.connection.is_at_end() {
                    return Some(Ok(0));
                }
                state
                    .connection
                    .failure()
                    .map(|failure| Err(error(failure)))
            },
        )
    }

    /// Takes bytes to be sent, at least one.
    ///
    /// # Errors
    /// If the connection has failed or is over, or nothing has gone in time.
    pub fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let line = &self.0;
        line.until(
            &line.writable,
            |state| state.write_timeout,
            |state| {
                if state.hung_up.is_some() {
                    return Some(Err(io::ErrorKind::BrokenPipe.into()));
                }
                if let Some(failure) = state.connection.failure() {
                    return Some(Err(error(failure)));
                }
                let mut done = 0;
                for part in parts {
                    let took = state.connection.write(part);
                    done += took;
                    if took < part.len() {
                        break;
                    }
                }
                let _ = line.send(state);
                (done > 0).then_some(Ok(done))
            },
        )
    }
}

fn error(failure: Failure) -> io::Error {
    let kind = match failure {
        Failure::Refused => io::ErrorKind::ConnectionRefused,
        Failure::Reset => io::ErrorKind::ConnectionReset,
        Failure::TimedOut => io::ErrorKind::TimedOut,
        Failure::Aborted => io::ErrorKind::ConnectionAborted,
    };
    kind.into()
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.hang_up();
    }
}

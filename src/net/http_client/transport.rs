//! Connections for `ureq`: plain TCP, from a given address if one is given, to be broken off from another thread.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

use crate::net::tcp::{self, Bind};

/// The longest wait for one read or write: what the system takes as a timeout has to be finite.
const LONGEST: Duration = Duration::from_secs(3600);

/// Connects; refuses what needs TLS where there is none.
#[derive(Debug)]
pub(super) struct Dial {
    /// Where to connect from.
    pub(super) bind: Bind,
}

impl Connector<()> for Dial {
    type Out = Plain;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Plain>, Error> {
        if details.needs_tls() && !cfg!(feature = "tls") {
            return Err(Error::TlsRequired);
        }
        let stream = self.connect_any(&details.addrs, details.timeout)?;
        stream.set_nodelay(true)?;
        let handle = Arc::new(Handle(stream));
        let watched: Weak<dyn ShutdownHandle> = Arc::downgrade(&handle) as _;
        (details.register_shutdown)(watched)?;
        let config = details.config;
        Ok(Some(Plain {
            handle,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
        }))
    }
}

impl Dial {
    /// One address after the other; each but the last has half of the time that is left, so that a dead one does not use it all up.
    fn connect_any(&self, addrs: &[SocketAddr], timeout: NextTimeout) -> Result<TcpStream, Error> {
        let end = Instant::now() + LONGEST.min(*timeout.after);
        let mut outcome = Err(Error::HostNotFound);
        for (n, &addr) in addrs.iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout(Timeout::Connect));
            }
            let share = if n + 1 < addrs.len() { left / 2 } else { left };
            match tcp::dial(&self.bind, addr, share) {
                Ok(stream) => return Ok(stream),
                Err(e) => outcome = Err(waited(e, Timeout::Connect)),
            }
        }
        outcome
    }
}

/// A read or write that waited too long is told apart from one that failed.
fn waited(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::Timeout(reason),
        _ => Error::Io(error),
    }
}

/// A socket that can be shut down while another thread waits on it.
#[derive(Debug)]
struct Handle(TcpStream);

impl ShutdownHandle for Handle {
    fn shutdown(&self) {
        // It may be closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// A TCP connection.
pub(super) struct Plain {
    handle: Arc<Handle>,
    buffers: LazyBuffers,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

impl Transport for Plain {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        let mut stream = &self.handle.0;
        stream.set_write_timeout(Some(span(timeout)?))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        stream
            .write_all(output)
            .map_err(|e| waited(e, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let mut stream = &self.handle.0;
        let end = Instant::now() + span(timeout)?;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout(timeout.reason));
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(self.buffers.input_append_buf()) {
                Ok(n) => {
                    self.buffers.input_appended(n);
                    return Ok(n > 0);
                }
                // A signal; there may be time left.
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(waited(e, timeout.reason)),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // Bytes that nobody asked for make a connection as unfit as its end.
        let mut stream = &self.handle.0;
        let quiet = stream.set_nonblocking(true).is_ok()
            && matches!(stream.read(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        quiet && stream.set_nonblocking(false).is_ok()
    }
}

/// How long to wait at most; an error if no time is left.
fn span(timeout: NextTimeout) -> Result<Duration, Error> {
    match LONGEST.min(*timeout.after) {
        Duration::ZERO => Err(Error::Timeout(timeout.reason)),
        span => Ok(span),
    }
}

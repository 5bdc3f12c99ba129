//! One connection: what came in and is not understood yet, what has to go out and did not fit yet.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::head::MAX_HEAD;
use super::limits::Permit;
use super::relay::Load;

/// Bytes that are taken from a connection at a time.
pub(super) const READ: usize = 2 * MAX_HEAD;

/// A connection that does not block.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) stream: TcpStream,
    pub(super) from: SocketAddr,
    /// Held for as long as the connection lasts.
    pub(super) _permit: Permit,
    /// Held while a page is on its way.
    pub(super) load: Option<Box<Load>>,
    /// The beginning of a request, or requests that have to wait until answers are out.
    pub(super) input: Vec<u8>,
    /// Answers that did not fit yet.
    pub(super) output: Vec<u8>,
    /// Bytes of `output` that are out already.
    pub(super) sent: usize,
    /// When the latest request came to its end, or the connection began.
    pub(super) since: Instant,
    /// When whatever is awaited has to have happened.
    pub(super) deadline: Instant,
    pub(super) phase: Phase,
    /// A part of a head has come, which has its deadline already.
    pub(super) head_begun: bool,
    /// A request whose body is on its way, or goes to the pages.
    pub(super) body: Option<Box<Body>>,
}

/// A body on its way.
#[derive(Debug)]
pub(super) struct Body {
    /// The request as it goes to the pages, with as much of the body as has come.
    pub(super) request: Vec<u8>,
    /// Bytes that have not come yet.
    pub(super) missing: usize,
    pub(super) _room: Room,
}

/// Memory that a body takes up, of what there is for all of them; given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    /// So many bytes of `most`, if they are free.
    pub(super) fn take(taken: &Arc<AtomicUsize>, bytes: usize, most: usize) -> Option<Self> {
        let room = Self {
            taken: Arc::clone(taken),
            bytes,
        };
        let before = taken.fetch_add(bytes, Ordering::Relaxed);
        (before.saturating_add(bytes) <= most).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request.
    Reading,
    /// The rest of a request's body.
    Receiving,
    /// Room to send the answers; then requests again.
    Writing,
    /// Room to send the answers; then the end.
    Closing,
    /// The end of what the client sends, or so many bytes. Were the connection closed before, the kernel would take back the answer, too.
    Draining(usize),
}

/// How far a read or a write got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// So many bytes.
    Some(usize),
    /// Nothing more for now.
    Blocked,
    /// The connection has ended.
    Gone,
}

fn progress(outcome: io::Result<usize>) -> Progress {
    match outcome {
        Ok(0) => Progress::Gone,
        Ok(n) => Progress::Some(n),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Progress::Blocked
        }
        Err(_) => Progress::Gone,
    }
}

impl Conn {
    pub(super) fn read(&self, buffer: &mut [u8]) -> Progress {
        progress((&self.stream).read(buffer))
    }

    /// Sends `bytes`; what does not fit is kept in `output`. Returns false if the connection is gone.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        let Some(sent) = self.push(bytes) else {
            return false;
        };
        self.output
            .extend_from_slice(bytes.get(sent..).unwrap_or_default());
        true
    }

    /// Sends what was kept. Returns false if the connection is gone.
    pub(super) fn flush(&mut self) -> bool {
        let pending = self.output.get(self.sent..).unwrap_or_default();
        let Some(sent) = self.push(pending) else {
            return false;
        };
        self.sent += sent;
        if self.sent >= self.output.len() {
            // With its memory: most connections never keep anything.
            (self.output, self.sent) = (Vec::new(), 0);
        }
        true
    }

    /// Sends as many of `bytes` as fit, and tells how many that were. `None` if the connection is gone.
    fn push(&self, bytes: &[u8]) -> Option<usize> {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match progress((&self.stream).write(rest)) {
                Progress::Some(n) => sent += n,
                Progress::Blocked => break,
                Progress::Gone => return None,
            }
        }
        Some(sent)
    }

    /// Says that nothing more will come.
    pub(super) fn finish(&self) {
        // It may be gone already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

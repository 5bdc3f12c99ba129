//! One connection: what came in and is not understood yet, what has to go out and did not fit yet.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use super::head::MAX_HEAD;
use super::limits::Permit;

/// Bytes that are taken from a connection at a time.
pub(super) const READ: usize = 2 * MAX_HEAD;

/// A connection that does not block.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) stream: TcpStream,
    pub(super) from: SocketAddr,
    pub(super) permit: Permit,
    /// The beginning of a request, or requests that have to wait until answers are out.
    pub(super) input: Vec<u8>,
    /// What is left of the answers.
    pub(super) output: Vec<u8>,
    /// When the latest request came to its end, or the connection began.
    pub(super) since: Instant,
    /// When whatever is awaited has to have happened.
    pub(super) deadline: Instant,
    pub(super) phase: Phase,
    /// A part of a head has come, which has its deadline already.
    pub(super) head_begun: bool,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request.
    Reading,
    /// Room to send the answers; then requests again.
    Writing,
    /// Room to send the answers; then the end.
    Closing,
    /// The end of what the client sends. Were the connection closed before, the kernel would take back the answer, too.
    Draining,
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
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match progress((&self.stream).write(rest)) {
                Progress::Some(n) => sent += n,
                Progress::Blocked => {
                    self.output.extend_from_slice(rest);
                    return true;
                }
                Progress::Gone => return false,
            }
        }
        true
    }

    /// Sends what was kept. Returns false if the connection is gone.
    pub(super) fn flush(&mut self) -> bool {
        let pending = std::mem::take(&mut self.output);
        self.send(&pending)
    }

    /// Says that nothing more will come.
    pub(super) fn finish(&self) {
        // It may be gone already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

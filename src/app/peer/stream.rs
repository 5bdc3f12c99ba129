//! The stream of bytes beneath a connection between peers.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::net::tcp;

use super::utp;

/// A stream to a peer, whatever carries it. One thread may read and another write at the same time.
#[derive(Debug)]
pub enum Stream {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A uTP connection (BEP 29).
    Utp(utp::Stream),
}

impl Stream {
    /// Whether uTP carries it.
    #[must_use]
    pub const fn is_utp(&self) -> bool {
        matches!(self, Self::Utp(_))
    }

    /// Sets what every connection between peers gets, whichever side dialled.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn tune(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => tcp::tune(stream),
            // It sends at once, and holds no more than is on its way.
            Self::Utp(_) => Ok(()),
        }
    }

    /// Says whether the connection is fast: how much may be held unsent follows from that.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn set_fast(&self, fast: bool) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => tcp::set_fast(stream, fast),
            Self::Utp(_) => Ok(()),
        }
    }

    /// How long a read may wait, which is more than nothing; `None` for ever.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            Self::Utp(stream) => {
                stream.set_read_timeout(timeout);
                Ok(())
            }
        }
    }

    /// How long a write may wait in which nothing goes, which is more than nothing; `None` for ever.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_write_timeout(timeout),
            Self::Utp(stream) => {
                stream.set_write_timeout(timeout);
                Ok(())
            }
        }
    }

    /// Makes the end of the connection a reset, for a far end that has forfeited a farewell; see [`tcp::reset_at_end`].
    pub fn reset_at_end(&self) {
        match self {
            Self::Tcp(stream) => tcp::reset_at_end(stream),
            Self::Utp(stream) => stream.reset_at_end(),
        }
    }

    /// Wakes whoever waits for the connection, for good.
    pub fn hang_up(&self) {
        match self {
            Self::Tcp(stream) => {
                // It may be over already.
                let _ = stream.shutdown(Shutdown::Both);
            }
            Self::Utp(stream) => stream.hang_up(),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(into),
            Stream::Utp(stream) => stream.read_vectored(&mut [IoSliceMut::new(into)]),
        }
    }

    fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read_vectored(parts),
            Stream::Utp(stream) => stream.read_vectored(parts),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(bytes),
            Stream::Utp(stream) => stream.write_vectored(&[IoSlice::new(bytes)]),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write_vectored(parts),
            Stream::Utp(stream) => stream.write_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

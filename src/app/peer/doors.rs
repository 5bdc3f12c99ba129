//! By what peers are reached: TCP, uTP (BEP 29), or both; the sockets for it at one port, and how a peer is dialled.

use std::cell::Cell;
use std::io;
use std::iter;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::net::tcp::{self, Bind};
use crate::net::udp;

use super::greeting::HANDSHAKE_TIMEOUT;
use super::stream::Stream;
use super::utp::Endpoint;

/// How long a peer is waited for over uTP, before TCP is tried; the first word is repeated once in this time.
const UTP_TIMEOUT: Duration = Duration::from_secs(2);
/// The same for one that others have over uTP: the way to it may be bad.
const UTP_TIMEOUT_KNOWN: Duration = Duration::from_secs(5);

/// Where the kernel chooses the port, the one of TCP may be taken for UDP; so often it is asked for another.
const TRIES: usize = 16;

/// What carries connections between peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP alone.
    #[default]
    Tcp,
    /// uTP where the far end takes it, else TCP.
    Both,
    /// uTP alone.
    Utp,
}

impl Transport {
    const fn is_tcp(self) -> bool {
        !matches!(self, Self::Utp)
    }

    const fn is_utp(self) -> bool {
        !matches!(self, Self::Tcp)
    }
}

/// The sockets that peers come in by, all of one address and port.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) addr: SocketAddr,
    pub(super) tcp: Option<TcpListener>,
    pub(super) utp: Option<UdpSocket>,
}

impl Doors {
    /// Opens them at the first port of `ports` that is free for all; port 0 lets the kernel choose.
    ///
    /// # Errors
    /// If there is no such port; the error is that of the last one tried.
    pub(super) fn open(
        bind: &Bind,
        ports: RangeInclusive<u16>,
        transport: Transport,
    ) -> io::Result<Self> {
        let mut outcome = Err(io::ErrorKind::InvalidInput.into());
        let each = |port| iter::repeat_n(port, if port == 0 { TRIES } else { 1 });
        for port in ports.flat_map(each) {
            outcome = Self::open_at(bind, port, transport);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn open_at(bind: &Bind, port: u16, transport: Transport) -> io::Result<Self> {
        // Which addresses there are, both families or one, is found out in one place.
        let listener = tcp::listen(bind, port..=port)?;
        let addr = listener.local_addr()?;
        let utp = transport.is_utp().then(|| udp::bind_peer(bind, addr));
        Ok(Self {
            addr,
            tcp: transport.is_tcp().then_some(listener),
            utp: utp.transpose()?,
        })
    }
}

/// How one peer is dialled.
pub(super) struct Dialler<'a> {
    pub(super) bind: &'a Bind,
    pub(super) transport: Transport,
    /// `None` if `transport` is TCP.
    pub(super) utp: Option<&'a Endpoint>,
    pub(super) addr: SocketAddr,
    /// Others say that it takes connections over uTP.
    pub(super) speaks_utp: bool,
    /// It has not answered over uTP.
    pub(super) deaf: Cell<bool>,
}

impl Dialler<'_> {
    /// Connects, by what has served before if it has been dialled before.
    ///
    /// # Errors
    /// If it cannot be reached in time.
    pub(super) fn connect(&self) -> io::Result<Stream> {
        if let Some(utp) = self.utp.filter(|_| !self.deaf.get()) {
            let alone = !self.transport.is_tcp();
            let timeout = match (alone, self.speaks_utp) {
                (true, _) => HANDSHAKE_TIMEOUT,
                (false, true) => UTP_TIMEOUT_KNOWN,
                (false, false) => UTP_TIMEOUT,
            };
            match utp.dial(self.addr, timeout) {
                Ok(stream) => return Ok(Stream::Utp(stream)),
                Err(error) if alone => return Err(error),
                Err(_) => self.deaf.set(true),
            }
        }
        let stream = tcp::dial(self.bind, self.addr, HANDSHAKE_TIMEOUT)?;
        Ok(Stream::Tcp(stream))
    }
}

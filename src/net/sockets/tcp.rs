//! TCP sockets between peers: listening, dialling, and the options that both ends get.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that may wait to be accepted. The kernel cuts this to its own limit (`net.core.somaxconn`).
const BACKLOG: i32 = 512;

/// The same for a server that strangers can reach.
const PUBLIC_BACKLOG: i32 = 4096;

/// Bytes that the kernel may hold unsent: on a slow connection next to none, because a choke, a have or a cancel would queue up
/// behind data that is already out of our hands…
const UNSENT: u32 = 4 * 1024;
/// …and on a fast one enough that it does not run dry between two wake-ups.
const UNSENT_FAST: u32 = 128 * 1024;

/// How connections share a link, whatever the system has for others. BBR, which some have, lets each of a swarm's many connections probe for more than its share, and
/// paces each by a timer: with 16 workers on links of 40 Mbit/s the origin's link dropped thousands of packets instead of one, and all of them had the payload
/// after 21.4 s instead of 17.7.
const CONGESTION_CONTROL: &[u8] = b"cubic";

/// Which local address and interface traffic is tied to, and how much of it the kernel may hold. The default is nothing of that: the
/// kernel decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bind {
    /// The local address for listening and dialling.
    pub addr: Option<IpAddr>,
    /// The interface for everything (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
    /// Bytes of each socket's send buffer (`SO_SNDBUF`); without, the kernel's own tuning, which is better on most networks.
    pub send_buffer: Option<u32>,
    /// Bytes of each socket's receive buffer (`SO_RCVBUF`), likewise.
    pub receive_buffer: Option<u32>,
}

impl Bind {
    /// An address if it reads as one, else the name of an interface.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.parse() {
            Ok(addr) => Self {
                addr: Some(addr),
                ..Self::default()
            },
            Err(_) => Self {
                interface: Some(text.to_owned()),
                ..Self::default()
            },
        }
    }

    /// A socket of the family of `far`, tied to the interface but not yet to the address.
    pub(super) fn socket(&self, far: IpAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let domain = if far.is_ipv4() {
            Domain::IPV4
        } else {
            Domain::IPV6
        };
        let socket = Socket::new(domain, kind, Some(protocol))?;
        if let Some(interface) = &self.interface {
            platform::bind_device(&socket, interface)?;
        }
        // Before connecting or listening: the window that both ends agree on follows from it, and what is accepted inherits it. A kernel
        // that gives less (`net.core.wmem_max`, `rmem_max`) is no reason to fail.
        if let Some(bytes) = self.send_buffer {
            let _ = socket.set_send_buffer_size(bytes as usize);
        }
        if let Some(bytes) = self.receive_buffer {
            let _ = socket.set_recv_buffer_size(bytes as usize);
        }
        Ok(socket)
    }

    /// The same, ready to reach `far`: tied to the address, too, if that is of the same family.
    pub(super) fn socket_towards(
        &self,
        far: IpAddr,
        kind: Type,
        protocol: Protocol,
    ) -> io::Result<Socket> {
        let socket = self.socket(far, kind, protocol)?;
        if let Some(local) = self.addr.filter(|local| local.is_ipv4() == far.is_ipv4()) {
            socket.bind(&SocketAddr::new(local, 0).into())?;
        }
        Ok(socket)
    }
}

/// Listens on the first free port of `ports`; port 0 lets the kernel choose. Without a bind address, on all addresses of both
/// families, or of IPv4 alone where IPv6 is off.
///
/// # Errors
/// If no port is free; the error is that of the last port tried.
pub fn listen(bind: &Bind, ports: RangeInclusive<u16>) -> io::Result<TcpListener> {
    let mut outcome = Err(io::ErrorKind::InvalidInput.into());
    for port in ports {
        outcome = match bind.addr {
            Some(addr) => listen_at(bind, (addr, port).into()),
            None => listen_at(bind, (Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| {
                match error.kind() {
                    io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
                    _ => listen_at(bind, (Ipv4Addr::UNSPECIFIED, port).into()),
                }
            }),
        };
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn listen_at(bind: &Bind, addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = bind.socket(addr.ip(), Type::STREAM, Protocol::TCP)?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Listens at exactly `addr`, at `[::]` for both families, as a server that strangers can reach: the socket does not block, and many connections may wait.
///
/// # Errors
/// As the kernel says: the address is taken, or not ours, or there is no IPv6.
pub fn listen_public(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = listen_at(&Bind::default(), addr)?;
    let socket = SockRef::from(&listener);
    // A second `listen` only makes the queue longer.
    socket.listen(PUBLIC_BACKLOG)?;
    socket.set_nonblocking(true)?;
    // Connections inherit it: an answer must not wait until the client has acknowledged the one before.
    socket.set_tcp_nodelay(true)?;
    Ok(listener)
}

/// Connects to a peer.
///
/// # Errors
/// As the kernel says, or after `timeout`.
pub fn dial(bind: &Bind, addr: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let socket = bind.socket_towards(addr.ip(), Type::STREAM, Protocol::TCP)?;
    socket.connect_timeout(&addr.into(), timeout)?;
    let stream: TcpStream = socket.into();
    // On loopback, dialling a free port of the ephemeral range can connect a socket to itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// Sets what every connection between peers gets, whichever side dialled.
///
/// # Errors
/// If the connection is gone already.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    platform::control_congestion(stream, CONGESTION_CONTROL);
    platform::limit_unsent(stream, UNSENT)
}

/// Tells the kernel whether a connection is fast: how much it may hold unsent follows from that.
///
/// # Errors
/// If the connection is gone already.
pub fn set_fast(stream: &TcpStream, fast: bool) -> io::Result<()> {
    platform::limit_unsent(stream, if fast { UNSENT_FAST } else { UNSENT })
}

/// Makes the end of a connection a reset: whatever is still to be sent is thrown away, and the far end is told at once that nobody listens.
/// For a far end that has forfeited a farewell; one that neither reads nor stops sending would otherwise stay with the kernels of both for minutes.
pub fn reset_at_end(stream: &TcpStream) {
    // A connection that is gone already needs none.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// What only some systems have.
#[cfg(target_os = "linux")]
mod platform {
    use std::io;
    use std::net::TcpStream;

    use socket2::{SockRef, Socket};

    pub(super) fn bind_device(socket: &Socket, interface: &str) -> io::Result<()> {
        socket.bind_device(Some(interface.as_bytes()))
    }

    pub(super) fn control_congestion(stream: &TcpStream, by: &[u8]) {
        // A kernel that does not have it, or not for us, keeps to the system's.
        let _ = SockRef::from(stream).set_tcp_congestion(by);
    }

    pub(super) fn limit_unsent(stream: &TcpStream, bytes: u32) -> io::Result<()> {
        SockRef::from(stream).set_tcp_notsent_lowat(bytes)
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::io;
    use std::net::TcpStream;

    use socket2::Socket;

    pub(super) fn bind_device(_: &Socket, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn control_congestion(_: &TcpStream, _: &[u8]) {}

    pub(super) fn limit_unsent(_: &TcpStream, _: u32) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::time::Instant;

    const WAIT: Duration = Duration::from_secs(10);

    #[test]
    fn a_taken_port_leads_to_the_next_of_the_range() {
        let bind = Bind::parse("127.0.0.1");
        let first = listen(&bind, 0..=0).unwrap();
        let taken = first.local_addr().unwrap().port();
        let error = listen(&bind, taken..=taken).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        // Others may have some of these.
        let range = taken..=taken.saturating_add(200);
        let next = listen(&bind, range.clone()).unwrap();
        let port = next.local_addr().unwrap().port();
        assert!(
            port != taken && range.contains(&port),
            "{port} of {range:?}"
        );
    }

    #[test]
    fn a_dialled_connection_comes_from_the_bound_address() {
        let listener = listen(&Bind::parse("127.0.0.1"), 0..=0).unwrap();
        let stream = dial(
            &Bind::parse("127.0.0.9"),
            listener.local_addr().unwrap(),
            WAIT,
        )
        .unwrap();
        tune(&stream).unwrap();
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), "127.0.0.9".parse::<IpAddr>().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn connections_of_a_swarm_share_a_link_as_cubic_does() {
        let allowed = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
        let allowed = std::fs::read_to_string(allowed).unwrap_or_default();
        let listener = listen(&Bind::parse("127.0.0.1"), 0..=0).unwrap();
        let stream = dial(&Bind::default(), listener.local_addr().unwrap(), WAIT).unwrap();
        let usual = SockRef::from(&stream).tcp_congestion().unwrap();
        tune(&stream).unwrap();
        let now = SockRef::from(&stream).tcp_congestion().unwrap();
        let cubic = now.starts_with(CONGESTION_CONTROL);
        let may = allowed.split_whitespace().any(|word| word == "cubic");
        assert!(cubic || !may && now == usual, "{now:?} of {allowed}");
    }

    #[test]
    fn a_connection_ends_with_a_farewell_or_a_reset() {
        let listener = listen(&Bind::parse("127.0.0.1"), 0..=0).unwrap();
        let addr = listener.local_addr().unwrap();
        let end = |reset: bool| {
            let mut near = dial(&Bind::default(), addr, WAIT).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            // Where something lies unread, every end is a reset.
            far.write_all(b"x").unwrap();
            near.read_exact(&mut [0]).unwrap();
            if reset {
                reset_at_end(&near);
            }
            near.shutdown(Shutdown::Both).unwrap();
            drop(near);
            far
        };
        let mut told = end(false);
        assert_eq!(told.read(&mut [0]).unwrap(), 0);
        assert!(told.take_error().unwrap().is_none() && told.write(b"x").is_ok());
        let (cut, deadline) = (end(true), Instant::now() + WAIT);
        while cut.take_error().unwrap().is_none() {
            assert!(Instant::now() < deadline, "no reset came");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_default_listener_takes_ipv4() {
        let listener = listen(&Bind::default(), 0..=0).unwrap();
        let port = listener.local_addr().unwrap().port();
        dial(&Bind::default(), (Ipv4Addr::LOCALHOST, port).into(), WAIT).unwrap();
    }

    #[test]
    fn buffers_are_as_large_as_asked_for_on_both_ends() {
        let bind = Bind {
            send_buffer: Some(32 << 10),
            receive_buffer: Some(48 << 10),
            ..Bind::parse("127.0.0.1")
        };
        let listener = listen(&bind, 0..=0).unwrap();
        let dialled = dial(&bind, listener.local_addr().unwrap(), WAIT).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        for stream in [&dialled, &accepted] {
            let socket = SockRef::from(stream);
            // Linux counts its own overhead, as much again.
            let sizes = (
                socket.send_buffer_size().unwrap(),
                socket.recv_buffer_size().unwrap(),
            );
            assert_eq!(sizes, (64 << 10, 96 << 10));
        }
    }

    #[test]
    fn an_interface_that_does_not_exist_is_an_error() {
        assert!(listen(&Bind::parse("no-such-if"), 0..=0).is_err());
    }
}

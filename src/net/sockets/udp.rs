//! UDP sockets: of a server that strangers can reach, and of a client.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recvfrom};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::tcp::Bind;
use crate::base::endpoint::canonical;

/// Bytes of datagrams that may wait to be read. The kernel cuts this to its own limit (`net.core.rmem_max`); what comes beyond is lost, as datagrams may be.
const WAITING: usize = 4 << 20;

/// Bytes that no datagram has more of.
pub const LONGEST: usize = 65_535;

/// A datagram, and its sender.
pub type Datagram = (Vec<u8>, SocketAddr);

/// How long a call may block.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Binds exactly `addr`, at `[::]` for both families. A call on the socket blocks for a second at most.
///
/// # Errors
/// As the kernel says: the address is taken, or not ours, or there is no IPv6.
pub fn bind_public(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = unbound(addr)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Another socket at the address of `first`, which [`bind_public`] made: the kernel gives each client's datagrams always to the same of them.
///
/// `first` was alone when it was bound, so nobody else had the address; from now on programs of the same user that ask for it can join.
///
/// # Errors
/// As the kernel says.
pub fn bind_beside(first: &UdpSocket) -> io::Result<UdpSocket> {
    let addr = first.local_addr()?;
    let socket = unbound(addr)?;
    SockRef::from(first).set_reuse_port(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn unbound(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    // A kernel that gives less is no reason to fail.
    let _ = socket.set_recv_buffer_size(WAITING);
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    Ok(socket)
}

/// Binds `addr` as part of what `bind` says, at `[::]` for both families, as a peer among others: it sends from where it is reached.
///
/// # Errors
/// As the kernel says: the address is taken, or not ours, or there is no such interface.
pub fn bind_peer(bind: &Bind, addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = bind.socket(addr.ip(), Type::DGRAM, Protocol::UDP)?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Sends a datagram from a socket of [`bind_peer`], which may be one for both families.
///
/// # Errors
/// As the kernel says: there is no way to that address.
pub fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
    let to = reach(socket.local_addr()?.is_ipv6(), to);
    socket.send_to(bytes, to).map(drop)
}

/// An address as a socket takes it, which may be one for `both` families.
#[must_use]
pub fn reach(both: bool, to: SocketAddr) -> SocketAddr {
    match to.ip() {
        IpAddr::V4(ip) if both => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
        _ => to,
    }
}

/// Waits for a datagram to a socket of [`bind_peer`] for so long, which is more than nothing. Its length and its sender; `None` if none has come.
///
/// # Errors
/// As the kernel says.
pub fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    wait: Duration,
) -> io::Result<Option<(usize, SocketAddr)>> {
    socket.set_read_timeout(Some(wait))?;
    match socket.recv_from(buffer) {
        Ok((len, from)) => Ok(Some((len, canonical(from)))),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

/// Takes a datagram that has come already, as [`receive`] does.
///
/// # Errors
/// As the kernel says.
pub fn receive_now(
    socket: &UdpSocket,
    buffer: &mut [u8],
) -> io::Result<Option<(usize, SocketAddr)>> {
    match recvfrom(socket, &mut *buffer, RecvFlags::DONTWAIT) {
        Ok((_, len, from)) => {
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            let from = from.ok_or(io::ErrorKind::InvalidData)?;
            Ok(Some((len, canonical(from))))
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A client's socket: it sends to `addr`, and hears nobody else. If nobody listens there, the next call says so where the network does.
///
/// # Errors
/// As the kernel says: there is no way to that address, or what `bind` names is not ours.
pub fn dial(bind: &Bind, addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = bind.socket_towards(addr.ip(), Type::DGRAM, Protocol::UDP)?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
}

/// Wakes whoever waits for a datagram; there will be none any more.
pub fn close(socket: &UdpSocket) {
    // Linux says that the socket is not connected, and wakes them all the same. Elsewhere they wake by themselves in a second.
    let _ = SockRef::from(socket).shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_both_families_reaches_both_and_knows_the_sender_again() {
        let ours = bind_peer(&Bind::default(), "[::]:0".parse().unwrap()).unwrap();
        let port = ours.local_addr().unwrap().port();
        let wait = Duration::from_secs(60);
        for ip in ["127.0.0.1", "::1"].map(|ip| ip.parse::<IpAddr>().unwrap()) {
            let other = bind_peer(&Bind::default(), (ip, 0).into()).unwrap();
            let addr = other.local_addr().unwrap();
            send(&ours, b"word", addr).unwrap();
            let mut heard = [0; 9];
            let from = SocketAddr::new(ip, port);
            assert_eq!(receive(&other, &mut heard, wait).unwrap(), Some((4, from)));
            send(&other, b"answer", from).unwrap();
            assert_eq!(receive(&ours, &mut heard, wait).unwrap(), Some((6, addr)));
            let soon = Duration::from_millis(1);
            assert_eq!(receive(&ours, &mut heard, soon).unwrap(), None);
            assert_eq!(receive_now(&ours, &mut heard).unwrap(), None);
            send(&other, b"at once", from).unwrap();
            assert_eq!(receive_now(&ours, &mut heard).unwrap(), Some((7, addr)));
        }
    }
}

//! UDP sockets of a server that strangers can reach.

use std::io;
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Bytes of datagrams that may wait to be read. The kernel cuts this to its own limit (`net.core.rmem_max`); what comes beyond is lost, as datagrams may be.
const WAITING: usize = 4 << 20;

/// How long a call may block.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Binds exactly `addr`, at `[::]` for both families. A call on the socket blocks for a second at most.
///
/// # Errors
/// As the kernel says: the address is taken, or not ours, or there is no IPv6.
pub fn bind_public(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    // A kernel that gives less is no reason to fail.
    let _ = socket.set_recv_buffer_size(WAITING);
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Wakes whoever waits for a datagram; there will be none any more.
pub fn close(socket: &UdpSocket) {
    // Linux says that the socket is not connected, and wakes them all the same. Elsewhere they wake by themselves in a second.
    let _ = SockRef::from(socket).shutdown(Shutdown::Both);
}

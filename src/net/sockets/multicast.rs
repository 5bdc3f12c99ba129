//! Datagrams to and from a group on the local network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Protocol, SockRef, Type};

use super::super::interfaces::{self, Interface};
use super::tcp::Bind;

/// How long a call may block.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A membership in a group, on every interface that traffic may use. No router passes on what is sent.
#[derive(Debug)]
pub struct Group {
    socket: UdpSocket,
    group: SocketAddr,
    bind: Bind,
}

impl Group {
    /// Binds the address of the group itself, so that nothing arrives that was sent to this host alone: such a datagram can come from
    /// anywhere and name any sender. Other programs on this host can be members, too.
    ///
    /// # Errors
    /// As the kernel says: there is no such family, or somebody has the port for himself.
    pub fn open(bind: &Bind, group: SocketAddr) -> io::Result<Self> {
        let socket = bind.socket(group.ip(), Type::DGRAM, Protocol::UDP)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        match group {
            SocketAddr::V4(_) => {
                socket.set_multicast_ttl_v4(1)?;
                socket.set_multicast_loop_v4(true)?;
            }
            SocketAddr::V6(_) => {
                socket.set_only_v6(true)?;
                socket.set_multicast_hops_v6(1)?;
                socket.set_multicast_loop_v6(true)?;
            }
        }
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        socket.bind(&group.into())?;
        Ok(Self {
            socket: socket.into(),
            group,
            bind: bind.clone(),
        })
    }

    /// Becomes a member on interfaces that have come up meanwhile, and sends a datagram on each. Returns on how many it went out.
    pub fn send(&self, datagram: &[u8]) -> usize {
        self.join();
        let all = self.interfaces();
        let sent = all.iter().filter(|interface| {
            let chosen = self.choose(interface);
            chosen.is_ok() && self.socket.send_to(datagram, self.group).is_ok()
        });
        sent.count()
    }

    /// Becomes a member on every interface. To be one already is no fault, nor is an interface that knows no groups.
    pub fn join(&self) {
        for interface in self.interfaces() {
            let _ = match (self.group.ip(), interface.addr) {
                (IpAddr::V4(group), IpAddr::V4(addr)) => {
                    self.socket.join_multicast_v4(&group, &addr)
                }
                (IpAddr::V6(group), _) => self.socket.join_multicast_v6(&group, interface.index),
                (IpAddr::V4(_), IpAddr::V6(_)) => Ok(()),
            };
        }
    }

    /// Waits for a datagram, for a second at most. What does not fit into `buffer` is cut off.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        match self.socket.recv_from(buffer) {
            Ok(received) => Ok(Some(received)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            },
        }
    }

    fn choose(&self, interface: &Interface) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        match interface.addr {
            IpAddr::V4(addr) => socket.set_multicast_if_v4(&addr),
            IpAddr::V6(_) => socket.set_multicast_if_v6(interface.index),
        }
    }

    /// The interfaces that traffic of this family may use, each once.
    fn interfaces(&self) -> Vec<Interface> {
        let mut found = interfaces::all();
        found.retain(|interface| {
            let addr = interface.addr;
            let family = addr.is_ipv4() == self.group.is_ipv4();
            let bound = self.bind.addr.is_none_or(|bound| bound == addr);
            // An IPv4 address does not tell its interface, but the socket is tied to the right one.
            let named = self.bind.interface.as_ref();
            let named = addr.is_ipv4() || named.is_none_or(|name| *name == interface.name);
            family && bound && named && !addr.is_loopback()
        });
        found.dedup_by_key(|interface| (interface.index, v4(interface.addr)));
        found
    }
}

fn v4(addr: IpAddr) -> Option<Ipv4Addr> {
    match addr {
        IpAddr::V4(addr) => Some(addr),
        IpAddr::V6(_) => None,
    }
}

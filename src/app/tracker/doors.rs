//! Where the tracker listens: HTTP and UDP at the same addresses, under the same port numbers.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use super::Config;
use crate::app::failure::{Exit, Failure};
use crate::net::{tcp, udp};

/// What is spoken at the doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carriers {
    pub(super) http: bool,
    pub(super) udp: bool,
}

/// Open sockets.
#[derive(Debug, Default)]
pub(super) struct Doors {
    pub(super) http: Vec<TcpListener>,
    pub(super) udp: Vec<UdpSocket>,
}

/// Ports that the kernel chose for HTTP and that are tried for UDP, before it is a failure that all of them are taken.
const TRIES: usize = 100;

impl Doors {
    /// Opens the doors that `config` names.
    ///
    /// # Errors
    /// If an address cannot be listened at.
    pub(super) fn open(config: &Config, carriers: Carriers) -> Result<Self, Failure> {
        let mut doors = Self::default();
        open_each(config, |addr| doors.add(addr, carriers))?;
        Ok(doors)
    }

    /// The URLs of all of them, as the operator sees them.
    pub(super) fn urls(&self) -> impl Iterator<Item = String> {
        let http = self.http.iter().map(|door| ("http", door.local_addr()));
        let udp = self.udp.iter().map(|door| ("udp", door.local_addr()));
        http.chain(udp)
            .filter_map(|(scheme, addr)| Some(format!("{scheme}://{}/announce", addr.ok()?)))
    }

    fn add(&mut self, addr: SocketAddr, carriers: Carriers) -> Result<(), Closed> {
        // A port that the kernel chose for one need not be free for the other.
        for _ in 1..TRIES {
            match self.try_add(addr, carriers) {
                Err(closed) if addr.port() == 0 && closed.is_taken() => {}
                other => return other,
            }
        }
        self.try_add(addr, carriers)
    }

    fn try_add(&mut self, mut addr: SocketAddr, carriers: Carriers) -> Result<(), Closed> {
        let mut http = None;
        if carriers.http {
            let door = http_at(addr)?;
            if let Ok(real) = door.local_addr() {
                addr.set_port(real.port());
            }
            http = Some(door);
        }
        if carriers.udp {
            let door = udp::bind_public(addr).map_err(|cause| Closed {
                subject: format!("udp://{addr}"),
                cause,
                hint: "; `--no-udp` serves HTTP alone",
            })?;
            self.udp.push(door);
        }
        self.http.extend(http);
        Ok(())
    }
}

/// Opens the doors for HTTP alone, as programs do that have no use for more.
///
/// # Errors
/// If an address cannot be listened at.
pub(super) fn open_http(config: &Config) -> Result<Vec<TcpListener>, Failure> {
    let mut doors = Vec::new();
    open_each(config, |addr| {
        doors.push(http_at(addr)?);
        Ok(())
    })?;
    Ok(doors)
}

fn http_at(addr: SocketAddr) -> Result<TcpListener, Closed> {
    tcp::listen_public(addr).map_err(|cause| Closed {
        subject: addr.to_string(),
        cause,
        hint: "",
    })
}

/// Lets `open` at each address that `config` names, or at all addresses of the host.
fn open_each(
    config: &Config,
    mut open: impl FnMut(SocketAddr) -> Result<(), Closed>,
) -> Result<(), Failure> {
    if !config.listen.is_empty() {
        let mut named = config.listen.iter().copied();
        return named.try_for_each(&mut open).map_err(Closed::told);
    }
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, config.port));
    match open(both) {
        // Another reason than that IPv6 is off would be the same for IPv4, and better told for the address that was meant.
        Err(closed) if !closed.is_of_address() => open((Ipv4Addr::UNSPECIFIED, config.port).into()),
        other => other,
    }
    .map_err(Closed::told)
}

/// A door that cannot be opened.
#[derive(Debug)]
struct Closed {
    subject: String,
    cause: io::Error,
    /// What would help.
    hint: &'static str,
}

impl Closed {
    fn is_taken(&self) -> bool {
        self.cause.kind() == io::ErrorKind::AddrInUse
    }

    /// Whether it would be the same for the other family.
    fn is_of_address(&self) -> bool {
        self.is_taken() || self.cause.kind() == io::ErrorKind::PermissionDenied
    }

    fn told(self) -> Failure {
        let Self {
            subject,
            cause,
            hint,
        } = self;
        Failure::new(
            Exit::Network,
            "listen at",
            subject,
            format_args!("{cause}{hint}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Carriers = Carriers {
        http: true,
        udp: true,
    };

    fn at(addr: &str) -> Config {
        Config {
            listen: vec![addr.parse().unwrap()],
            ..Config::default()
        }
    }

    #[test]
    fn both_get_the_same_port() {
        let doors = Doors::open(&at("127.0.0.1:0"), BOTH).unwrap();
        let (http, udp) = (&doors.http[0], &doors.udp[0]);
        assert_eq!(http.local_addr().unwrap(), udp.local_addr().unwrap());
        let addr = http.local_addr().unwrap();
        let urls: Vec<_> = doors.urls().collect();
        assert_eq!(
            urls,
            [
                format!("http://{addr}/announce"),
                format!("udp://{addr}/announce")
            ]
        );
    }

    #[test]
    fn one_alone_opens_nothing_of_the_other() {
        let alone = |http| {
            let carriers = Carriers { http, udp: !http };
            let doors = Doors::open(&at("127.0.0.1:0"), carriers).unwrap();
            (doors.http.len(), doors.udp.len())
        };
        assert_eq!((alone(true), alone(false)), ((1, 0), (0, 1)));
    }

    #[test]
    fn a_taken_port_is_told_with_what_would_help() {
        let taken = UdpSocket::bind("127.0.0.76:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let failure = Doors::open(&at(&addr.to_string()), BOTH).unwrap_err();
        let told = failure.to_string();
        assert_eq!(failure.exit, Exit::Network);
        assert!(
            told.contains(&format!("`udp://{addr}`")) && told.contains("--no-udp"),
            "{told}"
        );
    }
}

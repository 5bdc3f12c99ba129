//! Asks a gateway for a mapping: by PCP, else by NAT-PMP, else by UPnP. Nobody but the gateway is asked, and nobody else is heard.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::core::port_mapping::LEASE;
use crate::net::http_client::{Client, HttpError, Options, Response};
use crate::net::tcp::Bind;
use crate::net::{gateway, udp};
use crate::proto::portmap::pcp::{Ask, Nonce};
use crate::proto::portmap::upnp::{self, Service};
use crate::proto::portmap::{self, Mapping, Refusal, natpmp};

/// A question is asked again after these times, and given up after the last.
const AGAIN: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
];

/// By UPnP a gateway does not choose another port where somebody else has the one that it is asked for; these are tried, at random.
const OTHERS: std::ops::RangeInclusive<u16> = 49152..=65535;
/// So many of them.
const MOST_OTHERS: u32 = 4;

/// Each request to a gateway over HTTP.
const PATIENCE: Duration = Duration::from_secs(3);

/// How a mapping was got, and is kept and ended.
#[derive(Clone, Debug)]
enum Way {
    Pcp(Ask),
    NatPmp,
    /// And the port outside.
    Upnp(Service, u16),
}

/// A mapping that we have.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    way: Way,
    place: Place,
    mapping: Mapping,
}

/// Whom to ask, and for what.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    bind: Bind,
    /// The default gateway.
    pub(crate) gateway: Ipv4Addr,
    /// Our address towards it.
    client: Ipv4Addr,
    port: u16,
    nonce: Nonce,
}

/// A [`Nonce`] that nobody can guess.
pub(crate) fn nonce() -> Nonce {
    let mut nonce = [0; 12];
    fastrand::Rng::new().fill(&mut nonce);
    nonce
}

impl Place {
    /// Finds the gateway; why there is nobody to ask, otherwise. `nonce` tells our mapping from those of others, and is the same for as long as
    /// the run lasts: a gateway lets nobody else change it.
    pub(crate) fn find(bind: &Bind, port: u16, nonce: Nonce) -> Result<Self, String> {
        let gateway = gateway::default_gateway(bind.interface.as_deref());
        let gateway = gateway.ok_or("there is no default gateway for IPv4")?;
        let near = udp::dial(bind, SocketAddr::new(gateway.into(), portmap::PORT))
            .and_then(|socket| socket.local_addr())
            .map_err(|error| format!("the gateway {gateway} cannot be reached: {error}"))?;
        let client = match near {
            SocketAddr::V4(near) if !near.ip().is_loopback() => *near.ip(),
            _ => {
                return Err(format!(
                    "what is bound to does not lead to the gateway {gateway}"
                ));
            }
        };
        Ok(Self {
            bind: bind.clone(),
            gateway,
            client,
            port,
            nonce,
        })
    }

    /// Asks for a mapping, one protocol after the other; what each of them has come to, if none works.
    pub(crate) fn map(&self) -> Result<Held, String> {
        let pcp = Way::Pcp(Ask {
            client: self.client,
            port: self.port,
            external: self.port,
            nonce: self.nonce,
        });
        let ways = [Ok(pcp), Ok(Way::NatPmp)];
        let mut causes = Vec::new();
        let mut attempt = |name: &str, way: Result<Way, String>| match way
            .and_then(|mut way| Ok((self.ask(&mut way)?, way)))
        {
            Ok((mapping, way)) => Some(Held {
                way,
                place: self.clone(),
                mapping,
            }),
            Err(cause) => {
                causes.push(format!("{name}: {cause}"));
                None
            }
        };
        for (name, way) in ["PCP", "NAT-PMP"].into_iter().zip(ways) {
            if let Some(held) = attempt(name, way) {
                return Ok(held);
            }
        }
        let upnp = attempt(
            "UPnP",
            self.find_service()
                .map(|service| Way::Upnp(service, self.port)),
        );
        upnp.ok_or_else(|| causes.join("; "))
    }

    fn ask(&self, way: &mut Way) -> Result<Mapping, String> {
        let mapping = match way {
            Way::Pcp(ask) => {
                let packet = ask.write(secs(LEASE));
                self.exchange(&packet, |answer| ask.read(answer))?
            }
            Way::NatPmp => {
                let packet = natpmp::ask_mapping(self.port, self.port, secs(LEASE));
                let read = |answer: &[u8]| natpmp::read_mapping(answer, self.port);
                let mapping = self.exchange(&packet, read)?;
                let address = self.exchange(&natpmp::ask_address(), natpmp::read_address);
                Mapping {
                    address: address.ok(),
                    ..mapping
                }
            }
            Way::Upnp(service, outside) => {
                let mapping = self.add(service, *outside)?;
                *outside = mapping.port;
                mapping
            }
        };
        if mapping.port == 0 || mapping.lease == Some(Duration::ZERO) {
            return Err(Refusal::Nonsense.to_string());
        }
        Ok(mapping)
    }

    /// Asks time and again until something comes that is an answer.
    fn exchange<T>(
        &self,
        packet: &[u8],
        read: impl Fn(&[u8]) -> Option<Result<T, Refusal>>,
    ) -> Result<T, String> {
        let at = SocketAddr::new(self.gateway.into(), portmap::PORT);
        let socket = udp::dial(&self.bind, at).map_err(|error| error.to_string())?;
        for wait in AGAIN {
            socket.send(packet).map_err(|error| error.to_string())?;
            let answer = receive(&socket, wait, |answer| read(answer));
            if let Some(answer) = answer.map_err(|error| error.to_string())? {
                return answer.map_err(|refusal| refusal.to_string());
            }
        }
        Err(HttpError::TimedOut.to_string())
    }

    /// Finds what maps ports by UPnP.
    fn find_service(&self) -> Result<Service, String> {
        let at = SocketAddr::new(self.gateway.into(), upnp::PORT);
        let socket = udp::dial(&self.bind, at).map_err(|error| error.to_string())?;
        let search = upnp::search(self.gateway);
        let mut found = None;
        for wait in AGAIN {
            let sent = socket.send(search.as_bytes());
            sent.map_err(|error| error.to_string())?;
            let read = |answer: &[u8]| upnp::location(answer, self.gateway);
            found = receive(&socket, wait, read).map_err(|error| error.to_string())?;
            if found.is_some() {
                break;
            }
        }
        let location = found.ok_or_else(|| HttpError::TimedOut.to_string())?;
        let description = self.http().get(&location).and_then(Response::success);
        let description = description.map_err(|error| error.to_string())?;
        Service::find(&description, &location, self.gateway)
            .ok_or_else(|| "the gateway describes no service that maps ports".into())
    }

    /// Asks for the port outside that is wanted, or for another.
    fn add(&self, service: &Service, wanted: u16) -> Result<Mapping, String> {
        let (mut outside, mut lease) = (wanted, Some(LEASE));
        let mut others = 0;
        while let Err(refusal) = self.add_one(service, outside, lease)? {
            match refusal {
                Refusal::Code(upnp::CONFLICT) if others < MOST_OTHERS => {
                    others += 1;
                    outside = fastrand::Rng::new().u16(OTHERS);
                }
                // It ends when we do; after a kill it stays until the next run.
                Refusal::Code(upnp::ONLY_PERMANENT) if lease.is_some() => lease = None,
                refusal => return Err(refusal.to_string()),
            }
        }
        let (action, body) = service.ask_address();
        let told = self.act(service, &action, &body).ok();
        let address = told.and_then(|(status, body)| upnp::read_address(status, &body));
        Ok(Mapping {
            port: outside,
            address,
            lease,
        })
    }

    fn add_one(
        &self,
        service: &Service,
        outside: u16,
        lease: Option<Duration>,
    ) -> Result<Result<(), Refusal>, String> {
        let secs = lease.map_or(0, secs);
        let (action, body) = service.add(self.client, self.port, outside, secs);
        let (status, body) = self.act(service, &action, &body)?;
        Ok(upnp::done(status, &body))
    }

    fn act(&self, service: &Service, action: &str, body: &str) -> Result<(u16, Vec<u8>), String> {
        let headers = [
            ("SOAPAction", action),
            ("Content-Type", "text/xml; charset=\"utf-8\""),
        ];
        let response = self.http().post(&service.control, &headers, body);
        let response = response.map_err(|error| error.to_string())?;
        Ok((response.status, response.body))
    }

    /// Follows no redirect: it would lead away from the gateway.
    fn http(&self) -> Client {
        Client::new(&Options {
            timeout: PATIENCE,
            limit: upnp::MAX_DOCUMENT,
            bind: self.bind.clone(),
            redirects: 0,
        })
    }
}

impl Held {
    /// The mapping.
    pub(crate) const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Asks for the same once more.
    pub(crate) fn renew(&mut self) -> Result<(), String> {
        self.mapping = self.place.ask(&mut self.way)?;
        Ok(())
    }

    /// Ends it. Whoever cannot be told will forget it with its lease.
    pub(crate) fn end(&self) {
        let place = &self.place;
        match &self.way {
            Way::Pcp(ask) => drop(place.exchange(&ask.write(0), |answer| ask.read(answer))),
            Way::NatPmp => {
                let packet = natpmp::ask_mapping(place.port, 0, 0);
                let read = |answer: &[u8]| natpmp::read_mapping(answer, place.port);
                drop(place.exchange(&packet, read));
            }
            Way::Upnp(service, outside) => {
                let (action, body) = service.delete(*outside);
                drop(place.act(service, &action, &body));
            }
        }
    }

    /// The protocol's name.
    pub(crate) const fn name(&self) -> &'static str {
        match self.way {
            Way::Pcp(_) => "PCP",
            Way::NatPmp => "NAT-PMP",
            Way::Upnp(..) => "UPnP",
        }
    }
}

fn secs(lease: Duration) -> u32 {
    u32::try_from(lease.as_secs()).unwrap_or(u32::MAX)
}

/// Waits so long for a packet from which `read` makes something. Others are not heard: they come from the gateway, but answer something else.
fn receive<T>(
    socket: &UdpSocket,
    wait: Duration,
    read: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let end = Instant::now() + wait;
    let mut buffer = [0; 2048];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut buffer) {
            Ok(len) => {
                if let Some(read) = read(&buffer[..len]) {
                    return Ok(Some(read));
                }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(None),
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}

//! How to ask a home router to let others in: PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP IGD. What the gateway answers comes from the network
//! like anything else, and is read as such.

pub mod natpmp;
pub mod pcp;
pub mod upnp;
mod xml;

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The port that PCP and NAT-PMP servers listen at.
pub const PORT: u16 = 5351;

/// The largest packet of either protocol.
pub const PACKET: usize = 1100;

/// What a gateway forwards to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The port that others connect to.
    pub port: u16,
    /// The address that others connect to, where the gateway says so.
    pub address: Option<Ipv4Addr>,
    /// How long it lasts; `None` for good.
    pub lease: Option<Duration>,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The gateway does not speak this protocol.
    Unknown,
    /// It says no, with this number of its protocol.
    Code(u16),
    /// What it says makes no sense.
    Nonsense,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("the gateway does not speak it"),
            Self::Code(code) => write!(f, "the gateway refuses (code {code})"),
            Self::Nonsense => f.write_str("what the gateway answers makes no sense"),
        }
    }
}

/// Big-endian numbers and addresses at fixed places.
fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    let bytes = packet.get(at..at + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn u32_at(packet: &[u8], at: usize) -> Option<u32> {
    let bytes = packet.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// An address that can be one's own to the outside.
fn sane(address: Ipv4Addr) -> Option<Ipv4Addr> {
    let usable = !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast();
    usable.then_some(address)
}

/// How long a lease lasts that a gateway has granted in seconds.
fn lease(secs: u32) -> Duration {
    Duration::from_secs(secs.into())
}

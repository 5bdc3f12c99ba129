//! Announces and scrapes in datagrams (BEP 15), and what may follow an announce (BEP 41). Both directions.
//!
//! A client first connects: it gets a connection id, which proves with every later request that its address is no lie. So a server reads only the
//! [`Head`] of what strangers send, and the rest once it knows the id.
//!
//! All numbers are in network order. Requests and replies may be longer than they have to be; what follows is ignored.

mod reply;
mod request;

pub use reply::{
    MAX_REPLY, Reply, most_peers, parse_reply, write_announced, write_connected, write_refusal,
    write_scraped,
};
pub use request::{
    Announce, Head, read_announce, read_head, read_scrape, write_announce, write_connect,
    write_scrape,
};

/// What stands in place of a connection id where one is asked for.
pub const PROTOCOL: u64 = 0x0417_2710_1980;

/// What is asked for, or answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// A connection id.
    Connect = 0,
    /// A peer's report, and other peers.
    Announce = 1,
    /// The numbers of swarms.
    Scrape = 2,
    /// Only answered: no.
    Error = 3,
}

impl Action {
    const fn from_number(n: u32) -> Option<Self> {
        match n {
            0 => Some(Self::Connect),
            1 => Some(Self::Announce),
            2 => Some(Self::Scrape),
            3 => Some(Self::Error),
            _ => None,
        }
    }
}

/// Takes `N` bytes from the front of `rest`; `None` if there are fewer, of which none is taken.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (front, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*front)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    take(rest).map(u32::from_be_bytes)
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_be_bytes)
}

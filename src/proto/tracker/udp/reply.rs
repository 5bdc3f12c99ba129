//! Replies.

use std::net::{IpAddr, SocketAddr};

use super::{Action, take, take_u32, take_u64};
use crate::base::endpoint;
use crate::proto::tracker::{AnnounceReply, MAX_PEERS, Refusal, ReplyError, SwarmStats, text};

/// Most bytes in a reply: what fits a packet everywhere, IPv6's smallest (1,280) without the heads of IPv6 and UDP.
pub const MAX_REPLY: usize = 1232;

/// Bytes before the peers.
const ANNOUNCED: usize = 20;

/// Most peers in one reply to a client at `ip`: 202 of IPv4, 67 of IPv6.
#[must_use]
pub const fn most_peers(ip: IpAddr) -> u32 {
    let entry = if is_v4(ip) { 6 } else { 18 };
    ((MAX_REPLY - ANNOUNCED) / entry) as u32
}

/// The client's own family decides how peers are written.
const fn is_v4(ip: IpAddr) -> bool {
    ip.to_canonical().is_ipv4()
}

/// Appends the reply that hands out a connection id.
pub fn write_connected(transaction: u32, connection: u64, out: &mut Vec<u8>) {
    write_head(Action::Connect, transaction, out);
    out.extend_from_slice(&connection.to_be_bytes());
}

fn write_head(action: Action, transaction: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&(action as u32).to_be_bytes());
    out.extend_from_slice(&transaction.to_be_bytes());
}

/// Appends the reply to an announce of a client at `ip`. Of the peers it holds those of the same family, and no more than [`most_peers`].
pub fn write_announced(transaction: u32, reply: &AnnounceReply, ip: IpAddr, out: &mut Vec<u8>) {
    write_head(Action::Announce, transaction, out);
    let counts = [
        reply.interval,
        reply.incomplete.unwrap_or(0),
        reply.complete.unwrap_or(0),
    ];
    for count in counts {
        out.extend_from_slice(&count.to_be_bytes());
    }
    let most = most_peers(ip) as usize;
    if is_v4(ip) {
        let v4 = |peer: &SocketAddr| match peer.ip().to_canonical() {
            IpAddr::V4(ip) => Some(ip.octets()),
            IpAddr::V6(_) => None,
        };
        write_peers::<4, 6>(&reply.peers, most, v4, out);
    } else {
        let v6 = |peer: &SocketAddr| match peer.ip().to_canonical() {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(ip.octets()),
        };
        write_peers::<16, 18>(&reply.peers, most, v6, out);
    }
}

/// Appends up to `most` peers of the family whose addresses `family` gives; `ENTRY` is two more than `ADDRESS`.
///
/// A tracker does little else, so this writes into place instead of appending piece by piece.
fn write_peers<const ADDRESS: usize, const ENTRY: usize>(
    peers: &[SocketAddr],
    most: usize,
    family: impl Fn(&SocketAddr) -> Option<[u8; ADDRESS]>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.resize(start + peers.len().min(most) * ENTRY, 0);
    let (entries, _) = out
        .get_mut(start..)
        .unwrap_or_default()
        .as_chunks_mut::<ENTRY>();
    let mut written = 0;
    let same = peers
        .iter()
        .filter_map(|peer| Some((family(peer)?, peer.port())));
    for (entry, (ip, port)) in entries.iter_mut().zip(same) {
        let (front, back) = entry.split_at_mut(ADDRESS);
        front.copy_from_slice(&ip);
        back.copy_from_slice(&port.to_be_bytes());
        written += 1;
    }
    out.truncate(start + written * ENTRY);
}

/// Appends the reply to a scrape: the numbers in the order of the request.
pub fn write_scraped(
    transaction: u32,
    swarms: impl IntoIterator<Item = SwarmStats>,
    out: &mut Vec<u8>,
) {
    write_head(Action::Scrape, transaction, out);
    for swarm in swarms {
        for count in [swarm.complete, swarm.downloaded, swarm.incomplete] {
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
}

/// Appends the reply that refuses.
pub fn write_refusal(transaction: u32, refusal: &Refusal, out: &mut Vec<u8>) {
    write_head(Action::Error, transaction, out);
    out.extend_from_slice(refusal.reason.as_bytes());
}

/// What a tracker answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A connection id.
    Connected(u64),
    /// To an announce.
    Announced(AnnounceReply),
    /// To a scrape, in the order of the request.
    Scraped(Vec<SwarmStats>),
}

/// Reads a reply that came from a tracker at `ip`, whose family says how peers are written. `None` if it does not answer `transaction`, or is none at all: then the
/// true one may still come.
///
/// # Errors
/// If the tracker refused, or if the bytes make no sense.
pub fn parse_reply(
    packet: &[u8],
    transaction: u32,
    ip: IpAddr,
) -> Option<Result<Reply, ReplyError>> {
    let mut rest = packet;
    let action = Action::from_number(take_u32(&mut rest)?)?;
    (take_u32(&mut rest)? == transaction).then_some(())?;
    let reply = match action {
        Action::Connect => take_u64(&mut rest).map(Reply::Connected),
        Action::Announce => announced(rest, ip).map(Reply::Announced),
        Action::Scrape => Some(Reply::Scraped(scraped(rest))),
        Action::Error => return Some(Err(ReplyError::Refused(Refusal::new(text(rest))))),
    };
    Some(reply.ok_or_else(|| ReplyError::Malformed("it is cut short".into())))
}

fn announced(mut rest: &[u8], ip: IpAddr) -> Option<AnnounceReply> {
    let (interval, incomplete, complete) = (
        take_u32(&mut rest)?,
        take_u32(&mut rest)?,
        take_u32(&mut rest)?,
    );
    let entry = if is_v4(ip) { 6 } else { 18 };
    // A part of a peer at the end is none.
    let whole = rest.get(..rest.len() - rest.len() % entry)?;
    let peers = if is_v4(ip) {
        endpoint::read_v4(whole)
    } else {
        endpoint::read_v6(whole)
    };
    let good = peers?
        .into_iter()
        .filter(|&peer| endpoint::is_dialable(peer));
    Some(AnnounceReply {
        interval,
        complete: Some(complete),
        incomplete: Some(incomplete),
        peers: good.take(MAX_PEERS).collect(),
        ..AnnounceReply::default()
    })
}

fn scraped(mut rest: &[u8]) -> Vec<SwarmStats> {
    let mut swarms = Vec::new();
    while let Some(counts) = take::<12>(&mut rest) {
        let mut counts = &counts[..];
        let mut next = || take_u32(&mut counts).unwrap_or(0);
        swarms.push(SwarmStats {
            complete: next(),
            downloaded: next(),
            incomplete: next(),
        });
    }
    swarms
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn reply() -> AnnounceReply {
        AnnounceReply {
            interval: 300,
            complete: Some(1),
            incomplete: Some(2),
            peers: [
                "10.0.0.1:6881",
                "[2001:db8::1]:51413",
                "[::ffff:10.0.0.2]:1",
            ]
            .map(|peer| peer.parse().unwrap())
            .into(),
            ..AnnounceReply::default()
        }
    }

    fn announced_to(ip: IpAddr) -> Vec<u8> {
        let mut packet = Vec::new();
        write_announced(7, &reply(), ip, &mut packet);
        packet
    }

    fn peers(packet: &[u8], ip: IpAddr) -> Vec<SocketAddr> {
        match parse_reply(packet, 7, ip) {
            Some(Ok(Reply::Announced(read))) => {
                assert_eq!(
                    (read.interval, read.complete, read.incomplete),
                    (300, Some(1), Some(2))
                );
                read.peers
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_client_is_told_of_peers_of_its_own_family() {
        let v4 = announced_to(V4);
        assert_eq!(v4.len(), 20 + 2 * 6);
        assert_eq!(
            v4[..26],
            [
                0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 1, 0x2c, 0, 0, 0, 2, 0, 0, 0, 1, 10, 0, 0, 1, 0x1a,
                0xe1
            ]
        );
        assert_eq!(
            peers(&v4, V4),
            [reply().peers[0], "10.0.0.2:1".parse().unwrap()]
        );
        let v6 = announced_to(V6);
        assert_eq!(v6.len(), 20 + 18);
        assert_eq!(peers(&v6, V6), [reply().peers[1]]);
        assert_eq!(announced_to("::ffff:1.2.3.4".parse().unwrap()), v4);
    }

    #[test]
    fn a_reply_fits_a_packet() {
        for (ip, peer, most) in [(V4, "10.0.0.1:1", 202), (V6, "[2001:db8::1]:1", 67)] {
            let crowd = AnnounceReply {
                peers: vec![peer.parse().unwrap(); 5000],
                ..AnnounceReply::default()
            };
            let mut packet = Vec::new();
            write_announced(7, &crowd, ip, &mut packet);
            assert!(packet.len() <= MAX_REPLY);
            assert_eq!(most_peers(ip), most);
            let entry = if ip.is_ipv4() { 6 } else { 18 };
            assert_eq!(packet.len(), 20 + entry * most as usize);
        }
    }

    #[test]
    fn the_other_replies_are_read_as_they_were_written() {
        let mut packet = Vec::new();
        write_connected(7, 0x0102_0304_0506_0708, &mut packet);
        assert_eq!(packet.len(), 16);
        let read = parse_reply(&packet, 7, V4);
        assert_eq!(read, Some(Ok(Reply::Connected(0x0102_0304_0506_0708))));

        let stats = |complete| SwarmStats {
            complete,
            downloaded: 8,
            incomplete: 9,
        };
        packet.clear();
        write_scraped(7, [stats(1), stats(2)], &mut packet);
        assert_eq!(packet.len(), 8 + 24);
        let read = parse_reply(&packet, 7, V4);
        assert_eq!(read, Some(Ok(Reply::Scraped(vec![stats(1), stats(2)]))));

        packet.clear();
        write_refusal(7, &Refusal::new("no\x1b[1m"), &mut packet);
        let read = parse_reply(&packet, 7, V4);
        let refusal = Refusal::new("no [1m");
        assert_eq!(read, Some(Err(ReplyError::Refused(refusal))));
    }

    #[test]
    fn what_answers_something_else_is_no_reply() {
        assert_eq!(parse_reply(&announced_to(V4), 8, V4), None);
        assert_eq!(parse_reply(&[0, 0, 0, 4, 0, 0, 0, 7], 7, V4), None);
        assert_eq!(parse_reply(b"", 7, V4), None);
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_a_reply_an_error_or_nothing() {
        for ip in [V4, V6] {
            let good = announced_to(ip);
            for end in 0..good.len() {
                let read = parse_reply(&good[..end], 7, ip);
                assert_eq!(read.is_some(), end >= 8, "cut at {end}");
                assert_eq!(read.is_some_and(|read| read.is_ok()), end >= 20);
            }
            for at in 0..good.len() {
                for byte in 0..=255 {
                    let mut bad = good.clone();
                    bad[at] = byte;
                    let _ = parse_reply(&bad, 7, ip);
                }
            }
        }
    }
}

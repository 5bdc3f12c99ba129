//! The reply to an announce, in both directions.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::str;

use crate::base::bencode::{Dict, Document, Item, Limits};
use crate::base::endpoint;
use crate::base::id::PeerId;
use crate::proto::tracker::{self, AnnounceReply, MAX_PEERS, Refusal, ReplyError, Retry};

/// The interval, in seconds, where a tracker gives none.
const INTERVAL: u32 = 1800;

/// Most bytes that are kept of a `tracker id`.
const MAX_TRACKER_ID: usize = 256;

/// Appends the reply: with compact addresses (BEP 23, BEP 7), or else a dictionary for each peer (BEP 3).
///
/// The keys stand in the order that BEP 3 demands. Written by hand, since a tracker does little else.
pub fn write_announce(reply: &AnnounceReply, compact: bool, out: &mut Vec<u8>) {
    out.push(b'd');
    put_count(b"complete", reply.complete, out);
    put_count(b"downloaded", reply.downloaded, out);
    if let Some(ip) = reply.external_ip {
        put_string(b"external ip", out);
        match ip.to_canonical() {
            IpAddr::V4(ip) => put_string(&ip.octets(), out),
            IpAddr::V6(ip) => put_string(&ip.octets(), out),
        }
    }
    put_count(b"incomplete", reply.incomplete, out);
    put_count(b"interval", Some(reply.interval), out);
    put_count(b"min interval", reply.min_interval, out);
    if compact {
        put_compact(&reply.peers, out);
    } else {
        put_dictionaries(reply, out);
    }
    if let Some(id) = &reply.tracker_id {
        put_text(b"tracker id", id, out);
    }
    if let Some(text) = &reply.warning {
        put_text(b"warning message", text.as_bytes(), out);
    }
    out.push(b'e');
}

/// Appends the reply that refuses (BEP 3, and `retry in` of BEP 31).
pub fn write_refusal(refusal: &Refusal, out: &mut Vec<u8>) {
    out.push(b'd');
    put_text(b"failure reason", refusal.reason.as_bytes(), out);
    match refusal.retry {
        Retry::Unsaid => {}
        Retry::Minutes(n) => put_count(b"retry in", Some(n), out),
        Retry::Never => put_text(b"retry in", b"never", out),
    }
    out.push(b'e');
}

fn put_compact(peers: &[SocketAddr], out: &mut Vec<u8>) {
    let is_v4 = |addr: &&SocketAddr| addr.ip().to_canonical().is_ipv4();
    let v4 = peers.iter().filter(is_v4).count();
    put_string(b"peers", out);
    // Writing to a vector cannot fail, here and below.
    let _ = write!(out, "{}:", v4 * 6);
    for &addr in peers.iter().filter(is_v4) {
        endpoint::write_compact(addr, out);
    }
    if v4 < peers.len() {
        put_string(b"peers6", out);
        let _ = write!(out, "{}:", (peers.len() - v4) * 18);
        for &addr in peers.iter().filter(|addr| !is_v4(addr)) {
            endpoint::write_compact(addr, out);
        }
    }
}

fn put_dictionaries(reply: &AnnounceReply, out: &mut Vec<u8>) {
    put_string(b"peers", out);
    out.push(b'l');
    let mut ids = reply.peer_ids.iter();
    for addr in &reply.peers {
        out.push(b'd');
        put_text(b"ip", addr.ip().to_canonical().to_string().as_bytes(), out);
        if let Some(id) = ids.next() {
            put_text(b"peer id", &id.0, out);
        }
        put_count(b"port", Some(addr.port().into()), out);
        out.push(b'e');
    }
    out.push(b'e');
}

pub(super) fn put_string(bytes: &[u8], out: &mut Vec<u8>) {
    let _ = write!(out, "{}:", bytes.len());
    out.extend_from_slice(bytes);
}

pub(super) fn put_count(key: &[u8], value: Option<u32>, out: &mut Vec<u8>) {
    if let Some(n) = value {
        put_string(key, out);
        let _ = write!(out, "i{n}e");
    }
}

fn put_text(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    put_string(key, out);
    put_string(value, out);
}

/// Reads the reply to an announce.
///
/// Addresses that nobody can listen at are left out, and of the rest at most [`MAX_PEERS`] are read. What follows the value (a newline,
/// as a rule) is ignored.
///
/// # Errors
/// If the tracker refused, or if the bytes are no such reply.
pub fn parse_announce(bytes: &[u8]) -> Result<AnnounceReply, ReplyError> {
    let (document, _) =
        Document::parse_prefix(bytes, Limits::TRACKER).map_err(|e| malformed(&e.to_string()))?;
    let dict = accepted(&document)?;
    let mut reply = AnnounceReply {
        interval: count(dict, b"interval").unwrap_or(INTERVAL),
        min_interval: count(dict, b"min interval"),
        complete: count(dict, b"complete"),
        incomplete: count(dict, b"incomplete"),
        downloaded: count(dict, b"downloaded"),
        warning: dict.get(b"warning message").map(text),
        tracker_id: dict
            .get(b"tracker id")
            .and_then(|item| item.bytes())
            .filter(|id| id.len() <= MAX_TRACKER_ID)
            .map(<[u8]>::to_vec),
        external_ip: dict
            .get(b"external ip")
            .and_then(|item| address(item.bytes()?)),
        ..AnnounceReply::default()
    };
    if let Some(item) = dict.get(b"peers") {
        read_peers(item, &mut reply)?;
    }
    if let Some(item) = dict.get(b"peers6") {
        let more = item.bytes().and_then(endpoint::read_v6);
        let more = more.ok_or_else(|| malformed("`peers6` is not a multiple of 18 bytes"))?;
        if !more.is_empty() {
            reply.peer_ids.clear();
        }
        add(more, &mut reply.peers);
    }
    Ok(reply)
}

/// The dictionary of a reply that is not a refusal.
pub(super) fn accepted<'d>(document: &'d Document<'_>) -> Result<Dict<'d>, ReplyError> {
    let dict = document.root().dict();
    let dict = dict.ok_or_else(|| malformed("it is not a dictionary"))?;
    match dict.get(b"failure reason") {
        Some(reason) => Err(ReplyError::Refused(Refusal {
            reason: text(reason),
            retry: dict.get(b"retry in").map_or(Retry::Unsaid, retry),
        })),
        None => Ok(dict),
    }
}

pub(super) fn malformed(what: &str) -> ReplyError {
    ReplyError::Malformed(what.to_owned())
}

pub(super) fn count(dict: Dict<'_>, key: &[u8]) -> Option<u32> {
    let n = dict.get(key)?.uint()?;
    Some(u32::try_from(n).unwrap_or(u32::MAX))
}

/// BEP 31 has an integer of minutes or the word `never`; some trackers write the integer as a string.
fn retry(item: Item<'_>) -> Retry {
    let minutes = item.uint().or_else(|| item.text()?.parse().ok());
    match minutes {
        Some(n) => Retry::Minutes(u32::try_from(n).unwrap_or(u32::MAX)),
        None if item.bytes() == Some(b"never") => Retry::Never,
        None => Retry::Unsaid,
    }
}

fn text(item: Item<'_>) -> String {
    tracker::text(item.bytes().unwrap_or_default())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(v6).to_canonical())
}

fn read_peers(item: Item<'_>, reply: &mut AnnounceReply) -> Result<(), ReplyError> {
    if let Some(bytes) = item.bytes() {
        let peers = endpoint::read_v4(bytes);
        let peers = peers.ok_or_else(|| malformed("`peers` is not a multiple of 6 bytes"))?;
        add(peers, &mut reply.peers);
        return Ok(());
    }
    let list = item.list();
    let list = list.ok_or_else(|| malformed("`peers` is neither a string nor a list"))?;
    let known = list.filter_map(|entry| peer(entry.dict()?)).take(MAX_PEERS);
    let (peers, ids): (Vec<_>, Vec<_>) = known.unzip();
    reply.peers = peers;
    // One id that is missing would shift the rest.
    reply.peer_ids = ids.into_iter().collect::<Option<_>>().unwrap_or_default();
    Ok(())
}

/// An entry of the dictionary form; a name in place of an address is passed over.
fn peer(entry: Dict<'_>) -> Option<(SocketAddr, Option<PeerId>)> {
    let ip: IpAddr = entry.get(b"ip")?.text()?.parse().ok()?;
    let port = u16::try_from(entry.get(b"port")?.uint()?).ok()?;
    let addr = SocketAddr::new(ip.to_canonical(), port);
    let id = entry.get(b"peer id").and_then(|id| id.bytes());
    endpoint::is_dialable(addr).then(|| (addr, id.and_then(PeerId::from_slice)))
}

fn add(more: Vec<SocketAddr>, peers: &mut Vec<SocketAddr>) {
    let room = MAX_PEERS.saturating_sub(peers.len());
    let good = more.into_iter().filter(|&addr| endpoint::is_dialable(addr));
    peers.extend(good.take(room));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tracker::MAX_TEXT;

    fn reply() -> AnnounceReply {
        AnnounceReply {
            interval: 300,
            min_interval: Some(60),
            complete: Some(1),
            incomplete: Some(2),
            downloaded: Some(3),
            peers: vec![
                "10.0.0.1:6881".parse().unwrap(),
                "[2001:db8::1]:51413".parse().unwrap(),
            ],
            peer_ids: vec![PeerId([0xff; 20]), PeerId(*b"-TR4050-abcdefghijkl")],
            warning: Some("old client".into()),
            tracker_id: Some(b"\0id".to_vec()),
            external_ip: Some("192.0.2.7".parse().unwrap()),
        }
    }

    fn written(reply: &AnnounceReply, compact: bool) -> Vec<u8> {
        let mut out = Vec::new();
        write_announce(reply, compact, &mut out);
        let document = Document::parse(&out, Limits::TRACKER).unwrap();
        assert!(document.root().dict().unwrap().is_sorted());
        out
    }

    #[test]
    fn every_reply_is_read_as_it_was_written() {
        let full = reply();
        assert_eq!(parse_announce(&written(&full, false)), Ok(full.clone()));
        let no_ids = AnnounceReply {
            peer_ids: Vec::new(),
            external_ip: Some("2001:db8::7".parse().unwrap()),
            ..full
        };
        assert_eq!(parse_announce(&written(&no_ids, false)), Ok(no_ids.clone()));
        assert_eq!(parse_announce(&written(&no_ids, true)), Ok(no_ids));
    }

    #[test]
    fn an_empty_reply_is_what_bep_23_asks_for() {
        let bare = AnnounceReply {
            interval: 300,
            ..AnnounceReply::default()
        };
        assert_eq!(written(&bare, true), b"d8:intervali300e5:peers0:e");
        assert_eq!(written(&bare, false), b"d8:intervali300e5:peerslee");
    }

    #[test]
    fn a_refusal_says_why_and_when_to_come_back() {
        for retry in [Retry::Unsaid, Retry::Minutes(5), Retry::Never] {
            let refusal = Refusal {
                reason: "port is missing".into(),
                retry,
            };
            let mut out = Vec::new();
            write_refusal(&refusal, &mut out);
            assert_eq!(parse_announce(&out), Err(ReplyError::Refused(refusal)));
        }
    }

    #[test]
    fn what_trackers_write_loosely_is_read() {
        let reply = parse_announce(b"d5:peers0:e\r\n").unwrap();
        assert_eq!((reply.interval, reply.peers), (1800, vec![]));
        let minutes = parse_announce(b"d14:failure reason4:a\x1b\xffb8:retry in2:15e");
        let refusal = Refusal {
            reason: "a \u{fffd}b".into(),
            retry: Retry::Minutes(15),
        };
        assert_eq!(minutes, Err(ReplyError::Refused(refusal)));
        let long = format!("d14:failure reason{}:{}e", 9000, "x".repeat(9000));
        let Err(ReplyError::Refused(refusal)) = parse_announce(long.as_bytes()) else {
            panic!("not refused")
        };
        assert_eq!(refusal.reason.len(), MAX_TEXT);
    }

    #[test]
    fn addresses_that_nobody_listens_at_are_left_out() {
        let reply = parse_announce(b"d5:peers18:\x0a\0\0\x01\0\x01\0\0\0\0\0\x01\x0a\0\0\x02\0\0e");
        assert_eq!(reply.unwrap().peers, vec!["10.0.0.1:1".parse().unwrap()]);
        let named =
            b"d5:peersld2:ip4:host4:porti1eed2:ip8:10.0.0.24:porti0eed2:ip8:10.0.0.24:porti9eeee";
        let reply = parse_announce(named).unwrap();
        assert_eq!(reply.peers, vec!["10.0.0.2:9".parse().unwrap()]);
    }

    #[test]
    fn a_reply_with_too_many_peers_is_cut_short() {
        let n = 3 * MAX_PEERS;
        let mut bytes = format!("d5:peers{}:", 6 * n).into_bytes();
        bytes.extend([10, 0, 0, 1, 0, 9].repeat(n));
        bytes.push(b'e');
        assert_eq!(parse_announce(&bytes).unwrap().peers.len(), MAX_PEERS);
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_a_reply_or_an_error_but_never_a_panic() {
        for compact in [true, false] {
            let good = written(&reply(), compact);
            for end in 0..good.len() {
                assert!(parse_announce(&good[..end]).is_err(), "cut at {end}");
            }
            for at in 0..good.len() {
                for byte in 0..=255 {
                    let mut bad = good.clone();
                    bad[at] = byte;
                    let _ = parse_announce(&bad);
                }
            }
        }
    }
}

//! Requests.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use super::{Action, PROTOCOL, take, take_u32, take_u64};
use crate::base::id::{InfoHash, PeerId};
use crate::proto::tracker::{AnnounceRequest, Event, LEFT_UNKNOWN, MAX_SCRAPE, Refusal};

/// Bytes of a head.
const HEAD: usize = 16;

/// Bytes of an announce without options.
const ANNOUNCE: usize = 98;

/// Options of BEP 41.
const END_OF_OPTIONS: u8 = 0;
const NOP: u8 = 1;
const URL_DATA: u8 = 2;

/// How every request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The connection id; for [`Action::Connect`] it was the [`PROTOCOL`].
    pub connection: u64,
    /// What is asked for; never [`Action::Error`].
    pub action: Action,
    /// What the reply has to repeat.
    pub transaction: u32,
}

/// Reads how a request begins. `None` for what is no request of this protocol.
#[must_use]
pub fn read_head(packet: &[u8]) -> Option<Head> {
    let mut rest = packet;
    let connection = take_u64(&mut rest)?;
    let action = Action::from_number(take_u32(&mut rest)?)?;
    let transaction = take_u32(&mut rest)?;
    let known = match action {
        Action::Connect => connection == PROTOCOL,
        Action::Announce | Action::Scrape => true,
        Action::Error => false,
    };
    known.then_some(Head {
        connection,
        action,
        transaction,
    })
}

/// An announce, and the part of the tracker's URL that says for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce<'a> {
    /// The announce itself. What only HTTP knows has its default.
    pub request: AnnounceRequest,
    /// Path and query of the announce URL (BEP 41), such as `/announce/key`; empty if the client does not send them.
    pub path: Cow<'a, [u8]>,
}

/// Reads a packet whose [`Head`] said that it is an announce.
///
/// # Errors
/// A refusal that says what is wrong.
pub fn read_announce(packet: &[u8]) -> Result<Announce<'_>, Refusal> {
    let Some((mut body, options)) = packet
        .split_at_checked(ANNOUNCE)
        .and_then(|(announce, options)| Some((announce.get(HEAD..)?, options)))
    else {
        return Err(Refusal::never(format!(
            "an announce has {ANNOUNCE} bytes, this has {}",
            packet.len()
        )));
    };
    // The length was looked at, so none of this is ever missing.
    read_fields(&mut body)
        .unwrap_or_else(|| Err(Refusal::never("the announce is cut short")))
        .map(|request| Announce {
            request,
            path: url_data(options),
        })
}

fn read_fields(body: &mut &[u8]) -> Option<Result<AnnounceRequest, Refusal>> {
    let (info_hash, peer_id) = (InfoHash(take(body)?), PeerId(take(body)?));
    let (downloaded, left, uploaded) = (take_u64(body)?, take_u64(body)?, take_u64(body)?);
    let event = match take_u32(body)? {
        0 => Event::None,
        1 => Event::Completed,
        2 => Event::Started,
        3 => Event::Stopped,
        n => {
            return Some(Err(Refusal::never(format!(
                "event must be a number from 0 to 3, this is {n}"
            ))));
        }
    };
    let ip = Ipv4Addr::from(take::<4>(body)?);
    let (key, wanted) = (take_u32(body)?, take_u32(body)?);
    let port = u16::from_be_bytes(take(body)?);
    Some(Ok(AnnounceRequest {
        uploaded,
        downloaded,
        left: Some(left).filter(|&n| n < LEFT_UNKNOWN),
        event,
        // A negative number is the client's way to leave it to the tracker.
        numwant: Some(wanted).filter(|&n| i32::try_from(n).is_ok()),
        key: Some(key),
        ip: (!ip.is_unspecified()).then_some(IpAddr::V4(ip)),
        ..AnnounceRequest::new(info_hash, peer_id, port)
    }))
}

/// What the options say of the URL: long ones come in parts. An option that is cut short ends them, one that is not known is passed over.
fn url_data(mut options: &[u8]) -> Cow<'_, [u8]> {
    let mut path = Cow::Borrowed(&[][..]);
    while let Some((&option, rest)) = options.split_first() {
        options = rest;
        match option {
            END_OF_OPTIONS => break,
            NOP => continue,
            _ => {}
        }
        let Some((data, rest)) = options
            .split_first()
            .and_then(|(&len, rest)| rest.split_at_checked(len.into()))
        else {
            break;
        };
        options = rest;
        if option == URL_DATA {
            if path.is_empty() {
                path = Cow::Borrowed(data);
            } else {
                path.to_mut().extend_from_slice(data);
            }
        }
    }
    path
}

/// Reads a packet whose [`Head`] said that it is a scrape: the info-hashes, the first [`MAX_SCRAPE`] of them.
///
/// # Errors
/// A refusal if there is none.
pub fn read_scrape(packet: &[u8]) -> Result<impl Iterator<Item = InfoHash> + '_, Refusal> {
    let (hashes, _) = packet.get(HEAD..).unwrap_or_default().as_chunks::<20>();
    if hashes.is_empty() {
        return Err(Refusal::never("info_hash is missing"));
    }
    Ok(hashes.iter().take(MAX_SCRAPE).map(|&hash| InfoHash(hash)))
}

/// Appends the request for a connection id.
pub fn write_connect(transaction: u32, out: &mut Vec<u8>) {
    write_head(PROTOCOL, Action::Connect, transaction, out);
}

fn write_head(connection: u64, action: Action, transaction: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&connection.to_be_bytes());
    out.extend_from_slice(&(action as u32).to_be_bytes());
    out.extend_from_slice(&transaction.to_be_bytes());
}

/// Appends an announce. `path` is path and query of the announce URL; it is sent along if it says more than that a tracker is meant.
pub fn write_announce(
    connection: u64,
    transaction: u32,
    request: &AnnounceRequest,
    path: &str,
    out: &mut Vec<u8>,
) {
    write_head(connection, Action::Announce, transaction, out);
    out.extend_from_slice(&request.info_hash.0);
    out.extend_from_slice(&request.peer_id.0);
    let left = request.left.unwrap_or(LEFT_UNKNOWN);
    for number in [request.downloaded, left, request.uploaded] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    let event: u32 = match request.event {
        Event::None => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
    };
    let ip = match request.ip {
        Some(IpAddr::V4(ip)) => ip.to_bits(),
        _ => 0,
    };
    let wanted = request
        .numwant
        .and_then(|n| i32::try_from(n).ok())
        .map_or(u32::MAX, i32::cast_unsigned);
    for number in [event, ip, request.key.unwrap_or(0), wanted] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&request.port.to_be_bytes());
    if !matches!(path, "" | "/" | "/announce") {
        for part in path.as_bytes().chunks(u8::MAX.into()) {
            out.push(URL_DATA);
            out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(part);
        }
    }
}

/// Appends a scrape of the first [`MAX_SCRAPE`] of `hashes`.
pub fn write_scrape(connection: u64, transaction: u32, hashes: &[InfoHash], out: &mut Vec<u8>) {
    write_head(connection, Action::Scrape, transaction, out);
    for hash in hashes.iter().take(MAX_SCRAPE) {
        out.extend_from_slice(&hash.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash(*b"\0\x01 %&=+?#/\xff\xfe~abcdefg");

    fn full() -> AnnounceRequest {
        AnnounceRequest {
            uploaded: 1,
            downloaded: u64::MAX,
            left: Some(0),
            event: Event::Completed,
            numwant: Some(200),
            key: Some(0xdead_beef),
            ip: Some("192.0.2.1".parse().unwrap()),
            ..AnnounceRequest::new(HASH, PeerId(*b"-HM0100-::::\0\xff%%%%%%"), 6881)
        }
    }

    fn announce(path: &str) -> Vec<u8> {
        let mut packet = Vec::new();
        write_announce(7, 8, &full(), path, &mut packet);
        packet
    }

    #[test]
    fn an_announce_stands_where_the_standard_says() {
        let packet = announce("");
        assert_eq!(packet.len(), 98);
        for (at, bytes) in [
            (0, &[0, 0, 0, 0, 0, 0, 0, 7][..]),
            (8, &[0, 0, 0, 1]),
            (12, &[0, 0, 0, 8]),
            (16, &HASH.0),
            (36, b"-HM0100-"),
            (56, &[0xff; 8]),
            (64, &[0; 8]),
            (72, &[0, 0, 0, 0, 0, 0, 0, 1]),
            (80, &[0, 0, 0, 1]),
            (84, &[192, 0, 2, 1]),
            (88, &[0xde, 0xad, 0xbe, 0xef]),
            (92, &[0, 0, 0, 200]),
            (96, &[0x1a, 0xe1]),
        ] {
            assert_eq!(&packet[at..at + bytes.len()], bytes, "at {at}");
        }
    }

    #[test]
    fn every_announce_is_read_as_it_was_written() {
        let bare = AnnounceRequest {
            key: Some(0),
            ..AnnounceRequest::new(HASH, PeerId([0; 20]), 0)
        };
        for event in [
            Event::None,
            Event::Started,
            Event::Stopped,
            Event::Completed,
        ] {
            for request in [full(), bare.clone()] {
                let request = AnnounceRequest { event, ..request };
                let mut packet = Vec::new();
                write_announce(7, 8, &request, "", &mut packet);
                let head = read_head(&packet).unwrap();
                assert_eq!(
                    (head.connection, head.action, head.transaction),
                    (7, Action::Announce, 8)
                );
                assert_eq!(read_announce(&packet).unwrap().request, request);
            }
        }
    }

    #[test]
    fn the_path_of_the_url_arrives_however_long_it_is() {
        let long = format!("/announce/{}", "k".repeat(700));
        for path in ["/announce/key", "/x?key=1", long.as_str()] {
            let packet = announce(path);
            let read = read_announce(&packet).unwrap();
            assert_eq!(read.path, path.as_bytes());
            assert_eq!(read.request, full());
        }
        for plain in ["", "/", "/announce"] {
            assert_eq!(announce(plain).len(), 98);
        }
    }

    #[test]
    fn options_that_are_not_known_are_passed_over_and_broken_ones_end_them() {
        for (options, path) in [
            (&b"\x01\x01\x02\x02/a\x00\x02\x02/b"[..], "/a"),
            (b"\x63\x03xyz\x02\x02/a", "/a"),
            (b"\x02\x00\x02\x02/a\x01\x02\x01b", "/ab"),
            (b"\x02\x02/a\x02\x09b", "/a"),
            (b"\x02", ""),
            (b"\x00\x02\x02/a", ""),
            (b"\x63\xff", ""),
        ] {
            let packet = [&announce("")[..], options].concat();
            let read = read_announce(&packet).unwrap();
            assert_eq!(read.path, path.as_bytes(), "{}", options.escape_ascii());
        }
    }

    #[test]
    fn what_clients_write_loosely_is_read() {
        let with = |at: usize, bytes: &[u8]| {
            let mut packet = announce("");
            packet[at..at + bytes.len()].copy_from_slice(bytes);
            read_announce(&packet).map(|announce| announce.request)
        };
        assert_eq!(with(92, &[0xff; 4]).unwrap().numwant, None);
        assert_eq!(with(92, &[0x80, 0, 0, 0]).unwrap().numwant, None);
        assert_eq!(with(64, &[0xff; 8]).unwrap().left, None);
        assert_eq!(with(84, &[0; 4]).unwrap().ip, None);
        assert!(
            with(80, &[0, 0, 0, 4])
                .unwrap_err()
                .reason
                .contains("event")
        );
    }

    #[test]
    fn a_connect_needs_the_number_of_the_protocol() {
        let mut packet = Vec::new();
        write_connect(9, &mut packet);
        assert_eq!(
            packet,
            [
                0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 0, 0, 0, 9
            ]
        );
        assert_eq!(read_head(&packet).unwrap().transaction, 9);
        for at in 0..8 {
            let mut other = packet.clone();
            other[at] ^= 1;
            assert_eq!(read_head(&other), None);
        }
    }

    #[test]
    fn of_a_scrape_the_first_74_hashes_are_read() {
        for (asked, read) in [(1, 1), (74, 74), (75, 74), (100, 74)] {
            let mut packet = announce("")[..16].to_vec();
            for n in 0..asked {
                packet.extend_from_slice(&[n; 20]);
            }
            packet.push(0);
            let hashes: Vec<_> = read_scrape(&packet).unwrap().collect();
            assert_eq!(hashes.len(), read);
            assert_eq!(hashes.last(), Some(&InfoHash([asked.min(74) - 1; 20])));
        }
        assert!(read_scrape(&announce("")[..35]).is_err());
        let mut written = Vec::new();
        write_scrape(7, 8, &[HASH; 80], &mut written);
        assert_eq!(written.len(), 16 + 74 * 20);
        assert_eq!(read_head(&written).unwrap().action, Action::Scrape);
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_read_or_refused() {
        let good = announce("/announce/key");
        for end in 0..good.len() {
            let cut = &good[..end];
            assert_eq!(read_head(cut).is_some(), end >= 16);
            assert_eq!(read_announce(cut).is_ok(), end >= 98);
            let _ = read_scrape(cut).map(Iterator::count);
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.clone();
                bad[at] = byte;
                let _ = (read_head(&bad), read_announce(&bad));
            }
        }
    }
}

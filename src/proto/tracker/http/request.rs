//! The announce request, in both directions.

use std::fmt::Write;
use std::net::IpAddr;
use std::str;

use super::query::{id, missing, number, parameters};
use crate::base::id::{InfoHash, PeerId};
use crate::proto::percent;
use crate::proto::tracker::{AnnounceRequest, Event, LEFT_UNKNOWN, Refusal};

/// Most bytes of a `trackerid` that are taken back.
const MAX_TRACKER_ID: usize = 256;

/// Reads the query string of an announce.
///
/// `info_hash`, `peer_id` and `port` are required; what else is missing has its default. Unknown names are ignored. Of a name that
/// stands twice the first counts, since proxies append.
///
/// # Errors
/// A refusal that names the parameter that is missing or wrong.
pub fn read_announce(query: &[u8]) -> Result<AnnounceRequest, Refusal> {
    let mut seen = [None; NAMES.len()];
    for (name, value) in parameters(query) {
        if let Some(slot) = NAMES
            .iter()
            .position(|n| n.as_bytes() == name)
            .and_then(|at| seen.get_mut(at))
        {
            slot.get_or_insert(value);
        }
    }
    let [
        info_hash,
        peer_id,
        port,
        uploaded,
        downloaded,
        left,
        event,
        numwant,
        key,
        compact,
        no_peer_id,
        ip,
        tracker_id,
    ] = seen;
    let require = |value: Option<_>, name: &str| value.ok_or_else(|| missing(name));
    let count = |value: Option<&[u8]>, name: &str| value.map(|v| number(name, v)).transpose();
    let info_hash = id("info_hash", require(info_hash, "info_hash")?)?;
    let peer_id = id("peer_id", require(peer_id, "peer_id")?)?;
    let port = number("port", require(port, "port")?)?;
    let port =
        u16::try_from(port).map_err(|_| Refusal::never("port must be a number from 0 to 65535"))?;
    Ok(AnnounceRequest {
        info_hash: InfoHash(info_hash),
        peer_id: PeerId(peer_id),
        port,
        uploaded: count(uploaded, "uploaded")?.unwrap_or(0),
        downloaded: count(downloaded, "downloaded")?.unwrap_or(0),
        left: count(left, "left")?.filter(|&n| n < LEFT_UNKNOWN),
        event: read_event(event.unwrap_or_default())?,
        numwant: numwant.map(read_numwant).transpose()?.flatten(),
        key: key.and_then(read_key),
        compact: compact.map(|v| v != b"0"),
        no_peer_id: no_peer_id.is_some_and(|v| v != b"0"),
        ip: ip.and_then(read_ip),
        tracker_id: tracker_id
            .and_then(percent::decode)
            .filter(|v| !v.is_empty() && v.len() <= MAX_TRACKER_ID),
    })
}

const NAMES: [&str; 13] = [
    "info_hash",
    "peer_id",
    "port",
    "uploaded",
    "downloaded",
    "left",
    "event",
    "numwant",
    "key",
    "compact",
    "no_peer_id",
    "ip",
    "trackerid",
];

/// `paused` (BEP 21) and whatever else is invented means nothing in particular.
fn read_event(value: &[u8]) -> Result<Event, Refusal> {
    match value {
        b"started" => Ok(Event::Started),
        b"stopped" => Ok(Event::Stopped),
        b"completed" => Ok(Event::Completed),
        b"" | b"empty" | b"none" | b"paused" => Ok(Event::None),
        _ => Err(Refusal::never(
            "event must be started, stopped, completed or empty",
        )),
    }
}

/// A negative number is the client's way to leave it to the tracker.
fn read_numwant(value: &[u8]) -> Result<Option<u32>, Refusal> {
    if value.first() == Some(&b'-') {
        return Ok(None);
    }
    let wanted = number("numwant", value)?;
    Ok(Some(u32::try_from(wanted).unwrap_or(u32::MAX)))
}

/// Clients write eight hexadecimal digits, or fewer; anything else is folded into a number, for only equality matters.
fn read_key(value: &[u8]) -> Option<u32> {
    let text = percent::decode(value)?;
    let hex = str::from_utf8(&text)
        .ok()
        .and_then(|t| u32::from_str_radix(t, 16).ok());
    let fold = |acc: u32, b: &u8| acc.wrapping_mul(31).wrapping_add(u32::from(*b));
    (!text.is_empty()).then(|| hex.unwrap_or_else(|| text.iter().fold(1, fold)))
}

/// A name (BEP 3 allows one) is ignored: a tracker has no business resolving what strangers tell it.
fn read_ip(value: &[u8]) -> Option<IpAddr> {
    let text = percent::decode(value)?;
    str::from_utf8(&text).ok()?.parse().ok()
}

/// The URL of an announce. `base` is the announce URL of the torrent, which may hold a query already.
#[must_use]
pub fn announce_url(base: &str, request: &AnnounceRequest) -> String {
    let mut url = begin(base);
    url.push_str("info_hash=");
    percent::encode(&request.info_hash.0, &mut url);
    url.push_str("&peer_id=");
    percent::encode(&request.peer_id.0, &mut url);
    let mut put = |name: &str, value: u64| {
        // Writing to a string cannot fail.
        let _ = write!(url, "&{name}={value}");
    };
    put("port", request.port.into());
    put("uploaded", request.uploaded);
    put("downloaded", request.downloaded);
    put("left", request.left.unwrap_or(LEFT_UNKNOWN));
    put("compact", request.compact.unwrap_or(true).into());
    if let Some(wanted) = request.numwant {
        put("numwant", wanted.into());
    }
    if request.no_peer_id {
        put("no_peer_id", 1);
    }
    if let Some(key) = request.key {
        let _ = write!(url, "&key={key:08X}");
    }
    url.push_str(match request.event {
        Event::None => "",
        Event::Started => "&event=started",
        Event::Stopped => "&event=stopped",
        Event::Completed => "&event=completed",
    });
    if let Some(ip) = request.ip {
        url.push_str("&ip=");
        percent::encode(ip.to_string().as_bytes(), &mut url);
    }
    if let Some(id) = &request.tracker_id {
        url.push_str("&trackerid=");
        percent::encode(id, &mut url);
    }
    url
}

/// `base` without its fragment, ready for the first parameter.
pub(super) fn begin(base: &str) -> String {
    let base = base.split_once('#').map_or(base, |(before, _)| before);
    let mut url = String::with_capacity(base.len() + 256);
    url.push_str(base);
    if !base.contains('?') {
        url.push('?');
    } else if !base.ends_with(['?', '&']) {
        url.push('&');
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: [u8; 20] = *b"\0\x01 %&=+?#/\xff\xfe~abcdefg";

    fn full() -> AnnounceRequest {
        AnnounceRequest {
            uploaded: 1,
            downloaded: u64::MAX,
            left: Some(0),
            event: Event::Completed,
            numwant: Some(200),
            key: Some(0xdead_beef),
            compact: Some(false),
            no_peer_id: true,
            ip: Some("2001:db8::1".parse().unwrap()),
            tracker_id: Some(b"a&b".to_vec()),
            ..AnnounceRequest::new(InfoHash(HASH), PeerId(*b"-HM0100-::::\0\xff%%%%%%"), 6881)
        }
    }

    fn query(url: &str) -> &[u8] {
        url.split_once('?').unwrap().1.as_bytes()
    }

    #[test]
    fn every_request_is_read_as_it_was_written() {
        let mut bare = AnnounceRequest::new(InfoHash([0xff; 20]), PeerId([b'&'; 20]), 0);
        bare.compact = Some(true);
        for event in [
            Event::None,
            Event::Started,
            Event::Stopped,
            Event::Completed,
        ] {
            for request in [full(), bare.clone()] {
                let request = AnnounceRequest { event, ..request };
                let url = announce_url("http://t/announce", &request);
                assert_eq!(read_announce(query(&url)), Ok(request), "{url}");
            }
        }
    }

    #[test]
    fn a_query_in_the_announce_url_is_kept() {
        for (base, begins) in [
            ("http://t/a", "http://t/a?info_hash="),
            ("http://t/a?", "http://t/a?info_hash="),
            ("http://t/a?k=1", "http://t/a?k=1&info_hash="),
            ("http://t/a?k=1&", "http://t/a?k=1&info_hash="),
            ("http://t/a#frag", "http://t/a?info_hash="),
        ] {
            let url = announce_url(base, &full());
            assert!(url.starts_with(begins), "{url}");
        }
    }

    #[test]
    fn a_missing_or_wrong_parameter_is_named() {
        let good = announce_url("http://t/a", &full());
        let good = str::from_utf8(query(&good)).unwrap();
        for (name, bad) in [
            ("info_hash", "info_hash=test_hash"),
            ("info_hash", "info_hash=%zz"),
            (
                "info_hash",
                "info_hash=2c6b6858d61da9543d4231a71db4b1c9264b0685",
            ),
            ("peer_id", "peer_id=test_peer"),
            ("port", "port=65536"),
            ("port", "port=-1"),
            ("port", "port="),
            ("uploaded", "uploaded=1e3"),
            ("downloaded", "downloaded=x"),
            ("left", "left=-1"),
            ("event", "event=exploded"),
            ("numwant", "numwant=many"),
        ] {
            let rest = good.split('&').filter(|p| !p.starts_with(name));
            let query: Vec<_> = rest.chain([bad]).collect();
            let refusal = read_announce(query.join("&").as_bytes()).unwrap_err();
            assert!(refusal.reason.contains(name), "{bad}: {refusal}");
        }
        for name in ["info_hash", "peer_id", "port"] {
            let rest: Vec<_> = good.split('&').filter(|p| !p.starts_with(name)).collect();
            let refusal = read_announce(rest.join("&").as_bytes()).unwrap_err();
            assert_eq!(refusal.reason, format!("{name} is missing"));
        }
    }

    #[test]
    fn the_first_of_two_counts_and_unknown_names_do_not_matter() {
        let url = announce_url("http://t/a", &full());
        let query = [
            b"&&x=%zz&=&y&",
            query(&url),
            b"&port=1&event=stopped&port=x",
        ]
        .concat();
        assert_eq!(read_announce(&query), Ok(full()));
    }

    #[test]
    fn left_out_of_this_world_means_unknown() {
        let base = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=1";
        let left = |tail: &str| {
            read_announce(format!("{base}{tail}").as_bytes())
                .unwrap()
                .left
        };
        assert_eq!(left(""), None);
        assert_eq!(left("&left=0"), Some(0));
        assert_eq!(left("&left=9223372036854775807"), None);
        assert_eq!(left("&left=99999999999999999999999"), None);
    }

    #[test]
    fn what_clients_write_loosely_is_read() {
        let base = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=1";
        let read = |tail: &str| read_announce(format!("{base}{tail}").as_bytes()).unwrap();
        assert_eq!(read("&numwant=-1").numwant, None);
        assert_eq!(read("&event=").event, Event::None);
        assert_eq!(read("&event=paused").event, Event::None);
        assert_eq!(read("&key=zz").key, read("&key=zz").key);
        assert_ne!(read("&key=zz").key, read("&key=zy").key);
        assert_eq!(read("&ip=tracker.example").ip, None);
        assert_eq!(read("&ip=10.1.2.3").ip, Some("10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_read_or_refused() {
        let url = announce_url("http://t/a", &full());
        let good = query(&url);
        for end in 0..good.len() {
            let _ = read_announce(&good[..end]);
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.to_vec();
                bad[at] = byte;
                let _ = read_announce(&bad);
            }
        }
    }
}

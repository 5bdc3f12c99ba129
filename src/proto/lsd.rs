//! Announcements on the local network (BEP 14): a datagram in the manner of HTTP, to a group that all peers on it join.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::id::InfoHash;

/// Where it is sent over IPv4.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);

/// Where it is sent over IPv6.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f);

/// The port of both groups.
pub const PORT: u16 = 6771;

/// The longest datagram that is sent or read, in bytes: it fits into one packet.
pub const MAX_LEN: usize = 1400;

/// The most torrents in a datagram of ours: 20 lines of 52 bytes, and the head.
pub const MAX_TORRENTS: usize = 20;

/// The longest cookie that is read.
const MAX_COOKIE: usize = 64;

const OPENING: &str = "BT-SEARCH * HTTP/1.1";

/// A peer says where it listens and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The port at which it listens, at the address that the datagram comes from; never 0.
    pub port: u16,
    /// The torrents.
    pub info_hashes: Vec<InfoHash>,
    /// By which a peer knows its own announcements again: ASCII without control characters.
    pub cookie: Option<String>,
}

impl Announcement {
    /// The datagram to `group`.
    #[must_use]
    pub fn encode(&self, group: SocketAddr) -> Vec<u8> {
        let mut text = format!("{OPENING}\r\nHost: {group}\r\nPort: {}\r\n", self.port);
        // Writing to a string cannot fail.
        for info_hash in &self.info_hashes {
            let _ = write!(text, "Infohash: {info_hash}\r\n");
        }
        if let Some(cookie) = &self.cookie {
            let _ = write!(text, "cookie: {cookie}\r\n");
        }
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }

    /// Reads a datagram. Headers come in any order; those that nobody knows, and info-hashes that are none, are passed over. `None` if it is no
    /// announcement, has no port or no torrent, or is longer than [`MAX_LEN`].
    #[must_use]
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        let text = Some(text).filter(|text| text.len() <= MAX_LEN && text.is_ascii())?;
        let mut lines = text.split("\r\n");
        (lines.next()? == OPENING).then_some(())?;
        let (mut port, mut info_hashes, mut cookie) = (None, Vec::new(), None);
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "port" => port = value.parse().ok().filter(|&port: &u16| port != 0),
                "infohash" => info_hashes.extend(value.parse::<InfoHash>().ok()),
                "cookie" => cookie = Some(value).filter(|value| is_cookie(value)),
                _ => {}
            }
        }
        info_hashes.sort_unstable();
        info_hashes.dedup();
        let port = port.filter(|_| !info_hashes.is_empty())?;
        Some(Self {
            port,
            info_hashes,
            cookie: cookie.map(str::to_owned),
        })
    }
}

fn is_cookie(value: &str) -> bool {
    !value.is_empty() && value.len() <= MAX_COOKIE && !value.bytes().any(|b| b.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Announcement {
        Announcement {
            port: 6881,
            info_hashes: vec![InfoHash([1; 20]), InfoHash([0xab; 20])],
            cookie: Some("a7".into()),
        }
    }

    fn group() -> SocketAddr {
        (GROUP_V4, PORT).into()
    }

    #[test]
    fn an_announcement_is_written_as_the_standard_has_it() {
        let text = String::from_utf8(sample().encode(group())).unwrap();
        let (one, ab) = ("01".repeat(20), "ab".repeat(20));
        assert_eq!(
            text,
            format!(
                "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: {one}\r\n\
                 Infohash: {ab}\r\ncookie: a7\r\n\r\n\r\n"
            )
        );
        let v6 = sample().encode((GROUP_V6, PORT).into());
        let v6 = String::from_utf8(v6).unwrap();
        assert!(v6.contains("\r\nHost: [ff15::efc0:988f]:6771\r\n"));
    }

    #[test]
    fn an_announcement_survives_the_wire_and_a_full_one_fits() {
        assert_eq!(
            Announcement::decode(&sample().encode(group())),
            Some(sample())
        );
        let many = u8::try_from(MAX_TORRENTS).unwrap();
        let full = Announcement {
            port: u16::MAX,
            info_hashes: (0..many).map(|n| InfoHash([n; 20])).collect(),
            cookie: Some("x".repeat(MAX_COOKIE)),
        };
        let bytes = full.encode((GROUP_V6, PORT).into());
        assert!(bytes.len() <= MAX_LEN, "{}", bytes.len());
        assert_eq!(Announcement::decode(&bytes), Some(full));
    }

    #[test]
    fn headers_come_in_any_order_and_spelling() {
        let hash = "ab".repeat(20);
        let odd = format!(
            "BT-SEARCH * HTTP/1.1\r\nX: y\r\nINFOHASH:{hash}\r\nnonsense\r\nInfohash: 12\r\nport: 7\r\nInfohash: {hash}\r\n\r\n"
        );
        let read = Announcement::decode(odd.as_bytes()).unwrap();
        assert_eq!(
            (read.port, read.info_hashes.len(), read.cookie),
            (7, 1, None)
        );
    }

    #[test]
    fn what_says_not_enough_is_none() {
        let good = String::from_utf8(sample().encode(group())).unwrap();
        for (from, to) in [
            ("BT-SEARCH", "bt-search"),
            ("Port: 6881", "Port: 0"),
            ("Port: 6881", "Port: 65536"),
            ("Port: 6881\r\n", ""),
            ("Infohash", "Infohush"),
            ("Host: 2", "Host: \u{e9}"),
        ] {
            let bad = good.replace(from, to);
            assert_eq!(Announcement::decode(bad.as_bytes()), None, "{to}");
        }
        let long = good.replace("Host:", &format!("Host: {}", "x".repeat(MAX_LEN)));
        assert_eq!(Announcement::decode(long.as_bytes()), None);
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_survived() {
        let good = sample().encode(group());
        for end in 0..good.len() {
            let _ = Announcement::decode(&good[..end]);
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = byte;
                if let Some(read) = Announcement::decode(&bytes) {
                    let again = read.encode(group());
                    assert_eq!(Announcement::decode(&again), Some(read));
                }
            }
        }
    }
}

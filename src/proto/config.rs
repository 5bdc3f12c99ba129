//! `bt_config.json`: sections and keys, all of them optional. An unknown key is an error, because it is a setting that would silently not count.
//!
//! [`KEYS`] lists every key with what it takes.

use std::fmt;
use std::ops::RangeInclusive;

use super::peer::mse::Encryption;
use super::url;
use crate::base::json::{Malformed, Node, Position, Value};

/// The smallest piece that we create, in bytes.
pub const MIN_PIECE_LENGTH: u32 = 16 << 10;

/// The largest piece that we create, in bytes.
pub const MAX_PIECE_LENGTH: u32 = 128 << 20;

/// The file, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Section `tracker`.
    pub tracker: Tracker,
    /// Section `seeder`.
    pub seeder: Seeder,
    /// Section `torrent_creation`.
    pub torrent_creation: Creation,
    /// Section `network`.
    pub network: Network,
}

/// Section `tracker`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracker {
    /// The port to listen on; 0 for any free one.
    pub port: Option<u16>,
    /// Seconds between announces, 1 to 86400.
    pub announce_interval: Option<u32>,
    /// Peers in a reply at most, 1 to 10000.
    pub max_peers_per_torrent: Option<u32>,
    /// Seconds between clean-ups, 1 to 86400.
    pub cleanup_interval: Option<u32>,
}

/// Section `seeder`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seeder {
    /// Bytes a second; 0 for no limit.
    pub max_upload_rate: Option<u64>,
    /// Bytes a second; 0 for no limit.
    pub max_download_rate: Option<u64>,
    /// Upload slots, 1 to 10000.
    pub max_concurrent_uploads: Option<u32>,
    /// Seconds, 1 to 3600.
    pub piece_request_timeout: Option<u32>,
    /// Bytes of memory for unfinished pieces.
    pub cache_size: Option<u64>,
}

/// Section `torrent_creation`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Creation {
    /// Trackers in tiers (BEP 12); no tier is empty. No tiers: no tracker.
    pub announce: Option<Vec<Vec<String>>>,
    /// A power of two, [`MIN_PIECE_LENGTH`] to [`MAX_PIECE_LENGTH`].
    pub piece_length: Option<u32>,
    /// BEP 27.
    pub private: Option<bool>,
    /// Free text.
    pub comment: Option<String>,
}

/// Section `network`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Ports for peers; the first free one is taken. Never 0, never empty.
    pub listen_port_range: Option<RangeInclusive<u16>>,
    /// The local address or the interface that peers' traffic is tied to.
    pub bind: Option<String>,
    /// Connections for each torrent, 1 to 65535.
    pub max_connections: Option<u16>,
    /// Bytes that the kernel may hold of what is sent on a connection, 4096 to 1 GiB.
    pub send_buffer: Option<u32>,
    /// Bytes that the kernel may hold of what is received on a connection, 4096 to 1 GiB.
    pub receive_buffer: Option<u32>,
    /// What connections between peers are encrypted.
    pub encryption: Option<Encryption>,
    /// Peers tell each other of peers (BEP 11).
    pub pex_enabled: Option<bool>,
    /// Peers on the local network (BEP 14).
    pub lsd_enabled: Option<bool>,
    /// BEP 5.
    pub dht_enabled: Option<bool>,
    /// BEP 29, beside TCP.
    pub utp_enabled: Option<bool>,
    /// Port mapping at the router.
    pub upnp_enabled: Option<bool>,
}

/// What a key is called, what it takes, and how it gets into a [`Config`].
pub struct Key {
    /// The section that it stands in.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// The values that it takes, for people.
    pub takes: &'static str,
    /// Puts a value in; `None` if the key does not take it.
    set: fn(&mut Config, &Value) -> Option<()>,
}

const DAY: &str = "seconds, 1 to 86400";
const COUNT: &str = "a whole number, 1 to 10000";
const RATE: &str = "bytes a second, a whole number; 0 for no limit";
const BOOL: &str = "true or false";
const BUFFER: &str = "bytes, 4096 to 1073741824";
const BUFFERS: RangeInclusive<u32> = 4096..=1 << 30;

/// Every key there is.
pub const KEYS: &[Key] = &[
    key(
        "tracker",
        "port",
        "a port, 0 to 65535; 0 for any free one",
        |c, v| put(&mut c.tracker.port, integer(v)),
    ),
    key("tracker", "announce_interval", DAY, |c, v| {
        put(&mut c.tracker.announce_interval, within(v, 1..=86_400))
    }),
    key("tracker", "max_peers_per_torrent", COUNT, |c, v| {
        put(&mut c.tracker.max_peers_per_torrent, within(v, 1..=10_000))
    }),
    key("tracker", "cleanup_interval", DAY, |c, v| {
        put(&mut c.tracker.cleanup_interval, within(v, 1..=86_400))
    }),
    key("seeder", "max_upload_rate", RATE, |c, v| {
        put(&mut c.seeder.max_upload_rate, integer(v))
    }),
    key("seeder", "max_download_rate", RATE, |c, v| {
        put(&mut c.seeder.max_download_rate, integer(v))
    }),
    key("seeder", "max_concurrent_uploads", COUNT, |c, v| {
        put(&mut c.seeder.max_concurrent_uploads, within(v, 1..=10_000))
    }),
    key(
        "seeder",
        "piece_request_timeout",
        "seconds, 1 to 3600",
        |c, v| put(&mut c.seeder.piece_request_timeout, within(v, 1..=3600)),
    ),
    key("seeder", "cache_size", "bytes, a whole number", |c, v| {
        put(&mut c.seeder.cache_size, integer(v))
    }),
    key(
        "torrent_creation",
        "announce",
        "URLs of trackers (http, https, udp with its port): one, a list, or a list of lists",
        |c, v| put(&mut c.torrent_creation.announce, tiers(v)),
    ),
    key(
        "torrent_creation",
        "piece_length",
        "bytes, a power of two from 16384 to 134217728",
        |c, v| put(&mut c.torrent_creation.piece_length, piece_length(v)),
    ),
    key("torrent_creation", "private", BOOL, |c, v| {
        put(&mut c.torrent_creation.private, v.as_bool())
    }),
    key("torrent_creation", "comment", "text", |c, v| {
        put(&mut c.torrent_creation.comment, text(v))
    }),
    key(
        "network",
        "listen_port_range",
        "[first, last], two ports from 1 to 65535",
        |c, v| put(&mut c.network.listen_port_range, ports(v)),
    ),
    key(
        "network",
        "bind",
        "a local address or an interface, as text",
        |c, v| put(&mut c.network.bind, text(v).filter(|text| !text.is_empty())),
    ),
    key(
        "network",
        "max_connections",
        "a whole number, 1 to 65535",
        |c, v| {
            put(
                &mut c.network.max_connections,
                integer(v).filter(|&n| n > 0),
            )
        },
    ),
    key("network", "send_buffer", BUFFER, |c, v| {
        put(&mut c.network.send_buffer, within(v, BUFFERS))
    }),
    key("network", "receive_buffer", BUFFER, |c, v| {
        put(&mut c.network.receive_buffer, within(v, BUFFERS))
    }),
    key(
        "network",
        "encryption",
        "plain, preferred or required, as text",
        |c, v| {
            let choice = v.as_str().and_then(Encryption::from_name);
            put(&mut c.network.encryption, choice)
        },
    ),
    key("network", "pex_enabled", BOOL, |c, v| {
        put(&mut c.network.pex_enabled, v.as_bool())
    }),
    key("network", "lsd_enabled", BOOL, |c, v| {
        put(&mut c.network.lsd_enabled, v.as_bool())
    }),
    key("network", "dht_enabled", BOOL, |c, v| {
        put(&mut c.network.dht_enabled, v.as_bool())
    }),
    key("network", "utp_enabled", BOOL, |c, v| {
        put(&mut c.network.utp_enabled, v.as_bool())
    }),
    key("network", "upnp_enabled", BOOL, |c, v| {
        put(&mut c.network.upnp_enabled, v.as_bool())
    }),
];

const fn key(
    section: &'static str,
    name: &'static str,
    takes: &'static str,
    set: fn(&mut Config, &Value) -> Option<()>,
) -> Key {
    Key {
        section,
        name,
        takes,
        set,
    }
}

fn put<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    *place = Some(value?);
    Some(())
}

/// Why a file is not a configuration, and where that shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub position: Position,
    /// What.
    pub fault: Fault,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not JSON; says what.
    Json(String),
    /// The file as a whole or a section is no object; holds its name.
    NotAnObject(String),
    /// A section that does not exist, and the nearest one that does.
    UnknownSection(String, &'static str),
    /// A key that its section does not have, and the nearest one that exists, with its section.
    UnknownKey(String, String),
    /// A section or a key that stands there a second time.
    Twice(String),
    /// A value that a key does not take: the key with its section, the value, and what the key takes.
    BadValue(String, String, &'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.position)?;
        match &self.fault {
            Fault::Json(what) => write!(f, "not valid JSON: {what}"),
            Fault::NotAnObject(name) => write!(f, "{name} must be an object: `{{…}}`"),
            Fault::UnknownSection(name, nearest) => {
                write!(
                    f,
                    "there is no section `{name}`; the nearest is `{nearest}`"
                )
            }
            Fault::UnknownKey(key, nearest) => {
                write!(f, "there is no key `{key}`; the nearest is `{nearest}`")
            }
            Fault::Twice(name) => write!(f, "`{name}` stands twice"),
            Fault::BadValue(key, value, takes) => {
                write!(f, "`{key}` does not take `{value}`; it takes {takes}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<Malformed> for ConfigError {
    fn from(malformed: Malformed) -> Self {
        Self {
            position: malformed.position,
            fault: Fault::Json(malformed.what),
        }
    }
}

impl Config {
    /// Reads the file. A key whose value is `null` counts as left out.
    ///
    /// # Errors
    /// Names the first section or key that does not exist, stands twice or has a value that it does not take, with line and column.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        // Editors of some systems put a byte order mark in front.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let file = Node::root(bytes)?;
        let (mut config, mut seen) = (Self::default(), Vec::new());
        for (name_at, value) in members(file, "the file")? {
            let section = name(name_at);
            if !KEYS.iter().any(|key| key.section == section) {
                return Err(fail(name_at, unknown_section(section)));
            }
            once(&mut seen, name_at, &section)?;
            for (key_at, value) in members(value, &section)? {
                let full = format!("{section}.{}", name(key_at));
                let known = |key: &&Key| format!("{}.{}", key.section, key.name) == full;
                let Some(key) = KEYS.iter().find(known) else {
                    let nearest = nearest_key(&section, &name(key_at));
                    return Err(fail(key_at, Fault::UnknownKey(full, nearest)));
                };
                once(&mut seen, key_at, &full)?;
                let given = value.value();
                if !given.is_null() && (key.set)(&mut config, &given).is_none() {
                    let fault = Fault::BadValue(full, given.to_string(), key.takes);
                    return Err(fail(value, fault));
                }
            }
        }
        Ok(config)
    }
}

fn fail(at: Node<'_>, fault: Fault) -> ConfigError {
    ConfigError {
        position: at.position(),
        fault,
    }
}

fn members<'a>(of: Node<'a>, name: &str) -> Result<Vec<(Node<'a>, Node<'a>)>, ConfigError> {
    let none = || fail(of, Fault::NotAnObject(name.to_owned()));
    of.members().ok_or_else(none)
}

fn name(key: Node<'_>) -> String {
    key.value().as_str().unwrap_or_default().to_owned()
}

/// Of two values for one thing, one would silently not count.
fn once(seen: &mut Vec<String>, at: Node<'_>, name: &str) -> Result<(), ConfigError> {
    if seen.iter().any(|before| before == name) {
        return Err(fail(at, Fault::Twice(name.to_owned())));
    }
    seen.push(name.to_owned());
    Ok(())
}

fn integer<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    value.as_u64()?.try_into().ok()
}

fn within(value: &Value, range: RangeInclusive<u32>) -> Option<u32> {
    integer(value).filter(|n| range.contains(n))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn piece_length(value: &Value) -> Option<u32> {
    within(value, MIN_PIECE_LENGTH..=MAX_PIECE_LENGTH).filter(|n| n.is_power_of_two())
}

fn ports(value: &Value) -> Option<RangeInclusive<u16>> {
    let [first, last] = value.as_array()?.as_slice() else {
        return None;
    };
    let (first, last) = (integer(first)?, integer(last)?);
    (0 < first && first <= last).then_some(first..=last)
}

fn tiers(value: &Value) -> Option<Vec<Vec<String>>> {
    let url = |value: &Value| {
        let url = value.as_str()?;
        url::tracker(url).ok().map(|_| url.to_owned())
    };
    let tier = |value: &Value| match value {
        Value::Array(urls) if !urls.is_empty() => urls.iter().map(url).collect(),
        single => url(single).map(|url| vec![url]),
    };
    match value {
        Value::Array(list) => list.iter().map(tier).collect(),
        single => tier(single).map(|tier| vec![tier]),
    }
}

fn unknown_section(name: String) -> Fault {
    let nearest = KEYS.iter().map(|key| key.section);
    let nearest = nearest.min_by_key(|section| distance(section, &name));
    Fault::UnknownSection(name, nearest.unwrap_or_default())
}

/// The known key that is spelt most like `name`; of equals the one in the same section.
fn nearest_key(section: &str, name: &str) -> String {
    let nearest = KEYS
        .iter()
        .min_by_key(|key| (distance(key.name, name), key.section != section));
    nearest.map_or_else(String::new, |key| format!("{}.{}", key.section, key.name))
}

/// Letters to insert, remove or replace to make one of the other (Levenshtein).
fn distance(known: &str, typed: &str) -> usize {
    // A key of any length from a file costs no more than this.
    let typed: Vec<_> = typed.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=typed.len()).collect();
    for (i, a) in known.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in typed.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;

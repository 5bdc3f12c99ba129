//! `bt_config.json`: sections and keys, all of them optional. An unknown key is an error, because it is a setting that would silently not count.
//!
//! | section | key | takes |
//! | --- | --- | --- |
//! | `tracker` | `port` | 0 to 65535 (0: any free one) |
//! | | `announce_interval` | seconds, 1 to 86400 |
//! | | `max_peers_per_torrent` | peers in a reply, 1 to 10000 |
//! | | `cleanup_interval` | seconds, 1 to 86400 |
//! | `seeder` | `max_upload_rate`, `max_download_rate` | bytes a second; 0: no limit |
//! | | `max_concurrent_uploads` | upload slots, 1 to 10000 |
//! | | `piece_request_timeout` | seconds, 1 to 3600 |
//! | `torrent_creation` | `announce` | a URL, a list of URLs (a tier each), or a list of lists of URLs |
//! | | `piece_length` | bytes, a power of two from 16384 to 134217728 |
//! | | `private` | true or false |
//! | | `comment` | text |
//! | `network` | `listen_port_range` | \[first, last\], each 1 to 65535 |
//! | | `dht_enabled`, `upnp_enabled` | true or false |

use std::fmt;
use std::ops::RangeInclusive;

use super::url;
use crate::base::json::{self, Map, Value};

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
    /// BEP 5.
    pub dht_enabled: Option<bool>,
    /// Port mapping at the router.
    pub upnp_enabled: Option<bool>,
}

/// Why a file is not a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// Not JSON; says what and where.
    Json(String),
    /// The file as a whole or a section is no object; holds its name.
    NotAnObject(&'static str),
    /// A section that does not exist, and the nearest one that does.
    UnknownSection(String, &'static str),
    /// A key that its section does not have, and the nearest one that exists, with its section.
    UnknownKey(String, String),
    /// A value that a key does not take: the key with its section, the value, and what the key takes.
    BadValue(String, String, &'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "not valid JSON: {error}"),
            Self::NotAnObject(name) => write!(f, "{name} must be an object: `{{…}}`"),
            Self::UnknownSection(name, nearest) => {
                write!(
                    f,
                    "there is no section `{name}`; the nearest is `{nearest}`"
                )
            }
            Self::UnknownKey(key, nearest) => {
                write!(f, "there is no key `{key}`; the nearest is `{nearest}`")
            }
            Self::BadValue(key, value, takes) => {
                write!(f, "`{key}` does not take `{value}`; it takes {takes}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// Every section and its keys.
const SECTIONS: &[(&str, &[&str])] = &[
    (
        "tracker",
        &[
            "port",
            "announce_interval",
            "max_peers_per_torrent",
            "cleanup_interval",
        ],
    ),
    (
        "seeder",
        &[
            "max_upload_rate",
            "max_download_rate",
            "max_concurrent_uploads",
            "piece_request_timeout",
        ],
    ),
    (
        "torrent_creation",
        &["announce", "piece_length", "private", "comment"],
    ),
    (
        "network",
        &["listen_port_range", "dht_enabled", "upnp_enabled"],
    ),
];

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// Names the first section or key that does not exist, or has a value that it does not take.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        // Editors of some systems put a byte order mark in front.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let file = json::parse(bytes).map_err(ConfigError::Json)?;
        let file = file.as_object();
        let file = file.ok_or(ConfigError::NotAnObject("the file"))?;
        refuse_unknown(file)?;
        let tracker = Section::of(file, "tracker")?;
        let seeder = Section::of(file, "seeder")?;
        let creation = Section::of(file, "torrent_creation")?;
        let network = Section::of(file, "network")?;
        Ok(Self {
            tracker: Tracker {
                port: tracker.get("port", "a port, 0 to 65535", integer)?,
                announce_interval: tracker.get("announce_interval", DAY, |v| within(v, 86_400))?,
                max_peers_per_torrent: tracker
                    .get("max_peers_per_torrent", COUNT, |v| within(v, 10_000))?,
                cleanup_interval: tracker.get("cleanup_interval", DAY, |v| within(v, 86_400))?,
            },
            seeder: Seeder {
                max_upload_rate: seeder.get("max_upload_rate", RATE, integer)?,
                max_download_rate: seeder.get("max_download_rate", RATE, integer)?,
                max_concurrent_uploads: seeder
                    .get("max_concurrent_uploads", COUNT, |v| within(v, 10_000))?,
                piece_request_timeout: seeder.get(
                    "piece_request_timeout",
                    "seconds, 1 to 3600",
                    |v| within(v, 3600),
                )?,
            },
            torrent_creation: Creation {
                announce: creation.get("announce", TIERS, tiers)?,
                piece_length: creation.get("piece_length", PIECE, piece_length)?,
                private: creation.get("private", BOOL, Value::as_bool)?,
                comment: creation.get("comment", "text", |v| v.as_str().map(str::to_owned))?,
            },
            network: Network {
                listen_port_range: network.get("listen_port_range", PORTS, ports)?,
                dht_enabled: network.get("dht_enabled", BOOL, Value::as_bool)?,
                upnp_enabled: network.get("upnp_enabled", BOOL, Value::as_bool)?,
            },
        })
    }
}

const DAY: &str = "seconds, 1 to 86400";
const COUNT: &str = "a whole number, 1 to 10000";
const RATE: &str = "bytes a second, a whole number; 0 for no limit";
const BOOL: &str = "true or false";
const PIECE: &str = "bytes, a power of two from 16384 to 134217728";
const PORTS: &str = "[first, last], two ports from 1 to 65535";
const TIERS: &str =
    "URLs of trackers (http, https, udp with its port): one, a list, or a list of lists";

struct Section<'a> {
    name: &'static str,
    keys: Option<&'a Map<String, Value>>,
}

impl<'a> Section<'a> {
    fn of(file: &'a Map<String, Value>, name: &'static str) -> Result<Self, ConfigError> {
        let keys = file.get(name).map(|value| {
            let keys = value.as_object();
            keys.ok_or(ConfigError::NotAnObject(name))
        });
        let keys = keys.transpose()?;
        Ok(Self { name, keys })
    }

    /// The value of `key`, if it is there and not `null`.
    fn get<T>(
        &self,
        key: &str,
        takes: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let value = self.keys.and_then(|keys| keys.get(key));
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let bad =
            || ConfigError::BadValue(format!("{}.{key}", self.name), value.to_string(), takes);
        read(value).map(Some).ok_or_else(bad)
    }
}

fn integer<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    value.as_u64()?.try_into().ok()
}

fn within(value: &Value, most: u32) -> Option<u32> {
    integer(value).filter(|n| (1..=most).contains(n))
}

fn piece_length(value: &Value) -> Option<u32> {
    integer(value)
        .filter(|n: &u32| n.is_power_of_two() && (MIN_PIECE_LENGTH..=MAX_PIECE_LENGTH).contains(n))
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

fn refuse_unknown(file: &Map<String, Value>) -> Result<(), ConfigError> {
    for (name, value) in file {
        let Some((_, known)) = SECTIONS.iter().find(|(section, _)| section == name) else {
            let sections = SECTIONS.iter().map(|(section, _)| *section);
            let nearest = sections.min_by_key(|section| distance(section, name));
            return Err(ConfigError::UnknownSection(
                name.clone(),
                nearest.unwrap_or_default(),
            ));
        };
        let keys = value.as_object().into_iter().flat_map(Map::keys);
        if let Some(key) = keys.into_iter().find(|key| !known.contains(&key.as_str())) {
            return Err(ConfigError::UnknownKey(
                format!("{name}.{key}"),
                nearest_key(name, key),
            ));
        }
    }
    Ok(())
}

/// The known key that is spelt most like `key`; of equals the one in the same section.
fn nearest_key(section: &str, key: &str) -> String {
    let all = SECTIONS
        .iter()
        .flat_map(|(name, keys)| keys.iter().map(move |known| (*name, *known)));
    let nearest = all.min_by_key(|(name, known)| (distance(known, key), *name != section));
    let (name, known) = nearest.unwrap_or_default();
    format!("{name}.{known}")
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
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        Config::from_bytes(text.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn every_key_of_the_sample_is_read() {
        let config = read(
            r#"{
            "tracker": {"port": 8080, "announce_interval": 300, "max_peers_per_torrent": 50, "cleanup_interval": 3600},
            "seeder": {"max_upload_rate": 1048576, "max_download_rate": 0, "max_concurrent_uploads": 10, "piece_request_timeout": 30},
            "torrent_creation": {"announce": "http://t:1/announce", "piece_length": 262144, "private": false, "comment": "HiveMind"},
            "network": {"listen_port_range": [6881, 6891], "dht_enabled": false, "upnp_enabled": true}
            }"#,
        )
        .unwrap();
        let wanted = Config {
            tracker: Tracker {
                port: Some(8080),
                announce_interval: Some(300),
                max_peers_per_torrent: Some(50),
                cleanup_interval: Some(3600),
            },
            seeder: Seeder {
                max_upload_rate: Some(1_048_576),
                max_download_rate: Some(0),
                max_concurrent_uploads: Some(10),
                piece_request_timeout: Some(30),
            },
            torrent_creation: Creation {
                announce: Some(vec![vec!["http://t:1/announce".into()]]),
                piece_length: Some(262_144),
                private: Some(false),
                comment: Some("HiveMind".into()),
            },
            network: Network {
                listen_port_range: Some(6881..=6891),
                dht_enabled: Some(false),
                upnp_enabled: Some(true),
            },
        };
        assert_eq!(config, wanted);
    }

    #[test]
    fn everything_is_optional() {
        assert_eq!(read("{}"), Ok(Config::default()));
        assert_eq!(
            read("\u{feff}{\"seeder\": {\"max_upload_rate\": null}, \"tracker\": {}}"),
            Ok(Config::default())
        );
    }

    #[test]
    fn trackers_come_one_by_one_or_in_tiers() {
        let announce = |json: &str| {
            let text = format!("{{\"torrent_creation\": {{\"announce\": {json}}}}}");
            read(&text).map(|config| config.torrent_creation.announce.unwrap())
        };
        assert_eq!(announce("[]").unwrap(), Vec::<Vec<String>>::new());
        assert_eq!(
            announce(r#"["http://a/", ["udp://b:1", "http://c/"]]"#).unwrap(),
            [vec!["http://a/"], vec!["udp://b:1", "http://c/"]]
        );
        for bad in ["5", "[[]]", "\"ftp://a/\"", "[\"http://a/\", \"b\"]"] {
            assert!(announce(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_known_one() {
        for (text, wanted) in [
            (
                r#"{"trackers": {}}"#,
                "there is no section `trackers`; the nearest is `tracker`",
            ),
            (
                r#"{"tracker": {"prot": 1}}"#,
                "there is no key `tracker.prot`; the nearest is `tracker.port`",
            ),
            (
                r#"{"seeder": {"listen_port_range": [1, 2]}}"#,
                "there is no key `seeder.listen_port_range`; the nearest is `network.listen_port_range`",
            ),
            (
                r#"{"seeder": {"max_uploads": 1}}"#,
                "there is no key `seeder.max_uploads`; the nearest is `seeder.max_upload_rate`",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), wanted);
        }
    }

    #[test]
    fn a_value_that_a_key_does_not_take_is_refused_with_what_it_takes() {
        for (section, key, values) in [
            (
                "tracker",
                "port",
                &["-1", "65536", "\"8080\"", "1.5", "[]"][..],
            ),
            ("tracker", "announce_interval", &["0", "86401"]),
            ("tracker", "max_peers_per_torrent", &["0", "1e9"]),
            ("seeder", "max_upload_rate", &["-1", "true"]),
            ("seeder", "piece_request_timeout", &["0", "3601"]),
            (
                "torrent_creation",
                "piece_length",
                &["0", "100000", "8192", "268435456"],
            ),
            ("torrent_creation", "private", &["1", "\"yes\""]),
            ("torrent_creation", "comment", &["5"]),
            (
                "network",
                "listen_port_range",
                &["[1]", "[2, 1]", "[0, 5]", "[1, 2, 3]", "6881"],
            ),
        ] {
            for value in values {
                let error = read(&format!("{{\"{section}\": {{\"{key}\": {value}}}}}"));
                let error = error.expect_err(value);
                let begin = format!("`{section}.{key}` does not take `");
                assert!(
                    error.starts_with(&begin) && error.contains("; it takes "),
                    "{error}"
                );
            }
        }
        assert!(read("{").unwrap_err().contains("line 1 column"));
        assert_eq!(read("[]").unwrap_err(), "the file must be an object: `{…}`");
        assert_eq!(
            read("{\"seeder\": 5}").unwrap_err(),
            "seeder must be an object: `{…}`"
        );
    }

    #[test]
    fn a_file_cut_or_changed_anywhere_is_read_or_refused() {
        let good = r#"{"tracker":{"port":80},"torrent_creation":{"announce":["http://a/"]},"network":{"listen_port_range":[1,2]}}"#;
        assert!(read(good).is_ok());
        for at in 0..good.len() {
            assert!(read(&good[..at]).is_err(), "cut at {at}");
            for byte in 0..=255 {
                let mut bytes = good.as_bytes().to_vec();
                bytes[at] = byte;
                let _ = Config::from_bytes(&bytes);
            }
        }
    }
}

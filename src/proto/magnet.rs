//! Magnet links: an info-hash, and where to begin to look for it (BEP 9, BEP 53).

use std::fmt;

use super::metainfo::Metainfo;
use super::percent;
use crate::base::id::{IdError, InfoHash};

/// The longest link that is read, in bytes.
const MAX_LINK: usize = 64 << 10;

/// The most trackers, web seeds or peers that a link holds; what comes after them is left out.
const MAX_HINTS: usize = 256;

/// A link. What it holds besides the info-hash are hints from whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// `xt=urn:btih:`
    pub info_hash: InfoHash,
    /// `dn`: a name to show until the torrent is there.
    pub name: Option<String>,
    /// `tr`: trackers, in the order of the link.
    pub trackers: Vec<String>,
    /// `ws`: web seeds.
    pub web_seeds: Vec<String>,
    /// `x.pe`: peers, each a host and a port with a colon between them.
    pub peers: Vec<String>,
    /// `so`: the files that are wanted, as ranges of their numbers from 0, both ends included; none means all (BEP 53).
    pub select: Vec<(u32, u32)>,
}

/// Why a text is not a magnet link that we can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MagnetError {
    /// Does not begin with `magnet:?`.
    NotMagnet,
    /// Over 64 KiB.
    TooLong,
    /// No `xt` at all.
    NoTopic,
    /// `urn:bith:`, a frequent slip.
    Misspelt,
    /// Only `urn:btmh:` (BEP 52).
    V2Only,
    /// An `xt` of another network.
    OtherTopic(String),
    /// An info-hash that is none.
    Hash(IdError),
    /// Two info-hashes that differ.
    TwoHashes,
}

impl fmt::Display for MagnetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMagnet => f.write_str("a magnet link begins with `magnet:?`"),
            Self::TooLong => f.write_str("longer than 64 KiB"),
            Self::NoTopic => f.write_str("it names no torrent: `xt=urn:btih:…` is missing"),
            Self::Misspelt => f.write_str("`urn:bith:` is misspelt; it is `urn:btih:`"),
            Self::V2Only => f.write_str(
                "a BitTorrent v2-only torrent; only v1 and hybrid torrents are supported",
            ),
            Self::OtherTopic(topic) => {
                write!(f, "`{topic}` names no torrent; `urn:btih:…` does")
            }
            Self::Hash(error) => error.fmt(f),
            Self::TwoHashes => f.write_str("it names two different torrents"),
        }
    }
}

impl std::error::Error for MagnetError {}

impl Magnet {
    /// Reads a link. Parameters come in any order; unknown ones are ignored, numbered ones (`tr.1`) count like plain ones.
    ///
    /// # Errors
    /// If it does not name exactly one v1 torrent.
    pub fn parse(link: &str) -> Result<Self, MagnetError> {
        let link = link.trim();
        if link.len() > MAX_LINK {
            return Err(MagnetError::TooLong);
        }
        let query = link.split_once(':').and_then(|(scheme, rest)| {
            let ours = scheme.eq_ignore_ascii_case("magnet");
            rest.strip_prefix('?').filter(|_| ours)
        });
        let query = query.ok_or(MagnetError::NotMagnet)?;
        let mut topics = Topics::default();
        let mut magnet = Self::new(InfoHash([0; 20]));
        for pair in query.split('&') {
            let (key, raw) = pair.split_once('=').unwrap_or((pair, ""));
            // Links copied out of HTML have `&amp;` between their parameters.
            let key = key.strip_prefix("amp;").unwrap_or(key);
            let value = decoded(raw);
            match key.split_once('.') {
                Some(("x", "pe")) => keep(&mut magnet.peers, value),
                Some((_, number)) if number.parse::<u32>().is_err() => {}
                numbered => match numbered.map_or(key, |(key, _)| key) {
                    "xt" => topics.note(&value)?,
                    // Some write names as forms do, with `+` for a space.
                    "dn" => magnet.name = Some(decoded(&raw.replace('+', " "))),
                    "tr" => keep(&mut magnet.trackers, value),
                    "ws" => keep(&mut magnet.web_seeds, value),
                    "so" => magnet.select = ranges(&value),
                    _ => {}
                },
            }
        }
        magnet.name = magnet.name.filter(|name| !name.is_empty());
        magnet.info_hash = topics.decide()?;
        Ok(magnet)
    }

    /// A link that holds nothing but an info-hash.
    #[must_use]
    pub const fn new(info_hash: InfoHash) -> Self {
        Self {
            info_hash,
            name: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            select: Vec::new(),
        }
    }

    /// The link of a torrent, with its name, trackers and web seeds.
    #[must_use]
    pub fn of(metainfo: &Metainfo) -> Self {
        let mut magnet = Self::new(metainfo.info_hash);
        magnet.name = Some(metainfo.shown_name());
        for url in metainfo.announce.iter().flatten() {
            keep(&mut magnet.trackers, url.clone());
        }
        for url in &metainfo.web_seeds {
            keep(&mut magnet.web_seeds, url.clone());
        }
        magnet
    }
}

impl fmt::Display for Magnet {
    /// The link: `xt`, `dn`, `tr`, `ws`, `x.pe`, `so`, in this order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut link = format!("magnet:?xt=urn:btih:{}", self.info_hash);
        let mut add = |key: &str, value: &str| {
            link.push('&');
            link.push_str(key);
            link.push('=');
            percent::encode(value.as_bytes(), &mut link);
        };
        self.name.iter().for_each(|name| add("dn", name));
        self.trackers.iter().for_each(|url| add("tr", url));
        self.web_seeds.iter().for_each(|url| add("ws", url));
        self.peers.iter().for_each(|peer| add("x.pe", peer));
        f.write_str(&link)?;
        let mut lead = "&so=";
        for &(from, to) in &self.select {
            f.write_str(lead)?;
            lead = ",";
            if from == to {
                write!(f, "{from}")?;
            } else {
                write!(f, "{from}-{to}")?;
            }
        }
        Ok(())
    }
}

/// The `xt` parameters: a hybrid has one of each version.
#[derive(Default)]
struct Topics {
    v1: Option<InfoHash>,
    v2: bool,
    other: Option<String>,
}

impl Topics {
    fn note(&mut self, topic: &str) -> Result<(), MagnetError> {
        let prefix = topic.get(..9).unwrap_or_default().to_ascii_lowercase();
        match prefix.as_str() {
            "urn:btih:" => {
                let hash = topic.get(9..).unwrap_or_default();
                let hash = hash.trim().parse().map_err(MagnetError::Hash)?;
                if self.v1.is_some_and(|known| known != hash) {
                    return Err(MagnetError::TwoHashes);
                }
                self.v1 = Some(hash);
            }
            "urn:bith:" => return Err(MagnetError::Misspelt),
            "urn:btmh:" => self.v2 = true,
            _ => self.other = Some(topic.to_owned()),
        }
        Ok(())
    }

    fn decide(self) -> Result<InfoHash, MagnetError> {
        match (self.v1, self.v2, self.other) {
            (Some(hash), _, _) => Ok(hash),
            (None, true, _) => Err(MagnetError::V2Only),
            (None, false, Some(topic)) => Err(MagnetError::OtherTopic(topic)),
            (None, false, None) => Err(MagnetError::NoTopic),
        }
    }
}

/// What cannot be decoded is taken as it stands: hints may be odd, only the info-hash must be right.
fn decoded(raw: &str) -> String {
    percent::decode(raw.as_bytes()).map_or_else(
        || raw.to_owned(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

fn keep(list: &mut Vec<String>, value: String) {
    if !value.is_empty() && list.len() < MAX_HINTS && !list.contains(&value) {
        list.push(value);
    }
}

/// `0,2,4-6`; what is no number or range is left out.
fn ranges(text: &str) -> Vec<(u32, u32)> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.parse().ok()?, to.parse().ok()?);
        (from <= to).then_some((from, to))
    };
    text.split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "2c6b6858d61da9543d4231a71db4b1c9264b0685";

    fn error(link: &str) -> String {
        Magnet::parse(link).expect_err(link).to_string()
    }

    #[test]
    fn parameters_are_read_in_any_order() {
        let link = format!(
            "magnet:?tr=udp%3A%2F%2Fa%3A1&dn=a+b%20c%2B%C3%A9&x.pe=10.0.0.1:6881&xt=urn:btih:{HEX}\
             &tr.2=http://b/&amp;tr=udp://a:1&ws=http%3a%2f%2fw%2F&so=0,2,4-6,x,9-8&xl=5&x.pe=[::1]:2&unknown"
        );
        let magnet = Magnet::parse(&link).unwrap();
        assert_eq!(magnet.info_hash.to_string(), HEX);
        assert_eq!(magnet.name.as_deref(), Some("a b c+é"));
        assert_eq!(magnet.trackers, ["udp://a:1", "http://b/"]);
        assert_eq!(magnet.web_seeds, ["http://w/"]);
        assert_eq!(magnet.peers, ["10.0.0.1:6881", "[::1]:2"]);
        assert_eq!(magnet.select, [(0, 0), (2, 2), (4, 6)]);
        assert_eq!(Magnet::parse(&magnet.to_string()), Ok(magnet));
    }

    #[test]
    fn a_link_is_written_in_one_way() {
        let mut magnet = Magnet::parse(&format!("MAGNET:?xt=URN:BTIH:{HEX}")).unwrap();
        assert_eq!(magnet.to_string(), format!("magnet:?xt=urn:btih:{HEX}"));
        magnet.name = Some("a b&c=é".into());
        magnet.trackers = vec!["http://t:1/announce?k=v".into()];
        magnet.select = vec![(1, 1), (3, 5)];
        assert_eq!(
            magnet.to_string(),
            format!(
                "magnet:?xt=urn:btih:{HEX}&dn=a%20b%26c%3D%C3%A9&tr=http%3A%2F%2Ft%3A1%2Fannounce%3Fk%3Dv&so=1,3-5"
            )
        );
    }

    #[test]
    fn base32_names_the_same_torrent() {
        let magnet = Magnet::parse("magnet:?xt=urn:btih:FRVWQWGWDWUVIPKCGGTR3NFRZETEWBUF");
        assert_eq!(magnet.unwrap().info_hash.to_string(), HEX);
    }

    #[test]
    fn a_link_that_names_no_torrent_is_refused_with_the_reason() {
        assert!(error("").contains("begins with `magnet:?`"));
        assert!(error("http://x/?xt=urn:btih:0").contains("begins with `magnet:?`"));
        assert!(error("magnet:?dn=x").contains("`xt=urn:btih:…` is missing"));
        let misspelt = error(&format!("magnet:?xt=urn:bith:{HEX}"));
        assert!(misspelt.contains("it is `urn:btih:`"), "{misspelt}");
        assert!(error("magnet:?xt=urn:btmh:1220abcd").contains("v2-only"));
        assert!(error("magnet:?xt=urn:sha1:ABC").contains("`urn:sha1:ABC` names no torrent"));
        assert!(error("magnet:?xt=urn:btih:abc").contains("this has 3"));
        let other = "0".repeat(40);
        let two = format!("magnet:?xt=urn:btih:{HEX}&xt.2=urn:btih:{other}");
        assert!(error(&two).contains("two different"));
        assert!(error(&format!("magnet:?{}", "x".repeat(MAX_LINK))).contains("longer"));
    }

    #[test]
    fn a_hybrid_link_is_taken_by_its_v1_side() {
        let link = format!("magnet:?xt=urn:btmh:1220aa&xt=urn:btih:{HEX}");
        assert_eq!(Magnet::parse(&link).unwrap().info_hash.to_string(), HEX);
    }

    #[test]
    fn a_link_cut_or_changed_anywhere_is_read_or_refused() {
        let link = format!("magnet:?xt=urn:btih:{HEX}&dn=%C3%A9&tr=a&so=1-2,3&x.pe=h:1");
        for end in 0..link.len() {
            let _ = Magnet::parse(&link[..end]);
            for c in 0..128_u8 {
                let mut bytes = link.clone().into_bytes();
                bytes[end] = c;
                if let Ok(magnet) = Magnet::parse(&String::from_utf8(bytes).unwrap()) {
                    assert_eq!(Magnet::parse(&magnet.to_string()), Ok(magnet));
                }
            }
        }
    }
}

//! Scrape, in both directions (BEP 48).

use super::announce_reply::{accepted, count, malformed, put_count, put_string};
use super::query::{id, missing, parameters};
use super::request::begin;
use crate::base::bencode::{Document, Limits};
use crate::base::id::InfoHash;
use crate::proto::percent;
use crate::proto::tracker::{MAX_SCRAPE, Refusal, ReplyError, SwarmStats};

/// Reads the query string of a scrape: `info_hash`, as often as there are swarms of interest.
///
/// # Errors
/// A refusal if there is none, if one is wrong, or if there are more than [`MAX_SCRAPE`].
pub fn read_scrape(query: &[u8]) -> Result<Vec<InfoHash>, Refusal> {
    let mut hashes = Vec::new();
    for (name, value) in parameters(query) {
        if name == b"info_hash" {
            hashes.push(InfoHash(id("info_hash", value)?));
        }
        if hashes.len() > MAX_SCRAPE {
            return Err(Refusal::never(format!(
                "at most {MAX_SCRAPE} info_hash in one scrape"
            )));
        }
    }
    if hashes.is_empty() {
        return Err(missing("info_hash"));
    }
    Ok(hashes)
}

/// Where to scrape, by the convention of BEP 48: the last part of the path begins with `announce`, which becomes `scrape`.
/// `None` if the tracker does not follow it, and so cannot be scraped.
#[must_use]
pub fn scrape_base(announce: &str) -> Option<String> {
    let path = announce.split(['?', '#']).next().unwrap_or(announce);
    let last = path.rfind('/')? + 1;
    let rest = announce.get(last..)?.strip_prefix("announce")?;
    Some(format!("{}scrape{rest}", announce.get(..last)?))
}

/// The URL that asks for `hashes`. `base` is what [`scrape_base`] made.
#[must_use]
pub fn scrape_url(base: &str, hashes: &[InfoHash]) -> String {
    let mut url = begin(base);
    for (n, hash) in hashes.iter().enumerate() {
        url.push_str(if n > 0 { "&info_hash=" } else { "info_hash=" });
        percent::encode(&hash.0, &mut url);
    }
    url
}

/// Appends the reply. A hash that stands twice is answered once.
pub fn write_scrape(swarms: &[(InfoHash, SwarmStats)], out: &mut Vec<u8>) {
    let mut swarms: Vec<_> = swarms.iter().collect();
    swarms.sort_by_key(|(hash, _)| hash);
    swarms.dedup_by_key(|(hash, _)| hash);
    out.extend_from_slice(b"d5:filesd");
    for (hash, stats) in swarms {
        put_string(&hash.0, out);
        out.push(b'd');
        put_count(b"complete", Some(stats.complete), out);
        put_count(b"downloaded", Some(stats.downloaded), out);
        put_count(b"incomplete", Some(stats.incomplete), out);
        out.push(b'e');
    }
    out.extend_from_slice(b"ee");
}

/// Reads the reply to a scrape. What the tracker does not know is not in it.
///
/// # Errors
/// If the tracker refused, or if the bytes are no such reply.
pub fn parse_scrape(bytes: &[u8]) -> Result<Vec<(InfoHash, SwarmStats)>, ReplyError> {
    let (document, _) =
        Document::parse_prefix(bytes, Limits::TRACKER).map_err(|e| malformed(&e.to_string()))?;
    let files = accepted(&document)?.get(b"files");
    let files = files.and_then(|item| item.dict());
    let files = files.ok_or_else(|| malformed("it has no `files`"))?;
    let entries = files.iter().filter_map(|(hash, stats)| {
        let (hash, stats) = (InfoHash::from_slice(hash)?, stats.dict()?);
        let number = |key: &[u8]| count(stats, key).unwrap_or(0);
        let stats = SwarmStats {
            complete: number(b"complete"),
            downloaded: number(b"downloaded"),
            incomplete: number(b"incomplete"),
        };
        Some((hash, stats))
    });
    Ok(entries.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: InfoHash = InfoHash(*b"\0\xff&=%aaaaaaaaaaaaaaa");
    const B: InfoHash = InfoHash([b'b'; 20]);

    fn stats(complete: u32) -> SwarmStats {
        SwarmStats {
            complete,
            downloaded: 7,
            incomplete: 9,
        }
    }

    #[test]
    fn a_scrape_url_is_made_by_the_convention() {
        for (announce, scrape) in [
            ("http://t/announce", Some("http://t/scrape")),
            ("http://t/x/announce", Some("http://t/x/scrape")),
            ("http://t/announce.php", Some("http://t/scrape.php")),
            ("http://t/announce?k=/a", Some("http://t/scrape?k=/a")),
            ("http://t/announce/key", None),
            ("http://t/a", None),
            ("http://t/x%064announce", None),
            ("announce", None),
        ] {
            assert_eq!(scrape_base(announce).as_deref(), scrape, "{announce}");
        }
    }

    #[test]
    fn every_scrape_is_read_as_it_was_written() {
        let url = scrape_url("http://t/scrape?k=1", &[A, B]);
        let query = url.split_once('?').unwrap().1;
        assert_eq!(read_scrape(query.as_bytes()), Ok(vec![A, B]));
        let mut out = Vec::new();
        write_scrape(&[(B, stats(1)), (A, stats(2)), (B, stats(1))], &mut out);
        let expected = vec![(A, stats(2)), (B, stats(1))];
        assert_eq!(parse_scrape(&out), Ok(expected));
    }

    #[test]
    fn none_a_wrong_one_and_too_many_are_refused() {
        let reason = |query: &str| read_scrape(query.as_bytes()).unwrap_err().reason;
        assert_eq!(reason(""), "info_hash is missing");
        assert_eq!(
            reason("info_hash=abc"),
            "info_hash must be 20 bytes, this is 3"
        );
        let one = "info_hash=aaaaaaaaaaaaaaaaaaaa&";
        assert!(read_scrape(one.repeat(MAX_SCRAPE).as_bytes()).is_ok());
        assert!(reason(&one.repeat(MAX_SCRAPE + 1)).starts_with("at most"));
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_a_reply_or_an_error_but_never_a_panic() {
        let mut good = Vec::new();
        write_scrape(&[(A, stats(1)), (B, stats(2))], &mut good);
        for end in 0..good.len() {
            assert!(parse_scrape(&good[..end]).is_err(), "cut at {end}");
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.clone();
                bad[at] = byte;
                let _ = parse_scrape(&bad);
            }
        }
    }
}

//! Web seeds (BEP 19): the URL of each file, and what the head of an HTTP server's answer says of the bytes that follow.
//!
//! A server that takes ranges answers 206 with exactly the bytes that were asked for. One that does not answers 200 with the whole file, which
//! is of use only where the whole file is read from its start.

use std::fmt;
use std::time::Duration;

use super::metainfo::Metainfo;
use super::percent;
use super::url::{self, UrlError};

/// Why a web seed's URL is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseError {
    /// It is none.
    Url(UrlError),
    /// The files of a folder cannot lie behind a query.
    Query,
}

impl fmt::Display for BaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::Query => f.write_str("the URL of a folder has no query"),
        }
    }
}

/// Where the files of a payload lie on a web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// What the paths of files are appended to.
    base: String,
    /// It is the URL of the payload's one file.
    whole: bool,
}

impl Base {
    /// Understands the URL of a web seed of `metainfo`. What cannot stand in a URL is percent-encoded, as torrents have it otherwise, too.
    ///
    /// A single file lies at the URL itself, or if that ends in `/`, under its name there; a folder always lies under its name.
    ///
    /// # Errors
    /// If it is no `http` or `https` URL, or has a query where it names a folder.
    pub fn new(url: &str, metainfo: &Metainfo) -> Result<Self, BaseError> {
        let mut base = tidy(url);
        url::web(&base).map_err(BaseError::Url)?;
        if metainfo.single && !base.ends_with('/') {
            return Ok(Self { base, whole: true });
        }
        if base.contains('?') {
            return Err(BaseError::Query);
        }
        if !base.ends_with('/') {
            base.push('/');
        }
        percent::encode(&metainfo.name, &mut base);
        Ok(Self { base, whole: false })
    }

    /// The URL of a file of the torrent: `path` as in [`super::metainfo::FileEntry::path`].
    #[must_use]
    pub fn file(&self, path: &[Vec<u8>]) -> String {
        let mut url = self.base.clone();
        for component in path.iter().filter(|_| !self.whole) {
            url.push('/');
            percent::encode(component, &mut url);
        }
        url
    }
}

/// Percent-encodes what is missing, and leaves the fragment out, which no server sees.
fn tidy(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let mut out = String::with_capacity(url.len());
    let mut utf8 = [0; 4];
    for c in url.trim().chars() {
        if c == ' ' || !c.is_ascii() {
            percent::encode(c.encode_utf8(&mut utf8).as_bytes(), &mut out);
        } else {
            out.push(c);
        }
    }
    out
}

/// Bytes of a file that are asked for: never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The first of them.
    pub from: u64,
    /// One more than the last of them.
    pub to: u64,
    /// Bytes of the whole file, as the torrent says.
    pub file: u64,
}

impl Wanted {
    /// The value of the `Range` header (RFC 9110, 14.2).
    #[must_use]
    pub fn header(&self) -> String {
        format!("bytes={}-{}", self.from, self.to - 1)
    }

    /// Whether it is the file from its start to its end.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.from == 0 && self.to == self.file
    }
}

/// What the head of an answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// `Content-Range`.
    pub content_range: Option<String>,
    /// `Content-Length`.
    pub content_length: Option<u64>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// `Date`.
    pub date: Option<String>,
}

/// What follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The bytes that were asked for.
    Range,
    /// The whole file.
    File,
}

/// Why a server's answer is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has not the file, or does not give it to us.
    Refused(u16),
    /// It cannot at present, and may have said how long that will last.
    Busy(u16, Option<Duration>),
    /// It sends the whole file where a part was asked for.
    NoRanges,
    /// The file that it has is not as long as the torrent's.
    OtherLength(u64),
    /// It sends other bytes than those asked for, or does not say which.
    OtherRange,
    /// It sends the file in some encoding.
    Encoded,
}

impl Fault {
    /// Whether it may be another time.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Busy(..))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => write!(f, "the server answered with status {status}"),
            Self::Busy(status, None) => write!(f, "the server is busy (status {status})"),
            Self::Busy(status, Some(span)) => {
                let s = span.as_secs();
                write!(f, "the server is busy for {s} s (status {status})")
            }
            Self::NoRanges => f.write_str("the server sends whole files only"),
            Self::OtherLength(length) => write!(
                f,
                "the server's file has {length} bytes, which is not what the torrent says"
            ),
            Self::OtherRange => f.write_str("the server sends other bytes than it was asked for"),
            Self::Encoded => f.write_str("the server sends the file in an encoding"),
        }
    }
}

/// Says what follows a head, `wanted` having been asked for.
///
/// # Errors
/// If it is nothing that could be used.
pub fn judge(head: &Head, wanted: &Wanted) -> Result<Body, Fault> {
    match head.status {
        200 | 206 => {}
        408 | 425 | 429 | 500..=599 => return Err(Fault::Busy(head.status, retry_after(head))),
        status => return Err(Fault::Refused(status)),
    }
    let encoding = head.content_encoding.as_deref().unwrap_or("identity");
    if !encoding.eq_ignore_ascii_case("identity") {
        return Err(Fault::Encoded);
    }
    let (body, length) = if head.status == 200 {
        (Body::File, wanted.file)
    } else {
        let said = head.content_range.as_deref().and_then(ContentRange::parse);
        let said = said.ok_or(Fault::OtherRange)?;
        if let Some(total) = said.total.filter(|&total| total != wanted.file) {
            return Err(Fault::OtherLength(total));
        }
        if said.from != wanted.from || said.to != wanted.to {
            return Err(Fault::OtherRange);
        }
        (Body::Range, wanted.to - wanted.from)
    };
    match head.content_length.filter(|&said| said != length) {
        Some(said) if body == Body::File => Err(Fault::OtherLength(said)),
        Some(_) => Err(Fault::OtherRange),
        None => Ok(body),
    }
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date, which is one beside the server's own.
fn retry_after(head: &Head) -> Option<Duration> {
    let text = head.retry_after.as_deref()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let until = super::http_date::parse(text)?;
    let now = super::http_date::parse(head.date.as_deref()?)?;
    Some(Duration::from_secs(
        u64::try_from(until - now).unwrap_or_default(),
    ))
}

/// The value of a `Content-Range` header (RFC 9110, 14.4) that names bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ContentRange {
    from: u64,
    /// One more than the last byte.
    to: u64,
    /// `None` for `*`: the server does not know.
    total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, total) = rest.trim_start().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (from, last) = (number(first)?, number(last)?);
        let to = last.checked_add(1)?;
        let total = if total == "*" {
            None
        } else {
            Some(number(total)?)
        };
        let sane = unit.eq_ignore_ascii_case("bytes")
            && from < to
            && total.is_none_or(|total| to <= total);
        sane.then_some(Self { from, to, total })
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bencode;

    fn metainfo(info: &[u8]) -> Metainfo {
        Metainfo::from_info(info).unwrap()
    }

    fn single(name: &str) -> Metainfo {
        let info = format!(
            "d6:lengthi0e4:name{}:{name}12:piece lengthi16384e6:pieces0:e",
            name.len()
        );
        metainfo(info.as_bytes())
    }

    fn folder(name: &str) -> Metainfo {
        let info = format!(
            "d5:filesld6:lengthi0e4:pathl1:xeee4:name{}:{name}12:piece lengthi16384e6:pieces0:e",
            name.len()
        );
        metainfo(info.as_bytes())
    }

    #[test]
    fn a_single_file_lies_at_the_url_or_under_its_name() {
        for (url, wanted) in [
            ("http://w/x.bin", "http://w/x.bin"),
            ("http://w/x.bin?key=1", "http://w/x.bin?key=1"),
            ("http://w/a/", "http://w/a/my%20%C3%A9%23%3F%25.bin"),
            (" http://w/a b/é#part ", "http://w/a%20b/%C3%A9"),
            ("http://w/100%25", "http://w/100%25"),
            ("http://w", "http://w"),
        ] {
            let base = Base::new(url, &single("my é#?%.bin")).unwrap();
            assert_eq!(base.file(&[]), wanted, "{url}");
        }
    }

    #[test]
    fn a_folder_lies_under_its_name_component_by_component() {
        let path = [b"sub dir".to_vec(), vec![0xff, b'?'], b"a+b&c".to_vec()];
        for url in ["http://w/m", "http://w/m/"] {
            let base = Base::new(url, &folder("näme")).unwrap();
            assert_eq!(
                base.file(&path),
                "http://w/m/n%C3%A4me/sub%20dir/%FF%3F/a%2Bb%26c"
            );
        }
        let error = Base::new("http://w/?x", &folder("n")).unwrap_err();
        assert_eq!(error, BaseError::Query);
        for bad in ["", "ftp://w/", "w/x", "http://", "http://w\n/"] {
            let error = Base::new(bad, &folder("n")).unwrap_err();
            assert!(matches!(error, BaseError::Url(_)), "{bad}: {error}");
        }
        // What the tests write by hand is a torrent.
        assert!(bencode::Document::parse(&folder("n").raw_info, bencode::Limits::TORRENT).is_ok());
    }

    const WANTED: Wanted = Wanted {
        from: 100,
        to: 200,
        file: 1000,
    };

    fn part(content_range: &str) -> Head {
        Head {
            status: 206,
            content_range: Some(content_range.to_owned()),
            ..Head::default()
        }
    }

    #[test]
    fn only_exactly_what_was_asked_for_is_taken() {
        assert_eq!(WANTED.header(), "bytes=100-199");
        for good in [
            "bytes 100-199/1000",
            "bytes 100-199/*",
            "Bytes 100-199/1000",
        ] {
            assert_eq!(judge(&part(good), &WANTED), Ok(Body::Range), "{good}");
        }
        for bad in [
            "bytes 100-198/1000",
            "bytes 99-199/1000",
            "bytes 0-99/1000",
            "bytes 100-200/1000",
            "bytes 100-199",
            "bytes */1000",
            "bytes 199-100/1000",
            "bytes 100-199/150",
            "bytes -199/1000",
            "bytes +100-199/1000",
            "bytes 100-18446744073709551615/1000",
            "pieces 100-199/1000",
            "100-199/1000",
            "",
        ] {
            let judged = judge(&part(bad), &WANTED);
            assert_eq!(judged, Err(Fault::OtherRange), "{bad}");
        }
        let other = judge(&part("bytes 100-199/1001"), &WANTED);
        assert_eq!(other, Err(Fault::OtherLength(1001)));
        let none = Head {
            content_range: None,
            ..part("")
        };
        assert_eq!(judge(&none, &WANTED), Err(Fault::OtherRange));
        let long = Head {
            content_length: Some(101),
            ..part("bytes 100-199/1000")
        };
        assert_eq!(judge(&long, &WANTED), Err(Fault::OtherRange));
        let encoded = Head {
            content_encoding: Some("gzip".into()),
            ..part("bytes 100-199/1000")
        };
        assert_eq!(judge(&encoded, &WANTED), Err(Fault::Encoded));
    }

    #[test]
    fn a_whole_file_has_the_length_that_the_torrent_says() {
        let whole = |content_length| Head {
            status: 200,
            content_length,
            ..Head::default()
        };
        assert_eq!(judge(&whole(Some(1000)), &WANTED), Ok(Body::File));
        assert_eq!(judge(&whole(None), &WANTED), Ok(Body::File));
        assert_eq!(
            judge(&whole(Some(100)), &WANTED),
            Err(Fault::OtherLength(100))
        );
        let all = Wanted {
            from: 0,
            to: 5,
            file: 5,
        };
        assert!(all.is_all() && !WANTED.is_all());
    }

    #[test]
    fn what_may_pass_is_told_from_what_lasts() {
        let answer = |status, retry_after: Option<&str>| Head {
            status,
            retry_after: retry_after.map(str::to_owned),
            date: Some("Sun, 06 Nov 1994 08:49:37 GMT".into()),
            ..Head::default()
        };
        for status in 100..=999_u16 {
            let judged = judge(&answer(status, None), &WANTED);
            let passes = matches!(status, 408 | 425 | 429 | 500..=599);
            assert_eq!(
                judged.is_err_and(|fault| fault.may_pass()),
                passes,
                "{status}"
            );
        }
        let secs = |text: &str| match judge(&answer(503, Some(text)), &WANTED) {
            Err(Fault::Busy(503, span)) => span.map(|span| span.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(secs("120"), Some(120));
        assert_eq!(secs("99999999999999999999999"), Some(u64::MAX));
        assert_eq!(secs("Sun, 06 Nov 1994 08:50:00 GMT"), Some(23));
        assert_eq!(secs("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!((secs(""), secs("-1"), secs("soon")), (None, None, None));
    }

    #[test]
    fn a_content_range_changed_anywhere_is_read_right_or_refused() {
        let good = "bytes 100-199/1000";
        for at in 0..good.len() {
            assert!(ContentRange::parse(&good[..at]).is_none_or(|r| r.from == 100 && r.to == 200));
            for c in (0..=255_u8).map(char::from) {
                let text = format!("{}{c}{}", &good[..at], &good[at + 1..]);
                if let Some(range) = ContentRange::parse(&text) {
                    assert!(range.from < range.to, "{text}");
                    assert!(range.total.is_none_or(|total| range.to <= total), "{text}");
                }
            }
        }
    }
}

//! URLs of trackers and web seeds: whether they can be right at all, before anything is hashed, announced or asked.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP (BEP 3, BEP 19).
    Http,
    /// HTTP over TLS.
    Https,
    /// The UDP tracker protocol (BEP 15).
    Udp,
}

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How to speak.
    pub scheme: Scheme,
    /// A host name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

/// Why a URL cannot be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// No `scheme://`.
    NoScheme,
    /// A scheme that this kind of URL does not have.
    Scheme(String, &'static str),
    /// A space, a control character or a character outside ASCII.
    Character(char),
    /// Nothing where the host should be.
    NoHost,
    /// A host that is neither a name nor an address.
    Host(String),
    /// A port that is not 1 to 65535.
    Port(String),
    /// UDP has no usual port, so one must be given.
    NoPort,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScheme => f.write_str("a URL begins with `http://`, `https://` or `udp://`"),
            Self::Scheme(scheme, takes) => write!(f, "`{scheme}` is no scheme of {takes}"),
            Self::Character(c) => write!(
                f,
                "`{}` cannot stand in a URL; percent-encode it",
                c.escape_default()
            ),
            Self::NoHost => f.write_str("the host is missing"),
            Self::Host(host) => write!(f, "`{host}` is neither a host name nor an address"),
            Self::Port(port) => write!(f, "`{port}` is no port; a port is 1 to 65535"),
            Self::NoPort => f.write_str("a `udp://` URL must name its port"),
        }
    }
}

impl std::error::Error for UrlError {}

/// Checks the announce URL of a tracker: `http`, `https` or `udp`.
///
/// # Errors
/// What is wrong with it.
pub fn tracker(url: &str) -> Result<Target, UrlError> {
    target(url, "a tracker; `http`, `https` and `udp` are", true)
}

/// Checks the URL of a web seed or of a .torrent file: `http` or `https`.
///
/// # Errors
/// What is wrong with it.
pub fn web(url: &str) -> Result<Target, UrlError> {
    target(url, "a server of files; `http` and `https` are", false)
}

/// Path and query of a URL that [`tracker`] or [`web`] took: what a UDP tracker is told of it (BEP 41). Empty if there is neither.
#[must_use]
pub fn path_and_query(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let whole = rest.split('#').next().unwrap_or_default();
    whole
        .find(['/', '?'])
        .and_then(|at| whole.get(at..))
        .unwrap_or_default()
}

/// Where a reference such as that of a `Location` header leads from `base`, a URL that [`web`] took (RFC 3986, 5.2). `None` if it leads
/// nowhere.
#[must_use]
pub fn join(base: &str, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (scheme, rest) = base.split_once("://")?;
    if reference.contains("://") && !reference.starts_with(['/', '?', '.']) {
        return Some(reference.to_owned());
    }
    if reference.starts_with("//") {
        return Some(format!("{scheme}:{reference}"));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if reference.is_empty() {
        return None;
    }
    if reference.starts_with('?') {
        return Some(format!("{scheme}://{authority}{path}{reference}"));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (target, query) = match reference.split_once('?') {
        Some((target, query)) => (target, Some(query)),
        None => (reference, None),
    };
    let whole = if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("{folder}/{target}")
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let path = without_dots(&whole);
    Some(format!("{scheme}://{authority}{path}{query}"))
}

/// A path with its `.` and `..` carried out; none leads above the root.
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

/// A URL as it may be shown: without what could be secret, which are a user's name and password and the query.
#[must_use]
pub fn shown(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else {
        return bare.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

fn target(url: &str, takes: &'static str, udp: bool) -> Result<Target, UrlError> {
    if let Some(c) = url.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(UrlError::Character(c));
    }
    let (scheme, rest) = url.split_once("://").ok_or(UrlError::NoScheme)?;
    let (scheme, usual) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (Scheme::Http, Some(80)),
        "https" => (Scheme::Https, Some(443)),
        "udp" if udp => (Scheme::Udp, None),
        _ => return Err(UrlError::Scheme(scheme.to_owned(), takes)),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = split_port(place)?;
    check_host(host)?;
    let port = match port {
        Some(text) => parse_port(text)?,
        None => usual.ok_or(UrlError::NoPort)?,
    };
    Ok(Target {
        scheme,
        host: host.trim_matches(['[', ']']).to_owned(),
        port,
    })
}

fn split_port(place: &str) -> Result<(&str, Option<&str>), UrlError> {
    if !place.starts_with('[') {
        return Ok(match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        });
    }
    let bad = || UrlError::Host(place.to_owned());
    let end = place.find(']').ok_or_else(bad)?;
    let (host, rest) = place.split_at(end + 1);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(bad()),
    }
}

fn check_host(host: &str) -> Result<(), UrlError> {
    let bad = || UrlError::Host(host.to_owned());
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']').unwrap_or(inner);
        return address.parse::<Ipv6Addr>().map(drop).map_err(|_| bad());
    }
    if host.is_empty() {
        return Err(UrlError::NoHost);
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // A host whose last label is a number is an address or a mistake, never a name.
    let numeric = name.rsplit('.').next().unwrap_or_default();
    let address = numeric.bytes().all(|b| b.is_ascii_digit());
    let good = name.len() <= 253
        && name.split('.').all(label)
        && (!address || name.parse::<Ipv4Addr>().is_ok());
    if good { Ok(()) } else { Err(bad()) }
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse().ok().filter(|&port| digits && port != 0);
    port.ok_or_else(|| UrlError::Port(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_trackers_have_are_taken_apart() {
        let at = |scheme, host: &str, port| Target {
            scheme,
            host: host.to_owned(),
            port,
        };
        for (url, wanted) in [
            (
                "http://localhost:8080/announce",
                at(Scheme::Http, "localhost", 8080),
            ),
            ("HTTP://a.example", at(Scheme::Http, "a.example", 80)),
            (
                "https://a.example/x?y=http://z:1/",
                at(Scheme::Https, "a.example", 443),
            ),
            ("udp://10.0.0.1:6969", at(Scheme::Udp, "10.0.0.1", 6969)),
            ("http://[::1]:8080/announce", at(Scheme::Http, "::1", 8080)),
            (
                "http://user:pass@my_host.:1/",
                at(Scheme::Http, "my_host.", 1),
            ),
        ] {
            assert_eq!(tracker(url), Ok(wanted), "{url}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_right_is_refused_with_the_reason() {
        for (url, reason) in [
            ("", "begins with"),
            ("localhost:8080/announce", "begins with"),
            ("http:/localhost", "begins with"),
            ("wss://a.example", "`wss` is no scheme of a tracker"),
            ("ftp://a.example", "`ftp` is no scheme"),
            ("http://", "host is missing"),
            ("http:///announce", "host is missing"),
            ("http://:8080/", "host is missing"),
            ("http://a b/", "` ` cannot stand"),
            ("http://a/\u{7}", "cannot stand"),
            ("http://café.example/", "cannot stand"),
            ("http://a..b/", "neither"),
            ("http://a!b/", "neither"),
            ("http://1.2.3.4.5/", "neither"),
            ("http://1.2.3.256/", "neither"),
            ("http://[::1/", "neither"),
            ("http://[::g]/", "neither"),
            ("http://[::1]x/", "neither"),
            ("http://a:0/", "no port"),
            ("http://a:65536/", "no port"),
            ("http://a:+80/", "no port"),
            ("http://a:/", "no port"),
            ("udp://a.example/announce", "must name its port"),
        ] {
            let error = tracker(url).expect_err(url).to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
        assert!(web("udp://a:1").is_err() && web("https://a/").is_ok());
    }

    #[test]
    fn a_reference_leads_where_rfc_3986_says() {
        let base = "http://u@a:1/b/c/d?q#f";
        for (reference, wanted) in [
            ("http://x/y", Some("http://x/y")),
            ("https://x", Some("https://x")),
            ("//g:2/h", Some("http://g:2/h")),
            ("/g", Some("http://u@a:1/g")),
            ("/g?x=http://y", Some("http://u@a:1/g?x=http://y")),
            ("g", Some("http://u@a:1/b/c/g")),
            ("./g", Some("http://u@a:1/b/c/g")),
            ("g/", Some("http://u@a:1/b/c/g/")),
            ("?y", Some("http://u@a:1/b/c/d?y")),
            ("g?y#s", Some("http://u@a:1/b/c/g?y")),
            ("..", Some("http://u@a:1/b/")),
            ("../g", Some("http://u@a:1/b/g")),
            ("../../../g", Some("http://u@a:1/g")),
            ("/./a/../b", Some("http://u@a:1/b")),
            ("", None),
            ("#s", None),
        ] {
            assert_eq!(join(base, reference).as_deref(), wanted, "{reference}");
        }
        assert_eq!(join("http://a", "b").as_deref(), Some("http://a/b"));
    }

    #[test]
    fn what_could_be_secret_is_not_shown() {
        for (url, wanted) in [
            ("http://u:p@h:1/a/b?token=x#y", "http://h:1/a/b"),
            ("http://h?x", "http://h"),
            ("http://h/a@b", "http://h/a@b"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(shown(url), wanted, "{url}");
        }
    }

    #[test]
    fn what_follows_the_host_is_told_to_a_udp_tracker() {
        for (url, wanted) in [
            ("udp://a:1", ""),
            ("udp://a:1#x/y", ""),
            ("udp://a:1/announce/key?x=//y#z", "/announce/key?x=//y"),
            ("udp://u@[::1]:1?x", "?x"),
            ("nothing", ""),
        ] {
            assert_eq!(path_and_query(url), wanted, "{url}");
        }
    }

    #[test]
    fn a_url_cut_or_changed_anywhere_is_taken_apart_or_refused() {
        for good in ["http://u@[::1]:80/a?b", "udp://ab.c:9", "https://1.2.3.4"] {
            for at in 0..good.len() {
                let _ = tracker(&good[..at]);
                for c in (0..=255_u8).map(char::from) {
                    let url = format!("{}{c}{}", &good[..at], &good[at + 1..]);
                    if let Ok(target) = tracker(&url) {
                        assert!(target.port > 0 && !target.host.is_empty(), "{url}");
                    }
                }
            }
        }
    }
}

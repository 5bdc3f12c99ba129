//! Who may look and steer. Nobody gets as far as the pages, and no body is taken, before this has been asked.
//!
//! Without a token, the run listens on loopback alone, and whoever is on this host may. Web pages that a browser on this host shows may not: their requests
//! carry the `Host` that their own name leads to (DNS rebinding), or an `Origin` that is not ours. With a token, whoever knows it may, under whatever name
//! this host is known to him.

use std::net::{IpAddr, SocketAddr};

use crate::app::web::TEXT;
use crate::net::gate::{Answer, Handler, Head};

/// See the module.
pub(super) struct Guard {
    bound: IpAddr,
    token: Option<String>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Token,
    Host,
    Origin,
}

impl Refusal {
    const fn told(self) -> (u16, &'static str) {
        match self {
            Self::Token => (
                401,
                "a token is needed: `Authorization: Bearer TOKEN`, or `?token=TOKEN` to look\n",
            ),
            Self::Host => (
                403,
                "this name is not known here: use the address, localhost, or a token\n",
            ),
            Self::Origin => (403, "other sites' pages have no business here\n"),
        }
    }
}

impl Guard {
    pub(super) const fn new(bound: IpAddr, token: Option<String>) -> Self {
        Self { bound, token }
    }

    fn judge(&self, head: &Head<'_>) -> Result<(), Refusal> {
        let known = self.knows_token(head);
        if !known && !head.host.is_some_and(|host| self.is_our_name(host)) {
            return Err(Refusal::Host);
        }
        if head
            .origin
            .is_some_and(|origin| !is_same(origin, head.host))
        {
            return Err(Refusal::Origin);
        }
        if known || self.token.is_none() || is_public(head) {
            Ok(())
        } else {
            Err(Refusal::Token)
        }
    }

    fn knows_token(&self, head: &Head<'_>) -> bool {
        let Some(token) = &self.token else {
            return false;
        };
        let bearer = head.authorization.and_then(bearer);
        let mut parameters = head.query.split(|&b| b == b'&');
        // A link must not be enough to change anything.
        let query = parameters
            .find_map(|parameter| parameter.strip_prefix(b"token="))
            .filter(|_| head.method.is_safe());
        let said = bearer.or(query);
        said.is_some_and(|said| is_equal(said, token.as_bytes()))
    }

    /// Whether `host` leads here without asking a name server: an address, with or without a port, or `localhost`.
    fn is_our_name(&self, host: &[u8]) -> bool {
        let Ok(host) = std::str::from_utf8(host) else {
            return false;
        };
        let with_port = host.parse().map(|addr: SocketAddr| addr.ip());
        let bare = || host.trim_matches(['[', ']']).parse();
        match with_port.or_else(|_| bare()) {
            Ok(ip) => ip.is_loopback() || ip == self.bound || self.bound.is_unspecified(),
            Err(_) => {
                let name = host.split_once(':').map_or(host, |(name, _)| name);
                name.eq_ignore_ascii_case("localhost")
            }
        }
    }
}

impl Handler for Guard {
    fn answer(&mut self, head: &Head<'_>, from: SocketAddr, body: &mut Vec<u8>) -> Answer {
        let (status, text) = match self.judge(head) {
            Err(refusal) => refusal.told(),
            Ok(()) if head.path == b"/healthz" && head.method.is_safe() => (200, "ok\n"),
            Ok(()) => {
                return Answer::Page {
                    asker: Some(from.ip()),
                };
            }
        };
        body.extend_from_slice(text.as_bytes());
        Answer::Reply {
            status,
            content_type: TEXT,
        }
    }

    fn exempts(&self, _: IpAddr) -> bool {
        false
    }
}

/// What tells nothing of what goes on.
fn is_public(head: &Head<'_>) -> bool {
    let path = std::str::from_utf8(head.path).unwrap_or_default();
    head.method.is_safe() && (path == "/healthz" || crate::app::web::asset(path).is_some())
}

/// The token in the value of `Authorization` (RFC 6750).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

/// Whether a page of `origin` comes from where it asks.
fn is_same(origin: &[u8], host: Option<&[u8]>) -> bool {
    let site = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"));
    match (site, host) {
        (Some(site), Some(host)) => site.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// Takes as long for any two of the same length, so that nobody can find a token byte by byte.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::gate::head_of;

    fn judge(guard: &Guard, request: &str) -> Result<(), Refusal> {
        let request = format!("{request}\r\n\r\n");
        guard.judge(&head_of(request.as_bytes()).unwrap())
    }

    fn at(addr: &str, token: Option<&str>) -> Guard {
        Guard::new(addr.parse().unwrap(), token.map(str::to_owned))
    }

    #[test]
    fn a_name_that_somebody_else_may_give_is_no_name_of_ours() {
        let loopback = at("127.0.0.1", None);
        let told = |host: &str| judge(&loopback, &format!("GET / HTTP/1.1\r\nHost: {host}"));
        for host in [
            "127.0.0.1:6880",
            "127.0.0.1",
            "localhost:1",
            "LocalHost",
            "[::1]:80",
            "[::1]",
            "127.9.9.9",
        ] {
            assert_eq!(told(host), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:6880",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.7",
            "",
            "a:b:c",
        ] {
            assert_eq!(told(host), Err(Refusal::Host), "{host}");
        }
        assert_eq!(judge(&loopback, "GET / HTTP/1.1"), Err(Refusal::Host));
        let everywhere = at("0.0.0.0", Some("secret"));
        let by_address = "GET /healthz HTTP/1.1\r\nHost: 10.0.0.7:6880";
        assert_eq!(judge(&everywhere, by_address), Ok(()));
    }

    #[test]
    fn who_knows_the_token_may_and_nobody_else() {
        let guard = at("10.0.0.7", Some("secret"));
        let told = |line: &str, more: &str| {
            judge(&guard, &format!("{line} HTTP/1.1\r\nHost: 10.0.0.7{more}"))
        };
        let bearer = "\r\nAuthorization: bearer secret";
        assert_eq!(told("GET /stats", bearer), Ok(()));
        assert_eq!(told("DELETE /torrents/x", bearer), Ok(()));
        assert_eq!(told("GET /?a=b&token=secret", ""), Ok(()));
        assert_eq!(told("GET /page.css", ""), Ok(()));
        for (line, more) in [
            ("GET /stats", ""),
            ("GET /stats", "\r\nAuthorization: Bearer secreT"),
            ("GET /stats", "\r\nAuthorization: Bearer secrets"),
            ("GET /stats", "\r\nAuthorization: Basic secret"),
            ("GET /stats?token=", ""),
            ("DELETE /torrents/x?token=secret", ""),
            ("DELETE /page.css", ""),
        ] {
            assert_eq!(told(line, more), Err(Refusal::Token), "{line} {more}");
        }
        let named = "GET /stats HTTP/1.1\r\nHost: worker7:6880";
        assert_eq!(judge(&guard, named), Err(Refusal::Host));
        assert_eq!(judge(&guard, &format!("{named}{bearer}")), Ok(()));
    }

    #[test]
    fn pages_of_other_sites_may_not() {
        let guard = at("127.0.0.1", None);
        let told = |origin: &str| {
            let head = "POST /torrents HTTP/1.1\r\nHost: localhost:6880";
            judge(&guard, &format!("{head}\r\nOrigin: {origin}"))
        };
        assert_eq!(told("http://localhost:6880"), Ok(()));
        for origin in [
            "null",
            "http://evil.example",
            "http://localhost:81",
            "http://localhost:6880.evil.example",
        ] {
            assert_eq!(told(origin), Err(Refusal::Origin), "{origin}");
        }
    }
}

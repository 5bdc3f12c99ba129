//! The head of an HTTP request, as far as the gate needs it.

use crate::net::http_server::Method;

/// Bytes that a head may have.
pub(super) const MAX_HEAD: usize = 8 << 10;

/// What a request begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// What is to be done; nothing but looking where no bodies are taken.
    pub method: Method,
    /// The path as it stands: escaped, beginning with `/`.
    pub path: &'a [u8],
    /// What follows the `?`, as it stands.
    pub query: &'a [u8],
    /// The values of `X-Forwarded-For`, in order. Anybody can write them.
    pub forwarded: Vec<&'a [u8]>,
    /// The value of the first `Accept`; empty without one.
    pub accept: &'a [u8],
    /// The value of the first `Host`.
    pub host: Option<&'a [u8]>,
    /// The value of the first `Origin`, with which browsers say whose page asks.
    pub origin: Option<&'a [u8]>,
    /// The value of the first `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// Bytes of body that follow.
    pub(super) body: usize,
    /// The client sends the body only when it is told to.
    pub(super) expects: bool,
    /// Whether the client wants to ask again over the same connection.
    pub(super) keep_alive: bool,
    /// Whether the client speaks HTTP/1.0.
    pub(super) old: bool,
}

/// What the bytes at hand are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// Not a whole head yet.
    Incomplete,
    /// No head that can be answered, with the status that says so.
    Bad(u16),
    /// A head, and how many bytes it takes up.
    Whole(Head<'a>, usize),
}

/// Reads a head from the beginning of `bytes`. Empty lines before it are passed over, as RFC 9112 wants, and lines may end without CR. With a `max_body` of
/// 0 nothing is taken but `GET` and `HEAD` without a body.
pub(super) fn parse(bytes: &[u8], max_body: usize) -> Parsed<'_> {
    let blank = bytes
        .iter()
        .take_while(|b| matches!(b, b'\r' | b'\n'))
        .count();
    let rest = bytes.get(blank..).unwrap_or_default();
    let Some(end) = head_end(rest) else {
        return if bytes.len() >= MAX_HEAD {
            Parsed::Bad(431)
        } else {
            Parsed::Incomplete
        };
    };
    if blank + end > MAX_HEAD {
        return Parsed::Bad(431);
    }
    let mut lines = lines(rest.get(..end).unwrap_or_default());
    let parsed = lines.next().ok_or(400).and_then(|line| {
        let mut head = request_line(line, max_body > 0)?;
        lines.try_for_each(|line| field(line, max_body, &mut head))?;
        Ok(head)
    });
    match parsed {
        Ok(head) => Parsed::Whole(head, blank + end),
        Err(status) => Parsed::Bad(status),
    }
}

/// Where the empty line ends that ends the head.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let at = from + rest.iter().position(|&b| b == b'\n')?;
        match bytes.get(at + 1..)? {
            [b'\n', ..] => return Some(at + 2),
            [b'\r', b'\n', ..] => return Some(at + 3),
            _ => from = at + 1,
        }
    }
}

/// The lines that are not empty, without their ends.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = head.split(|&b| b == b'\n');
    lines
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
}

fn request_line(line: &[u8], acts: bool) -> Result<Head<'_>, u16> {
    let mut words = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(400);
    };
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        other if other.starts_with(b"HTTP/") => return Err(505),
        _ => return Err(400),
    };
    if !target.iter().all(u8::is_ascii_graphic) {
        return Err(400);
    }
    let method = match Method::from_name(method) {
        Some(method) if acts || method.is_safe() => method,
        Some(_) => return Err(405),
        None if !method.is_empty() && method.iter().all(u8::is_ascii_uppercase) => return Err(405),
        None => return Err(400),
    };
    let target = origin_form(target).ok_or(400_u16)?;
    let target = target.split(|&b| b == b'#').next().unwrap_or(target);
    let (path, query) = match target.iter().position(|&b| b == b'?') {
        Some(at) => target.split_at(at),
        None => (target, &b""[..]),
    };
    Ok(Head {
        method,
        path,
        query: query.get(1..).unwrap_or_default(),
        forwarded: Vec::new(),
        accept: b"",
        host: None,
        origin: None,
        authorization: None,
        body: 0,
        expects: false,
        keep_alive: !old,
        old,
    })
}

/// The path and what follows it; proxies may be sent the whole URL.
fn origin_form(target: &[u8]) -> Option<&[u8]> {
    if target.first() == Some(&b'/') {
        return Some(target);
    }
    let rest = target.strip_prefix(b"http://")?;
    let at = rest.iter().position(|&b| b == b'/')?;
    rest.get(at..)
}

fn field<'a>(line: &'a [u8], max_body: usize, head: &mut Head<'a>) -> Result<(), u16> {
    let colon = line.iter().position(|&b| b == b':').ok_or(400_u16)?;
    let (name, value) = line.split_at(colon);
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    // A name holds no space, so that no proxy before us can have understood the line in another way.
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) || value.contains(&b'\r') {
        return Err(400);
    }
    if name.eq_ignore_ascii_case(b"connection") {
        for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                head.keep_alive = false;
            } else if option.eq_ignore_ascii_case(b"keep-alive") && head.old {
                head.keep_alive = true;
            }
        }
    } else if name.eq_ignore_ascii_case(b"x-forwarded-for") {
        head.forwarded.push(value);
    } else if name.eq_ignore_ascii_case(b"accept") && head.accept.is_empty() {
        head.accept = value;
    } else if name.eq_ignore_ascii_case(b"host") {
        head.host.get_or_insert(value);
    } else if name.eq_ignore_ascii_case(b"origin") {
        head.origin.get_or_insert(value);
    } else if name.eq_ignore_ascii_case(b"authorization") {
        head.authorization.get_or_insert(value);
    } else if name.eq_ignore_ascii_case(b"expect") {
        head.expects = value.eq_ignore_ascii_case(b"100-continue");
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        return Err(if max_body == 0 { 400 } else { 411 });
    } else if name.eq_ignore_ascii_case(b"content-length") {
        let length = length(value).ok_or(400_u16)?;
        match max_body {
            // Two lengths, of which a proxy before us may have believed the other.
            _ if head.body != 0 && head.body != length => return Err(400),
            0 if length > 0 => return Err(400),
            _ if length > max_body => return Err(413),
            _ => head.body = length,
        }
    }
    Ok(())
}

/// Digits alone: no sign, as the standard library would take.
fn length(value: &[u8]) -> Option<usize> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Parsed<'_> {
        super::parse(bytes, 0)
    }

    fn whole(bytes: &[u8]) -> Head<'_> {
        match parse(bytes) {
            Parsed::Whole(head, len) if len == bytes.len() => head,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn path_and_query_come_as_they_stand() {
        let head = whole(b"GET /announce?info_hash=%00%ff&x=a?b HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(
            (head.path, head.query),
            (&b"/announce"[..], &b"info_hash=%00%ff&x=a?b"[..])
        );
        assert!(head.keep_alive && head.method == Method::Get);
        assert_eq!(whole(b"GET / HTTP/1.1\r\n\r\n").query, b"");
        assert_eq!(
            whole(b"HEAD http://t:8080/a#b HTTP/1.1\r\n\r\n").path,
            b"/a"
        );
        assert_eq!(whole(b"\r\n\nGET / HTTP/1.0\n\n").path, b"/");
    }

    #[test]
    fn keep_alive_is_what_the_version_and_the_client_say() {
        let keeps = |text: &str| whole(text.as_bytes()).keep_alive;
        assert!(keeps("GET / HTTP/1.1\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nConnection: foo, CLOSE\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nconnection:Keep-Alive\r\n\r\n"));
    }

    #[test]
    fn a_second_request_is_left_alone() {
        let bytes = b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
        let Parsed::Whole(head, len) = parse(bytes) else {
            panic!("not whole")
        };
        assert_eq!((head.path, len), (&b"/a"[..], 19));
        assert_eq!(whole(&bytes[len..]).path, b"/b");
    }

    #[test]
    fn forwarded_addresses_are_collected_in_order() {
        let head = whole(b"GET / HTTP/1.1\r\nX-Forwarded-For: a, b\r\nx-forwarded-for:c\r\n\r\n");
        assert_eq!(head.forwarded, [&b"a, b"[..], b"c"]);
    }

    #[test]
    fn what_is_accepted_is_what_is_said_first() {
        let head = whole(b"GET / HTTP/1.1\r\nACCEPT: application/json\r\nAccept: x\r\n\r\n");
        assert_eq!(head.accept, b"application/json");
        assert_eq!(whole(b"GET / HTTP/1.1\r\n\r\n").accept, b"");
    }

    #[test]
    fn nonsense_has_a_status() {
        for (status, text) in [
            (400, "nonsense\r\n\r\n"),
            (400, "GET /a b HTTP/1.1\r\n\r\n"),
            (400, "GET  HTTP/1.1\r\n\r\n"),
            (400, "GET a HTTP/1.1\r\n\r\n"),
            (400, "GET * HTTP/1.1\r\n\r\n"),
            (400, "GET http://t HTTP/1.1\r\n\r\n"),
            (400, "GET /\x01 HTTP/1.1\r\n\r\n"),
            (400, "GET /\u{e9} HTTP/1.1\r\n\r\n"),
            (400, "get / HTTP/1.1\r\n\r\n"),
            (405, "POST / HTTP/1.1\r\n\r\n"),
            (505, "GET / HTTP/2.0\r\n\r\n"),
            (400, "GET / SMTP\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nno colon\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost : t\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: t\r\n folded\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ] {
            assert_eq!(parse(text.as_bytes()), Parsed::Bad(status), "{text:?}");
        }
    }

    #[test]
    fn where_bodies_are_taken_their_length_is_known_and_bounded() {
        let head = |text: &'static str| match super::parse(text.as_bytes(), 100) {
            Parsed::Whole(head, _) => Ok((head.method, head.body, head.expects)),
            Parsed::Bad(status) => Err(status),
            Parsed::Incomplete => panic!("not whole"),
        };
        assert_eq!(
            head("DELETE /a HTTP/1.1\r\n\r\n"),
            Ok((Method::Delete, 0, false))
        );
        assert_eq!(
            head("POST /a HTTP/1.1\r\nContent-Length: 100\r\nExpect: 100-Continue\r\n\r\n"),
            Ok((Method::Post, 100, true))
        );
        for (status, fields) in [
            (413, "Content-Length: 101"),
            (400, "Content-Length: 99999999999999999999"),
            (400, "Content-Length: -1"),
            (400, "Content-Length: +1"),
            (400, "Content-Length: "),
            (400, "Content-Length: 5\r\nContent-Length: 6"),
            (411, "Transfer-Encoding: chunked"),
        ] {
            let text = format!("POST /a HTTP/1.1\r\n{fields}\r\n\r\n");
            let parsed = super::parse(text.as_bytes(), 100);
            assert_eq!(parsed, Parsed::Bad(status), "{fields}");
        }
    }

    #[test]
    fn who_asks_for_whom_is_told_as_it_is_said_first() {
        let head = whole(
            b"GET / HTTP/1.1\r\nHOST: a\r\nHost: b\r\norigin:null\r\nAuthorization: Bearer x\r\n\r\n",
        );
        assert_eq!(
            (head.host, head.origin, head.authorization),
            (Some(&b"a"[..]), Some(&b"null"[..]), Some(&b"Bearer x"[..]))
        );
        assert_eq!(whole(b"GET / HTTP/1.1\r\n\r\n").host, None);
    }

    #[test]
    fn a_head_without_end_is_refused_at_8_kib() {
        let mut bytes = b"GET /".to_vec();
        bytes.resize(MAX_HEAD - 1, b'x');
        assert_eq!(parse(&bytes), Parsed::Incomplete);
        bytes.push(b'x');
        assert_eq!(parse(&bytes), Parsed::Bad(431));
        let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        assert_eq!(parse(long.as_bytes()), Parsed::Bad(431));
        assert_eq!(parse(&b"\n".repeat(MAX_HEAD)), Parsed::Bad(431));
    }

    #[test]
    fn every_truncation_is_incomplete_and_every_changed_byte_is_survived() {
        let good = b"GET /announce?a=b HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: close\r\n\r\n";
        whole(good);
        for end in 0..good.len() {
            assert_eq!(parse(&good[..end]), Parsed::Incomplete, "cut at {end}");
        }
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.to_vec();
                bad[at] = byte;
                let _ = parse(&bad);
            }
        }
    }
}

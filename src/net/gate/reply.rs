//! Heads of answers.

use std::io::Write;

use super::head::Head;
use crate::net::http_server::Method;

/// Tells a client that waits with its body to send it.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Appends an answer to `head`.
pub(super) fn write(
    head: &Head<'_>,
    status: u16,
    content_type: &str,
    body: &[u8],
    out: &mut Vec<u8>,
) {
    let connection = match (head.keep_alive, head.old) {
        (true, false) => "",
        (true, true) => "Connection: keep-alive\r\n",
        (false, _) => "Connection: close\r\n",
    };
    let more = match status {
        // Where other methods are taken, it is not the handler that refuses them.
        405 => "Allow: GET\r\n",
        401 => "WWW-Authenticate: Bearer\r\n",
        _ => "",
    };
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{more}{connection}\r\n",
        reason(status),
        body.len()
    );
    if head.method != Method::Head {
        out.extend_from_slice(body);
    }
}

/// Appends the answer to what is no request; the connection ends with it.
pub(super) fn write_error(status: u16, out: &mut Vec<u8>) {
    let reason = reason(status);
    let allow = if status == 405 {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let _ = write!(
        out,
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n{reason}\n",
        reason.len() + 1
    );
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

//! What single options take.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use crate::app::args::{bad_value, parsed, text};
use crate::app::failure::Failure;
use crate::core::shares::Priority;
use crate::proto::peer::mse::Encryption;
use crate::proto::url;

/// A token that fits into a header and a URL as it is (RFC 6750).
pub(super) fn token(name: &str, text: String) -> Result<String, Failure> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if !text.is_empty() && text.bytes().all(fits) {
        Ok(text)
    } else {
        // It may be a slip of the pen in what is to stay secret.
        Err(bad_value(name, "…", "letters, digits and - . _ ~ + / ="))
    }
}

pub(super) fn ports(name: &str, value: OsString) -> Result<RangeInclusive<u16>, Failure> {
    let text = text(name, value)?;
    let (from, to) = text.split_once('-').unwrap_or((&text, &text));
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) if from <= to => Ok(from..=to),
        _ => Err(bad_value(
            name,
            text,
            "a port such as 6881 or a range such as 6881-6891",
        )),
    }
}

pub(super) fn advertise(name: &str, value: OsString) -> Result<(IpAddr, Option<u16>), Failure> {
    let text = text(name, value)?;
    let with_port = text
        .parse()
        .map(|addr: SocketAddr| (addr.ip(), Some(addr.port())));
    let read = with_port.or_else(|_| text.parse().map(|ip| (ip, None)));
    read.map_err(|_| bad_value(name, text, "an IP address, with or without a port"))
}

pub(super) fn web_seed(name: &str, value: OsString) -> Result<String, Failure> {
    let text = text(name, value)?;
    match url::web(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::usage(format_args!(
            "`{name}` does not take `{text}`: {error}"
        ))),
    }
}

pub(super) fn count(name: &str, value: OsString) -> Result<usize, Failure> {
    let takes = "a whole number from 1 to 65535";
    match parsed::<u16>(name, value, takes)? {
        0 => Err(bad_value(name, 0, takes)),
        n => Ok(n.into()),
    }
}

pub(super) fn priority(name: &str, value: OsString) -> Result<Priority, Failure> {
    let text = text(name, value)?;
    Priority::from_name(&text).ok_or_else(|| bad_value(name, text, "low, normal or high"))
}

pub(super) fn encryption(name: &str, value: OsString) -> Result<Encryption, Failure> {
    let text = text(name, value)?;
    let read = Encryption::from_name(&text);
    read.ok_or_else(|| bad_value(name, text, "plain, preferred or required"))
}

pub(super) fn ratio(name: &str, value: OsString) -> Result<f64, Failure> {
    let takes = "a number such as 1 or 2.5";
    let ratio: f64 = parsed(name, value, takes)?;
    if ratio.is_finite() && ratio >= 0.0 {
        Ok(ratio)
    } else {
        Err(bad_value(name, ratio, takes))
    }
}

pub(super) fn command(name: &str, value: OsString) -> Result<Vec<String>, Failure> {
    let words: Vec<_> = text(name, value)?
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    if words.is_empty() {
        Err(bad_value(name, "", "a program and its arguments"))
    } else {
        Ok(words)
    }
}

//! Values of options: sizes, rates, durations. An error names the option and what it takes.

use std::ffi::OsString;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::failure::Failure;
use crate::proto::url::{self, UrlError};

/// The error for a bad value: names the option, the value and what the option takes.
pub fn bad_value(option: &str, value: impl Display, takes: &str) -> Failure {
    Failure::usage(format_args!(
        "`{option}` does not take `{value}`; it takes {takes}"
    ))
}

/// What the environment says under `name`; a variable that is empty says nothing.
#[must_use]
pub fn from_environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The value of `option` as text.
///
/// # Errors
/// If it is not UTF-8.
pub fn text(option: &str, value: OsString) -> Result<String, Failure> {
    value
        .into_string()
        .map_err(|raw| bad_value(option, raw.to_string_lossy(), "text in UTF-8"))
}

/// The value of `option` as whatever can be read from text.
///
/// # Errors
/// If it cannot; `takes` tells the operator what would do.
pub fn parsed<T: FromStr>(option: &str, value: OsString, takes: &str) -> Result<T, Failure> {
    let text = text(option, value)?;
    text.parse().map_err(|_| bad_value(option, text, takes))
}

/// Bytes: a whole number, with an optional `K`, `M` or `G` (powers of 1,024), and an optional `iB`, `B` or `/s` after it.
///
/// # Errors
/// If the value is none.
pub fn size(option: &str, value: OsString) -> Result<u64, Failure> {
    let text = text(option, value)?;
    parse_size(&text).ok_or_else(|| bad_value(option, text, "bytes such as 65536, 256K, 10M or 2G"))
}

/// A span of time: a whole number of seconds, or one with `s`, `m`, `h` or `d`.
///
/// # Errors
/// If the value is none.
pub fn duration(option: &str, value: OsString) -> Result<Duration, Failure> {
    let text = text(option, value)?;
    parse_duration(&text)
        .ok_or_else(|| bad_value(option, text, "a time such as 90, 90s, 15m, 2h or 1d"))
}

/// A DHT node, `HOST:PORT`; an IPv6 address stands in brackets.
///
/// # Errors
/// If the value is none.
pub fn node(option: &str, value: OsString) -> Result<(String, u16), Failure> {
    let text = text(option, value)?;
    let bad = |cause: &dyn Display| {
        Failure::usage(format_args!(
            "`{option}` does not take `{text}`: {cause}; it takes HOST:PORT"
        ))
    };
    if text.contains(['/', '?', '#', '@']) {
        return Err(bad(&"it is no host with a port"));
    }
    if !text.starts_with('[') && text.matches(':').count() > 1 {
        return Err(bad(&"an IPv6 address stands in brackets"));
    }
    // What stands between `udp://` and the path of a tracker's URL is the same thing.
    match url::tracker(&format!("udp://{text}")) {
        Ok(target) => Ok((target.host, target.port)),
        Err(UrlError::NoPort) => Err(bad(&"the port is missing")),
        Err(error) => Err(bad(&error)),
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.strip_suffix("/s").unwrap_or(text);
    let text = text.strip_suffix('B').unwrap_or(text);
    let text = text.strip_suffix('i').unwrap_or(text);
    scaled(
        text,
        &[
            ('K', 1 << 10),
            ('M', 1 << 20),
            ('G', 1 << 30),
            ('T', 1 << 40),
        ],
    )
}

fn parse_duration(text: &str) -> Option<Duration> {
    scaled(text, &[('S', 1), ('M', 60), ('H', 3600), ('D', 86400)]).map(Duration::from_secs)
}

fn scaled(text: &str, units: &[(char, u64)]) -> Option<u64> {
    let last = text.chars().last()?.to_ascii_uppercase();
    let unit = units.iter().find(|(letter, _)| *letter == last);
    let digits = if unit.is_some() {
        &text[..text.len() - 1]
    } else {
        text
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = plain.then(|| digits.parse().ok())??;
    number.checked_mul(unit.map_or(1, |(_, factor)| *factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_read_with_their_units() {
        for (text, bytes) in [
            ("0", 0),
            ("16384", 16384),
            ("256K", 1 << 18),
            ("256k", 1 << 18),
            ("4MiB", 4 << 20),
            ("1MB/s", 1 << 20),
            ("2G", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for (text, secs) in [
            ("0", 0),
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("2H", 7200),
            ("1d", 86400),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_secs(secs)),
                "{text}"
            );
        }
        for bad in [
            "",
            "K",
            "-1",
            "+1",
            "1.5M",
            "1X",
            "99999999999999999999",
            "99999999999G",
            "1 K",
            "é",
        ] {
            assert_eq!(parse_size(bad), None, "{bad}");
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_error_names_the_option_the_value_and_what_it_takes() {
        let error = size("--cache", "big".into()).unwrap_err().to_string();
        assert_eq!(
            error,
            "`--cache` does not take `big`; it takes bytes such as 65536, 256K, 10M or 2G"
        );
    }
}

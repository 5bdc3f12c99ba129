//! Numbers as people read them.

use std::time::Duration;

/// Bytes with a binary unit and a sensible number of digits: `0 B`, `16.0 KiB`, `1.50 GiB`.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn bytes(n: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if unit >= 2 { 2 } else { 1 };
    format!("{value:.digits$} {}", units[unit])
}

/// A rate in bytes a second.
#[must_use]
pub fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

/// A span of time, rounded up to seconds: `0:07`, `12:30`, `1:02:03`, `3d 04:05`.
#[must_use]
pub fn span(time: Duration) -> String {
    let secs = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{:02}", secs % 60),
        (0, _) => format!("{hours}:{minutes:02}:{:02}", secs % 60),
        _ => format!("{days}d {hours:02}:{minutes:02}"),
    }
}

/// `part` of `whole` in percent, from 0 to 100; nothing of nothing is everything.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        100.0
    } else {
        part as f64 * 100.0 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_three_or_four_digits() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (16_384, "16.0 KiB"),
            (1_048_570, "1.0 MiB"),
            (3 << 29, "1.50 GiB"),
            (u64::MAX, "16.00 EiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(rate(1 << 20), "1.0 MiB/s");
    }

    #[test]
    fn spans_are_rounded_up_and_grow_units() {
        for (millis, text) in [
            (0, "0:00"),
            (6_100, "0:07"),
            (750_000, "12:30"),
            (3_723_000, "1:02:03"),
            (273_900_000, "3d 04:05"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
        assert!((percent(1, 4) - 25.0).abs() < 1e-9 && (percent(0, 0) - 100.0).abs() < 1e-9);
    }
}

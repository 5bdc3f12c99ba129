//! Prometheus' text format.

use std::fmt::{self, Display, Formatter, Write};

/// The text format, version 0.0.4.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Begins a metric; `kind` is `gauge` or `counter`.
pub fn head(name: &str, help: &str, kind: &str, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A number as Prometheus has it.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "Prometheus has only these")]
pub const fn float(n: u64) -> f64 {
    n as f64
}

/// The value of a label, of at most 200 characters.
pub struct Label<'a>(pub &'a str);

impl Display for Label<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().take(200).try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c if c.is_control() => f.write_char(char::REPLACEMENT_CHARACTER),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_be_left() {
        assert_eq!(Label("a\"} 1\nb\\\r").to_string(), "a\\\"} 1\\nb\\\\�");
    }
}

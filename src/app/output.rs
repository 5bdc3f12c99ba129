//! The only place that prints: results to stdout, everything else to stderr. A reader that went away is no error.

use std::fmt::Display;
use std::io::{self, Write};

/// A result, a line on stdout.
pub fn result(line: impl Display) {
    write_line(&mut io::stdout().lock(), line);
}

/// A word to the operator, a line on stderr.
pub fn note(line: impl Display) {
    write_line(&mut io::stderr().lock(), line);
}

/// Text on stdout as it is, such as help.
pub fn text(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

fn write_line(to: &mut impl Write, line: impl Display) {
    // One write for each line, so that lines of several threads and processes do not mix.
    let _ = to.write_all(format!("{line}\n").as_bytes());
    let _ = to.flush();
}

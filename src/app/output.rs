//! The only place that prints: results to stdout, everything else to stderr. A reader that went away is no error.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::Command;

/// Characters in a line of progress; terminals narrower than this are rare.
const MAX_WIDTH: usize = 100;

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

/// A result that is no text, such as a torrent, on stdout.
///
/// # Errors
/// If it cannot be written, for example to a full disk.
pub fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Sends the results of a program that we start to our stderr: they must not get among ours.
pub fn divert(command: &mut Command) {
    command.stdout(io::stderr());
}

/// Whether somebody watches stderr.
#[must_use]
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Replaces the last line on the terminal of stderr, which [`erase`] takes away again.
pub fn redraw(line: &str) {
    // A line that wraps could not be replaced.
    let line: String = line.chars().take(MAX_WIDTH).collect();
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "\r\x1b[K{line}");
    let _ = stderr.flush();
}

/// Takes away what [`redraw`] has drawn.
pub fn erase() {
    redraw("");
}

fn write_line(to: &mut impl Write, line: impl Display) {
    // One write for each line, so that lines of several threads and processes do not mix.
    let _ = to.write_all(format!("{line}\n").as_bytes());
    let _ = to.flush();
}

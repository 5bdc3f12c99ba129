//! The only place that prints: results to stdout, everything else to stderr. A reader that went away is no error.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::Command;
use std::sync::OnceLock;

/// Characters in a line of progress; terminals narrower than this are rare.
const MAX_WIDTH: usize = 100;

/// The first failure to write a result.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// A result, a line on stdout. If it cannot be written, [`failure`] tells why.
pub fn result(line: impl Display) {
    keep_failure(write_line(&mut io::stdout().lock(), line));
}

/// Why a result did not get to stdout, if one did not.
#[must_use]
pub fn failure() -> Option<&'static io::Error> {
    FAILURE.get()
}

/// A word to the operator, a line on stderr.
pub fn note(line: impl Display) {
    // There is nobody else to tell.
    let _ = write_line(&mut io::stderr().lock(), line);
}

/// Text on stdout as it is, such as help.
pub fn text(text: &str) {
    keep_failure(bytes(text.as_bytes()));
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

fn write_line(to: &mut impl Write, line: impl Display) -> io::Result<()> {
    // One write for each line, so that lines of several threads and processes do not mix.
    to.write_all(format!("{line}\n").as_bytes())?;
    to.flush()
}

fn keep_failure(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _ = FAILURE.set(error);
    }
}

//! Words to whoever watches the tests run.

use std::io::Write;

/// A line on stderr, past the capture of the test runner, so that a skipped scenario is never silent.
pub fn say(line: impl std::fmt::Display) {
    let _ = std::io::stderr()
        .lock()
        .write_all(format!("{line}\n").as_bytes());
}

/// Whether this run must not skip anything (`CI` is set).
pub fn strict() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Says why a scenario cannot run here. Where nothing may be skipped, this fails the test instead.
pub fn skip(reason: impl std::fmt::Display) {
    assert!(!strict(), "CI must not skip this: {reason}");
    say(format_args!("skipped: {reason}"));
}

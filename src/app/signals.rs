//! SIGINT, SIGTERM and SIGHUP as values, taken by one thread instead of in a handler.

use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::failure::Exit;

/// What the operator, or the system on his behalf, asks of a running program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: stop, somebody is waiting at the terminal.
    Interrupt,
    /// SIGTERM: stop.
    Terminate,
    /// SIGHUP: read lists and keys again.
    Reload,
}

impl Signal {
    /// The exit code of work that this signal cut short; nothing for [`Signal::Reload`].
    #[must_use]
    pub const fn exit(self) -> Option<Exit> {
        match self {
            Self::Interrupt => Some(Exit::Interrupted),
            Self::Terminate => Some(Exit::Terminated),
            Self::Reload => None,
        }
    }
}

/// Calls `on_signal` on a thread of its own for every signal from now on.
///
/// # Errors
/// If the handlers cannot be installed or the thread cannot be started.
pub fn watch(on_signal: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let forward = move || {
        for signal in signals.forever() {
            on_signal(match signal {
                SIGINT => Signal::Interrupt,
                SIGTERM => Signal::Terminate,
                _ => Signal::Reload,
            });
        }
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(forward)
        .map(drop)
}

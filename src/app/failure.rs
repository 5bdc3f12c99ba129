//! What the operator is told when something cannot be done, and the exit code that scripts see.

use std::fmt::{self, Display};
use std::process::ExitCode;

use super::output;

/// Exit codes, the same for all three programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for a seeder, stopped as asked.
    Done = 0,
    /// Any failure that has no code of its own.
    Failed = 1,
    /// Unknown option or bad value.
    Usage = 2,
    /// An input file (torrent, magnet, configuration, keys) is not valid.
    Input = 3,
    /// Data does not match the torrent, or is incomplete.
    Data = 4,
    /// A deadline that the caller set has passed.
    Deadline = 5,
    /// Cannot read or write, or no space is left.
    Storage = 6,
    /// Cannot bind, tracker refused, no address.
    Network = 7,
    /// Nothing is as large as `--min-size`: ordinary transfer will do.
    Small = 8,
    /// Another run holds the lock (EX_TEMPFAIL).
    Locked = 75,
    /// Interrupted by SIGINT.
    Interrupted = 130,
    /// Interrupted by SIGTERM.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a program ends without having done its work.
#[derive(Debug)]
pub struct Failure {
    /// The code to exit with.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// ``cannot <verb> `<subject>`: <cause>``
    pub fn new(exit: Exit, verb: &str, subject: impl Display, cause: impl Display) -> Self {
        Self {
            exit,
            message: format!("cannot {verb} `{subject}`: {cause}"),
        }
    }

    /// A mistake on the command line; `message` names the option and what it takes.
    pub fn usage(message: impl Display) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.to_string(),
        }
    }

    /// Something that is told in words of its own, without a subject.
    pub fn plain(exit: Exit, message: impl Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::usage(error)
    }
}

/// The last act of `main`: prints `error: …` if there is something to print, and turns the outcome into an exit code.
pub fn conclude(program: &str, outcome: Result<Exit, Failure>) -> ExitCode {
    let mut exit = outcome.unwrap_or_else(|failure| {
        output::note(format_args!("error: {failure}"));
        if failure.exit == Exit::Usage {
            output::note(format_args!("`{program} --help` lists what it takes"));
        }
        failure.exit
    });
    // Whoever reads the results must not take them for all there are.
    if let Some(cause) = output::failure() {
        output::note(format_args!(
            "error: cannot write `standard output`: {cause}"
        ));
        if exit == Exit::Done {
            exit = Exit::Storage;
        }
    }
    exit.into()
}

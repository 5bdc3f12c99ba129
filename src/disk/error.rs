//! What can go wrong with files, in words that an operator can act on.

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use super::sys::Kind;

/// What was being done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Looking what is there.
    Examine,
    /// Opening a file or folder that should be there.
    Open,
    /// Making a file or folder.
    Create,
    /// Reading.
    Read,
    /// Writing, or growing a file.
    Write,
    /// Making what was written durable.
    Sync,
    /// Renaming.
    Rename,
    /// Removing what is ours.
    Remove,
    /// Taking the lock.
    Lock,
}

impl Act {
    /// The act as a verb: ``cannot <verb> `path` ``.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Examine => "examine",
            Self::Open => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Lock => "lock",
        }
    }
}

/// A file could not be read, written or otherwise used (exit code 6).
#[derive(Debug)]
pub struct StorageError {
    /// Which file or folder.
    pub path: PathBuf,
    /// What was tried.
    pub act: Act,
    /// What the system said.
    pub source: io::Error,
}

impl StorageError {
    /// Whether there is no space left for this user: a full disk or a used-up quota. With more room the same command goes on.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// Whether the cause is that this place may not be written to: a read-only file system or missing rights.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
        )
    }

    /// What the system said, without its error number.
    #[must_use]
    pub fn cause(&self) -> String {
        let text = self.source.to_string();
        match text.find(" (os error ") {
            Some(end) => text[..end].to_owned(),
            None => text,
        }
    }

    pub(super) fn new(act: Act, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            path: path.into(),
            act,
            source,
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, path) = (self.act.verb(), self.path.display());
        write!(f, "cannot {verb} `{path}`: {}", self.cause())
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Why a payload cannot be opened. Nothing was changed on disk.
#[derive(Debug)]
pub enum OpenError {
    /// The system refused.
    Storage(StorageError),
    /// A finished and an unfinished payload lie side by side, and nobody but the operator knows which one is wanted.
    Both {
        /// The finished one.
        finished: PathBuf,
        /// The unfinished one.
        part: PathBuf,
    },
    /// A file is longer than the torrent says. Cutting it might destroy something.
    TooLong {
        /// Which file.
        path: PathBuf,
        /// Bytes that it has.
        len: u64,
        /// Bytes that the torrent gives it.
        expected: u64,
    },
    /// Something else lies where a file or folder of the payload belongs.
    WrongKind {
        /// Where.
        path: PathBuf,
        /// What lies there.
        found: Kind,
        /// What belongs there.
        wanted: Kind,
    },
    /// There is nothing to seed at this place.
    NotThere(PathBuf),
    /// A name that no payload may have, such as one that leads out of the folder.
    BadName(PathBuf),
}

impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::Both { finished, part } => write!(
                f,
                "cannot open `{}`: the unfinished `{}` lies beside it; move one of them away",
                finished.display(),
                part.display()
            ),
            Self::TooLong {
                path,
                len,
                expected,
            } => write!(
                f,
                "cannot use `{}`: it has {len} bytes, but {expected} in the torrent, and is not cut off; \
                 move it away, or name another folder with `--output`",
                path.display()
            ),
            Self::WrongKind {
                path,
                found,
                wanted,
            } => write!(
                f,
                "cannot use `{}`: it is {}, where {} belongs; move it away, or name another folder with `--output`",
                path.display(),
                name(*found),
                name(*wanted)
            ),
            Self::NotThere(path) => write!(
                f,
                "cannot find `{}`: nothing of the torrent's data lies there; name its place with `--data`",
                path.display()
            ),
            Self::BadName(path) => write!(
                f,
                "cannot use `{}`: not a name that a payload can have",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "a file",
        Kind::Folder => "a folder",
        Kind::Link => "a symbolic link",
        Kind::Other => "a device, socket or pipe",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_in_one_clear_line() {
        // ENOSPC and EDQUOT as Linux numbers them.
        let error = |code| StorageError::new(Act::Write, "a/b")(io::Error::from_raw_os_error(code));
        assert_eq!(
            error(28).to_string(),
            "cannot write `a/b`: No space left on device"
        );
        assert!(error(28).is_full() && error(122).is_full() && !error(5).is_full());
        assert!(error(30).is_read_only() && error(13).is_read_only() && !error(28).is_read_only());
    }
}

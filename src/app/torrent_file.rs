//! Reads .torrent files that the operator names.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::failure::{Exit, Failure};
use crate::base::bencode::Limits;
use crate::proto::metainfo::{Metainfo, MetainfoError};

/// Reads the torrent at `path`; `-` is standard input.
///
/// # Errors
/// [`Exit::Storage`] if it cannot be read, [`Exit::Input`] if it is no torrent that we can use.
pub fn read(path: &Path) -> Result<Metainfo, Failure> {
    let bytes = read_bytes(path)?;
    Metainfo::from_bytes(&bytes).map_err(|error| invalid(path, &error))
}

/// The bytes of the file at `path`, valid or not; `-` is standard input. Never much more than the reader of torrents takes.
///
/// # Errors
/// [`Exit::Storage`] if it cannot be read.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    // One more than is taken, so that the reader can tell that it is too much.
    let most = Limits::TORRENT.size as u64 + 1;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(unusable(Exit::Storage, path, error)),
    }
}

/// What is told of a file that is no torrent that we can use.
#[must_use]
pub fn invalid(path: &Path, error: &MetainfoError) -> Failure {
    unusable(Exit::Input, path, error)
}

fn unusable(exit: Exit, path: &Path, cause: impl Display) -> Failure {
    Failure::new(exit, "read the torrent", path.display(), cause)
}

//! Reads .torrent files that the operator names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::failure::{Exit, Failure};
use crate::base::bencode::Limits;
use crate::proto::metainfo::Metainfo;

/// Reads the torrent at `path`; `-` is standard input.
///
/// # Errors
/// [`Exit::Storage`] if it cannot be read, [`Exit::Input`] if it is no torrent that we can use.
pub fn read(path: &Path) -> Result<Metainfo, Failure> {
    let fail = |exit, cause: &dyn std::fmt::Display| {
        Failure::new(exit, "read the torrent", path.display(), cause)
    };
    let bytes = read_bytes(path).map_err(|error| fail(Exit::Storage, &error))?;
    Metainfo::from_bytes(&bytes).map_err(|error| fail(Exit::Input, &error))
}

/// As much as the reader of torrents takes and a byte more, so that it can tell that it is too much.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let most = Limits::TORRENT.size as u64 + 1;
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

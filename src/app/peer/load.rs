//! Where torrents come from: a file, a web server, standard input.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::app::failure::{Exit, Failure};
use crate::app::torrent_file;
use crate::base::bencode::Limits;
use crate::net::http_client::{Client, Options, Response};
use crate::proto::magnet::Magnet;
use crate::proto::metainfo::Metainfo;

/// A torrent and the place it came from.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub metainfo: Metainfo,
    /// The folder that its file lies in, if it is a file.
    pub folder: Option<PathBuf>,
}

/// Reads a torrent. `source` is a path, an `http://` URL, or `-` for standard input.
///
/// # Errors
/// [`Exit::Input`] if it is not a valid torrent, [`Exit::Storage`] if it cannot be read, [`Exit::Network`] if it cannot be fetched.
pub fn load(source: &OsStr, client: &Options) -> Result<Loaded, Failure> {
    let shown = source.to_string_lossy();
    if is_link(&shown) {
        return Err(only_a_link(source));
    }
    let path = Path::new(source);
    if shown.starts_with("http://") || shown.starts_with("https://") {
        let metainfo = Metainfo::from_bytes(&fetch(&shown, client)?);
        let metainfo = metainfo.map_err(|error| torrent_file::invalid(path, &error))?;
        return Ok(Loaded {
            metainfo,
            folder: None,
        });
    }
    let folder = (shown != "-").then(|| path.parent().map_or_else(PathBuf::new, Path::to_path_buf));
    Ok(Loaded {
        metainfo: torrent_file::read(path)?,
        folder,
    })
}

/// The magnet link that `source` is, if it is one.
///
/// # Errors
/// [`Exit::Input`] if it names no torrent.
pub fn link(source: &OsStr) -> Option<Result<Magnet, Failure>> {
    let shown = source.to_string_lossy();
    let link = is_link(&shown).then(|| Magnet::parse(&shown))?;
    Some(link.map_err(|error| Failure::new(Exit::Input, "use", shown, error)))
}

/// What is told of a magnet link where only a torrent will do.
#[must_use]
pub fn only_a_link(source: &OsStr) -> Failure {
    let cause = "this takes the .torrent file; `hivebt-peer get --save-torrent` fetches it, and `get --seed` seeds what is there already";
    Failure::new(Exit::Usage, "use", source.display(), cause)
}

/// Whether `text` is meant to be a magnet link.
#[must_use]
pub fn is_link(text: &str) -> bool {
    text.get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:"))
}

fn fetch(url: &str, client: &Options) -> Result<Vec<u8>, Failure> {
    let limit = Limits::TORRENT.size as u64;
    let client = Client::new(&Options {
        limit,
        ..client.clone()
    });
    let fetched = client.get(url).and_then(Response::success);
    fetched.map_err(|error| Failure::new(Exit::Network, "fetch", url, error))
}

//! Where torrents come from: a file, a web server, standard input.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::app::failure::{Exit, Failure};
use crate::app::torrent_file;
use crate::base::bencode::Limits;
use crate::net::http_client::{Client, Options, Response};
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
    if shown.starts_with("magnet:") {
        let cause = "magnet links are not supported; pass the .torrent file";
        return Err(Failure::new(Exit::Input, "use", shown, cause));
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

fn fetch(url: &str, client: &Options) -> Result<Vec<u8>, Failure> {
    let limit = Limits::TORRENT.size as u64;
    let client = Client::new(&Options {
        limit,
        ..client.clone()
    });
    let fetched = client.get(url).and_then(Response::success);
    fetched.map_err(|error| Failure::new(Exit::Network, "fetch", url, error))
}

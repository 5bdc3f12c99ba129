//! Where torrents come from: a file, a web server, standard input.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::app::failure::{Exit, Failure};
use crate::net::http_client::{Client, Options, Response};
use crate::proto::metainfo::Metainfo;

/// Bytes of a .torrent at most, wherever it comes from.
const MAX_TORRENT: u64 = 128 << 20;

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
/// [`Exit::Input`] if it is not a valid torrent or cannot be read, [`Exit::Network`] if it cannot be fetched.
pub fn load(source: &OsStr, client: &Options) -> Result<Loaded, Failure> {
    let shown = source.to_string_lossy();
    if shown.starts_with("magnet:") {
        return Err(Failure::new(
            Exit::Input,
            "use",
            shown,
            "magnet links are not supported; pass the .torrent file",
        ));
    }
    let (bytes, folder) = if shown == "-" {
        (read_bounded(std::io::stdin().lock()), None)
    } else if shown.starts_with("http://") || shown.starts_with("https://") {
        return parse(&fetch(&shown, client)?, &shown, None);
    } else {
        let path = Path::new(source);
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        (
            std::fs::File::open(path).and_then(read_bounded),
            Some(folder),
        )
    };
    let bytes = bytes.map_err(|error| Failure::new(Exit::Input, "read", &shown, error))?;
    parse(&bytes, &shown, folder)
}

fn parse(bytes: &[u8], source: &str, folder: Option<PathBuf>) -> Result<Loaded, Failure> {
    let metainfo = Metainfo::from_bytes(bytes)
        .map_err(|error| Failure::new(Exit::Input, "use torrent", source, error))?;
    Ok(Loaded { metainfo, folder })
}

fn fetch(url: &str, client: &Options) -> Result<Vec<u8>, Failure> {
    let client = Client::new(&Options {
        limit: MAX_TORRENT,
        ..client.clone()
    });
    let fetched = client.get(url).and_then(Response::success);
    fetched.map_err(|error| Failure::new(Exit::Network, "fetch", url, error))
}

fn read_bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_TORRENT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

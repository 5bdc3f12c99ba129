//! Torrents that the tracker hands out under `/torrents/`, and their names for statistics.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};

use crate::base::id::InfoHash;
use crate::net::http_server::{Page, PageRequest};
use crate::proto::percent;

/// The folder in URLs.
const FOLDER: &str = "/torrents/";

/// A .torrent to be handed out.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its name in URLs, with `.torrent` at the end and without slashes.
    pub file_name: String,
    /// The payload's name.
    pub name: String,
    /// The swarm.
    pub info_hash: InfoHash,
    /// Bytes of the payload.
    pub length: u64,
    /// The file.
    pub bytes: Vec<u8>,
}

impl Published {
    /// Where it is found on this tracker, percent-encoded.
    #[must_use]
    pub fn url_path(&self) -> String {
        url_path(self.file_name.as_bytes())
    }
}

/// What lies under `/torrents/`. A trait, so that what it takes to serve a folder of files stays out of programs that have none.
pub(super) trait Shelf: Debug + Send + Sync {
    /// The page, if this is one of ours.
    fn page(&self, wanted: &PageRequest) -> Option<Page>;

    /// The name of a payload.
    fn name(&self, info_hash: InfoHash) -> Option<&str>;
}

/// The file that a path of a URL names, decoded.
pub(super) fn file_name(path: &str) -> Option<Vec<u8>> {
    percent::decode(path.strip_prefix(FOLDER)?.as_bytes())
}

/// The path of a file of this name in URLs, percent-encoded.
pub(super) fn url_path(file_name: &[u8]) -> String {
    let mut path = FOLDER.to_owned();
    percent::encode(file_name, &mut path);
    path
}

/// Whether a path is that of the list.
pub(super) fn is_list(path: &str) -> bool {
    path == FOLDER || path == FOLDER.trim_end_matches('/')
}

/// The page that is a .torrent file.
pub(super) const fn torrent(bytes: Vec<u8>) -> Page {
    Page {
        status: 200,
        content_type: "application/x-bittorrent",
        body: bytes,
    }
}

/// Torrents in memory, by name.
#[derive(Debug, Default)]
pub(super) struct Catalog(BTreeMap<String, Published>);

impl Catalog {
    pub(super) fn new(torrents: Vec<Published>) -> Self {
        Self(
            torrents
                .into_iter()
                .map(|torrent| (torrent.file_name.clone(), torrent))
                .collect(),
        )
    }

    /// The file at a path of a URL, if it is one of them.
    fn file(&self, path: &str) -> Option<&[u8]> {
        let torrent = self.0.get(str::from_utf8(&file_name(path)?).ok()?)?;
        Some(&torrent.bytes)
    }

    /// What `/torrents/` shows: the paths, a line each. `None` for another path, or if there is nothing to show.
    fn list(&self, path: &str) -> Option<String> {
        (is_list(path) && !self.0.is_empty()).then(|| {
            self.0.values().fold(String::new(), |mut list, torrent| {
                // Writing to a string cannot fail.
                let _ = writeln!(list, "{}", torrent.url_path());
                list
            })
        })
    }
}

impl Shelf for Catalog {
    fn page(&self, wanted: &PageRequest) -> Option<Page> {
        let file = self.file(&wanted.path).map(<[u8]>::to_vec);
        let list = |text| Page {
            status: 200,
            content_type: "text/plain; charset=utf-8",
            body: String::into_bytes(text),
        };
        file.map(torrent)
            .or_else(|| self.list(&wanted.path).map(list))
    }

    fn name(&self, info_hash: InfoHash) -> Option<&str> {
        let mut torrents = self.0.values();
        torrents
            .find(|torrent| torrent.info_hash == info_hash)
            .map(|torrent| torrent.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_their_encoded_names_and_nothing_else_is() {
        let torrent = Published {
            file_name: "große Daten.torrent".into(),
            name: "große Daten".into(),
            info_hash: InfoHash([1; 20]),
            length: 7,
            bytes: b"de".to_vec(),
        };
        let path = torrent.url_path();
        assert_eq!(path, "/torrents/gro%C3%9Fe%20Daten.torrent");
        let catalog = Catalog::new(vec![torrent]);
        assert_eq!(catalog.file(&path), Some(&b"de"[..]));
        assert_eq!(catalog.list("/torrents/"), Some(format!("{path}\n")));
        assert_eq!(catalog.name(InfoHash([1; 20])), Some("große Daten"));
        for other in [
            "/torrents/",
            "/torrents/x",
            "/torrents/%",
            "/torrents/../torrents/x",
            "/stats",
            "",
        ] {
            assert_eq!(catalog.file(other), None, "{other}");
        }
        assert_eq!(Catalog::default().list("/torrents/"), None);
    }
}

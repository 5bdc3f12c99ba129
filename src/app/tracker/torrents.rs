//! A folder of .torrent files that the tracker hands out under `/torrents/`: what is in it is served, nothing else is.
//!
//! It is looked through every few seconds, as [`torrent_folder`] has it. Files stay on disk and are read when somebody wants them, so a
//! folder of ten thousand costs little memory; what is sent is what was looked at, or nothing.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use super::catalog::{self, Shelf};
use super::options::Voice;
use super::service::Service;
use super::torrents_page;
use crate::app::failure::{Exit, Failure};
use crate::app::output;
use crate::app::torrent_folder::{self, Seen, TorrentFolder};
use crate::base::id::InfoHash;
use crate::core::tracker::Sizes;
use crate::disk::folder::{self, Look};
use crate::net::http_server::{Page, PageRequest};
use crate::proto::metainfo::{Metainfo, path};

/// A torrent in the folder.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where it is found on this tracker, percent-encoded.
    pub(super) url: String,
    /// The name of the file, as people see it.
    pub(super) file: String,
    /// That of the payload.
    pub(super) name: String,
    pub(super) info_hash: InfoHash,
    /// Bytes of payload.
    pub(super) length: u64,
    /// Files of payload.
    pub(super) files: usize,
    look: Look,
}

/// The torrents of a folder at one moment.
#[derive(Debug)]
pub(super) struct Shelved {
    folder: PathBuf,
    by_name: BTreeMap<OsString, Arc<Entry>>,
    by_hash: HashMap<InfoHash, Arc<Entry>>,
}

impl Shelved {
    fn file(&self, url: &str) -> Option<Page> {
        let name = catalog::file_name(url)?;
        let (name, entry) = self
            .by_name
            .get_key_value(std::ffi::OsStr::from_bytes(&name))?;
        // The name is one that was found in the folder, so it leads nowhere else.
        let read = folder::read(&self.folder.join(name), entry.look);
        Some(read.ok().flatten().map_or_else(changing, catalog::torrent))
    }
}

impl Shelf for Shelved {
    fn page(&self, wanted: &PageRequest) -> Option<Page> {
        if catalog::is_list(&wanted.path) {
            return Some(torrents_page::list(
                self.by_name.values().map(AsRef::as_ref),
                wanted,
            ));
        }
        self.file(&wanted.path)
    }

    fn name(&self, info_hash: InfoHash) -> Option<&str> {
        self.by_hash
            .get(&info_hash)
            .map(|entry| entry.name.as_str())
    }
}

fn changing() -> Page {
    Page {
        status: 503,
        content_type: "text/plain; charset=utf-8",
        body: b"the torrent is just being replaced; try again in a few seconds\n".to_vec(),
    }
}

/// The folder as it is watched.
pub(super) struct Folder {
    torrents: TorrentFolder<Entry>,
    voice: Voice,
}

impl Folder {
    /// Looks through the folder at `path` for the first time, and lets `service` hand it out and serve nothing else.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn open(path: PathBuf, service: &Service, voice: Voice) -> Result<Self, Failure> {
        let mut folder = Self {
            torrents: TorrentFolder::new(path, entry),
            voice,
        };
        let seen = folder.torrents.look();
        let seen = seen.map_err(|cause| {
            Failure::new(
                Exit::Storage,
                "read the folder",
                folder.torrents.path().display(),
                cause,
            )
        })?;
        folder.tell(&seen);
        folder.shelve(service);
        Ok(folder)
    }

    /// Goes on looking, on a thread of its own, until the sender is dropped.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(super) fn watch(mut self, service: Arc<Service>) -> io::Result<mpsc::Sender<()>> {
        let (alive, gone) = mpsc::channel::<()>();
        let work = move || {
            let mut pause = torrent_folder::PAUSE;
            while matches!(gone.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
                let seen;
                (seen, pause) = self.torrents.look_again();
                self.tell(&seen);
                if seen.changed > 0 {
                    self.shelve(&service);
                }
            }
        };
        thread::Builder::new().name("torrents".into()).spawn(work)?;
        Ok(alive)
    }

    fn tell(&self, seen: &Seen) {
        for fault in &seen.faults {
            output::note(format_args!("error: {fault}"));
        }
        if seen.changed > 0 && self.voice == Voice::Verbose {
            output::note(format_args!(
                "{} torrents in `{}`",
                self.torrents.entries().count(),
                self.torrents.path().display()
            ));
        }
    }

    fn shelve(&self, service: &Service) {
        let (mut by_name, mut by_hash) = (BTreeMap::new(), HashMap::new());
        for (name, entry) in self.torrents.entries() {
            by_name.insert(name.clone(), Arc::clone(entry));
            by_hash
                .entry(entry.info_hash)
                .or_insert_with(|| Arc::clone(entry));
        }
        let hashes = by_hash.keys().copied().collect();
        let sizes = Sizes::new(by_hash.values().map(|e| (e.info_hash, e.length)));
        let shelf = Shelved {
            folder: self.torrents.path().to_owned(),
            by_name,
            by_hash,
        };
        service.set_shelf(Arc::new(shelf), sizes);
        service.also_serve(hashes);
    }
}

fn entry(name: &OsString, torrent: &Arc<Metainfo>, look: Look) -> Entry {
    Entry {
        url: catalog::url_path(name.as_bytes()),
        file: path::shown(name.as_bytes()),
        name: torrent.shown_name(),
        info_hash: torrent.info_hash,
        length: torrent.geometry.total(),
        files: torrent.files.iter().filter(|file| !file.pad).count(),
        look,
    }
}

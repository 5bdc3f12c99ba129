//! A folder of .torrent files that the tracker hands out under `/torrents/`: what is in it is served, nothing else is.
//!
//! It is looked through every few seconds. A file that is no torrent may be one that is just being written, so it is named only when it looks the same at
//! the next look; until then what it was before still counts. Files stay on disk and are read when somebody wants them, so a folder of ten thousand costs
//! little memory; what is sent is what was looked at, or nothing.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::catalog::{self, Shelf};
use super::options::Voice;
use super::service::Service;
use super::torrents_page;
use crate::app::failure::{Exit, Failure};
use crate::app::output;
use crate::base::id::InfoHash;
use crate::core::tracker::Sizes;
use crate::disk::folder::{self, Look};
use crate::net::http_server::{Page, PageRequest};
use crate::proto::metainfo::{Metainfo, path};

/// How often the folder is looked through at most.
const PAUSE: Duration = Duration::from_secs(2);

/// Looking takes at most this part of the time.
const PART: u32 = 20;

/// Bytes of a file that is handed out at most.
const MOST: u64 = 60 << 20;

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

/// A file that was looked at.
#[derive(Debug)]
struct Known {
    /// `None` if somebody wrote to it while it was read.
    look: Option<Look>,
    /// What it is, or was until it became something that is no torrent.
    entry: Option<Arc<Entry>>,
    /// Why it is none. Told at the next look, if it is the same then.
    fault: Option<String>,
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
    path: PathBuf,
    known: BTreeMap<OsString, Known>,
    /// Why it could not be looked through the last time.
    broken: Option<String>,
    voice: Voice,
}

/// What a look has shown.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Files that are new, have changed or are gone.
    changed: usize,
    /// Files that are no torrents, with the reasons, each once.
    bad: Vec<(OsString, String)>,
}

impl Folder {
    /// Looks through the folder at `path` for the first time, and lets `service` hand it out and serve nothing else.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn open(path: PathBuf, service: &Service, voice: Voice) -> Result<Self, Failure> {
        let mut folder = Self {
            path,
            known: BTreeMap::new(),
            broken: None,
            voice,
        };
        let seen = folder.look();
        let seen = seen.map_err(|cause| {
            Failure::new(
                Exit::Storage,
                "read the folder",
                folder.path.display(),
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
            let mut pause = PAUSE;
            while matches!(gone.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
                let begun = Instant::now();
                self.look_again(&service);
                pause = PAUSE.max(begun.elapsed() * PART);
            }
        };
        thread::Builder::new().name("torrents".into()).spawn(work)?;
        Ok(alive)
    }

    fn look_again(&mut self, service: &Service) {
        match self.look() {
            Ok(seen) => {
                self.broken = None;
                self.tell(&seen);
                if seen.changed > 0 {
                    self.shelve(service);
                }
            }
            Err(cause) => {
                let cause = cause.to_string();
                if self.broken.as_ref() != Some(&cause) {
                    let path = self.path.display();
                    output::note(format_args!(
                        "error: cannot read the folder `{path}`: {cause}; the torrents stay as they are"
                    ));
                    self.broken = Some(cause);
                }
            }
        }
    }

    fn tell(&self, seen: &Seen) {
        for (name, cause) in &seen.bad {
            let name = path::shown(name.as_bytes());
            output::note(format_args!(
                "error: cannot use the torrent `{name}`: {cause}"
            ));
        }
        if seen.changed > 0 && self.voice == Voice::Verbose {
            output::note(format_args!(
                "{} torrents in `{}`",
                self.known.values().filter(|k| k.entry.is_some()).count(),
                self.path.display()
            ));
        }
    }

    /// Looks through the folder, and reads what is new or has changed.
    fn look(&mut self) -> io::Result<Seen> {
        let mut before = std::mem::take(&mut self.known);
        let listed = folder::list(&self.path, is_wanted).inspect_err(|_| {
            self.known = std::mem::take(&mut before);
        })?;
        let mut seen = Seen::default();
        for (name, look) in listed {
            let known = before.remove(&name);
            if let Some(known) = self.examine(&name, look, known, &mut seen) {
                self.known.insert(name, known);
            }
        }
        seen.changed += before.values().filter(|gone| gone.entry.is_some()).count();
        Ok(seen)
    }

    /// What the file is now; `None` if it changes while it is read, and nothing is known of it.
    fn examine(
        &self,
        name: &OsString,
        look: Look,
        known: Option<Known>,
        seen: &mut Seen,
    ) -> Option<Known> {
        match known {
            Some(known) if known.look == Some(look) => Some(settle(name, known, seen)),
            known => {
                let before = known.and_then(|known| known.entry);
                let (entry, fault) = match read(&self.path, name, look) {
                    Ok(None) => return before.map(unsettled),
                    Ok(Some(entry)) => {
                        seen.changed += 1;
                        (Some(Arc::new(entry)), None)
                    }
                    Err(cause) => (before, Some(cause)),
                };
                Some(Known {
                    look: Some(look),
                    entry,
                    fault,
                })
            }
        }
    }

    fn shelve(&self, service: &Service) {
        let (mut by_name, mut by_hash) = (BTreeMap::new(), HashMap::new());
        for (name, known) in &self.known {
            if let Some(entry) = &known.entry {
                by_name.insert(name.clone(), Arc::clone(entry));
                by_hash
                    .entry(entry.info_hash)
                    .or_insert_with(|| Arc::clone(entry));
            }
        }
        let hashes = by_hash.keys().copied().collect();
        let sizes = Sizes::new(by_hash.values().map(|e| (e.info_hash, e.length)));
        let shelf = Shelved {
            folder: self.path.clone(),
            by_name,
            by_hash,
        };
        service.set_shelf(Arc::new(shelf), sizes);
        service.also_serve(hashes);
    }
}

/// A file that is as it was at the look before: what was wrong with it then is told now, and it is what it is.
fn settle(name: &OsString, mut known: Known, seen: &mut Seen) -> Known {
    if let Some(cause) = known.fault.take() {
        seen.bad.push((name.clone(), cause));
        seen.changed += usize::from(known.entry.take().is_some());
    }
    known
}

/// A file that somebody writes to: to be read at the next look.
fn unsettled(entry: Arc<Entry>) -> Known {
    Known {
        look: None,
        entry: Some(entry),
        fault: None,
    }
}

/// Files that are torrents by their names; those that begin with a dot are not meant for others.
fn is_wanted(name: &[u8]) -> bool {
    name.ends_with(b".torrent") && !name.starts_with(b".")
}

/// `None` if the file changes while it is read.
fn read(folder: &Path, name: &OsString, look: Look) -> Result<Option<Entry>, String> {
    if look.len > MOST {
        return Err(format!("it has more than {} MiB", MOST >> 20));
    }
    let read = folder::read(&folder.join(name), look).map_err(|error| error.to_string())?;
    let Some(bytes) = read else {
        return Ok(None);
    };
    let torrent = Metainfo::from_bytes(&bytes).map_err(|error| error.to_string())?;
    Ok(Some(Entry {
        url: catalog::url_path(name.as_bytes()),
        file: path::shown(name.as_bytes()),
        name: torrent.shown_name(),
        info_hash: torrent.info_hash,
        length: torrent.geometry.total(),
        files: torrent.files.iter().filter(|file| !file.pad).count(),
        look,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A torrent of one piece whose payload has this name.
    fn torrent(name: &str) -> Vec<u8> {
        let info = format!(
            "d6:lengthi5e4:name{}:{name}12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae",
            name.len()
        );
        format!("d4:info{info}e").into_bytes()
    }

    fn folder(label: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("hivebt-shelf-{label}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder {
            path,
            known: BTreeMap::new(),
            broken: None,
            voice: Voice::Quiet,
        }
    }

    fn names(folder: &Folder) -> Vec<String> {
        let entries = folder
            .known
            .values()
            .filter_map(|known| known.entry.as_ref());
        entries.map(|entry| entry.name.clone()).collect()
    }

    #[test]
    fn files_come_change_and_go() {
        let mut shelf = folder("life");
        let path = |name: &str| shelf.path.join(name);
        let (a, b) = (path("a.torrent"), path("b.torrent"));
        fs::write(&a, torrent("one")).unwrap();
        fs::write(path(".hidden.torrent"), torrent("x")).unwrap();
        fs::write(path("notes.txt"), "x").unwrap();
        fs::create_dir(path("folder.torrent")).unwrap();
        assert_eq!(shelf.look().unwrap().changed, 1);
        assert_eq!(names(&shelf), ["one"]);
        assert_eq!(shelf.look().unwrap(), Seen::default());
        fs::write(&b, torrent("two")).unwrap();
        fs::write(&a, torrent("other")).unwrap();
        assert_eq!(shelf.look().unwrap().changed, 2);
        assert_eq!(names(&shelf), ["other", "two"]);
        fs::remove_file(&a).unwrap();
        assert_eq!(shelf.look().unwrap().changed, 1);
        assert_eq!(names(&shelf), ["two"]);
        fs::remove_dir_all(&shelf.path).unwrap();
        assert!(shelf.look().is_err());
        assert_eq!(names(&shelf), ["two"], "what was known stays");
    }

    #[test]
    fn a_file_that_is_being_written_is_no_torrent_yet_and_a_bad_one_is_named_once() {
        let mut shelf = folder("half");
        let path = shelf.path.join("a.torrent");
        let whole = torrent("one");
        for end in [0, 10, whole.len() - 1] {
            fs::write(&path, &whole[..end]).unwrap();
            assert_eq!(shelf.look().unwrap(), Seen::default(), "{end}");
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(shelf.look().unwrap().changed, 1);
        fs::write(&path, "now it is nothing").unwrap();
        assert_eq!(shelf.look().unwrap(), Seen::default());
        assert_eq!(names(&shelf), ["one"], "it may be in the making");
        let seen = shelf.look().unwrap();
        assert_eq!((seen.changed, seen.bad.len()), (1, 1));
        assert!(seen.bad[0].1.contains("bencoding"), "{seen:?}");
        assert!(names(&shelf).is_empty());
        assert_eq!(shelf.look().unwrap(), Seen::default(), "told once");
        fs::remove_dir_all(&shelf.path).unwrap();
    }
}

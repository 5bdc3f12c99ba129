//! A folder of .torrent files, and of magnet links where those are wanted, that somebody fills and empties while we look on.
//!
//! A file that is no torrent may be one that is just being written, so it is named only when it looks the same at the next look; until then what it was before
//! still counts. What has not changed is not read again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::disk::folder::{self, Look};
use crate::proto::magnet::Magnet;
use crate::proto::metainfo::{Metainfo, path};

/// How often a folder is looked through at most.
pub const PAUSE: Duration = Duration::from_secs(2);

/// Looking takes at most this part of the time.
const PART: u32 = 20;

/// Bytes of a torrent's file at most.
pub const MOST: u64 = 60 << 20;

/// Bytes of a magnet link's file at most.
const MOST_LINK: u64 = 128 << 10;

/// How the name of a magnet link's file ends.
const LINK: &[u8] = b".magnet";

/// Makes what is kept of a torrent: from its file's name, what it says, and how the file looks.
pub type Make<T> = fn(&OsString, &Arc<Metainfo>, Look) -> T;

/// Makes what is kept of a magnet link.
pub type MakeLink<T> = fn(Magnet) -> T;

/// The folder as it is watched.
#[derive(Debug)]
pub struct TorrentFolder<T> {
    path: PathBuf,
    make: Make<T>,
    /// Files with a magnet link are looked at, too.
    make_link: Option<MakeLink<T>>,
    known: BTreeMap<OsString, Known<T>>,
    /// Why it could not be looked through the last time.
    broken: Option<String>,
}

/// A file that was looked at.
#[derive(Debug)]
struct Known<T> {
    /// `None` if somebody wrote to it while it was read.
    look: Option<Look>,
    /// What it is, or was until it became something that is no torrent.
    entry: Option<Arc<T>>,
    /// Why it is none. Told at the next look, if it is the same then.
    fault: Option<String>,
}

/// What a look has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Files that are new, have changed or are gone.
    pub changed: usize,
    /// What the operator is to be told, each once: of files that are no torrents, and why; of a folder that cannot be read any more.
    pub faults: Vec<String>,
}

impl<T> TorrentFolder<T> {
    /// Not looked through yet.
    pub const fn new(path: PathBuf, make: Make<T>) -> Self {
        Self {
            path,
            make,
            make_link: None,
            known: BTreeMap::new(),
            broken: None,
        }
    }

    /// The same for .magnet files, too: a magnet link in each.
    #[must_use]
    pub fn with_links(mut self, make: MakeLink<T>) -> Self {
        self.make_link = Some(make);
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The torrents, by the names of their files.
    pub fn entries(&self) -> impl Iterator<Item = (&OsString, &Arc<T>)> {
        let known = self.known.iter();
        known.filter_map(|(name, known)| Some((name, known.entry.as_ref()?)))
    }

    /// Looks through the folder, and reads what is new or has changed. Tells how long to wait before the next look, too.
    pub fn look_again(&mut self) -> (Seen, Duration) {
        let begun = Instant::now();
        let seen = match self.look() {
            Ok(seen) => {
                self.broken = None;
                seen
            }
            Err(cause) => self.broke(cause.to_string()),
        };
        (seen, PAUSE.max(begun.elapsed() * PART))
    }

    fn broke(&mut self, cause: String) -> Seen {
        let path = self.path.display();
        let fault =
            format!("cannot read the folder `{path}`: {cause}; the torrents stay as they are");
        let told = self.broken.replace(cause.clone()) == Some(cause);
        Seen {
            changed: 0,
            faults: if told { Vec::new() } else { vec![fault] },
        }
    }

    /// The same, for those who cannot do without.
    ///
    /// # Errors
    /// If it cannot be read; what was known stays.
    pub fn look(&mut self) -> io::Result<Seen> {
        let mut before = std::mem::take(&mut self.known);
        let listed = folder::list(&self.path, |name| self.is_wanted(name)).inspect_err(|_| {
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
        known: Option<Known<T>>,
        seen: &mut Seen,
    ) -> Option<Known<T>> {
        match known {
            Some(known) if known.look == Some(look) => Some(settle(name, known, seen)),
            known => {
                let before = known.and_then(|known| known.entry);
                let (entry, fault) = match self.read(name, look) {
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
}

impl<T> TorrentFolder<T> {
    /// Files that count by their names; those that begin with a dot are not meant for others.
    fn is_wanted(&self, name: &[u8]) -> bool {
        let torrent = name.ends_with(b".torrent");
        let link = self.make_link.is_some() && name.ends_with(LINK);
        (torrent || link) && !name.starts_with(b".")
    }

    /// `None` if the file changes while it is read.
    fn read(&self, name: &OsString, look: Look) -> Result<Option<T>, String> {
        let make_link = self
            .make_link
            .filter(|_| name.as_encoded_bytes().ends_with(LINK));
        let most = if make_link.is_some() { MOST_LINK } else { MOST };
        if look.len > most {
            return Err(format!("it has more than {} KiB", most >> 10));
        }
        let read = folder::read(&self.path.join(name), look).map_err(|error| error.to_string())?;
        let Some(bytes) = read else {
            return Ok(None);
        };
        if let Some(make) = make_link {
            let text = String::from_utf8(bytes).map_err(|_| "it is no text")?;
            let link = Magnet::parse(&text).map_err(|error| error.to_string())?;
            return Ok(Some(make(link)));
        }
        let torrent = Metainfo::from_bytes(&bytes).map_err(|error| error.to_string())?;
        Ok(Some((self.make)(name, &Arc::new(torrent), look)))
    }
}

/// A file that is as it was at the look before: what was wrong with it then is told now, and it is what it is.
fn settle<T>(name: &OsString, mut known: Known<T>, seen: &mut Seen) -> Known<T> {
    if let Some(cause) = known.fault.take() {
        let name = path::shown(name.as_encoded_bytes());
        seen.faults
            .push(format!("cannot use the torrent `{name}`: {cause}"));
        seen.changed += usize::from(known.entry.take().is_some());
    }
    known
}

/// A file that somebody writes to: to be read at the next look.
const fn unsettled<T>(entry: Arc<T>) -> Known<T> {
    Known {
        look: None,
        entry: Some(entry),
        fault: None,
    }
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

    fn folder(label: &str) -> TorrentFolder<String> {
        let path =
            std::env::temp_dir().join(format!("hivebt-shelf-{label}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        TorrentFolder::new(path, |_, torrent, _| torrent.shown_name())
    }

    fn names(folder: &TorrentFolder<String>) -> Vec<String> {
        let entries = folder.entries();
        entries.map(|(_, name)| name.to_string()).collect()
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
        assert_eq!(shelf.look_again().0.faults.len(), 1);
        assert_eq!(shelf.look_again().0, Seen::default(), "told once");
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
        assert_eq!((seen.changed, seen.faults.len()), (1, 1));
        assert!(seen.faults[0].contains("bencoding"), "{seen:?}");
        assert!(names(&shelf).is_empty());
        assert_eq!(shelf.look().unwrap(), Seen::default(), "told once");
        fs::remove_dir_all(&shelf.path).unwrap();
    }
}

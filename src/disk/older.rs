//! Which files of older versions may hold what a payload lacks.
//!
//! A file of ours is looked for under its path in an older version's folder or in a folder below that, with whatever length, for a file that has
//! grown begins as it did; then, with its length, under its own name in a folder of its folder's name, under its own name, and under any. Of several such the newest come
//! first. Symbolic links are not followed, but for the place that the operator names.

use std::collections::HashMap;
use std::fs::{self, DirEntry, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{Act, StorageError};
use super::hash::Watch;
use super::layout::{Layout, STATE_FOLDER};
use super::storage::Storage;
use super::sys::{self, Access, Kind};
use super::tree::Tree;

/// Files that are kept of each way to find one of ours. What is remembered of an older version is bounded by this and the number of our files.
const EACH: usize = 2;

/// Files of one older version that are tried for one of ours at most.
const MOST: usize = 4;

/// Components at the end of a path that tell a file which was moved together with its folder.
const TAIL: usize = 2;

/// A file that may hold bytes of one of ours, at the same offsets.
#[derive(Clone, Debug)]
pub(super) struct Lead {
    /// Which older version, counted from 0.
    pub(super) older: usize,
    /// Where in it.
    pub(super) path: PathBuf,
    /// Bytes.
    pub(super) len: u64,
    /// How well its place fits, and when it was last written, in seconds since 1970: the greatest first.
    rank: (bool, i64),
}

/// For each file of a payload, files of older versions that may hold what it holds, the likeliest first.
#[derive(Debug, Default)]
pub struct Leads {
    trees: Vec<Tree>,
    of: Vec<Vec<Lead>>,
    /// What could not be looked at, the first of each older version.
    pub faults: Vec<StorageError>,
}

/// A way to find a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// By its path.
    Path(PathBuf),
    /// By its length and the end of its path.
    Tail(u64, PathBuf),
}

type Found = HashMap<Key, Vec<Lead>>;

impl Leads {
    /// Looks through `places`, each a folder or a single file, for the files for which `wanted` holds. Ends early when `watch` is cancelled.
    ///
    /// # Errors
    /// If one of them is not there, or neither folder nor file. What cannot be read below one is passed over, see [`Leads::faults`].
    pub fn find(
        storage: &Storage,
        wanted: impl Fn(usize) -> bool,
        places: &[PathBuf],
        watch: &Watch,
    ) -> Result<Self, StorageError> {
        let layout = storage.layout();
        let ours = |n: &usize| !layout.files[*n].pad && layout.files[*n].len > 0 && wanted(*n);
        let ours: Vec<_> = (0..layout.files.len()).filter(ours).collect();
        let mut leads = Self {
            of: vec![Vec::new(); layout.files.len()],
            ..Self::default()
        };
        let own = storage.path().canonicalize().ok();
        for (older, place) in places.iter().enumerate() {
            let real = place
                .canonicalize()
                .map_err(StorageError::new(Act::Open, place))?;
            let mut walk = Walk {
                older,
                own: own.as_deref(),
                layout,
                found: ours.iter().flat_map(|&n| keys(layout, n)).collect(),
                fault: None,
            };
            let (root, files) = walk.look(&real, place, watch)?;
            leads
                .trees
                .push(Tree::open(&root).map_err(|error| StorageError {
                    path: place.clone(),
                    ..error
                })?);
            for &n in &ours {
                let list = &mut leads.of[n];
                let before = list.len();
                for lead in walk.leads(n, &files) {
                    let known = list[before..].iter().any(|other| other.path == lead.path);
                    if !known && list.len() - before < MOST {
                        list.push(lead.clone());
                    }
                }
            }
            leads.faults.extend(walk.fault);
        }
        Ok(leads)
    }

    /// How often every file can be tried with another lead.
    pub(super) fn rounds(&self) -> usize {
        self.of.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The leads of one of our files.
    pub(super) fn of(&self, file: usize) -> &[Lead] {
        self.of.get(file).map_or(&[], Vec::as_slice)
    }

    /// Opens a lead, if it still is a file.
    pub(super) fn open(&self, lead: &Lead) -> Option<File> {
        let file = self.trees.get(lead.older)?;
        let file = file.file(&lead.path, Access::Read).ok()?;
        (sys::meta(&file).ok()?.kind == Kind::File).then_some(file)
    }
}

/// The path below the payload's folder under which an older version would have a file.
fn usual(layout: &Layout, file: usize) -> &Path {
    if layout.single {
        Path::new(&layout.name)
    } else {
        &layout.files[file].path
    }
}

/// The ways to find one of our files, the surest first; nothing is found yet.
fn keys(layout: &Layout, file: usize) -> impl Iterator<Item = (Key, Vec<Lead>)> {
    let (path, len) = (usual(layout, file), layout.files[file].len);
    let tails = (0..=TAIL).rev().map(move |n| Key::Tail(len, tail(path, n)));
    let keys = std::iter::once(Key::Path(path.to_owned())).chain(tails);
    keys.map(|key| (key, Vec::new()))
}

/// The last components of a path.
fn tail(path: &Path, components: usize) -> PathBuf {
    let all = path.components().count();
    path.components()
        .skip(all.saturating_sub(components))
        .collect()
}

struct Walk<'a> {
    older: usize,
    /// The payload itself, which is no older version.
    own: Option<&'a Path>,
    layout: &'a Layout,
    found: Found,
    fault: Option<StorageError>,
}

impl Walk<'_> {
    /// Looks through the place `real`, which the operator calls `named`. Returns the folder that paths begin at, and the file that it is, if it is one.
    fn look(
        &mut self,
        real: &Path,
        named: &Path,
        watch: &Watch,
    ) -> Result<(PathBuf, Option<Lead>), StorageError> {
        let meta = fs::metadata(real).map_err(StorageError::new(Act::Open, named))?;
        if meta.is_dir() {
            fs::read_dir(real).map_err(StorageError::new(Act::Read, named))?;
            self.walk(real, watch);
            return Ok((real.to_owned(), None));
        }
        let (Some(folder), Some(name), true) = (real.parent(), real.file_name(), meta.is_file())
        else {
            let neither = io::Error::other("it is neither a folder nor a file");
            return Err(StorageError::new(Act::Open, named)(neither));
        };
        let lead = Lead {
            older: self.older,
            path: name.into(),
            len: meta.len(),
            rank: (true, meta.mtime()),
        };
        Ok((folder.to_owned(), Some(lead)))
    }

    /// A list and not recursion, so that no depth is too deep.
    fn walk(&mut self, root: &Path, watch: &Watch) {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop()
            && !watch.is_cancelled()
        {
            let path = root.join(&folder);
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) => {
                    self.fault
                        .get_or_insert_with(|| StorageError::new(Act::Read, path)(error));
                    continue;
                }
            };
            // What vanishes on the way is not there.
            for entry in entries.flatten() {
                let name = entry.file_name();
                let Ok(kind) = entry.file_type() else {
                    continue;
                };
                if self.own.is_some_and(|own| own == path.join(&name)) {
                    continue;
                }
                if kind.is_dir() && name != STATE_FOLDER {
                    folders.push(folder.join(&name));
                } else if kind.is_file() {
                    self.take(&folder.join(&name), &entry);
                }
            }
        }
    }

    fn take(&mut self, path: &Path, entry: &DirEntry) {
        let Ok(meta) = entry.metadata() else { return };
        let below: PathBuf = path.components().skip(1).collect();
        let top = path.components().next();
        let fits = below.as_os_str().is_empty()
            || top.is_some_and(|top| top.as_os_str() == self.layout.name);
        let len = meta.len();
        let ends = (0..=TAIL).map(|n| (Key::Tail(len, tail(path, n)), false));
        let paths = [(Key::Path(path.to_owned()), true), (Key::Path(below), fits)];
        for (key, fits) in paths.into_iter().chain(ends) {
            let Some(list) = self.found.get_mut(&key) else {
                continue;
            };
            list.push(Lead {
                older: self.older,
                path: path.to_owned(),
                len,
                rank: (fits, meta.mtime()),
            });
            list.sort_by_key(|lead| std::cmp::Reverse(lead.rank));
            list.truncate(EACH);
        }
    }

    /// What was found for one of our files; `single` if the place is a file itself.
    fn leads<'s>(
        &'s self,
        file: usize,
        single: &'s Option<Lead>,
    ) -> impl Iterator<Item = &'s Lead> {
        let (len, name) = (
            self.layout.files[file].len,
            usual(self.layout, file).file_name(),
        );
        let fits = move |lead: &&Lead| {
            self.layout.single || lead.len == len || lead.path.file_name() == name
        };
        let found = keys(self.layout, file).filter_map(|(key, _)| self.found.get(&key));
        single.iter().filter(fits).chain(found.flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::LayoutFile;
    use super::*;

    fn layout(files: &[(&str, u64)]) -> Layout {
        let file = |(path, len): &(&str, u64)| LayoutFile {
            path: path.into(),
            len: *len,
            pad: path.starts_with(".pad"),
        };
        Layout {
            name: "task".into(),
            single: files.is_empty(),
            files: files.iter().map(file).collect(),
        }
    }

    /// A folder of these files, and what is found in it for each file of `layout`.
    fn found(name: &str, layout: Layout, older: &[(&str, u64)]) -> Vec<Vec<String>> {
        let at = std::env::temp_dir().join(format!("hivebt-older-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&at);
        fs::create_dir_all(at.join("to")).unwrap();
        fs::create_dir_all(at.join("old")).unwrap();
        for (age, (path, len)) in older.iter().enumerate() {
            let path = at.join("old").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = File::create(path).unwrap();
            file.set_len(*len).unwrap();
            let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000 - age as u64);
            file.set_modified(written).unwrap();
        }
        let files = layout.files.len();
        let (storage, _) = Storage::open_download(&at.join("to"), layout).unwrap();
        let places = [at.join("old")];
        let leads = Leads::find(&storage, |_| true, &places, &Watch::default()).unwrap();
        let named = (0..files).map(|n| {
            let list = leads.of(n).iter();
            list.map(|lead| lead.path.display().to_string()).collect()
        });
        let named = named.collect();
        fs::remove_dir_all(&at).unwrap();
        named
    }

    #[test]
    fn the_same_path_counts_first_then_name_and_length_then_length() {
        let wanted = layout(&[("a/b.bin", 10), ("c.bin", 20), (".pad/7", 7), ("d", 30)]);
        let older = [
            ("x/y", 10),
            ("x/b.bin", 10),
            ("x/a/b.bin", 10),
            ("a/b.bin", 999),
            ("task/a/b.bin", 5),
            ("z/c.bin", 21),
            (".hivebt/d", 30),
            ("p/7", 7),
        ];
        let found = found("order", wanted, &older);
        assert_eq!(
            found[0],
            ["a/b.bin", "task/a/b.bin", "x/a/b.bin", "x/b.bin"]
        );
        assert_eq!(found[1], ["z/c.bin"], "under its path, one folder down");
        assert!(found[2].is_empty() && found[3].is_empty(), "{found:?}");
    }

    #[test]
    fn of_many_versions_the_newest_are_tried_and_their_number_is_bounded() {
        let older: Vec<_> = (0..9).map(|n| format!("v{n}/data")).collect();
        let older: Vec<_> = older.iter().map(|path| (path.as_str(), 10)).collect();
        let found = found("many", layout(&[("data", 10)]), &older);
        assert_eq!(found[0], ["v0/data", "v1/data"]);
    }
}

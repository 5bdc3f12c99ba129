//! Where a payload lies: found, published when it is whole, taken back for repair.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::PoisonError;

use crate::proto::resume::Stamp;

use super::error::{Act, OpenError, StorageError};
use super::layout::Layout;
use super::storage::{Place, Storage};
use super::sys::{self, Kind};
use super::tree::Tree;

/// What [`Storage::open_download`] came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing; a download begins.
    Nothing,
    /// An unfinished payload, `name.part`; the download goes on.
    Part,
    /// A payload under its own name. It is only read; should it turn out incomplete, [`Storage::demote`] opens it for repair.
    Existing,
}

impl Storage {
    /// Opens a payload in `folder`, which is made if need be, for download. Makes and changes nothing in the folder yet.
    ///
    /// # Errors
    /// If both a finished and an unfinished payload are there, a file is longer than the torrent says, something of another kind lies
    /// in the way, or the system refuses.
    pub fn open_download(folder: &Path, layout: Layout) -> Result<(Self, Found), OpenError> {
        refuse_unsafe(&layout)?;
        if !folder.as_os_str().is_empty() {
            std::fs::create_dir_all(folder).map_err(StorageError::new(Act::Create, folder))?;
        }
        let tree = Tree::open(folder)?;
        let part = layout.part_name();
        let unfinished = tree.meta(Path::new(&part))?.is_some();
        let finished = tree.meta(Path::new(&layout.name))?.is_some();
        let found = match (finished, unfinished) {
            (false, false) => Found::Nothing,
            (false, true) => Found::Part,
            (true, false) => Found::Existing,
            (true, true) => {
                return Err(OpenError::Both {
                    finished: folder.join(&layout.name),
                    part: folder.join(part),
                });
            }
        };
        let writable = found != Found::Existing;
        let top = if writable { part } else { layout.name.clone() };
        Ok((
            Self::examine(tree, layout, &Place { top, writable })?,
            found,
        ))
    }

    /// Opens a payload for seeding, to be read only. `data` is the payload itself (then its name does not matter) or the folder that it
    /// lies in, and may be a symbolic link.
    ///
    /// # Errors
    /// If nothing of it is there, a file is longer than the torrent says, something of another kind lies in the way, or the system refuses.
    /// Files that are missing or too short are no error here; [`Storage::stamps`] shows them.
    pub fn open_seed(data: &Path, layout: Layout) -> Result<Self, OpenError> {
        refuse_unsafe(&layout)?;
        let inside = data.join(&layout.name);
        let candidates = [inside.as_path(), data];
        let there = candidates.into_iter().find(|path| holds(path, &layout));
        let path = there.ok_or_else(|| OpenError::NotThere(data.to_owned()))?;
        let real = path
            .canonicalize()
            .map_err(StorageError::new(Act::Open, path))?;
        let (Some(folder), Some(top)) = (real.parent(), real.file_name()) else {
            return Err(OpenError::BadName(real));
        };
        let place = Place {
            top: top.to_owned(),
            writable: false,
        };
        let mut storage = Self::examine(Tree::open(folder)?, layout, &place)?;
        storage.seed_only = true;
        Ok(storage)
    }

    /// Looks at every file before any is opened.
    fn examine(tree: Tree, layout: Layout, place: &Place) -> Result<Self, OpenError> {
        let unknown = vec![None; layout.files.len()];
        let bad = || OpenError::BadName(Path::new(&place.top).to_owned());
        let mut storage = Self::new(tree, layout, place.clone(), unknown).ok_or_else(bad)?;
        let top = storage.tree.meta(Path::new(&place.top))?.map(|m| m.kind);
        let wanted = if storage.layout.single {
            Kind::File
        } else {
            Kind::Folder
        };
        expect_kind(&storage.path(), top, wanted)?;
        let stamps: Result<Vec<_>, _> = (0..storage.layout.files.len())
            .map(|file| storage.examine_file(place, file, top.is_some()))
            .collect();
        storage.set_stamps(stamps?);
        Ok(storage)
    }

    fn examine_file(
        &self,
        place: &Place,
        file: usize,
        any: bool,
    ) -> Result<Option<Stamp>, OpenError> {
        let expected = self.layout.files[file].len;
        if self.layout.files[file].pad {
            let always = Stamp {
                len: expected,
                mtime: 0,
            };
            return Ok(Some(always));
        }
        if !any {
            return Ok(None);
        }
        let Some(meta) = self.tree.meta(&self.relative(place, file))? else {
            return Ok(None);
        };
        expect_kind(&self.file_path(file), Some(meta.kind), Kind::File)?;
        if meta.len > expected {
            return Err(OpenError::TooLong {
                path: self.file_path(file),
                len: meta.len,
                expected,
            });
        }
        Ok(Some(Stamp {
            len: meta.len,
            mtime: meta.mtime,
        }))
    }

    /// Gives a payload its own name: makes the empty files, syncs everything, renames, syncs the folder. A reader sees all of it or
    /// nothing. From now on it is only read. To be called when every piece is verified and written; does nothing if it is published.
    ///
    /// # Errors
    /// If the system refuses, or something appeared under the payload's name meanwhile; then it stays what it was.
    pub fn publish(&self) -> Result<(), StorageError> {
        if self.is_published() {
            return Ok(());
        }
        self.make_empty_files(|_| true)?;
        self.sync()?;
        self.go_public()
    }

    pub(super) fn go_public(&self) -> Result<(), StorageError> {
        self.rename(&self.layout.part_name(), &self.layout.name, false)
    }

    /// Takes a payload that turned out incomplete back to its `.part` name, so that it can be written to and published again.
    ///
    /// # Errors
    /// If the system refuses, something appeared under that name meanwhile, or it was opened for seeding; then it stays what it was.
    pub fn demote(&self) -> Result<(), StorageError> {
        if !self.is_published() {
            return Ok(());
        }
        self.rename(&self.layout.name, &self.layout.part_name(), true)
    }

    pub(super) fn make_empty_files(
        &self,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<(), StorageError> {
        if !self.layout.single {
            let top = self.place().top.clone();
            self.tree.folder(Path::new(&top), true)?;
        }
        for (n, file) in self.layout.files.iter().enumerate() {
            if file.len == 0 && !file.pad && wanted(n) {
                self.handle(n, true)?;
                self.mark_new(n);
            }
        }
        Ok(())
    }

    fn rename(&self, from: &OsStr, to: &OsStr, writable: bool) -> Result<(), StorageError> {
        let mut place = self.place.write().unwrap_or_else(PoisonError::into_inner);
        if place.top == to {
            return Ok(());
        }
        if self.seed_only {
            let refused = io::Error::new(io::ErrorKind::PermissionDenied, "it is only seeded");
            return Err(self.tree.fail(Act::Rename, Path::new(&place.top))(refused));
        }
        sys::rename_at(self.tree.root(), from, to)
            .map_err(self.tree.fail(Act::Rename, Path::new(from)))?;
        *place = Place {
            top: to.to_owned(),
            writable,
        };
        // Handles allow what the old place allowed, and folders may be remembered by their old name.
        self.handles.clear();
        self.tree.forget();
        drop(place);
        sys::sync_folder(self.tree.root()).map_err(self.tree.fail(Act::Sync, Path::new("")))
    }
}

fn refuse_unsafe(layout: &Layout) -> Result<(), OpenError> {
    match layout.unsafe_path() {
        Some(path) => Err(OpenError::BadName(path.to_owned())),
        None => Ok(()),
    }
}

fn expect_kind(path: &Path, found: Option<Kind>, wanted: Kind) -> Result<(), OpenError> {
    match found {
        Some(found) if found != wanted => Err(OpenError::WrongKind {
            path: path.to_owned(),
            found,
            wanted,
        }),
        _ => Ok(()),
    }
}

/// Whether something of the payload lies at `path`: for a folder, any of its files.
fn holds(path: &Path, layout: &Layout) -> bool {
    if layout.single {
        return path.is_file();
    }
    let mut files = layout.files.iter().filter(|f| !f.pad).peekable();
    path.is_dir() && (files.peek().is_none() || files.any(|f| path.join(&f.path).exists()))
}

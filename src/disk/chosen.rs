//! A payload of which not every file is wanted: what becomes of the others when it is published.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::error::{Act, StorageError};
use super::storage::Storage;
use super::{held, sys};

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is published; if it is empty, it is made.
    Wanted,
    /// If it is there, it is published as it is.
    Kept,
    /// It holds nothing but ends of pieces that wanted files needed, and is removed.
    Removed,
}

impl Storage {
    /// As [`Storage::publish`] for a payload of which only the wanted files are complete. To be called when every piece that they need is
    /// verified and written.
    ///
    /// # Errors
    /// As [`Storage::publish`]. What was removed by then is gone.
    pub fn publish_chosen(&self, fates: &[Fate]) -> Result<(), StorageError> {
        if self.is_published() {
            return Ok(());
        }
        self.make_empty_files(|file| fates.get(file) == Some(&Fate::Wanted))?;
        let fates = self.layout.files.iter().zip(fates).enumerate();
        let removed = fates.filter(|(_, (file, fate))| !file.pad && **fate == Fate::Removed);
        self.remove(&removed.map(|(file, _)| file).collect::<Vec<_>>())?;
        self.sync()?;
        self.go_public()
    }

    fn remove(&self, files: &[usize]) -> Result<(), StorageError> {
        self.handles.clear();
        let place = self.place();
        let mut folders = BTreeSet::new();
        for &file in files {
            let rel = self.relative(&place, file);
            self.tree.remove_file(&rel)?;
            self.marks[file].store(0, Ordering::Release);
            held(&self.stamps)[file] = None;
            let inner = rel.ancestors().skip(1);
            let inner = inner.take_while(|folder| *folder != Path::new(&place.top));
            folders.extend(inner.map(PathBuf::from));
        }
        self.tree.forget();
        // The deepest first. Those that hold something stay.
        for folder in folders.iter().rev() {
            if let (Some(above), Some(name)) = (folder.parent(), folder.file_name()) {
                self.remove_folder_if_empty(above, name);
            }
        }
        self.tree.forget();
        Ok(())
    }

    fn remove_folder_if_empty(&self, above: &Path, name: &OsStr) {
        if let Ok(above) = self.tree.folder(above, false) {
            let _ = sys::remove_folder_at(&*above, name);
        }
    }
}

impl super::tree::Tree {
    /// Takes the file at `rel` away, if it is there.
    pub(super) fn remove_file(&self, rel: &Path) -> Result<(), StorageError> {
        let name = rel.file_name().unwrap_or_default();
        let above = match self.folder(rel.parent().unwrap_or(Path::new("")), false) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        match sys::remove_file_at(&*above, name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.fail(Act::Remove, rel)(error))
            }
            _ => Ok(()),
        }
    }
}

//! A file that a long-lived program keeps: locked for as long as it runs, replaced as a whole, and moved aside where it is not understood.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::error::{Act, StorageError};
use super::lock::{Lock, LockError};
use super::sys::{self, Access};
use super::tree::Tree;

/// More than this is no file of ours; it is not read any further.
const MAX_SIZE: u64 = 1 << 30;

/// Files that are kept of those moved aside.
const ASIDE: u32 = 1000;

/// The file. Dropped, it is unlocked.
#[derive(Debug)]
pub struct Kept {
    tree: Tree,
    name: OsString,
    _lock: Lock,
}

impl Kept {
    /// Locks the file at `path`, which need not be there yet, against other runs; its folder must be. A symbolic link is followed, once and for all.
    ///
    /// # Errors
    /// If another run has it, the system refuses, or it is no file.
    pub fn open(path: &Path) -> Result<Self, LockError> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let fail =
            |cause: io::Error| LockError::Storage(StorageError::new(Act::Open, &path)(cause));
        let name = path.file_name();
        let name = name.ok_or_else(|| fail(io::ErrorKind::InvalidFilename.into()))?;
        if fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            return Err(fail(io::Error::other("it is no file")));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        Ok(Self {
            _lock: Lock::beside(&path)?,
            tree: Tree::open(folder).map_err(LockError::Storage)?,
            name: name.to_owned(),
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.tree.path().join(&self.name)
    }

    /// What it holds; `None` if it is not there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self) -> Result<Option<Vec<u8>>, StorageError> {
        let rel = Path::new(&self.name);
        if self.tree.meta(rel)?.is_none() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let mut file = self.tree.file(rel, Access::Read)?.take(MAX_SIZE + 1);
        file.read_to_end(&mut bytes)
            .map_err(self.tree.fail(Act::Read, rel))?;
        Ok(Some(bytes))
    }

    /// Replaces what it holds. Whatever happens, there is either the old content or the new one; afterwards the new one outlives a loss of power.
    ///
    /// # Errors
    /// If the system refuses; then the old content is still there.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), StorageError> {
        let mut fresh = self.name.clone();
        fresh.push(".new");
        let rel = Path::new(&fresh);
        let written = self.write(rel, bytes).and_then(|()| {
            let replaced = self.rename(&fresh, &self.name);
            replaced.map_err(self.tree.fail(Act::Rename, rel))
        });
        if written.is_err() {
            // Half a file is worth nothing, and on a full disk it would be in the way.
            let _ = sys::remove_file_at(self.tree.root(), &fresh);
        }
        written
    }

    /// Gives it another name, that nothing has yet: where it is now.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn set_aside(&self) -> Result<PathBuf, StorageError> {
        let mut outcome = Err(io::ErrorKind::AlreadyExists.into());
        for n in 1..=ASIDE {
            let mut aside = self.name.clone();
            aside.push(if n == 1 {
                ".damaged".to_owned()
            } else {
                format!(".damaged-{n}")
            });
            outcome = sys::rename_at(self.tree.root(), &self.name, &aside);
            match &outcome {
                Ok(()) => return Ok(self.tree.path().join(aside)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => break,
            }
        }
        let outcome = outcome.map(|()| self.path());
        outcome.map_err(self.tree.fail(Act::Rename, Path::new(&self.name)))
    }

    fn write(&self, rel: &Path, bytes: &[u8]) -> Result<(), StorageError> {
        let mut file = self.tree.file(rel, Access::Replace)?;
        file.write_all(bytes)
            .map_err(self.tree.fail(Act::Write, rel))?;
        file.sync_all().map_err(self.tree.fail(Act::Sync, rel))
    }

    fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        sys::replace_at(self.tree.root(), from, to)?;
        sys::sync_folder(self.tree.root())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("hivebt-keep-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn it_is_replaced_as_a_whole_and_leaves_nothing_else_behind() {
        let folder = folder("whole");
        let path = folder.join("state");
        let kept = Kept::open(&path).unwrap();
        assert_eq!(kept.read().unwrap(), None);
        for content in [&b"one"[..], b"", b"another"] {
            kept.replace(content).unwrap();
            assert_eq!(kept.read().unwrap().unwrap(), content);
        }
        drop(kept);
        let names: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["state"]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_second_one_finds_it_locked_also_through_a_link() {
        let folder = folder("locked");
        let path = folder.join("state");
        let kept = Kept::open(&path).unwrap();
        kept.replace(b"x").unwrap();
        let link = folder.join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for way in [&path, &link] {
            assert!(matches!(Kept::open(way), Err(LockError::Held(_))));
        }
        drop(kept);
        let kept = Kept::open(&link).unwrap();
        kept.replace(b"y").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"y");
        drop(kept);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_set_aside_gets_a_name_that_nothing_has() {
        let folder = folder("aside");
        let kept = Kept::open(&folder.join("state")).unwrap();
        for (content, name) in [
            ("a", "state.damaged"),
            ("b", "state.damaged-2"),
            ("c", "state.damaged-3"),
        ] {
            kept.replace(content.as_bytes()).unwrap();
            assert_eq!(kept.set_aside().unwrap().file_name().unwrap(), name);
            assert_eq!(kept.read().unwrap(), None);
        }
        assert_eq!(fs::read(folder.join("state.damaged")).unwrap(), b"a");
        assert!(kept.set_aside().is_err(), "there is nothing");
        drop(kept);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = folder("kind");
        assert!(matches!(Kept::open(&folder), Err(LockError::Storage(_))));
        assert!(matches!(
            Kept::open(&folder.join("gone/state")),
            Err(LockError::Storage(_))
        ));
        fs::remove_dir_all(&folder).unwrap();
    }
}

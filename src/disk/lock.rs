//! One run for each torrent and folder, so that cron jobs may overlap: the second one finds the lock taken (exit code 75).
//!
//! The lock is a `flock` on `<folder>/.hivebt/<info-hash>.lock`; the kernel drops it with the process, however that ends. The file is
//! removed at an orderly end, and so is `.hivebt` if nothing is left in it. After a crash an empty file stays, which locks nothing.
//!
//! A file that a program keeps is locked in the same way, by one beside it with `.lock` at the end of its name.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::base::id::InfoHash;

use super::error::{Act, StorageError};
use super::layout::STATE_FOLDER;
use super::sys::{self, Access};
use super::tree::Tree;

/// How often a lock is tried for whose file somebody else is just removing.
const TRIES: usize = 100;

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Another run holds it.
    Held(PathBuf),
    /// The system refused.
    Storage(StorageError),
}

impl LockError {
    /// Whether locks cannot be had here at all: the place is read-only, or its file system knows none. What is only read needs none.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Held(_) => false,
            Self::Storage(error) => {
                error.is_read_only() || error.source.kind() == io::ErrorKind::Unsupported
            }
        }
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(path) => write!(
                f,
                "cannot lock `{}`: another run works on this torrent in this folder",
                path.display()
            ),
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LockError {}

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    tree: Tree,
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock for a torrent in `folder`, which is made if need be. Does not wait.
    ///
    /// # Errors
    /// If another run, or this one, holds it, or the system refuses.
    pub fn acquire(folder: &Path, info_hash: &InfoHash) -> Result<Self, LockError> {
        let path = &Path::new(STATE_FOLDER).join(format!("{info_hash}.lock"));
        if !folder.as_os_str().is_empty() {
            let made = std::fs::create_dir_all(folder);
            made.map_err(StorageError::new(Act::Create, folder))
                .map_err(LockError::Storage)?;
        }
        Self::take(folder, path)
    }

    /// The lock file of a torrent in `folder`, if another run, or this one, holds it. Makes nothing.
    #[must_use]
    pub fn holder(folder: &Path, info_hash: &InfoHash) -> Option<PathBuf> {
        let path = folder.join(STATE_FOLDER).join(format!("{info_hash}.lock"));
        match path.exists().then(|| Self::acquire(folder, info_hash))? {
            Err(LockError::Held(path)) => Some(path),
            _ => None,
        }
    }

    /// Takes the lock for the file at `path`, whose folder must be there. Does not wait.
    ///
    /// # Errors
    /// If another run, or this one, holds it, or the system refuses.
    pub fn beside(path: &Path) -> Result<Self, LockError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        Self::take(path.parent().unwrap_or(Path::new("")), Path::new(&name))
    }

    fn take(folder: &Path, path: &Path) -> Result<Self, LockError> {
        let tree = Tree::open(folder).map_err(LockError::Storage)?;
        for _ in 0..TRIES {
            if let Some(file) = try_once(&tree, path)? {
                return Ok(Self {
                    tree,
                    path: path.to_owned(),
                    file,
                });
            }
        }
        Err(LockError::Held(folder.join(path)))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked, so what is removed is ours. Failing to tidy up harms nobody.
        let parts = (self.path.parent(), self.path.file_name());
        if let (Some(parent), Some(name)) = parts
            && is_in_place(&self.tree, &self.path, &self.file)
            && let Ok(folder) = self.tree.folder(parent, false)
        {
            let _ = sys::remove_file_at(&*folder, name);
            if parent == Path::new(STATE_FOLDER) {
                let _ = sys::remove_folder_at(self.tree.root(), OsStr::new(STATE_FOLDER));
            }
        }
    }
}

/// `None` if the file, or its folder, was removed by its last holder while we were at it.
fn try_once(tree: &Tree, path: &Path) -> Result<Option<File>, LockError> {
    tree.forget();
    let file = match tree.file(path, Access::Create) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(LockError::Storage)?,
    };
    match file.try_lock() {
        Ok(()) => Ok(is_in_place(tree, path, &file).then_some(file)),
        Err(TryLockError::WouldBlock) => Err(LockError::Held(tree.path().join(path))),
        Err(TryLockError::Error(error)) => {
            Err(LockError::Storage(tree.fail(Act::Lock, path)(error)))
        }
    }
}

/// Whether `path` still leads to the file that was locked.
fn is_in_place(tree: &Tree, path: &Path, file: &File) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return false;
    };
    tree.folder(parent, false)
        .is_ok_and(|folder| sys::is_at(&*folder, name, file).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([0xab; 20]);

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("hivebt-lock-{name}-{}", std::process::id()))
    }

    #[test]
    fn the_second_run_is_turned_away_and_the_end_of_the_first_lets_it_in() {
        let folder = folder("second");
        let first = Lock::acquire(&folder, &HASH).unwrap();
        let refused = Lock::acquire(&folder, &HASH).unwrap_err();
        assert!(matches!(refused, LockError::Held(_)) && !refused.is_unavailable());
        let other = Lock::acquire(&folder, &InfoHash([1; 20])).unwrap();
        assert!(Lock::holder(&folder, &HASH).is_some_and(|path| path.exists()));
        assert_eq!(Lock::holder(&folder, &InfoHash([2; 20])), None);
        drop(first);
        let again = Lock::acquire(&folder, &HASH).unwrap();
        drop((again, other));
        std::fs::remove_dir(&folder).expect("nothing is left behind");
    }

    #[test]
    fn a_file_that_a_crash_left_locks_nothing() {
        let folder = folder("crash");
        std::fs::create_dir_all(folder.join(STATE_FOLDER)).unwrap();
        let left = folder.join(STATE_FOLDER).join(format!("{HASH}.lock"));
        std::fs::write(&left, "").unwrap();
        drop(Lock::acquire(&folder, &HASH).unwrap());
        assert!(!left.exists());
        std::fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn of_many_who_come_and_go_only_one_is_ever_in() {
        let folder = folder("many");
        let inside = std::sync::atomic::AtomicU32::new(0);
        let entered = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        if let Ok(lock) = Lock::acquire(&folder, &HASH) {
                            let before = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            assert_eq!(before, 0);
                            entered.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            drop(lock);
                        }
                    }
                });
            }
        });
        assert!(entered.into_inner() > 0);
        std::fs::remove_dir(&folder).unwrap();
    }
}

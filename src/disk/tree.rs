//! A folder and the way down from it: step by step, by folder handles, never through a symbolic link. So nothing that lies in a folder
//! can lead us out of it, not even something that appears there while we work.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::error::{Act, StorageError};
use super::held;
use super::sys::{self, Access, Kind, Meta};

#[derive(Debug)]
pub(super) struct Tree {
    root: Arc<OwnedFd>,
    path: PathBuf,
    /// The folder that was looked up last: files of a torrent come folder by folder.
    memo: Mutex<Option<(PathBuf, Arc<OwnedFd>)>>,
}

impl Tree {
    /// The folder that the operator named; it may be a symbolic link.
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let place = if path == Path::new("") {
            Path::new(".")
        } else {
            path
        };
        let root = sys::folder(place).map_err(StorageError::new(Act::Open, place))?;
        Ok(Self {
            root: Arc::new(root),
            path: path.to_owned(),
            memo: Mutex::default(),
        })
    }

    /// The folder, as it was named.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Turns what the system said about `rel` into our words.
    pub(super) fn fail(&self, act: Act, rel: &Path) -> impl FnOnce(io::Error) -> StorageError {
        StorageError::new(act, self.path.join(rel))
    }

    /// Forgets handles of folders, which may have been renamed.
    pub(super) fn forget(&self) {
        *held(&self.memo) = None;
    }

    /// What lies at `rel`; `None` if nothing does, nor in the folders that lead there.
    pub(super) fn meta(&self, rel: &Path) -> Result<Option<Meta>, StorageError> {
        let found = self
            .parent(rel, false)
            .and_then(|(dir, name)| sys::meta_at(&*dir, name));
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map_err(self.fail(Act::Examine, rel)),
        }
    }

    /// Opens the file at `rel`; with [`Access::Create`] makes the folders that lead there.
    pub(super) fn file(&self, rel: &Path, access: Access) -> Result<File, StorageError> {
        let making = matches!(access, Access::Create | Access::Replace);
        let act = if making { Act::Create } else { Act::Open };
        let opened = self
            .parent(rel, making)
            .and_then(|(dir, name)| sys::file_at(&*dir, name, access));
        opened.map_err(self.fail(act, rel))
    }

    /// The folder at `rel`; the tree itself for an empty path.
    pub(super) fn folder(&self, rel: &Path, make: bool) -> Result<Arc<OwnedFd>, StorageError> {
        let act = if make { Act::Create } else { Act::Open };
        self.walk(rel, make).map_err(self.fail(act, rel))
    }

    fn parent<'p>(&self, rel: &'p Path, make: bool) -> io::Result<(Arc<OwnedFd>, &'p OsStr)> {
        let name = rel.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        Ok((
            self.walk(rel.parent().unwrap_or(Path::new("")), make)?,
            name,
        ))
    }

    fn walk(&self, rel: &Path, make: bool) -> io::Result<Arc<OwnedFd>> {
        if rel == Path::new("") {
            return Ok(Arc::clone(&self.root));
        }
        if let Some((path, dir)) = &*held(&self.memo)
            && path == rel
        {
            return Ok(Arc::clone(dir));
        }
        let mut dir = Arc::clone(&self.root);
        for component in rel.components() {
            let Component::Normal(name) = component else {
                return Err(io::ErrorKind::InvalidFilename.into());
            };
            dir = Arc::new(step(&dir, name, make)?);
        }
        *held(&self.memo) = Some((rel.to_owned(), Arc::clone(&dir)));
        Ok(dir)
    }
}

fn step(dir: &OwnedFd, name: &OsStr, make: bool) -> io::Result<OwnedFd> {
    let missing = match sys::folder_at(dir, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => error,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let what = match sys::meta_at(dir, name)?.map(|meta| meta.kind) {
                Some(Kind::Link) => "a symbolic link, which is not followed",
                _ => "no folder",
            };
            let text = format!("`{}` on the way there is {what}", name.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
        }
        other => return other,
    };
    if !make {
        return Err(missing);
    }
    sys::make_folder_at(dir, name)?;
    sys::folder_at(dir, name)
}

//! A folder that somebody else fills: what lies in it, and how each file looked when it was read.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::sys;

/// How a file looked: what changes when it is written to or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Bytes.
    pub len: u64,
    mtime: (i64, i64),
    inode: (u64, u64),
}

impl Look {
    fn of(meta: &Metadata) -> Self {
        Self {
            len: meta.len(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            inode: (meta.dev(), meta.ino()),
        }
    }
}

/// The regular files in `folder` whose names `wanted` takes, sorted; symbolic links to some count. What vanishes on the way is left out.
///
/// # Errors
/// If the folder cannot be read.
pub fn list(
    folder: &Path,
    wanted: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<(std::ffi::OsString, Look)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !wanted(name.as_encoded_bytes()) {
            continue;
        }
        if let Ok(meta) = fs::metadata(entry.path())
            && meta.is_file()
        {
            found.push((name, Look::of(&meta)));
        }
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// The content of the file at `path`, if it looks as it did before it is read and after; `None` if somebody has written to it, or replaced it.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &Path, look: Look) -> io::Result<Option<Vec<u8>>> {
    let file = sys::open_to_read(path)?;
    let is_same = |file: &File| Ok::<_, io::Error>(Look::of(&file.metadata()?) == look);
    if !is_same(&file)? {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(look.len).unwrap_or(0));
    (&file).take(look.len).read_to_end(&mut bytes)?;
    Ok(is_same(&file)?.then_some(bytes))
}

/// Gives a file in `folder` a name that is on nobody's list: `.removed` after its own, with a number where that is taken.
///
/// # Errors
/// If it cannot be renamed.
pub fn set_aside(folder: &Path, name: &OsStr) -> io::Result<()> {
    let folder = File::open(folder)?;
    let mut aside = name.to_owned();
    aside.push(".removed");
    let mut fresh = aside.clone();
    for n in 2.. {
        match sys::rename_at(&folder, name, &fresh) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other,
        }
        fresh.clone_from(&aside);
        fresh.push(format!("-{n}"));
    }
    Ok(())
}

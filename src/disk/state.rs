//! The state of a payload between runs: `<folder>/.hivebt/<info-hash>.resume`.
//!
//! It is written beside its final name, synced and renamed, so that there is always a whole one. The state of a finished payload stays,
//! so that a nightly run over it hashes nothing; it may be removed at any time, at the price of one recheck.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::base::id::InfoHash;
use crate::proto::resume::{Resume, ResumeError};

use super::error::{Act, StorageError};
use super::layout::STATE_FOLDER;
use super::sys::{self, Access};
use super::tree::Tree;

/// More than this is no state of ours; it is not even read.
const MAX_SIZE: u64 = 64 << 20;

/// What an earlier run left.
#[derive(Debug)]
pub enum Loaded {
    /// Nothing: the first run, or one that could not save.
    Nothing,
    /// Its state.
    State(Box<Resume>),
    /// Something that is damaged, of another version or of another torrent. It counts for nothing.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: ResumeError,
        /// Where it was moved, for whoever wants to look at it; `None` if that was not possible.
        kept: Option<PathBuf>,
    },
}

/// Reads the state of a torrent in `folder`.
///
/// # Errors
/// If there is one that cannot be read.
pub fn load(folder: &Path, info_hash: &InfoHash) -> Result<Loaded, StorageError> {
    let name = format!("{info_hash}.resume");
    let path = Path::new(STATE_FOLDER).join(&name);
    let tree = Tree::open(folder)?;
    if tree.meta(&path)?.is_none() {
        return Ok(Loaded::Nothing);
    }
    let mut bytes = Vec::new();
    let mut file = tree.file(&path, Access::Read)?.take(MAX_SIZE);
    file.read_to_end(&mut bytes)
        .map_err(tree.fail(Act::Read, &path))?;
    let why = match Resume::parse(&bytes) {
        Ok(state) if state.info_hash == *info_hash => return Ok(Loaded::State(Box::new(state))),
        Ok(_) => ResumeError::Entry("info_hash"),
        Err(error) => error,
    };
    let aside = format!("{name}.damaged");
    let moved = replace(&tree, &name, &aside);
    Ok(Loaded::Damaged {
        path: folder.join(path),
        why,
        kept: moved.ok().map(|()| folder.join(STATE_FOLDER).join(&aside)),
    })
}

/// Writes the state of a torrent in `folder`, in place of an earlier one.
///
/// # Errors
/// If the system refuses; then the earlier one is still there. Where nothing can be written
/// ([`StorageError::is_read_only`]) seeding goes on without.
pub fn save(folder: &Path, state: &Resume) -> Result<(), StorageError> {
    let name = format!("{}.resume", state.info_hash);
    let fresh = format!("{name}.new");
    let path = Path::new(STATE_FOLDER).join(&fresh);
    let tree = Tree::open(folder)?;
    let written = write(&tree, &path, &state.to_bytes()).and_then(|()| {
        let replaced = replace(&tree, &fresh, &name);
        replaced.map_err(tree.fail(Act::Rename, &path))
    });
    if written.is_err() {
        // Half a state is worth nothing, and on a full disk it would be in the way.
        tidy(&tree, &fresh);
    }
    written
}

/// Removes the state of a torrent in `folder`, if there is one.
///
/// # Errors
/// If the system refuses.
pub fn remove(folder: &Path, info_hash: &InfoHash) -> Result<(), StorageError> {
    let path = Path::new(STATE_FOLDER).join(format!("{info_hash}.resume"));
    Tree::open(folder)?.remove_file(&path)
}

fn write(tree: &Tree, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let mut file = tree.file(path, Access::Replace)?;
    file.write_all(bytes).map_err(tree.fail(Act::Write, path))?;
    file.sync_all().map_err(tree.fail(Act::Sync, path))
}

fn tidy(tree: &Tree, name: &str) {
    if let Ok(folder) = tree.folder(Path::new(STATE_FOLDER), false) {
        let _ = sys::remove_file_at(&*folder, name.as_ref());
    }
}

fn replace(tree: &Tree, from: &str, to: &str) -> io::Result<()> {
    let folder = tree.folder(Path::new(STATE_FOLDER), false);
    let folder = folder.map_err(|error| error.source)?;
    sys::replace_at(&*folder, from.as_ref(), to.as_ref())?;
    sys::sync_folder(&*folder)
}

/// Names this run of the kernel: another name means that the machine was started anew. Empty where the kernel does not tell.
#[must_use]
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

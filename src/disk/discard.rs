//! Removing a finished payload: what we have written and nobody has changed, and nothing else.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::StorageError;
use super::layout::Layout;
use super::sys::{self, Kind};
use super::tree::Tree;
use crate::proto::resume::Stamp;

/// What became of a payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Files that are gone.
    pub files: usize,
    /// Bytes in them.
    pub bytes: u64,
    /// What stays: the first file of the payload that somebody has changed, or the payload's folder, if somebody has put something into it.
    pub left: Option<PathBuf>,
}

/// Removes those files of the payload in `folder` that look as they did `then`, and the folders of the payload that are empty afterwards. What is not there is no error. No
/// symbolic link is followed, and none removed.
///
/// # Errors
/// At the first file that the system will not remove; those before it are gone, and the next attempt goes on from there.
pub fn discard(
    folder: &Path,
    layout: &Layout,
    then: &[Option<Stamp>],
) -> Result<Discarded, StorageError> {
    let tree = Tree::open(folder)?;
    let top = Path::new(&layout.name);
    let mut discarded = Discarded::default();
    let mut folders = BTreeSet::new();
    for (file, then) in layout.files.iter().zip(then) {
        let rel = if layout.single {
            top.to_owned()
        } else {
            top.join(&file.path)
        };
        if file.pad {
            continue;
        }
        let found = match tree.meta(&rel) {
            // Something else lies where one of our folders was.
            Err(error) if error.source.kind() == ErrorKind::NotADirectory => {
                discarded.left.get_or_insert_with(|| folder.join(&rel));
                continue;
            }
            other => other?,
        };
        let Some(found) = found else { continue };
        let now = Stamp {
            len: found.len,
            mtime: found.mtime,
        };
        if found.kind != Kind::File || *then != Some(now) {
            discarded.left.get_or_insert_with(|| folder.join(&rel));
            continue;
        }
        tree.remove_file(&rel)?;
        discarded.files += 1;
        discarded.bytes += found.len;
        let above = rel.ancestors().skip(1);
        let above = above.filter(|folder| *folder != Path::new(""));
        folders.extend(above.map(Path::to_owned));
    }
    if !layout.single {
        folders.insert(top.to_owned());
    }
    // The deepest first. Those that hold something stay.
    for inner in folders.iter().rev() {
        let above = inner.parent().unwrap_or(Path::new(""));
        tree.forget();
        if let (Ok(above), Some(name)) = (tree.folder(above, false), inner.file_name()) {
            let _ = sys::remove_folder_at(&*above, name);
        }
    }
    tree.forget();
    if discarded.left.is_none() && tree.meta(top)?.is_some() {
        discarded.left = Some(folder.join(top));
    }
    Ok(discarded)
}

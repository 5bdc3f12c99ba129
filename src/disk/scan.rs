//! What a new torrent will share: the files below a path, in the order that every machine agrees on.
//!
//! The order is frozen, because it is part of the info-hash: paths are compared component by component, and components byte by byte.
//! So `a/z` comes before `a-b`, and `B` before `a`. Symbolic links are skipped unless they are to be followed; pipes, sockets and devices are
//! skipped; folders without files leave no trace (BEP 3 has no word for them). The path that the operator named is followed in any case,
//! and shared whatever the patterns say.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::files::Stamp;
use crate::base::glob::Glob;
use crate::proto::metainfo::path;

/// Too many symbolic links; the standard library has no stable name for it.
const ELOOP: i32 = 40;

/// What lies at a path.
#[derive(Debug)]
pub struct Scan {
    /// The path is a file; otherwise it is a folder.
    pub single: bool,
    /// The file, or the files in the folder, in order.
    pub files: Vec<Found>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

/// A file.
#[derive(Debug)]
pub struct Found {
    /// The components of its path inside the folder; none for a single file.
    pub components: Vec<Vec<u8>>,
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes.
    pub length: u64,
    /// What it was when it was found.
    pub stamp: Stamp,
}

/// Something that is not shared.
#[derive(Debug)]
pub struct Skipped {
    /// Where it lies.
    pub path: PathBuf,
    /// Why not.
    pub why: Why,
}

/// Why something is not shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A symbolic link, and they are not followed.
    Link,
    /// A symbolic link to a folder that it lies in.
    Loop,
    /// A symbolic link to something that does not exist.
    Dangling,
    /// A pipe, a socket or a device.
    Special,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "it is a symbolic link",
            Self::Loop => "it leads back to a folder that it lies in",
            Self::Dangling => "it leads nowhere",
            Self::Special => "it is neither a file nor a folder",
        })
    }
}

/// Why a path cannot be looked through.
#[derive(Debug)]
pub struct ScanError {
    /// Where it happened.
    pub path: PathBuf,
    /// What happened.
    pub error: io::Error,
}

/// What counts.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Whether symbolic links count as what they lead to.
    pub follow_symlinks: bool,
    /// If there are any, only what one of them matches, or what lies in a folder that one of them matches.
    pub include: Vec<Glob>,
    /// Not what one of these matches, nor what lies in a folder that one of them matches; they win over `include`.
    pub exclude: Vec<Glob>,
}

impl Rules {
    fn exclude(&self, path: &[Vec<u8>], is_folder: bool) -> bool {
        self.exclude
            .iter()
            .any(|glob| glob.matches(path, is_folder))
    }

    fn include(&self, path: &[Vec<u8>], is_folder: bool) -> bool {
        self.include.is_empty()
            || self
                .include
                .iter()
                .any(|glob| glob.matches(path, is_folder))
    }
}

/// Looks through `root`.
///
/// # Errors
/// If something cannot be looked at; what vanishes in the middle counts as that too.
pub fn scan(root: &Path, rules: &Rules) -> Result<Scan, ScanError> {
    let meta = fs::metadata(root).map_err(|error| failed(root, error))?;
    let mut walk = Walk {
        rules,
        files: Vec::new(),
        skipped: Vec::new(),
        folders: Vec::new(),
    };
    walk.take(root.to_owned(), Vec::new(), &meta, None, !meta.is_dir());
    while let Some(folder) = walk.folders.pop() {
        walk.enter(&folder)?;
    }
    walk.files
        .sort_unstable_by(|a, b| a.components.cmp(&b.components));
    walk.skipped.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(Scan {
        single: !meta.is_dir(),
        files: walk.files,
        skipped: walk.skipped,
    })
}

fn failed(path: &Path, error: io::Error) -> ScanError {
    ScanError {
        path: path.to_owned(),
        error,
    }
}

struct Walk<'a> {
    rules: &'a Rules,
    files: Vec<Found>,
    skipped: Vec<Skipped>,
    /// Folders that wait. A list and not recursion, so that no depth is too deep.
    folders: Vec<Folder>,
}

struct Folder {
    path: PathBuf,
    components: Vec<Vec<u8>>,
    chain: Rc<Chain>,
    /// An `include` pattern matches it or a folder above.
    included: bool,
}

/// The folders from the root down to one of them.
struct Chain {
    id: (u64, u64),
    above: Option<Rc<Self>>,
}

impl Walk<'_> {
    fn enter(&mut self, folder: &Folder) -> Result<(), ScanError> {
        let entries = fs::read_dir(&folder.path).map_err(|error| failed(&folder.path, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| failed(&folder.path, error))?;
            let path = entry.path();
            let mut components = folder.components.clone();
            components.push(path::raw(&entry.file_name()));
            if self.rules.exclude(&components, false) {
                continue;
            }
            let mut meta = entry.metadata().map_err(|error| failed(&path, error))?;
            if meta.is_symlink() {
                match self.behind_link(&path)? {
                    Ok(target) => meta = target,
                    Err(why) => {
                        self.skipped.push(Skipped { path, why });
                        continue;
                    }
                }
            }
            let is_folder = meta.is_dir();
            if is_folder && self.rules.exclude(&components, true) {
                continue;
            }
            let included = folder.included || self.rules.include(&components, is_folder);
            self.take(path, components, &meta, Some(&folder.chain), included);
        }
        Ok(())
    }

    fn behind_link(&self, path: &Path) -> Result<Result<Metadata, Why>, ScanError> {
        if !self.rules.follow_symlinks {
            return Ok(Err(Why::Link));
        }
        match fs::metadata(path) {
            Ok(meta) => Ok(Ok(meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err(Why::Dangling)),
            // Links that lead to one another.
            Err(error) if error.raw_os_error() == Some(ELOOP) => Ok(Err(Why::Loop)),
            Err(error) => Err(failed(path, error)),
        }
    }

    fn take(
        &mut self,
        path: PathBuf,
        components: Vec<Vec<u8>>,
        meta: &Metadata,
        above: Option<&Rc<Chain>>,
        included: bool,
    ) {
        if !meta.is_dir() && !included {
            return;
        }
        if meta.is_file() {
            self.files.push(Found {
                components,
                path,
                length: meta.len(),
                stamp: Stamp::of(meta),
            });
        } else if meta.is_dir() {
            let id = (meta.dev(), meta.ino());
            if lies_in(id, above) {
                self.skipped.push(Skipped {
                    path,
                    why: Why::Loop,
                });
                return;
            }
            let chain = Rc::new(Chain {
                id,
                above: above.cloned(),
            });
            self.folders.push(Folder {
                path,
                components,
                chain,
                included,
            });
        } else {
            self.skipped.push(Skipped {
                path,
                why: Why::Special,
            });
        }
    }
}

fn lies_in(id: (u64, u64), mut chain: Option<&Rc<Chain>>) -> bool {
    while let Some(folder) = chain {
        if folder.id == id {
            return true;
        }
        chain = folder.above.as_ref();
    }
    false
}

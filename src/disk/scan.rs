//! What a new torrent will share: the files below a path, in the order that every machine agrees on.
//!
//! The order is frozen, because it is part of the info-hash: paths are compared component by component, and components byte by byte.
//! So `a/z` comes before `a-b`, and `B` before `a`. Symbolic links are skipped unless they are to be followed; pipes, sockets and devices are
//! skipped; folders without files leave no trace (BEP 3 has no word for them). The path that the operator named is followed in any case,
//! and shared whatever the rules say.
//!
//! Of several rules each that takes something out wins: `exclude`, then `skip_junk` and `skip_hidden`, then what no torrent can
//! hold; `include` chooses among what these leave. What is taken out is remembered with the first reason that holds.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::files::Stamp;
use super::junk;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A symbolic link, and they are not followed.
    Link,
    /// A symbolic link to a folder that it lies in.
    Loop,
    /// A symbolic link to something that does not exist.
    Dangling,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A device.
    Device,
    /// The file that the torrent itself replaces.
    Torrent,
    /// Its name begins with a dot ([`Rules::skip_hidden`]).
    Hidden,
    /// [`junk::is_junk`] ([`Rules::skip_junk`]).
    Junk,
    /// A pattern of `Rules::exclude` matches it.
    Excluded,
    /// No pattern of `Rules::include` matches it.
    NotIncluded,
}

impl Why {
    /// Whether a pattern of the operator asked for exactly this.
    #[must_use]
    pub const fn is_chosen(self) -> bool {
        matches!(self, Self::Excluded | Self::NotIncluded)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "it is a symbolic link",
            Self::Loop => "it leads back to a folder that it lies in",
            Self::Dangling => "it leads nowhere",
            Self::Pipe => "it is a named pipe",
            Self::Socket => "it is a socket",
            Self::Device => "it is a device",
            Self::Torrent => "the torrent itself goes there",
            Self::Hidden => "it is hidden (--skip-hidden)",
            Self::Junk => "it is junk (--skip-junk)",
            Self::Excluded => "it is excluded (--exclude)",
            Self::NotIncluded => "it is not included (--include)",
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
    /// Whether names that begin with a dot are left out.
    pub skip_hidden: bool,
    /// Whether [`junk`] is left out.
    pub skip_junk: bool,
    /// The file that the torrent will replace, as `(device, inode)`: what holds its own torrent could never be whole.
    pub torrent: Option<(u64, u64)>,
}

impl Rules {
    /// Whether there is anything here to choose by.
    #[must_use]
    pub fn choose(&self) -> bool {
        !self.include.is_empty() || !self.exclude.is_empty() || self.skip_hidden || self.skip_junk
    }

    fn exclude(&self, path: &[Vec<u8>], is_folder: bool) -> bool {
        self.exclude
            .iter()
            .any(|glob| glob.matches(path, is_folder))
    }

    /// What stands against a name, wherever it leads.
    fn refuse(&self, path: &[Vec<u8>]) -> Option<Why> {
        let name = path.last().map(Vec::as_slice).unwrap_or_default();
        if self.exclude(path, false) {
            Some(Why::Excluded)
        } else if self.skip_junk && junk::is_junk(name) {
            Some(Why::Junk)
        } else if self.skip_hidden && name.starts_with(b".") {
            Some(Why::Hidden)
        } else {
            None
        }
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
            if let Some(why) = self.rules.refuse(&components) {
                self.skip(path, why);
                continue;
            }
            let mut meta = entry.metadata().map_err(|error| failed(&path, error))?;
            if meta.is_symlink() {
                match self.behind_link(&path)? {
                    Ok(target) => meta = target,
                    Err(why) => {
                        self.skip(path, why);
                        continue;
                    }
                }
            }
            let is_folder = meta.is_dir();
            if is_folder && self.rules.exclude(&components, true) {
                self.skip(path, Why::Excluded);
                continue;
            }
            let included = folder.included || self.rules.include(&components, is_folder);
            self.take(path, components, &meta, Some(&folder.chain), included);
        }
        Ok(())
    }

    fn skip(&mut self, path: PathBuf, why: Why) {
        self.skipped.push(Skipped { path, why });
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
        let kind = meta.file_type();
        if meta.is_dir() {
            let id = (meta.dev(), meta.ino());
            if lies_in(id, above) {
                return self.skip(path, Why::Loop);
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
        } else if !included {
            self.skip(path, Why::NotIncluded);
        } else if above.is_some() && self.rules.torrent == Some((meta.dev(), meta.ino())) {
            self.skip(path, Why::Torrent);
        } else if meta.is_file() {
            self.files.push(Found {
                components,
                path,
                length: meta.len(),
                stamp: Stamp::of(meta),
            });
        } else if kind.is_fifo() {
            self.skip(path, Why::Pipe);
        } else if kind.is_socket() {
            self.skip(path, Why::Socket);
        } else {
            self.skip(path, Why::Device);
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

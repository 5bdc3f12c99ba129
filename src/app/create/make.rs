//! A path becomes a torrent: scan, decide, hash.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::piece_length;
use crate::app::failure::{Exit, Failure};
use crate::base::geometry::Geometry;
use crate::base::sha1::Digest;
use crate::disk::files::{Fault, Files, Source};
use crate::disk::hash::{self, Watch};
use crate::disk::scan::{self, Found, Rules, Scan, Skipped};
use crate::proto::metainfo::path::{safe_name, safe_path, shown, shown_path};
use crate::proto::metainfo::{Layout, Metainfo, NewFile, NewInfo};

/// The tracker of torrents for which none is named (R4).
pub const DEFAULT_ANNOUNCE: &str = "http://localhost:8080/announce";

/// Pieces at most: as many hashes as fit a .torrent file that our own reader takes.
const MAX_PIECES: u32 = 5_000_000;

/// What a torrent is to say, apart from what the payload itself says.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Trackers in tiers.
    pub announce: Vec<Vec<String>>,
    /// Web seeds.
    pub web_seeds: Vec<String>,
    /// DHT nodes to begin at: host and port (BEP 5). There are none by default, of ours or of others.
    pub nodes: Vec<(String, u16)>,
    /// Bytes; `None` for [`piece_length::automatic`].
    pub piece_length: Option<u32>,
    /// The payload's name, if not that of the path.
    pub name: Option<OsString>,
    /// Whether every file of a folder that is as long as a piece begins with one (BEP 47).
    pub align: bool,
    /// BEP 27.
    pub private: bool,
    /// See [`Metainfo::source`].
    pub source: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that makes it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
    /// What of a folder goes in.
    pub rules: Rules,
    /// Threads that hash.
    pub threads: usize,
}

impl Default for Recipe {
    /// The usual tracker, no date, and everything else left to the program.
    fn default() -> Self {
        Self {
            announce: vec![vec![DEFAULT_ANNOUNCE.to_owned()]],
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            piece_length: None,
            name: None,
            align: false,
            private: false,
            source: None,
            comment: None,
            created_by: Some(concat!("hivebt/", env!("CARGO_PKG_VERSION")).to_owned()),
            creation_date: None,
            rules: Rules::default(),
            threads: hash::default_threads(),
        }
    }
}

/// A torrent that could be made: everything is known but the hashes.
#[derive(Debug)]
pub struct Plan {
    name: Vec<u8>,
    single: bool,
    listed: Vec<NewFile>,
    files: Files,
    geometry: Geometry,
    /// What was found but is not shared.
    pub skipped: Vec<Skipped>,
}

impl Plan {
    /// Looks at `path`.
    ///
    /// # Errors
    /// If it cannot be looked at, or no torrent can be made of what is there.
    pub fn new(path: &Path, recipe: &Recipe) -> Result<Self, Failure> {
        let name = payload_name(path, recipe.name.as_deref())?;
        let scan = scan::scan(path, &recipe.rules)
            .map_err(|e| Failure::new(Exit::Storage, "read", e.path.display(), e.error))?;
        if scan.files.is_empty() {
            let nothing = if scan.single {
                "it is neither a file nor a folder"
            } else if recipe.rules.choose() {
                "--include, --exclude, --skip-hidden and --skip-junk leave no files of it"
            } else if scan.skipped.is_empty() {
                "there are no files in it"
            } else {
                "there are no files in it but what is skipped"
            };
            return Err(failed(path, nothing));
        }
        check_paths(&scan)?;
        let too_large = || failed(path, "it is too large for a torrent");
        let lengths = scan.files.iter().map(|found| found.length);
        let total = lengths.fold(0, u64::saturating_add);
        let length = recipe
            .piece_length
            .unwrap_or_else(|| piece_length::automatic(total));
        let align = recipe.align && !scan.single;
        let (listed, sources) = lay_out(&scan.files, align.then_some(length));
        let files = Files::new(sources).ok_or_else(too_large)?;
        let total = files.total();
        let geometry = Geometry::new(total, length).ok_or_else(too_large)?;
        if geometry.pieces() > MAX_PIECES {
            let cause = format!(
                "{} pieces are too many for a torrent; a larger --piece-length gives fewer",
                geometry.pieces()
            );
            return Err(failed(path, cause));
        }
        Ok(Self {
            name,
            single: scan.single,
            listed,
            files,
            geometry,
            skipped: scan.skipped,
        })
    }

    /// Bytes of payload.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.geometry.total()
    }

    /// The payload's name for people.
    #[must_use]
    pub fn shown_name(&self) -> String {
        shown(&self.name)
    }

    /// Hashes the payload and puts the torrent together.
    ///
    /// # Errors
    /// If a file cannot be read, or is not what it was when it was looked at. If `watch` was cancelled.
    pub fn hash(&self, recipe: &Recipe, watch: &Watch) -> Result<Metainfo, Failure> {
        let pieces = self.pieces(recipe.threads, watch)?;
        let info = NewInfo {
            name: &self.name,
            piece_length: self.geometry.piece_length(),
            pieces: &pieces,
            layout: if self.single {
                Layout::Single(self.total())
            } else {
                Layout::Multi(&self.listed)
            },
            private: recipe.private,
            source: recipe.source.as_deref(),
        };
        // What we write must be what we can read.
        let metainfo = Metainfo::from_info(&info.to_bytes());
        let mut metainfo = metainfo.map_err(|error| {
            Failure::new(Exit::Failed, "make a torrent of", self.shown_name(), error)
        })?;
        metainfo.announce.clone_from(&recipe.announce);
        metainfo.web_seeds.clone_from(&recipe.web_seeds);
        metainfo.nodes.clone_from(&recipe.nodes);
        metainfo.comment.clone_from(&recipe.comment);
        metainfo.created_by.clone_from(&recipe.created_by);
        metainfo.creation_date = recipe.creation_date;
        Ok(metainfo)
    }

    fn pieces(&self, threads: usize, watch: &Watch) -> Result<Vec<Digest>, Failure> {
        let mut pieces = vec![[0; 20]; self.geometry.pieces() as usize];
        let mut first_fault = None;
        let all = self.geometry.all();
        let open = || self.files.reader();
        hash::run(
            self.geometry,
            all,
            threads,
            watch,
            open,
            |piece, result| match result {
                Ok(digest) => pieces[piece.idx()] = digest,
                Err(fault) => {
                    watch.cancel();
                    first_fault.get_or_insert(fault);
                }
            },
        );
        let empty = self.files.check_empty();
        match (first_fault, empty) {
            (Some(fault), _) | (None, Err(fault)) => Err(unreadable(&fault)),
            (None, Ok(())) if watch.is_cancelled() => {
                let name = self.shown_name();
                Err(Failure::new(
                    Exit::Failed,
                    "hash",
                    name,
                    "it was interrupted",
                ))
            }
            (None, Ok(())) => Ok(pieces),
        }
    }
}

/// The files in the torrent's order, and where their bytes come from. Given the length of a piece, zeros go before each file that is at least as long,
/// so that it begins with a piece; smaller ones share pieces, or a folder of many would be nothing but zeros.
fn lay_out(found: &[Found], align: Option<u32>) -> (Vec<NewFile>, Vec<Source>) {
    let (mut listed, mut sources) = (Vec::new(), Vec::new());
    let mut at = 0_u64;
    for found in found {
        if let Some(piece) = align.map(u64::from)
            && found.length >= piece
            && !at.is_multiple_of(piece)
        {
            let length = piece - at % piece;
            listed.push(NewFile::padding(length));
            sources.push(Source {
                path: None,
                length,
                stamp: None,
            });
            at = at.saturating_add(length);
        }
        listed.push(NewFile {
            path: found.components.clone(),
            length: found.length,
            pad: false,
        });
        sources.push(Source {
            path: Some(found.path.clone()),
            length: found.length,
            stamp: Some(found.stamp),
        });
        at = at.saturating_add(found.length);
    }
    (listed, sources)
}

fn failed(path: &Path, cause: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, "make a torrent of", path.display(), cause)
}

fn unreadable(fault: &Fault) -> Failure {
    Failure::new(Exit::Storage, "read", fault.path.display(), &fault.cause)
}

/// The payload's name: the one that was given, else the last component of the path, which for `.` and the like is that of the folder it means.
fn payload_name(path: &Path, given: Option<&OsStr>) -> Result<Vec<u8>, Failure> {
    let bad = |name: &OsStr, why| {
        let name = shown(name.as_bytes());
        Failure::usage(format_args!("`--name` does not take `{name}`: {why}"))
    };
    if let Some(name) = given {
        let safe = safe_name(name.as_bytes()).map_err(|why| bad(name, why))?;
        return Ok(safe.into_encoded_bytes());
    }
    let named = match path.file_name() {
        Some(name) => name.to_owned(),
        None => {
            let real = fs::canonicalize(path)
                .map_err(|error| Failure::new(Exit::Storage, "read", path.display(), error))?;
            let none = || failed(path, "it has no name; --name gives it one");
            real.file_name().ok_or_else(none)?.to_owned()
        }
    };
    safe_name(named.as_bytes()).map_or_else(
        |why| {
            Err(failed(
                path,
                format_args!("{why}; --name gives it another name"),
            ))
        },
        |safe| Ok(safe.into_encoded_bytes()),
    )
}

/// Before anything is hashed: a path that no reader of torrents would take.
fn check_paths(scan: &Scan) -> Result<(), Failure> {
    if scan.single {
        return Ok(());
    }
    for found in &scan.files {
        safe_path(&found.components).map_err(|why| {
            let path = shown_path(&found.components);
            Failure::new(Exit::Failed, "share", path, why)
        })?;
    }
    Ok(())
}

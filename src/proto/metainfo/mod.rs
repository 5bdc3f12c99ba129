//! Torrents: the .torrent file and the `info` dictionary inside it (BEP 3), v1 and the v1 side of hybrids (BEP 52).
//!
//! Also read: tiers of trackers (BEP 12), web seeds (BEP 19), DHT nodes (BEP 5), `private` (BEP 27), `attr` (BEP 47).
//!
//! # Names
//! A torrent's names are bytes, and so are names on Linux: what is valid lies on disk exactly as the torrent spells it, UTF-8 or not
//! (`name.utf-8` and `path.utf-8` win where a torrent has them). What could lie elsewhere or nowhere is refused: `.`, `..`, empty names,
//! names with `/` or NUL, names over 255 bytes, paths over 4,000 bytes, two entries that would be one file, a file that another entry
//! uses as a folder, and the payload name `.hivebt`, which is where our own state lies. Names that differ only in case are different.

mod edit;
mod error;
mod parse;
pub mod path;
mod write;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::filemap::FileMap;
use crate::base::geometry::{Geometry, PieceIndex};
use crate::base::id::InfoHash;
use crate::base::sha1::Digest;

pub use edit::Edit;
pub use error::MetainfoError;
pub use write::{Layout, NewFile, NewInfo};

/// A torrent, checked: what it says about sizes agrees with itself, and its paths are safe to join to a folder.
#[derive(Clone, Debug)]
pub struct Metainfo {
    /// The SHA-1 of `raw_info`.
    pub info_hash: InfoHash,
    /// The `info` dictionary as it stands in the file.
    pub raw_info: Vec<u8>,
    /// The name of the payload, raw.
    pub name: Vec<u8>,
    /// The name of the payload on disk: one component, safe to join to a folder.
    pub safe_name: OsString,
    /// Total and piece length.
    pub geometry: Geometry,
    /// The SHA-1 of each piece.
    pub pieces: Arc<[Digest]>,
    /// The files in the torrent's order; never none.
    pub files: Vec<FileEntry>,
    /// Symbolic links that the torrent lists (BEP 47), as raw components. They hold no bytes and are never made.
    pub links: Vec<Vec<Vec<u8>>>,
    /// One file, which is the payload itself; otherwise the payload is a folder.
    pub single: bool,
    /// Peers come from the torrent's own trackers only (BEP 27).
    pub private: bool,
    /// `source` in the info dictionary, by which private trackers make info-hashes their own.
    pub source: Option<String>,
    /// Trackers in tiers (BEP 12); no tier is empty.
    pub announce: Vec<Vec<String>>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// DHT nodes: host and port (BEP 5).
    pub nodes: Vec<(String, u16)>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that made the torrent.
    pub created_by: Option<String>,
    /// When it was made, in seconds since 1970 (UTC).
    pub creation_date: Option<i64>,
}

/// A file of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The components of its path inside the payload's folder, raw. None in a torrent of a single file.
    pub path: Vec<Vec<u8>>,
    /// The same as a relative path, safe to join to the payload's folder. Empty in a torrent of a single file: there the payload itself is the file.
    pub safe_path: PathBuf,
    /// Bytes.
    pub length: u64,
    /// Nothing but zeros that fill up a piece (BEP 47): never on disk, neither read nor written. Several may have the same path.
    pub pad: bool,
    /// To be executable (BEP 47).
    pub executable: bool,
    /// 32 hexadecimal characters. Kept and shown; plays no part in verification.
    pub md5sum: Option<String>,
}

impl Metainfo {
    /// Reads a .torrent file. White space after its end is ignored.
    ///
    /// # Errors
    /// Says what is wrong, and where if it is not even bencoding.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MetainfoError> {
        parse::torrent(bytes)
    }

    /// Reads a bare `info` dictionary, such as peers hand out for a magnet link (BEP 9). What stands outside it stays empty.
    ///
    /// # Errors
    /// As [`Metainfo::from_bytes`].
    pub fn from_info(bytes: &[u8]) -> Result<Self, MetainfoError> {
        parse::info(bytes)
    }

    /// A torrent of which only its info-hash is known, as long as nothing else is: a payload of no bytes, named after the info-hash.
    #[must_use]
    pub fn unknown(info_hash: InfoHash) -> Self {
        let name = info_hash.to_string();
        Self {
            info_hash,
            raw_info: Vec::new(),
            safe_name: (&name).into(),
            name: name.into_bytes(),
            geometry: Geometry::default(),
            pieces: Arc::default(),
            files: Vec::new(),
            links: Vec::new(),
            single: false,
            private: false,
            source: None,
            announce: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
        }
    }

    /// Whether more is known than an info-hash.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.raw_info.is_empty()
    }

    /// The .torrent file, canonical, with the `info` dictionary byte for byte as it was read.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        write::torrent(self)
    }

    /// The SHA-1 of `piece`.
    ///
    /// # Panics
    /// If there is no such piece; [`Geometry::piece`] is the door for numbers from outside.
    #[must_use]
    pub fn piece_hash(&self, piece: PieceIndex) -> Digest {
        self.pieces[piece.idx()]
    }

    /// The files laid end to end; the same indexes as `files`.
    #[must_use]
    pub fn file_map(&self) -> FileMap {
        let lengths = self.files.iter().map(|file| file.length);
        FileMap::new(lengths).expect("the reader checked that the lengths add up")
    }

    /// The name as people see it: [`path::shown`].
    #[must_use]
    pub fn shown_name(&self) -> String {
        path::shown(&self.name)
    }
}

//! What can be wrong with a torrent.

use std::fmt;

use super::path::Unsafe;
use crate::base::bencode;
use crate::base::geometry::MAX_PIECE_LENGTH;

/// Why bytes are not a torrent that we can use. Reads on after "cannot read `x.torrent`: ".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetainfoError {
    /// Not bencoding.
    Bencode(bencode::Error),
    /// Bencoding, but not a dictionary.
    NotADictionary,
    /// A key that every torrent has is not there.
    Missing(&'static str),
    /// A key has a value of a wrong kind; holds the key and what it takes.
    WrongType(&'static str, &'static str),
    /// BEP 52 without a v1 side.
    V2Only,
    /// Both `length` and `files`.
    LengthAndFiles,
    /// An empty list of files.
    NoFiles,
    /// A piece length that is 0, negative, or above [`MAX_PIECE_LENGTH`].
    PieceLength(i64),
    /// `pieces` does not consist of 20-byte hashes; holds its length.
    RaggedPieces(usize),
    /// Not as many hashes as the payload has pieces.
    PieceCount {
        /// Pieces that the payload has.
        wanted: u64,
        /// Hashes there are.
        found: u64,
    },
    /// The lengths add up to more than any file system holds.
    Absurd,
    /// A symbolic link with a length (BEP 47).
    LinkWithLength(String),
    /// The payload's name cannot be that of a file.
    Name(String, Unsafe),
    /// The path of an entry cannot be that of a file.
    Path(String, Unsafe),
    /// Two entries with the same path.
    Duplicate(String),
    /// An entry is a file, and another lies inside it.
    FileIsFolder(String),
}

impl fmt::Display for MetainfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bencode(error) => error.fmt(f),
            Self::NotADictionary => f.write_str("not a torrent: it is no dictionary"),
            Self::Missing(key) => write!(f, "not a torrent: the key `{key}` is missing"),
            Self::WrongType(key, wants) => write!(f, "the key `{key}` is not {wants}"),
            Self::V2Only => f.write_str(
                "a BitTorrent v2-only torrent; only v1 and hybrid torrents are supported",
            ),
            Self::LengthAndFiles => f.write_str(
                "it has both `length` and `files`, so it is neither a file nor a folder",
            ),
            Self::NoFiles => f.write_str("it lists no files"),
            Self::PieceLength(n) => write!(
                f,
                "a piece length of {n} bytes; it must be 1 to {MAX_PIECE_LENGTH}"
            ),
            Self::RaggedPieces(n) => write!(
                f,
                "`pieces` has {n} bytes, which is no multiple of 20, the size of a hash"
            ),
            Self::PieceCount { wanted, found } => write!(
                f,
                "it has {found} piece hashes, but its payload has {wanted} pieces"
            ),
            Self::Absurd => f.write_str("its lengths add up to more than any file system can hold"),
            Self::LinkWithLength(path) => {
                write!(f, "the symbolic link `{}` has a length", brief(path))
            }
            Self::Name(name, why) => write!(f, "the name `{}` is unsafe: {why}", brief(name)),
            Self::Path(path, why) => write!(f, "the path `{}` is unsafe: {why}", brief(path)),
            Self::Duplicate(path) => write!(f, "two entries have the path `{}`", brief(path)),
            Self::FileIsFolder(path) => {
                write!(
                    f,
                    "`{}` is a file, and a folder of another entry",
                    brief(path)
                )
            }
        }
    }
}

/// As much of a name as fits a line.
fn brief(name: &str) -> String {
    const FITS: usize = 80;
    let mut text: String = name.chars().take(FITS).collect();
    if text.len() < name.len() {
        text.push('…');
    }
    text
}

impl std::error::Error for MetainfoError {}

impl From<bencode::Error> for MetainfoError {
    fn from(error: bencode::Error) -> Self {
        Self::Bencode(error)
    }
}

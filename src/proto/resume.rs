//! What a run remembers for the next one: which pieces were verified, and how the files looked then.
//!
//! A bencoded dictionary `{"hivebt resume": 1, "sha1": <of the state's raw bytes>, "state": {…}}`. A file that is cut short, altered or of
//! another kind or version is an error, and nothing of it is believed.

use super::sealed::Seal;
use crate::base::bencode::{Dict, Document, Limits, Value};
use crate::base::bitfield::Bitfield;
use crate::base::geometry::Geometry;
use crate::base::id::InfoHash;

const SEAL: Seal = Seal {
    kind: "hivebt resume",
    version: 1,
};

/// A million files and a hundred million pieces fit.
const LIMITS: Limits = Limits {
    size: 64 << 20,
    depth: 2,
    nodes: 64,
};

/// Bytes of a stamp: whether there is one, length, time.
const STAMP: usize = 17;

/// How a file looked: what changes when somebody writes to it.
///
/// The inode is left out: some file systems (FAT, FUSE) number anew at each mount, and who copies files with their times means them to be
/// the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub len: u64,
    /// When it was last written, in nanoseconds since 1970.
    pub mtime: i64,
}

/// How a file came to be where it is, where that decides what may become of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// It is a part of an unfinished payload, and ours.
    #[default]
    Ours,
    /// It is not wanted and was not there: if it is now, it holds ends of pieces that others need.
    Stray,
    /// It has lain under the finished payload's name.
    Published,
}

/// The state of a payload as of its last saving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// How it is cut into pieces.
    pub geometry: Geometry,
    /// Pieces that were verified and written.
    pub verified: Bitfield,
    /// Those of them that had been synced to disk, and outlive a loss of power.
    pub synced: Bitfield,
    /// Pieces that were verified, written and synced, but of which only the bytes in wanted files were kept. None of them is in `verified`.
    pub partly: Bitfield,
    /// For each file how it looked; `None` for one that was not there.
    pub stamps: Vec<Option<Stamp>>,
    /// For each file where it comes from; empty if all are [`Origin::Ours`].
    pub origins: Vec<Origin>,
    /// Whether nothing was written after the stamps were taken: the run ended in order, or the payload was finished. A run that goes on
    /// must save an unclean state before its first write, or after a kill its own writes look like somebody else's.
    pub clean: bool,
    /// Names the kernel's run (`/proc/sys/kernel/random/boot_id`): another one means that unsynced writes may be lost.
    pub boot_id: String,
    /// Whether the payload had its own name, and not its `.part` name.
    pub published: bool,
    /// Whether a run that takes and leaves torrents by itself has begun the payload and fetched all of it, and no other run.
    pub automatic: bool,
    /// When the payload was finished, in seconds since 1970; 0 if it is not, or nobody knows.
    pub finished: u64,
    /// Bytes of payload sent to others, in all runs.
    pub uploaded: u64,
    /// Bytes of payload received from others, in all runs.
    pub downloaded: u64,
}

/// Why bytes are not a state of ours.
pub use super::sealed::SealError as ResumeError;

impl Resume {
    /// Whether it can be of a payload that is cut like this and has so many files.
    #[must_use]
    pub fn fits(&self, geometry: &Geometry, files: usize) -> bool {
        self.geometry == *geometry && self.stamps.len() == files
    }

    /// The state as bytes of a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let geometry = &self.geometry;
        let origins: Vec<u8> = self.origins.iter().map(|&origin| origin as u8).collect();
        SEAL.close(&Value::dict([
            (&b"automatic"[..], Value::Int(self.automatic.into())),
            (b"boot", self.boot_id.as_str().into()),
            (b"clean", Value::Int(self.clean.into())),
            (b"downloaded", count(self.downloaded)),
            (b"files", pack(&self.stamps).into()),
            (b"finished", count(self.finished)),
            (b"info_hash", (&self.info_hash.0[..]).into()),
            (b"length", count(geometry.total())),
            (b"origins", origins.into()),
            (b"partly", self.partly.as_bytes().into()),
            (b"piece length", geometry.piece_length().into()),
            (b"published", Value::Int(self.published.into())),
            (b"synced", self.synced.as_bytes().into()),
            (b"uploaded", count(self.uploaded)),
            (b"verified", self.verified.as_bytes().into()),
        ]))
    }

    /// Reads what [`Resume::to_bytes`] wrote.
    ///
    /// # Errors
    /// If a single bit is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResumeError> {
        let document = Document::parse(bytes, LIMITS).map_err(ResumeError::Bencode)?;
        Self::read(SEAL.open(&document)?)
    }

    fn read(state: Dict<'_>) -> Result<Self, ResumeError> {
        let entries = Entries(state);
        let piece_length = u32::try_from(entries.uint("piece length")?).ok();
        let geometry = piece_length
            .and_then(|n| Geometry::new(entries.uint("length").ok()?, n))
            .ok_or(ResumeError::Entry("length"))?;
        let pieces = |key| {
            let set = Bitfield::from_wire(entries.bytes(key)?, geometry.pieces());
            set.ok_or(ResumeError::Entry(key))
        };
        let stamps = unpack(entries.bytes("files")?).ok_or(ResumeError::Entry("files"))?;
        let origins = entries.bytes_if_there("origins")?;
        let origins: Option<Vec<_>> = origins.iter().map(|&byte| origin(byte)).collect();
        let origins = origins.filter(|list| list.is_empty() || list.len() == stamps.len());
        let partly = match entries.bytes_if_there("partly")? {
            [] => Bitfield::none(geometry.pieces()),
            _ => pieces("partly")?,
        };
        let resume = Self {
            info_hash: InfoHash::from_slice(entries.bytes("info_hash")?)
                .ok_or(ResumeError::Entry("info_hash"))?,
            geometry,
            verified: pieces("verified")?,
            synced: pieces("synced")?,
            partly,
            stamps,
            origins: origins.ok_or(ResumeError::Entry("origins"))?,
            clean: entries.flag("clean")?,
            boot_id: String::from_utf8_lossy(entries.bytes("boot")?).into_owned(),
            published: entries.flag("published")?,
            automatic: entries.uint_if_there("automatic")? == 1,
            finished: entries.uint_if_there("finished")?,
            uploaded: entries.uint("uploaded")?,
            downloaded: entries.uint("downloaded")?,
        };
        if resume.verified.lacks_any_of(&resume.synced) {
            return Err(ResumeError::Entry("synced"));
        }
        Ok(resume)
    }
}

/// The entries of a state, by their keys.
struct Entries<'d>(Dict<'d>);

impl<'d> Entries<'d> {
    fn uint(&self, key: &'static str) -> Result<u64, ResumeError> {
        let value = self.0.get(key.as_bytes()).and_then(|v| v.uint());
        value.ok_or(ResumeError::Entry(key))
    }

    fn bytes(&self, key: &'static str) -> Result<&'d [u8], ResumeError> {
        let value = self.0.get(key.as_bytes()).and_then(|v| v.bytes());
        value.ok_or(ResumeError::Entry(key))
    }

    /// Zero for an entry that earlier versions did not write.
    fn uint_if_there(&self, key: &'static str) -> Result<u64, ResumeError> {
        if self.0.get(key.as_bytes()).is_none() {
            return Ok(0);
        }
        self.uint(key)
    }

    /// Nothing for an entry that earlier versions did not write.
    fn bytes_if_there(&self, key: &'static str) -> Result<&'d [u8], ResumeError> {
        if self.0.get(key.as_bytes()).is_none() {
            return Ok(&[]);
        }
        self.bytes(key)
    }

    fn flag(&self, key: &'static str) -> Result<bool, ResumeError> {
        match self.uint(key)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(ResumeError::Entry(key)),
        }
    }
}

/// Nobody moves more than 2^63 bytes.
fn count(n: u64) -> Value<'static> {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn origin(byte: u8) -> Option<Origin> {
    let known = [Origin::Ours, Origin::Stray, Origin::Published];
    known.get(usize::from(byte)).copied()
}

fn pack(stamps: &[Option<Stamp>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stamps.len() * STAMP);
    for stamp in stamps {
        out.push(u8::from(stamp.is_some()));
        let stamp = stamp.unwrap_or(Stamp { len: 0, mtime: 0 });
        out.extend_from_slice(&stamp.len.to_be_bytes());
        out.extend_from_slice(&stamp.mtime.to_be_bytes());
    }
    out
}

fn unpack(bytes: &[u8]) -> Option<Vec<Option<Stamp>>> {
    let (entries, rest) = bytes.as_chunks::<STAMP>();
    rest.is_empty()
        .then(|| entries.iter().map(unpack_one).collect())?
}

/// The outer `None` is for bytes that are no stamp.
fn unpack_one(entry: &[u8; STAMP]) -> Option<Option<Stamp>> {
    let [there, rest @ ..] = entry;
    let (halves, _) = rest.as_chunks::<8>();
    let [len, mtime] = halves else { return None };
    let stamp = Stamp {
        len: u64::from_be_bytes(*len),
        mtime: i64::from_be_bytes(*mtime),
    };
    match there {
        0 => Some(None),
        1 => Some(Some(stamp)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sealed::tests::{assert_sealed, reseal};
    use super::*;
    use crate::base::geometry::PieceIndex;

    fn sample() -> Resume {
        let geometry = Geometry::new(100, 10).unwrap();
        let mut verified = Bitfield::none(10);
        let mut synced = Bitfield::none(10);
        for n in [0, 3, 9] {
            verified.set(PieceIndex(n));
        }
        synced.set(PieceIndex(3));
        Resume {
            info_hash: InfoHash([7; 20]),
            geometry,
            verified,
            synced,
            partly: {
                let mut partly = Bitfield::none(10);
                partly.set(PieceIndex(5));
                partly
            },
            stamps: vec![None, Some(Stamp { len: 55, mtime: -1 })],
            origins: vec![Origin::Stray, Origin::Published],
            clean: true,
            boot_id: "a-boot".to_owned(),
            published: false,
            automatic: true,
            finished: 1_700_000_000,
            uploaded: 1 << 40,
            downloaded: u64::from(u32::MAX),
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let state = sample();
        assert_eq!(Resume::parse(&state.to_bytes()), Ok(state));
    }

    #[test]
    fn a_state_that_is_altered_cut_short_or_impossible_is_an_error() {
        let good = sample().to_bytes();
        let all: Vec<_> = (0..=255).collect();
        let refused = assert_sealed(&good, &all, |bytes| Resume::parse(bytes).is_err());
        assert!(refused > 1000, "{refused}");
        assert_eq!(
            Resume::parse(&reseal(&good, b"de")),
            Err(ResumeError::Entry("piece length"))
        );
        assert_eq!(
            Resume::parse(b"de"),
            Err(ResumeError::Entry("hivebt resume"))
        );
        assert_eq!(
            Resume::parse(b"d13:hivebt resumei2ee"),
            Err(ResumeError::Version(2, 1))
        );
    }
}

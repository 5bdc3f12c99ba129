//! A payload as a list of files anywhere on disk, to be read as one stretch of bytes.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, IoSliceMut, Read as _};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::hash::Reader;
use super::sys;
use crate::base::filemap::{FileMap, Span};

/// What must not change while a file is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    len: u64,
    mtime: (i64, i64),
    /// It has a name, or several.
    named: bool,
}

impl Stamp {
    /// The file, its length, when it was last written, and whether it still has a name.
    #[must_use]
    pub fn of(meta: &Metadata) -> Self {
        Self {
            file: (meta.dev(), meta.ino()),
            len: meta.len(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            named: meta.nlink() > 0,
        }
    }
}

/// A file of a payload.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it lies; `None` for zeros that lie nowhere (BEP 47).
    pub path: Option<PathBuf>,
    /// Bytes of it that belong to the payload, from its start.
    pub length: u64,
    /// What it must be; `None` if only its content matters.
    pub stamp: Option<Stamp>,
}

/// Files laid end to end.
#[derive(Debug)]
pub struct Files {
    sources: Vec<Source>,
    map: FileMap,
}

/// Why bytes of a file cannot be had.
#[derive(Debug)]
pub struct Fault {
    /// The file, counted from 0.
    pub file: usize,
    /// Where it lies.
    pub path: PathBuf,
    /// What stands against it.
    pub cause: Cause,
}

/// What stands against reading a file.
#[derive(Debug)]
pub enum Cause {
    /// The system says no.
    Io(io::Error),
    /// It ends before the bytes that were asked for.
    Short,
    /// It is another file, has another length or was written since its stamp was taken.
    Changed,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Short => f.write_str("it is shorter than it should be"),
            Self::Changed => f.write_str("it changed while it was read"),
        }
    }
}

impl Files {
    /// `None` if the lengths add up to more than `u64` holds.
    #[must_use]
    pub fn new(sources: Vec<Source>) -> Option<Self> {
        let map = FileMap::new(sources.iter().map(|source| source.length))?;
        Some(Self { sources, map })
    }

    /// Bytes in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.map.total()
    }

    /// A reader for one lane. It keeps the file that it read from last.
    #[must_use]
    pub fn reader(&self) -> FilesReader<'_> {
        FilesReader {
            files: self,
            open: None,
            kept: None,
            bytes: Vec::new(),
        }
    }

    /// Whether the files without bytes, which nobody reads, still are as they were.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_empty(&self) -> Result<(), Fault> {
        let empty = |(_, source): &(usize, &Source)| source.length == 0;
        for (file, source) in self.sources.iter().enumerate().filter(empty) {
            let (Some(path), Some(stamp)) = (&source.path, source.stamp) else {
                continue;
            };
            let cause = match path.metadata() {
                Ok(meta) if Stamp::of(&meta) == stamp => continue,
                Ok(_) => Cause::Changed,
                Err(error) => Cause::Io(error),
            };
            return Err(Fault {
                file,
                path: path.clone(),
                cause,
            });
        }
        Ok(())
    }
}

/// A file of up to so many bytes is read with one call and closed. What is not wanted yet is kept, so that it is not opened again.
const SMALL: u64 = 256 << 10;

/// See [`Files::reader`].
#[derive(Debug)]
pub struct FilesReader<'a> {
    files: &'a Files,
    /// The large file that was read last.
    open: Option<(usize, File)>,
    /// The small file of which only a part was wanted.
    kept: Option<usize>,
    /// Its bytes.
    bytes: Vec<u8>,
}

impl Reader for FilesReader<'_> {
    type Error = Fault;

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        let files = self.files;
        let mut rest = out;
        for span in files.map.spans(offset, rest.len() as u64) {
            let len = usize::try_from(span.len).unwrap_or(usize::MAX);
            let (these, others) = rest.split_at_mut(len.min(rest.len()));
            rest = others;
            let source = &files.sources[span.file];
            let Some(path) = &source.path else {
                these.fill(0);
                continue;
            };
            let read = if source.length > SMALL {
                self.read_large(source, path, span, these)
            } else if span.len == source.length {
                let there = read_whole(source, path, these);
                there.and_then(|there| {
                    if there < these.len() {
                        return Err(Cause::Short);
                    }
                    Ok(())
                })
            } else {
                self.read_small(source, path, span, these)
            };
            read.map_err(|cause| Fault {
                file: span.file,
                path: path.clone(),
                cause,
            })?;
        }
        Ok(())
    }
}

impl FilesReader<'_> {
    fn read_large(
        &mut self,
        source: &Source,
        path: &Path,
        span: Span,
        out: &mut [u8],
    ) -> Result<(), Cause> {
        let file = match self.open.take() {
            Some((number, file)) if number == span.file => file,
            _ => {
                let file = sys::open_to_read(path).map_err(Cause::Io)?;
                sys::read_far_ahead(&file);
                file
            }
        };
        let read = file.read_exact_at(out, span.offset);
        // Looked at after each read: a change that comes later does not matter to the bytes that we have.
        if let Some(stamp) = source.stamp {
            let now = Stamp::of(&file.metadata().map_err(Cause::Io)?);
            if now != stamp {
                return Err(Cause::Changed);
            }
        }
        self.open = Some((span.file, file));
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Cause::Short,
            _ => Cause::Io(error),
        })
    }

    fn read_small(
        &mut self,
        source: &Source,
        path: &Path,
        span: Span,
        out: &mut [u8],
    ) -> Result<(), Cause> {
        if self.kept != Some(span.file) {
            self.kept = None;
            let length = usize::try_from(source.length).unwrap_or(0);
            self.bytes.resize(length, 0);
            let there = read_whole(source, path, &mut self.bytes)?;
            self.bytes.truncate(there);
            self.kept = Some(span.file);
        }
        let from = usize::try_from(span.offset).unwrap_or(usize::MAX);
        let there = from
            .checked_add(out.len())
            .and_then(|to| self.bytes.get(from..to));
        out.copy_from_slice(there.ok_or(Cause::Short)?);
        Ok(())
    }
}

/// Reads all of a small file, or all that there is; returns how many bytes that was. That it has changed shows in its length alone, for which
/// one byte more is asked for: whatever else happens to it, the bytes are those of one moment, and opening, reading and closing is all
/// that it costs.
fn read_whole(source: &Source, path: &Path, out: &mut [u8]) -> Result<usize, Cause> {
    let file = sys::open_to_read(path).map_err(Cause::Io)?;
    let mut beyond = [0];
    let mut slices = [IoSliceMut::new(out), IoSliceMut::new(&mut beyond)];
    let mut there = (&file).read_vectored(&mut slices).map_err(Cause::Io)?;
    while there < out.len() {
        // Seldom: a signal, a network file system, or the end of the file.
        match file.read_at(&mut out[there..], there as u64) {
            Ok(0) => break,
            Ok(more) => there += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Cause::Io(error)),
        }
    }
    if source.stamp.is_some() && there != out.len() {
        return Err(Cause::Changed);
    }
    Ok(there.min(out.len()))
}

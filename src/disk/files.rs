//! A payload as a list of files anywhere on disk, to be read as one stretch of bytes.

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
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
}

impl Stamp {
    /// The file, its length, and when it was last written.
    #[must_use]
    pub fn of(meta: &Metadata) -> Self {
        Self {
            file: (meta.dev(), meta.ino()),
            len: meta.len(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
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

    /// A reader for one thread. It keeps the file that it read from last.
    #[must_use]
    pub fn reader(&self) -> FilesReader<'_> {
        FilesReader {
            files: self,
            open: None,
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

/// See [`Files::reader`].
#[derive(Debug)]
pub struct FilesReader<'a> {
    files: &'a Files,
    open: Option<(usize, File)>,
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
            self.read_span(source, path, span, these)
                .map_err(|cause| Fault {
                    file: span.file,
                    path: path.clone(),
                    cause,
                })?;
        }
        Ok(())
    }
}

impl FilesReader<'_> {
    fn read_span(
        &mut self,
        source: &Source,
        path: &Path,
        span: Span,
        out: &mut [u8],
    ) -> Result<(), Cause> {
        let file = match self.open.take() {
            Some((number, file)) if number == span.file => file,
            _ => sys::open_to_read(path).map_err(Cause::Io)?,
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
}

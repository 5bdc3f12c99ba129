//! The bytes of one payload: positioned reads and writes over its files, from any number of threads.
//!
//! Files are made when their first byte is written, at their full length but without taking room (sparse). Padding (BEP 47) is never
//! on disk. Everything goes by folder handles from the output folder down, see `tree`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use crate::base::filemap::{FileMap, Span};
use crate::proto::resume::Stamp;

use super::error::{Act, StorageError};
use super::handles::Handles;
use super::held;
use super::layout::Layout;
use super::sys::{self, Access};
use super::tree::Tree;

/// Files that [`Storage::sync`] syncs one by one. Beyond that one `syncfs` is cheaper, although it waits for other programs' data too.
const SYNC_ONE_BY_ONE: usize = 64;

/// Written to since the last [`Storage::sync`].
pub(super) const UNSYNCED: u8 = 1;
/// Written to since the last [`Storage::stamps`].
pub(super) const UNSTAMPED: u8 = 2;

/// The payload of one torrent on disk. Made by [`Storage::open_download`] or [`Storage::open_seed`].
#[derive(Debug)]
pub struct Storage {
    pub(super) tree: Tree,
    pub(super) layout: Layout,
    map: FileMap,
    /// Read-locked while a file is opened, so that no name changes meanwhile.
    pub(super) place: RwLock<Place>,
    pub(super) handles: Handles,
    /// Whether it was opened for seeding, and is never renamed or written to.
    pub(super) seed_only: bool,
    /// For each file [`UNSYNCED`] and [`UNSTAMPED`].
    pub(super) marks: Vec<AtomicU8>,
    pub(super) stamps: Mutex<Vec<Option<Stamp>>>,
}

/// Under which name a payload lies at the moment.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The name of the file or folder.
    pub(super) top: OsString,
    /// Whether it is being downloaded; a finished payload is only read.
    pub(super) writable: bool,
}

impl Storage {
    pub(super) fn new(
        tree: Tree,
        layout: Layout,
        place: Place,
        stamps: Vec<Option<Stamp>>,
    ) -> Option<Self> {
        Some(Self {
            map: FileMap::new(layout.files.iter().map(|f| f.len))?,
            marks: layout.files.iter().map(|_| AtomicU8::new(0)).collect(),
            tree,
            layout,
            place: RwLock::new(place),
            handles: Handles::default(),
            seed_only: false,
            stamps: Mutex::new(stamps),
        })
    }

    /// What the payload consists of.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where its bytes lie in its files.
    #[must_use]
    pub fn map(&self) -> &FileMap {
        &self.map
    }

    /// The folder that it lies in, as it was named; state and lock lie beside it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.tree.path()
    }

    /// Where it lies at the moment: the file or folder, under its own name or a `.part` name.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.tree.path().join(&self.place().top)
    }

    /// Whether it is finished, and only read.
    #[must_use]
    pub fn is_published(&self) -> bool {
        !self.place().writable
    }

    /// Fills `out` with the bytes of the payload at `offset`, in one system call where they lie in one file.
    ///
    /// # Errors
    /// If a file is missing, too short or unreadable, or if the range reaches beyond the payload.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), StorageError> {
        self.check_range(offset, out.len() as u64, Act::Read)?;
        let mut rest = out;
        for span in self.map.spans(offset, rest.len() as u64) {
            let (here, after) = rest.split_at_mut(size(span.len));
            if self.layout.files[span.file].pad {
                here.fill(0);
            } else {
                self.read_span(span, here)?;
            }
            rest = after;
        }
        Ok(())
    }

    fn read_span(&self, span: Span, out: &mut [u8]) -> Result<(), StorageError> {
        let handle = self.handle_for(span, false)?;
        let read = handle.read_exact_at(out, span.offset);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), "the file is shorter than the torrent says")
            }
            _ => error,
        })
        .map_err(|error| StorageError::new(Act::Read, self.file_path(span.file))(error))
    }

    /// Writes `parts`, such as the blocks of a piece, one after the other at `offset` of the payload. Makes files that are not there yet.
    ///
    /// # Errors
    /// If the system refuses; then some of the bytes may be written. Bytes outside the range are never touched.
    pub fn write_vectored_at(&self, offset: u64, parts: &[&[u8]]) -> Result<(), StorageError> {
        let len = parts.iter().map(|p| p.len() as u64).sum();
        self.check_range(offset, len, Act::Write)?;
        let mut source = Source { parts, used: 0 };
        for span in self.map.spans(offset, len) {
            if self.layout.files[span.file].pad {
                source.advance(size(span.len));
            } else {
                self.write_span(span, &mut source)?;
            }
        }
        Ok(())
    }

    fn write_span(&self, span: Span, source: &mut Source<'_>) -> Result<(), StorageError> {
        let handle = self.handle_for(span, true)?;
        let written = source.write(&handle, span.offset, span.len);
        // After the write, so that whoever clears the mark before he syncs has this write in what he syncs.
        self.marks[span.file].fetch_or(UNSYNCED | UNSTAMPED, Ordering::AcqRel);
        written.map_err(|error| StorageError::new(Act::Write, self.file_path(span.file))(error))
    }

    /// Makes durable what was written since the last call. Up to 64 files are synced one by one with the folders that lead to them;
    /// for more, the whole file system is (`syncfs`).
    ///
    /// To record what is durable: copy the set of verified pieces, sync, record the copy.
    ///
    /// # Errors
    /// If the system refuses; the next call tries the same files again. Where data is written behind (NFS), this is how a full disk
    /// shows: what was written since the last good sync may be lost, so record no more than was synced then.
    pub fn sync(&self) -> Result<(), StorageError> {
        let files = self.take_marked(UNSYNCED);
        let synced = self.sync_files(&files);
        if synced.is_err() {
            for &file in &files {
                self.marks[file].fetch_or(UNSYNCED, Ordering::AcqRel);
            }
        }
        synced
    }

    fn sync_files(&self, files: &[usize]) -> Result<(), StorageError> {
        let Some(&first) = files.first() else {
            return Ok(());
        };
        if files.len() > SYNC_ONE_BY_ONE {
            let synced = sys::sync_file_system(&*self.handle(first, false)?);
            return synced.map_err(StorageError::new(Act::Sync, self.path()));
        }
        for &file in files {
            let synced = self.handle(file, false)?.sync_data();
            synced.map_err(StorageError::new(Act::Sync, self.file_path(file)))?;
        }
        self.sync_folders(files)
    }

    /// Makes the entries of `files`, and of the folders that they lie in, durable.
    fn sync_folders(&self, files: &[usize]) -> Result<(), StorageError> {
        let place = self.place();
        let paths: Vec<_> = files.iter().map(|&f| self.relative(&place, f)).collect();
        let mut folders: Vec<_> = paths.iter().flat_map(|p| p.ancestors().skip(1)).collect();
        folders.sort_unstable();
        folders.dedup();
        for folder in folders {
            let synced = sys::sync_folder(&*self.tree.folder(folder, false)?);
            synced.map_err(self.tree.fail(Act::Sync, folder))?;
        }
        Ok(())
    }

    /// Length and time of each file, `None` for those that are missing: as of opening, or as of the last write through here. So a change
    /// that somebody else makes to a finished file shows up as a difference the next time. Padding counts as unchanged.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn stamps(&self) -> Result<Vec<Option<Stamp>>, StorageError> {
        for file in self.take_marked(UNSTAMPED) {
            let stamp = self.look(&self.place(), file)?;
            held(&self.stamps)[file] = stamp;
        }
        Ok(held(&self.stamps).clone())
    }

    fn look(&self, place: &Place, file: usize) -> Result<Option<Stamp>, StorageError> {
        let meta = self.tree.meta(&self.relative(place, file))?;
        Ok(meta.map(|meta| Stamp {
            len: meta.len,
            mtime: meta.mtime,
        }))
    }

    pub(super) fn place(&self) -> RwLockReadGuard<'_, Place> {
        self.place.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where `file` lies below the tree.
    pub(super) fn relative(&self, place: &Place, file: usize) -> PathBuf {
        let mut path = PathBuf::from(&place.top);
        if !self.layout.single {
            path.push(&self.layout.files[file].path);
        }
        path
    }

    /// Where `file` lies at the moment, for people. For a padding file, where it would.
    ///
    /// # Panics
    /// If there is no such file.
    #[must_use]
    pub fn file_path(&self, file: usize) -> PathBuf {
        self.tree.path().join(self.relative(&self.place(), file))
    }

    /// The open file; made if it is not there and `making`.
    pub(super) fn handle(&self, file: usize, making: bool) -> Result<Arc<File>, StorageError> {
        let place = self.place();
        if let Some(handle) = self.handles.get(file)
            && (place.writable || !making)
        {
            return Ok(handle);
        }
        let opened = self.open(&place, file, making)?;
        if place.writable {
            self.grow(&opened, file)
                .map_err(self.tree.fail(Act::Write, &self.relative(&place, file)))?;
        }
        Ok(self.handles.put(file, opened))
    }

    /// The open file for the bytes of `span`. One that is read or written from end to end, as are thousands of small ones, is not kept
    /// open, and gets its length by being written.
    pub(super) fn handle_for(&self, span: Span, making: bool) -> Result<Arc<File>, StorageError> {
        if span.len == self.layout.files[span.file].len {
            return self.open(&self.place(), span.file, making).map(Arc::new);
        }
        self.handle(span.file, making)
    }

    fn open(&self, place: &Place, file: usize, making: bool) -> Result<File, StorageError> {
        let access = match (place.writable, making) {
            (false, false) => Access::Read,
            (true, false) => Access::Write,
            (true, true) => Access::Create,
            (false, true) => return Err(self.refuse_to_write(place, file)),
        };
        let rel = self.relative(place, file);
        let opened = self.tree.file(&rel, access).or_else(|error| {
            if !is_out_of_handles(&error.source) {
                return Err(error);
            }
            self.handles.clear();
            self.tree.file(&rel, access)
        })?;
        self.check_fit(&opened, file)
            .map_err(self.tree.fail(Act::Open, &rel))?;
        Ok(opened)
    }

    fn refuse_to_write(&self, place: &Place, file: usize) -> StorageError {
        let text = "a finished payload is never written to";
        let error = io::Error::new(io::ErrorKind::PermissionDenied, text);
        self.tree.fail(Act::Write, &self.relative(place, file))(error)
    }

    /// Sees that what was opened is a regular file, no longer than it should be.
    fn check_fit(&self, opened: &File, file: usize) -> io::Result<()> {
        let expected = self.layout.files[file].len;
        let meta = sys::meta(opened)?;
        if meta.kind != sys::Kind::File {
            return Err(io::Error::other("it is not a regular file"));
        }
        if meta.len > expected {
            let text = format!("it has {} bytes, but {expected} in the torrent", meta.len);
            return Err(io::Error::other(text));
        }
        Ok(())
    }

    /// Gives a file that is downloaded its full length.
    fn grow(&self, opened: &File, file: usize) -> io::Result<()> {
        let expected = self.layout.files[file].len;
        if sys::meta(opened)?.len < expected {
            opened.set_len(expected)?;
            self.marks[file].fetch_or(UNSYNCED | UNSTAMPED, Ordering::AcqRel);
        }
        Ok(())
    }

    /// The files with this mark, which is taken off.
    fn take_marked(&self, mark: u8) -> Vec<usize> {
        let taken = |m: &AtomicU8| m.fetch_and(!mark, Ordering::AcqRel) & mark != 0;
        let files = self.marks.iter().enumerate();
        files.filter(|(_, m)| taken(m)).map(|(n, _)| n).collect()
    }

    pub(super) fn set_stamps(&mut self, stamps: Vec<Option<Stamp>>) {
        self.stamps = Mutex::new(stamps);
    }

    /// Says that `file` is new on disk.
    pub(super) fn mark_new(&self, file: usize) {
        self.marks[file].fetch_or(UNSYNCED | UNSTAMPED, Ordering::AcqRel);
    }

    fn check_range(&self, offset: u64, len: u64, act: Act) -> Result<(), StorageError> {
        let inside = offset
            .checked_add(len)
            .is_some_and(|end| end <= self.map.total());
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "beyond the payload's end");
        inside
            .then_some(())
            .ok_or_else(|| StorageError::new(act, self.path())(outside()))
    }
}

/// Bytes to be written, of which the first ones are done.
struct Source<'a> {
    parts: &'a [&'a [u8]],
    /// Bytes of the first part that are done.
    used: usize,
}

impl Source<'_> {
    /// Writes the next `len` bytes at `offset` of `file`.
    fn write(&mut self, file: &File, offset: u64, len: u64) -> io::Result<()> {
        let (mut at, mut left) = (offset, size(len));
        while left > 0 {
            let written = sys::write_at(file, &self.next(left), at)?;
            self.advance(written);
            at += written as u64;
            left -= written;
        }
        Ok(())
    }

    /// The next bytes, at most `limit` and as many as one call takes.
    fn next(&self, limit: usize) -> Vec<IoSlice<'_>> {
        let (mut left, mut skip) = (limit, self.used);
        let slices = self.parts.iter().map_while(|part| {
            let part = &part[std::mem::take(&mut skip)..];
            let part = &part[..part.len().min(left)];
            left -= part.len();
            (left > 0 || !part.is_empty()).then(|| IoSlice::new(part))
        });
        slices.take(sys::MAX_SLICES).collect()
    }

    fn advance(&mut self, n: usize) {
        self.used += n;
        while let Some(first) = self.parts.first()
            && self.used >= first.len()
        {
            self.used -= first.len();
            self.parts = &self.parts[1..];
        }
    }
}

/// A length that was checked to be no longer than some slice in memory.
fn size(len: u64) -> usize {
    usize::try_from(len).expect("no longer than a slice")
}

/// EMFILE and ENFILE.
fn is_out_of_handles(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

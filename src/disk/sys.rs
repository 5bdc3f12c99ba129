//! System calls that the standard library lacks, or has only for whole paths. The only file of this floor that names `rustix`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, SeekFrom, Stat};
use rustix::io::Errno;

/// The most buffers that one call writes (IOV_MAX).
pub(super) const MAX_SLICES: usize = 1024;

/// What a name in a folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, which is not followed.
    Link,
    /// A device, a socket or a pipe.
    Other,
}

/// What there is to know of a file without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) kind: Kind,
    /// Bytes.
    pub(super) len: u64,
    /// When it was last written, in nanoseconds since 1970.
    pub(super) mtime: i64,
}

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// For reading; it must be there.
    Read,
    /// For reading and writing; it must be there.
    Write,
    /// For reading and writing; made if it is not there, with the modes that the umask leaves.
    Create,
    /// As `Create`, and emptied.
    Replace,
}

/// A folder, as a place to look things up in. Follows symbolic links: this is for what the operator named.
pub(super) fn folder(path: &Path) -> io::Result<OwnedFd> {
    // O_PATH: searching a folder needs no right to list it.
    Ok(rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// The folder `name` in `dir`; a symbolic link is refused with `ENOTDIR`.
pub(super) fn folder_at(dir: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

/// Makes the folder `name` in `dir`; one that is there already is fine.
pub(super) fn make_folder_at(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The file at `path` for reading. Follows symbolic links: this is for what the operator named. A pipe does not make the caller wait.
pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Says that `file` is read from front to end, for which Linux reads twice as far ahead. Only a hint: failing, it changes nothing.
pub(super) fn read_far_ahead(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Sequential);
}

/// The file `name` in `dir`. A symbolic link is refused; a pipe does not make the caller wait.
pub(super) fn file_at(dir: impl AsFd, name: &OsStr, access: Access) -> io::Result<File> {
    let access = match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::RDWR,
        Access::Create => OFlags::RDWR | OFlags::CREATE,
        Access::Replace => OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC,
    };
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o666)) {
        Ok(fd) => Ok(fd.into()),
        Err(Errno::LOOP) => Err(io::Error::other("it is a symbolic link")),
        Err(error) => Err(error.into()),
    }
}

/// What `name` in `dir` is, itself and not what a link leads to; `None` if there is nothing.
pub(super) fn meta_at(dir: impl AsFd, name: &OsStr) -> io::Result<Option<Meta>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(meta_of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What an open file is.
pub(super) fn meta(file: &File) -> io::Result<Meta> {
    Ok(meta_of(&rustix::fs::fstat(file)?))
}

/// Whether `name` in `dir` still is the file that is open as `file`.
pub(super) fn is_at(dir: impl AsFd, name: &OsStr, file: &File) -> io::Result<bool> {
    let open = rustix::fs::fstat(file)?;
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok((stat.st_dev, stat.st_ino) == (open.st_dev, open.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn meta_of(stat: &Stat) -> Meta {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    };
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Meta {
        kind,
        len: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: stat
            .st_mtime
            .saturating_mul(1_000_000_000)
            .saturating_add(nanos),
    }
}

/// Renames within `dir`, never over something that is there.
pub(super) fn rename_at(dir: impl AsFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
    match rustix::fs::renameat_with(&dir, from, &dir, to, RenameFlags::NOREPLACE) {
        // A file system (NFS, some FUSE) or kernel that knows no such flag: look first. The lock keeps other runs out.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if meta_at(&dir, to)?.is_some() {
                return Err(Errno::EXIST.into());
            }
            replace_at(dir, from, to)
        }
        other => Ok(other?),
    }
}

/// Renames within `dir`, in place of what may be there.
pub(super) fn replace_at(dir: impl AsFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
    Ok(rustix::fs::renameat(&dir, from, &dir, to)?)
}

/// Takes the file `name` out of `dir`.
pub(super) fn remove_file_at(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
}

/// Takes the folder `name` out of `dir`, if it is empty.
pub(super) fn remove_folder_at(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

/// Writes some of `slices` (at most [`MAX_SLICES`]) at `offset`; returns how many bytes, at least one.
pub(super) fn write_at(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    loop {
        match rustix::io::pwritev(file, slices, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => return Ok(n),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Copies up to `len` bytes at `offset` of `from` to the same place in `to` without their passing through us; where the file system can share what both hold, they take
/// no room twice. Returns how many bytes, 0 at the end of `from`.
pub(super) fn copy_within(from: &File, to: &File, offset: u64, len: u64) -> io::Result<u64> {
    let (mut read, mut written) = (offset, offset);
    // The kernel copies less than 2 GiB at a time.
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(1 << 30);
    let copied = rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), len)?;
    Ok(copied as u64)
}

/// Makes the entries of a folder durable.
pub(super) fn sync_folder(dir: impl AsFd) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listable = match rustix::fs::openat(dir, ".", flags, Mode::empty()) {
        // A folder that may be written to but not listed cannot be synced; nor can the operator do anything about it here.
        Err(Errno::ACCESS) => return Ok(()),
        other => other?,
    };
    match rustix::fs::fsync(listable) {
        // Some file systems have nothing to sync in a folder, and say so.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes everything on the file system of `file` durable.
pub(super) fn sync_file_system(file: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

/// The next stretch of `file` at or after `from` that holds data and is no hole; `None` if nothing but a hole is left.
///
/// # Errors
/// `InvalidInput` among others, where the file system cannot tell.
pub(super) fn next_data(file: &File, from: u64) -> io::Result<Option<Range<u64>>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Err(Errno::NXIO) => return Ok(None),
        other => other?,
    };
    Ok(Some(start..rustix::fs::seek(file, SeekFrom::Hole(start))?))
}

/// Whether files can be made in the folder `path`.
pub(super) fn may_write(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, CWD};
    let rights = Access::WRITE_OK | Access::EXEC_OK;
    Ok(rustix::fs::accessat(CWD, path, rights, AtFlags::EACCESS)?)
}

/// Bytes that an unprivileged user can still write on the file system of `path`.
pub(super) fn free(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

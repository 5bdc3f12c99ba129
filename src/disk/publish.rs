//! Files that appear whole or not at all.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Writes `bytes` to `path`: first under a name beside it, then synced, then under its own name. Without `replace`, a file that is there
/// already is left alone. What is replaced keeps its permissions, and a symbolic link to it stays one.
///
/// What is there and is no file (such as `/dev/stdout`) is written to as it is, never replaced.
///
/// # Errors
/// `AlreadyExists` if something is there and is not to be replaced; whatever stands against writing.
pub fn write_whole(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    let there = fs::metadata(path);
    match &there {
        Ok(meta) if meta.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(meta) if !meta.is_file() => {
            return OpenOptions::new().write(true).open(path)?.write_all(bytes);
        }
        Ok(_) if !replace => return Err(io::ErrorKind::AlreadyExists.into()),
        _ => {}
    }
    let replaced = there.ok().map(|meta| meta.permissions());
    let path = match &replaced {
        Some(_) => fs::canonicalize(path)?,
        None => path.to_owned(),
    };
    if path.file_name().is_none() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let beside = beside(&path);
    let written = write(&beside, bytes, replaced).and_then(|()| name(&beside, &path, replace));
    // After a rename there is nothing left to remove.
    let _ = fs::remove_file(&beside);
    written
}

/// A name in the same folder that nobody else uses.
fn beside(path: &Path) -> PathBuf {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".hivebt-{}-{serial}.tmp", std::process::id()))
}

fn write(beside: &Path, bytes: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    // Nobody's file, and nobody's link: an attacker in a shared folder must not choose where we write.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(beside)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

fn name(beside: &Path, path: &Path, replace: bool) -> io::Result<()> {
    if replace {
        return fs::rename(beside, path);
    }
    // A link fails where a rename would replace a file that came in the meantime.
    match fs::hard_link(beside, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            // A file system without hard links.
            if fs::symlink_metadata(path).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(beside, path)
        }
        linked => linked,
    }
}

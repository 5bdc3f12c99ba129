//! How much room there is.

use std::path::Path;

use super::error::{Act, StorageError};
use super::sys;

/// Bytes that this user can still write at `path`, or where it will be: the nearest folder above it that exists.
///
/// # Errors
/// If the system does not tell.
pub fn free(path: &Path) -> Result<u64, StorageError> {
    let there = there(path);
    sys::free(there).map_err(StorageError::new(Act::Examine, there))
}

/// Whether files can be made at `path`, or where it will be. Makes none.
///
/// # Errors
/// If the system says no: a right is missing, the file system is read-only, or something that is no folder lies there.
pub fn writable(path: &Path) -> Result<(), StorageError> {
    let there = there(path);
    let fail = StorageError::new(Act::Write, there);
    if there.is_dir() {
        sys::may_write(there).map_err(fail)
    } else {
        Err(fail(std::io::ErrorKind::NotADirectory.into()))
    }
}

/// The nearest folder at or above `path` that exists.
fn there(path: &Path) -> &Path {
    let there = path.ancestors().find(|p| p.exists());
    there.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_can_be_written_to_and_a_file_or_a_read_only_file_system_cannot() {
        assert!(writable(Path::new("/tmp/not/there/yet")).is_ok());
        assert!(writable(Path::new("/dev/null")).is_err());
        assert!(writable(Path::new("/proc/self")).is_err());
    }

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_the_one_above() {
        assert!(free(Path::new("/tmp/not/there/yet")).unwrap() > 0);
        assert!(free(Path::new("neither/is/this")).is_ok());
        assert!(free(Path::new("")).is_ok());
    }
}

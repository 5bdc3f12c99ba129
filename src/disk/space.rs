//! How much room there is.

use std::path::Path;

use super::error::{Act, StorageError};
use super::sys;

/// Bytes that this user can still write at `path`, or where it will be: the nearest folder above it that exists.
///
/// # Errors
/// If the system does not tell.
pub fn free(path: &Path) -> Result<u64, StorageError> {
    let there = path.ancestors().find(|p| p.exists());
    let there = there.unwrap_or(Path::new("."));
    sys::free(there).map_err(StorageError::new(Act::Examine, there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_the_one_above() {
        assert!(free(Path::new("/tmp/not/there/yet")).unwrap() > 0);
        assert!(free(Path::new("neither/is/this")).is_ok());
        assert!(free(Path::new("")).is_ok());
    }
}

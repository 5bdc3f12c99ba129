//! Where files have holes: stretches that were never written, take no room, and read as zeros.

use crate::base::bitfield::Bitfield;
use crate::base::geometry::Geometry;
use crate::base::sha1::{Digest, Sha1};

use super::error::StorageError;
use super::storage::Storage;
use super::sys;

/// Files of fewer pieces are not searched for holes where that only saves reading them.
const WORTH_A_LOOK: u64 = 16;

impl Storage {
    /// The pieces of which at least a byte may have been written. In an unfinished payload holes do not count, where the file system
    /// tells them; in a finished one every byte counts, because its owner may have made it with holes.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn occupied(&self, geometry: &Geometry) -> Result<Bitfield, StorageError> {
        let mut pieces = Bitfield::none(geometry.pieces());
        let published = self.is_published();
        let files = self.layout.files.iter().zip(self.stamps()?);
        for (n, (file, stamp)) in files.enumerate() {
            if stamp.is_none() || file.pad || file.len == 0 {
                continue;
            }
            if published {
                self.mark(n, 0, file.len, geometry, &mut pieces);
            } else {
                self.mark_data(n, geometry, &mut pieces)?;
            }
        }
        Ok(pieces)
    }

    /// Pieces that lie in holes of large files as a whole: they hold nothing but zeros, and need not be read. Not all that there are.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn hollow(&self, geometry: &Geometry) -> Result<Bitfield, StorageError> {
        let mut data = Bitfield::none(geometry.pieces());
        let large = u64::from(geometry.piece_length()) * WORTH_A_LOOK;
        let files = self.layout.files.iter().zip(self.stamps()?);
        for (n, (file, stamp)) in files.enumerate() {
            if file.len >= large && stamp.is_some_and(|stamp| stamp.len == file.len) {
                self.mark_data(n, geometry, &mut data)?;
            } else {
                self.mark(n, 0, file.len, geometry, &mut data);
            }
        }
        let mut hollow = Bitfield::none(geometry.pieces());
        for piece in geometry.all().filter(|&piece| !data.has(piece)) {
            hollow.set(piece);
        }
        Ok(hollow)
    }

    /// Marks the pieces with bytes from `from` to `to` of `file`.
    fn mark(&self, file: usize, from: u64, to: u64, geometry: &Geometry, pieces: &mut Bitfield) {
        let range = self.map().range(file);
        let end = range.start.saturating_add(to).min(range.end);
        for piece in geometry.touched(range.start + from..end) {
            pieces.set(piece);
        }
    }

    fn mark_data(
        &self,
        file: usize,
        geometry: &Geometry,
        pieces: &mut Bitfield,
    ) -> Result<(), StorageError> {
        let len = self.layout.files[file].len;
        let handle = self.handle(file, false)?;
        let mut at = 0;
        while at < len {
            match sys::next_data(&handle, at) {
                Ok(Some(data)) if data.end > at => {
                    self.mark(file, data.start, data.end, geometry, pieces);
                    at = data.end;
                }
                Ok(None) => break,
                // A file system that cannot tell: it may be data throughout.
                Ok(Some(_)) | Err(_) => {
                    self.mark(file, at, len, geometry, pieces);
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The SHA-1 of `len` zeros.
#[must_use]
pub fn hash_of_zeros(len: u32) -> Digest {
    // A constant would lie in the program's file.
    let zeros = vec![0; 16 << 10];
    let mut hash = Sha1::default();
    let mut left = len as usize;
    while left > 0 {
        let step = left.min(zeros.len());
        hash.update(&zeros[..step]);
        left -= step;
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sha1;

    #[test]
    fn zeros_are_hashed_without_as_much_memory() {
        for len in [0, 1, 16_383, 16_384, 16_385, 100_000] {
            assert_eq!(hash_of_zeros(len), sha1::digest(&vec![0; len as usize]));
        }
    }
}

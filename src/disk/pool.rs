//! Buffers for blocks, used again and again, and counted so that memory has a bound.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use crate::base::geometry::BLOCK;

use super::held;

/// Where buffers come from and go back to. Clones are the same pool.
///
/// **The bound.** Buffers are kept for longer than it takes to read one block from a socket only by an [`super::assembly::Assembly`]
/// (and the jobs that it hands to the hasher), which keeps one only while all buffers in use fit the cache, see [`Pool::is_over`]. So
/// at any time there are at most `cache` bytes of buffers, rounded down to whole blocks, and one more for each thread that is just
/// receiving a block. A buffer is always given at once, whatever the others do, so that no reader waits for another;
/// those that a reader merely hopes to fill ([`Pool::spare`]) only while a quarter of the cache is free. Beside the buffers an
/// assembly needs 32 bytes for each block of the pieces that are begun: 1.6 MiB for fifty pieces of 16 MiB.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    /// Buffers that may be in use before blocks go to the file on arrival.
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: Vec<Box<[u8; BLOCK as usize]>>,
    used: usize,
}

impl Pool {
    /// A pool that keeps up to `cache` bytes of blocks.
    #[must_use]
    pub fn new(cache: u64) -> Self {
        let limit = usize::try_from(cache / u64::from(BLOCK)).unwrap_or(usize::MAX);
        Self(Arc::new(Shared {
            limit,
            state: Mutex::default(),
        }))
    }

    /// A buffer of `len` bytes, whose content is whatever it held last.
    ///
    /// # Panics
    /// If `len` is more than a block.
    #[must_use]
    pub fn take(&self, len: u32) -> Buffer {
        assert!(len <= BLOCK, "{len} bytes are more than a block");
        let reused = {
            let mut state = held(&self.0.state);
            state.used += 1;
            state.free.pop()
        };
        Buffer {
            bytes: Some(reused.unwrap_or_else(|| Box::new([0; BLOCK as usize]))),
            len: len as usize,
            pool: self.clone(),
        }
    }

    /// A buffer of a whole block that may come to nothing; none where a quarter of the cache or less is left.
    #[must_use]
    pub fn spare(&self) -> Option<Buffer> {
        let used = self.used();
        (used < self.0.limit / 4 * 3).then(|| self.take(BLOCK))
    }

    /// Whether more buffers are in use than the cache holds; then a block goes to the file on arrival.
    #[must_use]
    pub fn is_over(&self) -> bool {
        held(&self.0.state).used > self.0.limit
    }

    /// Buffers in use.
    #[must_use]
    pub fn used(&self) -> usize {
        held(&self.0.state).used
    }

    /// Gives buffers that nobody uses back to the system, such as when a download has become a seed.
    pub fn trim(&self) {
        held(&self.0.state).free = Vec::new();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} of {} in use)", self.used(), self.0.limit)
    }
}

/// The bytes of a block. Goes back to its pool when dropped.
pub struct Buffer {
    /// `None` only while it is dropped.
    bytes: Option<Box<[u8; BLOCK as usize]>>,
    len: usize,
    pool: Pool,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.as_deref().map_or(&[], |b| &b[..self.len])
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        self.bytes.as_deref_mut().map_or(&mut [], |b| &mut b[..len])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut state = held(&self.pool.0.state);
        state.used -= 1;
        // Buffers that were given beyond the cache are not kept.
        if state.free.len() + state.used < self.pool.0.limit {
            state.free.extend(self.bytes.take());
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_never_kept_beyond_the_cache() {
        let pool = Pool::new(2 * u64::from(BLOCK) + 5);
        let mut first = pool.take(4);
        first.copy_from_slice(b"abcd");
        drop(first);
        assert_eq!(&*pool.take(3), b"abc", "the same memory");
        let many: Vec<_> = (0..5).map(|_| pool.take(BLOCK)).collect();
        assert!(pool.is_over());
        drop(many);
        assert_eq!((pool.used(), held(&pool.0.state).free.len()), (0, 2));
        pool.trim();
        assert_eq!(held(&pool.0.state).free.len(), 0);
    }

    #[test]
    fn a_pool_without_cache_still_gives_buffers() {
        let pool = Pool::new(0);
        let buffer = pool.take(BLOCK);
        assert!(pool.is_over());
        assert_eq!(buffer.len(), BLOCK as usize);
    }
}

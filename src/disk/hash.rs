//! The engine that hashes a payload where it lies: to create a torrent, to verify one, and to recheck what an earlier run left.
//!
//! Threads take batches of neighbouring pieces and read each with positioned reads into a buffer of their own, a slice at a time, so
//! memory is bounded whatever the piece length. A batch is handed to one function, which may hash its pieces side by side.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::held;
use crate::base::geometry::{Geometry, PieceIndex};
use crate::base::sha1::{Digest, Sha1};

/// Bytes read at a time: enough that the system call costs little, little enough to stay in the second-level cache until hashed.
const SLICE: usize = 256 << 10;

/// Bytes in a batch, about: taking it costs a lock.
const BATCH_BYTES: u32 = 4 << 20;

/// Pieces in a batch at most.
const BATCH_PIECES: u32 = 16;

/// How far a run has come, and a way to stop it. Shared with whoever shows progress.
#[derive(Debug, Default)]
pub struct Watch {
    done: AtomicU64,
    cancelled: AtomicBool,
}

impl Watch {
    /// Bytes of the pieces that are done with, readable or not.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Stops the run soon: pieces that were begun are finished, others are not begun.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether [`Watch::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// Where a thread gets the bytes of a payload from. Each thread has its own, so it may keep what it opened.
pub trait Reader {
    /// Why bytes cannot be had.
    type Error: Send;

    /// Fills `out` with the bytes of the payload from `offset` on.
    ///
    /// # Errors
    /// If any of them cannot be had.
    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Self::Error>;
}

impl<E: Send, F: FnMut(u64, &mut [u8]) -> Result<(), E>> Reader for F {
    type Error = E;

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), E> {
        self(offset, out)
    }
}

/// One thread for each core.
#[must_use]
pub fn default_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Hashes `pieces` with `threads` threads, of which the caller's is one, and tells `visit` each result, in no particular order.
/// A piece that cannot be read is a result too. `open` makes a reader for each thread.
///
/// Returns when all is done, or soon after [`Watch::cancel`].
pub fn run<R: Reader>(
    geometry: Geometry,
    pieces: impl Iterator<Item = PieceIndex> + Send,
    threads: usize,
    watch: &Watch,
    open: impl Fn() -> R + Sync,
    visit: impl FnMut(PieceIndex, Result<Digest, R::Error>) + Send,
) {
    let batch = (BATCH_BYTES / geometry.piece_length()).clamp(1, BATCH_PIECES);
    let (pieces, visit) = (Mutex::new(pieces), Mutex::new(visit));
    let work = || {
        let mut worker = Worker {
            geometry,
            watch,
            reader: open(),
            slice: Vec::new(),
        };
        let (mut taken, mut results) = (Vec::new(), Vec::new());
        loop {
            taken.extend(held(&pieces).by_ref().take(batch as usize));
            if taken.is_empty() || watch.is_cancelled() {
                break;
            }
            worker.hash(&taken, &mut results);
            let mut visit = held(&visit);
            for (piece, result) in taken.drain(..).zip(results.drain(..)) {
                visit(piece, result);
            }
        }
    };
    thread::scope(|scope| {
        for n in 1..threads.max(1) {
            let named = thread::Builder::new().name(format!("hash-{n}"));
            // A system that gives no more threads makes this slower, not impossible.
            if named.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
}

struct Worker<'a, R> {
    geometry: Geometry,
    watch: &'a Watch,
    reader: R,
    slice: Vec<u8>,
}

impl<R: Reader> Worker<'_, R> {
    /// Appends the result of each piece of a batch, in its order.
    fn hash(&mut self, batch: &[PieceIndex], results: &mut Vec<Result<Digest, R::Error>>) {
        for &piece in batch {
            results.push(self.hash_one(piece));
            let len = u64::from(self.geometry.piece_len(piece));
            self.watch.done.fetch_add(len, Ordering::Relaxed);
        }
    }

    fn hash_one(&mut self, piece: PieceIndex) -> Result<Digest, R::Error> {
        let mut at = self.geometry.piece_offset(piece);
        let mut left = self.geometry.piece_len(piece) as usize;
        let mut hasher = Sha1::default();
        self.slice
            .resize(SLICE.min(self.geometry.piece_length() as usize), 0);
        while left > 0 {
            let len = left.min(self.slice.len());
            let slice = &mut self.slice[..len];
            self.reader.read(at, slice)?;
            hasher.update(slice);
            at += len as u64;
            left -= len;
        }
        Ok(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sha1;

    fn payload(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        fastrand::Rng::with_seed(len as u64).fill(&mut bytes);
        bytes
    }

    /// A reader of a payload in memory; its error is the offset.
    #[derive(Clone, Copy)]
    struct Memory<'a>(&'a [u8]);

    impl Reader for Memory<'_> {
        type Error = u64;

        fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), u64> {
            let from = usize::try_from(offset).unwrap();
            let there = self.0.get(from..from + out.len()).ok_or(offset)?;
            out.copy_from_slice(there);
            Ok(())
        }
    }

    #[test]
    fn every_piece_gets_its_hash_whatever_the_sizes_and_the_number_of_threads() {
        for (len, piece) in [
            (0, 16384),
            (1, 16384),
            (100_000, 1000),
            (3 * SLICE + 5, u32::try_from(SLICE).unwrap()),
            (5 * SLICE + 5, u32::try_from(2 * SLICE + 1).unwrap()),
        ] {
            let bytes = payload(len);
            let wanted: Vec<_> = bytes.chunks(piece as usize).map(sha1::digest).collect();
            let geometry = Geometry::new(len as u64, piece).unwrap();
            for threads in [0, 1, 3] {
                let watch = Watch::default();
                let mut got = vec![[0; 20]; wanted.len()];
                run(
                    geometry,
                    geometry.all(),
                    threads,
                    &watch,
                    || Memory(&bytes),
                    |p, digest| {
                        got[p.idx()] = digest.unwrap();
                    },
                );
                assert_eq!(got, wanted);
                assert_eq!(watch.done(), len as u64);
            }
        }
    }

    #[test]
    fn a_piece_that_cannot_be_read_is_told_and_the_others_are_hashed() {
        let bytes = payload(2500);
        let geometry = Geometry::new(4000, 1000).unwrap();
        let mut results = Vec::new();
        let some = [0, 1, 3, 2].map(PieceIndex);
        let watch = Watch::default();
        run(
            geometry,
            some.into_iter(),
            1,
            &watch,
            || Memory(&bytes),
            |p, r| results.push((p.0, r)),
        );
        let digest = |n: usize| Ok(sha1::digest(&bytes[n * 1000..(n + 1) * 1000]));
        assert_eq!(
            results,
            [
                (0, digest(0)),
                (1, digest(1)),
                (3, Err(3000)),
                (2, Err(2000))
            ]
        );
        assert_eq!(watch.done(), 4000);
    }

    #[test]
    fn a_cancelled_run_begins_no_more_batches() {
        let bytes = payload(1000);
        let geometry = Geometry::new(1000, 1).unwrap();
        let watch = Watch::default();
        let mut seen = 0;
        run(
            geometry,
            geometry.all(),
            1,
            &watch,
            || Memory(&bytes),
            |_, _| {
                seen += 1;
                watch.cancel();
            },
        );
        assert_eq!(seen, BATCH_PIECES);
    }
}

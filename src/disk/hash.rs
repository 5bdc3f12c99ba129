//! The engine that hashes a payload where it lies: to create a torrent, to verify one, and to recheck what an earlier run left.
//!
//! Threads take batches of neighbouring pieces and hash the pieces of a batch side by side, as many as the processor does best at a time
//! (lanes). Pieces are read a step at a time with positioned reads into a buffer that is used again and again, so memory is
//! bounded whatever the piece length: 256 KiB for each lane and thread, which is 4 MiB a thread with sixteen lanes.
//!
//! Side by side, large pieces are read from as many places at a time as there are lanes. Each lane has a reader of its own, so that the system
//! sees as many files that are read from front to end, and reads ahead in each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::held;
use crate::base::aligned::Aligned;
use crate::base::geometry::{Geometry, PieceIndex};
use crate::base::sha1::{self, Digest, SideBySide};

/// Bytes of a piece that are read at a time: enough that the system call costs little, little enough that what sixteen lanes hold stays
/// near the processor. A multiple of 64, as hashing side by side wants it.
const STEP: usize = 256 << 10;

/// Bytes in a batch, about, where pieces are hashed one after the other: taking it costs a lock.
const BATCH_BYTES: u32 = 4 << 20;

/// Pieces in such a batch at most.
const BATCH_PIECES: usize = 16;

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

    /// Stops the run soon; what was begun is dropped.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether [`Watch::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// Where a thread gets the bytes of a payload from. Each lane of a thread has its own, so it may keep what it opened.
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
/// A piece that cannot be read is a result too. `open` makes a reader for each lane of each thread.
///
/// Returns when all is done, or soon after [`Watch::cancel`].
pub fn run<R: Reader>(
    geometry: Geometry,
    pieces: impl ExactSizeIterator<Item = PieceIndex> + Send,
    threads: usize,
    watch: &Watch,
    open: impl Fn() -> R + Sync,
    visit: impl FnMut(PieceIndex, Result<Digest, R::Error>) + Send,
) {
    let threads = threads.max(1);
    let (pieces, visit) = (Mutex::new(pieces), Mutex::new(visit));
    let work = || {
        let mut worker = Worker {
            geometry,
            watch,
            open: &open,
            readers: Vec::new(),
            memory: Aligned::default(),
        };
        let (mut taken, mut results) = (Vec::new(), Vec::new());
        loop {
            let mut left = held(&pieces);
            // The last ones are divided, so that all threads are done at the same time.
            let share = left.len().div_ceil(threads);
            taken.extend(left.by_ref().take(share.min(worker.batch())));
            drop(left);
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
        for n in 1..threads {
            let named = thread::Builder::new().name(format!("hash-{n}"));
            // A system that gives no more threads makes this slower, not impossible.
            if named.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
}

struct Worker<'a, R, O> {
    geometry: Geometry,
    watch: &'a Watch,
    open: &'a O,
    /// One for each lane.
    readers: Vec<R>,
    /// A step for each lane.
    memory: Aligned,
}

impl<R: Reader, O: Fn() -> R> Worker<'_, R, O> {
    /// Pieces to take at a time.
    fn batch(&self) -> usize {
        let lanes = sha1::width();
        if lanes > 1 {
            return lanes;
        }
        let pieces = (BATCH_BYTES / self.geometry.piece_length()) as usize;
        pieces.clamp(1, BATCH_PIECES)
    }

    /// Appends the result of each piece of a batch, in its order; fewer if the run was cancelled.
    fn hash(&mut self, batch: &[PieceIndex], results: &mut Vec<Result<Digest, R::Error>>) {
        let geometry = self.geometry;
        // All but the last piece of a payload are of the same length.
        for group in batch.chunk_by(|&a, &b| geometry.piece_len(a) == geometry.piece_len(b)) {
            let len = group.first().map_or(0, |&p| geometry.piece_len(p)) as usize;
            self.hash_equal(group, len, results);
        }
    }

    /// The same for pieces of the same length.
    fn hash_equal(
        &mut self,
        pieces: &[PieceIndex],
        len: usize,
        results: &mut Vec<Result<Digest, R::Error>>,
    ) {
        let mut hasher = SideBySide::new(pieces.len());
        let mut faults: Vec<_> = pieces.iter().map(|_| None).collect();
        let step = len.min(STEP);
        let mut at = 0;
        while at < len {
            if self.watch.is_cancelled() {
                return;
            }
            let now = step.min(len - at);
            let mut memory = std::mem::take(&mut self.memory);
            let buffer = memory.room(pieces.len() * now);
            self.read(buffer, pieces, at, &mut faults);
            let parts: Vec<&[u8]> = buffer.chunks_exact(now).collect();
            hasher.update(&parts);
            let bytes = buffer.len() as u64;
            self.memory = memory;
            self.watch.done.fetch_add(bytes, Ordering::Relaxed);
            at += now;
        }
        let digests = hasher.finish().into_iter();
        results.extend((digests.zip(faults)).map(|(digest, fault)| fault.map_or(Ok(digest), Err)));
    }

    /// Fills each piece's share of `buffer` with its bytes from `at` on. A piece that could not be read before is let be.
    fn read(
        &mut self,
        buffer: &mut [u8],
        pieces: &[PieceIndex],
        at: usize,
        faults: &mut [Option<R::Error>],
    ) {
        while self.readers.len() < pieces.len() {
            self.readers.push((self.open)());
        }
        let share = buffer.len() / pieces.len().max(1);
        let start = |piece| self.geometry.piece_offset(piece) + at as u64;
        // What lies together is read at once, so that a small file is. Should that fail, the pieces are tried one by one.
        let neighbours = pieces.windows(2).all(|two| two[0].0 + 1 == two[1].0);
        if neighbours
            && share == self.geometry.piece_length() as usize
            && let (Some(&first), Some(reader)) = (pieces.first(), self.readers.first_mut())
            && reader.read(start(first), buffer).is_ok()
        {
            return;
        }
        let shares = buffer.chunks_exact_mut(share);
        let lanes = pieces.iter().zip(&mut self.readers).zip(faults);
        for (((&piece, reader), fault), out) in lanes.zip(shares) {
            if fault.is_none() {
                *fault = reader.read(start(piece), out).err();
            }
        }
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
            (40 * 16384 - 3, 16384),
            (3 * STEP + 5, u32::try_from(STEP).unwrap()),
            (5 * STEP + 5, u32::try_from(2 * STEP + 1).unwrap()),
            (21 * (STEP + 64), u32::try_from(STEP + 64).unwrap()),
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
        assert!(seen <= BATCH_PIECES.max(sha1::width()), "{seen}");
    }
}

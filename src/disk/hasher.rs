//! Threads that check finished pieces and write the good ones to their files, so that whoever receives never stops receiving.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, Hasher as _, RandomState};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::base::aligned::Aligned;
use crate::base::geometry::{BLOCK, Geometry, PieceIndex};
use crate::base::sha1::{Digest, Sha1, SideBySide, width};

use super::assembly::Finished;
use super::error::StorageError;
use super::held;
use super::pool::Buffer;
use super::storage::Storage;

/// Jobs that one thread takes at a time at most.
const BATCH: usize = 16;

/// How long a piece waits for others to be hashed side by side with, which costs a third of hashing it alone…
const PATIENCE: Duration = Duration::from_millis(4);
/// …where pieces have come so fast of late that at least this many will be there by then.
const COMPANY: u32 = 8;

/// Jobs that wait at most. Their blocks are in the pool's count, so this bounds how far receiving runs ahead, not memory.
const QUEUE: usize = 64;

/// Bytes of a spilled piece that are read back at a time; what each thread needs beyond the pool.
const READ_BACK: usize = 256 << 10;

/// What became of a piece.
#[derive(Debug)]
pub enum Verdict {
    /// It has the right hash, and is written to its place. With the sums of its blocks, if the job asked for them.
    Good(Sums),
    /// It has the wrong hash. Its blocks are gone; these are their sums.
    Bad(Sums),
    /// It could not be written, or read back.
    Failed(StorageError),
}

/// A sum for each block of a piece, or none at all: equal blocks of a torrent have equal sums for as long as the process runs. The key is
/// random and never leaves it, so that nobody outside can make two blocks of equal sum.
pub type Sums = Vec<u64>;

/// Whose pieces they are: one for each torrent.
pub struct Target {
    storage: Arc<Storage>,
    geometry: Geometry,
    /// The key of the sums.
    key: RandomState,
    done: Box<Done>,
    /// Held while a piece is written. The kernel lets one thread at a time write to a file, and whoever waits there burns a processor.
    writing: Mutex<()>,
}

type Done = dyn Fn(PieceIndex, Verdict) + Send + Sync;

impl Target {
    /// Pieces go to `storage`; `done` is called for each, on a hashing thread and without any lock held, in no particular order.
    pub fn new(
        storage: Arc<Storage>,
        geometry: Geometry,
        done: impl Fn(PieceIndex, Verdict) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            storage,
            geometry,
            key: RandomState::new(),
            done: Box::new(done),
            writing: Mutex::default(),
        })
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.storage.path().display())
    }
}

/// A piece to be checked and written.
#[derive(Debug)]
pub struct Job {
    /// Whose piece.
    pub target: Arc<Target>,
    /// Its blocks.
    pub finished: Finished,
    /// The SHA-1 that it must have.
    pub digest: Digest,
    /// Whether the sums of its blocks are wanted even if it is good: it has been bad before.
    pub traced: bool,
}

impl Job {
    /// Bytes of the piece.
    fn len(&self) -> u64 {
        self.target.geometry.piece_len(self.finished.piece).into()
    }
}

/// The threads. One pool serves all torrents of a process.
#[derive(Debug)]
pub struct Hasher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Work has come, or the end.
    work: Condvar,
    /// There are jobs enough for the thread that collects them, or the end has come.
    enough: Condvar,
    /// There is room again, or the end.
    room: Condvar,
    threads: usize,
    /// Bytes of pieces that may wait for others to come.
    patient: u64,
    broken: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Bytes of their pieces.
    bytes: u64,
    pace: Pace,
    /// A thread waits for more of them, and is not to be joined by others.
    collecting: bool,
    stopping: bool,
    broken: bool,
}

/// One thread for each core, at most four: more than that outruns every disk and most networks.
#[must_use]
pub fn default_threads() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get().min(4))
}

impl Hasher {
    /// Starts `threads` threads (at least one), named `hash-0` and so on. While pieces come fast, up to `patient` bytes of them wait some
    /// milliseconds for others, because it is cheaper to hash many at a time. It should be well below what may be unverified at once.
    ///
    /// A panic in one of them is a bug, in here or in what a target's `done` does. Then `broken` is called on that thread, which is the
    /// place to end the program with an error; should it return, every later [`Hasher::submit`] panics too. Nothing waits for ever.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        threads: usize,
        patient: u64,
        broken: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            enough: Condvar::new(),
            room: Condvar::new(),
            threads,
            patient,
            broken: Box::new(broken),
        });
        let mut hasher = Self {
            shared: Arc::clone(&shared),
            threads: Vec::new(),
        };
        for n in 0..threads {
            let shared = Arc::clone(&shared);
            let named = thread::Builder::new().name(format!("hash-{n}"));
            hasher.threads.push(named.spawn(move || shared.run())?);
        }
        Ok(hasher)
    }

    /// Queues a job; waits while 64 are queued. Not to be called with a lock held that a target's `done` takes.
    ///
    /// # Panics
    /// If one of the threads panicked.
    pub fn submit(&self, job: Job) {
        let mut queue = held(&self.shared.queue);
        while queue.jobs.len() >= QUEUE && !queue.broken {
            queue = wait(&self.shared.room, queue);
        }
        assert!(!queue.broken, "a hashing thread panicked");
        queue.bytes += job.len();
        queue.pace.count(Instant::now());
        queue.jobs.push_back(job);
        if !queue.collecting {
            self.shared.work.notify_one();
        } else if self.shared.are_enough(&queue) {
            self.shared.enough.notify_one();
        }
    }

    /// Finishes what is queued, then ends the threads; returns when they have ended. Dropping does the same.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        held(&self.shared.queue).stopping = true;
        self.shared.wake_all();
        let here = thread::current().id();
        // If a target's `done` lets go of the pool, its own thread ends by itself after it. A panic was reported through `broken`.
        let others = self.threads.drain(..).filter(|t| t.thread().id() != here);
        others.for_each(|thread| drop(thread.join()));
    }
}

impl Shared {
    fn run(&self) {
        let alarm = Alarm(self);
        let mut scratch = Aligned::default();
        while let Some(batch) = self.next_batch() {
            let digests = hash_in_memory(&batch);
            for (job, digest) in batch.into_iter().zip(digests) {
                let verdict = judge(&job, digest, &mut scratch);
                let (target, piece) = (Arc::clone(&job.target), job.finished.piece);
                // Before the call, so that its buffers are free when the news is out.
                drop(job);
                (target.done)(piece, verdict);
            }
        }
        drop(alarm);
    }

    /// What one thread is to do next; `None` when there is nothing left for it, and there will be nothing.
    fn next_batch(&self) -> Option<Vec<Job>> {
        let mut queue = held(&self.queue);
        while queue.jobs.is_empty() || queue.collecting {
            if queue.stopping || queue.broken {
                return None;
            }
            queue = wait(&self.work, queue);
        }
        let waiting = queue.jobs.len();
        let mut share = waiting.div_ceil(self.threads);
        if width() > 1 && queue.pace.is_fast() {
            queue = self.collect(queue);
            share = queue.jobs.len();
        }
        let batch: Vec<_> = queue.jobs.drain(..share.min(BATCH)).collect();
        queue.bytes -= batch.iter().map(Job::len).sum::<u64>();
        if !queue.jobs.is_empty() {
            self.work.notify_one();
        }
        drop(queue);
        self.room.notify_all();
        Some(batch)
    }

    /// Waits until it is worth while to hash what is there.
    fn collect<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let deadline = Instant::now() + PATIENCE;
        queue.collecting = true;
        while !self.are_enough(&queue) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self
                .enough
                .wait_timeout(queue, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        queue.collecting = false;
        queue
    }

    fn are_enough(&self, queue: &Queue) -> bool {
        let full = queue.jobs.len() >= width().min(BATCH) || queue.bytes >= self.patient;
        full || queue.stopping || queue.broken
    }

    fn wake_all(&self) {
        for condition in [&self.work, &self.enough, &self.room] {
            condition.notify_all();
        }
    }
}

/// How fast pieces come in.
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
    /// From one piece to the next, as an average that forgets half of what it knows with every other piece.
    gap: Option<Duration>,
}

impl Pace {
    fn count(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let gap = now.saturating_duration_since(last);
            self.gap = Some(self.gap.map_or(gap, |before| (before * 3 + gap) / 4));
        }
    }

    /// Whether [`COMPANY`] comes within [`PATIENCE`], if it goes on like this.
    fn is_fast(&self) -> bool {
        self.gap.is_some_and(|gap| gap * COMPANY <= PATIENCE)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} jobs waiting", held(&self.queue).jobs.len())
    }
}

/// Raised when a thread ends by a panic.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            held(&self.0.queue).broken = true;
            self.0.wake_all();
            (self.0.broken)();
        }
    }
}

fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition
        .wait(guard)
        .unwrap_or_else(PoisonError::into_inner)
}

/// Whether a piece is good; if it is, it has been written. Its hash, unless it is known already, is found here.
fn judge(job: &Job, known: Option<Digest>, scratch: &mut Aligned) -> Verdict {
    let judged = known
        .map_or_else(|| hash(job, scratch), Ok)
        .and_then(|digest| {
            let good = digest == job.digest;
            let traced = job.traced || !good;
            let sums = if traced {
                sums(job, scratch)?
            } else {
                Sums::new()
            };
            if good {
                write(job)?;
            }
            Ok((good, sums))
        });
    match judged {
        Ok((true, sums)) => Verdict::Good(sums),
        Ok((false, sums)) => Verdict::Bad(sums),
        Err(error) => Verdict::Failed(error),
    }
}

/// The sums of a piece's blocks; those that were spilled are read back.
fn sums(job: &Job, scratch: &mut Aligned) -> Result<Sums, StorageError> {
    let (geometry, piece) = (job.target.geometry, job.finished.piece);
    let numbered = (0_u32..).zip(&job.finished.blocks);
    numbered
        .map(|(n, block)| {
            let mut sum = job.target.key.build_hasher();
            if let Some(bytes) = block {
                sum.write(bytes);
            } else {
                let block = geometry.block(piece, n);
                let bytes = scratch.room(block.len as usize);
                job.target
                    .storage
                    .read_at(geometry.block_offset(block), bytes)?;
                sum.write(bytes);
            }
            Ok(sum.finish())
        })
        .collect()
}

/// The hashes of the pieces that are in memory and as long as the first of these, side by side; `None` for the others.
fn hash_in_memory(batch: &[Job]) -> Vec<Option<Digest>> {
    let length = |job: &Job| {
        let blocks = &job.finished.blocks;
        let lengths = blocks.iter().map(|block| Some(block.as_ref()?.len()));
        lengths.sum::<Option<usize>>()
    };
    let common = batch.iter().find_map(length);
    let these = |job: &&Job| common.is_some() && length(job) == common;
    let equal: Vec<_> = batch.iter().filter(these).collect();
    let mut hasher = SideBySide::new(equal.len());
    let blocks = equal.first().map_or(0, |job| job.finished.blocks.len());
    for block in 0..blocks {
        let parts = equal
            .iter()
            .filter_map(|job| job.finished.blocks[block].as_deref());
        hasher.update(&parts.collect::<Vec<_>>());
    }
    let mut digests = hasher.finish().into_iter();
    let of = |job: &Job| if these(&job) { digests.next() } else { None };
    batch.iter().map(of).collect()
}

/// The hash of a piece, whose spilled blocks are read back.
fn hash(job: &Job, scratch: &mut Aligned) -> Result<Digest, StorageError> {
    let mut sha = Sha1::default();
    for run in runs(&job.finished) {
        if let Run::InMemory { blocks, .. } = run {
            blocks.iter().flatten().for_each(|block| sha.update(block));
            continue;
        }
        let (mut at, end) = run.range(job);
        while at < end {
            let n = usize::try_from(end - at).unwrap_or(usize::MAX);
            let bytes = scratch.room(n.min(READ_BACK));
            job.target.storage.read_at(at, bytes)?;
            sha.update(bytes);
            at += bytes.len() as u64;
        }
    }
    Ok(sha.finish())
}

/// Writes what is not in the file yet.
fn write(job: &Job) -> Result<(), StorageError> {
    let _alone = held(&job.target.writing);
    for run in runs(&job.finished) {
        if let Run::InMemory { blocks, .. } = run {
            let parts: Vec<&[u8]> = blocks.iter().flatten().map(|b| &**b).collect();
            job.target
                .storage
                .write_vectored_at(run.range(job).0, &parts)?;
        }
    }
    Ok(())
}

/// Neighbouring blocks that are all in memory or all in the file.
enum Run<'a> {
    InMemory {
        first: usize,
        blocks: &'a [Option<Buffer>],
    },
    InFile {
        first: usize,
        count: usize,
    },
}

impl Run<'_> {
    /// Where the run begins and ends in the payload.
    fn range(&self, job: &Job) -> (u64, u64) {
        let (first, count) = match self {
            Self::InMemory { first, blocks } => (*first, blocks.len()),
            Self::InFile { first, count } => (*first, *count),
        };
        let (geometry, piece) = (job.target.geometry, job.finished.piece);
        let start = geometry.piece_offset(piece);
        let end = start + u64::from(geometry.piece_len(piece));
        let at = |n: usize| (start + n as u64 * u64::from(BLOCK)).min(end);
        (at(first), at(first + count))
    }
}

fn runs(finished: &Finished) -> impl Iterator<Item = Run<'_>> {
    let mut first = 0;
    let chunks = finished.blocks.chunk_by(|a, b| a.is_some() == b.is_some());
    chunks.map(move |blocks| {
        let at = first;
        first += blocks.len();
        if blocks.first().is_some_and(Option::is_some) {
            Run::InMemory { first: at, blocks }
        } else {
            Run::InFile {
                first: at,
                count: blocks.len(),
            }
        }
    })
}

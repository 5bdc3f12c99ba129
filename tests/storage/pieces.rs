//! From arriving blocks to verified pieces on disk.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use hivebt::base::geometry::{BLOCK, Geometry, PieceIndex};
use hivebt::base::sha1;
use hivebt::disk::assembly::{Assembly, Finished, Inserted};
use hivebt::disk::hasher::{Hasher, Job, Target, Verdict};
use hivebt::disk::place::Found;
use hivebt::disk::pool::Pool;
use hivebt::disk::storage::Storage;

use crate::support::tempdir::TempDir;
use crate::{folder, noise, open, single};

struct Bench {
    storage: Arc<Storage>,
    geometry: Geometry,
    target: Arc<Target>,
    verdicts: Receiver<(PieceIndex, Verdict)>,
}

fn bench(storage: Storage, geometry: Geometry) -> Bench {
    let storage = Arc::new(storage);
    let (send, verdicts) = channel();
    let tell = move |piece, verdict| send.send((piece, verdict)).unwrap();
    Bench {
        target: Target::new(Arc::clone(&storage), geometry, tell),
        storage,
        geometry,
        verdicts,
    }
}

fn hasher(threads: usize) -> Hasher {
    Hasher::start(threads, 1 << 20, || panic!("a hashing thread panicked")).unwrap()
}

impl Bench {
    /// The piece as bytes of `payload`, with the blocks named in `spilled` in the file.
    fn piece(&self, pool: &Pool, payload: &[u8], piece: PieceIndex, spilled: &[usize]) -> Finished {
        let blocks = (0..self.geometry.blocks(piece)).map(|n| {
            let block = self.geometry.block(piece, n);
            let at = self.geometry.block_offset(block);
            let bytes = &payload[at as usize..][..block.len as usize];
            if spilled.contains(&(n as usize)) {
                self.storage.write_vectored_at(at, &[bytes]).unwrap();
                return None;
            }
            let mut buffer = pool.take(block.len);
            buffer.copy_from_slice(bytes);
            Some(buffer)
        });
        Finished {
            piece,
            blocks: blocks.collect(),
        }
    }

    fn job(&self, finished: Finished, payload: &[u8]) -> Job {
        job(&self.target, self.geometry, finished, payload)
    }
}

fn job(target: &Arc<Target>, geometry: Geometry, finished: Finished, payload: &[u8]) -> Job {
    let at = geometry.piece_offset(finished.piece) as usize;
    let len = geometry.piece_len(finished.piece) as usize;
    Job {
        target: Arc::clone(target),
        digest: sha1::digest(&payload[at..at + len]),
        finished,
        traced: false,
    }
}

#[test]
fn the_sums_of_a_bad_piece_and_of_the_good_one_later_differ_where_the_blocks_do() {
    let dir = TempDir::new("sums");
    let payload = noise(8, 4 * BLOCK as usize + 100);
    let geometry = Geometry::new(payload.len() as u64, 5 * BLOCK).unwrap();
    let layout = single("n", payload.len() as u64);
    let bench = bench(open(dir.path(), &layout, Found::Nothing), geometry);
    let (pool, hasher) = (Pool::new(1 << 20), hasher(1));
    let mut wrong = payload.clone();
    wrong[3 * BLOCK as usize - 1] ^= 1;
    wrong[4 * BLOCK as usize + 99] ^= 1;
    let sums = |data: &[u8], spilled: &[usize], traced| {
        let finished = bench.piece(&pool, data, PieceIndex(0), spilled);
        hasher.submit(Job {
            traced,
            ..bench.job(finished, &payload)
        });
        match bench.verdicts.recv().unwrap().1 {
            Verdict::Good(sums) | Verdict::Bad(sums) => sums,
            Verdict::Failed(error) => panic!("{error}"),
        }
    };
    assert!(sums(&payload, &[], false).is_empty(), "nobody asked");
    let good = sums(&payload, &[1, 4], true);
    for spilled in [&[][..], &[2], &[0, 1, 2, 3, 4]] {
        let bad = sums(&wrong, spilled, false);
        let differ: Vec<_> = (0..5).filter(|&n| good[n] != bad[n]).collect();
        assert_eq!((good.len(), bad.len(), differ), (5, 5, vec![2, 4]));
    }
}

#[test]
fn a_good_piece_is_on_disk_when_its_verdict_comes_wherever_its_blocks_were() {
    let block = BLOCK as usize;
    let payload = noise(1, 4 * block + 100);
    for spilled in [&[][..], &[0], &[4], &[1, 2], &[0, 2, 4], &[0, 1, 2, 3, 4]] {
        let dir = TempDir::new("good");
        let layout = folder("n", &[("a", 20_000), ("b", payload.len() as u64 - 20_000)]);
        let geometry = Geometry::new(layout.total(), 5 * BLOCK).unwrap();
        let bench = bench(open(dir.path(), &layout, Found::Nothing), geometry);
        let pool = Pool::new(1 << 20);
        let hasher = hasher(1);
        let finished = bench.piece(&pool, &payload, PieceIndex(0), spilled);
        hasher.submit(bench.job(finished, &payload));
        let (piece, verdict) = bench.verdicts.recv().unwrap();
        assert!(
            matches!(verdict, Verdict::Good(_)) && piece == PieceIndex(0),
            "{verdict:?}"
        );
        assert_eq!(pool.used(), 0, "its buffers are free again");
        let mut back = vec![0; payload.len()];
        bench.storage.read_at(0, &mut back).unwrap();
        assert!(back == payload, "spilled {spilled:?}");
        hasher.stop();
    }
}

#[test]
fn a_bad_piece_is_told_and_not_written() {
    let dir = TempDir::new("bad");
    let payload = noise(2, 40_000);
    let geometry = Geometry::new(40_000, 32_768).unwrap();
    let bench = bench(
        open(dir.path(), &single("n", 40_000), Found::Nothing),
        geometry,
    );
    let pool = Pool::new(1 << 20);
    let hasher = hasher(2);
    let mut wrong = payload.clone();
    wrong[17_000] ^= 1;
    let finished = bench.piece(&pool, &wrong, PieceIndex(0), &[]);
    hasher.submit(bench.job(finished, &payload));
    let finished = bench.piece(&pool, &payload, PieceIndex(1), &[]);
    hasher.submit(bench.job(finished, &payload));
    let verdicts: HashMap<_, _> = bench.verdicts.iter().take(2).collect();
    assert!(matches!(verdicts[&PieceIndex(0)], Verdict::Bad(_)));
    assert!(matches!(verdicts[&PieceIndex(1)], Verdict::Good(_)));
    let written = fs::read(dir.path().join("n.part")).unwrap();
    assert_eq!(written[..32_768], [0; 32_768]);
    assert!(written[32_768..] == payload[32_768..]);
}

#[test]
fn a_piece_that_cannot_be_written_says_why() {
    let dir = TempDir::new("failed");
    let payload = noise(3, 1000);
    let geometry = Geometry::new(1000, 16384).unwrap();
    let bench = bench(
        open(dir.path(), &single("n", 1000), Found::Nothing),
        geometry,
    );
    fs::create_dir(dir.path().join("n.part")).unwrap();
    let hasher = hasher(1);
    let finished = bench.piece(&Pool::new(0), &payload, PieceIndex(0), &[]);
    hasher.submit(bench.job(finished, &payload));
    let (_, verdict) = bench.verdicts.recv().unwrap();
    let Verdict::Failed(error) = verdict else {
        panic!("{verdict:?}");
    };
    assert!(
        error.to_string().ends_with("n.part`: Is a directory"),
        "{error}"
    );
}

#[test]
fn stopping_finishes_what_is_queued() {
    let dir = TempDir::new("stop");
    let payload = noise(4, 50 * 16384);
    let geometry = Geometry::new(payload.len() as u64, 16384).unwrap();
    let layout = single("n", payload.len() as u64);
    let bench = bench(open(dir.path(), &layout, Found::Nothing), geometry);
    let pool = Pool::new(1 << 20);
    let hasher = hasher(3);
    for piece in geometry.all() {
        let finished = bench.piece(&pool, &payload, piece, &[]);
        hasher.submit(bench.job(finished, &payload));
    }
    hasher.stop();
    let good = bench
        .verdicts
        .try_iter()
        .filter(|(_, v)| matches!(v, Verdict::Good(_)));
    assert_eq!(good.count(), 50);
    assert!(fs::read(dir.path().join("n.part")).unwrap() == payload);
}

#[test]
fn a_panic_in_a_hashing_thread_is_heard_and_nobody_waits_for_ever() {
    let dir = TempDir::new("panic");
    let payload = noise(5, 100);
    let geometry = Geometry::new(100, 16384).unwrap();
    let storage = Arc::new(open(dir.path(), &single("n", 100), Found::Nothing));
    let bench = bench(
        open(dir.path(), &single("n", 100), Found::Nothing),
        geometry,
    );
    let target = Target::new(storage, geometry, |_, _| panic!("on purpose"));
    let heard = Arc::new(AtomicBool::new(false));
    let (tell, told) = channel();
    let flag = Arc::clone(&heard);
    let hasher = Hasher::start(1, 0, move || {
        flag.store(true, Ordering::SeqCst);
        tell.send(()).unwrap();
    });
    let hasher = hasher.unwrap();
    let job = || Job {
        target: Arc::clone(&target),
        ..bench.job(
            bench.piece(&Pool::new(0), &payload, PieceIndex(0), &[]),
            &payload,
        )
    };
    hasher.submit(job());
    told.recv().unwrap();
    assert!(heard.load(Ordering::SeqCst));
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hasher.submit(job())));
    assert!(again.is_err());
    hasher.stop();
}

/// The whole way, as a session goes it: readers take buffers, assemble, spill, and submit.
#[test]
fn a_payload_arrives_whole_over_many_threads_with_any_cache() {
    let total = 12 * 5 * u64::from(BLOCK) + 777;
    let payload = noise(6, total as usize);
    for cache in [0, 20 << 14, 32 << 20] {
        let dir = TempDir::new("whole");
        let layout = folder("n", &[("a", 100_000), ("b", 1), ("c", total - 100_001)]);
        let geometry = Geometry::new(total, 5 * BLOCK).unwrap();
        let bench = bench(open(dir.path(), &layout, Found::Nothing), geometry);
        let pool = Pool::new(cache);
        let assembly = Mutex::new(Assembly::new(geometry, pool.clone()));
        let mut blocks: Vec<_> = geometry
            .all()
            .flat_map(|p| (0..geometry.blocks(p)).map(move |n| (p, n)))
            .map(|(p, n)| geometry.block(p, n))
            .collect();
        fastrand::Rng::with_seed(7).shuffle(&mut blocks);
        let hasher = hasher(2);
        std::thread::scope(|scope| {
            for share in blocks.chunks(blocks.len().div_ceil(4)) {
                let (target, storage) = (&bench.target, &bench.storage);
                let (pool, assembly, hasher) = (&pool, &assembly, &hasher);
                let payload = &payload;
                scope.spawn(move || {
                    for &block in share {
                        let at = geometry.block_offset(block);
                        let mut buffer = pool.take(block.len);
                        buffer.copy_from_slice(&payload[at as usize..][..block.len as usize]);
                        let inserted = assembly.lock().unwrap().insert(block, buffer);
                        let finished = match inserted {
                            Inserted::Kept => None,
                            Inserted::Complete(finished) => Some(finished),
                            Inserted::Spill(buffer) => {
                                storage.write_vectored_at(at, &[&buffer]).unwrap();
                                drop(buffer);
                                assembly.lock().unwrap().written(block)
                            }
                            Inserted::Unwanted => panic!("{block:?}"),
                        };
                        if let Some(finished) = finished {
                            hasher.submit(job(target, geometry, finished, payload));
                        }
                    }
                });
            }
        });
        hasher.stop();
        let good = bench
            .verdicts
            .try_iter()
            .filter(|(_, v)| matches!(v, Verdict::Good(_)));
        assert_eq!(good.count(), geometry.pieces() as usize, "cache of {cache}");
        bench.storage.publish().unwrap();
        let mut back = vec![0; payload.len()];
        bench.storage.read_at(0, &mut back).unwrap();
        assert!(back == payload, "cache of {cache}");
        assert_eq!(pool.used(), 0);
    }
}

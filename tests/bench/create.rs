//! How fast a payload becomes a torrent: from memory, from many small files, with each way of hashing, from a disk.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use fastrand::Rng;

use crate::Plan;
use crate::creators::{Creator, ours};
use crate::measure::{Contestant, Cost, Table, comparison, cost_of};
use crate::support::payload;
use crate::support::process::{cpu_time, run};
use crate::support::say::say;
use crate::support::tempdir::TempDir;

/// The program that ours is measured against.
const RIVAL: &str = "mktorrent";

/// The piece length wherever it is not what a table is about.
const PIECE: u64 = 1 << 20;

/// The values of `HIVEBT_SHA1`, fastest first.
const WAYS: [&str; 4] = ["avx512", "avx2", "sha", "portable"];

/// Files with which torf takes seconds; with ten times as many it takes minutes.
const TORF_BEARS: usize = 2000;

/// One file, with pieces of several lengths: how fast, and how much memory.
pub fn file(plan: &Plan, file: &Path) -> Vec<Table> {
    let mut tables = Vec::new();
    for (kib, rivals) in [
        (256, &Creator::ALL[1..]),
        (4096, &Creator::ALL[1..]),
        // A table for the sake of the memory.
        (16384, &[Creator::Mktorrent, Creator::Torf][..]),
    ] {
        let title = format!(
            "Create a torrent of a file of {} MiB, pieces of {}, two threads",
            plan.mib,
            length(kib)
        );
        let job = Job::new(file, kib << 10);
        tables.push(job.table(plan, &title, rivals, plan.mib as f64));
    }
    tables
}

/// A folder of many small files.
pub fn small(plan: &Plan) -> Table {
    let dir = TempDir::in_memory("bench-small");
    let folder = dir.folder("small");
    let bytes = small_files(&folder, plan.files);
    let mib = bytes as f64 / f64::from(1 << 20);
    let title = format!(
        "Create a torrent of a folder of {} files, {mib:.0} MiB, pieces of 1 MiB, two threads",
        plan.files
    );
    let mut rivals = Creator::ALL[1..].to_vec();
    if plan.files > TORF_BEARS {
        say("torf is left out: its time grows with the square of the number of files");
        rivals.retain(|rival| *rival != Creator::Torf);
    }
    Job::new(&folder, PIECE).table(plan, &title, &rivals, mib)
}

/// The same file, hashed in each way that this processor knows.
pub fn ways(plan: &Plan, file: &Path) -> Table {
    let dir = TempDir::new("bench-ways");
    let tiny = dir.join("tiny");
    fs::write(&tiny, b"tiny").expect("a file");
    let knows = |way: &str| {
        let mut command = ours(Some(way), PIECE);
        command.args(["--dry-run", "--no-announce"]).arg(&tiny);
        let ended = run("hivebt-create", command, crate::measure::LIMIT);
        assert!(matches!(ended.code, 0 | 2), "{}", ended.stderr);
        ended.code == 0
    };
    let (known, unknown): (Vec<_>, Vec<_>) = WAYS.into_iter().partition(|way| knows(way));
    let mut rivals: Vec<Creator> = known
        .into_iter()
        .map(|way| Creator::Ours(Some(way)))
        .collect();
    rivals.push(Creator::Mktorrent);
    let title = format!(
        "Ways of hashing (`HIVEBT_SHA1`), a file of {} MiB, pieces of 1 MiB, two threads",
        plan.mib
    );
    let job = Job::new(file, PIECE);
    let mut contestants = job.contestants(&rivals);
    contestants.push(("reading alone", Box::new(|| reading(file))));
    let mut table = comparison(&title, plan.rounds, plan.mib as f64, RIVAL, &contestants);
    for way in unknown {
        table.row([way.to_owned(), "not on this processor".to_owned()]);
    }
    table
}

/// A file on a disk; the page cache is empty before each turn where that can be had.
pub fn disk(plan: &Plan) -> Table {
    let dir = TempDir::on_disk("bench-disk");
    let file = dir.join("payload.bin");
    payload::file(&file, plan.mib << 20, 4);
    File::open(&file)
        .and_then(|file| file.sync_all())
        .expect("the payload reaches the disk");
    let cold = forget_pages();
    let mut job = Job::new(&file, PIECE);
    job.cold = cold;
    let state = if cold {
        "the page cache emptied before each turn"
    } else {
        "from a warm page cache, which cannot be emptied here"
    };
    let title = format!(
        "Create a torrent of a file of {} MiB on a disk, {state}, pieces of 1 MiB, two threads",
        plan.mib
    );
    let rivals = [Creator::Mktorrent, Creator::Libtorrent, Creator::Torf];
    job.table(plan, &title, &rivals, plan.mib as f64)
}

/// Empties the page cache; whether that is allowed. What lies on tmpfs stays.
fn forget_pages() -> bool {
    fs::write("/proc/sys/vm/drop_caches", "1\n").is_ok()
}

/// What everybody has to do.
struct Job<'a> {
    payload: &'a Path,
    piece: u64,
    /// Whether the page cache is emptied first.
    cold: bool,
    /// Where the torrent goes.
    out: TempDir,
}

impl<'a> Job<'a> {
    fn new(payload: &'a Path, piece: u64) -> Self {
        Self {
            payload,
            piece,
            cold: false,
            out: TempDir::in_memory("bench-out"),
        }
    }

    /// Ours and `rivals`, as far as they are installed, in turns.
    fn table(&self, plan: &Plan, title: &str, rivals: &[Creator], mib: f64) -> Table {
        comparison(title, plan.rounds, mib, RIVAL, &self.contestants(rivals))
    }

    fn contestants(&self, rivals: &[Creator]) -> Vec<Contestant<'_, Cost>> {
        let installed = rivals.iter().filter(|rival| rival.missing().is_none());
        std::iter::once(&Creator::Ours(None))
            .chain(installed)
            .map(|&creator| -> Contestant<'_, Cost> {
                (creator.name(), Box::new(move || self.turn(creator)))
            })
            .collect()
    }

    fn turn(&self, creator: Creator) -> Cost {
        let out = self.out.join("out.torrent");
        let _ = fs::remove_file(&out);
        if self.cold {
            forget_pages();
        }
        let command = creator.command(self.payload, self.piece, &out);
        let cost = cost_of(creator.name(), command);
        assert!(out.is_file(), "{} has made no torrent", creator.name());
        cost
    }
}

/// What it costs two threads to read `file` and do nothing else with it: no creator can be faster than that.
fn reading(file: &Path) -> Cost {
    const SLICE: usize = 256 << 10;
    let used = || cpu_time(std::process::id()).unwrap_or_default();
    let (begun, before) = (Instant::now(), used());
    let file = File::open(file).expect("the payload");
    let slices = file.metadata().expect("its length").len() / SLICE as u64;
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut buffer = vec![0; SLICE];
                loop {
                    let slice = next.fetch_add(1, Ordering::Relaxed);
                    if slice >= slices {
                        break;
                    }
                    file.read_exact_at(&mut buffer, slice * SLICE as u64)
                        .expect("a slice of the payload");
                    std::hint::black_box(&buffer);
                }
            });
        }
    });
    Cost {
        wall: begun.elapsed().as_secs_f64(),
        cpu: (used() - before).as_secs_f64(),
        ..Cost::default()
    }
}

/// Writes `count` files of 0 to 192 KiB, 64 KiB on average and many small ones among them, a hundred to a folder; gives their bytes.
fn small_files(root: &Path, count: usize) -> u64 {
    const LARGEST: usize = 192 << 10;
    let mut rng = Rng::with_seed(3);
    let mut noise = vec![0; 4 * LARGEST];
    rng.fill(&mut noise);
    let mut total = 0;
    for i in 0..count {
        let folder = root.join(format!("{:03}", i / 100));
        if i % 100 == 0 {
            fs::create_dir(&folder).expect("a folder");
        }
        // Squares of a random number: a third of the largest on average.
        let x = rng.f64();
        let length = (x * x * LARGEST as f64) as usize;
        let from = rng.usize(..noise.len() - length);
        let mut file = File::create(folder.join(format!("{i:05}.dat"))).expect("a file");
        file.write_all(&noise[from..from + length])
            .expect("room for the payload");
        total += length as u64;
    }
    total
}

fn length(kib: u64) -> String {
    if kib < 1024 {
        format!("{kib} KiB")
    } else {
        format!("{} MiB", kib >> 10)
    }
}

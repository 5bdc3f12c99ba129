//! The main job from end to end, with what goes wrong on an ordinary day: a folder of many files goes from one host to several at once while
//! the tracker is restarted, a worker is killed, the seeder leaves and a disk flips a bit.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use support::hosts::Host;
use support::ours::{self, Peer, Torrent, Tracker};
use support::process::{Ended, run};
use support::say::say;
use support::tempdir::TempDir;
use support::{payload, tree};

/// How big a story is told.
struct Size {
    mib: u64,
    files: usize,
    workers: u8,
    /// The seeder's upload limit; a small payload would be everywhere before anything could go wrong.
    limit: Option<&'static str>,
    /// For each wait.
    patience: Duration,
}

#[test]
fn a_folder_reaches_all_workers_though_everything_goes_wrong() {
    tell(&Size {
        mib: 24,
        files: 300,
        workers: 4,
        limit: Some("8M"),
        patience: Duration::from_secs(120),
    });
}

#[test]
#[ignore = "moves 2 GiB to 8 workers and writes 20 GiB; `make story` and `make interop` run it"]
fn two_gibibytes_in_thousands_of_files_reach_eight_workers_though_everything_goes_wrong() {
    let mib = std::env::var("HIVEBT_STORY_MIB").map_or(2048, |text| text.parse().unwrap());
    tell(&Size {
        mib,
        files: 3000,
        workers: 8,
        limit: None,
        patience: Duration::from_secs(900),
    });
}

#[test]
#[ignore = "moves 512 MiB to 8 workers; `make story` and `make interop` run it"]
fn an_origin_that_stays_sends_little_more_than_one_copy_to_eight_workers() {
    const WORKERS: u8 = 8;
    let dir = TempDir::new("copies");
    let origin = Host::local(2);
    let tracker = Tracker::start(&origin, 0, &[]);
    let file = dir.join("origin/payload.bin");
    payload::file(&file, 512 << 20, 8);
    let torrent = Torrent::create(&file, &tracker.url(), &[]);
    let mut seeder = Peer::seed(&origin, &torrent.file, &torrent.parent, &[]);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    let begun = Instant::now();
    let start = |i| {
        let to = dir.folder(format!("worker {i}"));
        Peer::get(&worker_host(i), &torrent.file, &to, &["--seed"])
    };
    let workers: Vec<Peer> = (0..WORKERS).map(start).collect();
    for worker in &workers {
        worker.wait_event("complete", ours::LIMIT);
    }
    let took = begun.elapsed().as_secs_f64();
    let ended = seeder.process.stop(ours::LIMIT);
    let ratio = Peer::uploaded(&ended.stdout) as f64 / torrent.bytes as f64;
    say(format_args!(
        "copies: 512 MiB to {WORKERS} workers in {took:.1} s; the origin sent {ratio:.2} times the payload"
    ));
    assert!((1.0..=1.3).contains(&ratio), "{ratio:.2} times the payload");
}

fn worker_host(i: u8) -> Host {
    Host::local(20 + i)
}

fn tell(size: &Size) {
    let dir = TempDir::new("story");
    let folder = dir.join("origin/Der große Haufen");
    payload::mixed_folder(&folder, size.mib << 20, size.files, 2026);
    let origin = Host::local(2);
    // Workers have to learn of one another again after the tracker's restart, so they are asked to come back often.
    let interval = ["--interval", "5"];
    let mut tracker = Tracker::start(&origin, 0, &interval);
    let torrent = Torrent::create(&folder, &tracker.url(), &[]);
    let options: Vec<&str> = size
        .limit
        .map_or_else(Vec::new, |limit| vec!["--max-upload", limit]);
    let mut seeder = Peer::seed(&origin, &torrent.file, &torrent.parent, &options);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);

    let begun = Instant::now();
    let to: Vec<PathBuf> = (0..=size.workers)
        .map(|i| dir.folder(format!("worker {i}")))
        .collect();
    let start = |i: u8| {
        let to = &to[usize::from(i)];
        Peer::get(&worker_host(i), &torrent.file, to, &["--seed"])
    };
    let mut workers: Vec<Peer> = (0..size.workers).map(start).collect();

    workers[0].wait_percent(15.0, size.patience);
    let port = tracker.address.port();
    let ended = tracker.process.stop(size.patience);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    tracker = Tracker::start(&origin, port, &interval);

    workers[0].wait_percent(40.0, size.patience);
    workers[0].process.signal(Signal::KILL);
    workers[0].process.wait(size.patience);
    workers[0] = start(0);
    let kept = kept_by(&workers[0], size, &torrent);

    // Whoever has every piece proves that every piece is out.
    workers[1].wait_percent(100.0, size.patience);
    let ended = seeder.process.stop(size.patience);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let sent = Peer::uploaded(&ended.stdout);
    for worker in &workers {
        worker.wait_event("complete", size.patience);
    }
    let took = begun.elapsed();
    // One that comes when the seeder is gone.
    workers.push(start(size.workers));
    let late = workers.last().expect("just pushed");
    late.wait_event("complete", size.patience);

    for to in &to {
        let verified = verify(&torrent, to, size);
        assert_eq!(verified.code, 0, "{}", verified.stderr);
    }
    tree::assert_same(&folder, &to[0].join(&torrent.name));
    tree::assert_same(&folder, &to[to.len() - 1].join(&torrent.name));
    let ratio = sent as f64 / torrent.bytes as f64;
    say(format_args!(
        "story: {} MiB in {} files to {} workers in {:.1} s; {kept:.1} % kept by the one that was killed; the origin sent {ratio:.2} times the payload",
        torrent.bytes >> 20,
        tree::files(&folder).len(),
        size.workers,
        took.as_secs_f64(),
    ));

    let ended = workers[1].process.stop(size.patience);
    assert_eq!(ended.code, 0, "a seeder that is stopped: {}", ended.stderr);
    flipped_byte_is_found_and_repaired(&torrent, &to[1], size);

    for mut worker in workers
        .drain(..)
        .filter(|worker| !worker.process.has_ended())
    {
        let ended = worker.process.stop(size.patience);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    assert_eq!(
        tracker.scrape(&torrent.info_hash),
        Some((0, 0)),
        "everybody has said goodbye"
    );
    assert!(
        sent >= torrent.bytes,
        "the only seed has sent each piece at least once, so not {sent} bytes"
    );
    assert!(ratio <= 1.3, "the origin sent {ratio:.2} times the payload");
}

/// What a restarted worker says that it has kept, in percent.
fn kept_by(worker: &Peer, size: &Size, torrent: &Torrent) -> f64 {
    let checked = worker.wait_event("checked", size.patience);
    let kept = checked["kept"].as_u64().expect("it says how much it kept");
    assert!(kept > 0, "it continues instead of beginning again");
    worker.process.wait_line("are here already", size.patience);
    kept as f64 * 100.0 / torrent.bytes as f64
}

fn verify(torrent: &Torrent, to: &Path, size: &Size) -> Ended {
    let mut command = Command::new(ours::program("create"));
    command.args(["verify", "--json"]).arg(&torrent.file);
    command.arg(to.join(&torrent.name));
    run("hivebt-create verify", command, size.patience)
}

fn flipped_byte_is_found_and_repaired(torrent: &Torrent, to: &Path, size: &Size) {
    let victim = to.join(&torrent.name).join("huge/one.img");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&victim)
        .unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 1;
    file.write_all_at(&byte, at).unwrap();
    drop(file);

    let verified = verify(torrent, to, size);
    assert_eq!(verified.code, 4, "{}", verified.stderr);
    let report: Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!(report["bad"].as_array().unwrap().len(), 1);
    assert_eq!(report["complete"], false);

    let mut repair = Peer::get(&worker_host(1), &torrent.file, to, &[]);
    let ended = repair.process.wait(size.patience);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(verify(torrent, to, size).code, 0);
    let original = torrent.payload();
    assert_eq!(tree::difference(&original, &to.join(&torrent.name)), None);
}

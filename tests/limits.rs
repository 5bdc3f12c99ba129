//! How small the programs are and stay: on disk and in memory. For optimised builds: `make interop`.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::path::Path;

use support::hosts::Host;
use support::ours::{self, LIMIT, Peer, Torrent, Tracker};
use support::process::peak_private_memory;
use support::say::say;
use support::tempdir::TempDir;
use support::{payload, tree};

const PROGRAMS: [&str; 3] = ["create", "tracker", "peer"];
const MIB: u64 = 1 << 20;

#[test]
#[ignore = "means optimised builds; `make interop` runs it"]
fn each_program_is_smaller_than_two_mebibytes() {
    for name in PROGRAMS {
        let bytes = fs::metadata(ours::program(name)).unwrap().len();
        say(format_args!("hivebt-{name}: {} KiB", bytes >> 10));
        assert!(bytes < 2 * MIB, "hivebt-{name} has {bytes} bytes");
    }
}

#[test]
#[ignore = "means optimised builds; `make interop` runs it"]
fn a_leecher_with_eight_peers_stays_under_32_mebibytes_of_private_memory() {
    const PEERS: u8 = 8;
    let dir = TempDir::new("memory");
    let tracker = Tracker::start(&Host::local(1), 0, &[]);
    let file = dir.join("from/payload.bin");
    payload::file(&file, 1024 * MIB, 6);
    let torrent = Torrent::create(&file, &tracker.url(), &[]);
    let seeders: Vec<Peer> = (0..PEERS)
        .map(|i| {
            // A folder for each, because a folder serves one run at a time.
            let folder = dir.folder(format!("seed {i}"));
            fs::hard_link(&file, folder.join("payload.bin")).unwrap();
            let host = Host::local(10 + i);
            Peer::seed(&host, &torrent.file, &folder, &[])
        })
        .collect();
    tracker.wait_for_seeds(&torrent.info_hash, u64::from(PEERS), &seeders[0].process);

    let to = dir.folder("to");
    let leecher = Peer::get(&Host::local(2), &torrent.file, &to, &[]);
    let most = peak_private_memory(&leecher.process, LIMIT);
    let mut leecher = leecher;
    let ended = leecher.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    // Its own progress, told once a second, may have come too seldom to tell.
    for seeder in &seeders {
        let uploaded = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            event["total_uploaded"].as_u64().filter(|&bytes| bytes > 0)
        };
        seeder
            .process
            .wait_for("an upload", LIMIT, |_, line| uploaded(line));
    }
    tree::assert_same(&file, &to.join("payload.bin"));
    say(format_args!(
        "a leecher with {PEERS} peers: {:.1} MiB of private memory at most",
        most as f64 / MIB as f64
    ));
    assert!(most < 32 * MIB, "{most} bytes");
}

/// Keeps the paths of this file honest: what is measured is what cargo has built.
#[test]
fn the_programs_are_there() {
    for name in PROGRAMS {
        assert!(Path::new(&ours::program(name)).is_file(), "hivebt-{name}");
    }
}

//! How small the programs are and stay: on disk, without a system around them, in memory. For optimised builds: `make interop`.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::hosts::Host;
use support::ours::{self, LIMIT, Peer, Torrent, Tracker};
use support::process::{Process, peak_private_memory, run_ok};
use support::say::{say, skip};
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

/// The folder that `make static` has filled.
fn static_programs() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("HIVEBT_STATIC") else {
        skip("HIVEBT_STATIC does not name the folder of the static programs");
        return None;
    };
    if !rustix::process::geteuid().is_root() {
        skip("chroot needs root");
        return None;
    }
    Some(folder.into())
}

#[test]
#[ignore = "needs static programs and root; `make interop` runs it"]
fn static_programs_work_in_an_empty_root() {
    let Some(folder) = static_programs() else {
        return;
    };
    let root = TempDir::new("root");
    for name in PROGRAMS {
        let program = format!("hivebt-{name}");
        fs::copy(folder.join(&program), root.join(&program)).unwrap();
        let version = inside(&root, name, &["--version"]);
        let said = run_ok(&program, version, LIMIT);
        assert!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    }
    payload::file(&root.join("from/payload.bin"), 5 * MIB + 7, 5);
    fs::create_dir(root.join("to")).unwrap();

    let tracker = inside(&root, "tracker", &["-l", "127.0.0.1:0"]);
    let tracker = Process::start("tracker", tracker);
    let announce = tracker.wait_for("its address", LIMIT, |_, line| {
        let (_, url) = line.split_once("listening on http://")?;
        Some(format!("http://{url}"))
    });
    let arguments = [
        "-a",
        announce.as_str(),
        "-o",
        "/x.torrent",
        "/from/payload.bin",
    ];
    run_ok("create", inside(&root, "create", &arguments), LIMIT);
    let arguments = [
        "seed",
        "--json",
        "-p",
        "0",
        "--bind",
        "127.0.0.2",
        "-d",
        "/from",
        "/x.torrent",
    ];
    let seeder = Process::start("seed", inside(&root, "peer", &arguments));
    seeder.wait_line("\"started\"", LIMIT);
    let arguments = [
        "get",
        "-p",
        "0",
        "--bind",
        "127.0.0.3",
        "-o",
        "/to",
        "/x.torrent",
    ];
    let said = run_ok("get", inside(&root, "peer", &arguments), LIMIT);
    assert_eq!(said, "/to/payload.bin\n");
    tree::assert_same(&root.join("from/payload.bin"), &root.join("to/payload.bin"));
}

/// A program inside `root`, where there is nothing else: no library, no /etc, no /proc, no /dev.
fn inside(root: &TempDir, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("chroot");
    command
        .arg(root.path())
        .arg(format!("/hivebt-{name}"))
        .args(arguments);
    command
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

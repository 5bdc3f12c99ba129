//! How a finished payload appears and is served: whole or not at all, and only ever read.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, program};
use support::payload;
use support::process::{Process, run};
use support::tempdir::TempDir;
use support::tree::assert_same;

const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

/// Nobody in particular.
const NOBODY: u32 = 65_534;

fn torrent(dir: &TempDir, bytes: u64) -> Torrent {
    let file = dir.join("from/payload.bin");
    payload::file(&file, bytes, 7);
    Torrent::create(&file, NO_TRACKER, &["-l", "64K"])
}

/// `get` into `to`, from a peer alone.
fn get(torrent: &Torrent, from: &str, to: &Path, host: u8, options: &[&str]) -> Command {
    let mut command = Peer::command(&Host::local(host), "get");
    command.args(["--peer", from, "-o"]).arg(to).args(options);
    command.arg(&torrent.file);
    command
}

/// The ways in which a process has `file` open: O_RDONLY, O_WRONLY or O_RDWR.
fn open_modes(pid: u32, file: &Path) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let of_file = entries.filter(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == file));
    let mode = of_file.filter_map(|entry| {
        let number = entry.file_name().into_string().ok()?;
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        Some(u32::from_str_radix(flags.trim(), 8).ok()? & 3)
    });
    mode.collect()
}

#[test]
fn a_finished_payload_is_open_for_reading_alone_whoever_made_it() {
    let dir = TempDir::new("publish-fd");
    let torrent = torrent(&dir, 2 << 20);
    let origin = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &[]);
    let to = dir.folder("second");
    let second = Peer {
        process: Process::start(
            "get",
            get(
                &torrent,
                &origin.serving_address(&Host::local(1)),
                &to,
                2,
                &["--seed"],
            ),
        ),
    };
    let from = second.serving_address(&Host::local(2));
    let third = dir.folder("third");
    let ended = run("get", get(&torrent, &from, &third, 3, &[]), LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for (peer, file) in [
        (&origin, torrent.payload()),
        (&second, to.join("payload.bin")),
    ] {
        let modes = open_modes(peer.process.pid(), &file.canonicalize().unwrap());
        assert!(
            !modes.is_empty() && modes.iter().all(|&mode| mode == 0),
            "{modes:?}"
        );
    }
}

#[test]
fn whoever_finds_the_payload_under_its_name_finds_all_of_it() {
    let dir = TempDir::new("publish-atomic");
    let torrent = torrent(&dir, 4 << 20);
    let origin = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &[]);
    let from = origin.serving_address(&Host::local(1));
    let to = dir.folder("to");
    let getting = Process::start(
        "get",
        get(&torrent, &from, &to, 2, &["--max-download", "8M"]),
    );
    let found = loop {
        match fs::read(to.join("payload.bin")) {
            Ok(bytes) => break bytes,
            Err(_) => assert!(
                !getting.has_ended() || to.join("payload.bin").exists(),
                "{}",
                getting.tail()
            ),
        }
    };
    assert!(found == fs::read(torrent.payload()).unwrap());
}

#[test]
fn a_payload_that_only_others_may_write_to_is_seeded_and_nothing_is_left_beside_it() {
    let dir = TempDir::new("publish-read-only");
    let torrent = torrent(&dir, 1 << 20);
    // Where the programs are built, not everybody may look.
    let peer = dir.join("hivebt-peer");
    fs::copy(program("peer"), &peer).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    mode(&torrent.payload(), 0o444).unwrap();
    mode(&torrent.parent, 0o555).unwrap();
    let mut command = Command::new(peer);
    command.args(["seed", "--json", "-p", "0", "--bind", "127.0.0.1"]);
    command.arg(&torrent.file).current_dir("/");
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut seeder = Peer {
        process: Process::start("seed", command),
    };
    let to = dir.folder("to");
    let ended = run(
        "get",
        get(
            &torrent,
            &seeder.serving_address(&Host::local(1)),
            &to,
            2,
            &[],
        ),
        LIMIT,
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_same(&torrent.payload(), &to.join("payload.bin"));
    assert_eq!(seeder.process.stop(LIMIT).code, 0);
    let mut there: Vec<_> = fs::read_dir(&torrent.parent)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    there.sort();
    assert_eq!(there, ["payload.bin", "payload.bin.torrent"]);
    mode(&torrent.parent, 0o755).unwrap();
}

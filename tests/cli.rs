//! The contract of the command line as scripts see it: exit codes, what goes to which stream, and how a run ends.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, Tracker, program};
use support::process::{Ended, Process, run};
use support::say::skip;
use support::tempdir::TempDir;
use support::{http, payload, tree};

/// A tracker's reply without peers.
const NOBODY: &[u8] = b"d8:intervali1800e5:peers0:e";

fn ends(name: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new(program(name));
    command.args(arguments);
    run(name, command, LIMIT)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the test's own paths are text")
}

/// Fails unless a run ended with `code` and one line that begins with `error: ` and contains `words`.
fn assert_refused(ended: &Ended, code: i32, words: &str) {
    assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
    let errors: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "one clear message: {}", ended.stderr);
    assert!(errors[0].contains(words), "`{words}` in: {}", errors[0]);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

/// A payload of `bytes` in a folder of its own, and its torrent.
fn torrent(dir: &TempDir, bytes: u64, announce: &str) -> Torrent {
    let file = dir.join("from/payload.bin");
    payload::file(&file, bytes, 1);
    Torrent::create(&file, announce, &[])
}

/// Our tracker with a seeder on it.
fn swarm(dir: &TempDir, bytes: u64) -> (Tracker, Torrent, Peer) {
    let tracker = Tracker::start(&Host::local(1), 0, &[]);
    let torrent = torrent(dir, bytes, &tracker.url());
    let seeder = Peer::seed(&Host::local(2), &torrent.file, &torrent.parent, &[]);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    (tracker, torrent, seeder)
}

/// `get` as a script runs it, without `--json`.
fn get(source: &Path, to: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(program("peer"));
    command.args(["get", "-p", "0", "--bind", "127.0.0.3", "-o"]);
    command.arg(to).args(options).arg(source);
    command
}

#[test]
fn every_program_and_subcommand_explains_itself() {
    let subcommands: [(&str, &[&str]); 3] = [
        ("create", &["", "show", "verify", "magnet"]),
        ("tracker", &[""]),
        (
            "peer",
            &[
                "", "get", "seed", "share", "run", "status", "wait", "doctor",
            ],
        ),
    ];
    for (name, subcommands) in subcommands {
        for subcommand in subcommands {
            let with = |flag| {
                let given = [*subcommand, flag];
                let given: Vec<&str> = given.into_iter().filter(|a| !a.is_empty()).collect();
                ends(name, &given)
            };
            for flag in ["--help", "-h"] {
                let help = with(flag);
                assert_eq!(help.code, 0, "hivebt-{name} {subcommand} {flag}");
                assert!(help.stdout.contains(&format!("hivebt-{name}")));
                assert_eq!(help.stderr, "");
            }
            let version = with("--version");
            assert_eq!(version.code, 0, "hivebt-{name} {subcommand} --version");
            assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")));
        }
    }
}

#[test]
fn a_wrong_command_line_is_exit_2_and_names_the_option() {
    for (name, arguments, words) in [
        ("create", &["--colour", "x"][..], "--colour"),
        ("create", &["-l", "100", "x"], "100"),
        ("create", &[], ""),
        ("tracker", &["--colour"], "--colour"),
        ("tracker", &["-l", "nowhere"], "nowhere"),
        ("tracker", &["--interval", "soon"], "--interval"),
        ("peer", &["--colour"], "--colour"),
        (
            "peer",
            &["get", "--timeout", "soon", "x.torrent"],
            "--timeout",
        ),
        ("peer", &["get", "-p", "70000", "x.torrent"], "70000"),
        ("peer", &["get"], ""),
    ] {
        assert_refused(&ends(name, arguments), 2, words);
    }
}

#[test]
fn a_file_that_is_no_torrent_is_exit_3() {
    let dir = TempDir::new("cli");
    let bad = dir.join("bad.torrent");
    for bytes in [&b""[..], b"not bencoded", b"d4:infod4:name1:xee"] {
        fs::write(&bad, bytes).unwrap();
        assert_refused(&ends("create", &["show", text(&bad)]), 3, "bad.torrent");
        let verify = ends("create", &["verify", text(&bad), text(dir.path())]);
        assert_refused(&verify, 3, "bad.torrent");
        assert_refused(&ends("peer", &["get", text(&bad)]), 3, "bad.torrent");
        assert_refused(&ends("peer", &["seed", text(&bad)]), 3, "bad.torrent");
    }
}

#[test]
fn data_that_does_not_match_is_exit_4() {
    let dir = TempDir::new("cli");
    let torrent = torrent(&dir, 300_000, "http://127.0.0.1:9/announce");
    let good = ends(
        "create",
        &["verify", text(&torrent.file), text(&torrent.parent)],
    );
    assert_eq!(good.code, 0, "{}", good.stderr);
    fs::write(torrent.payload(), b"something else").unwrap();
    let bad = ends(
        "create",
        &["verify", text(&torrent.file), text(&torrent.parent)],
    );
    assert_eq!(bad.code, 4, "{}", bad.stderr);
    let seed = [
        "seed",
        "-p",
        "0",
        "-d",
        text(&torrent.parent),
        text(&torrent.file),
    ];
    assert_refused(&ends("peer", &seed), 4, "payload.bin");
}

#[test]
fn a_deadline_of_the_caller_is_exit_5() {
    let dir = TempDir::new("cli");
    let (address, _requests) = http::serve(NOBODY.to_vec());
    let torrent = torrent(&dir, 300_000, &format!("http://{address}/announce"));
    for option in ["--timeout", "--stall-timeout"] {
        let command = get(&torrent.file, &dir.folder("to"), &[option, "1"]);
        assert_eq!(run("get", command, LIMIT).code, 5, "{option}");
    }
}

#[test]
fn a_full_disk_is_exit_6_and_the_same_command_finishes_once_there_is_room() {
    if !rustix::process::geteuid().is_root() {
        skip("a small file system needs root");
        return;
    }
    let dir = TempDir::new("cli");
    let small = dir.folder("small");
    let Some(_mounted) = Mounted::tmpfs(&small, "4m") else {
        skip("this place allows no mounts");
        return;
    };
    let (_tracker, torrent, _seeder) = swarm(&dir, 8 << 20);
    let to = small.join("to");
    let full = run("get", get(&torrent.file, &to, &[]), LIMIT);
    assert_refused(&full, 6, "payload.bin");

    let mut more = Command::new("mount");
    more.args(["-o", "remount,size=32m"]).arg(&small);
    assert_eq!(run("mount", more, LIMIT).code, 0);
    let done = run("get", get(&torrent.file, &to, &[]), LIMIT);
    assert_eq!(done.code, 0, "{}", done.stderr);
    tree::assert_same(&torrent.payload(), &to.join("payload.bin"));
}

/// A mounted tmpfs; dropped, it is unmounted.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn tmpfs(at: &'a Path, size: &str) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]);
        command.arg(at);
        (run("mount", command, LIMIT).code == 0).then_some(Self(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Lazily, because a killed program may still be leaving.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn an_address_in_use_is_exit_7() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_refused(&ends("tracker", &["-l", &address]), 7, &address);
}

#[test]
fn a_second_run_in_the_same_folder_is_exit_75() {
    let dir = TempDir::new("cli");
    let (address, _requests) = http::serve(NOBODY.to_vec());
    let torrent = torrent(&dir, 300_000, &format!("http://{address}/announce"));
    let to = dir.folder("to");
    let first = Peer::get(&Host::local(3), &torrent.file, &to, &[]);
    first.wait_event("started", LIMIT);
    let second = run("get", get(&torrent.file, &to, &[]), LIMIT);
    assert_refused(&second, 75, "");
    let quiet = run("get", get(&torrent.file, &to, &["-q"]), LIMIT);
    assert_eq!(
        (quiet.code, quiet.stderr.as_str()),
        (75, ""),
        "cron mails whatever is printed"
    );
}

#[test]
fn an_interrupted_download_says_stopped_to_the_tracker_and_is_exit_130_or_143() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let dir = TempDir::new("cli");
        let (address, requests) = http::serve(NOBODY.to_vec());
        let torrent = torrent(&dir, 300_000, &format!("http://{address}/announce"));
        let mut peer = Peer::get(&Host::local(3), &torrent.file, &dir.folder("to"), &[]);
        let request = requests.recv_timeout(LIMIT).expect("an announce");
        assert!(request.contains("event=started"), "{request}");
        peer.process.signal(signal);
        let request = requests.recv_timeout(LIMIT).expect("an announce");
        assert!(request.contains("event=stopped"), "{request}");
        assert_eq!(peer.process.wait(LIMIT).code, code);
    }
}

#[test]
fn a_tracker_that_does_not_answer_cannot_keep_a_run_from_ending() {
    let dir = TempDir::new("cli");
    // It accepts nothing, so connections are made by the kernel and then hang.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let announce = format!("http://{}/announce", silent.local_addr().unwrap());
    let torrent = torrent(&dir, 300_000, &announce);
    let mut peer = Peer::get(&Host::local(3), &torrent.file, &dir.folder("to"), &[]);
    peer.wait_event("started", LIMIT);
    peer.process.signal(Signal::TERM);
    // The contract says 3 s; a busy machine gets some more.
    let ended = peer.process.wait(Duration::from_secs(10));
    assert_eq!(ended.code, 143, "{}", ended.stderr);
}

#[test]
fn a_seeder_that_is_told_to_stop_is_exit_0() {
    let dir = TempDir::new("cli");
    for signal in [Signal::INT, Signal::TERM] {
        let (tracker, torrent, mut seeder) = swarm(&dir, 300_000);
        seeder.process.signal(signal);
        let ended = seeder.process.wait(LIMIT);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(tracker.scrape(&torrent.info_hash), Some((0, 0)));
        let mut tracker = tracker;
        tracker.process.signal(signal);
        assert_eq!(tracker.process.wait(LIMIT).code, 0);
    }
}

#[test]
fn get_prints_the_path_of_the_payload_whatever_the_torrent_came_from() {
    let dir = TempDir::new("cli");
    let (_tracker, torrent, _seeder) = swarm(&dir, 300_000);
    let check = |ended: &Ended, to: &Path| {
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let path = to.join("payload.bin");
        assert_eq!(ended.stdout, format!("{}\n", path.display()));
        tree::assert_same(&torrent.payload(), &path);
    };

    let to = dir.folder("from a file");
    check(&run("get", get(&torrent.file, &to, &[]), LIMIT), &to);

    let to = dir.folder("from standard input");
    let stdin = File::open(&torrent.file).unwrap();
    let command = get(Path::new("-"), &to, &[]);
    let mut process = Process::start_reading("get", command, Stdio::from(stdin));
    check(&process.wait(LIMIT), &to);

    let to = dir.folder("from a URL");
    let (server, _requests) = http::serve(fs::read(&torrent.file).unwrap());
    let url = format!("http://{server}/x.torrent");
    check(&run("get", get(Path::new(&url), &to, &[]), LIMIT), &to);
}

#[test]
fn a_torrent_alone_downloads_beside_itself_and_then_seeds() {
    let dir = TempDir::new("cli");
    let (tracker, torrent, seeder) = swarm(&dir, 300_000);
    let folder = dir.folder("worker");
    let copy = folder.join("x.torrent");
    fs::copy(&torrent.file, &copy).unwrap();
    let bare = |n: u8| {
        let mut command = Command::new(program("peer"));
        command.args(["--json", "-p", "0", "--bind", &format!("127.0.0.{n}")]);
        command.arg(&copy);
        Peer {
            process: Process::start("hivebt-peer, bare", command),
        }
    };
    let mut worker = bare(3);
    worker.wait_event("complete", LIMIT);
    tree::assert_same(&torrent.payload(), &folder.join("payload.bin"));
    tracker.wait_for_seeds(&torrent.info_hash, 2, &worker.process);
    assert_eq!(worker.process.stop(LIMIT).code, 0);

    // With the data there, the same command seeds.
    drop(seeder);
    let worker = bare(4);
    worker.wait_event("started", LIMIT);
    let to = dir.folder("to");
    let ended = run("get", get(&torrent.file, &to, &[]), LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn verify_and_create_say_what_they_found_as_json() {
    let dir = TempDir::new("cli");
    let folder = payload::odd_folder(&dir.join("lot"), 5);
    let torrent = Torrent::create(&folder, "http://127.0.0.1:9/announce", &[]);
    fs::remove_file(folder.join("big/3 MiB")).unwrap();
    let said = ends(
        "create",
        &["verify", "--json", text(&torrent.file), text(&folder)],
    );
    assert_eq!(said.code, 4, "{}", said.stderr);
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["info_hash"], *torrent.info_hash);
    assert_eq!(report["complete"], false);
    let missing = report["missing"].to_string();
    assert!(missing.contains("3 MiB"), "{missing}");
}

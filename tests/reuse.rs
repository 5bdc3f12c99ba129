//! `--reuse`: the next version of a payload moves only the difference.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent};
use support::payload;
use support::process::{Ended, Process, run};
use support::tempdir::TempDir;
use support::tree::{self, assert_same};

const NO_TRACKER: &str = "http://127.0.0.1:1/announce";
const PIECE: u64 = 65_536;

/// Files whose lengths are no multiples of anything: 3,141,595 bytes.
const FILES: [(&str, u64); 6] = [
    ("a/one.bin", 1_000_003),
    ("a/two.bin", 300_007),
    ("b/three.bin", 700_001),
    ("b/tiny", 11),
    ("c.bin", 1_141_573),
    ("empty", 0),
];

/// An older version at `old/task`, and the next one, which is shared, at `from/task`.
struct Versions {
    folder: TempDir,
}

impl Versions {
    /// Both are the same.
    fn new() -> Self {
        let folder = TempDir::new("reuse");
        for (seed, (path, bytes)) in (1..).zip(FILES) {
            for version in ["old", "from"] {
                payload::file(&folder.join(version).join("task").join(path), bytes, seed);
            }
        }
        Self { folder }
    }

    fn old(&self) -> PathBuf {
        self.folder.join("old")
    }

    /// Puts another file into the next version.
    fn change(&self, path: &str, bytes: u64) {
        payload::file(&self.folder.join("from/task").join(path), bytes, 77);
    }

    /// The next version, seeded.
    fn share(&self, options: &[&str]) -> Shared<'_> {
        self.share_file(&self.folder.join("from/task"), options)
    }

    fn share_file(&self, payload: &Path, options: &[&str]) -> Shared<'_> {
        let options = [&["-l", "64K"], options].concat();
        let torrent = Torrent::create(payload, NO_TRACKER, &options);
        let seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &[]);
        let address = seeder.serving_address(&Host::local(1));
        Shared {
            versions: self,
            torrent,
            seeder,
            address,
        }
    }
}

struct Shared<'a> {
    versions: &'a Versions,
    torrent: Torrent,
    seeder: Peer,
    address: String,
}

impl Shared<'_> {
    fn command(&self, to: &str, options: &[&str]) -> Command {
        let mut command = Peer::command(&Host::local(2), "get");
        command.args(["--peer", &self.address, "-o"]);
        command.arg(self.to(to)).args(options);
        command.arg(&self.torrent.file);
        command
    }

    fn to(&self, name: &str) -> PathBuf {
        self.versions.folder.join(name)
    }

    /// `get --reuse PLACE`, which works and changes nothing in PLACE.
    fn get(&self, to: &str, place: &Path, options: &[&str]) -> Got {
        let before = looks(&self.versions.old());
        let mut command = self.command(to, options);
        command.arg("--reuse").arg(place);
        let ended = run("get", command, LIMIT);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(looks(&self.versions.old()), before, "it is only read");
        let complete = event(&ended, "complete");
        Got {
            reused: event(&ended, "reused")["bytes"].as_u64().unwrap(),
            downloaded: complete["downloaded"].as_u64().unwrap(),
            ended,
        }
    }

    fn assert_arrived(&self, to: &str) {
        assert_same(
            &self.torrent.payload(),
            &self.to(to).join(&self.torrent.name),
        );
    }
}

struct Got {
    reused: u64,
    downloaded: u64,
    ended: Ended,
}

fn event(ended: &Ended, name: &str) -> Value {
    let events = ended.stdout.lines().map(serde_json::from_str::<Value>);
    events
        .map(Result::unwrap)
        .find(|event| event["event"] == name)
        .unwrap_or_else(|| panic!("no `{name}` in {}\n{}", ended.stdout, ended.stderr))
}

/// What every file below a folder looks like.
fn looks(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime, Vec<u8>)> {
    let files = tree::files(folder).into_iter();
    let look = files.map(|path| {
        let full = folder.join(&path);
        let meta = fs::metadata(&full).unwrap();
        (
            path,
            (
                meta.len(),
                meta.modified().unwrap(),
                fs::read(full).unwrap(),
            ),
        )
    });
    look.collect()
}

/// Where a file begins and ends in the payload, without padding.
fn place(path: &str) -> (u64, u64) {
    let before = FILES.iter().take_while(|(other, _)| *other != path);
    let start = before.map(|(_, len)| len).sum();
    let len = FILES.iter().find(|(other, _)| *other == path).unwrap().1;
    (start, start + len)
}

#[test]
fn the_next_version_moves_only_the_pieces_that_the_changed_file_touches() {
    let versions = Versions::new();
    versions.change("a/two.bin", 300_007);
    let shared = versions.share(&[]);
    let got = shared.get("to", &versions.old(), &[]);
    shared.assert_arrived("to");
    let (start, end) = place("a/two.bin");
    let touched = end.div_ceil(PIECE) * PIECE - start / PIECE * PIECE;
    assert_eq!(got.downloaded, touched);
    assert_eq!(got.reused, shared.torrent.bytes - touched);
    let reused = event(&got.ended, "reused");
    assert_eq!(reused["total"], shared.torrent.bytes);
    assert_eq!(reused["pieces"], got.reused.div_ceil(PIECE));
    assert_eq!(reused["from"][0]["bytes"], got.reused);
    assert!(reused["hashed"].as_u64().unwrap() >= 2 * got.reused);
    let said = format!("of 3.0 MiB from `{}`", versions.old().display());
    assert!(got.ended.stderr.contains(&said), "{}", got.ended.stderr);
    // What the seeder has sent, it says itself.
    let sent = |event: &Value| event["total_uploaded"].as_u64() >= Some(touched);
    let told = shared.seeder.wait_event_that("progress", LIMIT, sent);
    assert_eq!(told["total_uploaded"], touched);
}

#[test]
fn aligned_files_share_no_piece_so_that_exactly_the_changed_one_moves() {
    let versions = Versions::new();
    versions.change("a/two.bin", 250_000);
    let shared = versions.share(&["--align"]);
    let got = shared.get("to", &versions.old(), &[]);
    shared.assert_arrived("to");
    assert!(!shared.to("to").join("task/.pad").exists());
    assert_eq!(got.downloaded, 250_000_u64.next_multiple_of(PIECE));
    // Without alignment, all that lies behind the file that has another length moves, too.
    let shared = versions.share(&[]);
    let got = shared.get("again", &versions.old(), &[]);
    shared.assert_arrived("again");
    let (start, _) = place("a/two.bin");
    let behind = shared.torrent.bytes - start / PIECE * PIECE;
    assert!(
        got.downloaded < behind,
        "within the files behind it much is as it was"
    );
}

#[test]
fn a_file_that_has_grown_or_shrunk_keeps_its_beginning() {
    let versions = Versions::new();
    let path = versions.folder.join("old/task/a/one.bin");
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(600_000)
        .unwrap();
    let longer = versions.folder.join("old/task/c.bin");
    let mut bytes = fs::read(&longer).unwrap();
    bytes.extend([7; 100_000]);
    fs::write(&longer, bytes).unwrap();
    let shared = versions.share(&["--align"]);
    let got = shared.get("to", &versions.old(), &[]);
    shared.assert_arrived("to");
    let kept = 600_000 / PIECE * PIECE;
    assert_eq!(got.downloaded, 1_000_003_u64.next_multiple_of(PIECE) - kept);
}

#[test]
fn a_damaged_older_version_does_no_harm() {
    let versions = Versions::new();
    let path = versions.folder.join("old/task/c.bin");
    let mut bytes = fs::read(&path).unwrap();
    bytes[200_000] ^= 1;
    bytes[900_000] ^= 1;
    fs::write(path, bytes).unwrap();
    let shared = versions.share(&[]);
    let got = shared.get("to", &versions.old(), &[]);
    shared.assert_arrived("to");
    assert_eq!(got.downloaded, 2 * PIECE);
}

#[test]
fn a_payload_that_is_shifted_by_a_byte_shares_nothing_and_arrives_all_the_same() {
    let versions = Versions::new();
    let file = versions.folder.join("from/image");
    payload::file(&file, 1_000_000, 5);
    let shifted = [vec![0], fs::read(&file).unwrap()].concat();
    fs::write(versions.folder.join("old/image"), shifted).unwrap();
    let shared = versions.share_file(&file, &[]);
    let got = shared.get("to", &versions.old(), &[]);
    shared.assert_arrived("to");
    assert_eq!((got.reused, got.downloaded), (0, 1_000_000));
    assert!(
        got.ended.stderr.contains("nothing of it lies in"),
        "{}",
        got.ended.stderr
    );
}

#[test]
fn files_are_found_under_other_names_and_in_several_places_and_links_are_not_followed() {
    let versions = Versions::new();
    let old = versions.old();
    let task = old.join("task");
    fs::rename(task.join("a"), task.join("renamed")).unwrap();
    fs::rename(task.join("b/three.bin"), task.join("three.old")).unwrap();
    // One lies elsewhere, as a file that is named itself, and one is a link, which leads out.
    let elsewhere = versions.folder.join("elsewhere.bin");
    fs::rename(task.join("c.bin"), &elsewhere).unwrap();
    let secret = versions.folder.join("secret");
    fs::rename(task.join("b/tiny"), &secret).unwrap();
    symlink(&secret, task.join("b/tiny")).unwrap();
    let shared = versions.share(&["--align"]);
    let place = elsewhere.to_str().unwrap();
    let got = shared.get("to", &old, &["--reuse", place]);
    shared.assert_arrived("to");
    // Padding apart, only the piece that holds the file behind the link had to come.
    let from = event(&got.ended, "reused")["from"].clone();
    assert_eq!(from[0]["path"], place);
    let of_file = |n: u64| n.next_multiple_of(PIECE);
    assert_eq!(from[0]["bytes"], 1_141_573);
    let three = 700_001 / PIECE * PIECE;
    assert_eq!(
        from[1]["bytes"],
        of_file(1_000_003) + of_file(300_007) + three
    );
    assert_eq!(got.downloaded, PIECE);
}

#[test]
fn of_a_selection_only_what_is_wanted_is_taken() {
    let versions = Versions::new();
    let shared = versions.share(&["--align"]);
    let got = shared.get("to", &versions.old(), &["--select", "a/"]);
    let wanted = 1_000_003_u64.next_multiple_of(PIECE) + 300_007_u64.next_multiple_of(PIECE);
    assert_eq!((got.reused, got.downloaded), (wanted, 0));
    let there: Vec<_> = tree::files(&shared.to("to/task")).into_iter().collect();
    assert_eq!(there, [Path::new("a/one.bin"), Path::new("a/two.bin")]);
}

#[test]
fn a_version_in_the_output_folder_itself_may_be_reused() {
    let versions = Versions::new();
    fs::rename(
        versions.folder.join("old/task"),
        versions.folder.join("old/task-1"),
    )
    .unwrap();
    versions.change("a/two.bin", 300_007);
    let shared = versions.share(&["--align"]);
    let mut command = shared.command("old", &[]);
    command.arg("--reuse").arg(versions.old());
    let ended = run("get", command, LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    shared.assert_arrived("old");
    let downloaded = event(&ended, "complete")["downloaded"].as_u64();
    assert_eq!(downloaded, Some(300_007_u64.next_multiple_of(PIECE)));
}

#[test]
fn a_place_that_is_not_there_is_an_error_before_anything_is_made() {
    let versions = Versions::new();
    let shared = versions.share(&[]);
    let mut command = shared.command("to", &[]);
    command.args(["--reuse", "/nonexistent/old"]);
    let ended = run("get", command, LIMIT);
    assert_eq!(ended.code, 6);
    let says = "error: cannot reuse `/nonexistent/old`: No such file";
    assert!(ended.stderr.contains(says), "{}", ended.stderr);
    assert!(!shared.to("to").exists());
}

/// Begins to reuse 64 MiB for a payload that nobody has all of, and ends it with `signal` as soon as something of it is written.
fn interrupt(signal: Signal) -> (TempDir, Torrent) {
    let folder = TempDir::new("reuse-cut");
    let (old, new) = (folder.join("old/image"), folder.join("from/image"));
    payload::file(&old, 64 << 20, 3);
    payload::file(&new, 64 << 20, 3);
    // The first piece is another.
    let mut bytes = fs::read(&new).unwrap();
    bytes[0] ^= 1;
    fs::write(&new, bytes).unwrap();
    let torrent = Torrent::create(&new, NO_TRACKER, &["-l", "64K"]);
    let mut command = Peer::command(&Host::local(2), "get");
    command.arg("-o").arg(folder.join("to"));
    command
        .arg("--reuse")
        .arg(folder.join("old"))
        .arg(&torrent.file);
    let mut first = Process::start("get", command);
    let part = folder.join("to/image.part");
    let deadline = Instant::now() + LIMIT;
    while fs::metadata(&part).map_or(0, |meta| meta.blocks()) == 0 {
        assert!(Instant::now() < deadline, "{}", first.tail());
        thread::sleep(Duration::from_millis(1));
    }
    first.signal(signal);
    let ended = first.wait(LIMIT);
    let killed = signal == Signal::KILL;
    assert!(
        killed || ended.code == 130,
        "{}\n{}",
        ended.code,
        ended.stderr
    );
    (folder, torrent)
}

#[test]
fn interrupted_or_killed_in_the_middle_the_same_command_continues() {
    for signal in [Signal::INT, Signal::KILL] {
        let (folder, torrent) = interrupt(signal);
        let seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &[]);
        let address = seeder.address(&Host::local(1));
        let mut command = Peer::command(&Host::local(2), "get");
        command.args(["--peer", &address, "-o"]);
        command.arg(folder.join("to")).arg("--reuse");
        command.arg(folder.join("old")).arg(&torrent.file);
        let ended = run("get", command, LIMIT);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_same(&torrent.payload(), &folder.join("to/image"));
        assert_eq!(event(&ended, "complete")["downloaded"], PIECE);
    }
}

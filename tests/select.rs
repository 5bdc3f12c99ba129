//! `--select`: some files of a torrent, and what becomes of the others.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, Tracker};
use support::payload;
use support::process::{Ended, Process, run};
use support::tempdir::TempDir;
use support::tree;

/// In the torrent's order. Pieces have 16 KiB, so that no file but the first begins with a piece.
const FILES: [(&str, u64); 6] = [
    ("a/one.bin", 100_000),
    ("a/two.bin", 50_000),
    ("b/three.bin", 70_000),
    ("b/tiny", 10),
    ("c.bin", 120_000),
    ("empty.txt", 0),
];

/// A folder, its torrent, and a seeder.
struct Origin {
    folder: TempDir,
    torrent: Torrent,
    seeder: Peer,
    address: String,
}

impl Origin {
    fn new(announce: &str) -> Self {
        let folder = TempDir::new("select");
        let top = folder.join("from/data");
        for (seed, (path, bytes)) in (1..).zip(FILES) {
            payload::file(&top.join(path), bytes, seed);
        }
        let torrent = Torrent::create(&top, announce, &["-l", "16K"]);
        let seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &[]);
        let address = seeder.serving_address(&Host::local(1));
        Self {
            folder,
            torrent,
            seeder,
            address,
        }
    }

    fn alone() -> Self {
        Self::new("http://127.0.0.1:1/announce")
    }

    /// `get` into the folder `to`, from `peer` alone.
    fn command(&self, to: &Path, peer: &str, options: &[&str]) -> std::process::Command {
        let mut command = Peer::command(&Host::local(2), "get");
        command.args(["--peer", peer, "-o"]).arg(to).args(options);
        command.arg(&self.torrent.file);
        command
    }

    fn get(&self, to: &Path, options: &[&str]) -> Ended {
        run("get", self.command(to, &self.address, options), LIMIT)
    }

    /// The same, and it works: the event `complete`.
    fn got(&self, to: &Path, options: &[&str]) -> Value {
        let ended = self.get(to, options);
        assert_eq!(ended.code, 0, "{}\n{}", ended.stderr, ended.stdout);
        event(&ended, "complete")
    }

    /// `to` holds these files of the payload, as they were, and nothing else.
    fn assert_published(&self, to: &Path, files: &[&str]) {
        let data = to.join("data");
        let expected: BTreeSet<_> = files.iter().map(PathBuf::from).collect();
        assert_eq!(tree::files(&data), expected);
        for file in files {
            tree::assert_same(&self.torrent.payload().join(file), &data.join(file));
        }
        assert!(!to.join("data.part").exists());
    }
}

fn event(ended: &Ended, name: &str) -> Value {
    let events = ended.stdout.lines().map(serde_json::from_str::<Value>);
    events
        .map(Result::unwrap)
        .find(|event| event["event"] == name)
        .unwrap_or_else(|| panic!("no `{name}` in {}", ended.stdout))
}

/// Bytes in the pieces that hold a byte of `range`.
fn in_pieces(range: std::ops::Range<u64>) -> u64 {
    let total: u64 = FILES.iter().map(|(_, len)| len).sum();
    let end = range.end.div_ceil(16384) * 16384;
    end.min(total) - range.start / 16384 * 16384
}

#[test]
fn only_what_is_selected_is_fetched_and_published_and_the_same_command_again_does_nothing() {
    let mut origin = Origin::alone();
    let to = origin.folder.folder("to");
    let select = ["--select", "two.*"];
    let ended = origin.get(&to, &select);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    origin.assert_published(&to, &["a/two.bin"]);
    let complete = event(&ended, "complete");
    assert_eq!(complete["downloaded"], in_pieces(100_000..150_000));
    assert_eq!(complete["path"], to.join("data").to_str().unwrap());
    assert_eq!(event(&ended, "started")["selected"], 50_000);
    origin.seeder.process.stop(LIMIT);
    let again = origin.get(&to, &select);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let checked = event(&again, "checked");
    assert_eq!(checked["hashed"], 0);
    assert_eq!(checked["kept"], checked["total"]);
    origin.assert_published(&to, &["a/two.bin"]);
}

#[test]
fn a_larger_selection_keeps_what_is_there_and_fetches_the_rest() {
    let origin = Origin::alone();
    let to = origin.folder.folder("to");
    origin.got(&to, &["--select", "a/two.bin"]);
    let second = origin.got(&to, &["--select", "a/two.bin", "--select", "b/"]);
    let two = ["a/two.bin", "b/three.bin", "b/tiny"];
    origin.assert_published(&to, &two);
    // The piece in which the second file ends had not been kept whole; those before it had.
    assert_eq!(second["downloaded"], in_pieces(150_000..220_010));
    // What is already there counts, though it is not named again.
    let third = origin.got(&to, &["--select", "c.*"]);
    origin.assert_published(&to, &[&two[..], &["c.bin"]].concat());
    assert_eq!(third["downloaded"], in_pieces(220_010..340_010));
    assert_eq!(origin.got(&to, &["--select", "two.bin"])["downloaded"], 0);
    let all = origin.got(&to, &[]);
    tree::assert_same(&origin.torrent.payload(), &to.join("data"));
    assert_eq!(all["downloaded"], in_pieces(0..100_000));
    assert_eq!(origin.got(&to, &["--select", "c.*"])["downloaded"], 0);
}

#[test]
fn of_an_unfinished_download_complete_files_stay_and_beginnings_go() {
    let origin = Origin::alone();
    let to = origin.folder.folder("to");
    let part = to.join("data.part");
    for file in ["b/three.bin", "b/tiny", "c.bin"] {
        let copy = part.join(file);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(origin.torrent.payload().join(file), copy).unwrap();
    }
    let begun = fs::read(origin.torrent.payload().join("a/one.bin")).unwrap();
    fs::create_dir_all(part.join("a")).unwrap();
    fs::write(part.join("a/one.bin"), &begun[..50_000]).unwrap();
    let complete = origin.got(&to, &["--select", "a/two.bin"]);
    assert_eq!(complete["downloaded"], in_pieces(100_000..150_000));
    let stay = ["a/two.bin", "b/three.bin", "b/tiny", "c.bin"];
    origin.assert_published(&to, &stay);
}

#[test]
fn files_that_were_published_before_are_left_where_they_are() {
    let origin = Origin::alone();
    let to = origin.folder.folder("to");
    origin.got(&to, &[]);
    // One that is damaged and wanted, and one that is damaged and not.
    for file in ["a/two.bin", "c.bin"] {
        let path = to.join("data").join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[45_000] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let damaged = fs::read(to.join("data/c.bin")).unwrap();
    let complete = origin.got(&to, &["--select", "two.bin"]);
    assert_eq!(complete["downloaded"], 16_384);
    assert_eq!(fs::read(to.join("data/c.bin")).unwrap(), damaged);
    let complete = origin.got(&to, &[]);
    assert_eq!(complete["downloaded"], 16_384);
    tree::assert_same(&origin.torrent.payload(), &to.join("data"));
}

#[test]
fn a_killed_download_of_a_selection_goes_on() {
    let origin = Origin::alone();
    let to = origin.folder.folder("to");
    // Six seconds' worth.
    let options = ["--select", "c.bin", "--max-download", "20K"];
    let command = origin.command(&to, &origin.address, &options);
    let mut first = Peer {
        process: Process::start("get", command),
    };
    first.wait_percent(20.0, LIMIT);
    first.process.kill();
    assert!(to.join("data.part").exists() && !to.join("data").exists());
    let complete = origin.got(&to, &["--select", "c.bin"]);
    origin.assert_published(&to, &["c.bin"]);
    assert!(complete["downloaded"].as_u64().unwrap() < 120_000);
}

#[test]
fn empty_files_need_nobody_and_a_name_that_matches_nothing_is_an_error() {
    let mut origin = Origin::alone();
    origin.seeder.process.stop(LIMIT);
    let to = origin.folder.folder("to");
    assert_eq!(origin.got(&to, &["--select", "empty.txt"])["downloaded"], 0);
    origin.assert_published(&to, &["empty.txt"]);
    let nothing = origin.folder.folder("nothing");
    let ended = origin.get(&nothing, &["--select", "*.jpg"]);
    assert_eq!(ended.code, 2);
    let says = "`--select` `*.jpg` matches none of its files: `a/one.bin`, `a/two.bin`";
    assert!(ended.stderr.contains(says), "{}", ended.stderr);
    assert_eq!(fs::read_dir(&nothing).unwrap().count(), 0);
}

#[test]
fn an_empty_file_that_is_selected_later_appears_beside_the_others() {
    let origin = Origin::alone();
    let to = origin.folder.folder("to");
    let data = ["--select", "a", "--select", "b", "--select", "c.bin"];
    origin.got(&to, &data);
    assert!(!to.join("data/empty.txt").exists());
    origin.got(&to, &[]);
    tree::assert_same(&origin.torrent.payload(), &to.join("data"));
}

#[test]
fn a_torrent_of_one_file_goes_by_its_name() {
    let dir = TempDir::new("select-one");
    let file = dir.join("from/payload.bin");
    payload::file(&file, 100_000, 1);
    let torrent = Torrent::create(&file, "http://127.0.0.1:1/announce", &[]);
    let seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &[]);
    let to = dir.folder("to");
    let get = |glob: &str| {
        let mut command = Peer::command(&Host::local(2), "get");
        command.args([
            "--peer",
            &seeder.serving_address(&Host::local(1)),
            "--select",
            glob,
            "-o",
        ]);
        command.arg(&to).arg(&torrent.file);
        run("get", command, LIMIT)
    };
    assert_eq!(get("other.bin").code, 2);
    let ended = get("payload.*");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    tree::assert_same(&file, &to.join("payload.bin"));
}

#[test]
fn who_has_a_selection_serves_what_is_whole_and_counts_as_no_copy() {
    let tracker = Tracker::start(&Host::local(1), 0, &[]);
    let mut origin = Origin::new(&tracker.url());
    let to = origin.folder.folder("to");
    // Two at a time, so that neither is alone with the only seed.
    let options = ["--select", "a/", "--seed"];
    let first = Peer {
        process: Process::start("get", origin.command(&to, &origin.address, &options)),
    };
    let second = origin.folder.folder("second");
    origin.got(&second, &["--select", "b/three.bin"]);
    origin.assert_published(&second, &["b/three.bin"]);
    let from = first.serving_address(&Host::local(2));
    origin.assert_published(&to, &["a/one.bin", "a/two.bin"]);
    origin.seeder.process.stop(LIMIT);
    // The first file ends inside a piece that the first peer has whole.
    let third = origin.folder.folder("third");
    let command = origin.command(&third, &from, &["--select", "one.bin"]);
    let ended = run("get", command, LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    origin.assert_published(&third, &["a/one.bin"]);
    // The second file's last piece ends in a file that the first peer has not: nobody has it now.
    let fourth = origin.folder.folder("fourth");
    let options = ["--select", "two.bin", "--stall-timeout", "2s"];
    let ended = run("get", origin.command(&fourth, &from, &options), LIMIT);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    assert!(!fourth.join("data").exists());
    let path = format!(
        "/scrape?info_hash={}",
        support::foreign::percent(&origin.torrent.info_hash)
    );
    let (_, scrape) = tracker.get(&path).unwrap();
    let none = b"10:downloadedi0e";
    let counted = scrape.windows(none.len()).any(|window| window == none);
    assert!(counted, "{}", scrape.escape_ascii());
}

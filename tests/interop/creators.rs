//! Torrents: what others read in ours, and whether others make the same of the same data.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::foreign::{missing_module, missing_program};
use crate::support::ours::Torrent;
use crate::support::process::run_ok;
use crate::support::tempdir::TempDir;
use crate::support::{payload, say};

const LIMIT: Duration = Duration::from_secs(60);
const ANNOUNCE: &str = "http://127.0.0.1:8080/announce";

/// Whether something is missing, said aloud.
fn lacks(missing: Option<String>) -> bool {
    missing.map(say::skip).is_some()
}

/// A word of `text` that is 40 hex digits.
fn info_hash_in(text: &str) -> Option<String> {
    let hex = |word: &&str| word.len() == 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let found = text.split_whitespace().find(hex);
    found.map(str::to_ascii_lowercase)
}

/// The info-hash that another program sees in `torrent`.
fn seen_by(program: &str, options: &[&str], torrent: &Path) -> String {
    let mut command = Command::new(program);
    command.args(options).arg(torrent);
    let said = run_ok(program, command, LIMIT);
    info_hash_in(&said).unwrap_or_else(|| panic!("{program} names no info-hash: {said}"))
}

const READ_BY_LIBTORRENT: &str = "
import sys, libtorrent
print(libtorrent.torrent_info(sys.argv[1]).info_hash())";

fn seen_by_libtorrent(torrent: &Path) -> String {
    seen_by(
        "python3",
        &["-W", "ignore", "-c", READ_BY_LIBTORRENT],
        torrent,
    )
}

#[test]
#[ignore = "needs the other programs; `make interop` runs it"]
fn others_see_the_same_info_hash_in_our_torrents() {
    let dir = TempDir::new("seen");
    let folder = payload::odd_folder(&dir.join("ein Ordner"), 21);
    let file = dir.join("file.bin");
    payload::file(&file, 3_000_000, 22);
    for path in [folder, file] {
        for options in [&[][..], &["--private", "-s", "HIVE", "-c", "ein Wort"]] {
            let torrent = Torrent::create(&path, ANNOUNCE, options);
            let ours = &torrent.info_hash;
            if !lacks(missing_program("transmission-show")) {
                assert_eq!(&seen_by("transmission-show", &[], &torrent.file), ours);
            }
            if !lacks(missing_program("aria2c")) {
                assert_eq!(
                    &seen_by("aria2c", &["--no-conf", "-S"], &torrent.file),
                    ours
                );
            }
            if !lacks(missing_module("libtorrent")) {
                assert_eq!(&seen_by_libtorrent(&torrent.file), ours);
            }
        }
    }
}

#[test]
#[ignore = "needs mktorrent; `make interop` runs it"]
fn mktorrent_makes_the_same_info_hash() {
    if lacks(missing_program("mktorrent")) {
        return;
    }
    let dir = TempDir::new("mktorrent");
    let folder = payload::odd_folder(&dir.join("folder"), 31);
    let file = dir.join("file.bin");
    payload::file(&file, 3_000_000, 32);
    for path in [folder, file] {
        let theirs = dir.join("theirs.torrent");
        let mut command = Command::new("mktorrent");
        // 2^16 bytes a piece.
        command.args(["-l", "16", "-a", ANNOUNCE, "-o"]);
        command.arg(&theirs).arg(&path);
        let _ = std::fs::remove_file(&theirs);
        run_ok("mktorrent", command, LIMIT);
        let ours = Torrent::create(&path, ANNOUNCE, &["-l", "64K"]);
        assert_eq!(shown_by_us(&theirs)["info_hash"], *ours.info_hash);
    }
}

/// Prints the info-hash of a torrent of a folder whose files stand in the order of their paths.
const MADE_BY_LIBTORRENT: &str = "
import sys, os, libtorrent
root, piece = sys.argv[1], 65536
files = [root] if os.path.isfile(root) else [os.path.join(f, n) for f, _, names in os.walk(root) for n in names]
files.sort(key=os.fsencode)
parent = os.path.dirname(root)
entries = [libtorrent.create_file_entry(os.path.relpath(f, parent), os.path.getsize(f)) for f in files]
made = libtorrent.create_torrent(entries, piece, libtorrent.create_torrent.v1_only)
libtorrent.set_piece_hashes(made, parent)
print(libtorrent.torrent_info(made.generate()).info_hash())";

#[test]
#[ignore = "needs libtorrent for Python; `make interop` runs it"]
fn libtorrent_makes_the_same_info_hash() {
    if lacks(missing_module("libtorrent")) {
        return;
    }
    let dir = TempDir::new("libtorrent");
    let folder = payload::odd_folder(&dir.join("folder"), 41);
    let file = dir.join("file.bin");
    payload::file(&file, 3_000_000, 42);
    for path in [folder, file] {
        let options = ["-W", "ignore", "-c", MADE_BY_LIBTORRENT];
        let theirs = seen_by("python3", &options, &path);
        let ours = Torrent::create(&path, ANNOUNCE, &["-l", "64K"]);
        assert_eq!(theirs, ours.info_hash);
    }
}

#[test]
#[ignore = "needs transmission-create; `make interop` runs it"]
fn transmission_create_lists_the_same_pieces_and_files() {
    if lacks(missing_program("transmission-create")) {
        return;
    }
    let dir = TempDir::new("transmission");
    // It leaves empty files out and always writes `private`, so the info-hash is another; files, order and pieces are not.
    let folder = dir.join("folder");
    for (i, name) in ["b/2", "a.txt", "a/1 ü", "c"].iter().enumerate() {
        payload::file(&folder.join(name), 100_000 * (i as u64 + 1), i as u64);
    }
    let theirs = dir.join("theirs.torrent");
    let mut command = Command::new("transmission-create");
    command.args(["-s", "64", "-t", ANNOUNCE, "-o"]);
    command.arg(&theirs).arg(&folder);
    run_ok("transmission-create", command, LIMIT);
    let ours = Torrent::create(&folder, ANNOUNCE, &["-l", "64K"]);
    let (theirs_shown, ours_shown) = (shown_by_us(&theirs), shown_by_us(&ours.file));
    let files = |shown: &serde_json::Value| {
        let mut files = shown["files"].as_array().expect("a list").clone();
        files.sort_by_key(ToString::to_string);
        files
    };
    assert_eq!(files(&theirs_shown), files(&ours_shown));
    assert_eq!(theirs_shown["pieces"], ours_shown["pieces"]);
    let mut verify = Command::new(crate::support::ours::program("create"));
    verify.arg("verify").arg(&theirs).arg(&folder);
    run_ok("hivebt-create verify", verify, LIMIT);
}

/// What our `show --json` says of a torrent.
fn shown_by_us(torrent: &Path) -> serde_json::Value {
    let mut command = Command::new(crate::support::ours::program("create"));
    command.args(["show", "--json"]).arg(torrent);
    let line = run_ok("hivebt-create show", command, LIMIT);
    serde_json::from_str(&line).expect("a line of JSON")
}

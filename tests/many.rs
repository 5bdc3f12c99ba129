//! Payloads of very many files, and files of which hardly anything is on disk.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use hivebt::disk::holes::hash_of_zeros;
use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent};
use support::process::{Process, run};
use support::tempdir::TempDir;
use support::tree;

const PIECE: u32 = 4 << 20;

/// A file that is nothing but a hole of so many pieces; its torrent.
fn sparse(folder: &Path, pieces: u64) -> PathBuf {
    let len = pieces * u64::from(PIECE);
    let file = File::create(folder.join("disk.img")).unwrap();
    file.set_len(len).unwrap();
    let zeros = hash_of_zeros(PIECE);
    let mut torrent = format!(
        "d4:infod6:lengthi{len}e4:name8:disk.img12:piece lengthi{PIECE}e6:pieces{}:",
        pieces * 20
    )
    .into_bytes();
    (0..pieces).for_each(|_| torrent.extend(zeros));
    torrent.extend(b"ee");
    let path = folder.join("disk.img.torrent");
    fs::write(&path, torrent).unwrap();
    path
}

#[test]
fn a_sparse_file_of_200_gib_is_seeded_unread_and_its_download_begins_with_little_on_disk() {
    let dir = TempDir::new("sparse");
    let torrent = sparse(dir.path(), 51_200);
    let seeder = Peer::seed(&Host::local(1), &torrent, dir.path(), &[]);
    assert_eq!(seeder.wait_event("checked", LIMIT)["hashed"], 0);
    seeder.wait_event("complete", LIMIT);
    let port = &seeder.wait_event("started", LIMIT)["port"];
    let to = dir.folder("to");
    let mut command = Peer::command(&Host::local(2), "get");
    command.args(["--peer", &format!("127.0.0.1:{port}"), "-o"]);
    command
        .arg(&to)
        .args(["--max-download", "20M"])
        .arg(&torrent);
    let mut leecher = Peer {
        process: Process::start("get", command),
    };
    leecher.wait_event_that("progress", LIMIT, |progress| {
        progress["completion_percentage"].as_f64() > Some(0.0)
    });
    assert_eq!(leecher.process.stop(LIMIT).code, 143);
    let part = fs::metadata(to.join("disk.img.part")).unwrap();
    assert_eq!(part.len(), 200 << 30);
    assert!(part.blocks() * 512 < 4 << 30, "{} blocks", part.blocks());
}

#[test]
fn a_hole_is_no_good_where_something_else_should_be() {
    let dir = TempDir::new("hole");
    let torrent = sparse(dir.path(), 64);
    let mut bytes = fs::read(&torrent).unwrap();
    let at = bytes.len() - 5 * 20;
    bytes[at] ^= 1;
    fs::write(&torrent, bytes).unwrap();
    let mut command = Peer::command(&Host::local(1), "seed");
    command.arg("-d").arg(dir.path()).arg(&torrent);
    let ended = run("seed", command, LIMIT);
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert!(ended.stderr.contains("63 of 64 pieces are good"));
}

#[test]
fn ten_thousand_files_arrive_and_are_known_the_next_time() {
    let dir = TempDir::new("many");
    let top = dir.join("from/many");
    for n in 0..10_000 {
        let folder = top.join(format!("{:02}", n % 37));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(n.to_string()), format!("file {n}").repeat(9)).unwrap();
    }
    let torrent = Torrent::create(&top, "http://127.0.0.1:1/announce", &[]);
    let mut seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &[]);
    seeder.wait_event("complete", LIMIT);
    let port = seeder.wait_event("started", LIMIT)["port"].clone();
    let to = dir.folder("to");
    let get = || {
        let mut command = Peer::command(&Host::local(2), "get");
        command.args(["--peer", &format!("127.0.0.1:{port}"), "-o"]);
        command.arg(&to).arg(&torrent.file);
        let ended = run("get", command, LIMIT);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let events = ended.stdout.lines().map(serde_json::from_str::<Value>);
        events
            .map(Result::unwrap)
            .find(|event| event["event"] == "checked")
            .unwrap()
    };
    assert_eq!(get()["kept"], 0);
    tree::assert_same(&top, &to.join("many"));
    seeder.process.stop(LIMIT);
    let again = get();
    assert_eq!(again["hashed"], 0);
    assert_eq!(again["kept"], torrent.bytes);
}

//! `--sequential`: the front of a payload is there first.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent};
use support::payload;
use support::process::{Process, run};
use support::tempdir::TempDir;
use support::tree::assert_same;

const PIECE: usize = 32 << 10;

/// Pieces of the unfinished `part` that are right: how many in a row from the first one on, and how many beyond.
fn front(whole: &[u8], part: &[u8]) -> (usize, usize) {
    let pairs = whole.chunks(PIECE).zip(part.chunks(PIECE));
    let right: Vec<_> = pairs.map(|(whole, part)| whole == part).collect();
    let row = right.iter().take_while(|right| **right).count();
    (row, right.iter().filter(|right| **right).count() - row)
}

#[test]
fn in_order_the_front_comes_first_and_from_several_peers() {
    let dir = TempDir::new("sequential");
    let file = dir.join("from/film.bin");
    payload::file(&file, 200 * PIECE as u64, 7);
    let torrent = Torrent::create(&file, "http://127.0.0.1:1/announce", &["-l", "32K"]);
    // Each may send half of what is wanted.
    let limit = ["--max-upload", "512K"];
    let copy = dir.folder("copy");
    fs::copy(&file, copy.join("film.bin")).unwrap();
    let places = [(1, &torrent.parent), (3, &copy)];
    let mut seeders =
        places.map(|(n, data)| Peer::seed(&Host::local(n), &torrent.file, data, &limit));
    let to = dir.folder("to");
    let mut command = Peer::command(&Host::local(2), "get");
    for (seeder, n) in seeders.iter().zip([1, 3]) {
        let port = &seeder.wait_event("started", LIMIT)["port"];
        seeder.wait_event("complete", LIMIT);
        command.args(["--peer", &format!("{}:{port}", Host::local(n).address)]);
    }
    command
        .arg("-o")
        .arg(&to)
        .arg("--sequential")
        .arg(&torrent.file);
    let whole = fs::read(&file).unwrap();
    let mut leecher = Peer {
        process: Process::start("get", command),
    };
    leecher.wait_percent(50.0, LIMIT);
    let ended = leecher.process.stop(LIMIT);
    assert_eq!(ended.code, 143, "{}", ended.stderr);
    let (row, beyond) = front(&whole, &fs::read(to.join("film.bin.part")).unwrap());
    // What was asked for and is on its way, and what seeds that share pieces out showed a little ahead.
    assert!(row > 40 && beyond < 64, "{row} in a row, {beyond} beyond");
    for seeder in &mut seeders {
        let ended = seeder.process.stop(LIMIT);
        let sent = Peer::uploaded(&ended.stdout);
        assert!(sent > 20 * PIECE as u64, "{sent} bytes");
    }
    let seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &[]);
    let mut command = Peer::command(&Host::local(2), "get");
    let port = &seeder.wait_event("started", LIMIT)["port"];
    command.args(["--peer", &format!("127.0.0.1:{port}"), "--sequential", "-o"]);
    let ended = run(
        "get",
        {
            command.arg(&to).arg(&torrent.file);
            command
        },
        LIMIT,
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_same(&file, &to.join("film.bin"));
}

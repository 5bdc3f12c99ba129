//! A swarm without a tracker: who knows one peer hears of the others from it (BEP 11).

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent};
use support::payload;
use support::process::Ended;
use support::tempdir::TempDir;
use support::tree::assert_same;

const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

/// A seeder, one in the middle that knows it and gets next to nothing, and a leecher that knows the one in the middle alone.
/// Returns how the leecher ends.
fn leech(create: &[&str], [seeder, middle, leecher]: [&[&str]; 3]) -> Ended {
    let folder = TempDir::new("gossip");
    let file = folder.join("from/payload.bin");
    payload::file(&file, 4 << 20, 13);
    let create = [&["-l", "64K"], create].concat();
    let torrent = Torrent::create(&file, NO_TRACKER, &create);
    let seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, seeder);
    let at = seeder.address(&Host::local(1));
    let slow = [&["--peer", &at, "--max-download", "1K"], middle].concat();
    let between = folder.folder("between");
    let middle = Peer::get(&Host::local(2), &torrent.file, &between, &slow);
    let at = middle.address(&Host::local(2));
    let to = folder.folder("to");
    let options = [&["--peer", at.as_str()], leecher].concat();
    let mut leecher = Peer::get(&Host::local(3), &torrent.file, &to, &options);
    let ended = leecher.process.wait(LIMIT);
    if ended.code == 0 {
        assert_same(&torrent.payload(), &to.join(&torrent.name));
    }
    ended
}

#[test]
fn a_leecher_hears_of_the_seeder_from_the_one_that_it_knows() {
    let ended = leech(&[], [&["--no-pex"], &[], &[]]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn a_seeder_hears_of_the_leecher_from_the_one_that_knows_both() {
    let ended = leech(&[], [&[], &[], &["--no-pex"]]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn nobody_hears_of_anybody_where_the_exchange_is_off_or_the_torrent_private() {
    let timeout = ["--timeout", "5s"];
    let off = &["--no-pex"][..];
    let both = [&timeout[..], off].concat();
    assert_eq!(leech(&[], [&[], off, &timeout]).code, 5);
    assert_eq!(leech(&[], [off, &[], &both]).code, 5);
    assert_eq!(leech(&["--private"], [&[], &[], &timeout]).code, 5);
}

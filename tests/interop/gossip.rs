//! Peers of peers (BEP 11) between libtorrent and ours: no tracker, and the one in the middle knows the seeder and gets next to nothing.

use crate::network;
use crate::support::foreign::{Client, libtorrent_with};
use crate::support::hosts::Network;
use crate::support::ours::{LIMIT, Peer, Torrent};
use crate::support::tempdir::TempDir;
use crate::support::{payload, tree};

const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

/// libtorrent tells of peers once a minute, the first time after one, too.
const PATIENCE: std::time::Duration = LIMIT.saturating_mul(2);

/// A seeder of ours on the first host, and where it listens.
fn seeder() -> Option<(Network, TempDir, Torrent, Peer, String)> {
    let network = network(3, [Client::Libtorrent.missing()])?;
    let dir = TempDir::new("gossip");
    let file = dir.join("from/payload.bin");
    payload::file(&file, 4 << 20, 5);
    let torrent = Torrent::create(&file, NO_TRACKER, &["-l", "64K"]);
    let seeder = Peer::seed(network.host(0), &torrent.file, &torrent.parent, &[]);
    let at = seeder.address(network.host(0));
    Some((network, dir, torrent, seeder, at))
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn libtorrent_hears_of_the_seeder_from_us() {
    let Some((network, dir, torrent, _seeder, first)) = seeder() else {
        return;
    };
    let slow = ["--peer", &first, "--max-download", "1K"];
    let between = dir.folder("between");
    let middle = Peer::get(network.host(1), &torrent.file, &between, &slow);
    let known = format!("pex peer={}", middle.address(network.host(1)));
    let to = dir.folder("to");
    let leecher = libtorrent_with("get", network.host(2), &torrent.file, &to, &known);
    Client::Libtorrent.finish(leecher, PATIENCE);
    tree::assert_same(&torrent.payload(), &to.join(&torrent.name));
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn we_hear_of_the_seeder_from_libtorrent() {
    let Some((network, dir, torrent, _seeder, first)) = seeder() else {
        return;
    };
    let known = format!("pex peer={first} down=1000");
    let between = dir.folder("between");
    let _middle = libtorrent_with("get", network.host(1), &torrent.file, &between, &known);
    let to = dir.folder("to");
    let middle = format!("{}:6881", network.host(1).address);
    let mut leecher = Peer::get(network.host(2), &torrent.file, &to, &["--peer", &middle]);
    let ended = leecher.process.wait(PATIENCE);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    tree::assert_same(&torrent.payload(), &to.join(&torrent.name));
}

//! One of theirs and one of ours on our tracker, in both directions; a single file and a folder with everything in it that goes wrong.

use std::path::Path;

use crate::network;
use crate::support::foreign::Client;
use crate::support::hosts::Network;
use crate::support::ours::{LIMIT, Peer, Torrent, Tracker};
use crate::support::say::say;
use crate::support::tempdir::TempDir;
use crate::support::{payload, tree};

/// What is moved: a payload, its torrent, and the folder it lies in.
fn payloads(dir: &TempDir, announce: &str) -> Vec<Torrent> {
    let single = dir.join("single/ein größeres Bild.img");
    payload::file(&single, (5 << 20) + 12_345, 1);
    let folder = payload::odd_folder(&dir.join("multi/Ordner ü"), 2);
    let small = dir.join("small/one byte");
    payload::file(&small, 1, 3);
    [single, folder, small]
        .map(|payload| Torrent::create(&payload, announce, &[]))
        .into()
}

/// The payload that `client` has downloaded is the one that the torrent was made from.
pub(crate) fn assert_arrived(client: Client, torrent: &Torrent, to: &Path) {
    let arrived = to.join(&torrent.name);
    if client == Client::Transmission {
        tree::assert_same_but_for_empty_files(&torrent.payload(), &arrived);
    } else {
        tree::assert_same(&torrent.payload(), &arrived);
    }
}

/// `client` downloads from our seeder.
fn they_download(client: Client) {
    each_payload(client, |network, dir, tracker, torrent| {
        let seeder = Peer::seed(network.host(1), &torrent.file, &torrent.parent, &[]);
        tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
        let to = dir.folder(format!("to {}", torrent.info_hash));
        let home = dir.folder(format!("home {}", torrent.info_hash));
        let leecher = client.get(network.host(2), &torrent.file, &to, &home);
        client.finish(leecher, LIMIT);
        assert_arrived(client, torrent, &to);
    });
}

/// We download from `client`.
fn they_seed(client: Client) {
    each_payload(client, |network, dir, tracker, torrent| {
        let home = dir.folder(format!("home {}", torrent.info_hash));
        let seeder = client.seed(network.host(1), &torrent.file, &torrent.parent, &home);
        tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder);
        let to = dir.folder(format!("to {}", torrent.info_hash));
        let mut leecher = Peer::get(network.host(2), &torrent.file, &to, &[]);
        let ended = leecher.process.wait(LIMIT);
        assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
        tree::assert_same(&torrent.payload(), &to.join(&torrent.name));
    });
}

fn each_payload(client: Client, scene: impl Fn(&Network, &TempDir, &Tracker, &Torrent)) {
    let Some(network) = network(3, [client.missing()]) else {
        return;
    };
    let dir = TempDir::new("pair");
    let tracker = Tracker::start(network.host(0), 8080, &[]);
    for torrent in payloads(&dir, &tracker.url()) {
        say(format_args!("{client:?}: {}", torrent.name));
        scene(&network, &dir, &tracker, &torrent);
    }
}

#[test]
#[ignore = "needs aria2c and root; `make interop` runs it"]
fn aria2_downloads_from_us() {
    they_download(Client::Aria2);
}

#[test]
#[ignore = "needs aria2c and root; `make interop` runs it"]
fn we_download_from_aria2() {
    they_seed(Client::Aria2);
}

#[test]
#[ignore = "needs transmission-daemon and root; `make interop` runs it"]
fn transmission_downloads_from_us() {
    they_download(Client::Transmission);
}

#[test]
#[ignore = "needs transmission-daemon and root; `make interop` runs it"]
fn we_download_from_transmission() {
    they_seed(Client::Transmission);
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn libtorrent_downloads_from_us() {
    they_download(Client::Libtorrent);
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn we_download_from_libtorrent() {
    they_seed(Client::Libtorrent);
}

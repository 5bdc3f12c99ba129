//! Swarms on a network without any IPv4.

use crate::support::foreign::Client;
use crate::support::hosts::Network;
use crate::support::ours::{LIMIT, Peer, Torrent, Tracker};
use crate::support::say::{self, say};
use crate::support::tempdir::TempDir;
use crate::support::{payload, tree};

/// Ours and `client` download from ours, and one of ours from `client`, over a tracker of ours; `scheme` is `http` or `udp`.
fn swarm_with(client: Client, scheme: &str) {
    if let Some(word) = client.missing() {
        return say::skip(word);
    }
    let network = match Network::v6(4) {
        Ok(network) => network,
        Err(word) => return say::skip(word),
    };
    let dir = TempDir::new("ipv6");
    let tracker = Tracker::start(network.host(0), 8080, &[]);
    let announce = format!("{scheme}://{}/announce", tracker.address);
    let file = dir.join("from/payload.bin");
    payload::file(&file, (6 << 20) + 11, 41);
    let torrent = Torrent::create(&file, &announce, &[]);
    let mut seeder = Peer::seed(network.host(1), &torrent.file, &torrent.parent, &[]);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);

    say(format_args!("{client:?} and ours from ours"));
    let (to_us, to_them) = (dir.folder("to us"), dir.folder("to them"));
    let mut ours = Peer::get(network.host(2), &torrent.file, &to_us, &[]);
    let host = network.host(3);
    let theirs = client.get(host, &torrent.file, &to_them, &dir.folder("home"));
    let ended = ours.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    tree::assert_same(&torrent.payload(), &to_us.join(&torrent.name));
    client.finish(theirs, LIMIT);
    tree::assert_same(&torrent.payload(), &to_them.join(&torrent.name));
    assert_eq!(seeder.process.stop(LIMIT).code, 0);

    say(format_args!("ours from {client:?}"));
    let theirs = client.seed(host, &torrent.file, &to_them, &dir.folder("home again"));
    tracker.wait_for_seeds(&torrent.info_hash, 1, &theirs);
    let again = dir.folder("again");
    let mut ours = Peer::get(network.host(1), &torrent.file, &again, &[]);
    let ended = ours.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stderr, theirs.tail());
    tree::assert_same(&torrent.payload(), &again.join(&torrent.name));
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn with_libtorrent() {
    swarm_with(Client::Libtorrent, "http");
    swarm_with(Client::Libtorrent, "udp");
}

#[test]
#[ignore = "needs transmission-daemon and root; `make interop` runs it"]
fn with_transmission() {
    swarm_with(Client::Transmission, "http");
}

//! Our peers on somebody else's tracker.

use crate::network;
use crate::support::foreign::{missing_program, opentracker};
use crate::support::ours::{LIMIT, Peer, Torrent};
use crate::support::tempdir::TempDir;
use crate::support::{payload, tree};

#[test]
#[ignore = "needs opentracker and root; `make interop` runs it"]
fn our_peers_find_each_other_through_opentracker() {
    find_each_other("http");
}

#[test]
#[ignore = "needs opentracker and root; `make interop` runs it"]
fn our_peers_find_each_other_through_opentracker_over_udp() {
    find_each_other("udp");
}

/// Two get from one what only its tracker knows of; then everybody goes.
fn find_each_other(scheme: &str) {
    let Some(network) = network(4, [missing_program("opentracker")]) else {
        return;
    };
    let dir = TempDir::new("opentracker");
    let folder = payload::odd_folder(&dir.join("from/lot"), 11);
    let announce = format!("{scheme}://{}:6969/announce", network.host(0).address);
    let torrent = Torrent::create(&folder, &announce, &[]);
    let tracker = opentracker(network.host(0), 6969, &[&torrent.info_hash], &dir);

    let mut seeder = Peer::seed(network.host(1), &torrent.file, &torrent.parent, &[]);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    let leechers = [2, 3].map(|i| {
        let to = dir.folder(format!("to {i}"));
        (Peer::get(network.host(i), &torrent.file, &to, &[]), to)
    });
    for (mut leecher, to) in leechers {
        let ended = leecher.process.wait(LIMIT);
        assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
        tree::assert_same(&torrent.payload(), &to.join(&torrent.name));
    }
    let ended = seeder.process.stop(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(
        tracker.scrape(&torrent.info_hash),
        Some((0, 0)),
        "everybody has said that it stopped"
    );
}

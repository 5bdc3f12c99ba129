//! A DHT of ours and of libtorrent, fifty nodes without a tracker; and without the node where it began.

use std::path::Path;
use std::process::Command;

use crate::support::foreign::Client;
use crate::support::hosts::Host;
use crate::support::ours::{LIMIT, Peer, Torrent, Tracker};
use crate::support::process::Process;
use crate::support::tempdir::TempDir;
use crate::support::tree::assert_same;
use crate::support::{payload, say};

const OURS: u8 = 24;
const THEIRS: u8 = 25;

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/support/libtorrent_dht.py"
);

/// So many peers of libtorrent's, from a number on.
fn theirs(torrent: &Torrent, to: &Path, node: &str, first: u8, count: u8) -> Process {
    let mut command = Command::new("python3");
    command.arg(SCRIPT).arg(&torrent.file).arg(to).arg(node);
    command.args([first.to_string(), count.to_string()]);
    Process::start("libtorrent", command)
}

#[test]
#[ignore = "needs libtorrent; `make interop` runs it"]
fn fifty_nodes_of_ours_and_of_libtorrents_find_each_other_without_a_tracker() {
    if let Some(missing) = Client::Libtorrent.missing() {
        say::skip(missing);
        return;
    }
    let dir = TempDir::new("dht");
    let mut tracker = Tracker::start(&Host::local(1), 0, &["--dht-node-port", "0"]);
    let node = tracker.process.wait_for("its node", LIMIT, |_, line| {
        Some(line.split_once("listening on dht://")?.1.to_owned())
    });
    let file = dir.join("from/payload");
    payload::file(&file, 1 << 20, 5);
    let torrent = Torrent::make(&file, &["--no-announce", "--node", &node]);
    let arrived = |to: &Path| assert_same(&torrent.payload(), &to.join(&torrent.name));
    let seeder = Peer::seed(&Host::local(2), &torrent.file, &torrent.parent, &["--dht"]);
    let port = seeder.wait_event("started", LIMIT)["port"].as_u64();
    let lot = theirs(&torrent, &dir.folder("theirs"), &node, 1, THEIRS);
    let mut peers = Vec::new();
    for n in 0..OURS {
        let to = dir.folder(format!("ours {n}"));
        let host = Host::local(3 + n);
        let options = ["--dht", "--seed"];
        peers.push((Peer::get(&host, &torrent.file, &to, &options), to));
    }
    for (peer, to) in &peers {
        peer.wait_event("complete", LIMIT);
        arrived(to);
    }
    lot.wait_for("all of them", LIMIT, |_, line| {
        (line == "complete").then_some(())
    });
    for n in 1..=THEIRS {
        arrived(&dir.join(format!("theirs/{n}")));
    }

    // The node where all began is gone. Ours begins at one of theirs, theirs at one of ours.
    tracker.process.kill();
    let at = lot.wait_for("a node", LIMIT, |_, line| {
        Some(line.strip_prefix("node ")?.to_owned())
    });
    let to = dir.folder("late");
    let late = Peer::get(&Host::local(90), &torrent.file, &to, &["--dht-node", &at]);
    late.wait_event("complete", LIMIT);
    arrived(&to);
    let at = format!("127.0.0.2:{}", port.unwrap());
    let to = dir.folder("theirs, late");
    let late = theirs(&torrent, &to, &at, 90, 1);
    late.wait_for("it", LIMIT, |_, line| (line == "complete").then_some(()));
    arrived(&to.join("90"));
}

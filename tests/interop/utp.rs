//! uTP (BEP 29): with libtorrent and Transmission where ours takes no TCP, and beside TCP on a narrow link.

use std::time::Instant;

use serde_json::Value;

use crate::support::foreign::{Client, libtorrent_with, transmission_over_utp};
use crate::support::hosts::Network;
use crate::support::links::{Link, shape};
use crate::support::ours::{LIMIT, Peer, Torrent, Tracker};
use crate::support::say::{self, say};
use crate::support::tempdir::TempDir;
use crate::support::{payload, tree};
use crate::{network, network_v6};

/// A tracker on the first host, and a payload of so many bytes.
fn scene(network: &Network, bytes: u64) -> (TempDir, Tracker, Torrent) {
    let dir = TempDir::new("utp");
    let tracker = Tracker::start(network.host(0), 8080, &[]);
    let file = dir.join("from/payload.bin");
    payload::file(&file, bytes, 29);
    let torrent = Torrent::create(&file, &tracker.url(), &[]);
    (dir, tracker, torrent)
}

/// They fetch from us and we from them, over nothing but uTP.
fn both_ways(network: &Network, client: Client, encryption: &str) {
    let (dir, tracker, torrent) = scene(network, (16 << 20) + 29);
    let options = ["--utp-only", "--encryption", encryption, "-v"];
    let theirs = |verb: &str, n: usize, folder: &std::path::Path| match client {
        Client::Transmission => {
            let home = dir.folder(format!("home {verb}"));
            transmission_over_utp(network.host(n), &torrent.file, folder, &home)
        }
        _ => libtorrent_with(verb, network.host(n), &torrent.file, folder, "utp"),
    };

    say(format_args!("{client:?} from ours, {encryption}"));
    let mut seeder = Peer::seed(network.host(1), &torrent.file, &torrent.parent, &options);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    let to_them = dir.folder("to them");
    let leecher = theirs("get", 2, &to_them);
    client.finish(leecher, LIMIT);
    tree::assert_same(&torrent.payload(), &to_them.join(&torrent.name));
    assert_eq!(seeder.process.stop(LIMIT).code, 0);

    say(format_args!("ours from {client:?}, {encryption}"));
    let seeder = theirs("seed", 2, &to_them);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder);
    let to_us = dir.folder("to us");
    let mut leecher = Peer::get(network.host(1), &torrent.file, &to_us, &options);
    let ended = leecher.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stderr, seeder.tail());
    tree::assert_same(&torrent.payload(), &to_us.join(&torrent.name));
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn with_libtorrent() {
    let missing = || [Client::Libtorrent.missing()];
    if let Some(network) = network(3, missing()) {
        both_ways(&network, Client::Libtorrent, "plain");
        both_ways(&network, Client::Libtorrent, "required");
    }
    if let Some(network) = network_v6(3, missing()) {
        both_ways(&network, Client::Libtorrent, "plain");
    }
}

#[test]
#[ignore = "needs transmission-daemon and root; `make interop` runs it"]
fn with_transmission() {
    if let Some(network) = network(3, [Client::Transmission.missing()]) {
        both_ways(&network, Client::Transmission, "plain");
    }
}

/// Bytes that it has received, as its next event says.
fn received(leecher: &Peer) -> u64 {
    let mark = leecher.process.mark();
    leecher
        .process
        .wait_since(mark, "its progress", LIMIT, |_, line| {
            let event: Value = serde_json::from_str(line).ok()?;
            event["total_downloaded"].as_u64()
        })
}

#[test]
#[ignore = "needs root and tc; `make interop` runs it"]
#[allow(clippy::cast_precision_loss)]
fn on_a_narrow_link_it_fills_what_is_free_and_makes_way_for_tcp() {
    const RATE: u64 = 20_000_000;
    let Some(network) = network(4, []) else {
        return;
    };
    // A queue as home routers have it, which TCP fills.
    let link = Link {
        queue: 400,
        ..Link::of(RATE)
    };
    if let Err(word) = shape(&network, 3, link) {
        return say::skip(word);
    }
    let (dir, tracker, background) = scene(&network, 80 << 20);
    let file = dir.join("from/urgent.bin");
    payload::file(&file, 24 << 20, 30);
    let urgent = Torrent::create(&file, &tracker.url(), &[]);
    let seed = |n: usize, torrent: &Torrent, options: &[&str]| {
        let seeder = Peer::seed(network.host(n), &torrent.file, &torrent.parent, options);
        tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
        seeder
    };
    let _slow = seed(1, &background, &["--utp-only"]);
    let _fast = seed(2, &urgent, &[]);
    let to = dir.folder("to");

    let slow = Peer::get(network.host(3), &background.file, &to, &["--utp-only"]);
    slow.wait_percent(8.0, LIMIT);
    let (begun, before) = (Instant::now(), received(&slow));
    slow.wait_percent(30.0, LIMIT);
    let alone = received(&slow) - before;
    let alone = alone as f64 / begun.elapsed().as_secs_f64() / (RATE as f64 / 8.0);

    let before = received(&slow);
    let mut fast = Peer::get(network.host(3), &urgent.file, &to, &[]);
    let ended = fast.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let beside = received(&slow) - before;
    let share = beside as f64 / (beside + urgent.bytes) as f64;
    say(format_args!(
        "uTP has {:.0} % of the link alone, and {:.0} % of what goes while TCP fetches {} MiB",
        100.0 * alone,
        100.0 * share,
        urgent.bytes >> 20
    ));
    assert!(alone > 0.5, "{alone}");
    assert!(share < 0.3, "{share}");
}

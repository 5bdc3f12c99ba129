//! A cable that is pulled in the middle of a download, for long enough that connections die: that of the host with the seeder, that of the worker.

use std::thread;
use std::time::{Duration, Instant};

use super::support::hosts::Network;
use super::support::links::{self, Link};
use super::support::ours::{Peer, Torrent, Tracker};
use super::support::say::say;
use super::support::tempdir::TempDir;
use super::support::{payload, tree};
use super::{MIB, PATIENCE};

/// Long enough for a cable to be pulled in the middle.
const BYTES: u64 = 96 * MIB;
const RATE: u64 = 80_000_000;

/// A seeder with a tracker, and a worker, on hosts of their own.
struct Pair {
    seeder: usize,
    worker: usize,
    torrent: Torrent,
    peers: [Peer; 2],
    _tracker: Tracker,
}

impl Pair {
    fn start(network: &Network, dir: &TempDir, seeder: usize) -> Self {
        let worker = seeder + 1;
        let (at, to) = (network.host(seeder), network.host(worker));
        let file = dir.join(format!("from {seeder}/payload.bin"));
        payload::file(&file, BYTES, seeder as u64);
        let tracker = Tracker::start(at, 0, &[]);
        let torrent = Torrent::create(&file, &tracker.url(), &[]);
        let serving = Peer::seed(at, &torrent.file, &torrent.parent, &[]);
        tracker.wait_for_seeds(&torrent.info_hash, 1, &serving.process);
        let fetching = Peer::get(to, &torrent.file, &dir.folder(format!("to {worker}")), &[]);
        Self {
            seeder,
            worker,
            torrent,
            peers: [serving, fetching],
            _tracker: tracker,
        }
    }

    fn fetching(&self) -> &Peer {
        &self.peers[1]
    }

    /// Until data comes again, of which nothing has come meanwhile.
    fn wait_for_data(&self, mark: usize, before: u64) -> Instant {
        let process = &self.fetching().process;
        process.wait_since(mark, "more data", PATIENCE, |_, line| {
            (downloaded(line)? > before).then_some(())
        });
        Instant::now()
    }

    /// The last that it has told of.
    fn downloaded(&self) -> u64 {
        let mut most = 0;
        let process = &self.fetching().process;
        process.has_said(|line| {
            most = most.max(downloaded(line).unwrap_or(0));
            false
        });
        most
    }
}

fn downloaded(line: &str) -> Option<u64> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    event["total_downloaded"].as_u64()
}

#[test]
#[ignore = "needs root, and as long as a cable is out; `make fleet` and `make interop` run it"]
fn a_download_goes_on_by_itself_soon_after_a_cable_is_plugged_in_again() {
    let out = std::env::var("HIVEBT_CABLE_SECONDS").map_or(8, |text| text.parse().unwrap());
    let network = Network::new(4).expect("root may make namespaces");
    for host in 0..4 {
        links::shape(&network, host, Link::of(RATE)).expect("links of a given rate");
    }
    let dir = TempDir::new("cable");
    let pairs = [0, 2].map(|seeder| Pair::start(&network, &dir, seeder));
    let pulled = [pairs[0].seeder, pairs[1].worker];
    for pair in &pairs {
        pair.fetching().wait_percent(20.0, PATIENCE);
    }
    pulled.iter().for_each(|&host| network.plug(host, false));
    thread::sleep(Duration::from_secs(out));

    let marks = pairs.each_ref().map(|pair| pair.fetching().process.mark());
    let before = pairs.each_ref().map(Pair::downloaded);
    pulled.iter().for_each(|&host| network.plug(host, true));
    let begun = Instant::now();
    for (i, who) in ["seeder", "worker"].into_iter().enumerate() {
        let again = pairs[i].wait_for_data(marks[i], before[i]);
        let after = again.duration_since(begun).as_secs_f64();
        say(format_args!(
            "cable: that of the {who}'s host was out for {out} s; {after:.1} s later data came again"
        ));
    }
    for mut pair in pairs {
        let ended = pair.peers[1].process.wait(PATIENCE);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let to = dir.join(format!("to {}/payload.bin", pair.worker));
        tree::assert_same(&pair.torrent.payload(), &to);
    }
}

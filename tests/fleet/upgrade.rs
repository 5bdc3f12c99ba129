//! New programs in place of those that run, host by host, while a swarm works: nothing is lost, and what the old ones wrote is read by the new.

use std::path::PathBuf;
use std::process::Command;

use super::installed::Installed;
use super::support::hosts::Network;
use super::support::links::{self, Link};
use super::support::ours::{Peer, Torrent, Tracker, program};
use super::support::process::Process;
use super::support::say::say;
use super::support::tempdir::TempDir;
use super::support::{payload, tree};
use super::{MIB, PATIENCE};

const WORKERS: usize = 3;
const BYTES: u64 = 96 * MIB;
const RATE: u64 = 80_000_000;

/// `HIVEBT_OLD_BIN` names a folder with older programs to begin with; else the new ones take the place of others like them.
fn old(name: &str) -> PathBuf {
    let folder = std::env::var_os("HIVEBT_OLD_BIN").map(PathBuf::from);
    folder.map_or_else(|| program(name), |at| at.join(format!("hivebt-{name}")))
}

struct Swarm {
    network: Network,
    dir: TempDir,
    programs: Installed,
}

impl Swarm {
    fn tracker(&self, port: u16) -> Tracker {
        let host = self.network.host(0);
        let mut command = host.command(self.programs.path("tracker"));
        command.args(["-l", &format!("{}:{port}", host.address)]);
        command.args(["--interval", "5", "--state-peers", "--state"]);
        command.arg(self.dir.join("state"));
        Tracker::of(host, command)
    }

    fn peer(&self, host: usize, verb: &str) -> Command {
        let mut command = self.network.host(host).command(self.programs.path("peer"));
        command.args([verb, "--json"]);
        command
    }

    fn seeder(&self, torrent: &Torrent) -> Peer {
        let mut command = self.peer(0, "seed");
        command.arg("-d").arg(&torrent.parent).arg(&torrent.file);
        let process = Process::start("seeder", command);
        Peer { process }
    }

    fn to(&self, worker: usize) -> PathBuf {
        self.dir.folder(format!("worker {worker}"))
    }

    fn worker(&self, worker: usize, torrent: &Torrent) -> Peer {
        let mut command = self.peer(1 + worker, "get");
        command.args(["--seed", "-o"]).arg(self.to(worker));
        command.arg(&torrent.file);
        let process = Process::start(&format!("worker {worker}"), command);
        Peer { process }
    }
}

#[test]
#[ignore = "needs root; `make fleet` and `make interop` run it"]
fn programs_are_replaced_under_a_running_swarm() {
    let network = Network::new(1 + WORKERS as u8).expect("root may make namespaces");
    for host in 0..=WORKERS {
        links::shape(&network, host, Link::of(RATE)).expect("links of a given rate");
    }
    let programs = Installed::new();
    for name in ["tracker", "peer"] {
        programs.install(name, &old(name));
    }
    let dir = TempDir::new("upgrade");
    let swarm = Swarm {
        network,
        dir,
        programs,
    };
    let file = swarm.dir.join("from/payload.bin");
    payload::file(&file, BYTES, 3);
    let mut tracker = swarm.tracker(0);
    let torrent = Torrent::create(&file, &tracker.url(), &[]);
    let mut seeder = swarm.seeder(&torrent);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    let mut workers: Vec<Peer> = (0..WORKERS).map(|w| swarm.worker(w, &torrent)).collect();

    workers[0].wait_percent(15.0, PATIENCE);
    for name in ["tracker", "peer"] {
        swarm.programs.install(name, &program(name));
    }
    let ended = tracker.process.stop(PATIENCE);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    tracker = swarm.tracker(tracker.address.port());
    assert!(
        tracker.scrape(&torrent.info_hash) > Some((0, 0)),
        "peers are remembered"
    );
    for (number, worker) in workers.iter_mut().enumerate() {
        worker.wait_percent(20.0 + 10.0 * number as f64, PATIENCE);
        let ended = worker.process.stop(PATIENCE);
        assert_eq!(ended.code, 143, "{}", ended.stderr);
        *worker = swarm.worker(number, &torrent);
        let checked = worker.wait_event("checked", PATIENCE);
        assert!(checked["kept"].as_u64() > Some(0), "{checked}");
        assert_eq!(
            checked["hashed"], 0,
            "what the old one verified counts: {checked}"
        );
    }
    let ended = seeder.process.stop(PATIENCE);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    seeder = swarm.seeder(&torrent);
    let checked = seeder.wait_event("checked", PATIENCE);
    assert_eq!(checked["hashed"], 0, "{checked}");

    for (number, worker) in workers.iter().enumerate() {
        worker.wait_event("complete", PATIENCE);
        tree::assert_same(&file, &swarm.to(number).join("payload.bin"));
    }
    tracker.wait_for_seeds(&torrent.info_hash, 1 + WORKERS as u64, &seeder.process);
    let (_, stats) = tracker.get("/stats").unwrap();
    let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    assert_eq!(stats["completed"], WORKERS, "{stats}");
    say(format_args!(
        "upgrade: tracker, seeder and {WORKERS} workers replaced within one download, and nothing hashed twice"
    ));
}

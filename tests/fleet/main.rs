//! A night on a small fleet, as it is meant to go and as it goes: the host of a node pool shares a folder, workers in network namespaces of
//! their own fetch it by cron, one reboots, one runs out of disk, one comes an hour late; then the next version of the folder, and cleaning up.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod cable;
mod cron;
mod disk;
mod installed;
mod small;
mod upgrade;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use cron::Cron;
use disk::Disk;
use support::hosts::{Host, Network};
use support::links::{self, Link};
use support::ours::{Peer, Torrent, Tracker, program};
use support::process::{Ended, Process};
use support::say::say;
use support::tempdir::TempDir;
use support::{http, payload, tree};

const MIB: u64 = 1 << 20;
/// Workers, if `HIVEBT_FLEET_WORKERS` does not say more.
const WORKERS: usize = 6;
const REBOOTS: usize = 3;
const FULL: usize = 4;
const LATE: usize = 6;

/// Every host's link, bits a second each way: a gibibyte takes a quarter of a minute, long enough for things to go wrong in.
const LINK: u64 = 600_000_000;

/// For each wait; only a failure waits this long.
const PATIENCE: Duration = Duration::from_secs(300);

const FILES: usize = 64;
/// Those that the next version has anew: a little less than a tenth.
const CHANGED: [u64; 6] = [3, 14, 25, 36, 47, 58];

struct Fleet {
    dir: TempDir,
    network: Network,
    workers: usize,
    bytes: u64,
}

impl Fleet {
    fn new(workers: usize, mib: u64) -> Self {
        assert!(workers >= WORKERS, "each has its part in the story");
        let network = Network::new(1 + workers as u8).expect("root may make namespaces");
        for host in 0..=workers {
            links::shape(&network, host, Link::of(LINK)).expect("links of a given rate");
        }
        let dir = TempDir::new("fleet");
        for i in 0..FILES as u64 {
            payload::file(&dir.join(path_of(i)), mib * MIB / FILES as u64, i);
        }
        Self {
            dir,
            network,
            workers,
            bytes: mib * MIB,
        }
    }

    fn pool(&self) -> &Host {
        self.network.host(0)
    }

    fn task(&self) -> PathBuf {
        self.dir.join("pool/task")
    }

    /// The folder of a worker, from 1.
    fn folder(&self, worker: usize, what: &str) -> PathBuf {
        self.dir.join(format!("worker-{worker}/{what}"))
    }

    /// The cron job of a worker: what README tells, and a while of seeding.
    fn fetching(&self, worker: usize, url: &str) -> Cron {
        let (host, to) = (
            self.network.host(worker).clone(),
            self.folder(worker, "first"),
        );
        fs::create_dir_all(&to).unwrap();
        let url = url.to_owned();
        Cron::start(format!("cron on {}", host.address), move || {
            let mut command = if worker == LATE {
                an_hour_later(&host)
            } else {
                host.command(program("peer"))
            };
            command.args(["get", "-q", "--seed-for", "3s", "-o"]);
            command.arg(&to).arg(&url);
            command
        })
    }

    /// Waits until a worker has so much of the payload on its disk.
    fn wait_for_share(&self, worker: usize, share: f64) {
        let (begun, folder) = (Instant::now(), self.folder(worker, "first"));
        while allocated(&folder) < (self.bytes as f64 * share) as u64 {
            assert!(begun.elapsed() < PATIENCE, "worker {worker} gets nothing");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn path_of(file: u64) -> String {
    format!("pool/task/set {}/{file:02}.bin", file % 7)
}

/// Bytes that the files below `folder` take on the disk.
fn allocated(folder: &Path) -> u64 {
    let blocks = |path: &PathBuf| fs::metadata(folder.join(path)).map_or(0, |file| file.blocks());
    512 * tree::files(folder).iter().map(blocks).sum::<u64>()
}

/// Our peer on a host whose clocks are an hour ahead of everybody else's.
fn an_hour_later(host: &Host) -> Command {
    let mut command = host.command("unshare");
    command.args(["--time", "--monotonic", "3600", "--boottime", "3600", "--"]);
    command.arg(program("peer"));
    command
}

/// A version of the folder, shared by the node pool's host: tracker, creator, seeder.
struct Push {
    tracker: Tracker,
    seeder: Peer,
    /// Where the seeder tells how it goes.
    status: SocketAddr,
    host: Host,
    /// Copies that there will be.
    workers: usize,
}

impl Push {
    fn start(fleet: &Fleet) -> Self {
        let host = fleet.pool().clone();
        let shelf = fleet.dir.join("pool");
        let tracker = Tracker::start(
            &host,
            0,
            &["--interval", "5", "--torrents", shelf.to_str().unwrap()],
        );
        let torrent = Torrent::create(&fleet.task(), &tracker.url(), &[]);
        let options = ["--status", "127.0.0.1:0"];
        let seeder = Peer::seed(&host, &torrent.file, &torrent.parent, &options);
        let status = seeder.process.status_address(PATIENCE);
        tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
        Self {
            tracker,
            seeder,
            status,
            host,
            workers: fleet.workers,
        }
    }

    /// Of the .torrent.
    fn url(&self) -> String {
        format!("http://{}/torrents/task.torrent", self.tracker.address)
    }

    fn text(&self, at: SocketAddr, path: &str) -> String {
        let answer = self.host.within(|| http::get(at, path));
        let (code, body) = answer.unwrap();
        assert_eq!(code, 200, "{path}");
        String::from_utf8(body).unwrap()
    }

    fn json(&self, at: SocketAddr, path: &str) -> Value {
        serde_json::from_str(&self.text(at, path)).unwrap()
    }

    /// Downloads that the tracker has counted.
    fn completed(&self) -> u64 {
        self.json(self.tracker.address, "/stats")["completed"]
            .as_u64()
            .unwrap()
    }

    fn wait_for_completed(&self, wanted: u64) {
        self.wait_until("enough workers are done", |stats| {
            stats["completed"].as_u64() >= Some(wanted)
        });
    }

    /// Waits until the tracker's statistics are such.
    fn wait_until(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        loop {
            let stats = self.json(self.tracker.address, "/stats");
            if holds(&stats) {
                return;
            }
            let tail = || self.seeder.process.tail();
            assert!(
                begun.elapsed() < PATIENCE,
                "not yet: {what}: {stats}\n{}",
                tail()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn end(mut self) {
        for process in [&mut self.seeder.process, &mut self.tracker.process] {
            let ended = process.stop(PATIENCE);
            assert_eq!(ended.code, 0, "{}", ended.stderr);
        }
    }

    /// `wait --complete N` for it.
    fn waiting(&self) -> Process {
        let mut command = self.host.command(program("peer"));
        let wanted = self.workers.to_string();
        command.args(["wait", "-q", "--complete", &wanted, "--timeout", "10m"]);
        command.arg(self.url());
        Process::start("hivebt-peer wait", command)
    }

    /// The value of a series of `/metrics`, the first of that name.
    fn metric(&self, at: SocketAddr, name: &str) -> u64 {
        let text = self.text(at, "/metrics");
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        value.unwrap_or_else(|| panic!("{name} is not in\n{text}"))
    }
}

#[test]
#[ignore = "needs root and a gibibyte for each host; `make fleet` and `make interop` run it"]
fn a_folder_its_next_version_and_cleaning_up_on_all_workers() {
    let set = |name, usual| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let workers = set("HIVEBT_FLEET_WORKERS", WORKERS as u64) as usize;
    let fleet = Fleet::new(workers, set("HIVEBT_FLEET_MIB", 1024));
    let _small = first_version(&fleet);
    second_version(&fleet);
    nothing_is_left(&fleet);
}

/// Gives the disk of the worker that had too small a one.
fn first_version(fleet: &Fleet) -> Disk {
    let push = Push::start(fleet);
    let mut waiting = push.waiting();
    let small = Disk::mount(&fleet.folder(FULL, "first"), fleet.bytes / 2);
    let begun = Instant::now();
    let start = |worker| (worker, fleet.fetching(worker, &push.url()));
    let mut crons: Vec<_> = (1..=fleet.workers)
        .filter(|&w| w != LATE)
        .map(start)
        .collect();

    fleet.wait_for_share(REBOOTS, 0.3);
    crons[REBOOTS - 1].1.reboot();
    let all = fleet.workers as u64;
    push.wait_for_completed(all - 2);
    assert!(push.completed() < all - 1, "half a disk is not enough");
    small.resize(2 * fleet.bytes);
    push.wait_for_completed(all - 1);
    let most = begun.elapsed();
    crons.push(start(LATE));
    let ended = waiting.wait(PATIENCE);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));

    for (worker, cron) in crons {
        judge_calls(worker, &cron.stop());
        tree::assert_same(&fleet.task(), &fleet.folder(worker, "first").join("task"));
    }
    let sent = all_tell_the_same(&push);
    say(format_args!(
        "fleet: {} MiB to {all} workers by cron, all but one of them in {:.1} s with a reboot and a full disk, the last an hour late; the pool sent {:.2} times the payload",
        fleet.bytes / MIB,
        most.as_secs_f64(),
        sent as f64 / fleet.bytes as f64,
    ));
    push.end();
    small
}

/// Every call of cron ended as it should, and none said a word without need.
fn judge_calls(worker: usize, calls: &[Ended]) {
    let count = |code: i32| calls.iter().filter(|call| call.code == code).count();
    let codes: Vec<i32> = calls.iter().map(|call| call.code).collect();
    assert!(
        count(75) > 0,
        "none of worker {worker}'s calls overlapped: {codes:?}"
    );
    assert!(count(0) > 0, "worker {worker}: {codes:?}");
    for call in calls {
        let said = call.stderr.as_str();
        match call.code {
            0 | 75 => assert_eq!(said, "", "worker {worker}"),
            137 => assert_eq!(worker, REBOOTS),
            6 if worker == FULL => assert!(
                said.contains("make room and run the same command again"),
                "{said}"
            ),
            code => panic!("worker {worker}: exit {code}: {said}"),
        }
    }
    assert_eq!(
        count(137) > 0,
        worker == REBOOTS,
        "worker {worker}: {codes:?}"
    );
    assert_eq!(count(6) > 0, worker == FULL, "worker {worker}: {codes:?}");
}

/// Pages, statistics and metrics of tracker and seeder agree once nobody is under way. Gives what the seeder has sent.
fn all_tell_the_same(push: &Push) -> u64 {
    // The worker that was killed came back as somebody else, and its former self is remembered until it has been silent for too long.
    push.wait_until("nobody is under way", |stats| stats["leechers"] == 0);
    let tracker = push.json(push.tracker.address, "/stats");
    for (key, series, value) in [
        ("seeders", "hivebt_seeders ", 1),
        ("leechers", "hivebt_leechers ", 0),
        (
            "completed",
            "hivebt_swarm_completed_total{",
            push.workers as u64,
        ),
    ] {
        assert_eq!(tracker[key], value, "{tracker}");
        assert_eq!(push.metric(push.tracker.address, series), value, "{series}");
    }
    let page = push.text(push.tracker.address, "/");
    assert!(
        page.contains(&format!(
            "<span>1 seeding</span><span>{} completed</span>",
            push.workers
        )),
        "{page}"
    );
    let seeder = push.json(push.status, "/stats");
    let sent = seeder["torrents"][0]["total_uploaded"].as_u64().unwrap();
    let series = "hivebt_peer_uploaded_bytes_total{";
    assert_eq!(push.metric(push.status, series), sent);
    let shown = format!("sent {}", hivebt::app::human::bytes(sent));
    let page = push.text(push.status, "/");
    assert!(page.contains(&shown), "{shown} is not in {page}");
    sent
}

/// The next version of the folder, a tenth of which is new: it comes by way of a watched folder, a job takes it, and it goes by rule.
fn second_version(fleet: &Fleet) {
    let each = fleet.bytes / FILES as u64;
    for file in CHANGED {
        payload::file(&fleet.dir.join(path_of(file)), each, 1000 + file);
    }
    let push = Push::start(fleet);
    let stations: Vec<_> = (1..=fleet.workers)
        .map(|w| Station::start(fleet, w))
        .collect();
    for station in &stations {
        station.take(&push.url());
    }
    let mut moved = 0;
    for station in &stations {
        let complete = station.peer.wait_event("complete", PATIENCE);
        let downloaded = complete["downloaded"].as_u64().unwrap();
        assert!(downloaded <= fleet.bytes * 12 / 100, "{complete}");
        moved = moved.max(downloaded);
    }
    for mut station in stations {
        station.wait_for_cleaning();
        tree::assert_same(&fleet.task(), &station.folder.join("taken/task"));
        let ended = station.peer.process.stop(PATIENCE);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        fs::remove_dir_all(station.folder.join("first/task")).unwrap();
        fs::remove_dir_all(station.folder.join("taken/task")).unwrap();
        station.assert_clean();
    }
    say(format_args!(
        "fleet: of the next version's {} MiB, at most {} MiB came over the network",
        fleet.bytes / MIB,
        moved / MIB
    ));
    push.end();
}

/// `hivebt-peer run` on a worker.
struct Station {
    host: Host,
    folder: PathBuf,
    peer: Peer,
}

impl Station {
    fn start(fleet: &Fleet, worker: usize) -> Self {
        let (host, folder) = (fleet.network.host(worker).clone(), fleet.folder(worker, ""));
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        for name in ["incoming", "second", "taken"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        // The payload goes before long; whoever wants it has to take it.
        fs::write(path("take.sh"), "cp -al -- \"$HIVEBT_PATH\" \"$1\"\n").unwrap();
        let job = format!("sh {} {}", path("take.sh"), path("taken"));
        assert!(!job.contains("//") && job.split(' ').count() == 3, "{job}");
        let mut command = Peer::command(&host, "run");
        command.args([
            "--status",
            "127.0.0.1:0",
            "--keep-for",
            "10s",
            "--keep-strictly",
        ]);
        command.args(["--watch", &path("incoming"), "-o", &path("second")]);
        command.args(["--reuse", &path("first"), "--on-complete", &job]);
        let process = Process::start(&format!("hivebt-peer run on {}", host.address), command);
        Self {
            host,
            folder,
            peer: Peer { process },
        }
    }

    /// Puts the torrent into its folder, as a script would that has got it from the tracker.
    fn take(&self, url: &str) {
        let (server, path) = url
            .strip_prefix("http://")
            .unwrap()
            .split_once('/')
            .unwrap();
        let server = server.parse().unwrap();
        let fetched = self.host.within(|| http::get(server, &format!("/{path}")));
        let (code, torrent) = fetched.unwrap();
        assert_eq!(code, 200);
        fs::write(self.folder.join("incoming/task.torrent"), torrent).unwrap();
    }

    fn wait_for_cleaning(&self) {
        let (begun, payload) = (Instant::now(), self.folder.join("second/task"));
        while payload.exists() {
            assert!(begun.elapsed() < PATIENCE, "{}", self.peer.process.tail());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Of what `get` fetched its notes are left, for whoever comes again; of what came and went by rule the .torrent that the operator put there.
    fn assert_clean(&self) {
        let left = |name: &str| {
            let files = tree::files(&self.folder.join(name)).into_iter();
            files
                .map(|file| file.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        let notes = left("first");
        let is_note = |file: &String| file.starts_with(".hivebt/") && file.ends_with(".resume");
        assert!(notes.len() == 1 && notes.iter().all(is_note), "{notes:?}");
        assert_eq!(left("incoming"), ["task.torrent.removed"]);
        assert!(left("second").is_empty() && left("taken").is_empty());
    }
}

/// No process, no port, no temporary file.
fn nothing_is_left(fleet: &Fleet) {
    for number in 0..=fleet.workers {
        let host = fleet.network.host(number);
        let name = host.namespace().unwrap();
        let pids = Command::new("ip").args(["netns", "pids", name]).output();
        let pids = String::from_utf8(pids.unwrap().stdout).unwrap();
        assert_eq!(pids.trim(), "", "processes on {}", host.address);
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            let path = format!("/proc/thread-self/net/{table}");
            let sockets = host.within(|| fs::read_to_string(path)).unwrap();
            // The state is the fourth field: 06 is TIME_WAIT, which is the kernel's own and goes by itself.
            let open = |line: &&str| line.split_whitespace().nth(3) != Some("06");
            let left: Vec<_> = sockets.lines().skip(1).filter(open).collect();
            assert!(left.is_empty(), "{table} on {}: {left:?}", host.address);
        }
    }
}

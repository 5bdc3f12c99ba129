//! Half an hour in the life of a tracker, a seeder and four workers: torrents come and go, workers are killed, a tracker is restarted, strangers
//! knock. Everything arrives, and nobody takes more and more memory, threads or open files.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod curve;
mod strangers;

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;

use curve::{Sampler, Taken, Watched};
use strangers::Strangers;
use support::hosts::{Host, Network};
use support::links::{self, Link};
use support::ours::{Torrent, Tracker, program};
use support::say::say;
use support::station::Station;
use support::tempdir::TempDir;
use support::{payload, tree};

const POOL: usize = 0;
const WORKERS: usize = 4;
const STRANGER: usize = WORKERS + 1;

/// Every host's link, bits a second each way.
const LINK: u64 = 100_000_000;

/// A torrent comes so often, or in a short run more often, and stays until so many younger ones are there.
const ROUND: Duration = Duration::from_secs(6);
const LIVE: usize = 5;

/// A worker is killed, and the other tracker restarted, every so many rounds.
const KILL: usize = 3;
const RESTART: usize = 5;

/// From then on there is something to be seen in a curve.
const CURVE: Duration = Duration::from_secs(5 * 60);

/// Only a failure waits this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// What may remain of threads and open files when all torrents are gone: pools that were not there before the first torrent. One left behind by
/// each torrent would be more.
const REMAINS: u64 = 8;

const PORT: u16 = 6881;

/// `hivebt-peer run` on a host: the seeder or a worker.
struct Member {
    name: String,
    host: Host,
    folder: PathBuf,
    station: Station,
}

impl Member {
    fn start(name: String, host: &Host, folder: PathBuf) -> Self {
        for part in ["list", "data"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let station = Station::start_on(host, Self::command(host, &folder));
        Self {
            name,
            host: host.clone(),
            folder,
            station,
        }
    }

    fn command(host: &Host, folder: &Path) -> Command {
        let mut command = host.command(program("peer"));
        command.args(["run", "--status", "127.0.0.1:0", "-p", &PORT.to_string()]);
        command.arg("--watch").arg(folder.join("list"));
        command.arg("-o").arg(folder.join("data"));
        command
    }

    /// Ends it by `signal` and starts it again.
    fn restart(&mut self, signal: Signal) {
        self.station.process.signal(signal);
        let ended = self.station.process.wait(PATIENCE);
        let wanted = if signal == Signal::KILL { 137 } else { 0 };
        assert_eq!(ended.code, wanted, "{}: {}", self.name, ended.stderr);
        self.station = Station::start_on(&self.host, Self::command(&self.host, &self.folder));
    }

    fn door(&self) -> SocketAddr {
        (self.host.address, PORT).into()
    }

    fn payload(&self, torrent: &Torrent) -> PathBuf {
        self.folder.join("data").join(&torrent.name)
    }

    fn listed(&self, torrent: &Torrent) -> PathBuf {
        self.folder
            .join("list")
            .join(format!("{}.torrent", torrent.name))
    }

    fn take(&self, torrent: &Torrent) {
        // Not half a file: a rename, as an operator's script has it.
        let path = self.listed(torrent);
        let half = path.with_extension("half");
        fs::copy(&torrent.file, &half).unwrap();
        fs::rename(half, path).unwrap();
    }

    fn wait_complete(&self, torrent: &Torrent) {
        let what = format!("{} of {}", torrent.name, self.name);
        self.station.wait(&what, |torrents| {
            let of = |t: &&serde_json::Value| t["info_hash"] == *torrent.info_hash;
            torrents
                .iter()
                .find(of)
                .is_some_and(|t| t["complete"] == true)
        });
    }

    /// Takes a torrent off its list, by the folder or over HTTP.
    fn strike(&self, torrent: &Torrent, over_http: bool) {
        let listed = self.listed(torrent);
        if over_http {
            let path = format!("/torrents/{}", torrent.info_hash);
            assert_eq!(self.station.ask("DELETE", &path, &[]).0, 200);
            fs::remove_file(listed.with_extension("torrent.removed")).unwrap();
        } else {
            fs::remove_file(listed).unwrap();
        }
    }

    /// Takes its data away, too, once nobody works on it.
    fn clear(&self, torrent: &Torrent) {
        self.station.wait("a torrent is gone", |torrents| {
            torrents
                .iter()
                .all(|t| t["info_hash"] != *torrent.info_hash)
        });
        fs::remove_file(self.payload(torrent)).unwrap();
    }
}

struct Soak {
    dir: TempDir,
    network: Network,
    /// The first is never restarted.
    trackers: [Tracker; 2],
    /// The seeder, and the workers. The last two are killed again and again.
    members: Vec<Member>,
    live: VecDeque<Torrent>,
    rng: Rng,
    arrived: u64,
}

/// Who lives through all of it.
const STEADY: [&str; 4] = ["tracker", "seeder", "worker 1", "worker 2"];

impl Soak {
    fn new() -> Self {
        let network = Network::new(2 + WORKERS as u8).expect("root may make namespaces");
        for host in 0..=STRANGER {
            links::shape(&network, host, Link::of(LINK)).expect("links of a given rate");
        }
        // What others do with the disk is not to be seen in the curves.
        let dir = TempDir::in_memory("soak");
        let pool = network.host(POOL);
        let trackers = [0, 0].map(|port| Tracker::start(pool, port, &["--interval", "10"]));
        let member = |i: usize| {
            let name = match i {
                POOL => "seeder".to_owned(),
                worker => format!("worker {worker}"),
            };
            let folder = dir.join(&name);
            Member::start(name, network.host(i), folder)
        };
        let members = (0..=WORKERS).map(member).collect();
        Self {
            dir,
            network,
            trackers,
            members,
            live: VecDeque::new(),
            rng: Rng::with_seed(30),
            arrived: 0,
        }
    }

    fn programs(&self) -> Vec<Watched> {
        let watched = |name: &str, pid| Watched {
            name: name.to_owned(),
            pid,
        };
        let mut programs = vec![
            watched("tracker", self.trackers[0].process.pid()),
            watched("other tracker", self.trackers[1].process.pid()),
        ];
        let of = |member: &Member| watched(&member.name, member.station.process.pid());
        programs.extend(self.members.iter().map(of));
        programs
    }

    fn doors(&self) -> Vec<SocketAddr> {
        let trackers = self.trackers.iter().map(|tracker| tracker.address);
        trackers
            .chain(self.members.iter().map(Member::door))
            .collect()
    }

    /// A torrent comes, a worker may be killed, a tracker be restarted; the oldest torrent goes.
    fn round(&mut self, n: usize, sampler: &Sampler) {
        self.add(n);
        if n % KILL == 1 {
            let signal = if n.is_multiple_of(2) {
                Signal::KILL
            } else {
                Signal::TERM
            };
            let killed = WORKERS - n / KILL % 2;
            let member = &mut self.members[killed];
            member.restart(signal);
            sampler.replace(&member.name, member.station.process.pid());
        }
        if n % RESTART == 2 {
            let tracker = &mut self.trackers[1];
            let ended = tracker.process.stop(PATIENCE);
            assert_eq!(ended.code, 0, "{}", ended.stderr);
            let port = tracker.address.port();
            *tracker = Tracker::start(&tracker.host.clone(), port, &["--interval", "10"]);
            sampler.replace("other tracker", tracker.process.pid());
        }
        if self.live.len() > LIVE {
            self.remove_oldest(n % 2 == 1);
        }
    }

    fn add(&mut self, n: usize) {
        let file = self.members[POOL]
            .folder
            .join(format!("data/task-{n:03}.bin"));
        payload::file(&file, self.rng.u64(1 << 20..24 << 20), n as u64);
        let announce = self.trackers[n % 2].url();
        let made = Torrent::create(&file, &announce, &["-l", "64K"]);
        let torrents = self.dir.folder("torrents");
        let torrent = Torrent {
            file: torrents.join(made.file.file_name().unwrap()),
            ..made
        };
        fs::rename(&made.file, &torrent.file).unwrap();
        self.members.iter().for_each(|member| member.take(&torrent));
        self.live.push_back(torrent);
    }

    /// The oldest torrent goes from everybody, once everybody has it.
    fn remove_oldest(&mut self, over_http: bool) {
        let torrent = self.live.pop_front().unwrap();
        for worker in &self.members[1..] {
            worker.wait_complete(&torrent);
            tree::assert_same(&torrent.payload(), &worker.payload(&torrent));
            self.arrived += torrent.bytes;
        }
        for member in &self.members {
            member.strike(&torrent, over_http);
        }
        for member in &self.members {
            member.clear(&torrent);
        }
    }

    /// Threads and open files of a program are no more than before the first torrent came.
    fn assert_as_before(&self, before: &[(Watched, Taken)]) {
        for (program, before) in before {
            let begun = Instant::now();
            loop {
                let now = Taken::by(program.pid).expect("it runs");
                let more = |of: fn(&Taken) -> u64| of(&now) > of(before) + REMAINS;
                if !more(|t| t.threads) && !more(|t| t.files) {
                    break;
                }
                assert!(
                    begun.elapsed() < PATIENCE,
                    "{} idle: {before:?}, and afterwards {now:?}",
                    program.name
                );
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

#[test]
#[ignore = "takes half an hour, and root; `make soak` runs it, and `make interop` a little of it"]
fn nobody_grows_while_torrents_workers_trackers_and_strangers_come_and_go() {
    let minutes = std::env::var("HIVEBT_SOAK_MINUTES").map_or(30.0, |text| text.parse().unwrap());
    let whole = Duration::from_secs_f64(60.0 * minutes);
    let mut soak = Soak::new();
    let steady = |program: &Watched| STEADY.contains(&program.name.as_str());
    let before: Vec<_> = soak
        .programs()
        .into_iter()
        .filter(steady)
        .map(|program| (program.clone(), Taken::by(program.pid).unwrap()))
        .collect();

    let every = (whole / 60).min(Duration::from_secs(10));
    let sampler = Sampler::start(soak.programs(), every, curve::csv());
    let strangers = Strangers::come(soak.network.host(STRANGER), soak.doors());
    let (begun, mut rounds) = (Instant::now(), 0);
    let round = ROUND.min(whole / 20);
    while begun.elapsed() < whole {
        soak.round(rounds, &sampler);
        rounds += 1;
        thread::sleep((round * rounds as u32).saturating_sub(begun.elapsed()));
    }
    let curves = sampler.finish(&STEADY);
    let strangers = strangers.leave();
    while !soak.live.is_empty() {
        soak.remove_oldest(false);
    }
    say(format_args!(
        "soak: {rounds} torrents to {WORKERS} workers in {:.1} minutes, {} MiB in all, {strangers} strangers; every sample is in {}\n{}",
        begun.elapsed().as_secs_f64() / 60.0,
        soak.arrived >> 20,
        curve::csv().display(),
        curve::table(&curves, whole),
    ));
    // Too short a run has no curve, but the end of it is like that of a long one.
    if whole >= CURVE {
        curves.iter().for_each(curve::Curve::assert_flat);
    }
    soak.assert_as_before(&before);
}

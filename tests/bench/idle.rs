//! What a seeder costs that nobody asks for anything: its program and the libraries that it maps, the time until it serves, memory and threads.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::Plan;
use crate::measure::{Contestant, LIMIT, Table, in_turns, median, mib, seconds};
use crate::support::foreign::Client;
use crate::support::hosts::Network;
use crate::support::ours::{Peer, Torrent, Tracker};
use crate::support::payload;
use crate::support::process::{Process, cpu_time, memory, private_memory};
use crate::support::say::say;
use crate::support::tempdir::TempDir;
use crate::transfer::{PORT, RIVALS, linked, network, torrent};

/// Small, so that the time until it serves is that of starting and not of hashing.
const PAYLOAD: u64 = 16 << 20;

/// How long nothing happens before it is looked at, and while its CPU is measured.
const QUIET: Duration = Duration::from_secs(10);

/// What one seeder has at rest.
#[derive(Clone, Copy, Debug)]
struct Idle {
    /// Bytes of the files that it runs from.
    program: f64,
    /// Seconds from its start until the tracker knows it for a seed.
    start: f64,
    resident: f64,
    private: f64,
    threads: f64,
    /// Seconds of CPU an hour.
    cpu: f64,
}

/// The table; none where there is no place for the hosts.
pub fn table(plan: &Plan) -> Option<Table> {
    let network = network()?;
    let dir = TempDir::in_memory("bench-idle");
    let file = dir.join("data/payload.bin");
    payload::file(&file, PAYLOAD, 3);
    let torrent = torrent(&network, &file, "64K");
    let ours = || {
        let start = |home: &TempDir| {
            let data = linked(&torrent, home);
            Peer::seed(network.host(1), &torrent.file, &data, &[]).process
        };
        look(&network, &torrent, start)
    };
    let mut contestants: Vec<Contestant<'_, Idle>> = vec![("hivebt-peer", Box::new(ours))];
    for (name, client) in RIVALS {
        if let Some(missing) = client.missing() {
            say(missing);
            continue;
        }
        let (network, torrent) = (&network, &torrent);
        let theirs = move || {
            look(network, torrent, |home| {
                seed(client, network, torrent, home)
            })
        };
        contestants.push((name, Box::new(theirs)));
    }
    let samples = in_turns(plan.rounds, &contestants);
    let head = [
        "seeder at rest",
        "program and libraries (MiB)",
        "from start to seeding (s)",
        "resident (MiB)",
        "private (MiB)",
        "threads",
        "CPU (s/hour)",
    ];
    let mut table = Table::new("A seeder that nobody asks for anything", &head);
    for ((name, _), these) in contestants.iter().zip(&samples) {
        table.row([
            (*name).to_owned(),
            format!("{:.1}", median(these, |i| i.program) / f64::from(1 << 20)),
            seconds(median(these, |i| i.start)),
            mib(median(these, |i| i.resident)),
            mib(median(these, |i| i.private)),
            format!("{:.0}", median(these, |i| i.threads)),
            seconds(median(these, |i| i.cpu)),
        ]);
    }
    Some(table)
}

fn seed(client: Client, network: &Network, torrent: &Torrent, home: &TempDir) -> Process {
    let data = linked(torrent, home);
    client.seed(network.host(1), &torrent.file, &data, &home.join("home"))
}

fn look(network: &Network, torrent: &Torrent, start: impl Fn(&TempDir) -> Process) -> Idle {
    let home = TempDir::in_memory("bench-idle-run");
    let tracker = Tracker::start(network.host(0), PORT, &[]);
    let begun = Instant::now();
    let mut seeder = start(&home);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder);
    let start = begun.elapsed().as_secs_f64();
    let used = || cpu_time(seeder.pid()).unwrap_or_default();
    thread::sleep(QUIET);
    let before = used();
    thread::sleep(QUIET);
    let idle = Idle {
        program: mapped(seeder.pid()),
        start,
        resident: memory(seeder.pid(), "status", "VmRSS:").unwrap_or(0) as f64,
        private: private_memory(seeder.pid()).unwrap_or(0) as f64,
        threads: threads(seeder.pid()),
        cpu: used().saturating_sub(before).as_secs_f64() * 3600.0 / QUIET.as_secs_f64(),
    };
    seeder.stop(LIMIT);
    idle
}

/// Bytes of the files whose code it runs.
fn mapped(pid: u32) -> f64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let code = maps
        .lines()
        .filter(|line| line.split_whitespace().nth(1) == Some("r-xp"));
    let files: BTreeSet<&str> = code
        .filter_map(|line| line.split_whitespace().nth(5))
        .collect();
    let sizes = files
        .iter()
        .filter_map(|path| Some(fs::metadata(path).ok()?.len()));
    sizes.sum::<u64>() as f64
}

fn threads(pid: u32) -> f64 {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0.0, |tasks| tasks.count() as f64)
}

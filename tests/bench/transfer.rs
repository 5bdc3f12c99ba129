//! One seeder, one leecher of the same kind, loopback, our tracker between them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::Plan;
use crate::measure::{
    Contestant, Cost, LIMIT, Table, in_turns, look_at, median, mib, ratio, seconds,
};
use crate::support::foreign::Client;
use crate::support::hosts::Network;
use crate::support::ours::{Peer, Torrent, Tracker};
use crate::support::process::{Process, cpu_time};
use crate::support::say::say;
use crate::support::tempdir::TempDir;
use crate::support::{payload, tree};

/// The tracker's.
pub const PORT: u16 = 8080;

/// Who is measured beside ours.
pub const RIVALS: [(&str, Client); 6] = [
    ("libtorrent", Client::Libtorrent),
    ("rqbit", Client::Rqbit),
    ("rtorrent", Client::Rtorrent),
    ("ctorrent", Client::Ctorrent),
    ("aria2c", Client::Aria2),
    ("Transmission", Client::Transmission),
];

/// Who gets a thirty-second of the payload where that is one file: most of its time it waits.
const SLOW: Client = Client::Transmission;

/// What one transfer took.
#[derive(Clone, Copy, Debug, Default)]
struct Transfer {
    /// GiB of payload.
    gib: f64,
    /// Seconds from the leecher's start to the complete payload.
    total: f64,
    /// Seconds from the first byte on its disk to the complete payload.
    moving: f64,
    seeder: Cost,
    leecher: Cost,
}

/// Who seeds and leeches.
#[derive(Clone, Copy)]
enum Pair {
    Ours,
    Theirs(Client),
}

struct Stage<'a> {
    network: &'a Network,
    torrent: &'a Torrent,
}

/// A file of the given size is moved, a table for each length of pieces; none where there is no place for them.
pub fn tables(plan: &Plan) -> Vec<Table> {
    let Some(network) = network() else {
        return Vec::new();
    };
    let dir = TempDir::in_memory("bench-transfer");
    let files = [plan.mib, (plan.mib / 32).max(1)].map(|mib| {
        let file = dir.join(format!("{mib}/payload.bin"));
        payload::file(&file, mib << 20, 2);
        file
    });
    let table = |length: &str| {
        let torrents = [0, 1].map(|n| torrent(&network, &files[n], length));
        let title = format!(
            "One to one over loopback, {} MiB in pieces of {length}",
            plan.mib
        );
        table(plan, &network, &torrents, &title, ("MB/s", 1073.74))
    };
    ["256K", "4M"].map(table).into()
}

/// So many files of 4 KiB are moved.
pub fn of_small_files(plan: &Plan) -> Option<Table> {
    let network = network()?;
    let dir = TempDir::in_memory("bench-transfer");
    let top = dir.join("data/many");
    for n in 0..plan.files {
        let name = format!("{:03}/{n:06}", n / 1000);
        payload::file(&top.join(name), 4096, n as u64);
    }
    let torrent = torrent(&network, &top, "1M");
    let title = format!("{} files of 4 KiB one to one over loopback", plan.files);
    let torrents = [torrent.clone(), torrent];
    Some(table(
        plan,
        &network,
        &torrents,
        &title,
        ("files/s", f64::from(1 << 18)),
    ))
}

/// Three hosts on loopback: the tracker's, the seeder's and the leecher's.
pub fn network() -> Option<Network> {
    match Network::loopback(3) {
        Ok(network) => Some(network),
        Err(reason) => {
            say(format_args!("no transfers: {reason}"));
            None
        }
    }
}

/// A torrent of `payload` whose tracker is on the first host.
pub fn torrent(network: &Network, payload: &Path, length: &str) -> Torrent {
    let announce = format!("http://{}:{PORT}/announce", network.host(0).address);
    Torrent::create(payload, &announce, &["-l", length])
}

/// Of `torrents` the second one is for who is slow. The rate is told in a unit of which a GiB has so many.
fn table(
    plan: &Plan,
    network: &Network,
    torrents: &[Torrent; 2],
    title: &str,
    unit: (&str, f64),
) -> Table {
    let mut pairs = vec![("hivebt-peer".to_owned(), Pair::Ours, &torrents[0])];
    for (name, client) in RIVALS {
        let torrent = &torrents[usize::from(client == SLOW)];
        if let Some(missing) = client.missing() {
            say(missing);
        } else if torrent.bytes < torrents[0].bytes {
            let name = format!("{name} ({} MiB)", torrent.bytes >> 20);
            pairs.push((name, Pair::Theirs(client), torrent));
        } else {
            pairs.push((name.to_owned(), Pair::Theirs(client), torrent));
        }
    }
    let contestants: Vec<Contestant<'_, Transfer>> = pairs
        .iter()
        .map(|(name, pair, torrent)| -> Contestant<'_, Transfer> {
            let stage = Stage { network, torrent };
            (name, Box::new(move || transfer(*pair, &stage)))
        })
        .collect();
    tabulate(plan, title, unit, &contestants)
}

/// A folder of its own with the payload, a file, so that nobody finds what another left.
pub fn linked(torrent: &Torrent, dir: &TempDir) -> PathBuf {
    let data = dir.folder("data");
    fs::hard_link(torrent.payload(), data.join(&torrent.name)).expect("the same file system");
    data
}

fn transfer(pair: Pair, stage: &Stage<'_>) -> Transfer {
    // A folder of its own for each run, so that none finds the state of another.
    let dir = TempDir::in_memory("bench-run");
    let (network, torrent) = (stage.network, stage.torrent);
    // A tracker of its own as well: one that has seen another run would send the leecher to peers that are gone.
    let tracker = Tracker::start(network.host(0), PORT, &[]);
    let (here, there) = (network.host(1), network.host(2));
    let data = if torrent.payload().is_dir() {
        let _ = fs::remove_dir_all(torrent.parent.join(".hivebt"));
        torrent.parent.clone()
    } else {
        linked(torrent, &dir)
    };
    let (to, home) = (dir.folder("to"), dir.folder("home"));
    let seeder = match pair {
        Pair::Ours => Peer::seed(here, &torrent.file, &data, &[]).process,
        Pair::Theirs(client) => client.seed(here, &torrent.file, &data, &home.join("s")),
    };
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder);
    let seeder_cpu = cpu_time(seeder.pid()).unwrap_or_default();

    let begun = Instant::now();
    let mut leecher = match pair {
        Pair::Ours => Peer::get(there, &torrent.file, &to, &[]).process,
        Pair::Theirs(client) => client.get(there, &torrent.file, &to, &home.join("l")),
    };
    let mut result = Transfer {
        gib: torrent.bytes as f64 / f64::from(1 << 30),
        ..Transfer::default()
    };
    // Looking through many files would slow down what is measured.
    let few = torrent.payload().is_file();
    let first_byte = watch(pair, few, &seeder, &leecher, &to, &mut result);
    result.total = begun.elapsed().as_secs_f64();
    result.moving = first_byte.map_or(result.total, |first| first.elapsed().as_secs_f64());
    if !leecher.has_ended() {
        result.leecher.cpu = cpu_time(leecher.pid()).unwrap_or_default().as_secs_f64();
        leecher.stop(LIMIT);
    } else {
        let ended = leecher.wait(LIMIT);
        assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
        result.leecher.cpu = ended.cpu.as_secs_f64();
    }
    let used = cpu_time(seeder.pid()).unwrap_or_default();
    result.seeder.cpu = used.saturating_sub(seeder_cpu).as_secs_f64();
    let (original, copy) = (torrent.payload(), to.join(&torrent.name));
    match pair {
        Pair::Ours => tree::assert_same(&original, &copy),
        // Theirs to mend, but not to keep quiet about.
        Pair::Theirs(client) => {
            if let Some(difference) = tree::difference(&original, &copy) {
                say(format_args!(
                    "the copy of {client:?} is wrong: {difference}"
                ));
            }
        }
    }
    result
}

/// Watches until the leecher is done: its memory, the seeder's, and when the first byte reached the disk.
fn watch(
    pair: Pair,
    few: bool,
    seeder: &Process,
    leecher: &Process,
    to: &Path,
    result: &mut Transfer,
) -> Option<Instant> {
    let complete = || match pair {
        Pair::Theirs(client) if !client.ends_when_done() => client.is_complete(leecher),
        _ => leecher.has_ended(),
    };
    let begun = Instant::now();
    let mut first_byte = None;
    while !complete() {
        assert!(
            begun.elapsed() < LIMIT,
            "time is up\n{}\n{}",
            leecher.tail(),
            seeder.tail()
        );
        look_at(seeder, &mut result.seeder);
        look_at(leecher, &mut result.leecher);
        if first_byte.is_none() && few && has_blocks(to) {
            first_byte = Some(Instant::now());
        }
        thread::sleep(Duration::from_millis(5));
    }
    first_byte
}

/// Whether any file below `folder` has something in it.
fn has_blocks(folder: &Path) -> bool {
    tree::files(folder)
        .iter()
        .any(|path| fs::metadata(folder.join(path)).is_ok_and(|m| m.blocks() > 64))
}

fn tabulate(
    plan: &Plan,
    title: &str,
    (unit, per_gib): (&str, f64),
    contestants: &[Contestant<'_, Transfer>],
) -> Table {
    let samples = in_turns(plan.rounds, contestants);
    let moving = format!("{unit} once it moves");
    let head = [
        "seeder and leecher",
        "from start to end (s)",
        &moving,
        "beside ours",
        "CPU seeder (s/GiB)",
        "beside ours",
        "CPU leecher (s/GiB)",
        "beside ours",
        "private memory seeder (MiB)",
        "leecher (MiB)",
    ];
    let mut table = Table::new(title, &head);
    let rate = |t: &Transfer| t.gib * per_gib / t.moving;
    let sent = |t: &Transfer| t.seeder.cpu / t.gib;
    let received = |t: &Transfer| t.leecher.cpu / t.gib;
    for ((name, _), these) in contestants.iter().zip(&samples) {
        let beside =
            |of: &dyn Fn(&Transfer) -> f64| ratio(median(these, of), median(&samples[0], of));
        table.row([
            (*name).to_owned(),
            seconds(median(these, |t| t.total)),
            format!("{:.0}", median(these, rate)),
            beside(&rate),
            seconds(median(these, sent)),
            beside(&sent),
            seconds(median(these, received)),
            beside(&received),
            mib(median(these, |t| t.seeder.private as f64)),
            mib(median(these, |t| t.leecher.private as f64)),
        ]);
    }
    table
}

//! How fast a payload becomes a torrent, and is checked against one.

use std::path::Path;
use std::process::Command;

use crate::Plan;
use crate::measure::{Contestant, Cost, Table, cost_of, in_turns, median, mib, ratio, seconds};
use crate::support::foreign::{missing_module, missing_program};
use crate::support::ours::program;
use crate::support::payload;
use crate::support::tempdir::TempDir;

const ANNOUNCE: &str = "http://127.0.0.1:9/announce";

const CREATE_BY_LIBTORRENT: &str = "
import sys, os, libtorrent
path, out = sys.argv[1:3]
entry = libtorrent.create_file_entry(os.path.basename(path), os.path.getsize(path))
made = libtorrent.create_torrent([entry], 1 << 20, libtorrent.create_torrent.v1_only)
libtorrent.set_piece_hashes(made, os.path.dirname(path))
open(out, 'wb').write(libtorrent.bencode(made.generate()))";

const VERIFY_BY_LIBTORRENT: &str = "
import sys, libtorrent
session = libtorrent.session({'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False, 'listen_interfaces': ''})
params = libtorrent.add_torrent_params()
params.ti = libtorrent.torrent_info(sys.argv[1])
params.save_path = sys.argv[2]
handle = session.add_torrent(params)
while not handle.status().is_seeding:
    session.wait_for_alert(20)
    session.pop_alerts()";

fn python(script: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new("python3");
    command.args(["-W", "ignore", "-c", script]).args(arguments);
    command
}

/// The tables that are wanted.
pub fn tables(plan: &Plan, create: bool, verify: bool) -> Vec<Table> {
    let dir = TempDir::in_memory("bench-create");
    let file = dir.join("data/payload.bin");
    payload::file(&file, plan.mib << 20, 1);
    let mut tables = Vec::new();
    if create {
        tables.push(creation(plan, &dir, &file));
    }
    if verify {
        tables.push(verification(plan, &dir, &file));
    }
    tables
}

/// Removes what an earlier round has left, runs, and gives the cost.
fn afresh(name: &str, out: &Path, command: Command) -> Cost {
    let _ = std::fs::remove_file(out);
    let cost = cost_of(name, command);
    assert!(out.is_file(), "{name} has made no torrent");
    cost
}

fn creation(plan: &Plan, dir: &TempDir, file: &Path) -> Table {
    let out = dir.join("out.torrent");
    let mut contestants: Vec<Contestant<'_, Cost>> = vec![(
        "hivebt-create",
        Box::new(|| {
            let mut command = Command::new(program("create"));
            command.args(["-q", "-l", "1M", "-a", ANNOUNCE, "-o"]);
            command.arg(&out).arg(file);
            afresh("hivebt-create", &out, command)
        }),
    )];
    if missing_program("mktorrent").is_none() {
        contestants.push((
            "mktorrent",
            Box::new(|| {
                let mut command = Command::new("mktorrent");
                command.args(["-l", "20", "-a", ANNOUNCE, "-o"]);
                command.arg(&out).arg(file);
                afresh("mktorrent", &out, command)
            }),
        ));
    }
    if missing_program("transmission-create").is_none() {
        contestants.push((
            "transmission-create",
            Box::new(|| {
                let mut command = Command::new("transmission-create");
                command.args(["-s", "1024", "-t", ANNOUNCE, "-o"]);
                command.arg(&out).arg(file);
                afresh("transmission-create", &out, command)
            }),
        ));
    }
    if missing_module("libtorrent").is_none() {
        contestants.push((
            "libtorrent",
            Box::new(|| {
                let command = python(CREATE_BY_LIBTORRENT, &[file, &out]);
                afresh("libtorrent", &out, command)
            }),
        ));
    }
    table("Create a torrent, pieces of 1 MiB", plan, &contestants)
}

fn verification(plan: &Plan, dir: &TempDir, file: &Path) -> Table {
    let torrent = dir.join("verify.torrent");
    let data = file.parent().expect("it lies in a folder");
    let mut make = Command::new(program("create"));
    make.args(["-q", "-f", "-l", "1M", "--no-announce", "-o"]);
    make.arg(&torrent).arg(file);
    cost_of("hivebt-create", make);
    let mut contestants: Vec<Contestant<'_, Cost>> = vec![(
        "hivebt-create verify",
        Box::new(|| {
            let mut command = Command::new(program("create"));
            command.args(["verify"]).arg(&torrent).arg(file);
            cost_of("hivebt-create verify", command)
        }),
    )];
    if missing_program("aria2c").is_none() {
        contestants.push((
            "aria2c --check-integrity",
            Box::new(|| {
                let mut command = Command::new("aria2c");
                command.args([
                    "--no-conf",
                    "--enable-dht=false",
                    "--enable-dht6=false",
                    "--check-integrity=true",
                    "--bt-hash-check-seed=false",
                    "--quiet=true",
                    "-d",
                ]);
                command.arg(data).arg(&torrent);
                cost_of("aria2c", command)
            }),
        ));
    }
    if missing_module("libtorrent").is_none() {
        contestants.push((
            "libtorrent",
            Box::new(|| {
                cost_of(
                    "libtorrent",
                    python(VERIFY_BY_LIBTORRENT, &[&torrent, data]),
                )
            }),
        ));
    }
    table("Verify data against a torrent", plan, &contestants)
}

fn table(title: &str, plan: &Plan, contestants: &[Contestant<'_, Cost>]) -> Table {
    let samples = in_turns(plan.rounds, contestants);
    let head = [
        "program",
        "time (s)",
        "time beside ours",
        "MiB/s",
        "CPU (s)",
        "peak memory (MiB)",
    ];
    let mut table = Table::new(title, &head);
    let ours = median(&samples[0], |cost| cost.wall);
    for ((name, _), samples) in contestants.iter().zip(&samples) {
        let wall = median(samples, |cost| cost.wall);
        table.row([
            (*name).to_owned(),
            seconds(wall),
            ratio(wall, ours),
            format!("{:.0}", plan.mib as f64 / wall),
            seconds(median(samples, |cost| cost.cpu)),
            mib(median(samples, |cost| cost.peak as f64)),
        ]);
    }
    table
}

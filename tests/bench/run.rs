//! `make bench`: ours beside whatever of mktorrent, libtorrent, transmission, torf, imdl, aria2, rqbit, opentracker and aquatic_udp is installed, one after the
//! other in turns, medians and ratios, as tables for the README.
//!
//! Words choose tables (`cargo bench --bench bench -- small ways`; `make bench TABLES="small ways"`); without any, all are made:
//! - `create`: a torrent of one file in memory, pieces of 256 KiB, 4 MiB and 16 MiB
//! - `ways`: that file with each way of hashing that `HIVEBT_SHA1` names, and what reading it costs by itself
//! - `verify`: that file against its torrent, and the peer's recheck
//! - `small`: a torrent of a folder of small files in memory (without torf where they are more than 2,000: it takes minutes)
//! - `disk`: a torrent of one file on the disk that the build lies on; the page cache is emptied before each turn where root may do that
//! - `transfer`: one to one over loopback, pieces of 256 KiB and 4 MiB; Transmission, which is slow, with a thirty-second of the payload
//! - `files`: 100,000 files of 4 KiB one to one over loopback
//! - `idle`: what a seeder costs that nobody asks for anything
//! - `curve`: what an announce costs the tracker's core, by the size of the swarm
//! - `memory`: what a tracker needs for a million peers
//! - `announce`, `announce-udp`: what a tracker answers over HTTP and UDP
//! - `attack`: how long announces take while others hold thousands of connections
//! - `swarm` (only if named; `make bench-swarm`): one origin and its workers on links of a given rate; `swarm.rs` says what sets it up
//!
//! The environment sets sizes: `HIVEBT_BENCH_MIB` those of the payloads in MiB (4096; 2048 for `transfer`), `HIVEBT_BENCH_FILES` how many small
//! files (20000, of 64 KiB on average), `HIVEBT_BENCH_ROUNDS` how often everything is run (3).

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    unreachable_pub,
    reason = "a benchmark fails by panicking, and rounds what it prints"
)]

#[path = "../support/mod.rs"]
mod support;

mod announce;
mod attack;
mod check;
mod create;
mod creators;
mod crowd;
mod curve;
mod idle;
mod load;
mod load_udp;
mod measure;
mod memory;
mod rivals;
mod swarm;
mod transfer;

use std::process::Command;

use measure::Table;
use support::foreign::{missing_module, missing_program};
use support::payload;
use support::say::say;
use support::tempdir::TempDir;

/// What is run, and how often.
pub struct Plan {
    /// MiB of payload in one file.
    pub mib: u64,
    /// How many small files.
    pub files: usize,
    /// Rounds; the median counts.
    pub rounds: usize,
}

fn main() {
    // The table of UDP starts this program again, as a tracker that does nothing.
    if let Ok(port) = std::env::var(rivals::ECHO) {
        load_udp::echo(port.parse().expect("a port"));
        return;
    }
    let number = |name: &str, default: u64| {
        let given = std::env::var(name).ok();
        given.map_or(default, |text| text.parse().expect("a whole number"))
    };
    let count = |name: &str, default| usize::try_from(number(name, default)).expect("fits");
    let plan = |mib| Plan {
        mib: number("HIVEBT_BENCH_MIB", mib),
        files: count("HIVEBT_BENCH_FILES", 20_000),
        rounds: count("HIVEBT_BENCH_ROUNDS", 3),
    };
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|word| word == name);
    // Transmission alone takes minutes for the creators' size.
    let (large, moved) = (plan(4096), plan(2048));
    let mut tables = of_one_file(&large, wanted);
    if wanted("small") {
        tables.push(create::small(&large));
    }
    if wanted("disk") {
        tables.push(create::disk(&large));
    }
    if wanted("transfer") {
        tables.extend(transfer::tables(&moved));
    }
    if wanted("files") {
        let files = count("HIVEBT_BENCH_FILES", 100_000);
        tables.extend(transfer::of_small_files(&Plan { files, ..moved }));
    }
    if wanted("idle") {
        tables.extend(idle::table(&moved));
    }
    if wanted("curve") {
        tables.push(curve::table(&moved));
    }
    if wanted("memory") {
        tables.push(memory::table());
    }
    if wanted("announce") {
        tables.extend(announce::over_http(&moved));
    }
    if wanted("attack") {
        tables.extend(attack::table(&moved));
    }
    if wanted("announce-udp") {
        tables.extend(announce::over_udp(&moved));
    }
    // Many minutes, and not of the programs alone but of their networks: only if asked for.
    if chosen.iter().any(|word| word == "swarm") {
        match swarm::tables() {
            Ok(made) => tables.extend(made),
            Err(reason) => {
                say(format_args!("no swarms: {reason}"));
                std::process::exit(1);
            }
        }
    }
    measure::print(&format!("{}\n", surroundings(&large)));
    for table in tables {
        measure::print(&table.markdown());
    }
}

/// The tables that share one file in memory, which is gone afterwards.
fn of_one_file(plan: &Plan, wanted: impl Fn(&str) -> bool) -> Vec<Table> {
    let mut tables = Vec::new();
    if !["create", "ways", "verify"].into_iter().any(&wanted) {
        return tables;
    }
    let dir = TempDir::in_memory("bench-file");
    let file = dir.join("data/payload.bin");
    payload::file(&file, plan.mib << 20, 1);
    if wanted("create") {
        tables.extend(create::file(plan, &file));
    }
    if wanted("ways") {
        tables.push(create::ways(plan, &file));
    }
    if wanted("verify") {
        tables.push(check::table(plan, &file));
    }
    tables
}

/// On what the numbers were measured, and what was not there to be measured.
fn surroundings(plan: &Plan) -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name);
    let mut lines = vec![format!(
        "{cpus} CPUs ({model}), Linux {}, payloads in memory (tmpfs) but for the table of the disk, median of {} rounds in turns; \
         libtorrent and torf without the start of Python but in swarms.",
        std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim(),
        plan.rounds
    )];
    let versions = [
        version("mktorrent", &["-h"]),
        version("transmission-create", &["--version"]),
        version("imdl", &["--version"]),
        version("aria2c", &["--version"]),
        module_version("libtorrent"),
        module_version("torf"),
        version("rqbit", &["--version"]),
        missing_program("opentracker").or_else(|| Some("opentracker".to_owned())),
    ];
    lines.push(
        versions
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; ")
            + ".",
    );
    lines.join("\n")
}

/// What a Python module says of itself, or that it is not installed.
fn module_version(module: &str) -> Option<String> {
    missing_module(module).or_else(|| {
        let script = format!("import {module}; print('{module}', {module}.__version__)");
        version("python3", &["-W", "ignore", "-c", &script])
    })
}

/// The first line that a program says of itself, or that it is not installed.
fn version(program: &str, arguments: &[&str]) -> Option<String> {
    missing_program(program).or_else(|| {
        let output = Command::new(program).args(arguments).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let line = said.lines().find(|line| !line.trim().is_empty())?;
        Some(line.split(" (").next().unwrap_or(line).trim().to_owned())
    })
}

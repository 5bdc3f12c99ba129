//! `make bench`: ours beside whatever of mktorrent, transmission, aria2, libtorrent, rqbit and opentracker is installed, one after the other in turns,
//! medians and ratios, as tables for the README. `HIVEBT_BENCH_MIB` sets the size of the payload (2048), `HIVEBT_BENCH_ROUNDS` how often (3).
//! Words after `--` choose tables: `create`, `verify`, `transfer`, `announce`.

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
mod create;
mod load;
mod measure;
mod transfer;

use std::process::Command;

use measure::Table;
use support::foreign::{missing_module, missing_program};

/// What is run, and how often.
pub struct Plan {
    /// MiB of payload.
    pub mib: u64,
    /// Rounds; the median counts.
    pub rounds: usize,
}

fn main() {
    let number = |name: &str, default: u64| {
        let given = std::env::var(name).ok();
        given.map_or(default, |text| text.parse().expect("a whole number"))
    };
    let plan = Plan {
        mib: number("HIVEBT_BENCH_MIB", 2048),
        rounds: usize::try_from(number("HIVEBT_BENCH_ROUNDS", 3)).expect("a small number"),
    };
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|word| word == name);
    let mut tables: Vec<Table> = Vec::new();
    if wanted("create") || wanted("verify") {
        tables.extend(create::tables(&plan, wanted("create"), wanted("verify")));
    }
    if wanted("transfer") {
        tables.extend(transfer::table(&plan));
    }
    if wanted("announce") {
        tables.extend(announce::table(&plan));
    }
    measure::print(&format!("{}\n", surroundings(&plan)));
    for table in tables {
        measure::print(&table.markdown());
    }
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
        "{cpus} CPUs ({model}), Linux {}, payload {} MiB in memory (tmpfs), median of {} rounds in turns.",
        std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim(),
        plan.mib,
        plan.rounds
    )];
    let versions = [
        version("mktorrent", &["-h"]),
        version("transmission-create", &["--version"]),
        version("aria2c", &["--version"]),
        missing_module("libtorrent").or_else(|| {
            let script = "import libtorrent; print('libtorrent', libtorrent.__version__)";
            version("python3", &["-W", "ignore", "-c", script])
        }),
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

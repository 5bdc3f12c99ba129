//! Announces over HTTP: how many a second, and how many for each second of the server's CPU.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use crate::Plan;
use crate::load;
use crate::measure::{Contestant, Table, in_turns, median, mib};
use crate::support::foreign::{missing_program, percent, wait_until_served};
use crate::support::hosts::{Host, Network};
use crate::support::ours::program;
use crate::support::process::{Process, cpu_time, peak_memory};
use crate::support::say::say;
use crate::support::tempdir::TempDir;

const SPAN: Duration = Duration::from_secs(4);
const SWARMS: u32 = 200;
const THREADS: u64 = 4;
const PORT: u16 = 8080;

/// What one load came to.
struct Load {
    per_second: f64,
    per_cpu_second: f64,
    peak: u64,
}

/// The table, or none where there is no place for it.
pub fn table(plan: &Plan) -> Option<Table> {
    // A machine of its own, so that the trackers may listen on all its addresses.
    let network = match Network::loopback(1) {
        Ok(network) => network,
        Err(reason) => {
            say(format_args!("no announces: {reason}"));
            return None;
        }
    };
    let host = network.host(0);
    let dir = TempDir::new("bench-announce");
    // Info-hashes without a zero byte or anything else that could be misread.
    let hex: Vec<String> = (0..SWARMS)
        .map(|i| format!("{:0>40x}", 0x1111_1111 + i))
        .collect();
    let ours = || ours(host);
    let theirs = || opentracker(host, &hex, &dir);
    let mut contestants: Vec<Contestant<'_, Load>> = vec![
        (
            "hivebt-tracker",
            Box::new(|| measure(host, &ours, &hex, false)),
        ),
        (
            "hivebt-tracker, connections kept",
            Box::new(|| measure(host, &ours, &hex, true)),
        ),
    ];
    if let Some(missing) = missing_program("opentracker") {
        say(missing);
    } else {
        contestants.push((
            "opentracker",
            Box::new(|| measure(host, &theirs, &hex, false)),
        ));
    }
    let samples = in_turns(plan.rounds, &contestants);
    let head = [
        "tracker",
        "announces/s",
        "announces per CPU second of the server",
        "beside ours",
        "peak memory (MiB)",
    ];
    let title = format!(
        "Announces over HTTP, {THREADS} clients on the same machine, {SWARMS} swarms, 50 peers asked for"
    );
    let mut table = Table::new(title, &head);
    let ours = median(&samples[0], |load| load.per_cpu_second);
    for ((name, _), samples) in contestants.iter().zip(&samples) {
        let per_cpu_second = median(samples, |load| load.per_cpu_second);
        table.row([
            (*name).to_owned(),
            format!("{:.0}", median(samples, |load| load.per_second)),
            format!("{per_cpu_second:.0}"),
            format!("{:.2}", per_cpu_second / ours),
            mib(median(samples, |load| load.peak as f64)),
        ]);
    }
    Some(table)
}

fn measure(host: &Host, start: &dyn Fn() -> Command, hex: &[String], keep: bool) -> Load {
    let server = Process::start("tracker", start());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let last = hex.last().expect("an info-hash").as_str();
    wait_until_served(&server, host, address, &[last]);
    let hashes: Vec<String> = hex.iter().map(|hex| percent(hex)).collect();
    host.within(|| load_on(&server, &hashes, keep))
}

fn load_on(server: &Process, hashes: &[String], keep: bool) -> Load {
    // What the first announces build up is not measured.
    load::run(PORT, hashes, THREADS, keep, Duration::from_millis(500));
    let before = cpu_time(server.pid()).unwrap_or_default();
    let (answered, seconds) = load::run(PORT, hashes, THREADS, keep, SPAN);
    let cpu = cpu_time(server.pid()).unwrap_or_default() - before;
    Load {
        per_second: answered as f64 / seconds,
        per_cpu_second: answered as f64 / cpu.as_secs_f64(),
        peak: peak_memory(server.pid()).unwrap_or(0),
    }
}

fn ours(host: &Host) -> Command {
    let mut command = host.command(program("tracker"));
    command.args(["--quiet", "-l", &format!("0.0.0.0:{PORT}")]);
    command
}

fn opentracker(host: &Host, hashes: &[String], dir: &TempDir) -> Command {
    let folder = dir.folder("opentracker");
    fs::write(folder.join("allowed"), hashes.join("\n") + "\n").expect("its list");
    let port = PORT.to_string();
    let mut command = host.command("opentracker");
    command.args([
        "-i", "0.0.0.0", "-p", &port, "-P", &port, "-w", "allowed", "-d",
    ]);
    command.arg(folder);
    command
}

//! How fast a payload is checked against its torrent.

use std::path::Path;
use std::process::Command;

use crate::Plan;
use crate::creators::{THREADS, ours};
use crate::measure::{Contestant, Cost, Table, comparison, cost_of};
use crate::support::foreign::{missing_module, missing_program};
use crate::support::ours::program;
use crate::support::tempdir::TempDir;

/// The program that ours are measured against.
const RIVAL: &str = "libtorrent";

const PIECE: u64 = 1 << 20;

/// As many threads as we have, and room for 64 MiB under way. (By itself it takes one thread and 4 MiB.)
const LIBTORRENT: &str = "
import sys, time, libtorrent
session = libtorrent.session({
    'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False, 'listen_interfaces': '',
    'hashing_threads': 2, 'aio_threads': 2, 'checking_mem_usage': 4096,
    'alert_mask': libtorrent.alert.category_t.status_notification})
params = libtorrent.add_torrent_params()
params.ti = libtorrent.torrent_info(sys.argv[1])
params.save_path = sys.argv[2]
begun = time.monotonic()
handle = session.add_torrent(params)
checked = False
while not checked:
    session.wait_for_alert(1000)
    checked = any(isinstance(alert, libtorrent.torrent_checked_alert) for alert in session.pop_alerts())
print('took', time.monotonic() - begun)
sys.exit(not handle.status().is_seeding)";

/// `file` against its torrent.
pub fn table(plan: &Plan, file: &Path) -> Table {
    let dir = TempDir::in_memory("bench-check");
    let torrent = dir.join("check.torrent");
    let mut make = ours(None, PIECE);
    make.args(["--no-announce", "-o"]).arg(&torrent).arg(file);
    cost_of("hivebt-create", make);
    let data = file.parent().expect("it lies in a folder");
    let mut contestants: Vec<Contestant<'_, Cost>> = vec![
        (
            "hivebt-create verify",
            Box::new(|| {
                let mut command = Command::new(program("create"));
                command.args(["verify", "-q", "-t", THREADS]);
                command.arg(&torrent).arg(file);
                cost_of("hivebt-create verify", command)
            }),
        ),
        (
            "hivebt-peer get --recheck",
            Box::new(|| {
                let mut command = Command::new(program("peer"));
                command.args(["get", "--recheck", "-q", "-p", "0", "--bind", "127.0.0.1"]);
                command.arg("-o").arg(data).arg(&torrent);
                cost_of("hivebt-peer get --recheck", command)
            }),
        ),
    ];
    if missing_module("libtorrent").is_none() {
        contestants.push((
            RIVAL,
            Box::new(|| {
                let mut command = Command::new("python3");
                command.args(["-W", "ignore", "-c", LIBTORRENT]);
                command.arg(&torrent).arg(data);
                cost_of(RIVAL, command)
            }),
        ));
    }
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
                    "--hash-check-only=true",
                    "--quiet=true",
                    "-d",
                ]);
                command.arg(data).arg(&torrent);
                cost_of("aria2c", command)
            }),
        ));
    }
    let title = format!(
        "Check a file of {} MiB against its torrent, pieces of 1 MiB",
        plan.mib
    );
    comparison(&title, plan.rounds, plan.mib as f64, RIVAL, &contestants)
}

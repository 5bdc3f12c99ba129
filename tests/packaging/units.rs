//! The units of systemd: valid, hardened, and the programs take what stands in them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::packaging;
use super::support::foreign::missing_program;
use super::support::ours::{LIMIT, Torrent, program};
use super::support::payload;
use super::support::process::{Process, run_ok};
use super::support::say::skip;
use super::support::tempdir::TempDir;

/// Each unit, and its name with an instance where it is a template.
const UNITS: [(&str, &str); 3] = [
    ("hivebt-tracker.service", "hivebt-tracker.service"),
    ("hivebt-peer@.service", "hivebt-peer@tasks.service"),
    (
        "hivebt-seed@.service",
        "hivebt-seed@data-task.torrent.service",
    ),
];

/// The worst that `systemd-analyze security` may say of a unit, in tenths; up to 2 it calls `OK`, and 9.6 is a unit without any hardening.
const EXPOSURE: &str = "20";

fn unit(name: &str) -> String {
    fs::read_to_string(packaging().join("systemd").join(name)).unwrap()
}

#[test]
#[ignore = "needs systemd-analyze; `make interop` runs it"]
fn units_are_valid_and_hardened() {
    if let Some(missing) = missing_program("systemd-analyze") {
        return skip(missing);
    }
    let dir = TempDir::new("units");
    for (name, instance) in UNITS {
        let mut text = unit(name);
        for installed in ["tracker", "peer"] {
            let here = program(installed).display().to_string();
            text = text.replace(&format!("/usr/local/bin/hivebt-{installed}"), &here);
        }
        let path = dir.join(instance);
        fs::write(&path, text).unwrap();
        for arguments in [
            &["verify", "--man=no"][..],
            &["security", "--offline=yes", "--threshold", EXPOSURE],
        ] {
            let mut command = Command::new("systemd-analyze");
            command.args(arguments).arg(&path);
            run_ok(&format!("systemd-analyze {}", arguments[0]), command, LIMIT);
        }
    }
}

/// What a unit starts, with the programs as built, `state` as the folder of states and `options` where operators put theirs.
fn command(unit_name: &str, state: &Path, instance: &str, options: &str) -> Command {
    let text = unit(unit_name);
    let value = |key: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    let full = |text: &str| {
        let text = text.replace("%S", state.to_str().unwrap());
        let text = text.replace("%i", instance);
        text.replace("%f", instance)
    };
    for folder in value("StateDirectory").unwrap_or_default().split(' ') {
        fs::create_dir_all(state.join(full(folder))).unwrap();
    }
    let line = value("ExecStart").unwrap();
    let line = full(line).replace("$HIVEBT_OPTIONS", options);
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let started = words.next().unwrap().rsplit_once("hivebt-").unwrap().1;
    let mut command = Command::new(program(started));
    command.args(words);
    if let Some((name, text)) = value("Environment").and_then(|line| line.split_once('=')) {
        command.env(name, full(text));
    }
    command
}

#[test]
fn programs_take_what_stands_in_the_units() {
    let dir = TempDir::new("units");
    let tracker = command("hivebt-tracker.service", dir.path(), "", "-l 127.0.0.1:0");
    let tracker = Process::start("tracker", tracker);
    tracker.wait_line("listening on http://127.0.0.1:", LIMIT);
    assert!(dir.join("hivebt-tracker/state.lock").exists());

    let options = "-v -p 0 --bind 127.0.0.1 --status 127.0.0.1:0";
    let peer = command("hivebt-peer@.service", dir.path(), "tasks", options);
    let peer = Process::start("peer", peer);
    peer.wait_line("status at http://127.0.0.1:", LIMIT);

    let file = dir.join("data/task.bin");
    payload::file(&file, 100_000, 1);
    let torrent = Torrent::create(&file, "http://127.0.0.1:1/announce", &[]);
    let options = "--json -p 0 --bind 127.0.0.1";
    let path = torrent.file.to_str().unwrap();
    let seed = command("hivebt-seed@.service", dir.path(), path, options);
    let seed = Process::start("seed", seed);
    seed.wait_line("\"started\"", LIMIT);
}

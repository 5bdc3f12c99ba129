//! The sample of `bt_config.json`: every key, and what counts without it.

use std::fs;
use std::process::Command;

use hivebt::proto::config::{Config, KEYS};
use serde_json::Value;

use super::packaging;
use super::support::ours::{LIMIT, program};
use super::support::process::{Process, run_ok};
use super::support::tempdir::TempDir;

#[test]
fn the_sample_has_every_key() {
    let bytes = fs::read(packaging().join("bt_config.json")).unwrap();
    Config::from_bytes(&bytes).unwrap();
    let sample: Value = serde_json::from_slice(&bytes).unwrap();
    for key in KEYS {
        let found = sample[key.section].get(key.name);
        assert!(found.is_some(), "{}.{}", key.section, key.name);
    }
}

#[test]
fn all_three_programs_read_the_sample_and_nothing_changes() {
    let (with, without) = (TempDir::new("sample"), TempDir::new("sample"));
    let sample = fs::read_to_string(packaging().join("bt_config.json")).unwrap();
    // doctor would ask the tracker that it names.
    let asks_nobody = sample.replace("\"http://localhost:8080/announce\"", "null");
    assert_ne!(asks_nobody, sample);
    fs::write(with.join("bt_config.json"), asks_nobody).unwrap();
    let run = |dir: &TempDir, name: &str, arguments: &[&str]| {
        let mut command = Command::new(program(name));
        command.current_dir(dir.path()).args(arguments);
        run_ok(name, command, LIMIT)
    };
    let settings = |dir: &TempDir| {
        let arguments = ["doctor", "--json", "-p", "0", "--bind", "127.0.0.1"];
        let report: Value = serde_json::from_str(&run(dir, "peer", &arguments)).unwrap();
        let mut settings = report["settings"].clone();
        for setting in settings.as_array_mut().unwrap() {
            setting["from"].take();
        }
        settings
    };
    assert_eq!(settings(&with), settings(&without));

    fs::write(with.join("bt_config.json"), sample).unwrap();
    let torrent = |dir: &TempDir| {
        fs::write(dir.join("pay.bin"), "payload").unwrap();
        run(dir, "create", &["--no-date", "pay.bin"]);
        fs::read(dir.join("pay.bin.torrent")).unwrap()
    };
    assert_eq!(torrent(&with), torrent(&without));

    let mut command = Command::new(program("tracker"));
    command.current_dir(with.path()).args(["-l", "127.0.0.1:0"]);
    let tracker = Process::start("tracker", command);
    tracker.wait_line("listening on http://127.0.0.1:", LIMIT);
}

//! Settings as all three programs find them: mistakes in `bt_config.json`, and who wins where several places say something.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::process::Command;

use hivebt::app::peer::settings;
use hivebt::proto::config::{Config, KEYS, Key};
use serde_json::Value;
use support::ours::{LIMIT, program};
use support::process::{Ended, Process, run};
use support::tempdir::TempDir;

/// A program in `dir`, with these variables in its environment besides those of the test.
fn command(dir: &TempDir, name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(dir.path()).args(arguments);
    command.envs(environment.iter().copied());
    command
}

fn ends(dir: &TempDir, name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    run(name, command(dir, name, arguments, environment), LIMIT)
}

/// What `doctor --json` says of settings: value and origin of the one with this option or key.
fn setting(report: &Value, name: &str) -> (String, String) {
    let settings = report["settings"].as_array().unwrap();
    let found = settings
        .iter()
        .find(|setting| setting["option"] == name || setting["key"] == name);
    let found = found.unwrap_or_else(|| panic!("{name} in {report}"));
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    (text("value"), text("from"))
}

fn doctor(dir: &TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Value {
    let all = [
        &["doctor", "--json", "-p", "0", "--bind", "127.0.0.3"],
        arguments,
    ]
    .concat();
    let ended = ends(dir, "peer", &all, environment);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn all_three_programs_tell_a_mistake_with_its_line_and_column() {
    let dir = TempDir::new("config");
    fs::write(dir.join("pay.bin"), "payload").unwrap();
    for (text, words) in [
        (
            "{\n  \"seeder\": {\"max_upload_rat\": 1}\n}",
            "line 2, column 14: there is no key `seeder.max_upload_rat`; the nearest is `seeder.max_upload_rate`",
        ),
        (
            "{\"network\": {},\n\n \"trackr\": {}}",
            "line 3, column 2: there is no section `trackr`; the nearest is `tracker`",
        ),
        (
            "{\"tracker\": {\"announce_interval\":\n\t90000}}",
            "line 2, column 2: `tracker.announce_interval` does not take `90000`; it takes seconds, 1 to 86400",
        ),
        (
            "{\"network\": {\"dht_enabled\": \"yes\"}}",
            "line 1, column 29: `network.dht_enabled` does not take `\"yes\"`; it takes true or false",
        ),
        ("{\"seeder\": {},}", "line 1, column 15: not valid JSON"),
    ] {
        fs::write(dir.join("bt_config.json"), text).unwrap();
        for (name, arguments) in [
            ("create", &["pay.bin"][..]),
            ("tracker", &["-l", "127.0.0.1:0"]),
            ("peer", &["seed", "pay.bin.torrent"]),
            ("peer", &["doctor"]),
        ] {
            let ended = ends(&dir, name, arguments, &[]);
            assert_eq!(ended.code, 3, "{name}: {}", ended.stderr);
            let begin = "error: cannot read the configuration `bt_config.json`: ";
            assert!(ended.stderr.starts_with(begin), "{}", ended.stderr);
            assert!(ended.stderr.contains(words), "{}", ended.stderr);
        }
    }
}

#[test]
fn the_command_line_wins_over_the_environment_which_wins_over_the_file() {
    let dir = TempDir::new("config");
    let text = r#"{"seeder": {"max_upload_rate": 1048576, "max_download_rate": 2097152, "cache_size": 8388608},
                   "network": {"max_connections": 60, "bind": "127.0.0.9", "send_buffer": 65536}}"#;
    fs::write(dir.join("bt_config.json"), text).unwrap();
    let environment = [
        ("HIVEBT_MAX_DOWNLOAD", "3M"),
        ("HIVEBT_MAX_PEERS", "70"),
        ("HIVEBT_BIND", "127.0.0.8"),
        ("HIVEBT_OUTPUT", ""),
    ];
    let report = doctor(&dir, &["--max-peers", "80"], &environment);
    assert_eq!(report["configuration"], "bt_config.json");
    for (name, value, from) in [
        ("--max-upload", "1.0 MiB/s", "configuration"),
        ("--max-download", "3.0 MiB/s", "HIVEBT_MAX_DOWNLOAD"),
        ("--max-peers", "80", "command line"),
        ("network.bind", "127.0.0.3", "command line"),
        ("seeder.cache_size", "8.0 MiB", "configuration"),
        ("network.send_buffer", "64.0 KiB", "configuration"),
        ("network.receive_buffer", "the kernel's", "default"),
        ("--output", ".", "default"),
        ("--max-uploads", "follows the link", "default"),
    ] {
        let wanted = (value.to_owned(), from.to_owned());
        assert_eq!(setting(&report, name), wanted, "{name}");
    }
    fs::write(
        dir.join("other.json"),
        r#"{"network": {"max_connections": 61}}"#,
    )
    .unwrap();
    let report = doctor(&dir, &[], &[("HIVEBT_CONFIG", "other.json")]);
    assert_eq!(report["configuration"], "other.json");
    assert_eq!(setting(&report, "--max-peers").0, "61");
    let named = ["--config", "bt_config.json"];
    let report = doctor(&dir, &named, &[("HIVEBT_CONFIG", "other.json")]);
    assert_eq!(setting(&report, "--max-peers").0, "60");
}

#[test]
fn a_variable_that_makes_no_sense_is_named() {
    let dir = TempDir::new("config");
    for (name, variable, value, arguments, code) in [
        ("peer", "HIVEBT_PORT", "soon", &["doctor"][..], 2),
        ("peer", "HIVEBT_CACHE", "much", &["doctor"], 2),
        ("tracker", "HIVEBT_LISTEN", "nowhere", &[], 2),
        ("create", "HIVEBT_ANNOUNCE", "ftp://x/", &["."], 2),
        ("peer", "HIVEBT_CONFIG", "none.json", &["doctor"], 6),
    ] {
        let ended = ends(&dir, name, arguments, &[(variable, value)]);
        assert_eq!(ended.code, code, "{}", ended.stderr);
        assert!(ended.stderr.contains(value), "{}", ended.stderr);
        if code == 2 {
            assert!(ended.stderr.contains(variable), "{}", ended.stderr);
        }
    }
}

#[test]
fn tracker_and_creator_hear_the_environment_too() {
    let dir = TempDir::new("config");
    fs::write(dir.join("pay.bin"), "payload").unwrap();
    let announce = [("HIVEBT_ANNOUNCE", "http://variable/announce")];
    let shown = |arguments: &[&str]| {
        let made = ends(&dir, "create", arguments, &announce);
        assert_eq!(made.code, 0, "{}", made.stderr);
        ends(&dir, "create", &["show", "--json", "pay.bin.torrent"], &[]).stdout
    };
    assert!(shown(&["-f", "pay.bin"]).contains("http://variable/announce"));
    let named = shown(&["-f", "-a", "http://option/announce", "pay.bin"]);
    assert!(named.contains("http://option/announce") && !named.contains("variable"));

    let listen = [("HIVEBT_LISTEN", "127.0.0.79:0")];
    let tracker = Process::start("tracker", command(&dir, "tracker", &[], &listen));
    tracker.wait_for("where it listens", LIMIT, |_, line| {
        line.contains("listening on http://127.0.0.79:")
            .then_some(())
    });
}

#[test]
fn what_the_configuration_switches_on_is_shown_with_its_origin() {
    let dir = TempDir::new("config");
    let text = r#"{"network": {"dht_enabled": true, "upnp_enabled": false}}"#;
    fs::write(dir.join("bt_config.json"), text).unwrap();
    let report = doctor(&dir, &[], &[]);
    for (name, value) in [("--dht", "true"), ("--port-mapping", "false")] {
        let (shown, from) = setting(&report, name);
        assert_eq!((&*shown, &*from), (value, "configuration"), "{name}");
    }
}

#[test]
fn the_readme_lists_every_key_and_variable_and_its_sample_is_valid() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(path).unwrap();
    let sample = readme.split("```json\n").nth(1).unwrap();
    let sample = sample.split("```").next().unwrap();
    Config::from_bytes(sample.as_bytes()).unwrap();
    for Key { section, name, .. } in KEYS {
        assert!(readme.contains(&format!("| `{section}` | ")), "{section}");
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
    for (variable, option) in settings::VARIABLES {
        assert!(readme.contains(&format!("`{variable}`")), "{variable}");
        assert!(readme.contains(&format!("`{option} ")), "{option}");
    }
}

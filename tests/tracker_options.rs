//! How the tracker is told what to do: options, environment, configuration, and mistakes in them.

#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::process::Command;

use hivebt::base::id::InfoHash;
use hivebt::proto::tracker::Event;
use support::announce::{Site, peer};
use support::ours::{LIMIT, program};
use support::process::{Ended, run};
use support::tempdir::TempDir;

const HASH: InfoHash = InfoHash([0xa1; 20]);

fn tracker(options: &[&str]) -> Ended {
    let mut command = Command::new(program("tracker"));
    command.args(options);
    run("hivebt-tracker", command, LIMIT)
}

#[test]
fn mistakes_of_the_operator_are_told_with_the_right_code() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let dir = TempDir::new("mistakes");
    let bad = dir.join("bad");
    std::fs::write(&bad, "# fine\nnot a hash\n").unwrap();
    let (bad, gone) = (
        bad.to_str().unwrap().to_owned(),
        dir.join("gone").to_str().unwrap().to_owned(),
    );
    for (options, code, told) in [
        (
            vec!["--listen", taken.as_str()],
            7,
            vec!["cannot listen at", taken.as_str()],
        ),
        (
            vec!["--listen", "203.0.113.1:1"],
            7,
            vec!["cannot listen at", "203.0.113.1:1"],
        ),
        (
            vec!["--interval", "x"],
            2,
            vec!["`--interval`", "seconds from 1"],
        ),
        (vec!["--policy", "best"], 2, vec!["random, near or stage"]),
        (
            vec!["--zones", bad.as_str()],
            2,
            vec!["--zones", "--policy near"],
        ),
        (
            vec!["--policy", "near", "--zones", bad.as_str()],
            3,
            vec![bad.as_str(), "line 2", "not a block"],
        ),
        (
            vec!["--map", "127.0.0.1=no.such.host.invalid"],
            7,
            vec!["cannot find the address of `no.such.host.invalid`"],
        ),
        (vec!["stray"], 2, vec!["stray"]),
        (
            vec!["--allow", bad.as_str()],
            3,
            vec![bad.as_str(), "line 2"],
        ),
        (vec!["--deny", gone.as_str()], 6, vec![gone.as_str()]),
        (vec!["--config", gone.as_str()], 6, vec![gone.as_str()]),
    ] {
        let ended = tracker(&options);
        assert_eq!(ended.code, code, "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        for word in told {
            assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
        }
    }
}

#[test]
fn the_configuration_counts_where_the_command_line_says_nothing() {
    let dir = TempDir::new("tracker-config");
    let file = dir.join("bt_config.json");
    let text = r#"{"tracker":{"port":0,"announce_interval":2,"max_peers_per_torrent":3,"cleanup_interval":60}}"#;
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(program("tracker"));
    command.current_dir(dir.path());
    let site = Site::running(command, 1);
    let port = site.at[0].port();
    assert_ne!(port, 8080);
    let site = Site {
        process: site.process,
        at: vec![SocketAddr::from(([127, 0, 0, 1], port))],
    };
    for n in 0..10 {
        let reply = site
            .announce("127.0.0.1", &peer(HASH, n, 9, Event::Started))
            .unwrap();
        assert!(reply.interval <= 2 && reply.peers.len() <= 3);
    }
}

#[test]
fn help_and_version_are_printed_and_nothing_else_happens() {
    let help = tracker(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    for option in [
        "--listen",
        "--interval",
        "--max-peers",
        "--cleanup",
        "--allow",
        "--deny",
        "--trust-proxy",
        "--keys",
        "--new-key",
        "--accounts",
        "--min-ratio",
        "--ratio-grace",
        "--max-speed",
        "--state",
        "--state-peers",
        "--torrents",
        "--map",
        "--policy",
        "--zones",
        "--seeders-past",
        "--max-rate",
        "--max-memory",
        "--max-per-address",
        "--show-peers",
        "--full-scrape",
        "--max-connections",
        "--max-connections-per-address",
    ] {
        assert!(help.stdout.contains(option), "{option}");
    }
    let version = tracker(&["-V"]);
    assert_eq!(
        version.stdout,
        format!("hivebt-tracker {}\n", env!("CARGO_PKG_VERSION"))
    );
}

//! Runs that nobody watches: when they end, with which code, and what they say.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, Tracker, program};
use support::process::{Ended, Process, run};
use support::tempdir::TempDir;
use support::{http, payload, tree};

/// A tracker's reply without peers.
const NOBODY: &[u8] = b"d8:intervali1800e5:peers0:e";

fn torrent(dir: &TempDir, announce: &str) -> Torrent {
    let file = dir.join("from/payload.bin");
    payload::file(&file, 600_000, 1);
    Torrent::create(&file, announce, &[])
}

/// Our tracker with a seeder on it that was started with `options`.
fn swarm(dir: &TempDir, options: &[&str]) -> (Tracker, Torrent, Peer) {
    let tracker = Tracker::start(&Host::local(1), 0, &["--show-peers", "127.0.0.0/8"]);
    let torrent = torrent(dir, &tracker.url());
    let seeder = Peer::seed(&Host::local(2), &torrent.file, &torrent.parent, options);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    (tracker, torrent, seeder)
}

/// `hivebt-peer VERB` as a script runs it, from `127.0.0.HOST`.
fn peer(verb: &str, host: u8, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("peer"));
    command.args([verb, "-p", "0", "--bind", &format!("127.0.0.{host}")]);
    command.args(arguments);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Downloads into a folder of its own, and has to succeed.
fn fetch(dir: &TempDir, torrent: &Torrent, host: u8, options: &[&str]) -> Ended {
    let to = dir.folder(format!("to {host}"));
    let arguments = [options, &["-o", text(&to), text(&torrent.file)]].concat();
    let ended = run("get", peer("get", host, &arguments), LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    tree::assert_same(&torrent.payload(), &to.join("payload.bin"));
    ended
}

#[test]
fn wait_ends_when_the_tracker_has_counted_enough_downloads() {
    let dir = TempDir::new("cron");
    let (_tracker, torrent, _seeder) = swarm(&dir, &[]);
    let file = text(&torrent.file);
    let waiting = peer("wait", 9, &["--complete", "2", "--json", file]);
    let mut waiting = Process::start("wait", waiting);
    waiting.wait_for("the first answer", LIMIT, |_, line| {
        line.contains("\"event\":\"waiting\"").then_some(())
    });
    assert_eq!(fetch(&dir, &torrent, 3, &["-q"]).stderr, "");
    let once = ["--complete", "2", "--timeout", "0", "-q", file];
    assert_eq!(run("wait", peer("wait", 9, &once), LIMIT).code, 5);
    fetch(&dir, &torrent, 4, &[]);
    let ended = waiting.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let last: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "complete");
    assert_eq!(
        (&last["completed"], &last["wanted"]),
        (&2.into(), &2.into())
    );
    assert_eq!(last["info_hash"], *torrent.info_hash);
    let ended = run(
        "wait",
        peer("wait", 9, &["--complete", "2", "-q", file]),
        LIMIT,
    );
    assert_eq!(
        (ended.code, ended.stdout, ended.stderr),
        (0, String::new(), String::new())
    );
}

#[test]
fn wait_asks_a_tracker_over_udp_as_well() {
    let dir = TempDir::new("cron");
    let (tracker, torrent, _seeder) = swarm(&dir, &[]);
    fetch(&dir, &torrent, 3, &["-q"]);
    let over_udp = Torrent::create(
        &torrent.payload(),
        &format!("udp://{}", tracker.address),
        &[],
    );
    assert_eq!(over_udp.info_hash, torrent.info_hash);
    for (wanted, code) in [("1", 0), ("2", 5)] {
        let arguments = ["--complete", wanted, "--timeout", "0", text(&over_udp.file)];
        let ended = run("wait", peer("wait", 9, &arguments), LIMIT);
        assert_eq!(ended.code, code, "{}", ended.stderr);
    }
}

#[test]
fn wait_names_the_laggards_when_it_gives_up() {
    let dir = TempDir::new("cron");
    let (tracker, torrent, mut seeder) = swarm(&dir, &[]);
    fetch(&dir, &torrent, 3, &[]);
    seeder.process.stop(LIMIT);
    let laggard = Peer::get(&Host::local(5), &torrent.file, &dir.folder("to 5"), &[]);
    let port = laggard.wait_event("started", LIMIT)["port"].to_string();
    let mut scraped = None;
    while scraped != Some((0, 1)) {
        assert!(!laggard.process.has_ended());
        scraped = tracker.scrape(&torrent.info_hash);
    }
    let arguments = [
        "--complete",
        "2",
        "--timeout",
        "1",
        "-q",
        text(&torrent.file),
    ];
    let ended = run("wait", peer("wait", 9, &arguments), LIMIT);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (5, ""),
        "{}",
        ended.stderr
    );
    let wanted = format!(
        "error: cannot wait for `payload.bin`: 1 of 2 downloads are completed in the time that `--timeout` gives; \
         under way: 127.0.0.5:{port} at 0 %\n"
    );
    assert_eq!(ended.stderr, wanted);
}

#[test]
fn wait_says_what_is_known_of_a_foreign_tracker_and_what_refuses() {
    let dir = TempDir::new("cron");
    let scraped = "d5:filesd20:HASHd8:completei3e10:downloadedi1e10:incompletei2eeee";
    let (address, _requests) = http::serve(b"d14:failure reason3:whye".to_vec());
    let refused = torrent(&dir, &format!("http://{address}/announce"));
    let arguments = ["--complete", "2", text(&refused.file)];
    let ended = run("wait", peer("wait", 9, &arguments), LIMIT);
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the tracker refuses: why"),
        "{}",
        ended.stderr
    );

    let hash: Vec<u8> = (0..20)
        .map(|n| u8::from_str_radix(&refused.info_hash[2 * n..2 * n + 2], 16).unwrap())
        .collect();
    let (before, after) = scraped.split_once("HASH").unwrap();
    let body = [before.as_bytes(), &hash, after.as_bytes()].concat();
    let (address, requests) = http::serve(body);
    let known = torrent(&dir, &format!("http://{address}/announce"));
    assert_eq!(known.info_hash, refused.info_hash);
    let arguments = ["--complete", "2", "--timeout", "0", text(&known.file)];
    let ended = run("wait", peer("wait", 9, &arguments), LIMIT);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    let told = "1 of 2 downloads are completed in the time that `--timeout` gives; \
                2 are under way, and the tracker does not say how far they are";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    let first = requests.recv_timeout(LIMIT).unwrap();
    assert!(first.starts_with("GET /scrape?info_hash="), "{first}");
}

#[test]
fn a_seeder_ends_when_so_many_others_are_complete() {
    let dir = TempDir::new("cron");
    let (_tracker, torrent, mut seeder) = swarm(&dir, &["--until-peers", "2"]);
    fetch(&dir, &torrent, 3, &[]);
    assert!(!seeder.process.has_ended());
    fetch(&dir, &torrent, 4, &[]);
    let ended = seeder.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn a_seeder_that_waits_for_others_in_vain_is_exit_5() {
    let dir = TempDir::new("cron");
    let (_tracker, _torrent, mut seeder) = swarm(&dir, &["--until-peers", "1", "--timeout", "2"]);
    let ended = seeder.process.wait(LIMIT);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    let told = "0 of 1 other peers are complete in the time that `--timeout` gives";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
}

#[test]
fn a_download_seeds_for_its_time_or_its_ratio_and_ends() {
    let dir = TempDir::new("cron");
    let (_tracker, torrent, _seeder) = swarm(&dir, &[]);
    for (host, option, value) in [(3, "--seed-for", "1"), (4, "--seed-ratio", "0")] {
        fetch(&dir, &torrent, host, &[option, value]);
    }
}

#[test]
fn what_is_too_small_to_share_is_said_and_is_exit_8() {
    let dir = TempDir::new("cron");
    payload::file(&dir.join("small.bin"), 1000, 1);
    payload::file(&dir.join("large.bin"), 300_000, 2);
    let tracker = ["--tracker", "127.0.0.1:0", "--min-size", "100K"];
    let share = |more: &[&str]| {
        let arguments = [&tracker, more].concat();
        let mut command = peer("share", 2, &arguments);
        command.current_dir(dir.path());
        command
    };
    let quiet = run("share", share(&["-q", "small.bin"]), LIMIT);
    assert_eq!(
        (quiet.code, quiet.stdout, quiet.stderr),
        (8, String::new(), String::new())
    );
    let plain = run("share", share(&["small.bin"]), LIMIT);
    assert_eq!((plain.code, plain.stdout.as_str()), (8, ""));
    assert!(
        plain.stderr.contains("ordinary transfer will do"),
        "{}",
        plain.stderr
    );

    let both = share(&["--json", "-q", "small.bin", "large.bin"]);
    let mut sharing = Process::start("share", both);
    let event = |name: &'static str| {
        move |_, line: &str| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["event"] == name).then_some(event)
        }
    };
    let small = sharing.wait_for("what is small", LIMIT, event("small"));
    assert_eq!(
        (&small["path"], &small["total_length"]),
        (&"small.bin".into(), &1000.into())
    );
    assert_eq!(
        (&small["min_size"], &small["transfer"]),
        (&102_400.into(), &"ordinary".into())
    );
    let shared = sharing.wait_for("what is shared", LIMIT, event("shared"));
    assert!(
        shared["url"]
            .as_str()
            .unwrap()
            .ends_with("/large.bin.torrent"),
        "{shared}"
    );
    assert_eq!(sharing.stop(LIMIT).code, 0);
}

#[test]
fn a_download_that_nobody_helps_ends_at_its_deadlines() {
    let dir = TempDir::new("cron");
    let (address, _requests) = http::serve(NOBODY.to_vec());
    let torrent = torrent(&dir, &format!("http://{address}/announce"));
    for option in ["--timeout", "--stall-timeout"] {
        let to = dir.folder(option);
        let arguments = [option, "1", "-q", "-o", text(&to), text(&torrent.file)];
        let ended = run("get", peer("get", 3, &arguments), LIMIT);
        assert_eq!((ended.code, ended.stdout.as_str()), (5, ""), "{option}");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains(option), "{}", ended.stderr);
    }
}

//! Signals at every stage of the programs' lives: with which code they end, what they say, what they leave behind, and that the next start goes on.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, Tracker, program};
use support::process::{Ended, Process, cpu_time};
use support::station::Station;
use support::tempdir::TempDir;
use support::{payload, tree};

/// Nobody listens there.
const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

/// A file without bytes on the disk, which takes long to hash all the same.
fn hollow(path: &Path, bytes: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().set_len(bytes).unwrap();
}

/// Sends `signal` while the process is at work, and gives its end.
fn signal_at_work(process: &mut Process, signal: Signal) -> Ended {
    while cpu_time(process.pid()).is_some_and(|time| time < Duration::from_millis(100)) {
        assert!(!process.has_ended(), "too soon\n{}", process.tail());
        thread::yield_now();
    }
    process.signal(signal);
    process.wait(LIMIT)
}

fn names(folder: &Path) -> Vec<String> {
    let files = tree::files(folder).into_iter();
    files.map(|path| path.display().to_string()).collect()
}

#[test]
fn a_creator_that_is_stopped_leaves_nothing() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let dir = TempDir::new("signals");
        hollow(&dir.join("data"), 1 << 40);
        let mut command = Command::new(program("create"));
        command.arg("--no-announce").arg(dir.join("data"));
        let ended = signal_at_work(&mut Process::start("create", command), signal);
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""));
        assert_eq!(names(dir.path()), ["data"]);
    }
}

#[test]
fn a_peer_that_is_stopped_while_it_checks_has_changed_nothing() {
    let dir = TempDir::new("signals");
    let file = dir.join("from/data");
    hollow(&file, 4 << 30);
    // Holes are not read, so each piece has something in it.
    let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
    for piece in 0..512 {
        open.write_all_at(&[1], piece << 23).unwrap();
    }
    let torrent = Torrent::create(&file, NO_TRACKER, &["-l", "8M"]);
    for (verb, code) in [("get", 143), ("seed", 0)] {
        let mut command = Peer::command(&Host::local(1), verb);
        let place = if verb == "get" { "-o" } else { "-d" };
        command.arg(place).arg(&torrent.parent).arg(&torrent.file);
        let ended = signal_at_work(&mut Process::start(verb, command), Signal::TERM);
        assert_eq!(ended.code, code, "{verb}: {}", ended.stderr);
        assert!(!ended.stdout.contains("\"checked\""), "{}", ended.stdout);
        assert_eq!(fs::metadata(&file).unwrap().len(), torrent.bytes);
        assert!(!file.with_extension("part").exists());
    }
}

#[test]
fn a_torrent_that_never_comes_can_be_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.torrent", silent.local_addr().unwrap());
    let wait = ["wait", "--complete", "1"];
    for (words, signal, code) in [(&["get"][..], Signal::INT, 130), (&wait, Signal::TERM, 143)] {
        let dir = TempDir::new("signals");
        let mut command = Command::new(program("peer"));
        command.args(words).arg(&url).current_dir(dir.path());
        let mut process = Process::start(words[0], command);
        // Until the end, or it would have an answer: none.
        let _asked = silent.accept().unwrap();
        process.signal(signal);
        assert_eq!(process.wait(LIMIT).code, code);
        assert!(names(dir.path()).is_empty());
    }
}

/// A seeder that sends so slowly that there is time for everything, and where it listens.
fn slow_seeder(dir: &TempDir, rate: &str, tracker: &str) -> (Torrent, Peer, String) {
    let folder = dir.join("from/folder");
    payload::mixed_folder(&folder, 6 << 20, 150, 5);
    let torrent = Torrent::create(&folder, tracker, &["-l", "32K"]);
    let (host, options) = (Host::local(1), ["--max-upload", rate]);
    let seeder = Peer::seed(&host, &torrent.file, &torrent.parent, &options);
    let address = seeder.serving_address(&host);
    (torrent, seeder, address)
}

#[test]
fn a_download_that_is_interrupted_again_and_again_arrives() {
    let dir = TempDir::new("signals");
    // No tracker: it would tell each of them of all that were killed before, and a short life ends before the last of those has been tried.
    let (torrent, _seeder, address) = slow_seeder(&dir, "6M", NO_TRACKER);
    let to = dir.folder("to");
    let mut rng = Rng::with_seed(15);
    let mut codes = Vec::new();
    loop {
        let mut get = Peer::get(&Host::local(2), &torrent.file, &to, &["--peer", &address]);
        // Wherever it may be by then: before its start, hashing, connecting, downloading, publishing.
        thread::sleep(Duration::from_millis(rng.u64(..400)));
        let signal = [Signal::TERM, Signal::INT, Signal::KILL][rng.usize(..3)];
        get.process.signal(signal);
        let ended = get.process.wait(LIMIT);
        codes.push(ended.code);
        match ended.code {
            0 => break,
            137 => {}
            // Before it listens for signals they end it, and there is nothing to say.
            130 | 143 if ended.stderr.is_empty() => {}
            130 | 143 => assert!(
                ended
                    .stderr
                    .ends_with("interrupted; the same command continues\n"),
                "{}",
                ended.stderr
            ),
            code => panic!("exit {code}: {}", ended.stderr),
        }
    }
    tree::assert_same(&torrent.payload(), &to.join("folder"));
    assert!(codes.len() > 3, "{codes:?}");
}

#[test]
fn a_hangup_ends_no_download_and_a_second_interrupt_changes_nothing() {
    let dir = TempDir::new("signals");
    let (torrent, _seeder, address) = slow_seeder(&dir, "3M", NO_TRACKER);
    let to = dir.folder("to");
    let mut get = Peer::get(&Host::local(2), &torrent.file, &to, &["--peer", &address]);
    get.wait_percent(10.0, LIMIT);
    get.process.signal(Signal::HUP);
    get.wait_percent(40.0, LIMIT);
    (0..3).for_each(|_| get.process.signal(Signal::INT));
    let ended = get.process.wait(LIMIT);
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    let mut get = Peer::get(&Host::local(2), &torrent.file, &to, &["--peer", &address]);
    let checked = get.wait_event("checked", LIMIT);
    assert!(checked["kept"].as_u64() > Some(0), "{checked}");
    assert_eq!(checked["hashed"], 0, "the state was saved: {checked}");
    assert_eq!(get.process.wait(LIMIT).code, 0);
    tree::assert_same(&torrent.payload(), &to.join("folder"));
}

#[test]
fn a_long_lived_run_that_is_killed_at_any_time_goes_on() {
    let dir = TempDir::new("signals");
    let tracker = Tracker::start(&Host::local(1), 0, &[]);
    let (torrent, seeder, _) = slow_seeder(&dir, "6M", &tracker.url());
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    let (list, to) = (dir.folder("list"), dir.folder("to"));
    fs::copy(&torrent.file, list.join("x.torrent")).unwrap();
    let start = || {
        let mut command = Peer::command(&Host::local(2), "run");
        command.args(["--status", "127.0.0.1:0"]);
        command.arg("--watch").arg(&list).arg("-o").arg(&to);
        Station::start(command)
    };
    let mut rng = Rng::with_seed(9);
    for n in 0..6 {
        let mut station = start();
        thread::sleep(Duration::from_millis(rng.u64(..300)));
        let signal = [Signal::TERM, Signal::KILL][n % 2];
        station.process.signal(signal);
        let ended = station.process.wait(LIMIT);
        assert_eq!(ended.code, [0, 137][n % 2], "{}", ended.stderr);
    }
    start().wait_states(&["seeding"]);
    tree::assert_same(&torrent.payload(), &to.join("folder"));
}

#[test]
fn a_tracker_that_is_stopped_while_it_serves_loses_no_count() {
    let dir = TempDir::new("signals");
    let state = dir.join("state");
    let options = ["--state", state.to_str().unwrap(), "--state-peers"];
    let hash = "%01".repeat(20);
    let mut completed = 0;
    let mut rng = Rng::with_seed(3);
    for n in 0..5_u32 {
        let mut tracker = Tracker::start(&Host::local(1), 0, &options);
        let scraped = scrape(&tracker, &hash);
        assert_eq!(scraped, completed, "after {n} restarts");
        for peer in 0..rng.u32(10..60) {
            let id = format!("-XX0001-{:012}", n * 1000 + peer);
            for event in ["started&left=1", "completed&left=0"] {
                let path = format!(
                    "/announce?info_hash={hash}&peer_id={id}&port=1000&uploaded=0&downloaded=1&event={event}"
                );
                assert_eq!(tracker.get(&path).unwrap().0, 200);
            }
            completed += 1;
        }
        let signal = if n.is_multiple_of(2) {
            Signal::TERM
        } else {
            Signal::INT
        };
        // In the middle of everything: with half a question, and more of them.
        let half = std::net::TcpStream::connect(tracker.address).unwrap();
        std::io::Write::write_all(&mut (&half), b"GET /announce?info").unwrap();
        (0..2).for_each(|_| tracker.process.signal(signal));
        let ended = tracker.process.wait(LIMIT);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let lines = ended.stderr.lines();
        assert!(
            lines.clone().all(|line| line.starts_with("listening on ")),
            "{}",
            ended.stderr
        );
    }
}

/// The downloads that it has counted.
fn scrape(tracker: &Tracker, hash: &str) -> u32 {
    let (_, body) = tracker.get(&format!("/scrape?info_hash={hash}")).unwrap();
    let text = String::from_utf8_lossy(&body).into_owned();
    let number = text
        .split_once("10:downloadedi")
        .map_or("0", |(_, rest)| rest);
    number.split('e').next().unwrap().parse().unwrap()
}

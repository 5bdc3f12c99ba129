//! `hivebt-peer doctor` beside our tracker, another's, and none: what it finds, what it advises, and how it ends.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, Tracker, program};
use support::process::{Ended, run};
use support::tempdir::TempDir;
use support::{http, payload};

/// Where the doctor sits.
const HERE: &str = "127.0.0.3";

fn doctor(arguments: &[&str]) -> Ended {
    let mut command = Command::new(program("peer"));
    command.args(["doctor", "-p", "0", "--bind", HERE]);
    command.args(arguments);
    run("doctor", command, LIMIT)
}

/// Status and text of each check of that name.
fn checks(arguments: &[&str], name: &str) -> (i32, Vec<(String, String)>) {
    let ended = doctor(&[arguments, &["--json"]].concat());
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["exit"], ended.code);
    let all = report["checks"].as_array().unwrap().clone();
    let count = |status: &str| all.iter().filter(|c| c["status"] == status).count();
    assert_eq!(report["problems"], count("problem"));
    assert_eq!(report["warnings"], count("warning"));
    let of_name = all.iter().filter(|check| check["check"] == name);
    let told = of_name.map(|check| {
        let advised = check["fix"].is_string();
        assert_eq!(advised, check["status"] != "ok", "{check}");
        let status = check["status"].as_str().unwrap().to_owned();
        (status, check.to_string())
    });
    (ended.code, told.collect())
}

/// The only one of that name.
fn check(arguments: &[&str], name: &str) -> (i32, String, String) {
    let (code, mut told) = checks(arguments, name);
    assert_eq!(told.len(), 1, "{told:?}");
    let (status, text) = told.remove(0);
    (code, status, text)
}

fn torrent(dir: &TempDir, announce: &str) -> Torrent {
    let file = dir.join("from/payload.bin");
    payload::file(&file, 300_000, 1);
    Torrent::create(&file, announce, &[])
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn where_all_is_well_it_says_so_and_ends_with_0() {
    let dir = TempDir::new("doctor");
    let tracker = Tracker::start(&Host::local(1), 0, &[]);
    let torrent = torrent(&dir, &tracker.url());
    let to = dir.folder("to");
    let ended = doctor(&["-o", text(&to), text(&torrent.file)]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let at = tracker.address;
    for words in [
        "configuration file: none",
        &format!("  --output                           {}", to.display()),
        &format!("ok       torrent       payload.bin: {}", torrent.info_hash),
        &format!("ok       tracker       `http://{at}/announce` answers in "),
        &format!("ok       tracker       `udp://{at}` answers in "),
        "ok       clock         within 1 s of the tracker's",
        &format!("warning  address       the tracker sees {HERE}, "),
        &format!("ok       port          the tracker reaches {HERE} port "),
        "ok       folder        ",
        "293.0 KiB are needed",
        "ok       lock          ",
        "ok       descriptors   ",
    ] {
        assert!(ended.stdout.contains(words), "{words}\n{}", ended.stdout);
    }
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0, "it leaves nothing");
    assert_eq!(
        tracker.scrape(&torrent.info_hash),
        Some((0, 0)),
        "it takes no part"
    );
    let quiet = doctor(&["-q", "-o", text(&to), text(&torrent.file)]);
    assert_eq!(
        (quiet.code, quiet.stdout, quiet.stderr),
        (0, String::new(), String::new())
    );
}

#[test]
fn a_tracker_alone_can_be_asked_about() {
    let tracker = Tracker::start(&Host::local(1), 0, &[]);
    for url in [tracker.url(), format!("http://{}", tracker.address)] {
        let (code, told) = checks(&[&url], "tracker");
        assert_eq!((code, told.len()), (0, 2), "{told:?}");
        assert!(told.iter().all(|(status, _)| status == "ok"), "{told:?}");
    }
    let udp = format!("udp://{}", tracker.address);
    let (code, told) = checks(&[&udp], "tracker");
    assert!(
        code == 0 && told.len() == 1 && told[0].0 == "ok",
        "{told:?}"
    );
    let (_, status, told) = check(&[&udp], "port");
    assert!(status == "ok", "it speaks HTTP at the same port: {told}");
    let allow = TempDir::new("doctor");
    fs::write(allow.join("allow"), "").unwrap();
    let closed = Tracker::start(&Host::local(1), 0, &["--allow", text(&allow.join("allow"))]);
    let (code, told) = checks(&[&closed.url()], "tracker");
    assert!(
        code == 0 && told[0].1.contains("refuses a torrent that nobody has"),
        "{told:?}"
    );
    let torrent = torrent(&allow, &closed.url());
    let (code, told) = checks(&[text(&torrent.file)], "tracker");
    assert_eq!((code, told[0].0.as_str()), (7, "problem"), "{told:?}");
}

#[test]
fn a_tracker_that_is_not_there_is_a_problem_of_the_network() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/announce", gone.local_addr().unwrap());
    drop(gone);
    let (code, status, told) = check(&[&url], "tracker");
    assert_eq!((code, status.as_str()), (7, "problem"));
    assert!(
        told.contains(&url) && told.contains("start the tracker"),
        "{told}"
    );
}

#[test]
fn a_port_that_the_tracker_cannot_reach_is_a_problem() {
    // Others are told an address at which nobody listens.
    let tracker = Tracker::start(&Host::local(1), 0, &["--map", "127.0.0.3=127.0.0.99"]);
    let (code, status, told) = check(&[&tracker.url()], "port");
    assert_eq!((code, status.as_str()), (7, "problem"), "{told}");
    assert!(told.contains("cannot reach 127.0.0.99 port "), "{told}");
}

#[test]
fn no_free_port_is_a_problem() {
    let taken = std::net::TcpListener::bind((HERE, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, status, told) = check(&["-p", &port], "port");
    assert_eq!((code, status.as_str()), (7, "problem"), "{told}");
    assert!(told.contains(&port) && told.contains("--port"), "{told}");
}

#[test]
fn of_a_foreign_tracker_it_says_what_cannot_be_known() {
    let (address, requests) = http::serve(b"d8:intervali1800e5:peers0:e".to_vec());
    let url = format!("http://{address}/announce");
    let (code, status, told) = check(&[&url], "port");
    assert_eq!((code, status.as_str()), (0, "warning"), "{told}");
    assert!(told.contains("it is not known whether"), "{told}");
    let asked: Vec<_> = requests.try_iter().collect();
    assert!(
        asked[0].contains("event=stopped"),
        "nobody is entered: {asked:?}"
    );
}

#[test]
fn a_folder_that_cannot_be_written_to_is_a_problem_of_this_host() {
    let (code, status, told) = check(&["-o", "/dev/null"], "folder");
    assert_eq!((code, status.as_str()), (1, "problem"), "{told}");
    assert!(
        told.contains("/dev/null") && told.contains("--output"),
        "{told}"
    );
}

#[test]
fn too_little_room_is_a_problem_and_says_how_much_is_missing() {
    let dir = TempDir::new("doctor");
    // 8 TiB in pieces of 128 MiB.
    let (length, piece) = (8_u64 << 40, 128_u64 << 20);
    let hashes = usize::try_from(length / piece * 20).unwrap();
    let head =
        format!("d4:infod6:lengthi{length}e4:name4:huge12:piece lengthi{piece}e6:pieces{hashes}:");
    let file = dir.join("huge.torrent");
    fs::write(&file, [head.as_bytes(), &vec![7; hashes], b"ee"].concat()).unwrap();
    let arguments = ["-o", text(dir.path()), text(&file)];
    let (code, status, told) = check(&arguments, "space");
    assert_eq!((code, status.as_str()), (1, "problem"), "{told}");
    assert!(
        told.contains("8.00 TiB are needed") && told.contains("make room for "),
        "{told}"
    );
    let (_, status, told) = check(&arguments, "tracker");
    assert!(
        status == "warning" && told.contains("edit -a URL"),
        "{told}"
    );
}

#[test]
fn a_run_that_holds_the_lock_is_told() {
    let dir = TempDir::new("doctor");
    let (address, _requests) = http::serve(b"d8:intervali1800e5:peers0:e".to_vec());
    let torrent = torrent(&dir, &format!("http://{address}/announce"));
    let to = dir.folder("to");
    let arguments = ["-o", text(&to), text(&torrent.file)];
    assert_eq!(check(&arguments, "lock").1, "ok");
    let run = Peer::get(&Host::local(4), &torrent.file, &to, &[]);
    run.wait_event("checked", LIMIT);
    let (code, status, told) = check(&arguments, "lock");
    assert_eq!((code, status.as_str()), (0, "warning"), "{told}");
    assert!(told.contains("exit code 75"), "{told}");
}

#[test]
fn what_is_no_torrent_is_a_problem_and_the_rest_is_looked_at_all_the_same() {
    let (code, status, told) = check(&["none.torrent"], "torrent");
    assert_eq!((code, status.as_str()), (1, "problem"), "{told}");
    let (_, status, _) = check(&["none.torrent"], "descriptors");
    assert_eq!(status, "ok");
}

//! What `hivebt-peer` does besides moving data: sharing, hooks, limits, repair, and leaving alone what is not its own.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use hivebt::base::id::PeerId;
use hivebt::proto::peer::extended::ExtendedHandshake;
use hivebt::proto::peer::handshake::{self, Handshake};

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, Tracker, program};
use support::payload;
use support::process::{Ended, Process, run};
use support::tempdir::TempDir;
use support::tree::assert_same;

const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

/// A payload, its torrent and a seeder that nobody has to look for.
struct Origin {
    folder: TempDir,
    torrent: Torrent,
    seeder: Peer,
    address: String,
}

impl Origin {
    fn new(bytes: u64, options: &[&str]) -> Self {
        let folder = TempDir::new("peer");
        let file = folder.join("from/payload.bin");
        payload::file(&file, bytes, 11);
        let torrent = Torrent::create(&file, NO_TRACKER, &["-l", "64K"]);
        let seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, options);
        let address = seeder.serving_address(&Host::local(1));
        Self {
            folder,
            torrent,
            seeder,
            address,
        }
    }

    /// Runs `get` into `to` until it ends.
    fn get(&self, to: &Path, options: &[&str]) -> Ended {
        let mut command = Peer::command(&Host::local(2), "get");
        command
            .args(["--peer", &self.address, "-o"])
            .arg(to)
            .args(options)
            .arg(&self.torrent.file);
        run("get", command, LIMIT)
    }
}

fn events(ended: &Ended) -> Vec<Value> {
    ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn event<'a>(events: &'a [Value], name: &str) -> &'a Value {
    events
        .iter()
        .find(|event| event["event"] == name)
        .unwrap_or_else(|| panic!("no `{name}` in {events:?}"))
}

/// `share` on loopback, with a tracker on any free port.
fn share(file: &Path, options: &[&str]) -> Process {
    let mut command = Command::new(program("peer"));
    command.args(["share", "-p", "0", "--bind", "127.0.0.1"]);
    command.args(["--tracker", "127.0.0.1:0"]);
    command.args(options).arg(file);
    Process::start("share", command)
}

#[test]
fn share_prints_the_line_that_a_worker_runs() {
    let dir = TempDir::new("share");
    let file = dir.join("from/große Daten");
    payload::file(&file, 3_000_000, 1);
    let mut share = share(&file, &[]);
    let line = share.wait_line("hivebt-peer get http://127.0.0.1:", LIMIT);
    let url = line.split_whitespace().last().unwrap();
    assert!(
        url.ends_with("/torrents/gro%C3%9Fe%20Daten.torrent"),
        "{url}"
    );
    let to = dir.folder("to");
    let mut worker = Command::new(program("peer"));
    worker
        .args(["get", "-p", "0", "--bind", "127.0.0.2", "-o"])
        .arg(&to)
        .arg(url);
    let ended = run("worker", worker, LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_same(&file, &to.join("große Daten"));
    let stopped = share.stop(LIMIT);
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
}

#[test]
fn share_tracks_nothing_but_what_it_shares() {
    let dir = TempDir::new("share-closed");
    let file = dir.join("payload");
    payload::file(&file, 10_000, 1);
    let share = share(&file, &["--json"]);
    let line = share.wait_line("\"shared\"", LIMIT);
    let shared: Value = serde_json::from_str(&line).unwrap();
    let url = shared["url"].as_str().unwrap();
    let server = url.split('/').nth(2).unwrap().parse().unwrap();
    let foreign = "%01".repeat(20);
    let path = format!("/announce?info_hash={foreign}&peer_id={foreign}&port=6881&left=0");
    let (status, body) = support::http::get(server, &path).unwrap();
    assert_eq!(status, 200);
    assert!(
        body.starts_with(b"d14:failure reason"),
        "{}",
        body.escape_ascii()
    );
}

#[test]
fn the_hook_knows_what_is_complete_and_its_failure_is_reported() {
    let origin = Origin::new(500_000, &[]);
    let said = origin.folder.join("said");
    let script = origin.folder.join("hook.sh");
    fs::write(&script, format!("printf '%s|%s|%s|%s' \"$HIVEBT_PATH\" \"$HIVEBT_INFO_HASH\" \"$HIVEBT_NAME\" \"$1\" > '{}'; exit $2", said.display())).unwrap();
    let hook = |code: &str| format!("sh {} word {code}", script.display());
    let to = origin.folder.folder("to");
    let ended = origin.get(&to, &["--on-complete", &hook("0")]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let path = to.join("payload.bin");
    let expected = format!(
        "{}|{}|payload.bin|word",
        path.display(),
        origin.torrent.info_hash
    );
    assert_eq!(fs::read_to_string(&said).unwrap(), expected);
    let ended = origin.get(
        &origin.folder.folder("again"),
        &["--on-complete", &hook("3")],
    );
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .stderr
            .contains("error: cannot complete with `sh`: exit status: 3"),
        "{}",
        ended.stderr
    );
    let ended = origin.get(
        &origin.folder.folder("third"),
        &["--on-complete", "/no/such/program"],
    );
    assert!(
        ended
            .stderr
            .contains("error: cannot run `/no/such/program`"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_finished_download_is_not_hashed_again_and_needs_nobody() {
    let mut origin = Origin::new(2_000_000, &[]);
    let to = origin.folder.folder("to");
    assert_eq!(origin.get(&to, &[]).code, 0);
    origin.seeder.process.stop(LIMIT);
    let again = origin.get(&to, &[]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let events = events(&again);
    assert_eq!(event(&events, "checked")["hashed"], 0);
    assert_eq!(event(&events, "checked")["kept"], 2_000_000);
    assert_eq!(
        event(&events, "complete")["path"],
        to.join("payload.bin").to_str().unwrap()
    );
    let rechecked = origin.get(&to, &["--recheck"]);
    assert_eq!(
        event(&self::events(&rechecked), "checked")["hashed"],
        2_000_000
    );
}

#[test]
fn a_damaged_copy_is_repaired_with_the_bad_piece_alone() {
    let origin = Origin::new(2_000_000, &[]);
    let to = origin.folder.folder("to");
    assert_eq!(origin.get(&to, &[]).code, 0);
    let copy = to.join("payload.bin");
    let mut bytes = fs::read(&copy).unwrap();
    bytes[1_000_000] ^= 1;
    fs::write(&copy, &bytes).unwrap();
    let ended = origin.get(&to, &[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(event(&events(&ended), "complete")["downloaded"], 65_536);
    assert_same(&origin.torrent.payload(), &copy);
    assert!(!to.join("payload.bin.part").exists());
}

#[test]
fn somebody_elses_file_of_the_same_name_is_left_alone() {
    let origin = Origin::new(2_000_000, &[]);
    let to = origin.folder.folder("to");
    for (content, words) in [
        (vec![7; 2_000_000], "nothing in it matches the torrent"),
        (vec![7; 2_000_001], "is not cut off"),
    ] {
        fs::write(to.join("payload.bin"), &content).unwrap();
        let ended = origin.get(&to, &[]);
        assert_eq!(ended.code, 6, "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert_eq!(fs::read(to.join("payload.bin")).unwrap(), content);
    }
}

#[test]
fn an_incomplete_payload_is_not_seeded() {
    let origin = Origin::new(2_000_000, &[]);
    let elsewhere = origin.folder.folder("elsewhere");
    fs::write(
        elsewhere.join("payload.bin"),
        &fs::read(origin.torrent.payload()).unwrap()[..1_000_000],
    )
    .unwrap();
    let mut command = Peer::command(&Host::local(3), "seed");
    command.arg("-d").arg(&elsewhere).arg(&origin.torrent.file);
    let ended = run("seed", command, LIMIT);
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("15 of 31 pieces are good"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_rate_limit_holds_and_a_seeding_time_ends_the_run() {
    // Two seconds' worth; the burst is a tenth of a second.
    let origin = Origin::new(2 << 20, &["--max-upload", "1M", "--seed-ratio", "1"]);
    let to = origin.folder.folder("to");
    let ended = origin.get(&to, &["--seed-for", "1"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let events = events(&ended);
    let seconds = event(&events, "complete")["seconds"].as_f64().unwrap();
    assert!(seconds > 1.7, "2 MiB at 1 MiB/s in {seconds} s");
    let mut seeder = origin.seeder;
    assert_eq!(seeder.process.wait(LIMIT).code, 0, "it has sent one copy");
}

#[test]
fn a_swarm_without_any_ipv4_works() {
    let dir = TempDir::new("ipv6");
    let file = dir.join("from/payload.bin");
    payload::file(&file, 1_000_000, 5);
    let mut command = Command::new(program("tracker"));
    command.args(["-l", "[::1]:0"]);
    let tracker = Process::start("tracker", command);
    let line = tracker.wait_line("listening on http://[::1]:", LIMIT);
    let announce = line.split_whitespace().last().unwrap();
    let torrent = Torrent::create(&file, announce, &[]);
    let peer = |verb: &str| {
        let mut command = Command::new(program("peer"));
        command
            .args([verb, "--json", "-p", "0", "--bind"])
            .arg(Ipv6Addr::LOCALHOST.to_string());
        command
    };
    let mut seed = peer("seed");
    seed.arg(&torrent.file);
    let seeder = Process::start("seed", seed);
    let to = dir.folder("to");
    let mut get = peer("get");
    get.arg("-o").arg(&to).arg(&torrent.file);
    let ended = run("get", get, LIMIT);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stderr, seeder.tail());
    assert_same(&file, &to.join("payload.bin"));
}

#[test]
fn several_torrents_share_one_process() {
    let dir = TempDir::new("several");
    let tracker = Tracker::start(&Host::local(1), 0, &[]);
    let torrents: Vec<_> = (0..3_u64)
        .map(|n| {
            let file = dir.join(format!("from/payload {n}"));
            payload::file(&file, 300_000 + n, n);
            Torrent::create(&file, &tracker.url(), &[])
        })
        .collect();
    let files: Vec<_> = torrents
        .iter()
        .map(|torrent| torrent.file.as_path())
        .collect();
    let mut seed = Peer::command(&Host::local(1), "seed");
    seed.args(&files);
    let seeder = Process::start("seed", seed);
    let to = dir.folder("to");
    let mut get = Peer::command(&Host::local(2), "get");
    get.arg("-o").arg(&to).args(&files);
    let ended = run("get", get, LIMIT);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stderr, seeder.tail());
    for torrent in &torrents {
        assert_same(&torrent.payload(), &to.join(&torrent.name));
    }
    let mut twice = Peer::command(&Host::local(2), "get");
    twice.arg(&torrents[0].file).arg(&torrents[0].file);
    assert_eq!(run("get", twice, LIMIT).code, 2);
}

/// What somebody who has connected to a peer hears of whether it wants pieces.
fn hears_upload_only(mut stream: &TcpStream) -> bool {
    loop {
        let mut len = [0; 4];
        stream.read_exact(&mut len).unwrap();
        let mut message = vec![0; u32::from_be_bytes(len) as usize];
        stream.read_exact(&mut message).unwrap();
        if let [20, 0, payload @ ..] = &message[..] {
            return ExtendedHandshake::decode(payload).unwrap().upload_only;
        }
    }
}

#[test]
fn a_finished_download_tells_those_who_think_that_it_wants_pieces() {
    let dir = TempDir::new("upload-only");
    let file = dir.join("from/payload.bin");
    payload::file(&file, 1_000_000, 9);
    let torrent = Torrent::create(&file, NO_TRACKER, &["-l", "64K"]);
    let get = Peer::get(
        &Host::local(2),
        &torrent.file,
        &dir.folder("to"),
        &["--seed"],
    );
    let port = get.wait_event("started", LIMIT)["port"].as_u64().unwrap();
    get.wait_event("progress", LIMIT);
    let address = format!("127.0.0.2:{port}");
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let hello = Handshake {
        info_hash: torrent.info_hash.parse().unwrap(),
        peer_id: PeerId([7; 20]),
        extended: true,
        fast: false,
        dht: false,
    };
    stream.write_all(&hello.encode()).unwrap();
    stream.read_exact(&mut [0; handshake::LEN]).unwrap();
    assert!(!hears_upload_only(&stream));
    let toward = ["--peer", &address];
    let _seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &toward);
    get.wait_event("complete", LIMIT);
    assert!(hears_upload_only(&stream));
}

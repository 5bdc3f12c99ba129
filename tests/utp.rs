//! uTP with real programs: ours over it alone, beside TCP and beside the DHT, and what strangers send.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hivebt::base::node::NodeId;
use hivebt::proto::krpc::{Query, write_query};
use hivebt::proto::utp::{Kind, Packet};
use serde_json::Value;

use support::hosts::Host;
use support::http;
use support::ours::{LIMIT, Peer, Torrent, Tracker};
use support::payload;
use support::process::{Process, run};
use support::tempdir::TempDir;
use support::tree::assert_same;

const BYTES: u64 = 3_000_000;

/// A payload, its torrent without a tracker, and a seeder on the first host.
struct Scene {
    dir: TempDir,
    torrent: Torrent,
    seeder: Peer,
    at: String,
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        Self::with(options, &[])
    }

    /// `made` says how the torrent is made.
    fn with(options: &[&str], made: &[&str]) -> Self {
        let dir = TempDir::new("utp");
        let file = dir.join("from/payload");
        payload::file(&file, BYTES, 29);
        let made = [&["--no-announce", "-l", "64K"], made].concat();
        let torrent = Torrent::make(&file, &made);
        let host = Host::local(1);
        let seeder = Peer::seed(&host, &torrent.file, &torrent.parent, options);
        let at = seeder.serving_address(&host);
        Self {
            dir,
            torrent,
            seeder,
            at,
        }
    }

    /// Starts a download on host `n`; it knows the seeder.
    fn start(&self, n: u8, options: &[&str]) -> Peer {
        let known = [&["--peer", &self.at, "-v"], options].concat();
        let to = self.to(n);
        Peer::get(&Host::local(n), &self.torrent.file, &to, &known)
    }

    fn to(&self, n: u8) -> std::path::PathBuf {
        self.dir.folder(format!("to {n}"))
    }

    fn finish(&self, n: u8, mut leecher: Peer) {
        let ended = leecher.process.wait(LIMIT);
        let seeder = self.seeder.process.tail();
        assert_eq!(ended.code, 0, "{}\n{seeder}", ended.stderr);
        assert_same(&self.torrent.payload(), &self.to(n).join("payload"));
    }

    fn socket(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(&self.at).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket
    }
}

/// How a run shows its peers of the one torrent that it has.
fn peers(run: &Process, torrent: &Torrent) -> Vec<Value> {
    let status = run.status_address(LIMIT);
    let path = format!("/torrents/{}/peers", torrent.info_hash);
    let deadline = Instant::now() + LIMIT;
    loop {
        let (_, body) = http::get(status, &path).unwrap();
        let shown: Value = serde_json::from_slice(&body).unwrap();
        if let Some(peers) = shown["peers"].as_array().filter(|peers| !peers.is_empty()) {
            return peers.clone();
        }
        assert!(Instant::now() < deadline, "{shown}\n{}", run.tail());
        std::thread::yield_now();
    }
}

/// A packet without payload.
fn packet(kind: Kind, connection_id: u16, seq: u16, ack: u16) -> Vec<u8> {
    let packet = Packet {
        kind,
        connection_id,
        timestamp: 1,
        timestamp_difference: 0,
        window: 1 << 20,
        seq,
        ack,
        selective: None,
        payload: &[],
    };
    let mut bytes = Vec::new();
    packet.encode(&mut bytes);
    bytes
}

#[test]
fn a_payload_arrives_over_utp_alone_and_nobody_listens_over_tcp() {
    let scene = Scene::new(&["--utp-only"]);
    let refused = TcpStream::connect(&scene.at).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    scene.finish(2, scene.start(2, &["--utp-only"]));
}

#[test]
fn encrypted_connections_go_over_utp() {
    for encryption in ["preferred", "required"] {
        let options = ["--utp-only", "--encryption", encryption];
        let scene = Scene::new(&options);
        scene.finish(2, scene.start(2, &options));
    }
    let scene = Scene::new(&["--utp-only", "--encryption", "required"]);
    // It hangs up on plain text, and is dialled again.
    scene.finish(2, scene.start(2, &["--utp-only"]));
}

#[test]
fn metadata_comes_over_utp() {
    let scene = Scene::new(&["--utp-only"]);
    let link = format!("magnet:?xt=urn:btih:{}", scene.torrent.info_hash);
    let options = ["--utp-only", "--peer", &scene.at];
    let leecher = Peer::get(&Host::local(2), link.as_ref(), &scene.to(2), &options);
    scene.finish(2, leecher);
}

#[test]
fn who_speaks_both_connects_over_utp_and_falls_back_to_tcp() {
    for (seeds, gets, utp) in [
        ("--utp", "--utp", true),
        ("--utp", "--utp-only", true),
        ("--utp-only", "--utp", true),
        ("--no-pex", "--utp", false),
        ("--utp", "--no-pex", false),
    ] {
        let scene = Scene::new(&[seeds, "--status", "127.0.0.1:0"]);
        let leecher = scene.start(2, &[gets, "--max-download", "64K"]);
        let peers = peers(&scene.seeder.process, &scene.torrent);
        assert_eq!(peers[0]["utp"], utp, "{gets} from {seeds}: {peers:?}");
        drop(leecher);
    }
}

#[test]
fn the_configuration_can_say_so() {
    let dir = TempDir::new("utp-config");
    let config = dir.join("config.json");
    fs::write(&config, r#"{"network": {"utp_enabled": true}}"#).unwrap();
    let scene = Scene::new(&["--utp-only"]);
    scene.finish(2, scene.start(2, &["--config", config.to_str().unwrap()]));
}

#[test]
fn a_limit_holds_over_utp() {
    let scene = Scene::new(&["--utp-only", "--max-upload", "1M"]);
    let begun = Instant::now();
    scene.finish(2, scene.start(2, &["--utp-only"]));
    // The first portion of a limit may come at once.
    let least = Duration::from_secs_f64(BYTES as f64 / f64::from(1 << 20) / 2.0);
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
}

#[test]
fn a_peer_that_is_killed_is_replaced_by_another() {
    let scene = Scene::new(&["--utp-only", "--max-upload", "256K"]);
    let host = Host::local(3);
    let (data, options) = (
        scene.dir.folder("copy"),
        ["--utp-only", "--max-upload", "256K"],
    );
    fs::copy(scene.torrent.payload(), data.join("payload")).unwrap();
    let mut doomed = Peer::seed(&host, &scene.torrent.file, &data, &options);
    let other = doomed.serving_address(&host);
    let leecher = scene.start(2, &["--utp-only", "--peer", &other]);
    leecher.wait_percent(10.0, LIMIT);
    doomed.process.kill();
    scene.finish(2, leecher);
}

#[test]
fn a_leecher_that_is_killed_leaves_the_seeder_as_it_was() {
    let mut scene = Scene::new(&["--utp-only"]);
    let mut doomed = scene.start(2, &["--utp-only", "--max-download", "256K"]);
    doomed.wait_percent(10.0, LIMIT);
    doomed.process.kill();
    scene.finish(3, scene.start(3, &["--utp-only"]));
    let ended = scene.seeder.process.stop(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn a_seeder_that_is_stopped_takes_leave_of_its_peers() {
    let mut scene = Scene::new(&["--utp-only"]);
    let leecher = scene.start(
        2,
        &[
            "--utp-only",
            "--max-download",
            "64K",
            "--status",
            "127.0.0.1:0",
        ],
    );
    let shown = peers(&leecher.process, &scene.torrent);
    assert_eq!(shown.len(), 1);
    assert_eq!(scene.seeder.process.stop(LIMIT).code, 0);
    // Without a word it would be noticed after 45 s at the earliest.
    let begun = Instant::now();
    leecher.wait_event_that("progress", LIMIT, |event| event["connected_peers"] == 0);
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn strangers_get_no_more_than_they_send_and_nobody_else_suffers() {
    let scene = Scene::new(&["--utp-only"]);
    let pid = scene.seeder.process.pid();
    let threads = || fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    let socket = scene.socket();
    let quiet = threads();
    let mut rng = fastrand::Rng::with_seed(29);
    let (mut sent, mut heard, mut answers) = (0, 0, 0);
    let mut buffer = [0; 2048];
    for n in 0..20_000_u16 {
        let junk = match n % 4 {
            0 => packet(Kind::Syn, n, 1, 0),
            1 => (0..rng.usize(..1400)).map(|_| rng.u8(..)).collect(),
            2 => packet(Kind::Data, rng.u16(..), rng.u16(..), rng.u16(..)),
            _ => packet(Kind::Reset, rng.u16(..), rng.u16(..), rng.u16(..)),
        };
        sent += junk.len();
        socket.send(&junk).unwrap();
        // Its queue is short.
        socket.set_nonblocking(true).unwrap();
        while let Ok(len) = socket.recv(&mut buffer) {
            heard += len;
            answers += 1;
        }
        socket.set_nonblocking(false).unwrap();
    }
    // Whoever answers this one has dealt with what came before; it may be lost where the queue is full.
    let last = packet(Kind::Syn, 40_000, 1, 0);
    let deadline = Instant::now() + LIMIT;
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    loop {
        let Ok(len) = socket.recv(&mut buffer) else {
            assert!(Instant::now() < deadline, "it does not answer any more");
            socket.send(&last).unwrap();
            sent += last.len();
            continue;
        };
        heard += len;
        answers += 1;
        let said = Packet::decode(&buffer[..len]).unwrap();
        if said.connection_id == 40_000 {
            break;
        }
        assert!(matches!(said.kind, Kind::State | Kind::Reset));
    }
    assert!(heard <= sent && answers > 0, "{heard} for {sent}");
    // One in 32,768 guesses is right, and has a thread for ten seconds.
    assert!(threads() <= quiet + 4, "{} threads of {quiet}", threads());
    scene.finish(2, scene.start(2, &["--utp-only"]));
}

#[test]
fn the_dht_and_utp_share_a_port() {
    let tracker = Tracker::start(&Host::local(9), 0, &["--dht-node-port", "0"]);
    let node = tracker.process.wait_for("its node", LIMIT, |_, line| {
        Some(line.split_once("listening on dht://")?.1.to_owned())
    });
    let scene = Scene::with(&["--utp-only", "--dht"], &["--node", &node]);
    let socket = scene.socket();
    let mut buffer = [0; 2048];
    let mut answer = |question: &[u8]| {
        socket.send(question).unwrap();
        loop {
            let len = socket.recv(&mut buffer).unwrap();
            // The node may have questions of its own.
            if buffer[0] == question[0] || question[0] != b'd' && buffer[0] != b'd' {
                return buffer[..len].to_vec();
            }
        }
    };
    for _ in 0..3 {
        let ping = write_query(b"aa", NodeId([7; 20]), &Query::Ping, true);
        assert!(answer(&ping).starts_with(b"d"));
        let reply = answer(&packet(Kind::Syn, 7, 1, 0));
        let reply = Packet::decode(&reply).unwrap();
        assert_eq!(
            (reply.kind, reply.connection_id, reply.ack),
            (Kind::State, 7, 1)
        );
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        let (_, body) = tracker.get("/stats").unwrap();
        let stats: Value = serde_json::from_slice(&body).unwrap();
        if stats["dht"]["peers"] == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "{stats}");
        std::thread::yield_now();
    }
    let options = ["--utp-only", "--dht"];
    let leecher = Peer::get(&Host::local(2), &scene.torrent.file, &scene.to(2), &options);
    scene.finish(2, leecher);
}

/// A port that is ours for UDP and that nobody has for TCP.
fn taken_for_udp_alone(here: IpAddr) -> (UdpSocket, String) {
    loop {
        let taken = UdpSocket::bind((here, 0)).unwrap();
        let at = taken.local_addr().unwrap();
        if TcpListener::bind(at).is_ok() {
            return (taken, at.port().to_string());
        }
    }
}

#[test]
fn a_port_that_is_taken_for_udp_is_not_used() {
    // An address of its own, because at 127.0.0.1 the other tests' connections would take the port for TCP.
    let here = Host::local(81).address;
    let (taken, port) = taken_for_udp_alone(here);
    let dir = TempDir::new("utp-taken");
    let file = dir.join("payload");
    payload::file(&file, 1000, 1);
    let torrent = Torrent::make(&file, &["--no-announce"]);
    let start = |options: &[&str]| {
        let mut command = Host::local(1).command(support::ours::program("peer"));
        command.args(["get", "--bind", &here.to_string(), "-p", &port]);
        command.args(["--timeout", "1"]);
        command.args(options).arg("-o").arg(dir.folder("to"));
        run(
            "get",
            {
                command.arg(&torrent.file);
                command
            },
            LIMIT,
        )
    };
    let ended = start(&["--utp"]);
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains(&format!("cannot listen on `{here}:{port}`"))
    );
    let ended = start(&[]);
    assert_eq!(ended.code, 5, "TCP alone does not mind: {}", ended.stderr);
    drop(taken);
}

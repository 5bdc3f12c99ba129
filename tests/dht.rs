//! The DHT with real programs: the tracker's host as the node where a cluster begins, peers that have no tracker, what is kept, and what is never asked.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::net::UdpSocket;
use std::time::Instant;

use hivebt::base::node::NodeId;
use hivebt::proto::dht_state::DhtState;
use hivebt::proto::krpc::{Body, Query, read, write_query};
use serde_json::Value;

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, Tracker};
use support::payload;
use support::process::{Process, run};
use support::tempdir::TempDir;
use support::tree::assert_same;

/// A tracker with a node, and where that is.
fn tracker() -> (Tracker, String) {
    let tracker = Tracker::start(&Host::local(9), 0, &["--dht-node-port", "0"]);
    let node = tracker.process.wait_for("its node", LIMIT, |_, line| {
        Some(line.split_once("listening on dht://")?.1.to_owned())
    });
    (tracker, node)
}

/// Waits until what the tracker says of its node holds.
fn wait_for(tracker: &Tracker, process: &Process, holds: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (_, body) = tracker.get("/stats").unwrap();
        let stats: Value = serde_json::from_slice(&body).unwrap();
        if holds(&stats["dht"]) {
            return;
        }
        assert!(
            Instant::now() < deadline && !process.has_ended(),
            "{stats}\n{}",
            process.tail()
        );
        std::thread::yield_now();
    }
}

fn payload(dir: &TempDir, name: &str, options: &[&str]) -> Torrent {
    let file = dir.join(format!("from/{name}"));
    payload::file(&file, 700_000, 5);
    Torrent::make(&file, options)
}

#[test]
fn a_torrent_without_a_tracker_arrives_and_goes_on_to_when_the_first_node_is_gone() {
    let dir = TempDir::new("dht");
    let (mut tracker, node) = tracker();
    let torrent = payload(&dir, "payload", &["--no-announce", "--node", &node]);
    let seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &["--dht"]);
    wait_for(&tracker, &seeder.process, |dht| dht["peers"] == 1);

    let to = dir.folder("second");
    let second = Peer::get(&Host::local(2), &torrent.file, &to, &["--dht", "--seed"]);
    let port = second.wait_event("started", LIMIT)["port"]
        .as_u64()
        .unwrap();
    second.wait_event("complete", LIMIT);
    assert_same(&torrent.payload(), &to.join(&torrent.name));
    wait_for(&tracker, &second.process, |dht| dht["peers"] == 2);
    let (_, metrics) = tracker.get("/metrics").unwrap();
    let metrics = String::from_utf8(metrics).unwrap();
    for line in ["hivebt_dht_nodes 2\n", "hivebt_dht_peers 2\n"] {
        assert!(metrics.contains(line), "{metrics}");
    }

    // Who comes now knows one of the two, and hears of the other from it.
    tracker.process.kill();
    let to = dir.folder("third");
    let begin = format!("127.0.0.2:{port}");
    let options = ["--dht-node", &begin];
    let mut third = Peer::get(&Host::local(3), &torrent.file, &to, &options);
    let ended = third.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_same(&torrent.payload(), &to.join(&torrent.name));
}

#[test]
fn a_private_torrent_is_never_announced_there() {
    let dir = TempDir::new("dht-private");
    let (tracker, node) = tracker();
    let url = tracker.url();
    let private = payload(&dir, "private", &["--private", "-a", &url]);
    let public = payload(&dir, "public", &["--no-announce"]);
    let mut command = Peer::command(&Host::local(1), "seed");
    command.args(["--dht-node", &node]);
    command.arg(&private.file).arg(&public.file);
    let seeder = Process::start("seeder", command);
    tracker.wait_for_seeds(&private.info_hash, 1, &seeder);
    wait_for(&tracker, &seeder, |dht| dht["peers"] == 1);
    wait_for(&tracker, &seeder, |dht| dht["torrents"] == 1);
}

#[test]
fn a_long_lived_run_keeps_its_nodes_and_shows_how_many_there_are() {
    let dir = TempDir::new("dht-run");
    let (tracker, node) = tracker();
    let to = dir.folder("to");
    let start = || {
        let mut command = Peer::command(&Host::local(1), "run");
        command.args(["--status", "127.0.0.1:0", "--dht-node", &node, "-o"]);
        Process::start("run", {
            command.arg(&to);
            command
        })
    };
    let mut run = start();
    let status = run.status_address(LIMIT);
    wait_for(&tracker, &run, |dht| dht["nodes"] == 1);
    let stats = || -> Value {
        let (_, body) = support::http::get(status, "/stats").unwrap();
        serde_json::from_slice(&body).unwrap()
    };
    let deadline = Instant::now() + LIMIT;
    while stats()["dht"]["nodes"] != 1 {
        assert!(Instant::now() < deadline, "{}\n{}", stats(), run.tail());
        std::thread::yield_now();
    }
    let (_, metrics) = support::http::get(status, "/metrics").unwrap();
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("hivebt_peer_dht_nodes{family=\"ipv4\"} 1\n"));
    let ended = run.stop(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let kept = to.join(".hivebt/dht");
    let state = DhtState::from_bytes(&fs::read(&kept).unwrap()).unwrap();
    let nodes: Vec<_> = state.nodes.iter().map(|n| n.addr.to_string()).collect();
    assert_eq!(nodes, std::slice::from_ref(&node));
    // What is no state of ours does no harm.
    fs::write(&kept, b"nonsense").unwrap();
    let mut run = start();
    // An answer comes from the loop that hears of signals, too.
    let (code, _) = support::http::get(run.status_address(LIMIT), "/stats").unwrap();
    assert_eq!(code, 200);
    assert_eq!(run.stop(LIMIT).code, 0);
}

#[test]
fn the_doctor_tells_whether_anybody_answers() {
    let (_tracker, node) = tracker();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    for (options, status) in [
        (vec!["--dht-node", &node], "ok"),
        (vec!["--dht-node", &silent], "warning"),
        (vec!["--dht"], "warning"),
        (vec![], "none"),
    ] {
        let dir = TempDir::new("dht-doctor");
        let mut command = Peer::command(&Host::local(1), "doctor");
        command.args(&options).current_dir(dir.path());
        let ended = run("doctor", command, LIMIT);
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        let mut checks = report["checks"].as_array().unwrap().iter();
        let check = checks.find(|check| check["check"] == "dht");
        let told = check.map_or("none", |check| check["status"].as_str().unwrap());
        assert_eq!(told, status, "{options:?}: {report}");
    }
}

#[test]
fn whatever_strangers_send_the_node_answers_the_next_question() {
    let (tracker, node) = tracker();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(&node).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    let ping = write_query(b"aa", NodeId([7; 20]), &Query::Ping, true);
    let huge = vec![b'd'; 60_000];
    for junk in [&b""[..], b"d", b"x", &huge, &[0; 1400], b"d1:t2:aa1:y1:re"] {
        socket.send(junk).unwrap();
    }
    for _ in 0..20 {
        let mut bytes = ping.clone();
        let at = rng.usize(..bytes.len());
        bytes[at] = 0;
        socket.send(&bytes).unwrap();
    }
    socket
        .send(&write_query(b"last", NodeId([7; 20]), &Query::Ping, true))
        .unwrap();
    let mut buffer = [0; 2048];
    let reply = loop {
        let len = socket.recv(&mut buffer).unwrap();
        let packet = read(&buffer[..len]).unwrap();
        if packet.transaction == b"last" {
            break packet;
        }
    };
    assert!(matches!(reply.body, Body::Reply(_)));
    assert_eq!(reply.external, socket.local_addr().ok());
    wait_for(&tracker, &tracker.process, |dht| {
        dht["answered"].as_u64() >= Some(1)
    });
}

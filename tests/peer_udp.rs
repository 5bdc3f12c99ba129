//! `hivebt-peer` and trackers that it can reach over UDP alone (BEP 15, BEP 41).

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;

use hivebt::proto::tracker::udp::{read_head, write_connected};

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, Tracker};
use support::payload;
use support::tempdir::TempDir;
use support::tree::assert_same;

fn udp(tracker: SocketAddr) -> String {
    format!("udp://{tracker}/announce")
}

/// A torrent with these tiers.
fn torrent(dir: &TempDir, tiers: &[&str]) -> Torrent {
    let file = dir.join("from/payload");
    payload::file(&file, 700_000, 5);
    let further: Vec<_> = tiers[1..].iter().flat_map(|url| ["-a", url]).collect();
    Torrent::create(&file, tiers[0], &further)
}

fn seed(torrent: &Torrent) -> Peer {
    Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &["-v"])
}

/// Downloads by what `file` says alone.
fn get(dir: &TempDir, torrent: &Torrent, file: &Path) {
    let to = dir.folder("to");
    let mut leecher = Peer::get(&Host::local(2), file, &to, &[]);
    let ended = leecher.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_same(&torrent.payload(), &to.join(&torrent.name));
}

#[test]
fn peers_find_each_other_over_udp_alone_and_say_goodbye() {
    let dir = TempDir::new("peer-udp");
    let tracker = Tracker::start(&Host::local(9), 0, &[]);
    let torrent = torrent(&dir, &[&udp(tracker.address)]);
    let mut seeder = seed(&torrent);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    get(&dir, &torrent, &torrent.file);
    assert_eq!(tracker.scrape(&torrent.info_hash), Some((1, 0)));
    assert_eq!(seeder.process.stop(LIMIT).code, 0);
    assert_eq!(tracker.scrape(&torrent.info_hash), Some((0, 0)));
}

#[test]
fn the_key_of_a_private_tracker_goes_along() {
    let dir = TempDir::new("peer-udp-key");
    let (keys, key) = (dir.join("keys"), "0123456789abcdef");
    std::fs::write(&keys, format!("{key} alice\n")).unwrap();
    let options = ["--keys", keys.to_str().unwrap()];
    let tracker = Tracker::start(&Host::local(9), 0, &options);
    let url = |key: &str| format!("{}/{key}", udp(tracker.address));
    let good = torrent(&dir, &[&url(key)]);
    let seeder = seed(&good);
    seeder.process.wait_line("names 0 peers", LIMIT);
    get(&dir, &good, &good.file);

    let elsewhere = TempDir::new("peer-udp-no-key");
    let bad = torrent(&elsewhere, &[&url("fedcba9876543210")]);
    let mut seeder = seed(&bad);
    let ended = seeder.process.wait(LIMIT);
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    assert!(ended.stderr.contains("does not know"), "{}", ended.stderr);
}

#[test]
fn a_dead_udp_tracker_leads_to_the_next_one() {
    let dir = TempDir::new("peer-udp-dead");
    let tracker = Tracker::start(&Host::local(9), 0, &[]);
    let torrent = torrent(&dir, &["udp://127.0.0.1:1", &udp(tracker.address)]);
    let seeder = seed(&torrent);
    seeder
        .process
        .wait_line("cannot announce to `udp://127.0.0.1:1`: ", LIMIT);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    get(&dir, &torrent, &torrent.file);
}

/// Stands before a tracker, and loses the first datagram of all.
fn lossy(tracker: SocketAddr) -> SocketAddr {
    let front = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = front.local_addr().unwrap();
    thread::spawn(move || {
        let back = UdpSocket::bind("127.0.0.1:0").unwrap();
        back.set_read_timeout(Some(LIMIT)).unwrap();
        let mut buffer = [0; 2048];
        front.recv_from(&mut buffer).unwrap();
        loop {
            let (len, from) = front.recv_from(&mut buffer).unwrap();
            back.send_to(&buffer[..len], tracker).unwrap();
            let (len, _) = back.recv_from(&mut buffer).unwrap();
            front.send_to(&buffer[..len], from).unwrap();
        }
    });
    address
}

#[test]
fn a_datagram_that_is_lost_is_sent_again() {
    let dir = TempDir::new("peer-udp-lost");
    let tracker = Tracker::start(&Host::local(9), 0, &[]);
    let torrent = torrent(&dir, &[&udp(tracker.address)]);
    let seeder = seed(&torrent);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    let front = dir.join("front.torrent");
    let mut metainfo =
        hivebt::proto::metainfo::Metainfo::from_bytes(&std::fs::read(&torrent.file).unwrap())
            .unwrap();
    metainfo.announce = vec![vec![udp(lossy(tracker.address))]];
    std::fs::write(&front, metainfo.to_bytes()).unwrap();
    get(&dir, &torrent, &front);
}

#[test]
fn a_udp_tracker_that_answers_nonsense_is_told_of() {
    let dir = TempDir::new("peer-udp-lies");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let torrent = torrent(&dir, &[&udp(socket.local_addr().unwrap())]);
    let mut seeder = seed(&torrent);
    let mut buffer = [0; 2048];
    for length in [16, 19] {
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        let head = read_head(&buffer[..len]).unwrap();
        let mut packet = Vec::new();
        if length == 16 {
            write_connected(head.transaction, 42, &mut packet);
        } else {
            packet.extend((head.action as u32).to_be_bytes());
            packet.extend(head.transaction.to_be_bytes());
            packet.resize(length, 0);
        }
        // First from somewhere else, where nobody listens to it.
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(&packet[..length - 1], from).unwrap();
        socket.send_to(&packet, from).unwrap();
    }
    let told = "the tracker's reply makes no sense: it is cut short";
    seeder.process.wait_line(told, LIMIT);
    assert_eq!(seeder.process.stop(LIMIT).code, 0);
}

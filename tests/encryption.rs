//! Encrypted connections between two of ours, seen by somebody on the way.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent};
use support::payload;
use support::process::Ended;
use support::tempdir::TempDir;
use support::tree::assert_same;

const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

/// What every handshake in plain text begins with.
const PLAIN: &[u8] = b"\x13BitTorrent protocol";

/// Passes connections on, and listens in.
struct Onlooker {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Onlooker {
    /// In front of `to`. If it is `intolerant`, it cuts connections that do not begin in plain text.
    fn before(to: SocketAddr, intolerant: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = heard.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let mut first = [0; PLAIN.len()];
                if (&near).read_exact(&mut first).is_err() || (intolerant && first != PLAIN) {
                    continue;
                }
                let far = TcpStream::connect(to).unwrap();
                (&far).write_all(&first).unwrap();
                ear.lock().unwrap().extend_from_slice(&first);
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let ear = ear.clone();
                    thread::spawn(move || pass_on(&from, &to, &ear));
                }
            }
        });
        Self { address, heard }
    }

    fn has_heard(&self, words: &[u8]) -> bool {
        let heard = self.heard.lock().unwrap();
        heard.windows(words.len()).any(|w| w == words)
    }
}

fn pass_on(mut from: &TcpStream, mut to: &TcpStream, ear: &Mutex<Vec<u8>>) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        ear.lock().unwrap().extend_from_slice(&bytes[..n]);
        if to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// A seeder with encryption as it likes, and what a download through an onlooker comes to.
struct Seeder {
    dir: TempDir,
    torrent: Torrent,
    seeder: Peer,
    address: SocketAddr,
}

impl Seeder {
    fn new(encryption: &str) -> Self {
        let dir = TempDir::new("encryption");
        let file = dir.join("from/payload");
        payload::file(&file, 1_000_000, 3);
        let torrent = Torrent::create(&file, NO_TRACKER, &["-l", "64K"]);
        let options = ["--encryption", encryption, "-v"];
        let seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &options);
        let port = seeder.wait_event("started", LIMIT)["port"]
            .as_u64()
            .unwrap();
        seeder.wait_event("complete", LIMIT);
        Self {
            dir,
            torrent,
            seeder,
            address: (Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()).into(),
        }
    }

    /// Downloads from whoever listens at `peer`.
    fn get(&self, peer: SocketAddr, name: &str, options: &[&str]) -> Ended {
        let to = self.dir.folder(name);
        let peer = peer.to_string();
        let all = [&["--peer", &peer, "-v"], options].concat();
        let mut get = Peer::get(&Host::local(2), &self.torrent.file, &to, &all);
        let ended = get.process.wait(LIMIT);
        if ended.code == 0 {
            assert_same(&self.torrent.payload(), &to.join(&self.torrent.name));
        }
        ended
    }
}

#[test]
fn an_onlooker_sees_what_both_sides_agree_on() {
    for (seeds, gets) in [
        (
            "plain",
            ["plain: all", "preferred: stream", "required: nothing"],
        ),
        (
            "preferred",
            ["plain: all", "preferred: nothing", "required: nothing"],
        ),
        (
            "required",
            ["plain: in vain", "preferred: nothing", "required: nothing"],
        ),
    ] {
        let seeder = Seeder::new(seeds);
        let payload = std::fs::read(seeder.torrent.payload()).unwrap();
        let sample = &payload[500_000..500_040];
        for (get, expected) in gets.map(|case| case.split_once(": ").unwrap()) {
            let onlooker = Onlooker::before(seeder.address, false);
            let ended = seeder.get(onlooker.address, get, &["--encryption", get]);
            let case = format!("{get} from {seeds}: {}", ended.stderr);
            assert_eq!(ended.code, 0, "{case}");
            let plain = ["all", "in vain"].contains(&expected);
            let began = onlooker.heard.lock().unwrap().starts_with(PLAIN);
            assert_eq!(began, plain, "{case}");
            let shown = ["all", "stream"].contains(&expected);
            assert_eq!(onlooker.has_heard(sample), shown, "{case}");
            if expected == "in vain" {
                let line = "does not encrypt, as `--encryption required` demands";
                seeder.seeder.process.wait_line(line, LIMIT);
            }
        }
    }
}

#[test]
fn where_encryption_comes_to_nothing_it_is_done_without_or_not_at_all() {
    let seeder = Seeder::new("plain");
    let onlooker = Onlooker::before(seeder.address, true);
    let ended = seeder.get(onlooker.address, "a", &["--encryption", "preferred"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(onlooker.has_heard(PLAIN));
    let options = ["--encryption", "required", "--timeout", "2"];
    let ended = seeder.get(onlooker.address, "b", &options);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    let line = format!("peer {} does not encrypt", onlooker.address);
    assert!(ended.stderr.contains(&line), "{}", ended.stderr);
}

#[test]
fn an_option_that_makes_no_sense_is_named() {
    let dir = TempDir::new("encryption-usage");
    let mut command = Peer::command(&Host::local(2), "get");
    command
        .args(["--encryption", "rc4"])
        .arg(dir.join("x.torrent"));
    let ended = support::process::run("get", command, LIMIT);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    let takes = "plain, preferred or required";
    assert!(ended.stderr.contains(takes), "{}", ended.stderr);
}

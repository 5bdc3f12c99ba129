//! Every message of the wire protocol spoken wrongly: too short, too long, out of range, too early, out of order, without end, and a byte at a time,
//! to a seeder and to a leecher in the middle of its download. Both go on, stay small, and whoever is honest gets what he came for.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hivebt::base::id::PeerId;
use hivebt::proto::metainfo::Metainfo;
use hivebt::proto::peer::handshake::Handshake;

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent};
use support::payload;
use support::process::{cpu_time, peak_memory};
use support::say::say;
use support::tempdir::TempDir;
use support::tree;

/// Nobody listens there.
const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

const BYTES: u64 = 6 << 20;
const PIECES: u32 = 96;

/// Who speaks a byte at a time, at each door.
const SLOW: usize = 20;

/// Each message with the length that its body should have (BEP 3, 5, 6); `bitfield` has one that befits the torrent.
const MESSAGES: [(u8, usize); 15] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 4),
    (5, 12),
    (6, 12),
    (7, 8 + 16384),
    (8, 12),
    (9, 2),
    (13, 4),
    (14, 0),
    (15, 0),
    (16, 12),
    (17, 4),
];

fn frame(id: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 1).unwrap();
    [&len.to_be_bytes()[..], &[id], body].concat()
}

/// Messages of the right form, some about nothing.
fn well_formed() -> Vec<Vec<u8>> {
    let words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_be_bytes()).collect() };
    let mut all = vec![vec![0; 4]];
    for (id, len) in MESSAGES {
        all.push(frame(id, &vec![0; len]));
        all.push(frame(id, &vec![0xff; len]));
    }
    for id in [6, 8, 16] {
        all.push(frame(id, &words(&[0, 0, 16384])));
        all.push(frame(id, &words(&[PIECES, 0, 16384])));
        all.push(frame(id, &words(&[0, 65535, 16384])));
        all.push(frame(id, &words(&[0, 0, 1 << 17])));
    }
    for id in [4, 13, 17] {
        all.push(frame(id, &words(&[PIECES - 1])));
        all.push(frame(id, &words(&[PIECES])));
    }
    all
}

/// Messages of extensions (BEP 9, 10, 11) that mean nothing, or too much.
fn extended() -> Vec<Vec<u8>> {
    let deep = [b"d1:m".to_vec(), vec![b'l'; 100_000]].concat();
    let many = [b"d5:added300000:".to_vec(), vec![7; 300_000], b"e".to_vec()].concat();
    let bodies: [(u8, &[u8]); 18] = [
        (0, b""),
        (0, b"de"),
        (0, b"le"),
        (0, b"i1e"),
        (0, b"d1:md11:ut_metadatai-1e6:ut_pexi256eee"),
        (
            0,
            b"d1:md11:ut_metadatai1e6:ut_pexi1ee13:metadata_sizei-5ee",
        ),
        (0, b"d13:metadata_sizei9223372036854775807ee"),
        (0, b"d1:pi99999e4:reqqi-1e1:v3:\xff\xff\xffe"),
        (0, &deep),
        (1, b"d8:msg_typei0e5:piecei0ee"),
        (1, b"d8:msg_typei0e5:piecei2147483648ee"),
        (
            1,
            b"d8:msg_typei1e5:piecei0e10:total_sizei16384eeno metadata of yours",
        ),
        (1, b"d8:msg_typei7e5:piecei-1ee"),
        (2, b"d5:added5:12345e"),
        (2, b"d5:added6:\x7f\0\0\x01\0\x017:added.f0:e"),
        (2, &many),
        (200, b"whatever"),
        (255, b""),
    ];
    let all = bodies.iter();
    all.map(|(id, body)| frame(20, &[&[*id], *body].concat()))
        .collect()
}

/// Messages whose length is wrong.
fn misshapen() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (id, len) in MESSAGES {
        for wrong in [len.wrapping_sub(1), len + 1, len + 70_000] {
            if wrong < usize::MAX {
                all.push(frame(id, &vec![0; wrong]));
            }
        }
        all.push([&u32::MAX.to_be_bytes()[..], &[id]].concat());
    }
    all.extend([10, 11, 12, 18, 19, 21, 99, 255].map(|id| frame(id, b"unheard of")));
    all
}

/// Somebody to speak to.
struct Door {
    address: SocketAddr,
    hello: Vec<u8>,
}

impl Door {
    fn new(address: &str, metainfo: &Metainfo) -> Self {
        let hello = Handshake {
            info_hash: metainfo.info_hash,
            peer_id: PeerId([b'x'; 20]),
            extended: true,
            fast: true,
            dht: true,
        };
        Self {
            address: address.parse().unwrap(),
            hello: hello.encode().to_vec(),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Says all of `parts` on one connection, and then nothing; waits until that has been heard, or the door was shut.
    fn hears(&self, parts: &[&[u8]]) {
        let stream = self.connect();
        let mut answers = stream.try_clone().unwrap();
        let reading = thread::spawn(move || {
            let mut sink = [0; 65536];
            while answers.read(&mut sink).is_ok_and(|n| n > 0) {}
        });
        let _ = parts.iter().try_for_each(|part| (&stream).write_all(part));
        let _ = stream.shutdown(Shutdown::Write);
        reading.join().unwrap();
    }

    /// Everything, in every wrong way; how many connections that were.
    fn hears_everything(&self, times: usize) -> usize {
        let (good, bad) = ([well_formed(), extended()].concat(), misshapen());
        let mut connections = 0;
        let mut say = |parts: &[&[u8]]| {
            connections += 1;
            self.hears(parts);
        };
        for message in good.iter().chain(&bad) {
            say(&[message]);
            say(&[&self.hello, message]);
        }
        // Out of order, and the handshake again in the middle.
        let backwards: Vec<u8> = good.iter().rev().flatten().copied().collect();
        say(&[&self.hello, &backwards]);
        say(&[&self.hello, &self.hello, &backwards]);
        for message in good.iter().filter(|message| message.len() < 100) {
            let many = message.repeat(1000);
            let again = vec![many.as_slice(); times / 1000];
            say(&[&[self.hello.as_slice()][..], &again].concat());
        }
        connections
    }

    /// Strangers who say right and wrong things a byte at a time, until `over`.
    fn hears_slowly(&self, over: &AtomicBool) {
        let words = [self.hello.clone(), well_formed().concat()].concat();
        let mut speakers: Vec<_> = (0..SLOW).map(|_| (self.connect(), 0)).collect();
        while !over.load(Ordering::Relaxed) {
            for (stream, at) in &mut speakers {
                let byte = words.get(*at..=*at).unwrap_or(&[0]);
                *at += 1;
                if stream.write_all(byte).is_err() {
                    (*stream, *at) = (self.connect(), 0);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn whatever_is_said_in_whatever_way_seeder_and_leecher_go_on() {
    let times = std::env::var("HIVEBT_STRANGERS_TIMES").map_or(5_000, |t| t.parse().unwrap());
    let dir = TempDir::new("strangers");
    let file = dir.join("from/payload.bin");
    payload::file(&file, BYTES, 13);
    let torrent = Torrent::create(&file, NO_TRACKER, &["-l", "64K"]);
    let metainfo = Metainfo::from_bytes(&std::fs::read(&torrent.file).unwrap()).unwrap();
    assert_eq!(metainfo.geometry.pieces(), PIECES);
    let (at, to) = (Host::local(1), dir.folder("to"));
    let seeder = Peer::seed(&at, &torrent.file, &torrent.parent, &[]);
    let serving = seeder.serving_address(&at);
    // It is to be under way all the time, so it takes little at first.
    let limit = [
        "--peer",
        &serving,
        "--max-download",
        "10K",
        "--status",
        "127.0.0.1:0",
        "--seed",
    ];
    let mut leecher = Peer::get(&Host::local(2), &torrent.file, &to, &limit);
    let fetching = leecher.address(&Host::local(2));
    let status = leecher.process.status_address(LIMIT);
    leecher.wait_percent(0.1, LIMIT);

    let doors = [&serving, &fetching].map(|address| Door::new(address, &metainfo));
    let over = AtomicBool::new(false);
    let connections: usize = thread::scope(|scope| {
        let slow: Vec<_> = doors
            .iter()
            .map(|door| scope.spawn(|| door.hears_slowly(&over)))
            .collect();
        let loud: Vec<_> = doors
            .iter()
            .map(|door| scope.spawn(|| door.hears_everything(times)))
            .collect();
        let connections = loud.into_iter().map(|one| one.join().unwrap()).sum();
        assert!(!leecher.process.has_ended(), "{}", leecher.process.tail());
        // The honest get all of it while the slow ones still speak.
        let body = br#"{"max_upload":0,"max_download":0}"#;
        let limits = support::http::ask(status, "POST", "/limits", &[], body).unwrap();
        assert_eq!(limits.0, 200);
        let third = Peer::get(
            &Host::local(3),
            &torrent.file,
            &dir.folder("third"),
            &["--peer", &serving],
        );
        third.wait_event("complete", LIMIT);
        leecher.wait_event("complete", LIMIT);
        over.store(true, Ordering::Relaxed);
        slow.into_iter().for_each(|one| one.join().unwrap());
        connections
    });
    let mib = peak_memory(seeder.process.pid()).unwrap() >> 20;
    let cpu = cpu_time(seeder.process.pid()).unwrap().as_secs_f64();
    say(format_args!(
        "strangers: {connections} connections, each small message {times} times on one; the seeder took {cpu:.1} s of a core and {mib} MiB at most"
    ));
    assert!(mib < 48, "{mib} MiB");
    let ended = leecher.process.stop(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    tree::assert_same(&file, &to.join("payload.bin"));
    tree::assert_same(&file, &dir.join("third/payload.bin"));
}

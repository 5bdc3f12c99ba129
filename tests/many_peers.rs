//! Many connections at the same time: that they work, and what they cost in memory.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;

use hivebt::base::bitfield::Bitfield;
use hivebt::base::geometry::{BLOCK, Geometry};
use hivebt::base::id::{InfoHash, PeerId};
use hivebt::net::inbox::{Frame, Inbox};
use hivebt::proto::metainfo::Metainfo;
use hivebt::proto::peer::handshake::{self, Handshake};
use hivebt::proto::peer::message::{Message, encode_piece};
use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent};
use support::payload;
use support::process::{peak_private_memory, private_memory};
use support::say::say;
use support::tempdir::TempDir;
use support::tree::assert_same;

const MIB: u64 = 1 << 20;
const PER_PEER: u64 = 128 << 10;

/// Nobody listens there.
const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

fn metainfo(torrent: &Torrent) -> Metainfo {
    Metainfo::from_bytes(&fs::read(&torrent.file).unwrap()).unwrap()
}

fn shake_hands(stream: &mut TcpStream, info_hash: InfoHash, n: u8) -> io::Result<()> {
    let hello = Handshake {
        info_hash,
        peer_id: PeerId([n; 20]),
        extended: false,
        fast: false,
        dht: false,
    };
    stream.write_all(&hello.encode())?;
    stream.read_exact(&mut [0; handshake::LEN])
}

/// So many peers of 127.0.0.1 that want what the seeder has, and never ask for it.
fn crowd(seeder: &Peer, address: &str, torrent: &Torrent, peers: u8) -> Vec<TcpStream> {
    let info_hash = metainfo(torrent).info_hash;
    let mut interested = Vec::new();
    Message::Interested.encode(&mut interested);
    let peer = |n| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        shake_hands(&mut stream, info_hash, n).unwrap();
        stream.write_all(&interested).unwrap();
        stream
    };
    let crowd = (1..=peers).map(peer).collect();
    seeder.wait_event_that("progress", LIMIT, |event| {
        event["connected_peers"].as_u64() == Some(peers.into())
    });
    crowd
}

/// The heaps that the GNU C library has given to threads of a process: stretches of 64 MiB, at a multiple of that, of which the begin is in use.
fn heaps_of_threads(pid: u32) -> usize {
    const HEAP: u64 = 64 * MIB;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let stretch = |line: &str| {
        let mut words = line.split_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let number = |hex| u64::from_str_radix(hex, 16).ok();
        Some((number(from)?, number(to)?, words.next()? == "---p"))
    };
    let stretches: Vec<_> = maps.lines().map(|line| stretch(line).unwrap()).collect();
    let pairs = stretches.windows(2);
    pairs
        .filter(|pair| {
            let (begin, used, kept) = pair[0];
            let (rest, end, reserved) = pair[1];
            begin % HEAP == 0 && !kept && used == rest && reserved && end == begin + HEAP
        })
        .count()
}

#[test]
fn a_seeder_serves_while_two_hundred_are_connected() {
    const PEERS: u8 = 200;
    let dir = TempDir::new("two-hundred");
    let file = dir.join("payload");
    payload::file(&file, 8 * MIB + 5, 3);
    let torrent = Torrent::create(&file, NO_TRACKER, &["-l", "64K"]);
    let limit = (u16::from(PEERS) + 10).to_string();
    let options = ["--max-peers", limit.as_str()];
    let seeder = Peer::seed(&Host::local(1), &torrent.file, dir.path(), &options);
    let address = seeder.serving_address(&Host::local(1));
    let crowd = crowd(&seeder, &address, &torrent, PEERS);
    let to = dir.folder("to");
    let mut leecher = Peer::get(&Host::local(2), &torrent.file, &to, &["--peer", &address]);
    let ended = leecher.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_same(&file, &to.join("payload"));
    let private = private_memory(seeder.process.pid()).unwrap();
    say(format_args!(
        "a seeder with {PEERS} peers: {:.1} MiB of private memory",
        private as f64 / MIB as f64
    ));
    assert!(
        private <= 8 * MIB + u64::from(PEERS) * PER_PEER,
        "{private} bytes"
    );
    assert_eq!(heaps_of_threads(seeder.process.pid()), 0);
    drop(crowd);
}

#[test]
fn a_host_that_takes_every_place_keeps_no_other_out() {
    let dir = TempDir::new("every-place");
    let file = dir.join("payload");
    payload::file(&file, MIB, 4);
    let torrent = Torrent::create(&file, NO_TRACKER, &["-l", "64K"]);
    let options = ["--max-peers", "20"];
    let seeder = Peer::seed(&Host::local(1), &torrent.file, dir.path(), &options);
    let address = seeder.serving_address(&Host::local(1));
    let crowd = crowd(&seeder, &address, &torrent, 20);
    let to = dir.folder("to");
    let options = ["--peer", &address, "--timeout", "40"];
    let mut leecher = Peer::get(&Host::local(2), &torrent.file, &to, &options);
    let ended = leecher.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_same(&file, &to.join("payload"));
    drop(crowd);
}

/// Seeds of a payload that is nothing but zeros. They begin to serve when all of them have a connection.
struct Zeros {
    info_hash: InfoHash,
    geometry: Geometry,
    all_here: Barrier,
}

impl Zeros {
    /// Waits for one connection, and says where.
    fn listen(self: &Arc<Self>, n: u8) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 1, n), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let seed = Arc::clone(self);
        // Ends with its connection, whatever the reason.
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            drop(seed.serve(stream, n));
        });
        address
    }

    fn serve(&self, mut stream: TcpStream, n: u8) -> io::Result<()> {
        shake_hands(&mut stream, self.info_hash, n)?;
        self.all_here.wait();
        let mut hello = Vec::new();
        Message::Bitfield(Bitfield::all(self.geometry.pieces())).encode(&mut hello);
        Message::Unchoke.encode(&mut hello);
        stream.write_all(&hello)?;
        let zeros = [0; BLOCK as usize];
        let mut inbox = Inbox::<_, Vec<u8>>::new(stream.try_clone()?);
        while let Ok(Frame::Message(bytes)) = inbox.next(&self.geometry) {
            if let Ok(Message::Request(block)) = Message::decode(bytes, &self.geometry) {
                stream.write_all(&encode_piece(block))?;
                stream.write_all(&zeros[..block.len as usize])?;
            }
        }
        Ok(())
    }
}

#[test]
fn a_leecher_of_pieces_of_16_mib_from_fifty_peers_stays_within_its_cache_and_a_little() {
    const PEERS: u8 = 50;
    const CACHE: u64 = 24;
    let dir = TempDir::new("fifty");
    let file = dir.join("payload");
    File::create(&file).unwrap().set_len(384 * MIB).unwrap();
    let torrent = Torrent::create(&file, NO_TRACKER, &["-l", "16M"]);
    let metainfo = metainfo(&torrent);
    let seeds = Arc::new(Zeros {
        info_hash: metainfo.info_hash,
        geometry: metainfo.geometry,
        all_here: Barrier::new(PEERS.into()),
    });
    let cache = format!("{CACHE}M");
    let mut options = vec!["--cache".to_owned(), cache];
    for n in 1..=PEERS {
        options.extend(["--peer".to_owned(), seeds.listen(n).to_string()]);
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let to = dir.folder("to");
    let mut leecher = Peer::get(&Host::local(2), &torrent.file, &to, &options);
    let most = peak_private_memory(&leecher.process, LIMIT);
    let ended = leecher.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    say(format_args!(
        "a leecher of pieces of 16 MiB with {PEERS} peers: {:.1} MiB of private memory at most",
        most as f64 / MIB as f64
    ));
    assert!(
        most <= (CACHE + 8) * MIB + u64::from(PEERS) * PER_PEER,
        "{most} bytes"
    );
}

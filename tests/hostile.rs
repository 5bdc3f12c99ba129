//! Strangers at the door of a running peer: whatever they send, those who keep to the protocol are served.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use hivebt::base::bitfield::Bitfield;
use hivebt::base::geometry::{BLOCK, Block, Geometry, PieceIndex};
use hivebt::base::id::{InfoHash, PeerId};
use hivebt::net::inbox::{Frame, Inbox, Stock};
use hivebt::proto::metainfo::Metainfo;
use hivebt::proto::peer::handshake::{self, Handshake};
use hivebt::proto::peer::message::{Message, encode_piece};

use support::hosts::Host;
use support::http;
use support::ours::{LIMIT, Peer, Torrent};
use support::payload;
use support::process::peak_memory;
use support::tempdir::TempDir;
use support::tree::assert_same;

/// Nobody listens there.
const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

/// A running seeder and what it shares.
struct Door {
    _folder: TempDir,
    seeder: Peer,
    address: SocketAddr,
    metainfo: Metainfo,
    data: Vec<u8>,
}

impl Door {
    fn open() -> Self {
        Self::with(11, &[])
    }

    /// A payload of so many pieces.
    fn with(pieces: u32, options: &[&str]) -> Self {
        let folder = TempDir::new("hostile");
        let file = folder.join("payload");
        payload::file(&file, u64::from(pieces - 1) * 4 * u64::from(BLOCK) + 77, 7);
        let torrent = Torrent::create(&file, NO_TRACKER, &["-l", "64K"]);
        let seeder = Peer::seed(&Host::local(1), &torrent.file, folder.path(), options);
        let port = seeder.wait_event("started", LIMIT)["port"]
            .as_u64()
            .unwrap();
        seeder.wait_event("complete", LIMIT);
        let metainfo = Metainfo::from_bytes(&std::fs::read(&torrent.file).unwrap()).unwrap();
        let address = (Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()).into();
        Self {
            data: std::fs::read(file).unwrap(),
            _folder: folder,
            seeder,
            address,
            metainfo,
        }
    }

    fn geometry(&self) -> Geometry {
        self.metainfo.geometry
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// A connection after both handshakes, without extensions.
    fn greeted(&self, n: u8) -> TcpStream {
        let mut stream = self.connect();
        stream
            .write_all(&hello(self.metainfo.info_hash, n).encode())
            .unwrap();
        let mut answer = [0; handshake::LEN];
        if let Err(error) = stream.read_exact(&mut answer) {
            panic!(
                "no handshake for peer {n}: {error}\n{}",
                self.seeder.process.tail()
            );
        }
        assert_eq!(
            Handshake::decode(&answer).unwrap().info_hash,
            self.metainfo.info_hash
        );
        stream
    }

    /// Does as BEP 3 says and gets the whole payload.
    fn is_open_to_the_honest(&self, n: u8) {
        let mut stream = self.greeted(n);
        send(&mut stream, &[Message::Interested]);
        let mut inbox = Inbox::new(stream.try_clone().unwrap());
        let g = self.geometry();
        let (mut got, mut asked) = (Bitfield::none(g.pieces()), Bitfield::none(g.pieces()));
        let (mut unchoked, mut shown, mut missing) = (false, Bitfield::none(g.pieces()), 0);
        while !got.is_full() {
            let piece = match inbox.next(&g).unwrap() {
                Frame::Piece(block) => Some(block),
                Frame::Message(bytes) => {
                    match Message::decode(bytes, &g).unwrap() {
                        Message::Unchoke => unchoked = true,
                        Message::Choke => (unchoked, asked) = (false, got.clone()),
                        Message::Bitfield(set) => shown = set,
                        Message::Have(piece) => drop(shown.set(piece)),
                        _ => {}
                    }
                    None
                }
            };
            if let Some(block) = piece {
                let data = inbox.payload(block.len, &Heap).unwrap();
                let at = usize::try_from(g.block_offset(block)).unwrap();
                assert_eq!(data, self.data[at..at + data.len()], "{block:?}");
                missing -= 1;
                if missing == 0 {
                    got.set(block.piece);
                    // Whoever serves one piece after the other wants to hear of it.
                    send(&mut stream, &[Message::Have(block.piece)]);
                }
            }
            if unchoked && missing == 0 {
                let next = shown.iter().find(|&piece| !asked.has(piece));
                if let Some(next) = next {
                    asked.set(next);
                    let blocks: Vec<_> = (0..g.blocks(next))
                        .map(|n| Message::Request(g.block(next, n)))
                        .collect();
                    missing = blocks.len();
                    send(&mut stream, &blocks);
                }
            }
        }
    }

    fn stays_small(&self) {
        let peak = peak_memory(self.seeder.process.pid()).unwrap();
        assert!(peak < 48 << 20, "{peak} bytes");
    }
}

fn hello(info_hash: InfoHash, n: u8) -> Handshake {
    Handshake {
        info_hash,
        peer_id: PeerId([n; 20]),
        extended: false,
        fast: false,
        dht: false,
    }
}

fn send(stream: &mut TcpStream, messages: &[Message<'_>]) {
    let mut bytes = Vec::new();
    messages
        .iter()
        .for_each(|message| message.encode(&mut bytes));
    stream.write_all(&bytes).unwrap();
}

/// Reads until the other side closes. What it says meanwhile does not matter.
fn is_shown_the_door(mut stream: TcpStream, what: &str) {
    let mut sink = [0; 4096];
    loop {
        match stream.read(&mut sink) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{what}: still connected: {error}"),
        }
    }
}

#[test]
fn whoever_does_not_shake_hands_properly_is_sent_away() {
    let door = Door::open();
    let good = hello(door.metainfo.info_hash, 1).encode();
    let mut openings = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(4),
        vec![0; 68],
        vec![0xff; 400],
    ];
    openings.push(hello(InfoHash([3; 20]), 1).encode().to_vec());
    openings.extend((0..20).map(|at| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        bytes
    }));
    // Of an encrypted handshake, most of these are the beginning, and are waited for: all at the same time.
    let streams: Vec<_> = openings.iter().map(|_| door.connect()).collect();
    for (mut stream, bytes) in streams.iter().zip(&openings) {
        // It may be sent away before it has finished.
        let _ = stream.write_all(bytes);
    }
    for (stream, bytes) in streams.into_iter().zip(openings) {
        is_shown_the_door(stream, &format!("{}", bytes.escape_ascii()));
    }
    // Fewer than may shake hands at once from one address.
    for end in (0..good.len()).step_by(2) {
        let mut stream = door.connect();
        stream.write_all(&good[..end]).unwrap();
    }
    door.is_open_to_the_honest(99);
    door.stays_small();
}

#[test]
fn messages_of_wrong_length_or_about_nothing_end_a_connection() {
    let door = Door::open();
    let frame = |id: u8, body: &[u8]| {
        let len = u32::try_from(body.len() + 1).unwrap();
        [&len.to_be_bytes()[..], &[id], body].concat()
    };
    let mut bad = vec![
        vec![0xff, 0xff, 0xff, 0xff, 5],
        vec![0x7f, 0xff, 0xff, 0xff, 20],
        vec![0, 2, 0, 0, 9],
    ];
    for id in 0..=8 {
        let right = [0, 0, 0, 0, 4, 0, 12, 8, 12][usize::from(id)];
        let wrong = (0..=13).filter(|&len| if id == 5 { len != 2 } else { len != right });
        // A `piece` may have any length from 9 on, but this one was not asked for.
        bad.extend(
            wrong
                .filter(|&len| id != 7 || len < 8)
                .map(|len| frame(id, &vec![0; len])),
        );
    }
    let huge = u32::MAX.to_be_bytes();
    bad.push(frame(4, &huge));
    bad.push(frame(5, &[0xff, 0xff]));
    for id in [6, 8, 16] {
        for words in [
            [u32::MAX, 0, 1],
            [0, u32::MAX, 1],
            [0, 0, u32::MAX],
            [0, 0, 0],
            [0, 65_535, 2],
            [11, 0, 1],
        ] {
            bad.push(frame(id, &words.map(u32::to_be_bytes).concat()));
        }
    }
    bad.push(frame(7, &[&huge[..], &huge, &[0; 16]].concat()));
    for (n, bytes) in (0_u8..).zip(&bad) {
        let mut stream = door.greeted(n);
        let _ = stream.write_all(bytes);
        is_shown_the_door(stream, &format!("{bytes:?}"));
    }
    door.is_open_to_the_honest(255);
    door.stays_small();
}

#[test]
fn floods_end_where_the_protocol_does() {
    let door = Door::open();
    let any = Block {
        piece: PieceIndex(0),
        begin: 0,
        len: BLOCK,
    };
    // Requests without end from someone who never reads an answer.
    let flooder = door.greeted(1);
    let mut writer = flooder.try_clone().unwrap();
    let flood = thread::spawn(move || {
        let mut bytes = Vec::new();
        Message::Interested.encode(&mut bytes);
        (0..10_000).for_each(|_| Message::Request(any).encode(&mut bytes));
        (0..50)
            .take_while(|_| writer.write_all(&bytes).is_ok())
            .count()
    });
    // Data that nobody asked for, again and again.
    let mut pusher = door.greeted(2);
    let block = [&encode_piece(any)[..], &vec![0; BLOCK as usize]].concat();
    let pushed = (0..2000)
        .take_while(|_| pusher.write_all(&block).is_ok())
        .count();
    assert!(
        pushed < 2000,
        "two thousand blocks that nobody asked for were taken"
    );
    // Idlers who hold connections and say nothing, or a byte.
    let idlers: Vec<_> = (3..40).map(|n| door.greeted(n)).collect();
    door.is_open_to_the_honest(200);
    door.stays_small();
    drop((idlers, flooder));
    assert!(flood.join().unwrap() < 50, "the flood was taken to its end");
}

/// Somebody who says that he has everything, and sends noise for some of it. He is no fool: everything else he does by the book.
#[derive(Clone)]
struct Liar {
    info_hash: InfoHash,
    geometry: Geometry,
    /// What he sends when he does not lie.
    data: Arc<Vec<u8>>,
    /// Whether he lies: the how manieth block it is that he sends, and which.
    lies: fn(usize, Block) -> bool,
    /// What he was asked for.
    asked: Arc<Mutex<Vec<Block>>>,
}

impl Liar {
    fn of(door: &Door, lies: fn(usize, Block) -> bool) -> Self {
        Self {
            info_hash: door.metainfo.info_hash,
            geometry: door.geometry(),
            data: Arc::new(door.data.clone()),
            lies,
            asked: Arc::default(),
        }
    }

    /// Waits for connections, and says where.
    fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 66), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let liar = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let liar = liar.clone();
                thread::spawn(move || lie(stream, &liar));
            }
        });
        address
    }

    fn answer(&self, block: Block) -> Vec<u8> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(block);
        if (self.lies)(asked.len(), block) {
            return vec![0x55; block.len as usize];
        }
        let at = usize::try_from(self.geometry.block_offset(block)).unwrap();
        self.data[at..at + block.len as usize].to_vec()
    }
}

/// Blocks come into memory of their own.
struct Heap;

impl Stock<Vec<u8>> for Heap {
    fn take(&self, len: u32) -> Vec<u8> {
        vec![0; len as usize]
    }

    fn spare(&self) -> Option<Vec<u8>> {
        None
    }
}

/// What he is asked for of the last piece he keeps back until the other side has all the rest.
fn lie(mut stream: TcpStream, liar: &Liar) -> Option<()> {
    let g = liar.geometry;
    let (mut theirs_now, mut kept_back) = (0, Vec::new());
    let mut theirs = [0; handshake::LEN];
    stream.read_exact(&mut theirs).ok()?;
    stream.write_all(&hello(liar.info_hash, 66).encode()).ok()?;
    send_if_open(&mut stream, &Message::Bitfield(Bitfield::all(g.pieces())))?;
    send_if_open(&mut stream, &Message::Unchoke)?;
    let mut inbox = Inbox::<_, Vec<u8>>::new(stream.try_clone().ok()?);
    loop {
        if let Frame::Message(bytes) = inbox.next(&g).ok()? {
            match Message::decode(bytes, &g) {
                Ok(Message::Request(block)) => kept_back.push(block),
                Ok(Message::Have(_)) => theirs_now += 1,
                _ => {}
            }
        }
        let last = PieceIndex(g.pieces() - 1);
        let ready = |block: &mut Block| block.piece != last || theirs_now + 1 >= g.pieces();
        for block in kept_back.extract_if(.., ready) {
            let answer = liar.answer(block);
            stream
                .write_all(&[&encode_piece(block)[..], &answer].concat())
                .ok()?;
        }
    }
}

fn send_if_open(stream: &mut TcpStream, message: &Message<'_>) -> Option<()> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    stream.write_all(&bytes).ok()
}

/// A download from whoever listens at `peers`, and where it goes.
fn get(door: &Door, peers: &[SocketAddr], options: &[&str]) -> (TempDir, Peer) {
    let to = TempDir::new("hostile-get");
    let torrent = to.join("x.torrent");
    std::fs::write(&torrent, door.metainfo.to_bytes()).unwrap();
    let peers: Vec<_> = peers.iter().map(SocketAddr::to_string).collect();
    let named = peers.iter().flat_map(|peer| ["--peer", peer]);
    let all: Vec<_> = named.chain(options.iter().copied()).collect();
    let get = Peer::get(&Host::local(2), &torrent, to.path(), &all);
    (to, get)
}

#[test]
fn a_liar_among_the_seeds_does_not_keep_a_download_from_finishing() {
    let door = Door::open();
    let liar = Liar::of(&door, |_, _| true).listen();
    let (to, mut get) = get(&door, &[liar, door.address], &[]);
    let ended = get.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(std::fs::read(to.join("payload")).unwrap(), door.data);
}

#[test]
fn one_bad_block_among_good_ones_is_traced_to_who_sent_it() {
    let door = Door::with(41, &["--max-upload", "1M"]);
    let liar = Liar::of(&door, |nth, _| nth == 6).listen();
    let (to, mut get) = get(&door, &[liar, door.address], &[]);
    let ended = get.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(std::fs::read(to.join("payload")).unwrap(), door.data);
    let blamed = |peer: SocketAddr| {
        let line = format!("payload: peer {peer} sent bad data in piece ");
        ended.stderr.matches(&line).count()
    };
    assert_eq!(
        (blamed(liar), blamed(door.address)),
        (1, 0),
        "{}",
        ended.stderr
    );
}

/// The piece in which the only source has a bad byte.
const LAST: u32 = 40;

#[test]
fn an_only_source_with_one_bad_byte_gives_all_the_rest_and_another_the_missing_piece() {
    let door = Door::with(LAST + 1, &[]);
    let source = Liar::of(&door, |_, block| block.piece.0 == LAST && block.begin == 0);
    let (to, mut get) = get(&door, &[source.listen()], &["--sequential"]);
    let port = get.wait_event("started", LIMIT)["port"].as_u64().unwrap();
    let line = get.process.wait_line("sent bad data in piece", LIMIT);
    let end = format!("in piece {LAST}: nobody else has it, so it is asked again in 120 s");
    assert!(line.ends_with(&end), "{line}");
    let first = source.asked.lock().unwrap().clone();
    let of_last = first.iter().filter(|block| block.piece.0 == LAST);
    let blocks = door.geometry().blocks(PieceIndex(LAST)) as usize;
    assert_eq!(of_last.count(), blocks, "asked for once");

    let leecher = format!("{}:{port}", Host::local(2).address);
    let torrent = to.join("x.torrent");
    let copy = TempDir::new("hostile-second");
    std::fs::write(copy.join("payload"), &door.data).unwrap();
    let toward = ["--peer", &leecher];
    let _second = Peer::seed(&Host::local(3), &torrent, copy.path(), &toward);
    let ended = get.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(std::fs::read(to.join("payload")).unwrap(), door.data);
    let asked = source.asked.lock().unwrap().clone();
    assert_eq!(asked, first, "and not asked again");
}

#[test]
fn a_tracker_that_answers_nonsense_is_told_of_and_survived() {
    let door = Door::open();
    let bodies: [&[u8]; 6] = [
        b"",
        b"<html>hello</html>",
        b"d8:intervali-1e5:peers5:abcdee",
        b"d8:intervali99999999999999e5:peersld2:ip999:xee",
        b"d14:failure reason7:go away",
        &[b'l'; 100_000],
    ];
    let trackers: Vec<_> = bodies
        .iter()
        .map(|body| format!("http://{}/announce", http::serve(body.to_vec()).0))
        .collect();
    let mut metainfo = door.metainfo.clone();
    metainfo.announce = trackers.iter().map(|url| vec![url.clone()]).collect();
    let to = TempDir::new("hostile-tracker");
    let torrent = to.join("x.torrent");
    std::fs::write(&torrent, metainfo.to_bytes()).unwrap();
    let honest = door.address.to_string();
    let mut get = Peer::get(&Host::local(2), &torrent, to.path(), &["--peer", &honest]);
    let ended = get.process.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_same(
        Path::new(&to.join("payload")),
        &door._folder.join("payload"),
    );
}

#[test]
fn a_handshake_that_never_comes_holds_nobody_up() {
    let door = Door::open();
    let silent: Vec<_> = (0..60).map(|_| door.connect()).collect();
    door.is_open_to_the_honest(1);
    drop(silent);
}

//! Magnet links as operators and programs meet them: what a link alone leads to, what is kept of it, and who stands in the way.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use hivebt::base::id::PeerId;
use hivebt::proto::magnet::Magnet;
use hivebt::proto::metainfo::Metainfo;
use hivebt::proto::peer::extended::ExtendedHandshake;
use hivebt::proto::peer::handshake::{self, Handshake};
use hivebt::proto::peer::message::Message;
use hivebt::proto::peer::metadata::{self, MetadataMessage, PART};
use rustix::process::Signal;
use serde_json::Value;

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, Tracker, program};
use support::process::{Ended, Process, run};
use support::tempdir::TempDir;
use support::tree::assert_same;
use support::{http, payload};

const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

/// A seeder, and a link that names nothing but it.
struct Origin {
    folder: TempDir,
    torrent: Torrent,
    seeder: Peer,
    address: String,
}

impl Origin {
    /// A payload of a megabyte whose metadata has two parts.
    fn new(options: &[&str]) -> Self {
        let folder = TempDir::new("magnet");
        let file = folder.join("from/payload.bin");
        payload::file(&file, (16 << 20) + 5, 12);
        let create = [&["-l", "16K"], options].concat();
        Self::of(folder, &file, &create)
    }

    fn of(folder: TempDir, payload: &Path, create: &[&str]) -> Self {
        let torrent = Torrent::create(payload, NO_TRACKER, create);
        let seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &[]);
        let address = seeder.serving_address(&Host::local(1));
        Self {
            folder,
            torrent,
            seeder,
            address,
        }
    }

    fn metainfo(&self) -> Metainfo {
        Metainfo::from_bytes(&fs::read(&self.torrent.file).unwrap()).unwrap()
    }

    /// Names the seeder, and no tracker.
    fn link(&self) -> String {
        let mut magnet = Magnet::new(self.metainfo().info_hash);
        magnet.peers = vec![self.address.clone()];
        magnet.to_string()
    }

    fn command(&self, link: &str, options: &[&str]) -> Command {
        let mut command = Peer::command(&Host::local(2), "get");
        command.arg("-o").arg(self.folder.join("to"));
        command.args(options).arg(link);
        command
    }

    fn get(&self, link: &str, options: &[&str]) -> Ended {
        run("get", self.command(link, options), LIMIT)
    }

    fn assert_fetched(&self, ended: &Ended) {
        assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
        assert_same(
            &self.torrent.payload(),
            &self.folder.join("to").join(&self.torrent.name),
        );
    }
}

fn events(ended: &Ended) -> Vec<String> {
    let events = ended.stdout.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["event"].as_str().unwrap().to_owned()
    });
    events.filter(|event| event != "progress").collect()
}

#[test]
fn a_link_that_names_a_peer_is_enough() {
    let origin = Origin::new(&[]);
    let saved = origin.folder.join("saved.torrent");
    let save = ["--save-torrent", saved.to_str().unwrap()];
    let ended = origin.get(&origin.link(), &save);
    origin.assert_fetched(&ended);
    let order = ["fetching_metadata", "started", "checked", "complete"];
    assert_eq!(events(&ended), order);
    let kept = Metainfo::from_bytes(&fs::read(&saved).unwrap()).unwrap();
    assert_eq!(kept.raw_info, origin.metainfo().raw_info);
    // The same again finds everything there, and its own .torrent.
    origin.assert_fetched(&origin.get(&origin.link(), &save));
    fs::write(&saved, "something else").unwrap();
    let ended = origin.get(&origin.link(), &save);
    assert_eq!(ended.code, 6, "{}", ended.stderr);
    assert_eq!(fs::read(&saved).unwrap(), b"something else");
}

#[test]
fn a_link_in_base32_with_a_tracker_and_a_name_is_enough() {
    let origin = Origin::new(&[]);
    let tracker = Tracker::start(&Host::local(1), 0, &[]);
    let hash = origin.metainfo().info_hash;
    let base32 = base32(&hash.0);
    let port = origin.address.rsplit(':').next().unwrap();
    let announce = format!(
        "/announce?info_hash={}&peer_id=-XX0001-000000000000&port={port}&left=0",
        support::foreign::percent(&hash.to_string())
    );
    tracker.get(&announce).unwrap();
    let link = format!(
        "magnet:?xt=urn:btih:{base32}&dn=a+name&tr={}",
        tracker.url()
    );
    let ended = origin.get(&link, &["-v"]);
    origin.assert_fetched(&ended);
    assert!(
        ended.stderr.contains("a name: fetching metadata"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("payload.bin: complete"),
        "{}",
        ended.stderr
    );
}

/// RFC 4648, without padding, as links have it.
fn base32(bytes: &[u8]) -> String {
    let bit = |n: usize| bytes[n / 8] >> (7 - n % 8) & 1;
    let letter = |n: usize| (0..5).fold(0, |five, i| five << 1 | bit(n * 5 + i));
    let letters = (0..bytes.len() * 8 / 5).map(letter);
    letters
        .map(|n| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(n)]))
        .collect()
}

#[test]
fn a_link_chooses_files_unless_the_operator_does() {
    let folder = TempDir::new("magnet-so");
    let top = folder.join("from/lot");
    for (n, name) in ["a", "b", "c"].iter().enumerate() {
        payload::file(&top.join(name), 100_000, n as u64);
    }
    let origin = Origin::of(folder, &top, &["-l", "16K"]);
    let there = |name: &str| origin.folder.join("to/lot").join(name).exists();
    let link = origin.link() + "&so=0,2-9";
    assert_eq!(origin.get(&link, &[]).code, 0);
    assert_eq!((there("a"), there("b"), there("c")), (true, false, true));
    assert_eq!(origin.get(&link, &["--select", "b"]).code, 0);
    assert!(there("b"), "what the operator says counts");
    let ended = origin.get(&(origin.link() + "&so=7"), &[]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("none of its 3 files"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_link_that_nobody_answers_obeys_deadlines_and_signals() {
    let folder = TempDir::new("magnet-none");
    let link = format!("magnet:?xt=urn:btih:{}&dn=x", "7".repeat(40));
    let command = |options: &[&str]| {
        let mut command = Peer::command(&Host::local(1), "get");
        command
            .arg("-o")
            .arg(folder.path())
            .args(options)
            .arg(&link);
        command
    };
    for option in ["--timeout", "--stall-timeout"] {
        let ended = run("get", command(&[option, "1s"]), LIMIT);
        assert_eq!(ended.code, 5, "{}", ended.stderr);
    }
    let mut process = Process::start("get", command(&[]));
    process.wait_for("the search", LIMIT, |_, line| {
        line.contains("fetching_metadata").then_some(())
    });
    process.signal(Signal::INT);
    assert_eq!(process.wait(LIMIT).code, 130);
}

#[test]
fn links_that_cannot_be_used_are_refused_with_the_reason() {
    let peer = |args: &[&str]| {
        let mut command = Command::new(program("peer"));
        command.args(args);
        run("hivebt-peer", command, LIMIT)
    };
    let ended = peer(&["get", "magnet:?dn=x"]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("`xt=urn:btih:…` is missing"));
    let link = format!("magnet:?xt=urn:btih:{}", "7".repeat(40));
    for verb in [&["seed", &link][..], &["wait", "--complete", "1", &link]] {
        let ended = peer(verb);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(
            ended.stderr.contains("takes the .torrent"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn nobody_gets_the_metadata_of_a_private_torrent_from_us() {
    let origin = Origin::new(&["--private"]);
    let mut link = origin.link();
    link.push_str("&dn=secret");
    let ended = origin.get(&link, &["--timeout", "3s"]);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    let mut hello = Hello::to(&origin);
    let said = hello.introduction();
    assert_eq!(
        (said.takes(metadata::NAME), said.metadata_size),
        (None, None)
    );
}

/// A connection to a seeder, after the handshake.
struct Hello(TcpStream);

impl Hello {
    fn to(origin: &Origin) -> Self {
        let address: SocketAddr = origin.address.parse().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let ours = Handshake {
            info_hash: origin.metainfo().info_hash,
            peer_id: PeerId([7; 20]),
            extended: true,
            fast: false,
            dht: false,
        };
        stream.write_all(&ours.encode()).unwrap();
        let mut theirs = [0; handshake::LEN];
        stream.read_exact(&mut theirs).unwrap();
        Self(stream)
    }

    /// The next extended message: its number and payload.
    fn extended(&mut self) -> (u8, Vec<u8>) {
        next_extended(&mut self.0).expect("a message")
    }

    fn introduction(&mut self) -> ExtendedHandshake {
        let (id, payload) = self.extended();
        assert_eq!(id, 0);
        ExtendedHandshake::decode(&payload).unwrap()
    }
}

/// `None` at the end of the connection.
fn next_extended(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    loop {
        let mut len = [0; 4];
        stream.read_exact(&mut len).ok()?;
        let mut message = vec![0; u32::from_be_bytes(len) as usize];
        stream.read_exact(&mut message).ok()?;
        if let [20, id, payload @ ..] = &message[..] {
            return Some((*id, payload.to_vec()));
        }
    }
}

fn send(stream: &mut TcpStream, message: &Message<'_>) {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    // Whoever has hung up has done so on purpose.
    let _ = stream.write_all(&bytes);
}

fn said(id: u8, message: MetadataMessage<'_>) -> Message<'static> {
    let payload = message.encode().into();
    Message::Extended { id, payload }
}

fn takes_metadata(size: Option<u32>) -> ExtendedHandshake {
    ExtendedHandshake {
        extensions: [(metadata::NAME.to_owned(), 9)].into(),
        metadata_size: size,
        ..ExtendedHandshake::default()
    }
}

#[test]
fn whoever_asks_for_the_metadata_in_a_loop_is_not_answered_any_more() {
    let origin = Origin::new(&[]);
    let raw_info = origin.metainfo().raw_info;
    let mut hello = Hello::to(&origin);
    let said_size = hello.introduction().metadata_size;
    assert_eq!(said_size, u32::try_from(raw_info.len()).ok());
    send(&mut hello.0, &takes_metadata(None).message());
    // Two parts, three times; and whatever else comes, nothing beyond them.
    for n in 0..1000 {
        send(&mut hello.0, &said(1, MetadataMessage::Request(n % 2)));
    }
    for n in 0..6 {
        let (id, payload) = hello.extended();
        let Some(MetadataMessage::Data { part, data, .. }) = MetadataMessage::decode(&payload)
        else {
            panic!("{payload:?}")
        };
        assert_eq!((id, part), (9, n % 2));
        let from = part as usize * PART as usize;
        assert!(raw_info[from..].starts_with(data));
    }
    hello.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(next_extended(&mut hello.0), None);
}

/// A peer that hands out metadata of the right size and the wrong content.
fn liar(origin: &Origin) -> String {
    let metainfo = origin.metainfo();
    let listener = TcpListener::bind("127.0.0.3:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut hello = [0; handshake::LEN];
            if stream.read_exact(&mut hello).is_err() {
                continue;
            }
            let ours = Handshake {
                info_hash: metainfo.info_hash,
                peer_id: PeerId([66; 20]),
                extended: true,
                fast: false,
                dht: false,
            };
            stream.write_all(&ours.encode()).unwrap();
            let size = u32::try_from(metainfo.raw_info.len()).unwrap();
            send(&mut stream, &takes_metadata(Some(size)).message());
            while let Some((id, payload)) = next_extended(&mut stream) {
                if id != 9 {
                    continue;
                }
                if let Some(MetadataMessage::Request(part)) = MetadataMessage::decode(&payload) {
                    let data = vec![0; metadata::part_len(size, part) as usize];
                    let total_size = size;
                    let data = MetadataMessage::Data {
                        part,
                        total_size,
                        data: &data,
                    };
                    send(&mut stream, &said(1, data));
                }
            }
        }
    });
    address
}

#[test]
fn a_liar_does_not_stand_in_the_way() {
    let origin = Origin::new(&[]);
    let link = origin.link() + "&x.pe=" + &liar(&origin);
    origin.assert_fetched(&origin.get(&link, &[]));
}

#[test]
fn a_run_takes_links_and_keeps_torrents() {
    let origin = Origin::new(&[]);
    let watch = origin.folder.folder("watch");
    let mut command = Command::new(program("peer"));
    command.args(["run", "--json", "-p", "0", "--bind", "127.0.0.2"]);
    command
        .args(["--status", "127.0.0.1:0", "--watch"])
        .arg(&watch);
    command.arg("-o").arg(origin.folder.join("to"));
    let station = Process::start("hivebt-peer run", command);
    let at = station.status_address(LIMIT);
    let ask = |method: &str, path: &str, body: &[u8]| {
        let (status, body) = http::ask(at, method, path, &[], body).unwrap();
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let nobody = format!("magnet:?xt=urn:btih:{}&dn=nobody", "7".repeat(40));
    let (status, shown) = ask("POST", "/torrents", nobody.as_bytes());
    assert_eq!((status, &shown["name"]), (201, &"nobody".into()));
    assert_eq!(shown["state"], "fetching metadata");
    assert_eq!(shown["completion_percentage"], 0.0);
    assert_eq!(ask("POST", "/torrents", b"magnet:?dn=x").0, 400);
    let there = watch.join(format!("{}.magnet", "7".repeat(40)));
    assert!(there.is_file());
    let (status, _) = ask("DELETE", &format!("/torrents/{}", "7".repeat(40)), b"");
    assert_eq!((status, there.exists()), (200, false));

    let mine = watch.join("mine.magnet");
    fs::write(&mine, origin.link() + "\n").unwrap();
    station.wait_for("the payload", LIMIT, |_, line| {
        line.contains("\"complete\"").then_some(())
    });
    assert_same(
        &origin.torrent.payload(),
        &origin.folder.join("to/payload.bin"),
    );
    let kept = watch.join(format!("{}.torrent", origin.torrent.info_hash));
    let kept = Metainfo::from_bytes(&fs::read(kept).unwrap()).unwrap();
    assert_eq!(kept.raw_info, origin.metainfo().raw_info);
    assert!(watch.join("mine.magnet.removed").is_file() && !mine.exists());
    let (_, shown) = ask("GET", &format!("/stats/{}", origin.torrent.info_hash), b"");
    assert_eq!(shown["complete"], true);
    drop(origin.seeder);
}

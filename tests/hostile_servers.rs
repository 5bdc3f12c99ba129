//! Trackers and web seeds that lie, stall, never end and lead in circles: a download from an honest peer arrives all the same, in little memory.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent};
use support::process::peak_private_memory;
use support::say::say;
use support::tempdir::TempDir;
use support::{payload, tree};

const MIB: u64 = 1 << 20;
const BYTES: u64 = 3 * MIB;

/// Long enough for a hostile server to have its say.
const RATE: &str = "1M";

/// How a hostile server answers the request of which this is the head.
type Answer = fn(&mut TcpStream, &str) -> std::io::Result<()>;

/// A server that answers everybody so, and how often it was asked.
fn serve(answer: Answer) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (
        listener.local_addr().unwrap(),
        Arc::<AtomicUsize>::default(),
    );
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || {
                let mut head = [0; 4096];
                let n = stream.read(&mut head).unwrap_or(0);
                let _ = answer(&mut stream, &String::from_utf8_lossy(&head[..n]));
            });
        }
    });
    (address, asked)
}

fn whole(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat())
}

/// `head`, and then `more` for as long as somebody listens.
fn without_end(stream: &mut TcpStream, head: &str, more: &[u8]) -> std::io::Result<()> {
    stream.write_all(head.as_bytes())?;
    let more = more.repeat(1 + 60_000 / more.len());
    loop {
        stream.write_all(&more)?;
    }
}

/// A byte now and then.
fn drip(stream: &mut TcpStream, head: &str) -> std::io::Result<()> {
    stream.write_all(head.as_bytes())?;
    loop {
        thread::sleep(Duration::from_millis(100));
        stream.write_all(b"d")?;
    }
}

fn redirect(stream: &mut TcpStream, to: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes())
}

const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

const TRACKERS: [(&str, Answer); 17] = [
    ("hangs up", |_, _| Ok(())),
    ("has no end", |s, _| without_end(s, OK, b"l")),
    ("has chunks without end", |s, _| {
        without_end(s, CHUNKED, b"1\r\nl\r\n")
    }),
    ("has a chunk of impossible length", |s, _| {
        without_end(s, CHUNKED, b"ffffffffffffffff\r\n")
    }),
    ("has a head without end", |s, _| {
        without_end(s, "HTTP/1.1 200 OK\r\n", b"X-More: of it\r\n")
    }),
    ("promises everything", |s, _| {
        without_end(
            s,
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
            b"i",
        )
    }),
    ("drips", |s, _| drip(s, OK)),
    ("drips a head", |s, _| drip(s, "HTTP/1.1 200 ")),
    ("leads in a circle", |s, _| redirect(s, "/announce?again")),
    ("leads to a file", |s, _| redirect(s, "file:///etc/passwd")),
    ("is compressed", |s, _| {
        let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
        without_end(s, head, b"\x1f\x8b\x08\0\0\0\0\0\0\x03")
    }),
    ("has negative intervals", |s, _| {
        whole(s, b"d8:intervali-5e12:min intervali-9e5:peers0:e")
    }),
    ("has no interval at all", |s, _| {
        whole(s, b"d8:intervali0e12:min intervali0e5:peers0:e")
    }),
    ("has an interval of a million years", |s, _| {
        whole(s, b"d8:intervali9223372036854775807e5:peers0:e")
    }),
    ("has wrong types", |s, _| {
        whole(
            s,
            b"d8:intervald3:fooi1ee5:peersli1ed2:ip3:abc4:porti99999eee6:peers6i5ee",
        )
    }),
    ("has peers that are none", |s, _| {
        let peers = b"\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xe0\0\0\x01\0\x50\x7f\0\0\x01\0\0"
            .repeat(20_000);
        whole(
            s,
            &[b"d8:intervali1800e5:peers480000:", &peers[..], b"e"].concat(),
        )
    }),
    ("nests", |s, _| whole(s, &vec![b'd'; 900_000])),
];

const WEB_SEEDS: [(&str, Answer); 8] = [
    ("has no end", |s, _| without_end(s, OK, b"x")),
    ("sends more than the range", |s, head| {
        without_end(s, &partial(head, 0), b"x")
    }),
    ("sends another range", |s, head| {
        without_end(s, &partial(head, 16384), b"x")
    }),
    ("sends less", |s, head| {
        s.write_all(
            [partial(head, 0).as_bytes(), b"only this"]
                .concat()
                .as_slice(),
        )
    }),
    ("drips", |s, head| drip(s, &partial(head, 0))),
    ("leads in a circle", |s, _| redirect(s, "/payload.bin")),
    ("has a head without end", |s, _| {
        without_end(s, "HTTP/1.1 206 Partial Content\r\n", b"X-More: of it\r\n")
    }),
    ("promises everything", |s, _| {
        without_end(
            s,
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-99999999999999/99999999999999\r\n\r\n",
            b"x",
        )
    }),
];

/// The head of an answer to the range that was asked for, or to one that begins `off` later.
fn partial(head: &str, off: u64) -> String {
    let range = head.to_ascii_lowercase();
    let range = range.split_once("bytes=").map_or("", |(_, rest)| rest);
    let range = range.split(['\r', ',']).next().unwrap_or_default();
    let (from, to) = range.split_once('-').unwrap_or(("0", "0"));
    let [from, to] = [from, to].map(|n| n.trim().parse::<u64>().unwrap_or(0) + off);
    let length = (to + 1).saturating_sub(from);
    format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{to}/{BYTES}\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// An honest seeder.
struct Site {
    dir: TempDir,
    torrent: Torrent,
    _seeder: Peer,
    at: String,
}

impl Site {
    fn new() -> Self {
        let dir = TempDir::new("hostile-servers");
        let file = dir.join("from/payload.bin");
        payload::file(&file, BYTES, 17);
        let torrent = Torrent::create(&file, "http://127.0.0.1:1/announce", &["-l", "64K"]);
        let host = Host::local(1);
        let seeder = Peer::seed(&host, &torrent.file, &torrent.parent, &[]);
        let at = seeder.serving_address(&host);
        Self {
            dir,
            torrent,
            _seeder: seeder,
            at,
        }
    }

    /// A download that knows the seeder, with `options`; `announce` is the torrent's tracker.
    fn get(&self, name: &str, announce: &str, options: &[&str]) -> Peer {
        let file = self.dir.join(format!("{name}/from/payload.bin"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::hard_link(self.torrent.payload(), &file).unwrap();
        let torrent = Torrent::create(&file, announce, &["-l", "64K"]);
        let to = self.dir.folder(format!("{name}/to"));
        let options = [&["--peer", &self.at, "--max-download", RATE], options].concat();
        Peer::get(&Host::local(2), &torrent.file, &to, &options)
    }

    /// It ends well, with the right data, and small. Gives its memory and its CPU time.
    fn arrives(&self, name: &str, mut get: Peer) -> (u64, Duration) {
        let most = peak_private_memory(&get.process, LIMIT) / MIB;
        let ended = get.process.wait(LIMIT);
        assert_eq!(ended.code, 0, "{name}: {}", ended.stderr);
        let path = self.dir.join(format!("{name}/to/payload.bin"));
        tree::assert_same(&self.torrent.payload(), &path);
        assert!(most < 32, "{name}: {most} MiB");
        (most, ended.cpu)
    }
}

#[test]
fn no_tracker_keeps_a_download_from_arriving() {
    let site = Site::new();
    let gets: Vec<_> = TRACKERS
        .iter()
        .map(|&(name, answer)| {
            let (at, asked) = serve(answer);
            let get = site.get(name, &format!("http://{at}/announce"), &[]);
            (name, get, asked)
        })
        .collect();
    let (mut memory, mut cpu) = (0, Duration::ZERO);
    for (name, get, asked) in gets {
        let (most, took) = site.arrives(name, get);
        (memory, cpu) = (memory.max(most), cpu.max(took));
        let asked = asked.load(Ordering::Relaxed);
        // Started, once more after a few seconds, completed, stopped, each with a redirect or so: but not in a loop.
        assert!((1..=40).contains(&asked), "{name}: asked {asked} times");
    }
    say(format_args!(
        "hostile trackers: {} kinds over HTTP; a peer has {memory} MiB and {cpu:?} of a core at most",
        TRACKERS.len()
    ));
}

#[test]
fn no_udp_tracker_keeps_a_download_from_arriving() {
    let site = Site::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let announce = format!("udp://{}/announce", socket.local_addr().unwrap());
    let asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        let mut question = [0; 2048];
        let mut rng = fastrand::Rng::with_seed(4);
        while let Ok((n, from)) = socket.recv_from(&mut question) {
            count.fetch_add(1, Ordering::Relaxed);
            let transaction = &question[12..16.min(n).max(12)];
            // Whatever is asked for: noise, the right transaction with anything behind it, and in the end an answer to the question.
            for len in (0..1400).step_by(7) {
                let noise: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
                let action = rng.u32(..5).to_be_bytes();
                let right = [&action[..], transaction, &noise].concat();
                let _ = socket.send_to(&noise, from);
                let _ = socket.send_to(&right[..right.len().min(1400)], from);
            }
        }
    });
    let get = site.get("udp", &announce, &[]);
    let (memory, cpu) = site.arrives("udp", get);
    let asked = asked.load(Ordering::Relaxed);
    say(format_args!(
        "hostile UDP tracker: asked {asked} times, 400 datagrams each; {memory} MiB and {cpu:?} of a core"
    ));
    assert!((1..=40).contains(&asked), "asked {asked} times");
}

#[test]
fn no_web_seed_keeps_a_download_from_arriving() {
    let site = Site::new();
    let servers = WEB_SEEDS.map(|(name, answer)| (name, serve(answer)));
    let urls: Vec<String> = servers
        .iter()
        .map(|(_, (at, _))| format!("http://{at}/payload.bin"))
        .collect();
    let options: Vec<&str> = urls.iter().flat_map(|url| ["--web-seed", url]).collect();
    let get = site.get("web", "http://127.0.0.1:1/announce", &options);
    let (memory, cpu) = site.arrives("web", get);
    for (name, (_, asked)) in &servers {
        let asked = asked.load(Ordering::Relaxed);
        assert!((1..=40).contains(&asked), "{name}: asked {asked} times");
    }
    say(format_args!(
        "hostile web seeds: {} kinds at once; {memory} MiB and {cpu:?} of a core",
        WEB_SEEDS.len()
    ));
}

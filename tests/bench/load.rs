//! A load of announces: what so many peers would send, from a few threads, a connection each as peers have it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Announces to `port` on all of 127.0.0.0/8 for `span`, from `threads` threads; gives how many were answered, and in how many seconds.
///
/// With `keep`, a thread sends up to 100 announces on each connection, one after the other; without, one.
pub fn run(port: u16, hashes: &[String], threads: u64, keep: bool, span: Duration) -> (u64, f64) {
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let answered = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|seed| {
                let over = &over;
                scope.spawn(move || worker(port, hashes, seed, keep, over))
            })
            .collect();
        thread::sleep(span);
        over.store(true, Ordering::Relaxed);
        let counts = workers.into_iter().map(thread::ScopedJoinHandle::join);
        counts.map(|count| count.expect("no panic")).sum()
    });
    (answered, begun.elapsed().as_secs_f64())
}

fn worker(port: u16, hashes: &[String], seed: u64, keep: bool, over: &AtomicBool) -> u64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut answered = 0;
    let mut buffer = vec![0; 1 << 16];
    while !over.load(Ordering::Relaxed) {
        // Many addresses, because the ports of one would run out.
        let address = Ipv4Addr::new(127, rng.u8(1..250), rng.u8(..), rng.u8(1..250));
        let mut stream = TcpStream::connect(SocketAddr::from((address, port)))
            .unwrap_or_else(|e| panic!("cannot connect to the tracker: {e}"));
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a socket takes a time-out");
        let _ = stream.set_nodelay(true);
        for _ in 0..if keep { 100 } else { 1 } {
            let request = request(hashes, keep, &mut rng);
            if stream.write_all(request.as_bytes()).is_err() {
                break;
            }
            let Some(closed) = reply(&mut stream, &mut buffer) else {
                break;
            };
            answered += 1;
            if closed || over.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    answered
}

fn request(hashes: &[String], keep: bool, rng: &mut fastrand::Rng) -> String {
    let hash = &hashes[rng.usize(..hashes.len())];
    let (port, peer) = (rng.u16(1024..), rng.u64(..));
    let left = if rng.u8(..4) == 0 { 0 } else { 1_000_000 };
    let (version, connection) = if keep {
        ("1.1", "Connection: keep-alive\r\n")
    } else {
        ("1.1", "Connection: close\r\n")
    };
    format!(
        "GET /announce?info_hash={hash}&peer_id=-XX0001-{:012x}&port={port}&uploaded=0&downloaded=0&left={left}&compact=1&numwant=50 HTTP/{version}\r\nHost: tracker\r\n{connection}\r\n",
        peer & 0xffff_ffff_ffff
    )
}

/// Reads a reply and makes sure that it is one with peers; whether the other side has closed. `None` if it is cut short.
fn reply(stream: &mut TcpStream, buffer: &mut [u8]) -> Option<bool> {
    let mut filled = 0;
    loop {
        let n = stream.read(buffer.get_mut(filled..)?).ok()?;
        filled += n;
        let got = &buffer[..filled];
        if let Some(end) = got.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
            let (_, rest) = head.split_once("content-length:")?;
            let length: usize = rest.lines().next()?.trim().parse().ok()?;
            if filled >= end + 4 + length {
                let body = &got[end + 4..];
                assert!(
                    body.windows(7).any(|w| w == b"5:peers"),
                    "not a reply with peers: {}",
                    String::from_utf8_lossy(body)
                );
                return Some(head.contains("connection: close") || head.starts_with("http/1.0"));
            }
        }
        if n == 0 {
            return None;
        }
    }
}

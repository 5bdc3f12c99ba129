//! A load of announces over HTTP: what so many peers would send, from a few threads, a connection each as peers have it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hivebt::proto::tracker::http::announce_url;

use crate::crowd;

/// Clients that announce to a tracker on all of 127.0.0.0/8.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    /// The tracker's port.
    pub port: u16,
    /// How many.
    pub threads: u32,
    /// Whether each sends up to 100 announces on a connection, one after the other; else one.
    pub keep: bool,
}

impl Clients {
    /// Announces all peers once, as soon as the tracker listens.
    pub fn announce_all(self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(Instant::now() < deadline, "the tracker does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        self.each(|n| {
            let mut peers = crowd::share(n, self.threads);
            self.work(n, move |_| peers.next());
        });
    }

    /// Announces for `span`, always another peer; gives how many were answered, and in how many seconds.
    pub fn run(self, span: Duration) -> (u64, f64) {
        let over = AtomicBool::new(false);
        let begun = Instant::now();
        let ring = || {
            thread::sleep(span);
            over.store(true, Ordering::Relaxed);
        };
        let answered = thread::scope(|scope| {
            scope.spawn(ring);
            self.each(|n| {
                let peers = crowd::share(n, self.threads);
                let next = |rng: &mut fastrand::Rng| {
                    (!over.load(Ordering::Relaxed)).then(|| rng.u32(Range::clone(&peers)))
                };
                self.work(n, next)
            })
        });
        let answered: Vec<u64> = answered;
        (answered.iter().sum(), begun.elapsed().as_secs_f64())
    }

    /// Announces `n` peers, one after the other, each on a connection of its own; gives how long each took, from the dial to the reply.
    pub fn in_turn(self, n: u32) -> Vec<Duration> {
        let mut buffer = vec![0; 1 << 16];
        let one = |peer| {
            let begun = Instant::now();
            let mut stream =
                TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
            let sent = stream.write_all(self.request(peer).as_bytes());
            sent.expect("it reads");
            reply(&mut stream, &mut buffer).expect("it answers");
            begun.elapsed()
        };
        (0..n).map(one).collect()
    }

    /// Runs `work` for each client, on a thread of its own.
    fn each<T: Send>(self, work: impl Fn(u32) -> T + Sync) -> Vec<T> {
        thread::scope(|scope| {
            let work = &work;
            let workers: Vec<_> = (0..self.threads)
                .map(|n| scope.spawn(move || work(n)))
                .collect();
            let done = workers.into_iter().map(thread::ScopedJoinHandle::join);
            done.map(|done| done.expect("no panic")).collect()
        })
    }

    /// Announces whom `next` names; gives how many were answered.
    fn work(self, seed: u32, mut next: impl FnMut(&mut fastrand::Rng) -> Option<u32>) -> u64 {
        let mut rng = fastrand::Rng::with_seed(seed.into());
        let mut answered = 0;
        let mut buffer = vec![0; 1 << 16];
        let mut peer = next(&mut rng);
        while peer.is_some() {
            // Many addresses, because the ports of one would run out.
            let address = Ipv4Addr::new(127, rng.u8(1..250), rng.u8(..), rng.u8(1..250));
            let mut stream = TcpStream::connect(SocketAddr::from((address, self.port)))
                .unwrap_or_else(|e| panic!("cannot connect to the tracker: {e}"));
            stream
                .set_read_timeout(Some(Duration::from_secs(10)))
                .expect("a socket takes a time-out");
            let _ = stream.set_nodelay(true);
            for _ in 0..if self.keep { 100 } else { 1 } {
                let Some(number) = peer else {
                    return answered;
                };
                if stream.write_all(self.request(number).as_bytes()).is_err() {
                    break;
                }
                let Some(closed) = reply(&mut stream, &mut buffer) else {
                    break;
                };
                answered += 1;
                peer = next(&mut rng);
                if closed {
                    break;
                }
            }
        }
        answered
    }

    fn request(self, peer: u32) -> String {
        let connection = if self.keep { "keep-alive" } else { "close" };
        let path = announce_url("/announce", &crowd::announce(peer));
        format!("GET {path} HTTP/1.1\r\nHost: tracker\r\nConnection: {connection}\r\n\r\n")
    }
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

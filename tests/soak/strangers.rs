//! Strangers who come all the time: they connect to every port, say nothing, half of something or nonsense, and stay or go.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fastrand::Rng;
use hivebt::base::id::{InfoHash, PeerId};
use hivebt::proto::peer::handshake::Handshake;

use super::support::hosts::Host;

/// Between one and the next: twenty in a second.
const PAUSE: Duration = Duration::from_millis(50);

/// So many of them stay.
const STAYING: usize = 60;

/// See the module.
pub(crate) struct Strangers {
    end: Sender<()>,
    thread: JoinHandle<usize>,
}

impl Strangers {
    /// From `host` to all of `doors`.
    pub(crate) fn come(host: &Host, doors: Vec<SocketAddr>) -> Self {
        let (end, ended) = mpsc::channel();
        let host = host.clone();
        let thread = thread::spawn(move || {
            host.within(move || {
                let (mut rng, mut staying, mut came) = (Rng::with_seed(8), VecDeque::new(), 0);
                while ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                    let door = doors[came % doors.len()];
                    came += 1;
                    staying.extend(knock(door, &mut rng));
                    if staying.len() > STAYING {
                        staying.pop_front();
                    }
                }
                came
            })
        });
        Self { end, thread }
    }

    /// They go. How many they were.
    pub(crate) fn leave(self) -> usize {
        drop(self.end);
        self.thread.join().expect("strangers do not fail")
    }
}

/// One of them; gives the connection if he stays.
fn knock(door: SocketAddr, rng: &mut Rng) -> Option<TcpStream> {
    let noise: Vec<u8> = (0..rng.usize(1..2000)).map(|_| rng.u8(..)).collect();
    if rng.u8(..4) == 0 {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        let _ = socket.send_to(&noise[..noise.len().min(1200)], door);
    }
    // Whoever is being restarted does not answer.
    let mut stream = TcpStream::connect_timeout(&door, Duration::from_secs(1)).ok()?;
    let hello = Handshake {
        info_hash: InfoHash([rng.u8(..); 20]),
        peer_id: PeerId([rng.u8(..); 20]),
        extended: true,
        fast: true,
        dht: true,
    };
    let hello = hello.encode();
    let words: &[u8] = match rng.u8(..6) {
        0 => &[],
        1 => &hello[..rng.usize(..hello.len())],
        2 => &hello,
        3 => b"GET /announce?info_hash=",
        4 => b"GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&port=1 HTTP/1.1\r\n\r\n",
        _ => &noise,
    };
    let _ = stream.write_all(words);
    rng.bool().then_some(stream)
}

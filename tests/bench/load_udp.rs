//! A load of announces over UDP: clients that have many questions under way at a time, as a busy tracker sees it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hivebt::proto::tracker::AnnounceReply;
use hivebt::proto::tracker::udp::{
    Reply, parse_reply, write_announce, write_announced, write_connect, write_connected,
};

use crate::crowd;

/// Questions of a client that wait for their answers.
const WINDOW: usize = 16;

/// How long a client waits for any answer, before it takes what it asked for lost.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a load came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answered {
    /// Announces that were answered.
    pub announces: u64,
    /// Peers in the answers.
    pub peers: u64,
    /// How long it took.
    pub seconds: f64,
}

/// A client with an address and a connection id.
struct Client {
    socket: UdpSocket,
    id: u64,
    packet: Vec<u8>,
    rng: fastrand::Rng,
    peers: std::ops::Range<u32>,
}

/// Clients of the tracker at `port`.
pub struct Clients(Vec<Client>);

impl Clients {
    /// Connects `n` of them, and announces all peers once.
    pub fn connect(port: u16, n: u32) -> Self {
        let mut clients: Vec<_> = (0..n).map(|i| Client::connect(port, i, n)).collect();
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| client.announce_all());
            }
        });
        Self(clients)
    }

    /// Announces for `span`, always another peer.
    pub fn run(&mut self, span: Duration) -> Answered {
        let over = AtomicBool::new(false);
        let begun = Instant::now();
        let mut answered = thread::scope(|scope| {
            let over = &over;
            let workers: Vec<_> = self
                .0
                .iter_mut()
                .map(|client| scope.spawn(|| client.run(over)))
                .collect();
            thread::sleep(span);
            over.store(true, Ordering::Relaxed);
            let mut sum = Answered::default();
            for worker in workers {
                let part = worker.join().expect("no panic");
                sum.announces += part.announces;
                sum.peers += part.peers;
            }
            sum
        });
        answered.seconds = begun.elapsed().as_secs_f64();
        answered
    }
}

impl Client {
    fn connect(port: u16, n: u32, clients: u32) -> Self {
        let ip = Ipv4Addr::new(127, 0, 1, u8::try_from(n + 1).expect("few clients"));
        let socket = UdpSocket::bind((ip, 0)).expect("loopback is ours");
        socket
            .connect((Ipv4Addr::LOCALHOST, port))
            .expect("there is a way");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket takes a time-out");
        let mut client = Self {
            socket,
            id: 0,
            packet: Vec::new(),
            rng: fastrand::Rng::with_seed(n.into()),
            peers: crowd::share(n, clients),
        };
        client.id = client.connection();
        client
    }

    fn connection(&mut self) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut buffer = [0; 2048];
        loop {
            assert!(Instant::now() < deadline, "the tracker is silent");
            self.packet.clear();
            write_connect(1, &mut self.packet);
            // Before the tracker listens there is nobody.
            let _ = self.socket.send(&self.packet);
            let Ok(n) = self.socket.recv(&mut buffer) else {
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
            if let Some(Ok(Reply::Connected(id))) = parse_reply(&buffer[..n], 1, from) {
                return id;
            }
        }
    }

    fn announce(&mut self, peer: u32) {
        self.packet.clear();
        write_announce(self.id, peer, &crowd::announce(peer), "", &mut self.packet);
        // What is lost on the way is noticed when no answer comes.
        let _ = self.socket.send(&self.packet);
    }

    fn announce_all(&mut self) {
        let mut buffer = [0; 2048];
        let mut peers = self.peers.clone();
        while !peers.is_empty() {
            let window = peers.start..peers.end.min(peers.start + WINDOW as u32);
            let answered = (0..50).any(|_| {
                window.clone().for_each(|peer| self.announce(peer));
                let mut replies = window
                    .clone()
                    .map(|_| heard(self.socket.recv(&mut buffer), &buffer));
                replies.all(|peers| peers.is_some())
            });
            assert!(answered, "the tracker has become silent");
            peers.start = window.end;
        }
    }

    fn run(&mut self, over: &AtomicBool) -> Answered {
        let mut buffer = [0; 2048];
        let mut answered = Answered::default();
        let mut room = WINDOW;
        while !over.load(Ordering::Relaxed) {
            for _ in 0..room {
                let peer = self.rng.u32(self.peers.clone());
                self.announce(peer);
            }
            match heard(self.socket.recv(&mut buffer), &buffer) {
                Some(peers) => {
                    answered.announces += 1;
                    answered.peers += peers;
                    room = 1;
                }
                None => room = WINDOW,
            }
        }
        answered
    }
}

/// How many peers came, if anything did.
fn heard(outcome: io::Result<usize>, buffer: &[u8]) -> Option<u64> {
    let reply = &buffer[..outcome.ok()?];
    assert!(
        reply.len() >= 20 && reply[3] == 1,
        "not an answer to an announce: {}",
        reply.escape_ascii()
    );
    Some((reply.len() as u64 - 20) / 6)
}

/// Answers as a tracker would that does nothing: what the kernel and the standard library cost by themselves. Never ends.
pub fn echo(port: u16) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("the port is free");
    let somebody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let reply = AnnounceReply {
        peers: vec![somebody; crowd::WANTED as usize],
        ..AnnounceReply::default()
    };
    let mut announced = Vec::new();
    write_announced(0, &reply, somebody.ip(), &mut announced);
    let mut connected = Vec::new();
    write_connected(1, 1, &mut connected);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut buffer = [0; 2048];
                loop {
                    let Ok((n, from)) = socket.recv_from(&mut buffer) else {
                        continue;
                    };
                    let reply = if n == 16 { &connected } else { &announced };
                    let _ = socket.send_to(reply, from);
                }
            });
        }
    });
}

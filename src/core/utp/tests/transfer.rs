//! Two ends of one connection.

use std::time::Duration;

use super::link::{Link, Path};
use crate::base::time::Time;
use crate::core::utp::{Connection, Failure, Limits};
use crate::proto::utp::{Kind, Packet};

/// One end with what it is to send and what it has got.
pub(super) struct End {
    pub(super) connection: Option<Connection>,
    limits: Limits,
    to_send: usize,
    sent: usize,
    pub(super) got: usize,
    /// Reads nothing while false.
    pub(super) reads: bool,
    finishes: bool,
    pub(super) ended: bool,
    pub(super) packets: usize,
}

/// What is sent: the byte at that place.
#[allow(clippy::cast_possible_truncation)]
fn byte(at: usize) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 13) as u8
}

impl End {
    fn new(to_send: usize) -> Self {
        Self {
            connection: None,
            limits: Limits::default(),
            to_send,
            sent: 0,
            got: 0,
            reads: true,
            finishes: true,
            ended: false,
            packets: 0,
        }
    }

    fn work(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        while self.sent < self.to_send {
            let end = self.to_send.min(self.sent + 16_384);
            let bytes: Vec<u8> = (self.sent..end).map(byte).collect();
            let taken = connection.write(&bytes);
            self.sent += taken;
            if taken < bytes.len() {
                break;
            }
        }
        if self.finishes && connection.is_connected() && self.sent == self.to_send {
            connection.finish();
        }
        let mut buffer = [0; 4096];
        while self.reads {
            let n = connection.read(&mut buffer);
            if n == 0 {
                break;
            }
            for (i, &b) in buffer[..n].iter().enumerate() {
                assert_eq!(b, byte(self.got + i), "byte {}", self.got + i);
            }
            self.got += n;
        }
        self.ended |= connection.is_at_end();
    }
}

/// See the module. The first end dials.
pub(super) struct Pair {
    pub(super) now: Time,
    pub(super) ends: [End; 2],
    pub(super) links: [Link<()>; 2],
    rng: fastrand::Rng,
}

impl Pair {
    pub(super) fn new(path: &Path, bytes: [usize; 2], seed: u64) -> Self {
        let now = Time::from_secs(seed % 5000);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut ends = bytes.map(End::new);
        let dial = Connection::dial(now, rng.u16(..), rng.u16(..), Limits::default());
        ends[0].connection = Some(dial);
        let links = [1, 2].map(|n| Link::new(path.clone(), seed * 2 + n));
        Self {
            now,
            ends,
            links,
            rng,
        }
    }

    fn settle(&mut self, end: usize) {
        self.ends[end].work();
        let Some(connection) = &mut self.ends[end].connection else {
            return;
        };
        let mut out = Vec::new();
        while connection.transmit(self.now, &mut out) {
            self.ends[end].packets += 1;
            self.links[end].send(self.now, (), out.clone());
        }
    }

    fn deliver(&mut self, end: usize, datagram: &[u8]) {
        let packet = Packet::decode(datagram).unwrap();
        let seq = self.rng.u16(..);
        let End {
            connection, limits, ..
        } = &mut self.ends[end];
        match connection {
            Some(connection) => connection.handle(self.now, &packet),
            None if packet.kind == Kind::Syn => {
                *connection = Some(Connection::accept(self.now, &packet, seq, *limits));
            }
            None => {}
        }
    }

    /// Goes on for `span`, or until nothing more happens.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        (0..2).for_each(|n| self.settle(n));
        while let Some(next) = self.next().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            for to in 0..2 {
                let mut touched = false;
                while let Some(((), datagram)) = self.links[1 - to].take(self.now) {
                    self.deliver(to, &datagram);
                    touched = true;
                }
                if let Some(connection) = &mut self.ends[to].connection
                    && connection.deadline().is_some_and(|at| at <= self.now)
                {
                    connection.tick(self.now);
                    touched = true;
                }
                if touched {
                    self.settle(to);
                }
            }
        }
        self.now = self.now.max(end);
    }

    fn next(&self) -> Option<Time> {
        let links = self.links.iter().filter_map(Link::next);
        let connections = self.ends.iter().filter_map(|end| end.connection.as_ref());
        let deadlines = connections.filter_map(Connection::deadline);
        links.chain(deadlines).min()
    }

    pub(super) fn failures(&self) -> [Option<Failure>; 2] {
        let failure = |end: &End| end.connection.as_ref().and_then(Connection::failure);
        [failure(&self.ends[0]), failure(&self.ends[1])]
    }

    fn is_done(&self) -> bool {
        let done = |end: &End| end.connection.as_ref().is_some_and(Connection::is_over);
        self.ends.iter().all(done)
    }

    /// Runs until both ends are over, and says how long it took; checks that everything has arrived.
    pub(super) fn complete(&mut self, within: Duration) -> Duration {
        let began = self.now;
        while !self.is_done() && self.now.since(began) < within {
            self.run(Duration::from_millis(100));
        }
        let [a, b] = &self.ends;
        let sides = [(a, b), (b, a)];
        for (from, to) in sides {
            assert_eq!((to.got, to.ended), (from.to_send, true));
        }
        assert_eq!(self.failures(), [None, None]);
        assert!(self.is_done());
        self.now.since(began)
    }
}

#[test]
fn both_directions_arrive_and_end() {
    let mut pair = Pair::new(&Path::clean(50, 10), [3_000_000, 2_000_000], 1);
    let took = pair.complete(Duration::from_secs(60));
    assert!(took < Duration::from_secs(6), "{took:?}");
}

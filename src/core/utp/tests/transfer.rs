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
    /// The first number of whoever answers, if it is not left to chance.
    number: Option<u16>,
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
            number: None,
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
        let seq = self.number.unwrap_or_else(|| self.rng.u16(..));
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

    /// Runs until both ends are over, and says how long it took until everything had arrived, which it checks.
    pub(super) fn complete(&mut self, within: Duration) -> Duration {
        let began = self.now;
        let mut took = within;
        while !self.is_done() && self.now.since(began) < within {
            self.run(Duration::from_millis(100));
            if self.ends.iter().all(|end| end.ended) {
                took = took.min(self.now.since(began));
            }
        }
        let [a, b] = &self.ends;
        let sides = [(a, b), (b, a)];
        for (from, to) in sides {
            assert_eq!((to.got, to.ended), (from.to_send, true));
        }
        assert_eq!(self.failures(), [None, None]);
        assert!(self.is_done());
        took
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn both_directions_arrive_and_end() {
    let mut pair = Pair::new(&Path::clean(50, 10), [3_000_000, 2_000_000], 1);
    let took = pair.complete(MINUTE);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn everything_arrives_whatever_the_path_does() {
    for seed in 0..40_u32 {
        let path = Path {
            lost: f64::from(seed % 11) / 100.0,
            twice: f64::from(seed % 3) / 50.0,
            late: f64::from(seed % 4) / 20.0,
            queue: if seed % 5 == 0 { 20_000 } else { 1 << 20 },
            ..Path::clean(20 + seed, u64::from(seed % 7) * 5)
        };
        let mut pair = Pair::new(&path, [1_000_000, 300_000], seed.into());
        pair.complete(10 * MINUTE);
    }
}

#[test]
fn numbers_and_clocks_wrap() {
    // 4,295 seconds are all that a timestamp can say.
    for seed in [4293, 4294] {
        let mut pair = Pair::new(&Path::clean(10, 1), [3_000_000, 3_000_000], seed);
        let last = u16::MAX - 200;
        let dial = Connection::dial(pair.now, u16::MAX, last, Limits::default());
        pair.ends[0].connection = Some(dial);
        pair.number = Some(last);
        pair.complete(MINUTE);
        let sent = |end: &End| end.connection.as_ref().unwrap().sending.next();
        assert!(pair.ends.iter().all(|end| sent(end) < 5000));
    }
}

#[test]
fn a_link_of_its_own_is_used_to_nine_tenths() {
    for (mbit, ms) in [(10, 1), (10, 50), (50, 50), (100, 1), (100, 30)] {
        let mut pair = Pair::new(&Path::clean(mbit, ms), [usize::MAX / 2, 0], 7);
        // How fast it begins is another matter: as TCP does, by doubling.
        pair.run(Duration::from_secs(2));
        let before = pair.ends[1].got;
        pair.run(Duration::from_secs(10));
        #[allow(clippy::cast_precision_loss)]
        let got = (pair.ends[1].got - before) as f64;
        let share = got / 10.0 / (f64::from(mbit) * 125_000.0);
        assert!(share > 0.9, "{mbit} Mbit/s, {ms} ms: {share}");
    }
}

#[test]
fn few_packets_only_acknowledge() {
    let mut pair = Pair::new(&Path::clean(50, 10), [10_000_000, 0], 3);
    pair.complete(MINUTE);
    let [data, acks] = [0, 1].map(|n| pair.ends[n].packets);
    assert!(acks * 2 < data + 100, "{acks} for {data}");
}

#[test]
fn the_opening_survives_loss_and_gives_up_in_the_end() {
    let deaf = Path {
        lost: 1.0,
        ..Path::clean(10, 10)
    };
    let mut pair = Pair::new(&Path::clean(10, 10), [1000, 1000], 4);
    pair.links[0].path = deaf.clone();
    pair.run(Duration::from_secs(2));
    pair.links[0].path = Path::clean(10, 10);
    let answers = std::mem::replace(&mut pair.links[1].path, deaf.clone());
    pair.run(Duration::from_secs(4));
    assert!(!pair.ends[0].connection.as_ref().unwrap().is_connected());
    pair.links[1].path = answers;
    pair.complete(MINUTE);

    let mut pair = Pair::new(&deaf, [1000, 1000], 4);
    pair.run(Duration::from_secs(30));
    assert_eq!(pair.failures(), [None, None]);
    pair.run(Duration::from_secs(30));
    assert_eq!(pair.failures(), [Some(Failure::TimedOut), None]);
    assert_eq!(pair.ends[0].packets, 6);
}

#[test]
fn a_peer_that_dies_is_noticed_by_whoever_has_something_to_say() {
    let mut pair = Pair::new(&Path::clean(10, 10), [20_000_000, 0], 5);
    pair.run(Duration::from_secs(5));
    let got = pair.ends[1].got;
    assert!(got > 0);
    for link in &mut pair.links {
        link.path.lost = 1.0;
    }
    pair.run(Duration::from_secs(30));
    assert_eq!(pair.failures(), [None, None]);
    pair.run(Duration::from_secs(35));
    assert_eq!(pair.failures(), [Some(Failure::TimedOut), None]);
    let sender = pair.ends[0].connection.as_mut().unwrap();
    assert!(sender.is_over() && sender.is_readable() && !sender.is_writable());
    assert_eq!((sender.deadline(), sender.write(b"x")), (None, 0));
}

#[test]
fn an_outage_of_twenty_seconds_is_outlived() {
    let mut pair = Pair::new(&Path::clean(10, 10), [8_000_000, 1_000_000], 6);
    pair.run(Duration::from_secs(3));
    pair.links[0].path.lost = 1.0;
    pair.run(Duration::from_secs(20));
    pair.links[0].path.lost = 0.0;
    pair.complete(MINUTE);
}

#[test]
fn who_reads_nothing_gets_no_more_than_there_is_room_for_and_is_not_given_up() {
    let mut pair = Pair::new(&Path::clean(50, 5), [4_000_000, 0], 8);
    pair.ends[1].reads = false;
    pair.run(5 * MINUTE);
    assert_eq!(pair.failures(), [None, None]);
    let sent = pair.ends[0].packets;
    pair.run(MINUTE);
    let probes = pair.ends[0].packets - sent;
    assert!((4..=10).contains(&probes), "{probes} a minute");
    assert_eq!(pair.ends[1].got, 0);
    pair.ends[1].reads = true;
    // Reading tells it; nothing waits for the next question.
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.ends[1].got, 4_000_000);
    pair.complete(MINUTE);
}

#[test]
fn room_that_comes_back_is_heard_of_even_if_the_word_of_it_is_lost() {
    let mut pair = Pair::new(&Path::clean(50, 5), [4_000_000, 0], 9);
    pair.ends[1].reads = false;
    pair.run(MINUTE);
    pair.links[1].path.lost = 1.0;
    pair.ends[1].reads = true;
    pair.run(Duration::from_secs(1));
    pair.links[1].path.lost = 0.0;
    pair.complete(MINUTE);
}

#[test]
fn the_end_arrives_though_packets_around_it_are_lost() {
    for seed in 0..60 {
        let mut pair = Pair::new(&Path::clean(10, 10), [3000, 2000], seed);
        pair.run(Duration::from_millis(25));
        for link in &mut pair.links {
            link.path.lost = 0.25;
        }
        assert!(pair.complete(10 * MINUTE) < MINUTE, "{seed}");
    }
}

#[test]
fn a_path_that_swallows_large_datagrams_gets_smaller_ones() {
    for (largest, least_packets) in [(1400, 1449), (1372, 1650), (900, 3780)] {
        let path = Path {
            largest,
            ..Path::clean(50, 10)
        };
        let mut pair = Pair::new(&path, [2_000_000, 500_000], 10);
        let took = pair.complete(MINUTE);
        let packets = pair.ends[0].packets;
        assert!(took < Duration::from_secs(12), "{largest}: {took:?}");
        assert!(packets > least_packets, "{largest}: {packets}");
    }
}

#[test]
fn a_peer_that_aborts_is_a_reset() {
    let mut pair = Pair::new(&Path::clean(10, 10), [5_000_000, 0], 11);
    pair.run(Duration::from_secs(2));
    pair.ends[1].connection.as_mut().unwrap().abort();
    pair.run(Duration::from_secs(1));
    let failures = [Some(Failure::Reset), Some(Failure::Aborted)];
    assert_eq!(pair.failures(), failures);
    assert!(pair.is_done());
}

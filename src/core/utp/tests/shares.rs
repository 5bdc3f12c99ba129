//! Who gets how much of one bottleneck.

use std::time::Duration;

use super::link::{Link, Path};
use super::reno::Reno;
use crate::base::time::Time;
use crate::core::utp::{Connection, Limits};
use crate::proto::utp::Packet;

/// Somebody who always has something to send.
enum Flow {
    Ours {
        sender: Box<Connection>,
        receiver: Option<Box<Connection>>,
        got: u64,
    },
    Reno(Reno),
}

struct Bottleneck {
    now: Time,
    flows: Vec<Flow>,
    there: Link<usize>,
    back: Link<usize>,
    /// Seconds that packets waited, and how often that was looked at.
    waited: (f64, u32),
}

impl Bottleneck {
    fn new(path: &Path, seed: u64) -> Self {
        let back = Path {
            rate: path.rate * 10.0,
            ..path.clone()
        };
        Self {
            now: Time::from_secs(seed),
            flows: Vec::new(),
            there: Link::new(path.clone(), seed),
            back: Link::new(back, seed + 1),
            waited: (0.0, 0),
        }
    }

    fn add_ours(&mut self) {
        let id = u16::try_from(self.flows.len()).unwrap() * 2;
        let sender = Connection::dial(self.now, id, 7, Limits::default());
        self.flows.push(Flow::Ours {
            sender: Box::new(sender),
            receiver: None,
            got: 0,
        });
        self.send(self.flows.len() - 1);
    }

    fn add_reno(&mut self) {
        self.flows.push(Flow::Reno(Reno::new(self.now)));
        self.send(self.flows.len() - 1);
    }

    fn send(&mut self, index: usize) {
        let now = self.now;
        let mut out = Vec::new();
        match &mut self.flows[index] {
            Flow::Reno(reno) => {
                while let Some(packet) = reno.transmit(now) {
                    self.there.send(now, index, packet);
                }
            }
            Flow::Ours {
                sender,
                receiver,
                got,
            } => {
                while sender.write(&[0; 8192]) > 0 {}
                while sender.transmit(now, &mut out) {
                    self.there.send(now, index, out.clone());
                }
                let Some(receiver) = receiver else {
                    return;
                };
                let mut buffer = [0; 65_536];
                loop {
                    let n = receiver.read(&mut buffer);
                    *got += n as u64;
                    if n == 0 {
                        break;
                    }
                }
                while receiver.transmit(now, &mut out) {
                    self.back.send(now, index, out.clone());
                }
            }
        }
    }

    fn arrives(&mut self, index: usize, datagram: &[u8]) {
        let now = self.now;
        match &mut self.flows[index] {
            Flow::Reno(reno) => {
                let answer = reno.arrived(datagram);
                self.back.send(now, index, answer);
            }
            Flow::Ours { receiver, .. } => {
                let packet = Packet::decode(datagram).unwrap();
                match receiver {
                    Some(receiver) => receiver.handle(now, &packet),
                    None => {
                        let new = Connection::accept(now, &packet, 9, Limits::default());
                        *receiver = Some(Box::new(new));
                    }
                }
            }
        }
        self.send(index);
    }

    fn comes_back(&mut self, index: usize, datagram: &[u8]) {
        match &mut self.flows[index] {
            Flow::Reno(reno) => reno.acked(self.now, datagram),
            Flow::Ours { sender, .. } => {
                sender.handle(self.now, &Packet::decode(datagram).unwrap());
            }
        }
        self.send(index);
    }

    fn deadline(flow: &Flow) -> Option<Time> {
        match flow {
            Flow::Reno(reno) => Some(reno.deadline()),
            Flow::Ours {
                sender, receiver, ..
            } => {
                let receiver = receiver.as_ref().and_then(|receiver| receiver.deadline());
                sender.deadline().into_iter().chain(receiver).min()
            }
        }
    }

    fn run(&mut self, secs: u64) {
        let end = self.now + Duration::from_secs(secs);
        loop {
            let deadlines = self.flows.iter().filter_map(Self::deadline);
            let links = [self.there.next(), self.back.next()];
            let next = deadlines.chain(links.into_iter().flatten()).min();
            let Some(next) = next.filter(|&next| next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some((index, datagram)) = self.there.take(self.now) {
                self.waited.0 += self.there.waiting(self.now).as_secs_f64();
                self.waited.1 += 1;
                self.arrives(index, &datagram);
            }
            while let Some((index, datagram)) = self.back.take(self.now) {
                self.comes_back(index, &datagram);
            }
            for index in 0..self.flows.len() {
                if Self::deadline(&self.flows[index]).is_some_and(|at| at <= self.now) {
                    match &mut self.flows[index] {
                        Flow::Reno(reno) => reno.tick(self.now),
                        Flow::Ours {
                            sender, receiver, ..
                        } => {
                            sender.tick(self.now);
                            if let Some(receiver) = receiver {
                                receiver.tick(self.now);
                            }
                        }
                    }
                    self.send(index);
                }
            }
        }
        self.now = end;
    }

    fn got(&self) -> Vec<u64> {
        let got = |flow: &Flow| match flow {
            Flow::Reno(reno) => reno.bytes(),
            Flow::Ours { got, .. } => *got,
        };
        self.flows.iter().map(got).collect()
    }

    /// The share of the link that each flow gets, and the mean wait in milliseconds, over so many seconds.
    fn measure(&mut self, secs: u64) -> (Vec<f64>, f64) {
        let before = self.got();
        self.waited = (0.0, 0);
        self.run(secs);
        #[allow(clippy::cast_precision_loss)]
        let all = self.there.path.rate * secs as f64;
        #[allow(clippy::cast_precision_loss)]
        let share = |(after, before): (u64, &u64)| (after - before) as f64 / all;
        let shares = self.got().into_iter().zip(&before).map(share).collect();
        (shares, self.waited.0 / f64::from(self.waited.1) * 1000.0)
    }
}

/// A home's uplink: 10 Mbit/s, 20 ms, and a buffer of a second.
fn deep() -> Path {
    Path {
        queue: 1_250_000,
        ..Path::clean(10, 20)
    }
}

#[test]
fn alone_the_queue_stays_near_the_target() {
    let mut net = Bottleneck::new(&deep(), 1);
    net.add_ours();
    net.run(10);
    let (shares, wait) = net.measure(60);
    assert!(shares[0] > 0.9, "{shares:.3?}");
    assert!((60.0..130.0).contains(&wait), "{wait} ms");
}

#[test]
fn beside_tcp_little_is_taken_and_all_of_it_is_taken_again_afterwards() {
    let mut net = Bottleneck::new(&deep(), 2);
    net.add_ours();
    net.run(20);
    net.add_reno();
    net.run(10);
    let (shares, _) = net.measure(60);
    assert!(shares[0] < 0.05, "{shares:.3?}");
    assert!(shares[1] > 0.85, "{shares:.3?}");
    // TCP has nothing more to send.
    if let Flow::Reno(reno) = &mut net.flows[1] {
        reno.stop();
    }
    net.run(15);
    let (shares, _) = net.measure(30);
    assert!(shares[0] > 0.9, "{shares:.3?}");
}

#[test]
fn two_of_ours_share_alike_and_so_does_a_latecomer() {
    for later in [0, 30] {
        let mut net = Bottleneck::new(&deep(), 5);
        net.add_ours();
        net.run(later);
        net.add_ours();
        net.run(30);
        let (shares, wait) = net.measure(120);
        assert!(shares.iter().all(|share| *share > 0.3), "{shares:.3?}");
        assert!(shares.iter().sum::<f64>() > 0.88, "{shares:.3?}");
        assert!(wait < 200.0, "{wait} ms");
    }
}

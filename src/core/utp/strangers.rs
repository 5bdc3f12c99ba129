//! What somebody is answered with whom there is no connection.
//!
//! Nobody knows whether the first packet of a connection (SYN) comes from where it says. So it is answered by one packet as short as itself, and forgotten: what
//! we would have to remember is in that packet's sequence number, a keyed hash of address, connection and number of the SYN, as in TCP's SYN cookies.
//! Whoever then sends the first payload acknowledges it, and gets the connection that his SYN was for. However many addresses a flood pretends to
//! come from, it costs neither memory nor anybody else more than it has sent.

use std::net::{IpAddr, SocketAddr};

use crate::base::siphash::siphash;
use crate::base::time::Time;
use crate::proto::utp::{Kind, Packet};

use super::{Connection, Limits};

/// How long a number is good for at least; at most twice as long. A SYN is sent again for a few seconds.
const PERIOD: u64 = 16;

/// Resets that are sent in a second. Who has lost a connection that we do not know any more can wait.
const RESETS: u32 = 20;

/// What to do.
#[derive(Debug)]
pub enum Answer {
    /// Nothing.
    Nothing,
    /// Send this back, and forget it.
    Reply(Vec<u8>),
    /// Here is a connection, with somebody who hears what is sent to that address. The packet has been handled.
    Connection(Box<Connection>),
}

/// See the module.
#[derive(Debug)]
pub struct Strangers {
    secret: [u64; 2],
    /// The second that it is, and the resets that have been sent in it.
    resets: (u64, u32),
}

impl Strangers {
    /// With a `secret` that nobody can guess.
    #[must_use]
    pub const fn new(secret: [u64; 2]) -> Self {
        Self {
            secret,
            resets: (0, 0),
        }
    }

    /// A packet from an address and for a connection of which nothing is known.
    pub fn heard(
        &mut self,
        now: Time,
        from: SocketAddr,
        packet: &Packet<'_>,
        limits: Limits,
    ) -> Answer {
        match packet.kind {
            Kind::Syn => {
                let seq = self.number(period(now), from, packet.connection_id, packet.seq);
                let mut connection = Connection::accept(now, packet, seq, limits);
                let mut reply = Vec::new();
                if connection.transmit(now, &mut reply) {
                    Answer::Reply(reply)
                } else {
                    Answer::Nothing
                }
            }
            Kind::Data => match self.proven(now, from, packet) {
                Some((syn, seq)) => {
                    let mut connection = Connection::accept(now, &syn, seq, limits);
                    connection.handle(now, packet);
                    Answer::Connection(Box::new(connection))
                }
                None => self.refuse(now, packet),
            },
            Kind::Fin | Kind::State => self.refuse(now, packet),
            Kind::Reset => Answer::Nothing,
        }
    }

    /// The first packet of the connection whose first payload this is, and what we have answered to that, if we have.
    fn proven<'a>(
        &self,
        now: Time,
        from: SocketAddr,
        first: &Packet<'a>,
    ) -> Option<(Packet<'a>, u16)> {
        let syn = Packet {
            kind: Kind::Syn,
            connection_id: first.connection_id.wrapping_sub(1),
            seq: first.seq.wrapping_sub(1),
            ack: 0,
            selective: None,
            payload: &[],
            ..*first
        };
        let period = period(now);
        let mut numbers = [period, period.wrapping_sub(1)]
            .map(|period| self.number(period, from, syn.connection_id, syn.seq))
            .into_iter();
        // Our answer takes no number: the packet before it is what is acknowledged.
        let seq = numbers.find(|seq| seq.wrapping_sub(1) == first.ack)?;
        Some((syn, seq))
    }

    /// With which number we answer that SYN.
    fn number(&self, period: u64, from: SocketAddr, id: u16, seq: u16) -> u16 {
        let ip = match from.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let rest = u64::from(from.port()) << 32 | u64::from(id) << 16 | u64::from(seq);
        // Of two halves of 64 bits each, nothing is lost.
        #[allow(clippy::cast_possible_truncation)]
        let words = [(ip >> 64) as u64, ip as u64, period << 48 ^ rest];
        let [a, b, ..] = siphash(self.secret, words).to_le_bytes();
        u16::from_le_bytes([a, b])
    }

    fn refuse(&mut self, now: Time, packet: &Packet<'_>) -> Answer {
        let second = now.as_micros() / 1_000_000;
        if self.resets.0 != second {
            self.resets = (second, 0);
        }
        if self.resets.1 >= RESETS {
            return Answer::Nothing;
        }
        self.resets.1 += 1;
        let reset = Packet {
            kind: Kind::Reset,
            connection_id: packet.connection_id,
            timestamp: 0,
            timestamp_difference: 0,
            window: 0,
            seq: 0,
            ack: packet.seq,
            selective: None,
            payload: &[],
        };
        let mut reply = Vec::new();
        reset.encode(&mut reply);
        Answer::Reply(reply)
    }
}

/// Numbers change from one to the next.
fn period(now: Time) -> u64 {
    now.since(Time::ZERO).as_secs() / PERIOD
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FROM: &str = "192.0.2.1:6881";

    fn strangers() -> Strangers {
        Strangers::new([1, 2])
    }

    fn from() -> SocketAddr {
        FROM.parse().unwrap()
    }

    fn say(strangers: &mut Strangers, now: Time, from: SocketAddr, bytes: &[u8]) -> Answer {
        let packet = Packet::decode(bytes).unwrap();
        strangers.heard(now, from, &packet, Limits::default())
    }

    /// What a connection sends now.
    fn sent(connection: &mut Connection, now: Time) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let mut out = Vec::new();
            if !connection.transmit(now, &mut out) {
                return all;
            }
            all.push(out);
        }
    }

    /// A dialler, its SYN, and its first payload once that has been answered.
    fn dialled(strangers: &mut Strangers, now: Time) -> (Connection, Vec<u8>, Vec<u8>) {
        let mut near = Connection::dial(now, 700, 65_535, Limits::default());
        let syn = sent(&mut near, now).remove(0);
        let Answer::Reply(reply) = say(strangers, now, from(), &syn) else {
            panic!("it is answered")
        };
        assert!(reply.len() <= syn.len(), "no more than was sent");
        near.handle(now, &Packet::decode(&reply).unwrap());
        assert!(near.is_connected());
        near.write(b"hello");
        let first = sent(&mut near, now).remove(0);
        (near, syn, first)
    }

    #[test]
    fn who_answers_the_answer_is_connected_and_loses_nothing() {
        let (mut strangers, now) = (strangers(), Time::from_secs(100));
        let (mut near, _, first) = dialled(&mut strangers, now);
        let later = now + Duration::from_secs(PERIOD);
        let Answer::Connection(mut far) = say(&mut strangers, later, from(), &first) else {
            panic!("it has proved to be there")
        };
        assert!(far.is_connected());
        assert_eq!((far.receive_id(), far.send_id()), (701, 700));
        let mut got = [0; 9];
        assert_eq!(far.read(&mut got), 5);
        assert_eq!(&got[..5], b"hello");
        far.write(b"you too");
        for packet in sent(&mut far, later) {
            near.handle(later, &Packet::decode(&packet).unwrap());
        }
        assert_eq!(near.read(&mut got), 7);
    }

    #[test]
    fn who_cannot_know_the_answer_gets_no_connection() {
        let (mut strangers, now) = (strangers(), Time::from_secs(100));
        let (_, _, first) = dialled(&mut strangers, now);
        let others = ["192.0.2.2:6881", "192.0.2.1:6882", "[2001:db8::1]:6881"];
        for other in others.map(|other| other.parse().unwrap()) {
            let answer = say(&mut strangers, now, other, &first);
            assert!(matches!(answer, Answer::Reply(reply) if reply[0] == 0x31));
        }
        let late = now + Duration::from_secs(2 * PERIOD);
        let answer = say(&mut strangers, late, from(), &first);
        assert!(!matches!(answer, Answer::Connection(_)), "it is too old");
        // The second payload first: the connection would begin in the middle.
        let mut second = first;
        let seq = u16::from_be_bytes([second[16], second[17]]).wrapping_add(1);
        second[16..18].copy_from_slice(&seq.to_be_bytes());
        let answer = say(&mut strangers, now, from(), &second);
        assert!(!matches!(answer, Answer::Connection(_)));
    }

    #[test]
    fn guessing_an_answer_takes_ten_thousands_of_packets() {
        let (mut strangers, now) = (strangers(), Time::from_secs(100));
        let (_, _, mut first) = dialled(&mut strangers, now);
        first[4] ^= 1;
        let hits = (0..=u16::MAX).filter(|ack| {
            first[18..20].copy_from_slice(&ack.to_be_bytes());
            let answer = say(&mut strangers, now, from(), &first);
            matches!(answer, Answer::Connection(_))
        });
        assert!((1..=2).contains(&hits.count()));
    }

    #[test]
    fn a_flood_of_nonsense_is_refused_a_few_times_a_second() {
        let (mut strangers, mut now) = (strangers(), Time::from_secs(100));
        let (_, _, first) = dialled(&mut strangers, now);
        let mut reset = first.clone();
        reset[0] = 0x31;
        for _ in 0..3 {
            now = now + Duration::from_secs(1);
            let replies = (0..1000_u16).filter(|port| {
                let other = SocketAddr::new(from().ip(), 1000 + port);
                let bytes = if port % 2 == 0 { &first } else { &reset };
                match say(&mut strangers, now, other, bytes) {
                    Answer::Reply(reply) => reply.len() <= bytes.len(),
                    _ => false,
                }
            });
            assert_eq!(replies.count(), RESETS as usize);
        }
    }
}

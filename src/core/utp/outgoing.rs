//! What a connection sends, one datagram at a time.

use crate::base::time::Time;
use crate::proto::utp::{Kind, Packet};

use super::sending::{Bounds, Content, Due};
use super::{Ask, Connection, PROBE_EVERY, Probe, State, micros};

impl Connection {
    /// The next datagram to be sent now, in place of what `out` held; false if there is none.
    pub fn transmit(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        out.clear();
        match self.state {
            State::Opening => {
                let due = if self.sending.next() == self.sending.oldest() {
                    Some(self.sending.open(now))
                } else {
                    self.sending.due(now, self.bounds())
                };
                return due.is_some_and(|due| self.send(now, due, out));
            }
            State::Answering => return self.send_ack(now, out),
            State::Connected => {}
            State::Aborting => {
                self.state = State::Over;
                self.encode(now, Kind::Reset, self.sending.next(), None, out);
                return true;
            }
            State::Over => return false,
        }
        if self.ask == Ask::Due {
            self.ask = Ask::Asked;
            let asked = self.sending.oldest().wrapping_sub(1);
            self.encode(now, Kind::Data, asked, None, out);
            // Whoever knows the number passes over what it carries.
            out.push(0);
            return true;
        }
        // What does not fit beside payload goes alone, and so does what should not get lost with a packet that may be too large.
        let unproven = self.size.proven() < self.size.full();
        if self.ack_now && (unproven || self.receiving.has_gap()) {
            return self.send_ack(now, out);
        }
        if self.probe == Probe::Due {
            self.probe = Probe::Sent;
            if let Some(due) = self.sending.probe(now, self.their_window) {
                return self.send(now, due, out);
            }
        }
        if self.ask == Ask::Not
            && let Some(due) = self.sending.due(now, self.bounds())
        {
            return self.send(now, due, out);
        }
        self.await_room(now);
        self.send_ack(now, out)
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            congestion: self.ledbat.window(),
            room: self.their_window,
            full: self.size.full(),
            proven: self.size.proven(),
        }
    }

    /// If nothing can be sent for want of room on the other side, asks for it later.
    fn await_room(&mut self, now: Time) {
        let stuck = self.sending.has_unsent()
            && !self.sending.is_waiting()
            && self.their_window < self.size.full();
        if stuck && self.probe_at.is_none() {
            let pause = self.timing.timeout() * (1 << self.probes.min(4));
            self.probe_at = Some(now + pause.min(PROBE_EVERY));
            self.probes += 1;
        }
    }

    fn send_ack(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        if !self.ack_now {
            return false;
        }
        let mut mask = [0; 32];
        let len = self.receiving.mask(&mut mask);
        let mask = len.map(|len| &mask[..len]);
        self.encode(now, Kind::State, self.sending.next(), mask, out);
        true
    }

    fn send(&mut self, now: Time, due: Due, out: &mut Vec<u8>) -> bool {
        let kind = match due.content {
            Content::Syn => Kind::Syn,
            Content::Data(_) => Kind::Data,
            Content::Fin => Kind::Fin,
        };
        if self.timeout_at.is_none() {
            self.timeout_at = Some(now + self.timing.timeout());
            self.progress = self.progress.max(now);
        }
        self.encode(now, kind, due.seq, None, out);
        self.sending.copy(&due, out);
        true
    }

    fn encode(
        &mut self,
        now: Time,
        kind: Kind,
        seq: u16,
        selective: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) {
        self.told_window = self.receiving.window();
        self.ack_now = false;
        self.ack_at = None;
        self.unacked = 0;
        let connection_id = if kind == Kind::Syn {
            self.receive_id
        } else {
            self.send_id
        };
        let packet = Packet {
            kind,
            connection_id,
            timestamp: micros(now),
            timestamp_difference: self.their_delay,
            window: u32::try_from(self.told_window).unwrap_or(u32::MAX),
            seq,
            ack: self.receiving.ack(),
            selective,
            payload: &[],
        };
        packet.encode(out);
    }
}

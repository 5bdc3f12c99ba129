//! What packets of the other side do to a connection.

use crate::base::time::Time;
use crate::proto::utp::{Kind, Packet};

use super::receiving::{Arrival, Receiving};
use super::sending::Acked;
use super::{
    ACK_DELAY, ACK_EVERY, Ask, Connection, Failure, LINGER, PATIENCE, Probe, State, UNCONFIRMED,
    micros,
};

impl Connection {
    /// A packet for this connection has come from its other side: by address, and by id or [`Connection::send_id`].
    pub fn handle(&mut self, now: Time, packet: &Packet<'_>) {
        match self.state {
            State::Opening => self.handle_answer(now, packet),
            State::Answering if packet.kind == Kind::Syn => {
                let same = packet.connection_id == self.send_id;
                if same && packet.seq == self.receiving.ack() {
                    // The answer was lost.
                    self.ack_now = true;
                    self.over_at = Some(now + UNCONFIRMED);
                }
            }
            State::Answering | State::Connected => self.handle_ordinary(now, packet),
            State::Aborting | State::Over => {}
        }
    }

    fn handle_answer(&mut self, now: Time, packet: &Packet<'_>) {
        // Before the SYN has been sent nothing is known.
        let answers = self.sending.is_waiting() && packet.ack == self.sending.oldest();
        match packet.kind {
            Kind::State if answers && packet.connection_id == self.receive_id => {
                let ack = packet.seq.wrapping_sub(1);
                self.receiving = Receiving::new(ack, self.limits.receive_buffer);
                self.state = State::Connected;
                self.note(now, packet);
                self.acknowledged(now, packet);
            }
            Kind::Reset if answers && self.is_named(packet) => self.fail(Failure::Refused),
            _ => {}
        }
    }

    fn is_named(&self, packet: &Packet<'_>) -> bool {
        [self.receive_id, self.send_id].contains(&packet.connection_id)
    }

    fn handle_ordinary(&mut self, now: Time, packet: &Packet<'_>) {
        if packet.kind == Kind::Reset {
            // It acknowledges the packet that it answers, and that of a State is the next one.
            let known = self.sending.knows(packet.ack) || packet.ack == self.sending.next();
            if known && self.is_named(packet) {
                self.fail(Failure::Reset);
            }
            return;
        }
        let ours = packet.connection_id == self.receive_id && packet.kind != Kind::Syn;
        // Who has not proved its address yet has to know our number exactly.
        let exact =
            self.state != State::Answering || packet.ack == self.sending.next().wrapping_sub(1);
        if !ours || !exact || !self.sending.knows(packet.ack) {
            return;
        }
        if self.state == State::Answering {
            self.state = State::Connected;
            self.over_at = None;
            self.progress = now;
        }
        self.note(now, packet);
        self.acknowledged(now, packet);
        if matches!(packet.kind, Kind::Data | Kind::Fin) {
            self.take(now, packet);
        }
        self.look_for_the_end(now);
    }

    /// Takes the times and the window from a packet that makes sense.
    pub(super) fn note(&mut self, now: Time, packet: &Packet<'_>) {
        if packet.timestamp != 0 {
            self.their_delay = micros(now).wrapping_sub(packet.timestamp);
            self.ledbat.their_delay(now, self.their_delay);
        }
        // Some of uTorrent's versions say this when they do not know yet; libutp and libtorrent take it so.
        if !matches!(packet.timestamp_difference, 0 | 0x7fff_ffff) {
            self.ledbat.our_delay(now, packet.timestamp_difference);
        }
        if !self.sending.is_stale(packet.ack) {
            self.set_window(usize::try_from(packet.window).unwrap_or(usize::MAX));
        }
    }

    fn set_window(&mut self, window: usize) {
        self.their_window = window;
        if window < self.size.full() {
            return;
        }
        if self.probe == Probe::Sent {
            // It may have been dropped for want of room, and there is room again.
            self.sending.timed_out();
        }
        (self.probe, self.probe_at, self.probes) = (Probe::Not, None, 0);
    }

    fn acknowledged(&mut self, now: Time, packet: &Packet<'_>) {
        let (before, window) = (self.sending.flying(), self.ledbat.window());
        let alone = packet.kind == Kind::State;
        let (ack, mask) = (packet.ack, packet.selective);
        if self.ask == Ask::Asked && mask.is_none() && ack == self.sending.oldest().wrapping_sub(1)
        {
            self.cut_smaller();
            return;
        }
        let least = self.timing.least();
        let acked = self.sending.acked(now, ack, mask, alone, least);
        if acked.packets > 0 {
            self.arrived(now, &acked, before + self.size.full() > window);
        } else if self.their_window < self.size.full() {
            // It has no room, but it is there.
            self.progress = now;
        }
        if acked.cut {
            self.ledbat.lost(now);
        }
    }

    fn arrived(&mut self, now: Time, acked: &Acked, full: bool) {
        self.progress = now;
        self.ask = Ask::Not;
        self.timing.heard();
        if let Some(rtt) = acked.rtt {
            self.timing.add(rtt);
        }
        if acked.bytes > 0 {
            self.size.arrived(acked.largest);
            self.ledbat.acked(now, acked.bytes, acked.rtt, full);
        }
        let waiting = self.sending.is_waiting();
        self.timeout_at = waiting.then(|| now + self.timing.timeout());
    }

    /// The other side has said that it does not have the large packet.
    fn cut_smaller(&mut self) {
        self.ask = Ask::Not;
        self.sending.take_back();
        self.size.shrink();
        self.ledbat.set_full(self.size.full());
        self.timing.heard();
        self.timeout_at = None;
    }

    fn take(&mut self, now: Time, packet: &Packet<'_>) {
        let fin = packet.kind == Kind::Fin;
        match self.receiving.take(packet.seq, packet.payload, fin) {
            Arrival::InOrder => {
                self.unacked += 1;
                self.ack_now |= self.unacked >= ACK_EVERY;
                self.ack_at.get_or_insert(now + ACK_DELAY);
            }
            Arrival::Notable | Arrival::TooMuch => self.ack_now = true,
            Arrival::Nonsense => {}
        }
    }

    fn look_for_the_end(&mut self, now: Time) {
        if !self.sending.is_finished() {
            return;
        }
        self.over_at = if self.receiving.has_ended() {
            // It may ask whether its end has arrived.
            let at = now + LINGER;
            Some(self.over_at.map_or(at, |before| before.min(at)))
        } else {
            // It goes on as long as it has something to say.
            Some(now + PATIENCE)
        };
    }
}

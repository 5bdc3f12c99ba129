//! One connection of uTP (BEP 29): a stream of bytes in both directions over datagrams, which makes room for other traffic (LEDBAT, RFC 6817).
//!
//! In scope: opening and ending, what is sent again and when, how much may be on its way, what is acknowledged. Not in scope: sockets, and which of many
//! connections a datagram belongs to; whoever owns the socket hands in packets and the time, and calls [`Connection::transmit`] until it has nothing more after
//! each other call.
//!
//! Where BEP 29 and the programs that speak it disagree, this does as libutp and libtorrent do: the answer to a SYN takes no number, so the first packet of
//! whoever answered has the number of that answer.
//!
//! What strangers can do, and what stops them:
//!
//! | they | are stopped by |
//! | --- | --- |
//! | open connections in somebody else's name | an answer is as long as the question, sent once for each; nothing else is sent until the other side has repeated a number that only the answer told; it has 15 s for that |
//! | end or disturb a connection of others | the id, and an acknowledgement of what was sent lately |
//! | acknowledge what was never sent | the packet is passed over |
//! | acknowledge nothing, or take nothing | the end after 45 s; what is kept is bounded by [`Limits`] |
//! | send packets far ahead, or more than there is room for | 1,024 packets ahead, within the receive buffer; the rest is dropped |
//! | send so that each packet is answered | an answer is a header and 34 bytes at most, one for all that came at once |

mod incoming;
mod ledbat;
mod outgoing;
mod packet_size;
mod receiving;
mod sending;
pub mod strangers;
#[cfg(test)]
mod tests;
mod timing;

use std::time::Duration;

use crate::base::time::Time;
use crate::proto::utp::Packet;

use ledbat::Ledbat;
use packet_size::PacketSize;
use receiving::Receiving;
use sending::Sending;
use timing::Timing;

/// For so long an acknowledgement may wait for another one. The other side waits for half a second at least before it sends anything again.
const ACK_DELAY: Duration = Duration::from_millis(20);

/// So many packets in order are acknowledged at once (RFC 5681).
const ACK_EVERY: u32 = 2;

/// Without any progress for so long, a connection is dead: five or six packets were sent again for nothing.
const PATIENCE: Duration = Duration::from_secs(45);

/// For so long whoever opened a connection may stay silent.
const UNCONFIRMED: Duration = Duration::from_secs(15);

/// After both ends, for so long the other side may ask again whether its own has arrived.
const LINGER: Duration = Duration::from_secs(10);

/// So many times the end is sent again to somebody who has sent its own.
const FAREWELLS: u32 = 3;

/// The longest pause between two questions for room.
const PROBE_EVERY: Duration = Duration::from_secs(8);

/// What a connection keeps at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that were written and are not acknowledged.
    pub send_buffer: usize,
    /// Bytes that have come and were not read, roughly.
    pub receive_buffer: usize,
}

impl Default for Limits {
    /// A MiB each: 100 Mbit/s over 80 ms.
    fn default() -> Self {
        Self {
            send_buffer: 1 << 20,
            receive_buffer: 1 << 20,
        }
    }
}

/// Why a connection is gone before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The other side did not want it.
    Refused,
    /// The other side has ended it, or forgotten it.
    Reset,
    /// The other side stays silent, or takes nothing.
    TimedOut,
    /// We have ended it by [`Connection::abort`].
    Aborted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// We have asked.
    Opening,
    /// We have answered, and do not know yet who asked.
    Answering,
    Connected,
    /// The other side is told, by a packet that acknowledges this one; then it is over.
    Aborting,
    Over,
}

/// See the module.
#[derive(Debug)]
pub struct Connection {
    state: State,
    failure: Option<Failure>,
    receive_id: u16,
    send_id: u16,
    limits: Limits,
    sending: Sending,
    receiving: Receiving,
    timing: Timing,
    size: PacketSize,
    ledbat: Ledbat,
    /// What the last packet of the other side took, by the difference of both clocks.
    their_delay: u32,
    /// Bytes that the other side has room for.
    their_window: usize,
    /// Bytes that we have last said we have room for.
    told_window: usize,
    /// An acknowledgement is due at that time.
    ack_at: Option<Time>,
    ack_now: bool,
    unacked: u32,
    /// When what is on its way counts as lost.
    timeout_at: Option<Time>,
    /// When to ask for room.
    probe_at: Option<Time>,
    probe: Probe,
    probes: u32,
    /// Whether a small packet asks, or is about to, if a large one has arrived.
    ask: Ask,
    /// Since when it goes on or there was nothing to do.
    progress: Time,
    /// When it may be forgotten.
    over_at: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Not,
    Due,
    Asked,
}

/// A few bytes for somebody who has no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Not,
    Due,
    Sent,
}

impl Connection {
    /// Opens one: [`Connection::transmit`] has a SYN. `receive_id` is how the other side will name it, and `seq` the first number; both should be random.
    #[must_use]
    pub fn dial(now: Time, receive_id: u16, seq: u16, limits: Limits) -> Self {
        let sending = Sending::new(seq, limits.send_buffer);
        let send_id = receive_id.wrapping_add(1);
        Self::new(
            now,
            State::Opening,
            [receive_id, send_id],
            sending,
            0,
            limits,
        )
    }

    /// Answers `syn`. `seq` is the first number, which nobody must foresee.
    #[must_use]
    pub fn accept(now: Time, syn: &Packet<'_>, seq: u16, limits: Limits) -> Self {
        let sending = Sending::new(seq, limits.send_buffer);
        let send_id = syn.connection_id;
        let ids = [send_id.wrapping_add(1), send_id];
        let mut new = Self::new(now, State::Answering, ids, sending, syn.seq, limits);
        new.note(now, syn);
        new.ack_now = true;
        new.over_at = Some(now + UNCONFIRMED);
        new
    }

    fn new(
        now: Time,
        state: State,
        [receive_id, send_id]: [u16; 2],
        sending: Sending,
        ack: u16,
        limits: Limits,
    ) -> Self {
        let size = PacketSize::new();
        Self {
            state,
            failure: None,
            receive_id,
            send_id,
            limits,
            sending,
            receiving: Receiving::new(ack, limits.receive_buffer),
            timing: Timing::default(),
            ledbat: Ledbat::new(size.full()),
            size,
            their_delay: 0,
            their_window: 0,
            told_window: 0,
            ack_at: None,
            ack_now: false,
            unacked: 0,
            timeout_at: None,
            probe_at: None,
            probe: Probe::Not,
            probes: 0,
            ask: Ask::Not,
            progress: now,
            over_at: None,
        }
    }

    /// By which id the other side names it. A reset may name it by [`Connection::send_id`] instead.
    #[must_use]
    pub const fn receive_id(&self) -> u16 {
        self.receive_id
    }

    /// By which id we name it to the other side.
    #[must_use]
    pub const fn send_id(&self) -> u16 {
        self.send_id
    }

    /// Whether both sides know of each other.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Whether [`Connection::read`] would give something, or there will never be anything again.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.receiving.has_bytes() || self.is_at_end() || self.failure.is_some()
    }

    /// Whether [`Connection::write`] would take something.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.is_connected() && self.sending.room() > 0
    }

    /// Whether the other side has ended its direction, and all of it has been read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.receiving.is_at_end()
    }

    /// Why it is gone, if it did not end well.
    #[must_use]
    pub const fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Whether it may be forgotten: it has failed, or both directions have ended and the other side knows it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes as many of `bytes` as there is room for, and gives their number; 0 before it is connected, and after [`Connection::finish`].
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        if !self.is_writable() {
            return 0;
        }
        self.sending.write(bytes)
    }

    /// Reads as many bytes as have come in order and fit.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        let read = self.receiving.read(into);
        // Who was told of little room waits to hear of more (RFC 1122, 4.2.3.3).
        let more = self.receiving.window().saturating_sub(self.told_window);
        let worth_telling = (self.limits.receive_buffer / 2).max(1);
        if read > 0 && more >= worth_telling && self.is_connected() {
            self.ack_now = true;
        }
        read
    }

    /// Ends our direction after what was written. Once the other side knows, it may go on; after 45 s of silence it is
    /// over without its end.
    pub fn finish(&mut self) {
        match self.state {
            State::Connected => self.sending.finish(),
            State::Opening | State::Answering => self.abort(),
            State::Aborting | State::Over => {}
        }
    }

    /// Ends both directions at once; what was not sent yet is lost.
    pub fn abort(&mut self) {
        if matches!(self.state, State::Aborting | State::Over) {
            return;
        }
        self.failure.get_or_insert(Failure::Aborted);
        // Who has not answered cannot make sense of it, and who has not proved its address should not get it.
        self.state = match self.state {
            State::Connected => State::Aborting,
            _ => State::Over,
        };
    }

    /// When to call [`Connection::tick`]; `None` if nothing but packets and calls can change anything.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        if self.state == State::Over {
            return None;
        }
        let waiting = [self.ack_at, self.timeout_at, self.probe_at, self.over_at];
        waiting.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if self.state == State::Over {
            return;
        }
        if due(self.over_at) {
            match self.state {
                State::Answering => self.fail(Failure::TimedOut),
                _ => self.state = State::Over,
            }
            return;
        }
        if due(self.ack_at) {
            self.ack_at = None;
            self.ack_now = true;
        }
        if due(self.probe_at) {
            self.probe_at = None;
            self.probe = Probe::Due;
        }
        if due(self.timeout_at) {
            self.timed_out(now);
        }
    }

    fn timed_out(&mut self, now: Time) {
        if now.since(self.progress) >= PATIENCE {
            self.fail(Failure::TimedOut);
            return;
        }
        if self.only_the_end_is_open() && self.timing.timeouts() >= FAREWELLS {
            // The other side has everything, has said that there is no more, and has forgotten us.
            self.state = State::Over;
            return;
        }
        self.timing.timed_out();
        self.sending.timed_out();
        let large = self.sending.single();
        let doubts = large.is_some_and(|len| self.size.doubts(len, self.timing.timeouts()));
        self.ask = if doubts { Ask::Due } else { Ask::Not };
        if self.their_window >= self.size.full() {
            self.ledbat.timed_out();
        }
        self.timeout_at = Some(now + self.timing.timeout());
    }

    fn only_the_end_is_open(&self) -> bool {
        self.receiving.has_ended() && self.sending.lacks_only_the_end()
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
        self.state = State::Over;
    }
}

/// As packets have it: microseconds, which wrap. 0 would mean that there is no clock.
#[allow(clippy::cast_possible_truncation)]
fn micros(now: Time) -> u32 {
    (now.as_micros() as u32).max(1)
}

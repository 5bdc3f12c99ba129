//! What waits to be sent to one peer. The swarm fills it under its lock; the peer's writer thread empties it outside.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::proto::peer::extended::ExtendedHandshake;
use crate::proto::peer::message::Message;

use super::limits::Claimant;

/// Bytes of messages that may wait. A peer that does not read while these pile up is dead to us: a full set of `have`s for
/// 200,000 pieces is less than half of it.
const MAX_WAITING: usize = 4 << 20;

/// Messages and a call for blocks, for one peer.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<u8>,
    serve: bool,
    /// Bytes that a limit lets pass.
    granted: Option<u32>,
    closed: bool,
    /// How we have introduced ourselves, as long as we want pieces.
    hello: Option<ExtendedHandshake>,
    /// The peer is to know that we want no pieces.
    upload_only: bool,
}

/// What a writer has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Send the messages that were put into the buffer.
    Messages,
    /// Ask the swarm for blocks to send.
    Serve,
    /// The same, for so many bytes, which a limit has granted.
    Granted(u32),
    /// The connection is over.
    Closed,
}

impl Outbox {
    /// Puts a message at the end of the queue. `false` if the peer has let too much pile up and should be dropped.
    pub fn send(&self, message: &Message<'_>) -> bool {
        let mut state = self.lock();
        message.encode(&mut state.messages);
        self.changed.notify_one();
        state.messages.len() <= MAX_WAITING
    }

    /// Introduces us (BEP 10), and once more when [`Outbox::upload_only`] comes later.
    pub fn introduce(&self, mut hello: ExtendedHandshake) {
        let mut state = self.lock();
        hello.upload_only |= state.upload_only;
        state.introduce(&hello);
        state.hello = Some(hello).filter(|hello| !hello.upload_only);
        self.changed.notify_one();
    }

    /// We want no pieces: whoever thinks that we do is told (BEP 21).
    pub fn upload_only(&self) {
        let mut state = self.lock();
        state.upload_only = true;
        if let Some(mut hello) = state.hello.take() {
            hello.upload_only = true;
            state.introduce(&hello);
            self.changed.notify_one();
        }
    }

    /// Says that blocks wait to be asked for.
    pub fn serve(&self) {
        self.lock().serve = true;
        self.changed.notify_one();
    }

    /// Ends the writer, whatever is still queued.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits for work. Messages come first: they are moved into `buffer`, which must be empty.
    pub fn next(&self, buffer: &mut Vec<u8>) -> Work {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Work::Closed;
            }
            if !state.messages.is_empty() {
                std::mem::swap(&mut state.messages, buffer);
                return Work::Messages;
            }
            if let Some(bytes) = state.granted.take() {
                return Work::Granted(bytes);
            }
            if std::mem::take(&mut state.serve) {
                return Work::Serve;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn introduce(&mut self, hello: &ExtendedHandshake) {
        hello.message().encode(&mut self.messages);
    }
}

impl Claimant for Outbox {
    fn granted(&self, bytes: u32) -> bool {
        let mut state = self.lock();
        if !state.closed {
            state.granted = Some(bytes);
            self.changed.notify_one();
        }
        !state.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_before_blocks_and_the_end_before_both() {
        let outbox = Outbox::default();
        let mut buffer = Vec::new();
        outbox.serve();
        assert!(outbox.send(&Message::Choke));
        assert_eq!(outbox.next(&mut buffer), Work::Messages);
        assert_eq!(buffer, [0, 0, 0, 1, 0]);
        assert_eq!(outbox.next(&mut buffer), Work::Serve);
        assert!(outbox.granted(7));
        assert_eq!(outbox.next(&mut buffer), Work::Granted(7));
        assert!(outbox.send(&Message::Choke));
        outbox.close();
        assert_eq!(outbox.next(&mut buffer), Work::Closed);
        assert!(!outbox.granted(1), "nobody is there to use it");
    }

    /// Whether we want no pieces, as often as we introduce ourselves.
    fn introductions(outbox: &Outbox) -> Vec<bool> {
        let mut said = Vec::new();
        outbox.close();
        let state = outbox.lock();
        let mut rest = &state.messages[..];
        while let Some((len, after)) = rest.split_first_chunk() {
            let (message, next) = after.split_at(u32::from_be_bytes(*len) as usize);
            said.push(
                ExtendedHandshake::decode(&message[2..])
                    .unwrap()
                    .upload_only,
            );
            rest = next;
        }
        said
    }

    #[test]
    fn whoever_thinks_that_we_want_pieces_is_told_when_we_do_not() {
        let hello = |upload_only| ExtendedHandshake {
            upload_only,
            ..ExtendedHandshake::default()
        };
        for (wanted_none, complete_first, said) in [
            (false, false, &[false, true][..]),
            (false, true, &[true]),
            (true, false, &[true]),
            (true, true, &[true]),
        ] {
            let outbox = Outbox::default();
            if complete_first {
                outbox.upload_only();
            }
            outbox.introduce(hello(wanted_none));
            outbox.upload_only();
            outbox.upload_only();
            assert_eq!(introductions(&outbox), said);
        }
    }

    #[test]
    fn a_peer_that_never_reads_is_told_apart() {
        let outbox = Outbox::default();
        let message = Message::Extended {
            id: 1,
            payload: vec![0; 60_000].into(),
        };
        let accepted = (0..100).take_while(|_| outbox.send(&message)).count();
        assert_eq!(accepted, MAX_WAITING / 60_006);
    }
}

//! TCP as it has been since 1990: fills the queue until it loses something (RFC 5681, 6582). Only what matters on a bottleneck.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::time::Time;

/// Bytes of a packet.
const FULL: usize = 1400;

/// A sender and its receiver, who is told of everything through [`Reno::arrived`] and [`Reno::acked`]. Numbers count packets.
#[derive(Debug)]
pub(super) struct Reno {
    window: f64,
    threshold: f64,
    next: u64,
    acked: u64,
    repeated: u32,
    /// Until this has arrived nothing halves the window again.
    recover: u64,
    again: bool,
    deadline: Time,
    stopped: bool,
    received: BTreeSet<u64>,
    /// What the receiver has without a gap.
    pub(super) whole: u64,
}

impl Reno {
    pub(super) fn new(now: Time) -> Self {
        Self {
            window: 2.0,
            // Without selective acknowledgements it would take minutes to recover from a slow start that fills the queue.
            threshold: 100.0,
            next: 0,
            acked: 0,
            repeated: 0,
            recover: 0,
            again: false,
            deadline: now + Duration::from_secs(1),
            stopped: false,
            received: BTreeSet::new(),
            whole: 0,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.whole * FULL as u64
    }

    pub(super) const fn deadline(&self) -> Time {
        self.deadline
    }

    /// The next packet to be sent.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn transmit(&mut self, now: Time) -> Option<Vec<u8>> {
        let number = if self.stopped {
            return None;
        } else if self.again {
            self.again = false;
            self.acked
        } else if ((self.next - self.acked) as f64) < self.window {
            self.next += 1;
            self.next - 1
        } else {
            return None;
        };
        if number == self.acked {
            self.deadline = now + Duration::from_secs(2);
        }
        let mut packet = vec![0; FULL];
        packet[..8].copy_from_slice(&number.to_be_bytes());
        Some(packet)
    }

    /// A packet has arrived; the answer.
    pub(super) fn arrived(&mut self, packet: &[u8]) -> Vec<u8> {
        let number = packet.first_chunk().copied().map(u64::from_be_bytes);
        self.received.extend(number.filter(|&n| n >= self.whole));
        while self.received.remove(&self.whole) {
            self.whole += 1;
        }
        self.whole.to_be_bytes().to_vec()
    }

    /// An answer has come back.
    pub(super) fn acked(&mut self, now: Time, answer: &[u8]) {
        let Some(acked) = answer.first_chunk().copied().map(u64::from_be_bytes) else {
            return;
        };
        if acked > self.acked {
            self.acked = acked;
            self.next = self.next.max(acked);
            self.repeated = 0;
            self.deadline = now + Duration::from_secs(2);
            if acked < self.recover {
                self.again = true;
            } else if self.window < self.threshold {
                self.window += 1.0;
            } else {
                self.window += 1.0 / self.window;
            }
        } else {
            self.repeated += 1;
            if self.repeated == 3 && self.acked >= self.recover {
                self.threshold = (self.window / 2.0).max(2.0);
                self.window = self.threshold;
                self.recover = self.next;
                self.again = true;
            }
        }
    }

    /// Sends nothing more.
    pub(super) const fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn tick(&mut self, now: Time) {
        if now >= self.deadline {
            self.threshold = (self.window / 2.0).max(2.0);
            self.window = 1.0;
            self.next = self.acked;
            self.recover = self.acked;
            self.deadline = now + Duration::from_secs(2);
        }
    }
}

//! How many requests a connection is kept busy with (R77, R113).

use std::time::Duration;

use crate::base::geometry::BLOCK;
use crate::base::time::Time;
use crate::core::rate::Meter;

/// Requests that a connection starts with, and never less: whoever serves many peers needs a choice of what to send to whom. What it does
/// not get round to is called back (see `recall`).
const LEAST: usize = 16;
/// More than this only piles up at the other end.
const MOST: usize = 512;
/// What a peer is assumed to queue until its extension handshake says otherwise (`reqq`, BEP 10).
const DEFAULT_REQQ: usize = 250;
/// How far ahead of the peer's rate we ask, on top of the round trip: it has to survive the scheduling of two hosts.
const AHEAD: Duration = Duration::from_millis(15);
/// The same for a web seed (BEP 19), to which requests go in ranges of half of them: 1 MiB to begin with…
const LEAST_OF_RANGES: usize = 64;
/// …16 MiB at most…
const MOST_OF_RANGES: usize = 1024;
/// …and what it sends in this time between them. What other peers could send meanwhile is called back.
const AHEAD_OF_RANGES: Duration = Duration::from_secs(1);
/// The rate is taken over this time: short, so that a fast connection is at full depth within some round trips.
const WINDOW: Duration = Duration::from_millis(250);

/// The request pipeline of one connection.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    rate: Meter,
    /// From a request to its block on an otherwise idle connection.
    delay: Option<Duration>,
    /// Requests at once = rate × (1½ × delay + [`AHEAD`]) ÷ block length, at least [`LEAST`], at most `reqq` and [`MOST`].
    ///
    /// While the connection is not limited by its link, a deeper pipeline raises the rate, which deepens the pipeline: it grows by half
    /// or more with each round trip until the link is full.
    reqq: usize,
    /// Takes the place of [`LEAST`].
    least: usize,
    /// Takes the place of [`MOST`].
    most: usize,
    /// Takes the place of [`AHEAD`].
    ahead: Duration,
}

impl Pipeline {
    /// Nothing is known of the connection yet.
    pub(super) fn new() -> Self {
        Self {
            rate: Meter::new(WINDOW),
            delay: None,
            reqq: DEFAULT_REQQ,
            least: LEAST,
            most: MOST,
            ahead: AHEAD,
        }
    }

    /// That of a web seed.
    pub(super) fn of_ranges() -> Self {
        Self {
            reqq: MOST_OF_RANGES,
            least: LEAST_OF_RANGES,
            most: MOST_OF_RANGES,
            ahead: AHEAD_OF_RANGES,
            ..Self::new()
        }
    }

    /// The peer has said how many requests it queues.
    pub(super) fn set_reqq(&mut self, reqq: u32) {
        self.reqq = usize::try_from(reqq).unwrap_or(MOST).clamp(1, MOST);
    }

    /// A block of `len` bytes has come that was asked for `took` ago; `alone`: nothing else was owed when it was asked for.
    pub(super) fn arrived(&mut self, now: Time, len: u32, took: Duration, alone: bool) {
        self.rate.add(now, u64::from(len));
        self.delay = Some(match self.delay {
            // Whatever waited behind other blocks tells only that the delay is no longer than that.
            Some(delay) if alone && took > delay => delay + (took - delay) / 8,
            Some(delay) => delay.min(took),
            None => took,
        });
    }

    /// Bytes a second of late.
    pub(super) fn rate(&self, now: Time) -> f64 {
        self.rate.rate(now)
    }

    /// Requests to have under way.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn depth(&self, now: Time) -> usize {
        let Some(delay) = self.delay else {
            return self.least.min(self.reqq);
        };
        let ahead = (delay + delay / 2 + self.ahead).as_secs_f64();
        let blocks = (self.rate.rate(now) * ahead / f64::from(BLOCK)).ceil();
        (blocks as usize)
            .clamp(self.least, self.most)
            .min(self.reqq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that answers after `delay`, at `rate` bytes a second; returns the depth after `blocks` blocks.
    fn settled(delay: Duration, rate: u64, blocks: usize) -> usize {
        let mut pipeline = Pipeline::new();
        pipeline.set_reqq(2000);
        let (mut now, mut link_free) = (Time::ZERO, Time::ZERO);
        let mut owed = std::collections::VecDeque::new();
        let transmission = Duration::from_micros(u64::from(BLOCK) * 1_000_000 / rate);
        for _ in 0..blocks {
            while owed.len() < pipeline.depth(now) {
                link_free = link_free.max(now + delay) + transmission;
                owed.push_back((now, link_free, owed.is_empty()));
            }
            let (asked, comes, alone) = owed.pop_front().unwrap();
            now = comes;
            pipeline.arrived(now, BLOCK, now.since(asked), alone);
        }
        pipeline.depth(now)
    }

    #[test]
    fn a_gigabyte_a_second_gets_hundreds_of_requests_within_a_few_milliseconds() {
        let depth = settled(Duration::from_micros(200), 1_000_000_000, 2000);
        assert!(depth >= 256, "{depth}");
    }

    #[test]
    fn a_long_fat_link_is_filled() {
        // 100 MB/s and 50 ms: 305 blocks are under way on the wire.
        let depth = settled(Duration::from_millis(50), 100_000_000, 5000);
        assert!((305..=MOST).contains(&depth), "{depth}");
    }

    #[test]
    fn a_slow_peer_owes_no_more_than_the_least() {
        assert_eq!(settled(Duration::from_millis(1), 500_000, 100), LEAST);
    }

    #[test]
    fn what_the_peer_queues_is_the_limit() {
        let mut pipeline = Pipeline::new();
        pipeline.set_reqq(5);
        assert_eq!(pipeline.depth(Time::ZERO), 5);
        pipeline.set_reqq(0);
        assert_eq!(pipeline.depth(Time::ZERO), 1);
    }
}

//! A path with a bottleneck: a rate, a delay, a queue that drops what does not fit; and loss, reordering, duplication from one seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::base::time::Time;

/// What happens to what is sent into it.
#[derive(Clone, Debug)]
pub(super) struct Path {
    /// Bytes a second.
    pub(super) rate: f64,
    /// How long the empty path takes.
    pub(super) delay: Duration,
    /// Bytes that wait for the bottleneck at most.
    pub(super) queue: usize,
    /// Shares of the packets, 0 to 1.
    pub(super) lost: f64,
    pub(super) twice: f64,
    /// Packets that take up to 10 ms longer than others.
    pub(super) late: f64,
    /// Datagrams larger than this vanish.
    pub(super) largest: usize,
}

impl Path {
    /// Without any fault: megabits a second, milliseconds.
    pub(super) fn clean(mbit: u32, ms: u64) -> Self {
        Self {
            rate: f64::from(mbit) * 125_000.0,
            delay: Duration::from_millis(ms),
            queue: 1 << 20,
            lost: 0.0,
            twice: 0.0,
            late: 0.0,
            largest: 1 << 16,
        }
    }
}

/// One direction of a path, shared by all who send into it. `T` says whose datagram it is.
#[derive(Debug)]
pub(super) struct Link<T> {
    pub(super) path: Path,
    /// When the bottleneck has sent what it has.
    free: Time,
    arriving: BinaryHeap<Reverse<Arriving<T>>>,
    count: u64,
    pub(super) rng: fastrand::Rng,
}

/// In the order of time, and of sending where that is the same.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arriving<T> {
    at: Time,
    count: u64,
    whose: T,
    datagram: Vec<u8>,
}

/// IPv4 and UDP.
const OVERHEAD: usize = 28;

impl<T: Ord + Clone> Link<T> {
    pub(super) fn new(path: Path, seed: u64) -> Self {
        Self {
            path,
            free: Time::ZERO,
            arriving: BinaryHeap::new(),
            count: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// How long a packet would wait before the bottleneck.
    pub(super) fn waiting(&self, now: Time) -> Duration {
        self.free.since(now)
    }

    pub(super) fn send(&mut self, now: Time, whose: T, datagram: Vec<u8>) {
        let waiting = self.waiting(now).as_secs_f64() * self.path.rate;
        let bytes = datagram.len() + OVERHEAD;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let full = waiting as usize + bytes > self.path.queue;
        if full || datagram.len() > self.path.largest || self.rng.f64() < self.path.lost {
            return;
        }
        #[allow(clippy::cast_precision_loss)]
        let takes = Duration::from_secs_f64(bytes as f64 / self.path.rate);
        self.free = self.free.max(now) + takes;
        let mut arrives = self.free + self.path.delay;
        if self.rng.f64() < self.path.late {
            arrives = arrives + Duration::from_micros(self.rng.u64(..10_000));
        }
        if self.rng.f64() < self.path.twice {
            self.arrive(arrives + self.path.delay, whose.clone(), datagram.clone());
        }
        self.arrive(arrives, whose, datagram);
    }

    fn arrive(&mut self, at: Time, whose: T, datagram: Vec<u8>) {
        self.count += 1;
        self.arriving.push(Reverse(Arriving {
            at,
            count: self.count,
            whose,
            datagram,
        }));
    }

    /// When something arrives next.
    pub(super) fn next(&self) -> Option<Time> {
        self.arriving.peek().map(|Reverse(next)| next.at)
    }

    /// What has arrived by `now`.
    pub(super) fn take(&mut self, now: Time) -> Option<(T, Vec<u8>)> {
        self.next().filter(|&at| at <= now)?;
        let Reverse(next) = self.arriving.pop()?;
        Some((next.whose, next.datagram))
    }
}

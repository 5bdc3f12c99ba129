//! How many bytes may be on their way: LEDBAT (RFC 6817), which makes room for other traffic as soon as a queue builds up.
//!
//! Delays are measured as RFC 6817 has it. The window follows its successor (draft-irtf-iccrg-ledbat-plus-plus): it grows by one packet a round trip and
//! shrinks in proportion to itself, which makes flows of ours alike however many they are; and every now and then it is closed for a moment, so
//! that a flow that began while the queue of another one stood finds out how long the empty path takes.

use std::time::Duration;

use crate::base::time::Time;

/// The queue that is aimed at. RFC 6817 allows no more; whoever aims at less than libutp and libtorrent, which both take 100 ms, gets nothing beside them.
const TARGET: f64 = 100_000.0;

/// Slow start ends at this share of the target: what is already on its way adds to the queue.
const ENOUGH: f64 = 0.75;

/// The least window, in packets (`MIN_CWND` in RFC 6817): one that is lost has another behind it to tell.
const LEAST: f64 = 2.0;

/// How many minutes the shortest time is remembered (`BASE_HISTORY`): a route may become longer.
const MINUTES: usize = 10;

/// Of so many samples the least counts (`CURRENT_FILTER`): a single one may have waited for a thread.
const SAMPLES: usize = 4;

/// Other clocks run faster or slower by no more than this between two packets; a larger step is something else.
const MOST_SKEW: u32 = 10_000;

/// The window is closed at most every so often, and for no more than this share of the time.
const BETWEEN: Duration = Duration::from_secs(10);
const SHARE: u32 = 20;

/// The shortest of many times, each of which is a difference of two clocks that nobody has set, and wraps.
#[derive(Clone, Debug, Default)]
struct Base {
    /// The minimum of each of the last minutes.
    minutes: [Option<u32>; MINUTES],
    minute: u64,
}

/// `a - b` where both may have wrapped.
#[allow(clippy::cast_possible_wrap)]
const fn difference(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

impl Base {
    fn add(&mut self, now: Time, sample: u32) {
        let minute = now.as_micros() / 60_000_000;
        for passed in (self.minute + 1..=minute).rev().take(MINUTES) {
            self.minutes[Self::slot(passed)] = None;
        }
        self.minute = minute;
        let least = &mut self.minutes[Self::slot(minute)];
        if least.is_none_or(|least| difference(sample, least) < 0) {
            *least = Some(sample);
        }
    }

    #[allow(clippy::cast_possible_truncation)]
    const fn slot(minute: u64) -> usize {
        (minute % MINUTES as u64) as usize
    }

    fn get(&self) -> Option<u32> {
        let known = self.minutes.iter().flatten().copied();
        known.reduce(|a, b| if difference(b, a) < 0 { b } else { a })
    }

    fn shift(&mut self, by: u32) {
        for least in self.minutes.iter_mut().flatten() {
            *least = least.wrapping_add(by);
        }
    }
}

/// Whether the window is closed for a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slowdown {
    /// Not before then.
    Next(Time),
    /// The queue drains; since when, and until when.
    Closed { began: Time, until: Time },
    /// On the way back; since when it was closed.
    Opening { began: Time },
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Ledbat {
    /// Bytes.
    window: f64,
    /// Bytes up to which slow start goes.
    threshold: f64,
    slow_start: bool,
    /// Bytes of a full packet's payload.
    full: f64,
    /// What the other side says that our packets took.
    ours: Base,
    /// What its packets took.
    theirs: Base,
    recent: [u32; SAMPLES],
    sampled: usize,
    /// Microseconds that packets of ours wait in queues.
    queueing: f64,
    /// `None` during the first slow start.
    slowdown: Option<Slowdown>,
}

impl Ledbat {
    /// Begins with two packets of `full` bytes each.
    pub(super) fn new(full: usize) -> Self {
        Self {
            window: LEAST * to_f64(full),
            threshold: f64::INFINITY,
            slow_start: true,
            full: to_f64(full),
            ours: Base::default(),
            theirs: Base::default(),
            recent: [0; SAMPLES],
            sampled: 0,
            queueing: 0.0,
            slowdown: None,
        }
    }

    /// Full packets have so many bytes from now on. Those that were lost were too large, which says nothing of queues.
    pub(super) fn set_full(&mut self, full: usize) {
        self.full = to_f64(full);
        self.window = LEAST * self.full;
        self.threshold = f64::INFINITY;
        self.slow_start = true;
    }

    /// Bytes that may be on their way.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn window(&self) -> usize {
        match self.slowdown {
            Some(Slowdown::Closed { .. }) => (LEAST * self.full) as usize,
            _ => self.window as usize,
        }
    }

    /// A packet of the other side took that long, by the difference of both clocks.
    pub(super) fn their_delay(&mut self, now: Time, delay: u32) {
        let before = self.theirs.get();
        self.theirs.add(now, delay);
        let (Some(before), Some(after)) = (before, self.theirs.get()) else {
            return;
        };
        // No path becomes shorter all the time: its clock is slower than ours, and what it says of our packets grows by as much.
        let faster = before.wrapping_sub(after);
        if faster > 0 && faster <= MOST_SKEW {
            self.ours.shift(faster);
        }
    }

    /// The other side says that a packet of ours took that long, by the difference of both clocks.
    pub(super) fn our_delay(&mut self, now: Time, delay: u32) {
        self.ours.add(now, delay);
        self.recent[self.sampled % SAMPLES] = delay;
        self.sampled += 1;
        let known = &self.recent[..self.sampled.min(SAMPLES)];
        let base = self.ours.get().unwrap_or(delay);
        let waited = known.iter().map(|&d| difference(d, base).max(0)).min();
        self.queueing = waited.map_or(0.0, f64::from);
    }

    /// `bytes` have arrived, which took `rtt` there and back. `full` is whether the window had been used up: one that is not needed does not grow.
    pub(super) fn acked(&mut self, now: Time, bytes: usize, rtt: Option<Duration>, full: bool) {
        let rtt = rtt.map_or(f64::INFINITY, |rtt| rtt.as_secs_f64() * 1e6);
        // Nothing waits longer than it takes there and back.
        let queueing = self.queueing.min(rtt);
        let bytes = to_f64(bytes);
        if self.slow_start {
            if queueing > TARGET * ENOUGH || self.window >= self.threshold {
                self.leave_slow_start(now, rtt);
            } else if full {
                self.window = (self.window + bytes).min(self.threshold);
            }
        } else {
            let share = (bytes / self.window).min(1.0);
            let grows = if full { self.full } else { 0.0 };
            let shrinks = self.window * (queueing / TARGET - 1.0).max(0.0);
            self.window += share * (grows - shrinks).max(-self.window / 2.0);
        }
        self.window = self.window.max(LEAST * self.full);
        self.slow_down(now, queueing, rtt);
    }

    /// A packet was lost among those that were sent since the last cut.
    pub(super) fn lost(&mut self, now: Time) {
        self.window = (self.window / 2.0).max(LEAST * self.full);
        self.threshold = self.window;
        if self.slow_start {
            self.leave_slow_start(now, f64::INFINITY);
        }
    }

    /// Nothing has come back for too long.
    pub(super) fn timed_out(&mut self) {
        self.threshold = (self.window / 2.0).max(LEAST * self.full);
        self.window = LEAST * self.full;
        self.slow_start = true;
    }

    fn leave_slow_start(&mut self, now: Time, rtt: f64) {
        self.slow_start = false;
        let rest = match self.slowdown {
            // The first one soon: what was measured may have been somebody else's queue.
            None => micros(2.0 * rtt.min(1e6)),
            Some(Slowdown::Opening { began }) => (now.since(began) * SHARE).max(BETWEEN),
            Some(_) => return,
        };
        self.slowdown = Some(Slowdown::Next(now + rest));
    }

    /// Closes the window for a round trip, in which the queue drains, when it is time and there is a queue that may be ours.
    fn slow_down(&mut self, now: Time, queueing: f64, rtt: f64) {
        match self.slowdown {
            Some(Slowdown::Next(at)) if now >= at && queueing > TARGET / 2.0 => {
                let until = now + micros(rtt.min(1e6));
                self.slowdown = Some(Slowdown::Closed { began: now, until });
            }
            Some(Slowdown::Closed { began, until }) if now >= until => {
                self.threshold = self.window;
                self.window = (self.window / 8.0).max(LEAST * self.full);
                self.slow_start = true;
                self.slowdown = Some(Slowdown::Opening { began });
            }
            _ => {}
        }
    }
}

fn micros(n: f64) -> Duration {
    Duration::from_secs_f64(n / 1e6)
}

#[allow(clippy::cast_precision_loss)]
const fn to_f64(n: usize) -> f64 {
    n as f64
}

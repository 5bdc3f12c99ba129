//! A rate that many share: who may pass next, and when.
//!
//! Flows (torrents) take turns by weight, the claims within a flow in the order they came. It is start-time fair queueing over a token
//! bucket: each grant moves its flow on by bytes ÷ weight, and the flow that is furthest behind is next. All sums are of whole numbers.

use std::collections::VecDeque;

use crate::base::geometry::BLOCK;
use crate::base::time::Time;

/// How much a torrent counts where torrents share a limit (R79).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A quarter of a normal one.
    Low,
    /// Whatever is not said to be otherwise.
    #[default]
    Normal,
    /// Four normal ones.
    High,
}

impl Priority {
    /// Its name, as operators write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Low, Self::Normal, Self::High];
        all.into_iter().find(|priority| priority.name() == name)
    }

    /// Bytes for each byte of a low one. Steps of four: what matters is fetched nearly as if it were alone, and nothing starves.
    #[must_use]
    pub const fn weight(self) -> u64 {
        match self {
            Self::Low => 1,
            Self::Normal => 4,
            Self::High => 16,
        }
    }
}

/// What a byte costs at weight 1, so that costs at all weights are whole.
const COST: u64 = Priority::High.weight();

/// How far a flow that had no claim for a moment may be behind when it comes back: its next claim is a little late whenever its threads
/// are, and it must not lose its share for that. After a long pause this is all that it gets in advance.
const CREDIT: u64 = 8 * BLOCK as u64 * COST;

/// Someone's wish to pass.
#[derive(Clone, Debug)]
struct Claim<T> {
    bytes: u32,
    claimant: T,
}

#[derive(Clone, Debug)]
struct Flow<K, T> {
    key: K,
    /// Where its next claim starts, in cost.
    start: u64,
    weight: u64,
    waiting: VecDeque<Claim<T>>,
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<K, T> {
    /// These bytes of this flow may pass now.
    Grant(K, u32, T),
    /// Look again then.
    At(Time),
    /// Nobody waits.
    Idle,
}

/// A limit and those who wait for it: `K` names flows, `T` claimants.
///
/// Over any stretch of time it grants the rate times that stretch, plus a tenth of a second and one claim at most.
#[derive(Clone, Debug)]
pub struct Shares<K, T> {
    rate: u64,
    /// Nanoseconds since the origin: when everything granted so far has passed. Nanoseconds, because a block takes only some
    /// microseconds on a fast link and the error must not add up.
    free: u64,
    /// Where the last grant started.
    at: u64,
    /// Few: the torrents that wait, or have waited a moment ago.
    flows: Vec<Flow<K, T>>,
}

impl<K, T> Default for Shares<K, T> {
    /// No limit, nobody waiting.
    fn default() -> Self {
        Self {
            rate: 0,
            free: 0,
            at: 0,
            flows: Vec::new(),
        }
    }
}

impl<K: Eq + Copy, T> Shares<K, T> {
    /// Changes the limit, in bytes a second; 0 is none. What has been granted already is waited for at the new rate, and nothing is
    /// saved from before.
    pub fn set_rate(&mut self, now: Time, rate: u64) {
        let now = nanos(now);
        let owed = u128::from(self.free.saturating_sub(now)) * u128::from(self.rate);
        let owed = owed / u128::from(rate.max(1));
        self.free = now.saturating_add(u64::try_from(owed).unwrap_or(u64::MAX));
        self.rate = rate;
    }

    /// Puts a claim of `bytes` at the end of its flow, which has this priority from now on.
    pub fn claim(&mut self, flow: K, priority: Priority, bytes: u32, claimant: T) {
        let least = self.at.saturating_sub(CREDIT);
        // Those that would start anew have nothing to remember.
        self.flows
            .retain(|f| !f.waiting.is_empty() || f.start > least);
        let (claim, weight) = (Claim { bytes, claimant }, priority.weight());
        if let Some(known) = self.flows.iter_mut().find(|f| f.key == flow) {
            known.start = known.start.max(least);
            known.weight = weight;
            known.waiting.push_back(claim);
        } else {
            self.flows.push(Flow {
                key: flow,
                start: least,
                weight,
                waiting: VecDeque::from([claim]),
            });
        }
    }

    /// Who may pass at `now`, or when to look again.
    pub fn next(&mut self, now: Time) -> Next<K, T> {
        let waiting = self.flows.iter_mut().filter(|f| !f.waiting.is_empty());
        let Some(flow) = waiting.min_by_key(|f| f.start) else {
            return Next::Idle;
        };
        let now = nanos(now);
        if self.rate > 0 && self.free > now {
            return Next::At(Time::from_micros(self.free.div_ceil(1000)));
        }
        let Some(claim) = flow.waiting.pop_front() else {
            return Next::Idle;
        };
        self.at = self.at.max(flow.start);
        flow.start += cost(claim.bytes, flow.weight);
        if self.rate > 0 {
            let burst = span(self.rate / 10, self.rate);
            let start = self.free.max(now.saturating_sub(burst));
            self.free = start.saturating_add(span(claim.bytes.into(), self.rate));
        }
        Next::Grant(flow.key, claim.bytes, claim.claimant)
    }

    /// Of a grant of `granted` bytes, `used` have passed, which may be more.
    pub fn settle(&mut self, flow: K, granted: u32, used: u32) {
        if let Some(flow) = self.flows.iter_mut().find(|f| f.key == flow) {
            let start = flow.start + cost(used, flow.weight);
            flow.start = start.saturating_sub(cost(granted, flow.weight));
        }
        if self.rate > 0 {
            let free = self.free.saturating_add(span(used.into(), self.rate));
            self.free = free.saturating_sub(span(granted.into(), self.rate));
        }
    }
}

const fn cost(bytes: u32, weight: u64) -> u64 {
    bytes as u64 * COST / weight
}

/// Nanoseconds that `bytes` take at `rate`.
fn span(bytes: u64, rate: u64) -> u64 {
    let ns = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    u64::try_from(ns).unwrap_or(u64::MAX)
}

const fn nanos(time: Time) -> u64 {
    time.as_micros().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Bench = Shares<u8, u8>;

    /// Serves flows that always want more, `claimants` of each at a time, until `end`; appends when, to which flow and claimant, how much.
    fn serve(
        shares: &mut Bench,
        from: Time,
        end: Time,
        block: u32,
        flows: &[(u8, Priority)],
        log: &mut Vec<(Time, u8, u8, u32)>,
    ) {
        let mut now = from;
        loop {
            match shares.next(now) {
                Next::Grant(flow, bytes, who) => {
                    log.push((now, flow, who, bytes));
                    let priority = flows.iter().find(|(f, _)| *f == flow).unwrap().1;
                    shares.claim(flow, priority, block, who);
                }
                Next::At(at) if at >= end => return,
                Next::At(at) => now = at,
                Next::Idle => panic!("they always want more"),
            }
        }
    }

    fn bytes(log: &[(Time, u8, u8, u32)], matches: impl Fn(Time, u8, u8) -> bool) -> u64 {
        let counted = log.iter().filter(|(at, f, w, _)| matches(*at, *f, *w));
        counted.map(|(.., bytes)| u64::from(*bytes)).sum()
    }

    #[test]
    fn a_limit_holds_within_three_percent_over_any_ten_seconds_also_where_it_changes() {
        let flows = [(1, Priority::Low), (2, Priority::High)];
        let secs = Time::from_secs;
        for rate in [60_000, 1 << 20, 5 << 20, 1_000_000_007] {
            let mut shares = Bench::default();
            shares.set_rate(secs(1), rate);
            let block = BLOCK.max(u32::try_from(rate / 128).unwrap());
            for (flow, priority) in flows {
                shares.claim(flow, priority, block, 0);
            }
            let mut log = Vec::new();
            serve(&mut shares, secs(1), secs(16), block, &flows, &mut log);
            shares.set_rate(secs(16), rate * 2);
            serve(&mut shares, secs(16), secs(31), block, &flows, &mut log);
            for begin in 1..=21 {
                let passed = bytes(&log, |at, _, _| at >= secs(begin) && at < secs(begin + 10));
                let doubled = (begin + 10).clamp(16, 26) - 16;
                let expected = rate * (10 + doubled);
                let error = passed.abs_diff(expected) * 1000 / expected;
                assert!(error < 30, "{rate} from {begin}: {passed} for {expected}");
            }
        }
    }

    #[test]
    fn flows_share_by_weight_and_claimants_of_a_flow_evenly() {
        use Priority::{High, Low, Normal};
        let flows = [(1, Low), (2, Normal), (3, High), (4, High)];
        let mut shares = Bench::default();
        shares.set_rate(Time::ZERO, 10_000_000);
        for (flow, priority) in flows {
            // The number of claimants makes no difference to a flow's share.
            (0..flow * 2).for_each(|who| shares.claim(flow, priority, BLOCK, who));
        }
        let mut log = Vec::new();
        let end = Time::from_secs(20);
        serve(&mut shares, Time::ZERO, end, BLOCK, &flows, &mut log);
        let all = bytes(&log, |_, _, _| true);
        for (flow, priority) in flows {
            let share = bytes(&log, |_, f, _| f == flow) * 37 * 100 / all / priority.weight();
            assert!((98..=102).contains(&share), "{flow}: {share}");
            let of = |who| bytes(&log, |_, f, w| (f, w) == (flow, who));
            assert!(of(0).abs_diff(of(1)) <= u64::from(BLOCK));
        }
    }

    #[test]
    fn a_flow_that_is_late_by_a_moment_keeps_its_share() {
        let mut shares = Bench::default();
        shares.set_rate(Time::ZERO, 5 << 20);
        shares.claim(1, Priority::Low, BLOCK, 0);
        shares.claim(2, Priority::High, BLOCK, 0);
        let (mut now, mut late, mut sums) = (Time::ZERO, None, [0_u64; 3]);
        while now < Time::from_secs(10) {
            match shares.next(now) {
                Next::Grant(2, ..) => {
                    sums[2] += 1;
                    // Comes back five milliseconds later, when one of the other has often gone first.
                    late = Some(now + Duration::from_micros(2500));
                }
                Next::Grant(flow, ..) => {
                    sums[usize::from(flow)] += 1;
                    shares.claim(1, Priority::Low, BLOCK, 0);
                }
                Next::At(at) => now = at.min(late.unwrap_or(at)),
                Next::Idle => now = late.unwrap(),
            }
            if late.is_some_and(|late| now >= late) {
                late = None;
                shares.claim(2, Priority::High, BLOCK, 0);
            }
        }
        assert!((14..=17).contains(&(sums[2] / sums[1])), "{sums:?}");
    }

    #[test]
    fn what_was_not_used_is_there_for_the_next() {
        let mut shares = Bench::default();
        shares.set_rate(Time::from_secs(1), 1000);
        let now = Time::from_secs(1);
        let grant = |who| Next::Grant(1, 500, who);
        (1..=3).for_each(|who| shares.claim(1, Priority::Normal, 500, who));
        assert_eq!(shares.next(now), grant(1));
        assert_eq!(shares.next(now), Next::At(now + Duration::from_millis(500)));
        shares.settle(1, 500, 0);
        assert_eq!(shares.next(now), grant(2));
        shares.settle(1, 500, 1500);
        assert_eq!(
            shares.next(now),
            Next::At(now + Duration::from_millis(1500))
        );
        shares.set_rate(now, 3000);
        assert_eq!(shares.next(now), Next::At(now + Duration::from_millis(500)));
        shares.set_rate(now, 0);
        assert_eq!(shares.next(now), grant(3));
        assert_eq!(shares.next(now), Next::Idle);
    }
}

//! When a peer should announce itself again, and when a silent one is forgotten.
//!
//! Small and young swarms are where a fresh worker has to be found at once, and where asking often costs little; in large ones everybody knows enough
//! others. What all swarms together cost is bounded, too: by chance over a span that grows with the number of all peers. So, with `base` the
//! configured interval (300 s), `peers` the size of the swarm, `all` that of all swarms, and `rate` what `--max-rate` says (5,000 announces a second):
//!
//! ```text
//! wait     = peers ÷ 4 seconds, but at least 10 s and at most base; 10 s in the first minute of a swarm
//! from..to = wait ± a half, at most base           5 to 15 s up to 40 peers
//!            base less up to a tenth               from 1,200 peers on, and ten minutes after a swarm began while it has no leecher
//! span     = 4/3 × all ÷ rate seconds, at most an hour; 0 with fewer peers than three quarters of `rate`
//! told     = by chance, from + span ÷ 2 .. to + 3 × span ÷ 2; all of that earlier, as far as span ÷ 2 allows, where it would exceed base
//! min      = told ÷ 2
//! expiry   = 2 × longest, and a quarter of base (1 to 60 s) on top
//! ```
//!
//! Told over at least a span, peers that have all started together come back at no more than `all` ÷ span, three quarters of the rate; those that came
//! when there were fewer, and were told less, at log 3 of that. And since the mean of what is told is never less than the span, so they do ever after. The
//! rest is for chance. `longest` is `base`, or the longest that anybody was told lately where that is longer; expiry does not follow shorter waits,
//! since many clients do not announce more often than every few minutes whatever they are told.

use std::ops::RangeInclusive;

/// Peers of a swarm for each second that they wait.
const PEERS_PER_SECOND: u32 = 4;

/// The shortest wait, in seconds, before chance is added.
const SHORTEST: u32 = 10;

/// Seconds for which a swarm is young.
const YOUNG: u32 = 60;

/// Seconds after which a swarm that nobody downloads is left in peace.
const SETTLED: u32 = 600;

/// The longest span, in seconds.
const LONGEST: u32 = 3600;

/// What matters of a swarm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    pub(super) peers: u32,
    pub(super) leechers: u32,
    /// Seconds since the swarm began.
    pub(super) age: u32,
}

/// The seconds over which the next announces of `all` peers are spread, so that at most `rate` come in one.
pub(super) fn span(all: usize, rate: u32) -> u32 {
    let seconds = all as u64 * 4 / (u64::from(rate.max(1)) * 3);
    u32::try_from(seconds).unwrap_or(u32::MAX).min(LONGEST)
}

/// Seconds until the next announce, at least 1.
pub(super) fn next(base: u32, crowd: Crowd, span: u32, rng: &mut fastrand::Rng) -> u32 {
    rng.u32(window(base, crowd, span))
}

/// What may be told.
fn window(base: u32, crowd: Crowd, span: u32) -> RangeInclusive<u32> {
    let base = base.max(1);
    let wait = match crowd.age {
        ..YOUNG => 0,
        _ => crowd.peers / PEERS_PER_SECOND,
    };
    let wait = wait.clamp(SHORTEST.min(base), base);
    let is_calm = wait == base || (crowd.leechers == 0 && crowd.age > SETTLED);
    let (from, to) = if is_calm {
        (base - base / 10, base)
    } else {
        (wait - wait / 2, wait.saturating_add(wait / 2).min(base))
    };
    let half = span.div_ceil(2);
    let (from, to) = (from + half, to.saturating_add(half + span));
    let earlier = to.saturating_sub(base).min(from - half.max(1));
    from - earlier..=to - earlier
}

/// The longest that anybody is told to wait.
const fn longest(base: u32, span: u32) -> u32 {
    let stretched = (base / 3).saturating_mul(2).saturating_add(span / 2 + span);
    if stretched > base && span > 0 {
        stretched
    } else {
        base
    }
}

/// Seconds of silence after which a peer is forgotten, where nobody was told with a longer span than this.
pub(super) const fn expiry(base: u32, span: u32) -> u32 {
    let slack = base / 4;
    let slack = if slack < 1 {
        1
    } else if slack > 60 {
        60
    } else {
        slack
    };
    longest(base, span).saturating_mul(2).saturating_add(slack)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    fn range(base: u32, peers: u32, leechers: u32, age: u32) -> (u32, u32) {
        let crowd = Crowd {
            peers,
            leechers,
            age,
        };
        let mut rng = fastrand::Rng::with_seed(3);
        let all: Vec<_> = (0..2000).map(|_| next(base, crowd, 0, &mut rng)).collect();
        (*all.iter().min().unwrap(), *all.iter().max().unwrap())
    }

    #[test]
    fn small_and_young_swarms_ask_every_few_seconds_and_large_ones_every_few_minutes() {
        assert_eq!(range(300, 1, 1, 5), (5, 15));
        assert_eq!(range(300, 40, 30, 9999), (5, 15));
        assert_eq!(range(300, 5000, 5000, 59), (5, 15));
        assert_eq!(range(300, 400, 1, 60), (50, 150));
        assert_eq!(range(300, 1000, 1, 60), (125, 300));
        assert_eq!(range(300, 100_000, 1, 60), (270, 300));
    }

    #[test]
    fn a_swarm_that_nobody_downloads_is_left_in_peace_once_it_is_old() {
        assert_eq!(range(300, 3, 0, 5), (5, 15));
        assert_eq!(range(300, 3, 0, 601), (270, 300));
    }

    #[test]
    fn nothing_exceeds_the_configured_interval_where_few_ask() {
        assert_eq!(range(1, 9, 9, 0), (1, 1));
        assert_eq!(range(0, 9, 9, 0), (1, 1));
        assert_eq!(range(8, 3, 3, 0), (8, 8));
        assert_eq!(range(12, 3, 3, 0), (5, 12));
    }

    #[test]
    fn what_is_told_is_as_wide_as_the_span_and_half_as_long_at_least() {
        for base in [0, 1, 10, 300, 86_400] {
            for peers in [0, 10, 100, 1000, 10_000] {
                for age in [0, 100, 1000] {
                    for span in [0, 1, 9, 100, 299, 301, 3600] {
                        let crowd = Crowd {
                            peers,
                            leechers: peers / 2,
                            age,
                        };
                        let window = window(base, crowd, span);
                        let (from, to) = (*window.start(), *window.end());
                        assert!(
                            from >= 1 && to - from >= span && from * 2 >= span,
                            "{window:?}"
                        );
                        assert!(
                            to <= longest(base, span) + 4,
                            "{base} {peers} {age} {span}: {window:?}"
                        );
                    }
                }
            }
        }
        assert_eq!(
            (span(0, 0), span(1_000_000, 5000), span(usize::MAX / 8, 1)),
            (0, 266, 3600)
        );
    }

    /// Announces in each ten seconds, of so many peers in swarms of this size that start within `start` seconds and do as they are told.
    fn announces(peers: usize, size: usize, rate: u32, start: u32, until: u32) -> Vec<usize> {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut due: BinaryHeap<_> = (0..peers)
            .map(|peer| Reverse((rng.u32(0..=start), peer, true)))
            .collect();
        let (mut all, mut swarms) = (0, vec![0_u32; peers / size + 1]);
        let mut counts = vec![0; until as usize / 10 + 1];
        while let Some(Reverse((now, peer, is_first))) = due.pop().filter(|d| d.0.0 < until) {
            let swarm = &mut swarms[peer / size];
            // The first announces are nobody's to tell when.
            if is_first {
                (all, *swarm) = (all + 1, *swarm + 1);
            } else {
                counts[now as usize / 10] += 1;
            }
            let crowd = Crowd {
                peers: *swarm,
                leechers: *swarm,
                age: now,
            };
            due.push(Reverse((
                now + next(300, crowd, span(all, rate), &mut rng),
                peer,
                false,
            )));
        }
        counts
    }

    #[test]
    fn peers_that_obey_stay_below_the_rate_also_after_they_all_started_at_once() {
        for (peers, size, rate, start) in [
            (20_000, 10, 200, 0),
            (20_000, 10, 200, 1),
            (20_000, 20_000, 200, 5),
            (20_000, 1000, 100, 60),
            (20_000, 2000, 50, 2),
            (5_000, 50, 500, 0),
            (3_000, 3_000, 100, 1),
        ] {
            let counts = announces(peers, size, rate, start, 2400);
            let most = counts.iter().max().unwrap();
            assert!(
                *most <= rate as usize * 10,
                "{peers} {size} {rate} {start}: {counts:?}"
            );
            // The bound is not kept by asking for next to nothing.
            let mean = counts.iter().sum::<usize>() / counts.len();
            let natural = peers * 10 / 300;
            assert!(
                mean * 4 >= natural.min(rate as usize * 10),
                "{mean} {counts:?}"
            );
        }
    }

    #[test]
    fn expiry_leaves_room_for_a_lost_announce() {
        assert_eq!(expiry(300, 0), 660);
        assert_eq!(expiry(60, 10), 135);
        assert_eq!(expiry(1, 0), 3);
        assert_eq!(expiry(300, 400), 1660);
        assert_eq!(expiry(u32::MAX, 0), u32::MAX);
    }
}

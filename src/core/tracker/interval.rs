//! When a peer should announce itself again, and when a silent one is forgotten.
//!
//! Small swarms are where a fresh worker has to be found at once, and where asking often costs little; in large ones everybody knows enough others.
//! So, with `base` the configured interval (300 s) and `peers` the size of the swarm:
//!
//! ```text
//! wait     = peers ÷ 4 seconds, but at least 10 s and at most base
//! told     = wait ± a half at random, at most base         5 to 15 s up to 40 peers, the whole base from 1,200 peers on
//! idle     = no leecher, and ten minutes since the swarm began: base, less up to a tenth
//! min      = told ÷ 2
//! expiry   = 2 × base, and a quarter of base (1 to 60 s) on top
//! ```
//!
//! A swarm thus costs at most about four announces a second plus what `base` costs. Expiry follows `base` and not what was told, since many clients do not
//! announce more often than every few minutes whatever they are told.

/// Peers of a swarm for each second that they wait.
const PEERS_PER_SECOND: u32 = 4;

/// The shortest wait, in seconds, before chance is added.
const SHORTEST: u32 = 10;

/// Seconds after which a swarm that nobody downloads is left in peace.
const YOUTH: u32 = 600;

/// Seconds until the next announce, from 1 to `base`.
pub(super) fn next(base: u32, peers: u32, leechers: u32, age: u32, rng: &mut fastrand::Rng) -> u32 {
    let base = base.max(1);
    let wait = (peers / PEERS_PER_SECOND).clamp(SHORTEST.min(base), base);
    let told = if wait == base || (leechers == 0 && age > YOUTH) {
        base - rng.u32(0..=base / 10)
    } else {
        rng.u32(wait - wait / 2..=wait.saturating_add(wait / 2))
    };
    told.clamp(1, base)
}

/// Seconds of silence after which a peer is forgotten.
pub(super) const fn expiry(base: u32) -> u32 {
    let slack = base / 4;
    let slack = if slack < 1 {
        1
    } else if slack > 60 {
        60
    } else {
        slack
    };
    base.saturating_mul(2).saturating_add(slack)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(base: u32, peers: u32, leechers: u32, age: u32) -> (u32, u32) {
        let mut rng = fastrand::Rng::with_seed(3);
        let all: Vec<_> = (0..2000)
            .map(|_| next(base, peers, leechers, age, &mut rng))
            .collect();
        (*all.iter().min().unwrap(), *all.iter().max().unwrap())
    }

    #[test]
    fn small_swarms_ask_every_few_seconds_and_large_ones_every_few_minutes() {
        assert_eq!(range(300, 1, 1, 5), (5, 15));
        assert_eq!(range(300, 40, 30, 9999), (5, 15));
        assert_eq!(range(300, 400, 1, 5), (50, 150));
        assert_eq!(range(300, 100_000, 1, 5), (270, 300));
    }

    #[test]
    fn a_swarm_that_nobody_downloads_is_left_in_peace_once_it_is_old() {
        assert_eq!(range(300, 3, 0, 5), (5, 15));
        assert_eq!(range(300, 3, 0, 601), (270, 300));
    }

    #[test]
    fn nothing_exceeds_the_configured_interval() {
        assert_eq!(range(1, 9, 9, 0), (1, 1));
        assert_eq!(range(0, 9, 9, 0), (1, 1));
        assert_eq!(range(8, 3, 3, 0), (8, 8));
        assert_eq!(range(12, 3, 3, 0), (5, 12));
    }

    #[test]
    fn expiry_leaves_room_for_a_lost_announce() {
        assert_eq!(expiry(300), 660);
        assert_eq!(expiry(60), 135);
        assert_eq!(expiry(1), 3);
        assert_eq!(expiry(u32::MAX), u32::MAX);
    }
}

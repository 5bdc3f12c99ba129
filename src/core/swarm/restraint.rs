//! Once every piece is out, an only seed steps back and looks whether the swarm gets on without it.
//!
//! Where the workers' own uplinks suffice, whatever the origin sends from then on only takes the place of what they would send one
//! another, and costs a link that may have better things to do. Where they do not suffice, the swarm slows down as soon as the origin
//! pauses, and then it reveals everything and helps as an ordinary seed.

use std::time::Duration;

use crate::base::time::Time;
use crate::core::rate::{Meter, time_for};

/// Over which time progress is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// The origin pauses for this share of the time that it took to get every piece out, before it judges: a mistake then costs little…
const SHARE: u32 = 8;
/// …and never for longer or shorter than this.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// With fewer peers than this that still lack something, there is no swarm to get on by itself.
const SWARM: usize = 3;
/// What the origin sent was needed if at least this share of it is missing now.
const MISSED: f64 = 0.5;
/// But a swarm that by itself gets done this many times what the origin sent would gain little from it.
const PLENTY: f64 = 2.0;
/// A swarm in which nobody announces anything for this many times what it took from one announcement to the next has come to a stop.
const STOPPED: f64 = 8.0;
/// A peer that announces nothing for this many times what a piece takes on average gets nothing from the others.
const STARVED: f64 = 4.0;
/// And not before this many pauses have passed: a host that is busy with its disk announces nothing either.
const STARVED_PAUSES: u32 = 5;

/// Near the end, when peers lack less than this share of the payload on average, every uplink helps with the last pieces.
const END: f64 = 0.1;

/// What the peers of an only seed get done, and how that changes when it pauses.
#[derive(Clone, Debug)]
pub(super) struct Restraint {
    /// Bytes in pieces that peers have announced.
    progress: Meter,
    /// When the first was announced.
    started: Option<Time>,
    /// When the last one was.
    last: Time,
    pause: Option<Pause>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    /// When to judge.
    until: Time,
    /// Bytes a second that the peers must get done without us.
    expected: f64,
    /// Since when they have been getting less done than they must.
    slow_since: Option<Time>,
    /// Silence of all peers for so long means that the swarm has come to a stop.
    silence: Duration,
}

impl Restraint {
    pub(super) fn new() -> Self {
        Self {
            progress: Meter::new(WINDOW),
            started: None,
            last: Time::ZERO,
            pause: None,
        }
    }

    /// A peer has announced a piece of `bytes`.
    pub(super) fn announced(&mut self, now: Time, bytes: u32) {
        self.started.get_or_insert(now);
        self.last = now;
        self.progress.add(now, u64::from(bytes));
    }

    /// Whether the swarm needs us, of whose peers `lacking` lack something, on average the share `missing` of the payload, given that we
    /// have been sending `sent` bytes a second and that a piece has `piece` bytes. The first question begins the pause.
    pub(super) fn is_over(
        &mut self,
        now: Time,
        piece: u32,
        lacking: usize,
        missing: f64,
        sent: f64,
    ) -> bool {
        let rate = self.progress.rate(now);
        let length = self.length(now);
        let pause = self.pause.get_or_insert(Pause {
            until: now + length,
            expected: (rate - sent * MISSED).min(sent * PLENTY),
            slow_since: None,
            silence: time_for(f64::from(piece) * STOPPED, rate).max(length),
        });
        if lacking < SWARM || missing < END {
            return true;
        }
        if now < pause.until {
            return false;
        }
        if now.since(self.last) >= pause.silence {
            return true;
        }
        let slow = rate < pause.expected;
        // A moment's hesitation, such as a busy host's, is no need.
        let since = *pause.slow_since.get_or_insert(now);
        if !slow {
            pause.slow_since = None;
        }
        slow && now.since(since) >= length
    }

    /// Whether the origin has stepped back.
    pub(super) const fn is_pausing(&self) -> bool {
        self.pause.is_some()
    }

    /// How long to pause.
    fn length(&self, now: Time) -> Duration {
        let took = self
            .started
            .map_or(Duration::ZERO, |started| now.since(started));
        (took / SHARE).clamp(PAUSE.0, PAUSE.1)
    }

    /// When to ask again.
    pub(super) const fn look_again() -> Duration {
        Duration::from_millis(50)
    }

    /// How long a peer may announce nothing before it counts as starved, when a piece has `piece` bytes and there are `peers`.
    pub(super) fn patience(&self, now: Time, piece: u32, peers: usize) -> Duration {
        let each =
            self.progress.rate(now) / f64::from(u32::try_from(peers.max(1)).unwrap_or(u32::MAX));
        time_for(f64::from(piece) * STARVED, each).max(self.length(now) * STARVED_PAUSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u32 = 1 << 20;

    /// Peers that announce `rate` pieces a second from one second to another.
    fn announce(restraint: &mut Restraint, from: u64, to: u64, rate: u64) {
        for n in 0..(to - from) * rate {
            restraint.announced(
                Time::from_micros(from * 1_000_000 + n * 1_000_000 / rate),
                PIECE,
            );
        }
    }

    fn pieces_a_second(n: u32) -> f64 {
        f64::from(n) * f64::from(PIECE)
    }

    #[test]
    fn a_swarm_that_gets_on_as_before_needs_no_origin() {
        let mut restraint = Restraint::new();
        announce(&mut restraint, 0, 5, 80);
        assert!(!restraint.is_over(Time::from_secs(5), PIECE, 8, 0.5, pieces_a_second(10)));
        announce(&mut restraint, 5, 10, 80);
        assert!(!restraint.is_over(Time::from_secs(10), PIECE, 8, 0.5, 0.0));
    }

    #[test]
    fn a_swarm_that_misses_what_the_origin_sent_gets_it_back_after_a_second() {
        let mut restraint = Restraint::new();
        announce(&mut restraint, 0, 5, 80);
        let sent = pieces_a_second(70);
        assert!(!restraint.is_over(Time::from_secs(5), PIECE, 8, 0.5, sent));
        announce(&mut restraint, 5, 10, 10);
        assert!(!restraint.is_over(Time::from_micros(5_500_000), PIECE, 8, 0.5, sent));
        assert!(
            !restraint.is_over(Time::from_secs(8), PIECE, 8, 0.5, 0.0),
            "once is a moment"
        );
        assert!(restraint.is_over(Time::from_secs(10), PIECE, 8, 0.5, 0.0));
    }

    #[test]
    fn a_swarm_that_does_plenty_by_itself_gets_no_help_for_a_moment_of_weakness() {
        let mut restraint = Restraint::new();
        announce(&mut restraint, 0, 5, 80);
        assert!(!restraint.is_over(Time::from_secs(5), PIECE, 8, 0.5, pieces_a_second(10)));
        announce(&mut restraint, 5, 10, 40);
        assert!(!restraint.is_over(Time::from_secs(8), PIECE, 8, 0.5, 0.0));
        assert!(!restraint.is_over(Time::from_secs(10), PIECE, 8, 0.5, 0.0));
    }

    #[test]
    fn a_swarm_that_comes_to_a_stop_gets_help() {
        let mut restraint = Restraint::new();
        announce(&mut restraint, 0, 5, 80);
        assert!(!restraint.is_over(Time::from_secs(5), PIECE, 8, 0.5, pieces_a_second(10)));
        assert!(
            !restraint.is_over(Time::from_micros(5_500_000), PIECE, 8, 0.5, 0.0),
            "a moment is no stop"
        );
        assert!(restraint.is_over(Time::from_micros(5_700_000), PIECE, 8, 0.5, 0.0));
    }

    #[test]
    fn near_the_end_everybody_helps() {
        let mut restraint = Restraint::new();
        announce(&mut restraint, 0, 5, 80);
        assert!(restraint.is_over(Time::from_secs(5), PIECE, 8, 0.09, 0.0));
    }

    #[test]
    fn two_peers_are_no_swarm() {
        let mut restraint = Restraint::new();
        assert!(restraint.is_over(Time::from_secs(5), PIECE, 2, 0.5, 0.0));
    }

    #[test]
    fn patience_grows_with_the_time_that_a_piece_takes() {
        let mut restraint = Restraint::new();
        announce(&mut restraint, 0, 9, 20);
        let at = Time::from_secs(9);
        let least = restraint.length(at) * STARVED_PAUSES;
        assert_eq!(restraint.patience(at, 1000, 8), least);
        assert!(restraint.patience(at, PIECE, 80) > least * 2);
    }
}

//! How far an only seed relies on a peer to fetch what it is shown, and to pass it on.

use std::mem;

/// A peer that fails is shown nothing more until it announces a piece, and then only what nobody is there for who has failed less often.
///
/// It costs a stranger nothing to announce what it does not have. One that has taken a piece's worth of data since has done what is expected
/// of it, and starts afresh.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    failed: bool,
    failures: u32,
    /// Bytes that it had taken when it last started afresh.
    taken: u64,
}

impl Standing {
    /// Whether it is shown nothing.
    pub(super) const fn is_out(&self) -> bool {
        self.failed
    }

    /// How often it has failed without a piece's worth of data in between.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// It wants what it was shown and has not asked for it, or has not announced it, in time.
    pub(super) const fn fails(&mut self) {
        self.failed = true;
        self.failures = self.failures.saturating_add(1);
    }

    /// It has announced a piece, of which one has `piece` bytes, and has taken `taken` bytes in all. Returns whether it was out until now.
    pub(super) const fn announces(&mut self, taken: u64, piece: u32) -> bool {
        if taken - self.taken >= piece as u64 {
            (self.taken, self.failures) = (taken, 0);
        }
        mem::replace(&mut self.failed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u32 = 1 << 18;

    #[test]
    fn who_only_announces_is_back_but_not_forgiven() {
        let mut standing = Standing::default();
        for n in 1..=15 {
            standing.fails();
            assert!(standing.is_out());
            assert!(standing.announces(u64::from(n) << 14, PIECE));
            assert!(!standing.is_out());
            assert_eq!(standing.failures(), n);
        }
        assert!(!standing.announces(PIECE.into(), PIECE));
        assert_eq!(standing.failures(), 0);
    }

    #[test]
    fn what_was_taken_before_counts_once() {
        let mut standing = Standing::default();
        standing.announces(u64::from(PIECE) * 2 - 1, PIECE);
        standing.fails();
        standing.announces(u64::from(PIECE) * 2, PIECE);
        assert_eq!(standing.failures(), 1);
    }
}

//! Pieces that were bad: who sent which of their blocks, who may try next, and who has lied once they are good.
//!
//! A bad piece that several have sent does not say who of them lied. So the sum of each block is kept beside its sender, and the piece is
//! fetched again from one peer alone, its holder. Whatever comes of that is proof: a bad piece is its only sender's fault, and a good
//! one tells which of the blocks before were wrong, however few there were. So a piece is bad no more often than it meets liars. Those who
//! took part before are asked again only if nobody else is there to be asked.
//!
//! **The bound.** At most 1,024 pieces at a time are traced, and at most 65,536 blocks of them (1.5 MiB); a bad piece beyond that is still
//! fetched from one peer alone, or beyond the first of these numbers like any other. Whoever fills this up is found out soon, piece by piece.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::geometry::PieceIndex;
use crate::base::id::PeerId;
use crate::base::time::Time;

use super::event::PeerKey;
use super::picker::Asker;

/// Pieces traced at most.
const MAX_CASES: usize = 1024;
/// Blocks in the evidence of all of them at most.
const MAX_EVIDENCE: usize = 65_536;
/// Suspects let others go first for so long. Whoever serves us is asked for its next block sooner than that.
const GRACE: Duration = Duration::from_millis(250);
/// A holder that needs longer than this may lose the piece to a peer that has nothing else to fetch. Doubles with every try, so that
/// a piece is fetched in the end however slow everybody is.
const PATIENCE: Duration = Duration::from_secs(2);
/// Peers barred from one piece at most; the one barred longest ago goes first.
const MAX_BARRED: usize = 8;
/// How often a span doubles at most.
const MAX_DOUBLINGS: u32 = 5;

/// Who a peer is, beyond its connection.
pub(super) type Who = (IpAddr, PeerId);

/// Where the piece of a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has been asked for it.
    Open,
    /// Its holder has been, and is left alone with it until then.
    Held(Time),
    /// Its holder was too slow: another may take over.
    Lapsed,
}

#[derive(Clone, Debug)]
struct Case {
    state: State,
    /// Who sent each block, and its sum, when the piece was bad and several had sent it.
    evidence: Vec<(PeerKey, u64)>,
    /// Whoever is named in the evidence, in order.
    suspects: Vec<PeerKey>,
    /// Until then suspects let others go first.
    others_first: Time,
    /// Who may not be asked before when.
    barred: Vec<(Who, Time)>,
    /// How often somebody has been asked for it.
    tries: u32,
    /// How often its only source has sent it, and it was bad.
    futile: u32,
}

impl Case {
    fn new() -> Self {
        Self {
            state: State::Open,
            evidence: Vec::new(),
            suspects: Vec::new(),
            others_first: Time::ZERO,
            barred: Vec::new(),
            tries: 0,
            futile: 0,
        }
    }

    fn is_barred(&self, asker: &Asker<'_>) -> bool {
        let mut barred = self.barred.iter();
        barred.any(|&(who, until)| who == asker.who && asker.now < until)
    }

    fn is_suspect(&self, peer: PeerKey) -> bool {
        self.suspects.binary_search(&peer).is_ok()
    }

    /// When something changes with time alone.
    fn due(&self) -> Option<Time> {
        let held = match self.state {
            State::Held(until) => Some(until),
            State::Open | State::Lapsed => None,
        };
        let waiting = (self.others_first > Time::ZERO).then_some(self.others_first);
        let barred = self.barred.iter().map(|&(_, until)| until);
        barred.chain(held).chain(waiting).min()
    }
}

/// All pieces that were bad and are not good yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Cases {
    cases: BTreeMap<PieceIndex, Case>,
    /// Blocks in all evidence.
    blocks: usize,
    /// Nothing changes with time alone before then.
    due: Option<Time>,
}

impl Cases {
    /// Whether there is none, which is nearly always so.
    pub(super) fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Whether the sums of the blocks of `piece` tell something if it is good.
    pub(super) fn has_evidence(&self, piece: PieceIndex) -> bool {
        self.cases
            .get(&piece)
            .is_some_and(|case| !case.evidence.is_empty())
    }

    /// `piece` was bad. `senders`: who has sent each block; `sums`: of each block, or nothing. Returns whether it is a case now; if not, there
    /// are too many.
    pub(super) fn bad(
        &mut self,
        now: Time,
        piece: PieceIndex,
        senders: &[PeerKey],
        sums: &[u64],
    ) -> bool {
        if self.cases.len() >= MAX_CASES && !self.cases.contains_key(&piece) {
            return false;
        }
        let case = self.cases.entry(piece).or_insert_with(Case::new);
        case.state = State::Open;
        let several = senders.iter().any(|sender| Some(sender) != senders.first());
        let room = self.blocks + sums.len() <= MAX_EVIDENCE;
        if several && room && case.evidence.is_empty() && sums.len() == senders.len() {
            case.evidence = senders.iter().copied().zip(sums.iter().copied()).collect();
            case.suspects = senders.to_vec();
            case.suspects.sort_unstable();
            case.suspects.dedup();
            case.suspects.shrink_to_fit();
            case.others_first = now + GRACE;
            self.due = earlier(self.due, Some(case.others_first));
            self.blocks += sums.len();
        }
        true
    }

    /// `piece` is good, with these sums. Whoever has sent a block of another sum has lied; everybody else is cleared.
    pub(super) fn good(&mut self, piece: PieceIndex, sums: &[u64]) -> Vec<PeerKey> {
        let Some(case) = self.cases.remove(&piece) else {
            return Vec::new();
        };
        self.blocks -= case.evidence.len();
        let pairs = case.evidence.iter().zip(sums);
        let wrong = pairs.filter(|((_, was), is)| was != *is);
        let mut liars: Vec<_> = wrong.map(|(&(sender, _), _)| sender).collect();
        liars.sort_unstable();
        liars.dedup();
        liars
    }

    /// Nobody but suspects can be asked for `piece`: they need not wait.
    pub(super) fn let_suspects_try(&mut self, piece: PieceIndex) {
        if let Some(case) = self.cases.get_mut(&piece) {
            case.others_first = Time::ZERO;
        }
    }

    /// A piece that `asker` may fetch alone.
    pub(super) fn open_to(&self, asker: &Asker<'_>) -> Option<PieceIndex> {
        let fits = |(&piece, case): (&PieceIndex, &Case)| {
            let waits = asker.now < case.others_first && case.is_suspect(asker.key);
            (case.state == State::Open && asker.have.has(piece) && !waits && !case.is_barred(asker))
                .then_some(piece)
        };
        self.cases.iter().find_map(fits)
    }

    /// The pieces that `asker` may take over since their holders, of whom it may be one, are too slow.
    pub(super) fn lapsed(&self, asker: &Asker<'_>) -> impl Iterator<Item = PieceIndex> {
        let lapsed = self.cases.iter().filter(|(piece, case)| {
            case.state == State::Lapsed && asker.have.has(**piece) && !case.is_barred(asker)
        });
        lapsed.map(|(&piece, _)| piece)
    }

    /// A peer has been asked for `piece`, alone.
    pub(super) fn hold(&mut self, now: Time, piece: PieceIndex) {
        if let Some(case) = self.cases.get_mut(&piece) {
            let until = now + PATIENCE * (1 << case.tries.min(MAX_DOUBLINGS));
            case.tries += 1;
            case.state = State::Held(until);
            self.due = earlier(self.due, Some(until));
        }
    }

    /// The holder of `piece` has lost it. Returns whether it is a case.
    pub(super) fn reopen(&mut self, piece: PieceIndex) -> bool {
        let case = self.cases.get_mut(&piece);
        case.map(|case| case.state = State::Open).is_some()
    }

    /// `who` was too slow with `piece`, and is not asked for it for a while.
    pub(super) fn bar_the_slow(&mut self, now: Time, piece: PieceIndex, who: Who) {
        self.bar(piece, who, now + PATIENCE);
    }

    /// `who` alone has `piece`, and it was bad: it is asked again after `pause`, doubled for each time before. `None` if the piece is no case.
    pub(super) fn bar_the_only_source(
        &mut self,
        now: Time,
        piece: PieceIndex,
        who: Who,
        pause: Duration,
    ) -> Option<Duration> {
        let case = self.cases.get_mut(&piece)?;
        let pause = pause * (1 << case.futile.min(MAX_DOUBLINGS));
        case.futile += 1;
        self.bar(piece, who, now + pause);
        Some(pause)
    }

    fn bar(&mut self, piece: PieceIndex, who: Who, until: Time) {
        if let Some(case) = self.cases.get_mut(&piece) {
            case.barred.retain(|(other, _)| *other != who);
            if case.barred.len() >= MAX_BARRED {
                case.barred.remove(0);
            }
            case.barred.push((who, until));
            self.due = earlier(self.due, Some(until));
        }
    }

    /// When [`Cases::review`] is due.
    pub(super) const fn deadline(&self) -> Option<Time> {
        self.due
    }

    /// Lets go what time has settled. Returns whether somebody may be asked for something now that could not before.
    pub(super) fn review(&mut self, now: Time) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        for case in self.cases.values_mut() {
            if matches!(case.state, State::Held(until) if until <= now) {
                case.state = State::Lapsed;
            }
            if case.others_first <= now {
                case.others_first = Time::ZERO;
            }
            case.barred.retain(|&(_, until)| now < until);
        }
        self.due = self.cases.values().filter_map(Case::due).min();
        true
    }
}

fn earlier(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    a.into_iter().chain(b).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bitfield::Bitfield;
    use std::net::Ipv4Addr;

    const A: PeerKey = PeerKey(1);
    const B: PeerKey = PeerKey(2);
    const PIECE: PieceIndex = PieceIndex(0);

    fn who(n: u8) -> Who {
        (Ipv4Addr::LOCALHOST.into(), PeerId([n; 20]))
    }

    fn open_to(cases: &Cases, now: Time, key: PeerKey) -> bool {
        let asker = Asker {
            key,
            have: &Bitfield::all(1),
            who: who(u8::try_from(key.0).unwrap()),
            now,
            run: None,
        };
        cases.open_to(&asker).is_some()
    }

    #[test]
    fn what_is_kept_of_bad_pieces_has_a_bound_however_many_there_are() {
        let (senders, sums) = ([A, B].repeat(512), [1; 1024]);
        let mut cases = Cases::default();
        let traced = (0..5000)
            .filter(|&n| cases.bad(Time::ZERO, PieceIndex(n), &senders, &sums))
            .count();
        assert_eq!((traced, cases.cases.len()), (MAX_CASES, MAX_CASES));
        assert_eq!(cases.blocks, MAX_EVIDENCE);
        for n in 0..5000 {
            cases.good(PieceIndex(n), &sums);
        }
        assert_eq!((cases.cases.len(), cases.blocks), (0, 0));
    }

    #[test]
    fn only_the_attempt_that_several_shared_is_evidence() {
        let mut cases = Cases::default();
        cases.bad(Time::ZERO, PIECE, &[A, A], &[1, 2]);
        assert!(!cases.has_evidence(PIECE), "whose fault that was is known");
        cases.bad(Time::ZERO, PIECE, &[A, B], &[]);
        assert!(!cases.has_evidence(PIECE), "no sums");
        cases.bad(Time::ZERO, PIECE, &[A, B], &[1, 2]);
        cases.bad(Time::ZERO, PIECE, &[B, B], &[3, 4]);
        assert_eq!(cases.good(PIECE, &[1, 4]), [B]);
        assert_eq!(cases.good(PIECE, &[1, 5]), [], "it is over");
    }

    #[test]
    fn suspects_let_others_go_first_but_not_for_long() {
        let mut cases = Cases::default();
        cases.bad(Time::ZERO, PIECE, &[A, B], &[1, 2]);
        let open = |cases: &Cases, now| [1, 2, 3].map(|n| open_to(cases, now, PeerKey(n)));
        assert_eq!(open(&cases, Time::ZERO), [false, false, true]);
        assert_eq!(cases.deadline(), Some(Time::ZERO + GRACE));
        assert!(cases.review(Time::ZERO + GRACE));
        assert_eq!(open(&cases, Time::ZERO + GRACE), [true; 3]);
        assert_eq!(cases.deadline(), None);
    }

    #[test]
    fn the_patience_with_holders_doubles_and_so_does_the_pause_of_an_only_source() {
        let mut cases = Cases::default();
        cases.bad(Time::ZERO, PIECE, &[A, A], &[]);
        let mut spans = Vec::new();
        for _ in 0..8 {
            cases.hold(Time::ZERO, PIECE);
            spans.push(cases.deadline().unwrap().since(Time::ZERO).as_secs());
            cases.review(Time::from_secs(100));
            assert!(cases.reopen(PIECE));
        }
        assert_eq!(spans, [2, 4, 8, 16, 32, 64, 64, 64]);
        let pauses = [(); 2].map(|()| {
            let second = Duration::from_secs(1);
            let pause = cases.bar_the_only_source(Time::ZERO, PIECE, who(1), second * 5);
            pause.unwrap().as_secs()
        });
        assert_eq!(pauses, [5, 10]);
        let (before, after) = (Time::from_secs(9), Time::from_secs(10));
        assert!(!open_to(&cases, before, A) && open_to(&cases, before, B));
        assert!(cases.review(after) && open_to(&cases, after, A));
    }
}

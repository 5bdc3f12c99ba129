//! Web seeds: asked for long runs, told nothing, judged like anybody else.

use super::*;
use crate::core::swarm::number_of;

/// Two hundred pieces of two blocks each.
const PIECES: usize = 200;

impl Bench {
    fn web_seed(&mut self, n: u64, number: u16, in_order: bool) {
        self.tell(Event::WebSeed {
            peer: PeerKey(n),
            number,
            in_order,
        });
    }

    /// Lets `n` answer the first so many of `blocks`, a hundredth of a second each; returns what it was asked for meanwhile.
    fn answers(&mut self, n: u64, blocks: &[Block]) -> Vec<Block> {
        let mut asked = Vec::new();
        for &block in blocks {
            self.now = self.now + 10 * MS;
            assert_eq!(self.block(n, block), Verdict::Keep);
            asked.extend(self.asked(n));
        }
        asked
    }
}

fn empty() -> Bench {
    Bench::new(&".".repeat(PIECES))
}

fn pieces(blocks: &[Block]) -> Vec<u32> {
    let mut pieces: Vec<_> = blocks.iter().map(|b| b.piece.0).collect();
    pieces.dedup();
    pieces
}

/// Whether the blocks follow one another without a gap.
fn is_one_run(blocks: &[Block]) -> bool {
    let at = |b: &Block| (b.piece.0, b.begin);
    let next = |b: &Block| match b.begin {
        0 => (b.piece.0, BLOCK),
        _ => (b.piece.0 + 1, 0),
    };
    blocks.windows(2).all(|pair| next(&pair[0]) == at(&pair[1]))
}

#[test]
fn it_is_asked_at_once_for_a_long_run_and_told_nothing_else() {
    let mut b = empty();
    b.web_seed(1, 0, false);
    let asked = b.asked(1);
    assert_eq!(asked.len(), b.said(1).len(), "nothing but requests");
    let start = asked[0].piece.0;
    let until_end = 2 * (PIECES - start as usize);
    assert!(
        is_one_run(&asked[..asked.len().min(until_end)]),
        "{asked:?}"
    );
    assert_eq!(asked.len(), 64);
    let more = b.answers(1, &asked[..40]);
    assert!(
        more.len() >= 32,
        "a batch, not block by block: {}",
        more.len()
    );
    b.verified(asked[0].piece.0, true);
    assert_eq!(b.said(1).len(), b.asked(1).len(), "no `have` either");
    b.pass(SEC * 29);
    let heard = b.said(1);
    assert!(heard.iter().all(|m| matches!(m, Message::Request(_))));
}

#[test]
fn it_goes_on_with_the_next_piece_unless_another_is_rarer() {
    let mut b = empty();
    // Somebody has all but the last ten pieces.
    let has = "x".repeat(PIECES - 10) + &".".repeat(10);
    b.peer(2, &has);
    b.web_seed(1, 0, false);
    let first = pieces(&b.asked(1));
    let mut rare = first[..10].to_vec();
    rare.sort_unstable();
    let last_ten: Vec<_> = (190..200).collect();
    assert_eq!(rare, last_ten, "what nobody else has comes first");
}

#[test]
fn what_others_have_begun_does_not_cut_its_ranges_short() {
    let mut b = empty();
    b.server(2, &"x".repeat(PIECES));
    b.block(2, b.asked(2)[0]);
    b.says(2, Message::Choke);
    b.web_seed(1, 0, false);
    let asked = b.asked(1);
    let breaks = asked.windows(2).filter(|pair| !is_one_run(pair)).count();
    assert!(breaks <= 8, "{breaks} breaks in {asked:?}");
}

#[test]
fn one_that_is_read_from_start_to_end_is_asked_in_order() {
    let mut b = Bench::new(&("xx".to_owned() + &".".repeat(PIECES)));
    b.web_seed(1, 0, true);
    let asked = b.asked(1);
    assert_eq!(asked[0], block(2, 0));
    assert!(is_one_run(&asked));
    let more = b.answers(1, &asked);
    assert!(is_one_run(&[asked, more].concat()));
}

#[test]
fn it_takes_no_place_of_a_peer_and_is_counted_apart() {
    let config = Config {
        max_peers: 1,
        ..Config::default()
    };
    let mut b = Bench::with(&".".repeat(PIECES), config);
    b.web_seed(1, 0, false);
    b.peer(2, "");
    assert_eq!(b.peers(), [1, 2]);
    let stats = b.swarm.stats(b.now);
    assert_eq!((stats.peers, stats.seeds, stats.web_seeds), (1, 0, 1));
    b.tell(Event::Disconnected { peer: PeerKey(1) });
    assert_eq!(b.swarm.stats(b.now).web_seeds, 0);
    assert_eq!(b.swarm.stats(b.now).finished, 0, "it is nobody's copy");
}

#[test]
fn its_silence_is_no_reason_to_part() {
    let mut b = empty();
    b.web_seed(1, 7, false);
    for _ in 0..10 {
        b.pass(SEC * 60);
        assert_eq!(b.closed(), []);
    }
    let shown = b.swarm.peers(b.now).next().unwrap();
    assert_eq!(number_of(shown.addr), Some(7));
    assert_eq!(number_of(addr(7)), None);
}

#[test]
fn bad_data_bans_that_one_web_seed() {
    let mut b = empty();
    b.web_seed(1, 0, false);
    let lied = b.asked(1);
    b.web_seed(2, 1, false);
    b.answers(1, &lied[..2]);
    b.verified(lied[0].piece.0, false);
    assert_eq!(b.closed(), [(1, Close::BadData)]);
    let blamed: Vec<_> = b
        .blamed()
        .iter()
        .map(|(at, p)| (number_of(*at), *p))
        .collect();
    assert_eq!(blamed, [(Some(0), Penalty::Banned)]);
    b.pass(SEC * 3600);
    b.web_seed(3, 0, false);
    assert_eq!(b.closed(), [(3, Close::BadData)]);
    assert_eq!(b.peers(), [2]);
}

#[test]
fn the_only_source_may_come_back_after_a_while() {
    let mut b = empty();
    b.web_seed(1, 0, false);
    let lied = b.asked(1);
    b.answers(1, &lied[..2]);
    b.verified(lied[0].piece.0, false);
    assert_eq!(b.closed(), [(1, Close::BadData)]);
    b.web_seed(2, 0, false);
    assert_eq!(b.closed(), [(2, Close::BadData)], "too early");
    b.pass(SEC * 61);
    b.web_seed(3, 0, false);
    assert_eq!(b.closed(), []);
    assert!(!b.asked(3).is_empty());
}

#[test]
fn a_limit_is_kept_by_asking_for_less() {
    let mut b = empty();
    b.swarm.limit(b.now, true, &mut Vec::new());
    b.web_seed(1, 0, false);
    assert_eq!(b.asked(1), []);
    b.did.clear();
    assert!(b.swarm.allow(b.now, 5 * BLOCK, &mut b.did));
    let asked = b.asked(1);
    assert!(asked.len() == 5 && is_one_run(&asked), "{asked:?}");
}

/// Draws the pieces of these blocks.
fn drawn(blocks: &[Block]) -> String {
    let has = |piece| blocks.iter().any(|b| b.piece.idx() == piece);
    let draw = |piece| if has(piece) { 'x' } else { '.' };
    (0..PIECES).map(draw).collect()
}

#[test]
fn what_it_does_not_send_in_time_is_asked_for_elsewhere() {
    let mut b = empty();
    b.web_seed(1, 0, false);
    let owed = b.asked(1);
    b.pass(SEC * 31);
    let cancelled = |block: &Block| b.said(1).contains(&&Message::Cancel(*block));
    assert!(owed.iter().all(cancelled));
    b.server(2, &drawn(&owed));
    assert!(b.asked(2).len() >= 16);
}

#[test]
fn an_idle_peer_gets_what_a_web_seed_has_been_asked_for_and_not_begun() {
    let mut b = empty();
    b.web_seed(1, 0, false);
    let owed = b.asked(1);
    b.answers(1, &owed[..4]);
    b.server(2, &drawn(&owed));
    let called_back: Vec<_> = owed
        .iter()
        .filter(|block| b.said(1).contains(&&Message::Cancel(**block)))
        .copied()
        .collect();
    assert!(!called_back.is_empty());
    b.says(1, Message::Reject(called_back[0]));
    assert_eq!(b.asked(2), [called_back[0]]);
}

#[test]
fn with_everything_here_it_is_not_needed() {
    let mut b = Bench::new(".");
    b.web_seed(1, 0, false);
    b.answers(1, &[block(0, 0), block(0, 1)]);
    b.verified(0, true);
    assert_eq!(b.closed(), [(1, Close::BothComplete)]);
    b.web_seed(2, 0, false);
    assert_eq!(b.closed(), [(2, Close::BothComplete)]);
}

//! What a peer allows us while it chokes us.

use super::*;

const PIECES: usize = 200;

#[test]
fn what_a_peer_allows_is_asked_for_while_it_chokes_us_and_nothing_else() {
    let mut b = Bench::new(&".".repeat(PIECES));
    b.connect(1, true, true);
    b.says(1, Message::HaveAll);
    assert_eq!(b.asked(1), []);
    b.says(1, Message::AllowedFast(PieceIndex(7)));
    assert_eq!(b.asked(1), [block(7, 0), block(7, 1)]);
    // What it refuses is not asked for again before it unchokes us.
    b.says(1, Message::Reject(block(7, 0)));
    assert_eq!(b.asked(1), []);
    b.says(1, Message::AllowedFast(PieceIndex(7)));
    b.says(1, Message::Suggest(PieceIndex(8)));
    assert_eq!(b.asked(1), []);
    b.says(1, Message::Unchoke);
    assert!(b.asked(1).contains(&block(7, 0)));
}

#[test]
fn who_rejects_what_nobody_else_has_is_asked_again_but_not_at_once() {
    let mut b = Bench::new("x.");
    b.connect(1, true, true);
    b.says(1, Message::HaveAll);
    b.says(1, Message::Unchoke);
    assert_eq!(b.asked(1), [block(1, 0), block(1, 1)]);
    b.block(1, block(1, 0));
    b.says(1, Message::Reject(block(1, 1)));
    assert_eq!(b.asked(1), []);
    b.pass(SEC);
    assert_eq!(b.asked(1), [block(1, 1)]);
}

#[test]
fn a_piece_that_is_allowed_before_it_is_there_is_asked_for_when_it_comes() {
    let mut b = Bench::new(&".".repeat(PIECES));
    b.connect(1, true, true);
    b.says(1, Message::HaveNone);
    b.says(1, Message::AllowedFast(PieceIndex(7)));
    assert_eq!(b.asked(1), []);
    b.says(1, Message::Have(PieceIndex(6)));
    assert_eq!(b.asked(1), []);
    b.says(1, Message::Have(PieceIndex(7)));
    assert_eq!(b.asked(1), [block(7, 0), block(7, 1)]);
}

#[test]
fn a_flood_of_allowances_is_bounded() {
    let mut b = Bench::new(&".".repeat(PIECES));
    b.connect(1, true, true);
    b.says(1, Message::HaveAll);
    for n in 0..PIECES as u32 {
        b.says(1, Message::AllowedFast(PieceIndex(n)));
    }
    let owed = &b.swarm.peers[&PeerKey(1)].download.owed;
    assert!(owed.iter().all(|asked| asked.piece.0 < 64));
}

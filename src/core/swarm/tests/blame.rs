//! Bad pieces: who is blamed, who is not, and how they are fetched again.

use super::*;
use crate::proto::peer::extended::ExtendedHandshake;

/// One piece of two blocks, of which `first` and `second` have sent one each.
fn shared(first: u64, second: u64) -> Bench {
    let mut b = Bench::new(".");
    b.server(first, "x");
    b.server(second, "x");
    b.block(first, block(0, 0));
    b.block(second, block(0, 1));
    b
}

/// `n` sends the whole piece, which it is asked for alone.
fn sends_alone(b: &mut Bench, n: u64, piece: u32) {
    for block in [block(piece, 0), block(piece, 1)] {
        assert_eq!(b.block(n, block), Verdict::Keep, "{n} was not asked");
    }
}

#[test]
fn who_alone_sent_a_bad_piece_is_banned() {
    let mut b = Bench::new("x...");
    b.server(1, "xx..");
    b.peer(2, ".x..");
    b.block(1, block(1, 0));
    b.block(1, block(1, 1));
    b.verified(1, false);
    assert_eq!(b.closed(), [(1, Close::BadData)]);
    b.pass(SEC * 3600);
    b.connect(1, false, false);
    assert_eq!(b.closed(), [(1, Close::BadData)]);
}

#[test]
fn the_only_source_is_banned_for_a_while_only() {
    let mut b = Bench::new("x...");
    b.server(1, "xx..");
    b.block(1, block(1, 0));
    b.block(1, block(1, 1));
    b.verified(1, false);
    assert_eq!(b.closed(), [(1, Close::BadData)]);
    assert_eq!(b.blamed(), [(addr(1), Penalty::BannedFor(SEC * 60))]);
    b.pass(SEC * 61);
    b.connect(1, false, false);
    assert_eq!(b.closed(), []);
}

#[test]
fn who_only_took_part_in_a_bad_piece_is_tried_alone_and_the_liar_is_found() {
    let mut b = Bench::new("x...");
    b.server(1, "xx..");
    b.says(1, Message::Choke);
    b.server(2, "xxx.");
    let of_two = b.asked(2);
    assert_eq!(of_two.len(), 4);
    b.says(1, Message::Unchoke);
    // In the end game both take part in piece 1.
    b.block(1, block(1, 0));
    b.block(2, block(1, 1));
    b.summed(1, false, &[10, 66]);
    assert_eq!(b.closed(), [], "either may be honest");
    let (one, two) = (b.asked(1), b.asked(2));
    assert!(
        one.is_empty() != two.is_empty(),
        "one of them alone: {one:?} {two:?}"
    );
    let (tried, asked) = if one.is_empty() { (2, two) } else { (1, one) };
    for block in asked.iter().filter(|b| b.piece == PieceIndex(1)) {
        assert_eq!(b.block(tried, *block), Verdict::Keep);
    }
    b.verified(1, false);
    assert_eq!(b.closed(), [(tried, Close::BadData)]);
    assert_eq!(b.peers(), [3 - tried]);
}

#[test]
fn the_address_of_a_liar_is_banned_even_if_it_has_left() {
    let mut b = Bench::new("x...");
    b.server(1, "xx..");
    b.peer(2, ".x..");
    b.block(1, block(1, 0));
    b.block(1, block(1, 1));
    b.tell(Event::Disconnected { peer: PeerKey(1) });
    b.verified(1, false);
    b.connect(3, false, false);
    assert_eq!(b.closed(), []);
    b.tell(Event::Connected {
        peer: PeerKey(4),
        id: id(1),
        addr: addr(1),
        outgoing: false,
        fast: false,
        utp: false,
    });
    assert_eq!(b.closed(), [(4, Close::BadData)]);
}

#[test]
fn the_good_piece_shows_who_of_several_has_lied_and_clears_the_others() {
    let mut b = shared(1, 2);
    b.server(3, "x");
    assert!(!b.swarm.wants_sums(PieceIndex(0)));
    b.summed(0, false, &[10, 66]);
    assert_eq!((b.asked(1).len(), b.asked(2).len()), (0, 0), "suspects");
    assert_eq!(b.asked(3), [block(0, 0), block(0, 1)], "who took no part");
    assert!(b.swarm.wants_sums(PieceIndex(0)));
    sends_alone(&mut b, 3, 0);
    b.summed(0, true, &[10, 11]);
    assert_eq!(b.blamed(), [(addr(2), Penalty::Banned)]);
    assert!(b.swarm.is_complete());
    b.connect(2, false, false);
    assert_eq!(b.closed(), [(2, Close::BadData)], "for good");
    b.connect(1, false, false);
    assert_eq!(b.closed(), []);
}

#[test]
fn who_lies_once_and_then_sends_the_good_piece_is_convicted_by_it() {
    let mut b = shared(1, 2);
    b.summed(0, false, &[66, 11]);
    assert_eq!(b.asked(1).len(), 2, "nobody but suspects: no need to wait");
    sends_alone(&mut b, 1, 0);
    b.summed(0, true, &[10, 11]);
    assert_eq!(b.blamed(), [(addr(1), Penalty::Banned)]);
}

#[test]
fn two_liars_in_one_piece_are_found_one_after_the_other() {
    let mut b = shared(1, 2);
    b.summed(0, false, &[66, 77]);
    sends_alone(&mut b, 1, 0);
    b.summed(0, false, &[66, 11]);
    assert_eq!(b.blamed(), [(addr(1), Penalty::Banned)]);
    b.server(3, "x");
    assert_eq!(b.asked(3), [], "the other one has it by now");
    sends_alone(&mut b, 2, 0);
    b.summed(0, true, &[10, 11]);
    assert_eq!(b.blamed(), [(addr(2), Penalty::Banned)]);
}

#[test]
fn who_has_left_before_the_piece_is_good_is_banned_all_the_same() {
    let mut b = shared(1, 2);
    b.server(3, "x");
    b.summed(0, false, &[66, 66]);
    b.tell(Event::Disconnected { peer: PeerKey(2) });
    sends_alone(&mut b, 3, 0);
    b.summed(0, true, &[66, 11]);
    assert_eq!(b.blamed(), [(addr(2), Penalty::Banned)]);
    b.connect(2, false, false);
    assert_eq!(b.closed(), [(2, Close::BadData)]);
}

#[test]
fn a_bad_block_that_comes_before_the_good_one_is_not_put_on_the_other_sender() {
    let mut b = Bench::new(".");
    b.server(1, "x");
    b.server(2, "x");
    // Both owe both blocks: the liar is quicker with the first.
    b.block(2, block(0, 0));
    assert_eq!(b.block(1, block(0, 0)), Verdict::Discard);
    b.block(1, block(0, 1));
    b.summed(0, false, &[66, 11]);
    sends_alone(&mut b, 1, 0);
    b.summed(0, true, &[10, 11]);
    assert_eq!(b.blamed(), [(addr(2), Penalty::Banned)]);
}

/// A peer with piece 1 under any id and at any address, that sends it, bad.
fn lies(b: &mut Bench, key: u64, id: PeerId, addr: SocketAddr, first: &[Message<'_>]) {
    b.tell(Event::Connected {
        peer: PeerKey(key),
        id,
        addr,
        outgoing: false,
        fast: false,
        utp: false,
    });
    for message in first {
        b.says(key, message.clone());
    }
    b.says(key, Message::Bitfield(set(".x")));
    b.says(key, Message::Unchoke);
    sends_alone(b, key, 1);
    b.verified(1, false);
}

#[test]
fn a_liar_under_anothers_id_gets_itself_banned_not_the_other() {
    let mut b = Bench::new("x.");
    b.peer(2, "xx");
    lies(&mut b, 9, id(1), addr(9), &[]);
    assert_eq!(b.blamed(), [(addr(9), Penalty::Banned)]);
    b.connect(1, false, false);
    assert_eq!(b.closed(), [], "the true one, from its own address");
}

#[test]
fn where_a_liar_says_it_listens_is_dialled_all_the_same() {
    let mut b = Bench::new("x.");
    b.peer(2, "xx");
    let handshake = ExtendedHandshake {
        listen_port: Some(addr(9).port()),
        ..ExtendedHandshake::default()
    };
    let payload = handshake.encode().into();
    let far_end = (addr(9).ip(), 40_000).into();
    lies(
        &mut b,
        9,
        id(9),
        far_end,
        &[Message::Extended { id: 0, payload }],
    );
    assert_eq!(b.closed(), [(9, Close::BadData)]);
    b.pass(SEC * 10);
    assert_eq!(b.dialled(), [addr(9)], "an honest one may be there");
}

#[test]
fn the_holder_of_a_bad_piece_goes_on_after_a_choke_and_loses_it_if_it_is_slow() {
    let mut b = shared(1, 2);
    b.server(3, "x");
    b.summed(0, false, &[10, 66]);
    b.block(3, block(0, 0));
    b.says(3, Message::Choke);
    assert!(!b.did.contains(&Action::Forget(PieceIndex(0))));
    b.says(3, Message::Unchoke);
    assert_eq!(b.asked(3), [block(0, 1)]);
    b.pass(SEC);
    assert_eq!((b.asked(1).len(), b.asked(2).len()), (0, 0), "not yet");
    b.pass(SEC * 2);
    assert_eq!(b.said(3), [&Message::Cancel(block(0, 1))]);
    assert!(b.did.contains(&Action::Forget(PieceIndex(0))));
    assert_eq!(b.asked(1), [block(0, 0), block(0, 1)], "the whole piece");
    assert_eq!(b.block(3, block(0, 1)), Verdict::Discard);
    sends_alone(&mut b, 1, 0);
}

/// Twenty pieces, the last of them bad; 1 is the only source.
fn one_flipped_bit() -> Bench {
    let config = Config {
        sequential: true,
        ..Config::default()
    };
    let mut b = Bench::with(&".".repeat(20), config);
    b.server(1, &"x".repeat(20));
    for piece in 0..20 {
        sends_alone(&mut b, 1, piece);
        b.verified(piece, piece < 19);
    }
    b
}

#[test]
fn the_only_source_is_put_up_with_if_it_has_sent_much_that_was_good() {
    let mut b = one_flipped_bit();
    assert_eq!(b.blamed(), [(addr(1), Penalty::Spared(SEC * 120))]);
    assert_eq!((b.closed(), b.asked(1)), (vec![], vec![]));
    b.pass(SEC * 60);
    b.says(1, Message::KeepAlive);
    b.pass(SEC * 60);
    assert_eq!(b.asked(1), [block(19, 0), block(19, 1)]);
    sends_alone(&mut b, 1, 19);
    b.verified(19, false);
    assert_eq!(b.closed(), [(1, Close::BadData)], "no more than one in 16");
    b.pass(SEC * 61);
    b.server(1, &"x".repeat(20));
    assert_eq!(b.asked(1), [], "not before twice as long");
}

#[test]
fn another_source_of_the_bad_piece_is_asked_at_once() {
    let mut b = one_flipped_bit();
    b.server(2, &"x".repeat(20));
    assert_eq!(b.asked(2), [block(19, 0), block(19, 1)]);
    sends_alone(&mut b, 2, 19);
    b.verified(19, true);
    assert!(b.swarm.is_complete());
}

//! What we ask for, and what comes of it.

use super::*;
use crate::proto::peer::extended::ExtendedHandshake;

#[test]
fn a_peer_that_has_something_for_us_hears_so_and_is_asked_once_it_serves_us() {
    let mut b = Bench::new("x...");
    b.peer(1, "x...");
    assert_eq!(b.said(1), [] as [&Message<'_>; 0], "nothing for us");
    b.says(1, Message::Have(PieceIndex(2)));
    assert_eq!(b.said(1), [&Message::Interested]);
    b.says(1, Message::Unchoke);
    assert_eq!(b.asked(1), [block(2, 0), block(2, 1)]);
}

#[test]
fn a_piece_is_verified_announced_and_counted_and_then_the_peer_is_of_no_more_interest() {
    let mut b = Bench::new("x.");
    b.server(1, ".x");
    assert_eq!(b.block(1, block(1, 0)), Verdict::Keep);
    assert_eq!(b.did, []);
    assert_eq!(b.block(1, block(1, 1)), Verdict::Keep);
    assert_eq!(b.did, [Action::Verify(PieceIndex(1))]);
    assert!(!b.swarm.is_complete(), "not before it is verified");
    b.verified(1, true);
    assert_eq!(
        b.said(1),
        [&Message::Have(PieceIndex(1)), &Message::NotInterested]
    );
    assert_eq!(b.did.iter().filter(|a| **a == Action::Complete).count(), 1);
    assert!(b.swarm.is_complete() && b.swarm.have().is_full());
    assert_eq!(b.swarm.stats(b.now).left, 0);
}

#[test]
fn once_complete_we_part_from_seeds() {
    let mut b = Bench::new("x.");
    b.server(1, "xx");
    b.peer(2, "x.");
    b.block(1, block(1, 0));
    b.block(1, block(1, 1));
    b.verified(1, true);
    assert_eq!(b.closed(), [(1, Close::BothComplete)]);
    b.says(2, Message::Have(PieceIndex(1)));
    assert_eq!(b.closed(), [(2, Close::BothComplete)]);
}

#[test]
fn a_block_is_asked_for_once_before_the_end_game_and_twice_at_most_in_it() {
    let mut b = Bench::new("....");
    b.server(1, "xxxx");
    assert_eq!(b.asked(1).len(), 8);
    b.server(2, "xxxx");
    assert_eq!(b.asked(2).len(), 8, "the end game");
    b.server(3, "xxxx");
    assert_eq!(b.asked(3), []);
    let came = block(0, 0);
    b.block(2, came);
    assert_eq!(b.said(1), [&Message::Cancel(came)]);
    assert_eq!(
        b.block(1, came),
        Verdict::Discard,
        "it had left already; no fault"
    );
    assert_eq!(b.swarm.stats(b.now).wasted, u64::from(BLOCK));
}

#[test]
fn an_overdue_request_is_taken_back_and_made_elsewhere() {
    let mut b = Bench::new("....");
    b.server(1, "xx..");
    let asked = b.asked(1);
    assert_eq!(asked.len(), 4);
    b.server(2, "...x");
    b.pass(SEC * 29);
    b.says(1, Message::KeepAlive);
    assert_eq!(b.asked(2), []);
    b.says(2, Message::Have(PieceIndex(0)));
    b.says(2, Message::Have(PieceIndex(1)));
    b.pass(SEC * 2);
    let cancelled = b
        .said(1)
        .into_iter()
        .filter(|m| matches!(m, Message::Cancel(_)))
        .count();
    assert_eq!(cancelled, 4);
    let again = b.asked(2);
    assert!(asked.iter().all(|block| again.contains(block)), "{again:?}");
    assert_eq!(
        b.block(1, asked[0]),
        Verdict::Keep,
        "better late than never"
    );
}

#[test]
fn a_slow_peer_is_not_taken_for_a_silent_one() {
    let mut b = Bench::new("....");
    b.server(1, "xxxx");
    let asked = b.asked(1);
    for block in &asked[..3] {
        b.pass(SEC * 25);
        assert!(!b.said(1).iter().any(|m| matches!(m, Message::Cancel(_))));
        assert_eq!(b.block(1, *block), Verdict::Keep);
    }
}

#[test]
fn a_choke_takes_back_our_requests_unless_the_peer_answers_each() {
    let mut b = Bench::new("....");
    b.server(1, "xx..");
    b.server(2, "....");
    b.says(2, Message::Have(PieceIndex(0)));
    b.says(2, Message::Have(PieceIndex(1)));
    b.says(1, Message::Choke);
    assert_eq!(b.asked(2).len(), 4, "BEP 3");

    let mut b = Bench::new("....");
    b.connect(1, false, true);
    b.says(1, Message::Bitfield(set("x...")));
    b.says(1, Message::Unchoke);
    let asked = b.asked(1);
    b.says(1, Message::Choke);
    assert_eq!(b.block(1, asked[0]), Verdict::Keep, "BEP 6");
    b.server(2, "x...");
    b.says(1, Message::Reject(asked[1]));
    b.says(2, Message::KeepAlive);
    let stats: Vec<_> = b.swarm.peers(b.now).map(|p| p.am_interested).collect();
    assert_eq!(stats, [true, true]);
}

#[test]
fn blocks_that_nobody_asked_for_are_put_up_with_only_so_long() {
    let mut b = Bench::new("....");
    b.peer(1, "xxxx");
    for _ in 0..32 {
        assert_eq!(b.block(1, block(0, 0)), Verdict::Discard);
        assert_eq!(b.closed(), []);
    }
    b.block(1, block(0, 0));
    assert_eq!(b.closed(), [(1, Close::Protocol)]);
}

#[test]
fn no_more_is_asked_for_than_the_peer_queues() {
    let mut b = Bench::new("....");
    b.connect(1, false, true);
    let handshake = ExtendedHandshake {
        request_queue: Some(3),
        ..ExtendedHandshake::default()
    };
    b.says(
        1,
        Message::Extended {
            id: 0,
            payload: handshake.encode().into(),
        },
    );
    b.says(1, Message::HaveAll);
    b.says(1, Message::Unchoke);
    assert_eq!(b.asked(1).len(), 3);
}

#[test]
fn while_too_much_waits_for_its_hash_nothing_is_asked_for() {
    let config = Config {
        max_unverified: u64::from(BLOCK),
        ..Config::default()
    };
    let mut b = Bench::with(&".".repeat(40), config);
    b.server(1, &"x".repeat(40));
    let asked = b.asked(1);
    assert_eq!(asked.len(), 16);
    for block in &asked {
        b.block(1, *block);
    }
    b.says(1, Message::KeepAlive);
    assert_eq!(b.asked(1), []);
    for piece in asked.chunks(2).map(|pair| pair[0].piece.0) {
        b.verified(piece, true);
    }
    assert_ne!(b.asked(1), []);
}

#[test]
fn a_withheld_piece_is_fetched_but_neither_announced_nor_served() {
    let mut b = Bench::new("x...");
    let geometry = Geometry::new(u64::from(BLOCK) * 8, 2 * BLOCK).unwrap();
    let (have, wanted) = (set("x..."), set("..x."));
    b.swarm = Swarm::new(
        Config::default(),
        id(US),
        geometry,
        have,
        Some(&wanted),
        1,
        b.now,
    );
    b.swarm.withhold(set(".xx."), set(".x.."));
    b.peer(2, "...x");
    assert_eq!(b.said(2), [] as [&Message<'_>; 0]);
    b.server(1, "xxxx");
    assert_eq!(b.asked(1), [block(2, 0), block(2, 1)], "nothing else");
    b.block(1, block(2, 0));
    b.block(1, block(2, 1));
    b.verified(2, true);
    assert!(b.did.contains(&Action::Complete));
    assert_eq!(b.said(2), [] as [&Message<'_>; 0], "it is not told");
    assert_eq!(*b.swarm.have(), set("x..."));
    assert_eq!(b.swarm.verified_pieces(), set("xxx."));
    b.connect(3, false, true);
    assert_eq!(b.said(3), [&Message::Bitfield(set("x..."))]);
    b.says(3, Message::Interested);
    b.says(3, Message::Request(block(2, 0)));
    assert_eq!(b.said(3), [&Message::Reject(block(2, 0))]);
}

#[test]
fn what_a_peer_has_not_begun_to_send_is_called_back_for_an_idle_one() {
    // A piece that nobody else has keeps the end game away.
    let mut b = Bench::new(&".".repeat(40));
    b.connect(1, false, true);
    b.says(
        1,
        Message::Bitfield(set("xxxx....................................")),
    );
    b.says(1, Message::Unchoke);
    let asked = b.asked(1);
    b.peer(3, "....x...................................");
    assert_eq!(asked.len(), 8, "everything that it has");
    b.peer(2, "xxxx....................................");
    b.says(2, Message::Unchoke);
    let back: Vec<_> = asked.iter().rev().copied().collect();
    let cancels: Vec<_> = back.iter().map(|&block| Message::Cancel(block)).collect();
    assert_eq!(b.said(1), cancels.iter().collect::<Vec<_>>());
    assert_eq!(b.asked(2), [], "it may be on its way yet");
    b.says(1, Message::Reject(back[0]));
    assert_eq!(b.asked(2), [back[0]]);
    let verdict = b.block(1, back[1]);
    assert_eq!(verdict, Verdict::Keep, "that one was on its way");
    assert_eq!(b.asked(2), []);
}

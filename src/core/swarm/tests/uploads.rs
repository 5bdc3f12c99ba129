//! Whom we serve, and what they get.

use std::collections::BTreeSet;

use super::*;

/// A leecher with the first piece, and peers that want it.
fn wanted(peers: u64, slots: Option<usize>) -> Bench {
    let config = Config {
        upload_slots: slots,
        ..Config::default()
    };
    let mut b = Bench::with("xxxxxxxx........", config);
    for n in 1..=peers {
        b.peer(n, ".......x........");
        b.says(n, Message::Interested);
    }
    b
}

fn served(b: &Bench, peers: u64) -> Vec<u64> {
    (1..=peers).filter(|&n| !b.choking(n)).collect()
}

#[test]
fn as_many_are_served_as_there_are_slots() {
    let b = wanted(24, None);
    assert_eq!(served(&b, 24), (1..=20).collect::<Vec<_>>());
    let b = wanted(12, Some(3));
    assert_eq!(served(&b, 12), [1, 2, 3]);
}

#[test]
fn a_slot_goes_to_who_has_waited_longest_once_a_turn_is_over() {
    let mut b = wanted(4, Some(2));
    b.says(1, Message::Request(block(0, 0)));
    for _ in 0..7 {
        for n in 0..2 {
            b.says(1, Message::Request(block(0, n)));
        }
    }
    b.says(1, Message::Request(block(0, 1)));
    while !b.uploads(1, 1).is_empty() {
        assert!(b.closed().is_empty());
    }
    assert_eq!(
        served(&b, 4),
        [2, 3],
        "after 16 blocks and with nothing more asked for"
    );
}

#[test]
fn who_asks_for_nothing_gives_its_slot_up_if_others_wait() {
    let mut b = wanted(2, Some(2));
    b.pass(SEC);
    assert_eq!(served(&b, 2), [1, 2], "nobody waits");
    let mut b = wanted(3, Some(2));
    b.pass(MS * 250);
    assert!(!b.choking(3));
    assert_eq!(served(&b, 3).len(), 2);
}

#[test]
fn who_always_asks_for_more_is_not_served_for_ever() {
    let mut b = wanted(2, Some(1));
    for _ in 0..110 {
        b.says(1, Message::Request(block(0, 0)));
        b.says(1, Message::Request(block(1, 0)));
        b.uploads(1, 1);
        b.pass(MS * 100);
        b.says(2, Message::KeepAlive);
    }
    assert_eq!(served(&b, 2), [2]);
}

#[test]
fn no_more_are_served_than_there_are_slots_when_interest_comes_and_goes() {
    let mut b = wanted(6, Some(2));
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..500 {
        let n = rng.u64(1..=6);
        let message = if rng.bool() {
            Message::Interested
        } else {
            Message::NotInterested
        };
        b.says(n, message);
        b.pass(MS * rng.u32(..100));
        let holding = b
            .swarm
            .peers(b.now)
            .filter(|p| !p.am_choking && p.peer_interested)
            .count();
        let waiting = b
            .swarm
            .peers(b.now)
            .filter(|p| p.am_choking && p.peer_interested)
            .count();
        assert!(
            holding <= 2 && (holding == 2 || waiting == 0),
            "{holding} {waiting}"
        );
    }
}

#[test]
fn who_gives_us_nothing_waits_until_the_others_have_been_served() {
    let mut b = Bench::with(
        "xxxxxxxx........",
        Config {
            upload_slots: Some(1),
            ..Config::default()
        },
    );
    b.peer(2, "........xxxxxxxx");
    b.server(3, "........xxxxxxxx");
    b.pass(SEC * 21);
    // Both have something for us, but only 3 serves us.
    b.says(2, Message::Interested);
    assert!(!b.choking(2), "nobody else waits");
    b.says(3, Message::Interested);
    b.pass(SEC);
    for _ in 0..8 {
        assert!(b.choking(2) && !b.choking(3));
        b.pass(SEC);
    }
    b.pass(SEC * 3);
    assert!(
        b.said(2).contains(&&Message::Unchoke),
        "the optimistic turn"
    );
}

#[test]
fn requests_come_back_as_batches_of_neighbours_rarest_piece_first() {
    let mut b = wanted(1, None);
    b.peer(2, "xx..............");
    for want in [
        block(0, 0),
        block(0, 1),
        block(3, 0),
        block(3, 1),
        block(1, 0),
    ] {
        b.says(1, Message::Request(want));
    }
    assert_eq!(b.uploads(1, 1 << 20), [block(3, 0), block(3, 1)]);
    assert_eq!(b.uploads(1, 1), [block(0, 0)], "one block at least");
    assert_eq!(b.uploads(1, 1 << 20), [block(0, 1)]);
    assert_eq!(b.uploads(1, 1 << 20), [block(1, 0)]);
    assert_eq!(b.uploads(1, 1 << 20), []);
    assert_eq!(b.swarm.stats(b.now).uploaded, u64::from(BLOCK) * 5);
}

#[test]
fn the_writer_is_told_when_there_is_something_to_send() {
    let mut b = wanted(1, None);
    b.says(1, Message::Request(block(0, 0)));
    assert_eq!(b.did, [Action::Serve { peer: PeerKey(1) }]);
    b.says(1, Message::Request(block(0, 1)));
    assert_eq!(b.did, [], "it knows");
    b.uploads(1, 1 << 20);
    b.says(1, Message::Request(block(1, 1)));
    assert_eq!(b.did, [], "it comes back when it has sent that");
    assert_eq!(b.uploads(1, 1 << 20), [block(1, 1)]);
    assert_eq!(b.uploads(1, 1 << 20), []);
    b.says(1, Message::Request(block(1, 0)));
    assert_eq!(b.did, [Action::Serve { peer: PeerKey(1) }]);
}

/// Who has been called to send.
fn called(b: &Bench) -> Vec<u64> {
    let keys = b.did.iter().filter_map(|action| match action {
        Action::Serve { peer } => Some(peer.0),
        _ => None,
    });
    keys.collect()
}

#[test]
fn three_writers_hold_the_uplink_and_the_rarest_piece_is_next() {
    let mut b = wanted(6, None);
    // Everybody but the first has piece 7; piece 1 becomes rarer than piece 0.
    b.says(1, Message::Have(PieceIndex(0)));
    let mut all = Vec::new();
    for n in 1..=5 {
        b.says(n, Message::Request(block(0, 0)));
        all.extend(called(&b));
    }
    b.says(6, Message::Request(block(1, 0)));
    all.extend(called(&b));
    assert_eq!(all, [1, 2, 3], "three hold it, the others wait");
    assert_eq!(b.uploads(2, BLOCK), [block(0, 0)]);
    assert!(called(&b).is_empty(), "it is still sending");
    assert_eq!(b.uploads(2, BLOCK), [], "it has nothing more");
    assert_eq!(called(&b), [6], "of those that wait, the rarest piece");
}

#[test]
fn a_writer_that_is_held_up_does_not_hold_the_others_up() {
    let mut b = wanted(5, None);
    for n in 1..=5 {
        b.says(n, Message::Request(block(0, 0)));
    }
    for n in 1..=3 {
        assert_eq!(b.uploads(n, BLOCK), [block(0, 0)]);
    }
    b.pass(MS * 50);
    assert!(
        called(&b).is_empty(),
        "nobody knows yet what the uplink carries"
    );
    b.pass(MS * 100);
    let others: BTreeSet<_> = called(&b).into_iter().collect();
    assert_eq!(others, [4, 5].into(), "in any order");
}

#[test]
fn a_cancelled_request_is_not_sent() {
    let mut b = wanted(1, None);
    b.says(1, Message::Request(block(0, 0)));
    b.says(1, Message::Cancel(block(0, 0)));
    assert_eq!(b.uploads(1, 1 << 20), []);
}

#[test]
fn requests_that_are_not_granted_are_rejected_or_ignored_and_too_many_of_them_end_it() {
    for fast in [true, false] {
        let mut b = Bench::new("x...");
        b.connect(1, false, fast);
        b.says(1, Message::Request(block(0, 0)));
        let reject = Message::Reject(block(0, 0));
        assert_eq!(
            b.said(1),
            if fast { vec![&reject] } else { vec![] },
            "choked"
        );
        b.says(1, Message::Interested);
        b.says(1, Message::Request(block(2, 0)));
        assert_eq!(b.said(1).len(), usize::from(fast), "a piece that we lack");
        for _ in 0..super::super::MAX_QUEUE {
            b.says(1, Message::Request(block(0, 0)));
        }
        assert!(b.said(1).is_empty());
        b.says(1, Message::Request(block(0, 0)));
        assert_eq!(b.said(1).len(), usize::from(fast), "one too many");
        for _ in 0..5000 {
            b.says(1, Message::Request(block(0, 0)));
            if b.closed() == [(1, Close::Protocol)] {
                break;
            }
        }
        assert!(b.peers().is_empty());
    }
}

#[test]
fn a_choked_peer_with_the_fast_extension_is_told_what_it_will_not_get() {
    let mut b = Bench::with(
        "xxxx....",
        Config {
            upload_slots: Some(1),
            ..Config::default()
        },
    );
    b.connect(1, false, true);
    b.says(1, Message::Interested);
    b.says(1, Message::Request(block(0, 0)));
    b.connect(2, false, true);
    b.says(2, Message::Interested);
    b.pass(SEC * 11);
    assert_eq!(
        b.said(1)[..2],
        [&Message::Choke, &Message::Reject(block(0, 0))]
    );
    assert_eq!(b.said(2)[0], &Message::Unchoke);
    assert_eq!(b.uploads(1, 1 << 20), []);
}

#[test]
fn the_operator_may_change_the_number_of_slots() {
    let mut b = wanted(6, Some(2));
    b.swarm.set_upload_slots(Some(4));
    b.pass(MS * 60);
    assert_eq!(served(&b, 6).len(), 4);
}

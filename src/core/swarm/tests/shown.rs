//! What an only seed shows to whom.

use super::*;

/// The pieces that a peer was told of.
fn told(b: &Bench, n: u64) -> Vec<u32> {
    let have = b.said(n).into_iter().filter_map(|m| match m {
        Message::Have(piece) => Some(piece.0),
        _ => None,
    });
    have.collect()
}

fn origin(pieces: usize, peers: u64) -> (Bench, Vec<(u64, u32)>) {
    let mut b = Bench::new(&"x".repeat(pieces));
    let mut shown = Vec::new();
    for n in 1..=peers {
        b.connect(n, false, true);
        assert!(b.said(n).contains(&&Message::HaveNone) && !b.choking(n));
        shown.extend((1..=peers).flat_map(|k| told(&b, k).into_iter().map(move |p| (k, p))));
        b.says(n, Message::Interested);
    }
    (b, shown)
}

#[test]
fn an_only_seed_says_that_it_has_nothing_and_shows_few_pieces_each_to_one_peer() {
    let (_, shown) = origin(40, 8);
    assert_eq!(shown.len(), 3, "{shown:?}");
    let pieces: std::collections::BTreeSet<_> = shown.iter().map(|s| s.1).collect();
    assert_eq!(pieces.len(), 3);
}

#[test]
fn what_was_sent_makes_room_for_another_piece_shown_to_who_has_waited_longest() {
    let (mut b, shown) = origin(40, 8);
    let (peer, piece) = shown[0];
    for n in 0..2 {
        b.says(peer, Message::Request(block(piece, n)));
    }
    assert_eq!(b.uploads(peer, 1 << 20).len(), 2);
    let next: Vec<_> = (1..=8).filter(|&n| !told(&b, n).is_empty()).collect();
    assert_eq!(next.len(), 1);
    assert!(
        shown.iter().all(|s| s.0 != next[0]),
        "one that has been shown nothing"
    );
}

#[test]
fn no_piece_is_shown_twice_and_in_the_end_everybody_is_told_of_all() {
    let (mut b, mut open) = origin(20, 4);
    let mut seen = Vec::new();
    while let Some((peer, piece)) = open.pop() {
        seen.push(piece);
        for n in 0..2 {
            b.says(peer, Message::Request(block(piece, n)));
        }
        b.uploads(peer, 1 << 20);
        open.extend((1..=4).flat_map(|k| told(&b, k).into_iter().map(move |p| (k, p))));
        b.says(peer, Message::Have(PieceIndex(piece)));
        let more: Vec<_> = (1..=4)
            .flat_map(|k| told(&b, k).into_iter().map(move |p| (k, p)))
            .collect();
        open.extend(more);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
    // Nobody announces anything more: the swarm does not get on without us.
    b.pass(Duration::from_secs(2));
    let last: usize = (1..=4).map(|k| told(&b, k).len()).sum();
    assert_eq!(
        last,
        20 * 3,
        "each peer lacks what the other three were shown"
    );
    b.connect(9, false, true);
    assert_eq!(b.said(9), [&Message::HaveAll]);
}

/// Whether the peer was told that we want nothing.
fn wants_nothing(b: &Bench, n: u64) -> bool {
    let peer = PeerKey(n);
    b.did.contains(&Action::UploadOnly { peer })
}

#[test]
fn who_was_not_told_of_everything_is_not_told_that_we_want_nothing() {
    let mut b = Bench::new(&"x".repeat(40));
    b.connect(1, false, true);
    let shown = told(&b, 1);
    assert!(!wants_nothing(&b, 1), "libtorrent would leave at once");
    b.connect(2, false, true);
    for n in [1, 2] {
        b.says(n, Message::Interested);
        assert!(!wants_nothing(&b, n));
    }
    b.says(1, Message::Have(PieceIndex(shown[0])));
    assert!(!wants_nothing(&b, 1), "or when it has what it was shown");
    b.connect(3, false, true);
    b.says(3, Message::HaveAll);
    assert!(wants_nothing(&b, 1) && wants_nothing(&b, 2), "all is shown");
    b.connect(4, false, true);
    assert!(wants_nothing(&b, 4), "nothing is hidden any more");
}

#[test]
fn two_that_hide_everything_find_out_that_they_are_two() {
    let mut b = Bench::new(&"x".repeat(2 * 1024 + 7));
    b.connect(1, false, true);
    b.connect(2, false, true);
    let known = (0..50).any(|_| {
        b.pass(SEC / 10);
        wants_nothing(&b, 1)
    });
    assert!(known, "the other will see that we are a seed, too");
}

#[test]
fn what_a_peer_that_left_was_shown_is_shown_to_another() {
    let (mut b, shown) = origin(40, 8);
    let peer = shown[0].0;
    let theirs = shown.iter().filter(|s| s.0 == peer);
    let lost: std::collections::BTreeSet<_> = theirs.map(|s| s.1).collect();
    b.tell(Event::Disconnected {
        peer: PeerKey(peer),
    });
    let again = (1..=8).flat_map(|n| told(&b, n)).collect();
    assert_eq!(lost, again);
}

/// Adds to what each peer has been told, from peer 0 on, what it is told now.
fn listen(b: &Bench, heard: &mut [Vec<u32>]) {
    for (n, heard) in (0..).zip(heard) {
        heard.extend(told(b, n));
    }
}

/// The peer fetches and announces whatever it has been told of, of which it has `done` already. Returns how many it has then.
fn fetch(b: &mut Bench, who: u64, mut done: usize, heard: &mut [Vec<u32>]) -> usize {
    while let Some(&piece) = heard[usize::try_from(who).unwrap()].get(done) {
        done += 1;
        for n in 0..2 {
            b.says(who, Message::Request(block(piece, n)));
            listen(b, heard);
        }
        b.uploads(who, 1 << 20);
        listen(b, heard);
        b.says(who, Message::Have(PieceIndex(piece)));
        listen(b, heard);
    }
    done
}

/// The peer does so until it has so many pieces. Returns how many tenths of a second that took, and what each peer up to the `peers`th was told.
fn fetches(b: &mut Bench, who: u64, pieces: usize, peers: u64) -> (u32, Vec<Vec<u32>>) {
    let mut heard = vec![Vec::new(); usize::try_from(peers).unwrap() + 1];
    listen(b, &mut heard);
    let mut done = 0;
    for tenths in 0..1000 {
        done = fetch(b, who, done, &mut heard);
        if done == pieces {
            return (tenths, heard);
        }
        b.pass(SEC / 10);
        listen(b, &mut heard);
    }
    panic!("{done} of {pieces}: {heard:?}");
}

#[test]
fn what_a_peer_does_not_want_is_shown_to_another() {
    let mut b = Bench::new(&"x".repeat(40));
    b.connect(1, false, true);
    let first = told(&b, 1);
    b.connect(2, false, true);
    b.says(2, Message::Interested);
    let (_, heard) = fetches(&mut b, 2, 40, 2);
    let mut all = [&first[..], &heard[1]].concat();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>(), "it may want another");
}

#[test]
fn who_wants_everything_and_asks_for_nothing_holds_nobody_up() {
    let (mut b, _) = origin(40, 8);
    b.connect(9, false, true);
    b.says(9, Message::Interested);
    let (tenths, heard) = fetches(&mut b, 9, 40, 9);
    assert!(tenths < 50, "{tenths}: {heard:?}");
}

#[test]
fn who_announces_nothing_of_what_it_was_shown_is_shown_no_more_until_it_does() {
    let (mut b, shown) = origin(40, 3);
    for &(peer, piece) in &shown {
        b.says(peer, Message::Request(block(piece, 0)));
        b.uploads(peer, 1 << 20);
    }
    let mut again = Vec::new();
    for _ in 0..600 {
        b.pass(SEC);
        again.extend((1..=3).flat_map(|n| told(&b, n)));
        (1..=3).for_each(|n| b.says(n, Message::Interested));
    }
    assert!(again.len() <= 3, "{again:?}");
    let (late, piece) = shown[0];
    b.says(late, Message::Have(PieceIndex(piece)));
    assert!(!told(&b, late).is_empty());
}

#[test]
fn who_fetches_what_it_is_shown_goes_before_those_that_only_announce() {
    const LIARS: u64 = 19;
    let (mut b, shown) = origin(200, LIARS);
    let mut heard = vec![Vec::new(); usize::try_from(LIARS).unwrap() + 2];
    for (n, piece) in shown {
        heard[usize::try_from(n).unwrap()].push(piece);
    }
    let mut done = 0;
    for second in 0..60 {
        if second == 5 {
            b.connect(LIARS + 1, false, true);
            b.says(LIARS + 1, Message::Interested);
            listen(&b, &mut heard);
        }
        for n in 1..=LIARS {
            if let Some(&piece) = heard[usize::try_from(n).unwrap()].last() {
                b.says(n, Message::Request(block(piece, 0)));
                listen(&b, &mut heard);
                // Of pieces of sixteen blocks it would be a block a second.
                if second % 8 == 0 {
                    b.uploads(n, BLOCK);
                    listen(&b, &mut heard);
                }
            }
            b.says(n, Message::Have(PieceIndex(199 - second)));
            listen(&b, &mut heard);
        }
        for _ in 0..10 {
            done = fetch(&mut b, LIARS + 1, done, &mut heard);
            b.pass(SEC / 10);
            listen(&b, &mut heard);
        }
        if second == 15 {
            assert!(done > 150, "{done}");
        }
    }
    assert_eq!(done, 200);
}

#[test]
fn pieces_that_somebody_has_are_not_shown() {
    let mut b = Bench::new("xxxxxx");
    b.connect(1, false, true);
    let first = told(&b, 1);
    b.connect(2, false, true);
    b.says(2, Message::Bitfield(set("xxxxx.")));
    b.connect(3, false, true);
    for piece in (1..=3).flat_map(|n| told(&b, n)) {
        assert!(piece == 5 || first.contains(&piece));
    }
}

#[test]
fn who_has_already_what_it_was_shown_is_shown_something_else_at_once() {
    let mut b = Bench::new(&"x".repeat(40));
    b.connect(1, false, true);
    let shown = told(&b, 1);
    assert_eq!(shown.len(), 3, "{shown:?}");
    let mut have = Bitfield::none(40);
    for &piece in &shown {
        have.set(PieceIndex(piece));
    }
    b.says(1, Message::Bitfield(have));
    let others = told(&b, 1);
    assert_eq!(others.len(), 3, "{others:?}");
    assert!(others.iter().all(|piece| !shown.contains(piece)));
}

#[test]
fn beside_another_seed_we_hide_nothing() {
    let (mut b, _) = origin(20, 2);
    b.connect(3, false, true);
    b.says(3, Message::HaveAll);
    assert_eq!(b.closed(), [(3, Close::BothComplete)]);
    assert!(told(&b, 1).len() + told(&b, 2).len() > 30);
}

use super::*;
use crate::base::geometry::BLOCK;
use crate::base::id::PeerId;
use std::net::Ipv4Addr;

const A: PeerKey = PeerKey(1);
const B: PeerKey = PeerKey(2);
const C: PeerKey = PeerKey(3);

/// A set drawn as text: `x` has the piece, anything else not.
fn set(drawn: &str) -> Bitfield {
    let mut set = Bitfield::none(u32::try_from(drawn.len()).unwrap());
    for (n, _) in drawn.match_indices('x') {
        set.set(PieceIndex(u32::try_from(n).unwrap()));
    }
    set
}

/// Pieces of two blocks; `peers` are counted, all of them connected from the start.
fn picker(have: &str, peers: &[&str]) -> (Picker, fastrand::Rng) {
    let total = u64::from(BLOCK) * 2 * have.len() as u64;
    let geometry = Geometry::new(total, 2 * BLOCK).unwrap();
    let mut picker = Picker::new(geometry, &set(have), None, false);
    for peer in peers {
        set(peer).iter().for_each(|p| picker.gained(p));
    }
    (picker, fastrand::Rng::with_seed(7))
}

fn asker(key: PeerKey, have: &Bitfield) -> Asker<'_> {
    Asker {
        key,
        have,
        who: (Ipv4Addr::LOCALHOST.into(), PeerId([0; 20])),
        now: Time::ZERO,
        run: None,
    }
}

fn pick(
    picker: &mut Picker,
    key: PeerKey,
    have: &str,
    rng: &mut fastrand::Rng,
) -> Option<(u32, u32)> {
    let block = picker.pick(asker(key, &set(have)), rng)?;
    Some((block.piece.0, block.begin / BLOCK))
}

/// All that `key` can be asked for, drawn as text: a digit per piece, how many of its blocks.
fn pick_all(picker: &mut Picker, key: PeerKey, have: &str, rng: &mut fastrand::Rng) -> String {
    let mut counts = vec![0; have.len()];
    while let Some((piece, _)) = pick(picker, key, have, rng) {
        counts[piece as usize] += 1;
    }
    counts
        .iter()
        .map(|n| char::from_digit(*n, 10).unwrap())
        .collect()
}

#[test]
fn only_what_we_lack_and_the_peer_has_is_asked_for() {
    for (have, peer, asked) in [
        ("....", "xxxx", "2222"),
        ("x..x", "xxxx", "0220"),
        ("x..x", "xx..", "0200"),
        ("xxxx", "xxxx", "0000"),
        ("....", "....", "0000"),
    ] {
        let (mut picker, mut rng) = picker(have, &[peer]);
        assert_eq!(
            pick_all(&mut picker, A, peer, &mut rng),
            asked,
            "{have} {peer}"
        );
        assert_eq!(
            pick_all(&mut picker, B, peer, &mut rng),
            "0000",
            "asked for twice"
        );
    }
}

#[test]
fn the_rarest_piece_comes_first() {
    for (have, peers, first) in [
        ("....", ["xxxx", "xx.x", "xxxx"], 2),
        ("....", ["xxxx", ".xxx", "..xx"], 0),
        ("x...", ["xxxx", "..xx", "..xx"], 1),
    ] {
        let (mut picker, mut rng) = picker(have, &peers);
        assert_eq!(
            pick(&mut picker, A, peers[0], &mut rng),
            Some((first, 0)),
            "{have}"
        );
    }
}

#[test]
fn a_partial_piece_is_finished_before_a_new_one_is_begun() {
    let (mut picker, mut rng) = picker("........", &["xxxxxxxx"]);
    let (piece, _) = pick(&mut picker, A, "xxxxxxxx", &mut rng).unwrap();
    assert_eq!(pick(&mut picker, B, "xxxxxxxx", &mut rng), Some((piece, 1)));
    let other = pick(&mut picker, B, "xxxxxxxx", &mut rng).unwrap();
    assert!(other.0 != piece && other.1 == 0);
}

#[test]
fn in_sequence_pieces_come_in_their_order() {
    let geometry = Geometry::new(u64::from(BLOCK) * 6, 2 * BLOCK).unwrap();
    let mut picker = Picker::new(geometry, &Bitfield::none(3), None, true);
    let mut rng = fastrand::Rng::with_seed(1);
    let order: Vec<_> = std::iter::from_fn(|| pick(&mut picker, A, "xxx", &mut rng)).collect();
    assert_eq!(order, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
}

#[test]
fn pieces_that_are_not_wanted_are_never_asked_for() {
    let geometry = Geometry::new(u64::from(BLOCK) * 8, 2 * BLOCK).unwrap();
    let mut picker = Picker::new(geometry, &set("x..."), Some(&set("xx.x")), false);
    let mut rng = fastrand::Rng::with_seed(1);
    assert_eq!(picker.left(), u64::from(BLOCK) * 4);
    assert_eq!(pick_all(&mut picker, A, "xxxx", &mut rng), "0202");
}

#[test]
fn the_end_game_starts_when_every_block_is_asked_for_and_doubles_each_once() {
    let (mut picker, mut rng) = picker("...", &["xxx"]);
    let all = set("xxx");
    for _ in 0..5 {
        pick(&mut picker, A, "xxx", &mut rng);
        assert!(picker.pick_again(asker(B, &all), |_| true).is_none());
    }
    pick(&mut picker, A, "xxx", &mut rng);
    let again = |p: &mut Picker, key| {
        std::iter::from_fn(|| p.pick_again(asker(key, &all), |_| true)).count()
    };
    assert_eq!(again(&mut picker, B), 6);
    assert_eq!(again(&mut picker, C), 0);
}

#[test]
fn a_bad_piece_names_its_senders_and_is_fetched_again() {
    let (mut picker, mut rng) = picker("x.", &["xx"]);
    pick(&mut picker, A, "xx", &mut rng);
    pick(&mut picker, B, "xx", &mut rng);
    let piece = PieceIndex(1);
    picker.arrive(piece, 0, A);
    let last = picker.arrive(piece, 1, B);
    assert_eq!(
        last,
        Landed::Wanted {
            also: [None, None],
            whole: true
        }
    );
    assert_eq!(picker.unverified_bytes(), u64::from(2 * BLOCK));
    let from = vec![A, B];
    let liars = Vec::new();
    assert_eq!(
        picker.verified(Time::ZERO, piece, false, &[]),
        Some(Judgement { from, liars })
    );
    assert_eq!(pick_all(&mut picker, C, "xx", &mut rng), "02");
}

#[test]
fn a_bad_piece_is_fetched_from_one_peer_alone_before_anything_else_and_by_others_when_that_goes() {
    let (mut picker, mut rng) = picker("..", &["xx"]);
    let bad = picker.pick(asker(A, &set("xx")), &mut rng).unwrap().piece;
    pick(&mut picker, B, "xx", &mut rng);
    picker.arrive(bad, 0, A);
    picker.arrive(bad, 1, B);
    picker.verified(Time::ZERO, bad, false, &[1, 2]);
    assert_eq!(pick(&mut picker, C, "xx", &mut rng), Some((bad.0, 0)));
    let (mine, other) = (bad.0 as usize, 1 - bad.0 as usize);
    let rest = pick_all(&mut picker, B, "xx", &mut rng);
    assert_eq!((&rest[mine..=mine], &rest[other..=other]), ("0", "2"));
    picker.arrive(bad, 0, C);
    assert_eq!(picker.arrive(bad, 1, B), Landed::Useless);
    assert_eq!(picker.release(C), [(bad, 1)]);
    let rest = pick_all(&mut picker, PeerKey(4), "xx", &mut rng);
    assert_eq!(&rest[mine..=mine], "2");
}

#[test]
fn two_hundred_thousand_pieces_cost_no_more_a_piece_than_a_few_thousand() {
    let work = |pieces: u32| {
        let geometry = Geometry::new(u64::from(pieces) * u64::from(BLOCK), BLOCK).unwrap();
        let mut picker = Picker::new(geometry, &Bitfield::none(pieces), None, false);
        let mut rng = fastrand::Rng::with_seed(3);
        // A peer with everything, one with every tenth piece, and one with a hundred.
        let mut sets = [
            Bitfield::all(pieces),
            Bitfield::none(pieces),
            Bitfield::none(pieces),
        ];
        for piece in geometry.all() {
            if piece.0 % 10 == 0 {
                sets[1].set(piece);
            }
            if piece.0 % (pieces / 100) == 0 {
                sets[2].set(piece);
            }
        }
        sets.iter()
            .for_each(|s| s.iter().for_each(|p| picker.gained(p)));
        // Whoever has nothing more is not looked at again, as in the swarm (see `epoch`).
        let mut asked: Vec<_> = sets.iter().zip([A, B, C]).collect();
        while !asked.is_empty() {
            asked.retain(|(have, key)| {
                let block = picker.pick(asker(*key, have), &mut rng);
                if let Some(block) = block {
                    picker.arrive(block.piece, 0, *key);
                    picker.verified(Time::ZERO, block.piece, true, &[]);
                }
                block.is_some()
            });
        }
        assert!(picker.is_done());
        picker.rarity.probes() / u64::from(pieces)
    };
    let (few, many) = (work(4000), work(200_000));
    assert!(
        many <= few.max(8) * 20,
        "{few} looks a piece grew to {many}"
    );
}

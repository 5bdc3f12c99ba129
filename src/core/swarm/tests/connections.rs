//! Who may connect, and who has to go.

use std::net::{IpAddr, Ipv6Addr};

use super::*;
use crate::core::swarm::priority::priority;
use crate::proto::peer::extended::ExtendedHandshake;

#[test]
fn we_do_not_connect_to_ourselves_and_do_not_try_again() {
    let mut b = Bench::new("....");
    b.discover(&[addr(1)]);
    assert_eq!(b.dialled(), [addr(1)]);
    b.tell(Event::Connected {
        peer: PeerKey(1),
        id: id(US),
        addr: addr(1),
        outgoing: true,
        fast: true,
        utp: false,
    });
    assert_eq!(b.closed(), [(1, Close::Ourselves)]);
    b.discover(&[addr(1)]);
    b.pass(SEC * 3600);
    assert_eq!(b.dialled(), []);
}

#[test]
fn of_two_connections_with_a_peer_the_one_that_the_lower_id_dialled_stays() {
    for (other, first_is_ours, stays) in
        [(1, true, 2), (1, false, 1), (200, true, 1), (200, false, 2)]
    {
        let mut b = Bench::new("....");
        let connect = |b: &mut Bench, key, outgoing| {
            b.tell(Event::Connected {
                peer: PeerKey(key),
                id: id(other),
                addr: addr(other),
                outgoing,
                fast: true,
                utp: false,
            });
        };
        connect(&mut b, 1, first_is_ours);
        connect(&mut b, 2, !first_is_ours);
        assert_eq!(
            b.closed(),
            [(3 - stays, Close::Duplicate)],
            "{other} {first_is_ours}"
        );
        assert_eq!(b.peers(), [stays]);
    }
}

#[test]
fn nobody_pushes_a_peer_out_by_using_its_id() {
    let mut b = Bench::new("....");
    b.connect(1, true, true);
    let event = |outgoing| Event::Connected {
        peer: PeerKey(2),
        id: id(1),
        addr: addr(66),
        outgoing,
        fast: true,
        utp: false,
    };
    for outgoing in [true, false] {
        b.tell(event(outgoing));
        assert_eq!(b.closed(), [(2, Close::Duplicate)]);
    }
    assert_eq!(b.peers(), [1]);
}

#[test]
fn when_full_a_newcomer_takes_the_place_of_a_useless_peer_or_is_refused() {
    let config = Config {
        max_peers: 2,
        ..Config::default()
    };
    let mut b = Bench::with("x...", config);
    b.peer(1, "x...");
    b.peer(2, ".x..");
    b.peer(3, "....");
    assert_eq!(b.closed(), [(3, Close::Full)]);
    b.pass(SEC * 61);
    b.connect(4, false, false);
    assert_eq!(b.closed(), [(1, Close::Useless)], "2 has something for us");
    assert_eq!(b.peers(), [2, 4]);
}

#[test]
fn no_more_is_dialled_than_there_is_room_for() {
    let config = Config {
        max_peers: 3,
        ..Config::default()
    };
    let mut b = Bench::with("....", config);
    b.connect(9, false, true);
    b.discover(&[addr(1), addr(2), addr(3), addr(4)]);
    let first = b.dialled();
    assert_eq!(first.len(), 2);
    b.tell(Event::DialFailed { addr: first[0] });
    assert_eq!(b.dialled().len(), 1, "another in its place");
}

#[test]
fn half_of_the_places_are_left_to_those_who_dial_us() {
    let config = Config {
        max_peers: 20,
        ..Config::default()
    };
    let mut b = Bench::with("....", config);
    b.connect(99, false, true);
    let known: Vec<_> = (1..=30).map(addr).collect();
    b.discover(&known);
    assert_eq!(b.dialled().len(), 9);
    for who in 50..69 {
        b.connect(who, false, true);
    }
    assert_eq!(b.closed(), []);
    b.connect(69, false, true);
    assert_eq!(b.closed(), [(69, Close::Full)]);
}

#[test]
fn when_full_those_who_dialled_us_give_way_by_canonical_priority_and_those_we_dialled_do_not() {
    let config = Config {
        max_peers: 3,
        ..Config::default()
    };
    let mut b = Bench::with("x...", config);
    b.swarm.seen_at(addr(200));
    b.discover(&[addr(1)]);
    b.connect(1, true, false);
    let mut stay: Vec<u64> = Vec::new();
    for who in 2..=40 {
        b.connect(who, false, false);
        stay.push(who);
        stay.sort_by_key(|&who| std::cmp::Reverse(priority(addr(200), addr(who))));
        stay.truncate(2);
        let mut expected = stay.clone();
        expected.push(1);
        expected.sort_unstable();
        assert_eq!(b.peers(), expected);
    }
}

/// Someone who wants what is there comes from `ip`. Returns who is closed for that.
fn comes_from(b: &mut Bench, ip: IpAddr, who: u64) -> Vec<(u64, Close)> {
    b.tell(Event::Connected {
        peer: PeerKey(who),
        id: id(who),
        addr: (ip, 40_000).into(),
        outgoing: false,
        fast: false,
        utp: false,
    });
    let closed = b.closed();
    b.says(who, Message::Interested);
    closed
}

fn six_places() -> Bench {
    let config = Config {
        max_peers: 6,
        ..Config::default()
    };
    Bench::with("x...", config)
}

fn within(network: u16, n: u16) -> IpAddr {
    Ipv6Addr::new(network, 0xdb8, 0, 0, n, 0, 0, 1).into()
}

#[test]
fn one_host_fills_no_more_places_than_others_leave_to_it() {
    let mut b = six_places();
    let mut comes = |ip, who| comes_from(&mut b, ip, who);
    for n in 1..=6 {
        assert_eq!(comes(within(0x2001, n), n.into()), []);
    }
    assert_eq!(comes(within(0x2001, 7), 7), [(7, Close::Full)]);
    let (one, another) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    for (worker, gives_way) in [(11, 6), (12, 5), (13, 4)] {
        assert_eq!(comes(one, worker), [(gives_way, Close::Crowded)]);
    }
    assert_eq!(comes(one, 14), [(14, Close::Full)], "it has half");
    assert_eq!(comes(another, 21), [(13, Close::Crowded)]);
    assert_eq!(comes(another, 22), [(3, Close::Crowded)]);
    assert_eq!(comes(another, 23), [(23, Close::Full)], "a third each");
}

#[test]
fn in_ones_own_network_each_address_is_a_host() {
    for network in [0xfc00, 0xfe80, 0x2001] {
        let mut b = six_places();
        b.swarm.seen_at((within(0x2001, 99), 6881).into());
        for n in 1..=6 {
            assert_eq!(comes_from(&mut b, within(network, n), n.into()), []);
        }
        let stranger = [10, 0, 0, 1].into();
        assert_eq!(comes_from(&mut b, stranger, 7), [(7, Close::Full)]);
    }
}

#[test]
fn two_that_have_everything_part_and_do_not_meet_again_soon() {
    let mut b = Bench::new("xxxx");
    b.discover(&[addr(1)]);
    b.connect(1, true, true);
    b.says(1, Message::HaveAll);
    assert_eq!(b.closed(), [(1, Close::BothComplete)]);
    b.pass(SEC * 300);
    assert_eq!(b.dialled(), []);
}

#[test]
fn a_seed_that_hides_its_pieces_is_known_by_what_it_wants() {
    for (upload_only, seed) in [(true, false), (false, true)] {
        let mut b = Bench::new("xxxx");
        b.connect(1, false, true);
        let handshake = ExtendedHandshake {
            upload_only,
            seed,
            ..ExtendedHandshake::default()
        };
        b.says(1, handshake.message());
        assert_eq!(b.closed(), [(1, Close::BothComplete)]);
    }
}

#[test]
fn who_breaks_the_protocol_is_dropped() {
    for message in [
        Message::HaveAll,
        Message::HaveNone,
        Message::Reject(block(0, 0)),
    ] {
        let mut b = Bench::new("....");
        b.connect(1, false, false);
        b.says(1, message.clone());
        assert_eq!(b.closed(), [(1, Close::Protocol)], "{message:?}");
        b.says(1, Message::Unchoke);
        assert_eq!(b.did, [], "what comes after is ignored");
    }
}

#[test]
fn whoever_says_again_what_it_has_can_only_have_more() {
    for (first, again, has) in [
        ("x...", Message::Bitfield(set("xx..")), "xx.."),
        ("xx..", Message::Bitfield(set("x..x")), "xx.x"),
        ("xx..", Message::HaveNone, "xx.."),
        ("x...", Message::HaveAll, "xxxx"),
    ] {
        let mut b = Bench::new("....");
        b.connect(1, false, true);
        b.says(1, Message::Bitfield(set(first)));
        b.says(1, again.clone());
        assert_eq!(b.closed(), [], "{again:?}");
        for (piece, c) in has.chars().enumerate() {
            let piece = PieceIndex(u32::try_from(piece).unwrap());
            assert_eq!(
                b.swarm.peers[&PeerKey(1)].have.has(piece),
                c == 'x',
                "{again:?} {piece:?}"
            );
        }
    }
}

#[test]
fn a_silent_peer_is_dropped_and_the_others_hear_from_us() {
    let mut b = Bench::new("....");
    b.peer(1, "x...");
    b.peer(2, "x...");
    b.pass(SEC * 101);
    assert_eq!(b.said(1), [&Message::KeepAlive]);
    b.says(2, Message::KeepAlive);
    b.pass(SEC * 60);
    assert_eq!(b.closed(), [(1, Close::Silent)]);
    assert_eq!(b.peers(), [2]);
}

#[test]
fn a_lost_peer_is_dialled_again_after_a_pause() {
    let mut b = Bench::new("....");
    b.discover(&[addr(1)]);
    b.connect(1, true, true);
    b.tell(Event::Disconnected { peer: PeerKey(1) });
    assert_eq!(b.dialled(), []);
    b.pass(SEC * 10);
    assert_eq!(b.dialled(), [addr(1)]);
}

#[test]
fn the_address_at_which_an_incoming_peer_listens_is_not_dialled_while_it_is_here() {
    let mut b = Bench::new("....");
    b.tell(Event::Connected {
        peer: PeerKey(1),
        id: id(1),
        addr: "10.0.0.1:40000".parse().unwrap(),
        outgoing: false,
        fast: true,
        utp: false,
    });
    let handshake = ExtendedHandshake {
        listen_port: Some(6881),
        ..ExtendedHandshake::default()
    };
    b.says(
        1,
        Message::Extended {
            id: 0,
            payload: handshake.encode().into(),
        },
    );
    b.discover(&[addr(1)]);
    assert_eq!(b.dialled(), []);
    b.tell(Event::Disconnected { peer: PeerKey(1) });
    b.pass(SEC * 10);
    assert_eq!(b.dialled(), [addr(1)]);
}

#[test]
fn we_introduce_ourselves_in_the_shortest_way() {
    for (have, fast, said) in [
        ("....", true, Some(Message::HaveNone)),
        ("....", false, None),
        ("x.x.", true, Some(Message::Bitfield(set("x.x.")))),
        ("x.x.", false, Some(Message::Bitfield(set("x.x.")))),
        ("xxxx", true, Some(Message::HaveAll)),
        ("xxxx", false, Some(Message::Bitfield(set("xxxx")))),
    ] {
        let mut b = Bench::with(
            have,
            Config {
                assign: false,
                ..Config::default()
            },
        );
        b.connect(1, false, fast);
        assert_eq!(b.said(1), said.iter().collect::<Vec<_>>(), "{have} {fast}");
    }
}

#[test]
fn after_a_shutdown_everybody_is_gone_and_nobody_comes() {
    let mut b = Bench::new("x...");
    b.peer(1, ".x..");
    b.peer(2, "..x.");
    b.did.clear();
    b.swarm.shutdown(b.now, &mut b.did);
    assert_eq!(b.closed(), [(1, Close::Stopping), (2, Close::Stopping)]);
    b.connect(3, false, true);
    assert_eq!(b.closed(), [(3, Close::Stopping)]);
    b.discover(&[addr(4)]);
    assert_eq!(b.did, []);
}

#[test]
fn events_about_strangers_change_nothing() {
    let mut b = Bench::new("x...");
    b.says(7, Message::Request(block(0, 0)));
    b.tell(Event::Disconnected { peer: PeerKey(7) });
    b.tell(Event::DialFailed { addr: addr(7) });
    b.verified(1, true);
    assert_eq!(b.block(7, block(1, 0)), Verdict::Discard);
    assert_eq!((b.uploads(7, 1 << 20), b.did), (vec![], vec![]));
}

#[test]
fn the_only_seed_of_a_single_piece_shows_it_at_once() {
    let mut b = Bench::new("x");
    b.connect(1, false, true);
    assert!(b.said(1).contains(&&Message::HaveAll), "{:?}", b.did);
}

#[test]
fn peers_that_have_everything_are_counted_once_and_also_when_they_have_gone() {
    for ours in ["xxxx", "...."] {
        let mut b = Bench::new(ours);
        let finished = |b: &Bench| b.swarm.stats(b.now).finished;
        b.peer(1, "xxx.");
        assert_eq!(finished(&b), 0);
        b.says(1, Message::Have(PieceIndex(3)));
        b.peer(2, "xxxx");
        assert_eq!(finished(&b), 2);
        for n in [1, 2] {
            b.tell(Event::Disconnected { peer: PeerKey(n) });
        }
        b.tell(Event::Connected {
            peer: PeerKey(3),
            id: id(2),
            addr: addr(2),
            outgoing: false,
            fast: true,
            utp: false,
        });
        b.says(3, Message::HaveAll);
        assert_eq!(finished(&b), 2, "the second came back");
    }
}

//! Peers that tell of peers (BEP 11).

use std::collections::BTreeMap;

use super::*;
use crate::proto::peer::extended::{ExtendedHandshake, UT_PEX};
use crate::proto::peer::pex::{self, MAX_PEERS, PexMessage, REACHABLE, SEED, UTP};

/// Peers take messages under this number.
const NUMBER: u8 = 5;

fn bench() -> Bench {
    let config = Config {
        pex: true,
        ..Config::default()
    };
    Bench::with("..", config)
}

impl Bench {
    /// An incoming peer that exchanges peers and listens at this port, if at any.
    fn gossip(&mut self, n: u64, port: Option<u16>) {
        self.connect(n, false, false);
        let hello = ExtendedHandshake {
            extensions: BTreeMap::from([(pex::NAME.to_owned(), NUMBER)]),
            listen_port: port,
            ..ExtendedHandshake::default()
        };
        self.says(n, hello.message());
    }

    fn says_peers(&mut self, n: u64, added: Vec<(SocketAddr, u8)>) {
        let message = PexMessage {
            added,
            dropped: Vec::new(),
        };
        let payload = message.encode().into();
        self.says(
            n,
            Message::Extended {
                id: UT_PEX,
                payload,
            },
        );
    }

    /// What peer `n` was told of others.
    fn told(&self, n: u64) -> Vec<PexMessage> {
        let messages = self
            .said(n)
            .into_iter()
            .filter_map(|message| match message {
                Message::Extended { id, payload } if *id == NUMBER => PexMessage::decode(payload),
                _ => None,
            });
        messages.collect()
    }
}

#[test]
fn a_peer_is_told_of_the_others_at_once_and_then_once_a_minute() {
    let mut b = bench();
    b.gossip(1, Some(6881));
    b.gossip(2, Some(6882));
    b.pass(SEC * 2);
    let two = SocketAddr::new(addr(2).ip(), 6882);
    let told = b.told(1);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0].added, &told[0].dropped),
        (&vec![(two, 0)], &vec![])
    );
    assert_eq!(b.told(2).len(), 1);
    for n in 3..9 {
        b.gossip(n, Some(6881));
        b.pass(SEC * 4);
        assert_eq!(b.told(1), []);
    }
    b.pass(SEC * 40);
    assert_eq!(b.told(1)[0].added.len(), 6);
    b.tell(Event::Disconnected { peer: PeerKey(2) });
    b.pass(SEC * 100);
    let told = b.told(1);
    assert_eq!((told.len(), &told[0].dropped), (1, &vec![two]));
    b.pass(SEC * 1000);
    assert_eq!(b.told(1), [], "nothing has changed");
}

#[test]
fn a_message_holds_fifty_and_the_rest_follows() {
    let mut b = bench();
    b.gossip(1, None);
    for n in 2..90 {
        b.gossip(n, Some(6881));
    }
    b.pass(SEC * 2);
    assert_eq!(b.told(1)[0].added.len(), MAX_PEERS);
    b.pass(SEC * 62);
    assert_eq!(b.told(1)[0].added.len(), 88 - MAX_PEERS);
}

#[test]
fn it_is_said_who_is_a_seed_and_who_can_be_reached() {
    let mut b = bench();
    b.gossip(1, None);
    b.connect(2, true, false);
    b.says(2, Message::Bitfield(set("xx")));
    b.pass(SEC * 2);
    assert_eq!(b.told(1)[0].added, [(addr(2), SEED | REACHABLE)]);
}

#[test]
fn nobody_is_told_of_peers_that_listen_nowhere_or_at_ports_of_other_services() {
    let mut b = bench();
    b.gossip(1, None);
    b.gossip(2, None);
    b.gossip(3, Some(25));
    b.gossip(4, Some(0));
    b.pass(SEC * 200);
    assert_eq!(b.told(1), []);
}

#[test]
fn without_the_exchange_nothing_is_told_and_nothing_heard() {
    let mut b = Bench::new("..");
    b.gossip(1, Some(6881));
    b.gossip(2, Some(6881));
    b.pass(SEC * 200);
    assert_eq!(b.told(1), []);
    b.says_peers(1, vec![(addr(9), 0)]);
    assert_eq!(b.dialled(), []);
}

#[test]
fn who_takes_connections_over_utp_is_told_and_heard() {
    let mut b = bench();
    b.gossip(1, Some(6881));
    b.tell(Event::Connected {
        peer: PeerKey(2),
        id: id(2),
        addr: addr(2),
        outgoing: true,
        fast: false,
        utp: true,
    });
    b.pass(SEC * 2);
    let told: Vec<_> = b.told(1).into_iter().flat_map(|m| m.added).collect();
    assert_eq!(told, [(addr(2), REACHABLE | UTP)]);
    b.says_peers(1, vec![(addr(8), UTP), (addr(9), SEED)]);
    assert!(b.swarm.speaks_utp(addr(8)) && !b.swarm.speaks_utp(addr(9)));
}

#[test]
fn what_is_heard_is_dialled_if_it_can_be_a_peer_of_the_sender() {
    let mut b = bench();
    b.gossip(1, None);
    let odd = [
        "127.0.0.1:6881",
        "10.0.0.9:25",
        "10.0.0.9:1023",
        "169.254.1.1:6881",
        "224.0.0.1:6881",
        "0.0.0.0:6881",
        "255.255.255.255:6881",
        "[::1]:6881",
        "[fe80::1]:6881",
        "[::ffff:127.0.0.1]:6881",
    ];
    let good = ["10.0.0.9:6881", "192.0.2.7:1024", "[2001:db8::1]:6881"];
    let all = odd.iter().chain(&good).map(|a| (a.parse().unwrap(), 0));
    b.says_peers(1, all.collect());
    let mut dialled: Vec<_> = b.dialled().iter().map(ToString::to_string).collect();
    dialled.sort_unstable();
    assert_eq!(dialled, good);
}

#[test]
fn a_stranger_from_afar_cannot_make_us_dial_into_our_own_network() {
    let mut b = bench();
    b.tell(Event::Connected {
        peer: PeerKey(1),
        id: id(1),
        addr: "198.51.100.1:5000".parse().unwrap(),
        outgoing: false,
        fast: false,
        utp: false,
    });
    let inside = ["10.0.0.9:6881", "192.168.1.1:8080", "[fd00::1]:6881"];
    b.says_peers(1, inside.map(|a| (a.parse().unwrap(), 0)).to_vec());
    assert_eq!(b.dialled(), []);
}

#[test]
fn whoever_tells_too_much_or_too_often_is_not_heard() {
    let mut b = bench();
    b.gossip(1, None);
    let lot = |round: u16| {
        let addr = move |n: u16| ([192, 0, 2, 1], 2000 + round * 50 + n).into();
        (0..50).map(|n| (addr(n), 0)).collect::<Vec<_>>()
    };
    b.says_peers(1, lot(0));
    b.says_peers(1, lot(1));
    assert_eq!(
        b.swarm.roster.known().count(),
        50,
        "the second is too early"
    );
    for round in 2..20 {
        b.pass(SEC * 60);
        b.says_peers(1, lot(round));
    }
    assert_eq!(b.swarm.roster.known().count(), 200);
}

#[test]
fn a_seed_does_not_dial_seeds() {
    let config = Config {
        pex: true,
        ..Config::default()
    };
    let mut b = Bench::with("xx", config);
    b.gossip(1, None);
    b.says_peers(1, vec![(addr(8), SEED), (addr(9), 0)]);
    assert_eq!(b.dialled(), [addr(9)]);
}

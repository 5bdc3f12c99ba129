//! One node, and what strangers send it.

use std::net::SocketAddr;

use super::super::{Action, Config, Dht};
use super::world::{v4, v6};
use crate::base::id::InfoHash;
use crate::base::node::{Contact, NodeId};
use crate::base::time::Time;
use crate::proto::krpc::{
    Announce, Body, Packet, Query, Reply, Want, read, write_query, write_reply,
};

const HASH: InfoHash = InfoHash([3; 20]);

fn at(secs: u64) -> Time {
    Time::from_secs(secs)
}

fn node() -> Dht {
    let config = Config {
        v4: true,
        v6: true,
        secret: [5, 6],
        ..Config::default()
    };
    Dht::new(&config, at(0), 1)
}

fn id_at(addr: SocketAddr) -> NodeId {
    NodeId::of_host(addr.ip(), &mut fastrand::Rng::with_seed(addr.port().into()))
}

fn say(dht: &mut Dht, now: Time, from: SocketAddr, bytes: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut out = Vec::new();
    dht.received(now, from, bytes, &mut out);
    let sent = out.into_iter().filter_map(|action| match action {
        Action::Send { to, bytes } => Some((to, bytes)),
        Action::Found { .. } => None,
    });
    sent.collect()
}

fn ask(dht: &mut Dht, now: Time, from: SocketAddr, query: &Query) -> Vec<(SocketAddr, Vec<u8>)> {
    let bytes = write_query(b"aa", id_at(from), query, true);
    say(dht, now, from, &bytes)
}

/// What of it goes to `addr`; the node asks others meanwhile as it sees fit.
fn to(sent: &[(SocketAddr, Vec<u8>)], addr: SocketAddr) -> Vec<&[u8]> {
    let sent = sent.iter().filter(|(to, _)| *to == addr);
    sent.map(|(_, bytes)| &bytes[..]).collect()
}

/// The answer to a question, if it is one.
fn answer(dht: &mut Dht, now: Time, from: SocketAddr, query: &Query) -> Option<Reply> {
    let sent = ask(dht, now, from, query);
    let [bytes] = &to(&sent, from)[..] else {
        panic!("{sent:?}");
    };
    match read(bytes).unwrap().body {
        Body::Reply(reply) => Some(reply),
        Body::Error(_) => None,
        other => panic!("{other:?}"),
    }
}

fn announce(token: Vec<u8>, port: Option<u16>) -> Query {
    Query::AnnouncePeer(Announce {
        info_hash: HASH,
        port,
        token,
    })
}

const GET: Query = Query::GetPeers(
    HASH,
    Want {
        v4: false,
        v6: false,
    },
);

/// Makes `dht` know a node at `addr`, which has answered it.
fn acquaint(dht: &mut Dht, now: Time, addr: SocketAddr) {
    let mut out = Vec::new();
    dht.meet(now, addr, &mut out);
    let Some(Action::Send { to, bytes }) = out.pop() else {
        panic!("nobody asked");
    };
    assert_eq!(to, addr);
    let Packet { transaction, .. } = read(&bytes).unwrap();
    let reply = write_reply(&transaction, &Reply::new(id_at(addr)), v4(9999));
    say(dht, now, addr, &reply);
}

#[test]
fn only_who_was_asked_may_answer_and_only_that() {
    let mut dht = node();
    let mut out = Vec::new();
    dht.meet(at(1), v4(1), &mut out);
    let [Action::Send { bytes, .. }] = &out[..] else {
        panic!("{out:?}");
    };
    let transaction = read(bytes).unwrap().transaction;
    assert_eq!(transaction.len(), 4);
    let reply = |transaction: &[u8], addr| write_reply(transaction, &Reply::new(id_at(addr)), addr);
    let known = |dht: &Dht| dht.stats(at(1)).nodes[0];
    for bit in 0..32 {
        let mut wrong = transaction.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        say(&mut dht, at(1), v4(1), &reply(&wrong, v4(1)));
    }
    say(&mut dht, at(1), v4(1), &reply(&transaction[..3], v4(1)));
    say(&mut dht, at(1), v4(2), &reply(&transaction, v4(2)));
    let elsewhere = SocketAddr::new(v4(1).ip(), 1);
    say(&mut dht, at(1), elsewhere, &reply(&transaction, elsewhere));
    assert_eq!(known(&dht), 0);
    say(&mut dht, at(1), v4(1), &reply(&transaction, v4(1)));
    assert_eq!(known(&dht), 1);
    // Too late, for another one.
    let mut out = Vec::new();
    dht.meet(at(2), v4(3), &mut out);
    let Some(Action::Send { bytes, .. }) = out.pop() else {
        panic!("nobody asked");
    };
    dht.tick(at(8), &mut out);
    let late = read(&bytes).unwrap().transaction;
    say(&mut dht, at(8), v4(3), &reply(&late, v4(3)));
    assert!(dht.nodes(at(8)).iter().all(|node| node.addr != v4(3)));
}

#[test]
fn a_token_is_needed_and_good_at_its_address_alone() {
    let mut dht = node();
    let token = answer(&mut dht, at(1), v4(1), &GET).unwrap().token.unwrap();
    let mut put = |from, token: &[u8], port| {
        answer(&mut dht, at(2), from, &announce(token.to_vec(), port)).is_some()
    };
    assert!(!put(v4(2), &token, Some(1)), "another address");
    assert!(!put(v4(1), &[0; 8], Some(1)));
    assert!(!put(v4(1), &[0; 1000], Some(1)), "a huge one");
    assert!(!put(v4(1), &token, Some(0)), "nobody listens there");
    assert!(put(v4(1), &token, Some(7000)));
    let elsewhere = SocketAddr::new(v4(1).ip(), 9);
    assert!(
        put(elsewhere, &token, None),
        "another port is the same address"
    );
    let mut peers = answer(&mut dht, at(2), v4(5), &GET).unwrap().peers;
    peers.sort_unstable();
    assert_eq!(peers, [elsewhere, SocketAddr::new(v4(1).ip(), 7000)]);
    assert!(
        answer(&mut dht, at(700), v4(1), &announce(token, Some(1))).is_none(),
        "it is old"
    );
}

#[test]
fn a_flood_from_one_address_is_answered_within_bounds() {
    let mut dht = node();
    let flood = |dht: &mut Dht| -> usize {
        (0..10_000)
            .map(|_| ask(dht, at(1), v4(1), &Query::Ping).len())
            .sum()
    };
    assert_eq!(flood(&mut dht), 50);
    assert_eq!(
        ask(&mut dht, at(1), v4(2), &Query::Ping).len(),
        1,
        "others are"
    );
    let stats = dht.stats(at(1));
    assert_eq!((stats.answered, stats.refused), (51, 9950));
    assert_eq!(
        ask(&mut dht, at(2), v4(1), &Query::Ping).len(),
        1,
        "later it is"
    );
}

/// Whatever is asked by whomever: what goes to somebody who has not shown that he is there has no more than four times the bytes of what came.
#[test]
fn a_forged_sender_gains_little() {
    let mut dht = node();
    for n in 1..60 {
        acquaint(&mut dht, at(1), v4(n));
        acquaint(&mut dht, at(1), v6(n));
    }
    // Whoever has answered hears more, yet nothing that a network cuts up.
    let both = Want { v4: true, v6: true };
    let sent = ask(&mut dht, at(1), v4(1), &Query::GetPeers(HASH, both));
    let len = to(&sent, v4(1))[0].len();
    assert!((500..=1200).contains(&len), "{len}");
    for n in 0..300 {
        for addr in [v4(1000 + n), v6(1000 + n)] {
            let now = at(2 + u64::from(n) / 20);
            let token = answer(&mut dht, now, addr, &GET).unwrap().token.unwrap();
            assert!(answer(&mut dht, now, addr, &announce(token, Some(7000))).is_some());
        }
    }
    let target = NodeId(HASH.0);
    let mut most = 0.0_f64;
    for want in [(false, false), (true, false), (false, true), (true, true)] {
        let want = Want {
            v4: want.0,
            v6: want.1,
        };
        let queries = [
            Query::Ping,
            Query::FindNode(target, want),
            Query::GetPeers(HASH, want),
            announce(vec![0; 8], Some(1)),
        ];
        for (query, from) in queries.iter().zip([v4(5000), v6(5000)].into_iter().cycle()) {
            for transaction in [&b""[..], b"aa", &[b't'; 32]] {
                let bytes = write_query(transaction, id_at(from), query, true);
                let sent = say(&mut dht, at(100), from, &bytes);
                let len: usize = to(&sent, from).iter().map(|bytes| bytes.len()).sum();
                assert!(len <= 4 * bytes.len(), "{len} for {}", bytes.len());
                most = most.max(len as f64 / bytes.len() as f64);
            }
        }
    }
    assert!(most > 3.0, "{most}: it uses what it may");
}

#[test]
fn a_stranger_learns_and_teaches_nothing_about_our_network() {
    let mut dht = node();
    let site = SocketAddr::from(([10, 0, 0, 7], 7000));
    acquaint(&mut dht, at(1), site);
    acquaint(&mut dht, at(1), v4(1));
    let token = answer(&mut dht, at(1), site, &GET).unwrap().token.unwrap();
    answer(&mut dht, at(1), site, &announce(token, Some(7000))).unwrap();
    let told = answer(&mut dht, at(1), v4(2), &GET).unwrap();
    assert_eq!(told.peers, []);
    assert_eq!(
        told.nodes.iter().map(|node| node.addr).collect::<Vec<_>>(),
        [v4(1)]
    );
    let told = answer(&mut dht, at(1), SocketAddr::from(([10, 0, 0, 8], 1)), &GET).unwrap();
    assert_eq!((told.peers, told.nodes.len()), (vec![site], 2));
    // Whoever is asked for peers and names such as these is not heard.
    let mut out = Vec::new();
    // The lookup of itself comes first; nobody answers it.
    dht.tick(at(3), &mut out);
    dht.tick(at(9), &mut out);
    dht.join(at(9), HASH, 7000);
    dht.tick(at(9), &mut out);
    let asked = out.iter().find_map(|action| match action {
        Action::Send { to, bytes } if *to == v4(1) => {
            let packet = read(bytes).unwrap();
            let get = matches!(packet.body, Body::Query(_, Query::GetPeers(..)));
            get.then_some(packet.transaction)
        }
        _ => None,
    });
    let evil = Reply {
        nodes: vec![Contact {
            id: NodeId(HASH.0),
            addr: SocketAddr::from(([127, 0, 0, 1], 22)),
        }],
        peers: vec![
            SocketAddr::from(([192, 168, 0, 1], 80)),
            SocketAddr::from(([127, 0, 0, 1], 80)),
            v4(77),
        ],
        ..Reply::new(id_at(v4(1)))
    };
    let evil = write_reply(&asked.unwrap(), &evil, v4(9999));
    let mut out = Vec::new();
    dht.received(at(9), v4(1), &evil, &mut out);
    let found: Vec<_> = out
        .iter()
        .filter(|a| matches!(a, Action::Found { .. }))
        .collect();
    let peers = vec![v4(77)];
    let info_hash = HASH;
    assert_eq!(found, [&Action::Found { info_hash, peers }]);
    let asked = out.iter().any(|action| match action {
        Action::Send { to, .. } => to.ip().is_loopback(),
        Action::Found { .. } => false,
    });
    assert!(!asked);
}

/// Random words of the protocol from random strangers, answers of random names to all that is asked: it goes on, and what it remembers is bounded.
#[test]
fn chaos_does_no_harm() {
    let mut rng = fastrand::Rng::with_seed(12);
    let mut dht = node();
    dht.add_seed(at(0), v4(0));
    for n in 0..20 {
        dht.join(at(0), InfoHash([n; 20]), 7000);
    }
    let mut asked: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
    let mut now = at(1);
    for round in 0..60_000_u32 {
        now = now + std::time::Duration::from_millis(rng.u64(..20));
        let from = if rng.bool() {
            v4(rng.u32(..500))
        } else {
            v6(rng.u32(..500))
        };
        let mut out = Vec::new();
        let known = rng.usize(..asked.len() + 1);
        if known < asked.len() && rng.bool() {
            let (to, bytes) = asked.swap_remove(known);
            let transaction = read(&bytes).unwrap().transaction;
            let node = |n: u32, rng: &mut fastrand::Rng| Contact {
                id: NodeId::random(rng),
                addr: if n.is_multiple_of(2) { v4(n) } else { v6(n) },
            };
            let reply = Reply {
                token: rng.bool().then(|| vec![0; rng.usize(..64)]),
                nodes: (0..8).map(|n| node(n + rng.u32(..500), &mut rng)).collect(),
                peers: (0..4).map(|_| v4(rng.u32(..500))).collect(),
                ..Reply::new(id_at(to))
            };
            let mut bytes = write_reply(&transaction, &reply, from);
            if rng.u32(..4) == 0 {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
            dht.received(now, to, &bytes, &mut out);
        } else {
            let queries = [
                Query::Ping,
                Query::FindNode(NodeId::random(&mut rng), Want::default()),
                Query::GetPeers(InfoHash([rng.u8(..); 20]), Want::default()),
                announce(vec![rng.u8(..); 8], Some(rng.u16(..))),
            ];
            let mut bytes = write_query(b"aa", id_at(from), &queries[rng.usize(..4)], rng.bool());
            if rng.u32(..4) == 0 {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
            dht.received(now, from, &bytes, &mut out);
        }
        if round % 7 == 0 {
            dht.tick(now, &mut out);
        }
        for action in out {
            if let Action::Send { to, bytes } = action
                && matches!(read(&bytes).unwrap().body, Body::Query(..))
            {
                asked.push((to, bytes));
            }
        }
        asked.truncate(1000);
        assert!(dht.deadline().is_some());
    }
    let stats = dht.stats(now);
    assert!(stats.nodes[0] > 8 && stats.nodes[1] > 8, "{stats:?}");
    assert!(dht.nodes(now).len() < 400);
}

use super::*;

/// The datagrams of BEP 5 with their answers to be read, and ones of every kind that we write.
fn good() -> Vec<Vec<u8>> {
    let id = NodeId(*b"abcdefghij0123456789");
    let hash = InfoHash(*b"mnopqrstuvwxyz123456");
    let both = Want { v4: true, v6: true };
    let announce = |port| {
        Query::AnnouncePeer(Announce {
            info_hash: hash,
            port,
            token: b"aoeusnth".to_vec(),
        })
    };
    let queries = [
        Query::Ping,
        Query::FindNode(id, Want::default()),
        Query::GetPeers(hash, both),
        announce(Some(6881)),
        announce(None),
    ];
    let mut packets: Vec<_> = queries
        .iter()
        .map(|query| write_query(b"aa", id, query, *query == Query::Ping))
        .collect();
    packets.push(write_reply(b"aa", &full(), "1.2.3.4:5".parse().unwrap()));
    packets.push(write_error(b"aa", ErrorCode::Protocol));
    packets
}

fn full() -> Reply {
    let node = |addr: &str| Contact {
        id: NodeId([7; 20]),
        addr: addr.parse().unwrap(),
    };
    Reply {
        id: NodeId([9; 20]),
        token: Some(b"aoeusnth".to_vec()),
        nodes: vec![node("10.0.0.1:6881"), node("[2001:db8::1]:6881")],
        peers: vec![
            "10.0.0.2:1".parse().unwrap(),
            "[2001:db8::2]:2".parse().unwrap(),
        ],
    }
}

#[test]
fn the_examples_of_bep_5_are_read() {
    let id = NodeId(*b"abcdefghij0123456789");
    let other = NodeId(*b"mnopqrstuvwxyz123456");
    let body = |bytes: &[u8]| read(bytes).unwrap().body;
    assert_eq!(
        body(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"),
        Body::Query(id, Query::Ping)
    );
    assert_eq!(
        body(b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re"),
        Body::Reply(Reply::new(other))
    );
    assert_eq!(
        body(b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe"),
        Body::Query(id, Query::FindNode(other, Want::default()))
    );
    assert_eq!(
        body(b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe"),
        Body::Query(id, Query::GetPeers(InfoHash(other.0), Want::default()))
    );
    assert_eq!(
        body(b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re"),
        Body::Reply(Reply {
            token: Some(b"aoeusnth".to_vec()),
            peers: vec![
                "97.120.106.101:11893".parse().unwrap(),
                "105.100.104.116:28269".parse().unwrap()
            ],
            ..Reply::new(id)
        })
    );
    let announce = |port| {
        let (info_hash, token) = (InfoHash(other.0), b"aoeusnth".to_vec());
        let announce = Announce {
            info_hash,
            port,
            token,
        };
        Body::Query(id, Query::AnnouncePeer(announce))
    };
    for (implied, port) in [(0, Some(6881)), (1, None)] {
        let text = format!(
            "d1:ad2:id20:abcdefghij012345678912:implied_porti{implied}e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe"
        );
        assert_eq!(body(text.as_bytes()), announce(port));
    }
    assert_eq!(
        body(b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee"),
        Body::Error(201)
    );
}

#[test]
fn what_is_written_is_read_back() {
    let packets = good();
    let read_only: Vec<_> = packets.iter().map(|p| read(p).unwrap().read_only).collect();
    assert_eq!(read_only, [true, false, false, false, false, false, false]);
    let reply = read(&packets[5]).unwrap();
    assert_eq!(reply.body, Body::Reply(full()));
    assert_eq!(reply.external, "1.2.3.4:5".parse().ok());
    let want = Want { v4: true, v6: true };
    let hash = InfoHash(*b"mnopqrstuvwxyz123456");
    let asked = Body::Query(
        NodeId(*b"abcdefghij0123456789"),
        Query::GetPeers(hash, want),
    );
    assert_eq!(read(&packets[2]).unwrap().body, asked);
    assert!(packets.iter().all(|p| p.len() < LONGEST));
}

#[test]
fn what_makes_no_sense_is_refused_where_it_can_be() {
    let code = |bytes: &[u8]| match read(bytes).map(|packet| packet.body) {
        Some(Body::BadQuery(code)) => Some(code),
        None => None,
        other => panic!("{other:?}"),
    };
    let id = "2:id20:abcdefghij0123456789";
    for (text, expected) in [
        (
            format!("d1:ad{id}e1:q4:vote1:t2:aa1:y1:qe"),
            Some(ErrorCode::UnknownMethod),
        ),
        (
            format!("d1:ad{id}e1:q9:find_node1:t2:aa1:y1:qe"),
            Some(ErrorCode::Protocol),
        ),
        (
            "d1:ad2:id3:abce1:q4:ping1:t2:aa1:y1:qe".into(),
            Some(ErrorCode::Protocol),
        ),
        ("d1:q4:ping1:t2:aa1:y1:qe".into(), Some(ErrorCode::Protocol)),
        (format!("d1:ad{id}e1:q4:ping1:y1:qe"), None),
        (
            format!("d1:ad{id}e1:q4:ping1:t33:{}1:y1:qe", "t".repeat(33)),
            None,
        ),
        ("d1:rd2:id3:abce1:t2:aa1:y1:re".into(), None),
        ("d1:t2:aa1:y1:xe".into(), None),
        ("le".into(), None),
    ] {
        assert_eq!(code(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn parts_of_the_wrong_kind_count_as_absent() {
    let reply = |inner: &str| {
        let text = format!("d1:rd2:id20:abcdefghij0123456789{inner}e1:t2:aa1:y1:re");
        match read(text.as_bytes()).map(|packet| packet.body) {
            Some(Body::Reply(reply)) => reply,
            other => panic!("{inner}: {other:?}"),
        }
    };
    let none = Reply::new(NodeId(*b"abcdefghij0123456789"));
    let long = format!("5:token65:{}", "t".repeat(65));
    for inner in [
        "5:nodes25:abcdefghij012345678901234",
        "5:nodesle",
        "6:valuesi3e",
        "6:valuesl5:abcdei7elee",
        &long,
    ] {
        assert_eq!(reply(inner), none, "{inner}");
    }
    // A port of 0, and an IPv4 address in IPv6 clothes.
    let zero = "5:nodes26:abcdefghij0123456789\x01\x02\x03\x04\0\0";
    let mapped = "6:nodes638:abcdefghij0123456789\0\0\0\0\0\0\0\0\0\0";
    assert_eq!(reply(zero), none);
    let mut bytes = format!("d1:rd2:id20:abcdefghij0123456789{mapped}").into_bytes();
    bytes.extend_from_slice(b"\xff\xff\x01\x02\x03\x04\x00\x05e1:t2:aa1:y1:re");
    assert_eq!(read(&bytes).unwrap().body, Body::Reply(none));
}

#[test]
fn whoever_is_elsewhere_names_nobody_in_our_network() {
    let left = |teller: &str| {
        let mut reply = full();
        reply.leave_out_what_is_none_of(teller.parse().unwrap());
        (reply.nodes.len(), reply.peers.len())
    };
    assert_eq!(left("10.0.0.9:1"), (2, 2));
    assert_eq!(left("127.0.0.1:1"), (2, 2));
    assert_eq!(left("8.8.8.8:1"), (1, 1));
}

/// Every datagram cut at every place, with every byte replaced by every other: nothing panics, and what is read can be written and read again.
#[test]
fn no_change_of_a_byte_does_harm() {
    let check = |bytes: &[u8]| {
        let Some(packet) = read(bytes) else { return };
        let t = &packet.transaction;
        let again = match &packet.body {
            Body::Query(id, query) => write_query(t, *id, query, packet.read_only),
            Body::Reply(reply) => write_reply(t, reply, "1.2.3.4:5".parse().unwrap()),
            Body::BadQuery(code) => write_error(t, *code),
            Body::Error(_) => return,
        };
        let again = read(&again).unwrap();
        match packet.body {
            Body::BadQuery(_) => assert!(matches!(again.body, Body::Error(_))),
            body => assert_eq!(again.body, body, "{}", bytes.escape_ascii()),
        }
    };
    for packet in good() {
        for at in 0..packet.len() {
            check(&packet[..at]);
            let mut bad = packet.clone();
            for byte in 0..=255 {
                bad[at] = byte;
                check(&bad);
            }
        }
    }
}

/// Random datagrams put together from the words of the protocol.
#[test]
fn no_mixture_of_words_does_harm() {
    let words: [&[u8]; 20] = [
        b"d",
        b"l",
        b"e",
        b"1:a",
        b"1:q",
        b"1:r",
        b"1:t",
        b"1:y",
        b"2:id",
        b"2:aa",
        b"20:abcdefghij0123456789",
        b"9:info_hash",
        b"6:target",
        b"4:ping",
        b"9:get_peers",
        b"6:values",
        b"5:nodes",
        b"i1e",
        b"999999999:",
        b"i-0e",
    ];
    let mut rng = fastrand::Rng::with_seed(11);
    let mut read_at_all = 0;
    for _ in 0..200_000 {
        let n = rng.usize(..14);
        let mut bytes = b"d1:t2:aa1:y1:".to_vec();
        bytes.push(*rng.choice(b"qre").unwrap());
        (0..n).for_each(|_| bytes.extend_from_slice(words[rng.usize(..words.len())]));
        bytes.push(b'e');
        read_at_all += usize::from(read(&bytes).is_some());
    }
    assert!(read_at_all > 100, "{read_at_all}");
    assert_eq!(read(&vec![b'l'; LONGEST + 1]), None);
    assert_eq!(read(&vec![b'l'; LONGEST]), None);
}

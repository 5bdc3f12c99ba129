//! The tracker as peers and strangers meet it over UDP (BEP 15, BEP 41): the real program, over real sockets.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;

use hivebt::base::id::{InfoHash, PeerId};
use hivebt::proto::tracker::udp::{
    MAX_REPLY, PROTOCOL, write_announce, write_connect, write_scrape,
};
use hivebt::proto::tracker::{AnnounceRequest, Event, SwarmStats};
use support::announce::{Site, at, peer, reason, write_list};
use support::datagrams::Caller;
use support::ours::{LIMIT, program};
use support::process::{Process, peak_memory, run};
use support::tempdir::TempDir;

const HASH: InfoHash = InfoHash([0xa1; 20]);

#[test]
fn peers_find_each_other_over_udp_and_http() {
    let site = Site::start(&[]);
    let mut seeder = Caller::new("127.0.0.2", site.at[0]);
    let reply = seeder.announce(&peer(HASH, 1, 0, Event::Started)).unwrap();
    assert_eq!((reply.peers, reply.complete), (vec![], Some(1)));
    let mut leecher = Caller::new("127.0.0.3", site.at[0]);
    let reply = leecher
        .announce(&peer(HASH, 2, 99, Event::Started))
        .unwrap();
    assert_eq!(reply.peers, [at("127.0.0.2:7001")]);
    assert_eq!((reply.complete, reply.incomplete), (Some(1), Some(1)));
    assert!((1..=300).contains(&reply.interval), "{}", reply.interval);
    let other = peer(HASH, 3, 9, Event::Started);
    let reply = site.announce("127.0.0.4", &other).unwrap();
    let told: BTreeSet<_> = reply.peers.into_iter().collect();
    assert_eq!(
        told,
        BTreeSet::from([at("127.0.0.2:7001"), at("127.0.0.3:7002")])
    );
    let stats = site.stats("");
    assert_eq!(
        (&stats["announces"], &stats["errors"]),
        (&3.into(), &0.into())
    );
}

#[test]
fn both_families_have_replies_of_their_own_form() {
    let site = Site::listening(&["127.0.0.1:0", "[::1]:0"], &[]);
    let mut v4 = Caller::new("127.0.0.1", site.at[0]);
    let mut v6 = Caller::new("::1", site.at[1]);
    v4.announce(&peer(HASH, 1, 9, Event::Started)).unwrap();
    v6.announce(&peer(HASH, 1, 9, Event::Started)).unwrap();
    v6.announce(&peer(HASH, 2, 9, Event::Started)).unwrap();
    assert_eq!(
        site.scrape(HASH).incomplete,
        2,
        "a peer with both addresses is one peer"
    );
    let told = v4.announce(&peer(HASH, 3, 9, Event::Started)).unwrap();
    assert_eq!(told.peers, [at("127.0.0.1:7001")]);
    let told = v6.announce(&peer(HASH, 3, 9, Event::Started)).unwrap();
    let told: BTreeSet<_> = told.peers.into_iter().collect();
    assert_eq!(told, BTreeSet::from([at("[::1]:7001"), at("[::1]:7002")]));
}

#[test]
fn one_listener_serves_both_families() {
    let site = Site::listening(&["[::]:0"], &[]);
    let port = site.at[0].port();
    for (ip, told) in [("::1", vec![]), ("127.0.0.1", vec![])] {
        let at = SocketAddr::new(ip.parse().unwrap(), port);
        let mut caller = Caller::new(ip, at);
        let reply = caller.announce(&peer(HASH, 1, 0, Event::Started)).unwrap();
        assert_eq!(reply.peers, told);
        let reply = caller.announce(&peer(HASH, 2, 9, Event::None)).unwrap();
        assert_eq!(
            reply.peers,
            [SocketAddr::new(ip.parse().unwrap(), 7001)],
            "peers of the asker's family"
        );
    }
}

#[test]
fn each_event_has_its_number() {
    let site = Site::start(&[]);
    let mut caller = Caller::new("127.0.0.1", site.at[0]);
    for (left, event, counts) in [
        (9, Event::Stopped, (0, 0, 0)),
        (9, Event::Started, (0, 0, 1)),
        (0, Event::Completed, (1, 1, 0)),
        (0, Event::None, (1, 1, 0)),
        (0, Event::Stopped, (0, 1, 0)),
    ] {
        caller.announce(&peer(HASH, 1, left, event)).unwrap();
        let now = caller.scrape(&[HASH]).unwrap()[0];
        assert_eq!(
            (now.complete, now.downloaded, now.incomplete),
            counts,
            "{event:?}"
        );
    }
}

#[test]
fn as_many_peers_come_as_are_wanted_and_allowed() {
    let site = Site::start(&["--max-peers", "60"]);
    let mut caller = Caller::new("127.0.0.1", site.at[0]);
    for n in 0..100 {
        caller.announce(&peer(HASH, n, 5, Event::Started)).unwrap();
    }
    let mut told = |numwant| {
        let asker = AnnounceRequest {
            numwant,
            ..peer(HASH, 7, 5, Event::None)
        };
        let peers = caller.announce(&asker).unwrap().peers;
        assert!(!peers.contains(&at("127.0.0.1:7007")), "the asker itself");
        let distinct: BTreeSet<_> = peers.iter().collect();
        assert_eq!(distinct.len(), peers.len());
        peers.len()
    };
    assert_eq!(
        (told(Some(0)), told(Some(3)), told(None), told(Some(500))),
        (0, 3, 50, 60)
    );
}

#[test]
fn a_scrape_answers_for_74_swarms_in_the_order_of_the_request() {
    let site = Site::start(&[]);
    let mut caller = Caller::new("127.0.0.1", site.at[0]);
    let hashes: Vec<_> = (0..100).map(|n| InfoHash([n; 20])).collect();
    for &hash in hashes.iter().step_by(3) {
        caller.announce(&peer(hash, 1, 0, Event::Started)).unwrap();
    }
    let swarms = caller.scrape(&hashes[..74]).unwrap();
    assert_eq!(swarms.len(), 74);
    for (n, swarm) in swarms.iter().enumerate() {
        let expected = SwarmStats {
            complete: u32::from(n % 3 == 0),
            ..SwarmStats::default()
        };
        assert_eq!(*swarm, expected, "swarm {n}");
    }
    // What a client sends that does not know the limit: the first 74 are answered.
    let mut packet = Vec::new();
    write_scrape(caller.id, 99, &[], &mut packet);
    for hash in &hashes {
        packet.extend_from_slice(&hash.0);
    }
    caller.send(&packet);
    assert_eq!(caller.receive().len(), 8 + 74 * 12);
    assert!(reason(caller.scrape(&[])).contains("info_hash"));
    assert_eq!(site.stats("")["scrapes"], 3);
}

#[test]
fn an_address_that_a_peer_names_counts_as_over_http() {
    let named = AnnounceRequest {
        ip: Some("10.1.1.1".parse().unwrap()),
        ..peer(HASH, 1, 9, Event::Started)
    };
    let site = Site::listening(&["127.0.0.1:0", "[::1]:0"], &[]);
    Caller::new("127.0.0.1", site.at[0])
        .announce(&named)
        .unwrap();
    let told = || {
        let asker = peer(HASH, 9, 9, Event::None);
        site.announce("127.0.0.1", &asker).unwrap().peers
    };
    assert_eq!(
        told(),
        [at("10.1.1.1:7001")],
        "who sits on this host may name an address"
    );
}

#[test]
fn lists_count_over_udp_and_the_reason_is_told() {
    let dir = TempDir::new("udp-lists");
    let allow = dir.join("allow");
    write_list(&allow, &[HASH]);
    let site = Site::start(&["--allow", allow.to_str().unwrap()]);
    let mut caller = Caller::new("127.0.0.1", site.at[0]);
    let other = InfoHash([0xb2; 20]);
    assert!(caller.announce(&peer(HASH, 1, 9, Event::None)).is_ok());
    let refused = caller.announce(&peer(other, 1, 9, Event::None));
    assert!(reason(refused).contains("does not serve"));
    let swarms = caller.scrape(&[other, HASH]).unwrap();
    assert_eq!((swarms[0].incomplete, swarms[1].incomplete), (0, 1));
    assert_eq!(site.stats("")["errors"], 1);
}

#[test]
fn a_url_with_a_path_is_understood() {
    let site = Site::start(&[]);
    let mut caller = Caller::new("127.0.0.1", site.at[0]);
    let long = format!("/announce?{}", "x".repeat(1500));
    for path in ["/", "/announce", "/announce?x=1", long.as_str()] {
        let reply = caller.announce_at(path, &peer(HASH, 1, 0, Event::None));
        assert_eq!(reply.unwrap().complete, Some(1), "{path}");
    }
}

#[test]
fn a_key_comes_with_the_path_of_the_url() {
    let dir = TempDir::new("udp-keys");
    let (keys, key) = (dir.join("keys"), "0123456789abcdef");
    std::fs::write(&keys, format!("{key} alice\n")).unwrap();
    let site = Site::start(&["--keys", keys.to_str().unwrap()]);
    let mut caller = Caller::new("127.0.0.1", site.at[0]);
    let request = peer(HASH, 1, 0, Event::None);
    for query in [String::new(), format!("?{}", "x".repeat(300))] {
        let path = format!("/announce/{key}{query}");
        let reply = caller.announce_at(&path, &request).unwrap();
        assert_eq!(reply.complete, Some(1));
    }
    for (path, told) in [
        ("", "must end with your key"),
        ("/announce/x", "does not know"),
    ] {
        let refused = reason(caller.announce_at(path, &request));
        assert!(refused.contains(told), "{path}: {refused}");
    }
    let refused = reason(caller.scrape(&[HASH]));
    assert!(refused.contains("private"), "a scrape has no place for one");
}

#[test]
fn it_says_where_it_listens_and_serves_only_what_it_is_told_to() {
    let site = Site::start(&[]);
    let both = format!("listening on udp://{}/announce", site.at[0]);
    site.process.wait_line(&both, LIMIT);

    // Addresses that no other test uses, because there a port may be taken that is free here.
    let site = Site::listening(&["127.0.0.79:0"], &["--no-udp"]);
    let free = UdpSocket::bind(site.at[0]);
    assert!(free.is_ok(), "nobody is at the port");
    site.stats("");
    assert!(!site.process.has_said(|line| line.contains("udp://")));

    let mut command = Command::new(program("tracker"));
    command.args(["-l", "127.0.0.78:0", "--no-http"]);
    let process = Process::start("hivebt-tracker", command);
    let addr: SocketAddr = process.wait_for("the address it listens at", LIMIT, |_, line| {
        let rest = line.split_once("listening on udp://")?.1;
        rest.strip_suffix("/announce")?.parse().ok()
    });
    Caller::new("127.0.0.1", addr)
        .announce(&peer(HASH, 1, 0, Event::None))
        .unwrap();
    assert!(TcpStream::connect(addr).is_err());

    let mut command = Command::new(program("tracker"));
    command.args(["--no-http", "--no-udp"]);
    let ended = run("hivebt-tracker", command, LIMIT);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("--no-http"), "{}", ended.stderr);
}

#[test]
fn programs_are_told_where_it_listens_in_json() {
    let mut command = Command::new(program("tracker"));
    command.args(["-l", "127.0.0.1:0", "--json", "--quiet"]);
    let mut process = Process::start("hivebt-tracker", command);
    process.wait_line("udp://127.0.0.1:", LIMIT);
    let ended = process.stop(LIMIT);
    let events = ended.stdout.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["event"], "listening");
        let url = event["url"].as_str().unwrap().to_owned();
        let (scheme, rest) = url.split_once("://127.0.0.1:").unwrap();
        (scheme.to_owned(), rest.to_owned())
    });
    let events: Vec<_> = events.collect();
    let [(http, of_http), (udp, of_udp)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((http.as_str(), udp.as_str()), ("http", "udp"));
    assert_eq!(of_http, of_udp, "the same port");
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_port_that_is_taken_for_udp_alone_is_told() {
    let taken = UdpSocket::bind("127.0.0.77:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut command = Command::new(program("tracker"));
    command.args(["-l", &addr]);
    let ended = run("hivebt-tracker", command, LIMIT);
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    for word in ["cannot listen at", addr.as_str(), "--no-udp"] {
        assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
}

#[test]
fn it_ends_at_once_when_told() {
    let mut site = Site::listening(&["127.0.0.80:0"], &[]);
    let mut caller = Caller::new("127.0.0.1", site.at[0]);
    caller.announce(&peer(HASH, 1, 0, Event::None)).unwrap();
    let ended = site.process.stop(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(UdpSocket::bind(site.at[0]).is_ok());
}

// In front of strangers.

#[test]
fn an_id_is_good_at_its_address_from_any_port_and_nowhere_else() {
    let site = Site::start(&[]);
    let owner = Caller::new("127.0.0.2", site.at[0]);
    let mut again = Caller::stranger("127.0.0.2", site.at[0]);
    again.id = owner.id;
    again.announce(&peer(HASH, 1, 0, Event::None)).unwrap();
    again.scrape(&[HASH]).unwrap();

    let mut thief = Caller::stranger("127.0.0.3", site.at[0]);
    let mut packet = Vec::new();
    write_announce(owner.id, 1, &peer(HASH, 2, 0, Event::None), "", &mut packet);
    thief.send(&packet);
    let mut packet = Vec::new();
    write_scrape(owner.id, 1, &[HASH], &mut packet);
    thief.send(&packet);
    thief.assert_silence();
    assert_eq!(site.scrape(HASH).complete, 1, "nor is it noted");
}

#[test]
fn forged_ids_are_met_with_silence() {
    let site = Site::start(&[]);
    let mut caller = Caller::new("127.0.0.1", site.at[0]);
    let good = caller.id;
    let bits = (0..64).map(|bit| good ^ (1 << bit));
    for id in bits.chain([0, u64::MAX, PROTOCOL, !good, good.swap_bytes()]) {
        let mut packet = Vec::new();
        write_announce(id, 1, &peer(HASH, 1, 0, Event::None), "", &mut packet);
        caller.send(&packet);
    }
    caller.assert_silence();
    assert_eq!(site.stats("")["announces"], 0);
    // Another tracker's ids, even of the same address, are forged ones, too.
    let other = Site::start(&[]);
    let foreign = Caller::new("127.0.0.1", other.at[0]).id;
    let mut packet = Vec::new();
    write_announce(foreign, 1, &peer(HASH, 1, 0, Event::None), "", &mut packet);
    caller.send(&packet);
    caller.assert_silence();
}

#[test]
fn whoever_has_no_id_gets_no_more_than_he_sent() {
    let site = Site::start(&[]);
    let mut stranger = Caller::stranger("127.0.0.1", site.at[0]);
    let mut announce = Vec::new();
    write_announce(1, 1, &peer(HASH, 1, 0, Event::None), "/key", &mut announce);
    let mut scrape = Vec::new();
    write_scrape(1, 1, &[HASH; 74], &mut scrape);
    let mut connect = Vec::new();
    write_connect(1, &mut connect);
    // Everything but a whole connect is met with silence, so nothing is made larger.
    for packet in [announce, scrape, connect.clone()] {
        for end in 0..packet.len() {
            if end < 16 || packet != connect {
                stranger.send(&packet[..end]);
            }
            if end % 64 == 0 {
                stranger.assert_silence();
            }
        }
    }
    stranger.assert_silence();
    for longer in [0, 1, 100, 1400] {
        let packet = [&connect[..], &vec![0xff; longer]].concat();
        stranger.send(&packet);
        assert_eq!(stranger.receive().len(), 16);
    }
}

#[test]
fn what_is_cut_short_or_too_long_is_answered_to_the_proven_and_hurts_nobody() {
    let site = Site::start(&[]);
    let mut caller = Caller::new("127.0.0.1", site.at[0]);
    let mut good = Vec::new();
    write_announce(
        caller.id,
        1,
        &peer(HASH, 1, 0, Event::None),
        "/announce/key",
        &mut good,
    );
    for end in 0..98 {
        caller.send(&good[..end]);
        if end >= 16 {
            let reply = caller.receive();
            assert_eq!(reply[..8], [0, 0, 0, 3, 0, 0, 0, 1], "cut at {end}");
        }
    }
    caller.assert_silence();
    assert_eq!(site.stats("")["torrents"], 0);
    for end in 98..good.len() {
        caller.send(&good[..end]);
        assert_eq!(caller.receive()[3], 1, "cut at {end}");
    }
    for room in [1_000, 10_000, 60_000] {
        good.resize(room, 0xff);
        caller.send(&good);
        assert_eq!(caller.receive()[3], 1, "{room} bytes");
    }
    assert_eq!(site.scrape(HASH).complete, 1);
}

#[test]
fn random_packets_are_met_with_silence() {
    let site = Site::start(&[]);
    let mut caller = Caller::new("127.0.0.1", site.at[0]);
    let mut rng = fastrand::Rng::with_seed(15);
    for round in 0..20_000 {
        let mut packet = vec![0; rng.usize(..200)];
        rng.fill(&mut packet);
        if packet.len() >= 16 {
            // One of 2^32 would be a connect.
            packet[0] |= 1;
            if rng.bool() {
                packet[8..12].copy_from_slice(&[0, 0, 0, rng.u8(..5)]);
            }
        }
        caller.send(&packet);
        if round % 100 == 0 {
            // Also keeps the queue of the socket short.
            caller.assert_silence();
        }
    }
    caller.assert_silence();
    let stats = site.stats("");
    assert_eq!(
        (&stats["announces"], &stats["scrapes"], &stats["errors"]),
        (&0.into(), &0.into(), &0.into())
    );
    caller.announce(&peer(HASH, 1, 0, Event::None)).unwrap();
}

#[test]
fn random_announces_of_the_proven_are_answered_in_bounds() {
    let site = Site::start(&[]);
    let mut caller = Caller::new("127.0.0.1", site.at[0]);
    let mut rng = fastrand::Rng::with_seed(41);
    for _ in 0..5_000 {
        let mut packet = vec![0; rng.usize(16..400)];
        rng.fill(&mut packet);
        packet[..8].copy_from_slice(&caller.id.to_be_bytes());
        packet[8..12].copy_from_slice(&[0, 0, 0, rng.u8(1..3)]);
        if packet.len() > 84 {
            packet[80..84].copy_from_slice(&[0, 0, 0, rng.u8(..5)]);
        }
        caller.send(&packet);
        let reply = caller.receive();
        assert!(reply.len() <= MAX_REPLY && reply[4..8] == packet[12..16]);
    }
    caller.announce(&peer(HASH, 1, 0, Event::None)).unwrap();
}

#[test]
fn a_flood_costs_no_memory_and_the_service_goes_on() {
    let site = Site::start(&[]);
    let mut caller = Caller::new("127.0.0.1", site.at[0]);
    caller.announce(&peer(HASH, 1, 0, Event::None)).unwrap();
    let before = peak_memory(site.process.pid()).unwrap();
    let flood = Caller::stranger("127.0.0.5", site.at[0]);
    let mut connect = Vec::new();
    write_connect(1, &mut connect);
    let mut announce = Vec::new();
    for n in 0..100_000_u64 {
        announce.clear();
        let request = AnnounceRequest::new(InfoHash([n as u8; 20]), PeerId([1; 20]), 1);
        write_announce(n, 1, &request, "", &mut announce);
        // Nobody reads the answers.
        flood.send(if n % 2 == 0 { &connect } else { &announce });
    }
    // The flood may have taken the place of a question, so it is asked until it is heard.
    let patient = UdpSocket::bind("127.0.0.1:0").unwrap();
    patient.connect(site.at[0]).unwrap();
    patient
        .set_read_timeout(Some(std::time::Duration::from_millis(200)))
        .unwrap();
    let heard = (0..600).any(|_| {
        patient.send(&connect).unwrap();
        patient.recv(&mut [0; 64]).is_ok()
    });
    assert!(heard);
    let after = peak_memory(site.process.pid()).unwrap();
    assert!(after < before + (1 << 20), "{before} {after}");
    assert_eq!(site.scrape(HASH).complete, 1);
}

//! The tracker as peers, scripts and strangers meet it: the real program, over real sockets.

#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use hivebt::base::id::{InfoHash, PeerId};
use hivebt::base::json::{Value, json};
use hivebt::proto::tracker::http::announce_url;
use hivebt::proto::tracker::{AnnounceRequest, Event, ReplyError, Retry};
use rustix::process::Signal;
use support::announce::{Site, at, peer, reason, write_list};
use support::ours::{LIMIT, program};
use support::tempdir::TempDir;

const HASH: InfoHash = InfoHash([0xa1; 20]);

#[test]
fn peers_find_each_other() {
    let site = Site::start(&[]);
    let seeder = site
        .announce("127.0.0.1", &peer(HASH, 1, 0, Event::Started))
        .unwrap();
    assert_eq!((seeder.peers, seeder.complete), (vec![], Some(1)));
    let leecher = site
        .announce("127.0.0.2", &peer(HASH, 2, 99, Event::Started))
        .unwrap();
    assert_eq!(leecher.peers, [at("127.0.0.1:7001")]);
    assert_eq!((leecher.complete, leecher.incomplete), (Some(1), Some(1)));
    assert!(
        (1..=300).contains(&leecher.interval),
        "{}",
        leecher.interval
    );
    assert!(leecher.min_interval.unwrap() <= leecher.interval);
    assert_eq!(leecher.external_ip, Some("127.0.0.2".parse().unwrap()));
    let seeder = site
        .announce("127.0.0.1", &peer(HASH, 1, 0, Event::None))
        .unwrap();
    assert_eq!(seeder.peers, [at("127.0.0.2:7002")]);
}

#[test]
fn a_reply_in_dictionaries_names_ids_unless_they_are_not_wanted() {
    let site = Site::start(&[]);
    let odd = AnnounceRequest {
        peer_id: PeerId(*b"a:b:\0\xff::::::::::::::"),
        ..peer(HASH, 1, 0, Event::Started)
    };
    site.announce("127.0.0.1", &odd).unwrap();
    let mut asker = peer(HASH, 2, 9, Event::Started);
    asker.compact = Some(false);
    let reply = site.announce("127.0.0.1", &asker).unwrap();
    assert_eq!(
        (reply.peers, reply.peer_ids),
        (vec![at("127.0.0.1:7001")], vec![odd.peer_id])
    );
    asker.no_peer_id = true;
    let reply = site.announce("127.0.0.1", &asker).unwrap();
    assert_eq!((reply.peers.len(), reply.peer_ids), (1, vec![]));
}

#[test]
fn what_is_missing_or_wrong_is_told_in_a_bencoded_failure() {
    let site = Site::start(&[]);
    let (head, body) = site.get("/announce?info_hash=test_hash&peer_id=test_peer&port=6881");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let text = String::from_utf8(body).unwrap();
    assert_eq!(
        text,
        "d14:failure reason37:info_hash must be 20 bytes, this is 98:retry in5:nevere"
    );
    for (path, named) in [
        ("/announce", "info_hash is missing"),
        (
            "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa",
            "peer_id is missing",
        ),
        (
            "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb",
            "port is missing",
        ),
        ("/scrape", "info_hash is missing"),
        (
            "/scrape?info_hash=%zz",
            "info_hash is not percent-encoded correctly",
        ),
    ] {
        let (head, body) = site.get(path);
        assert!(head.contains("200 OK"), "{head}");
        let text = String::from_utf8(body).unwrap();
        assert!(
            text.starts_with("d14:failure reason") && text.contains(named),
            "{text}"
        );
    }
    assert_eq!(site.stats("")["errors"], 6);
    assert_eq!(site.stats("")["torrents"], 0);
}

#[test]
fn info_hashes_that_are_no_text_stay_apart() {
    let site = Site::start(&[]);
    let hashes = [[0xff; 20], [0xfe; 20], [0x80; 20], [0; 20]].map(InfoHash);
    for (n, hash) in (1..).zip(hashes) {
        let reply = site
            .announce("127.0.0.1", &peer(hash, n, 5, Event::Started))
            .unwrap();
        assert_eq!(reply.peers, []);
    }
    assert_eq!(site.stats("")["torrents"], 4);
}

#[test]
fn the_events_do_what_they_say() {
    let site = Site::start(&[]);
    let say = |n, left, event| {
        site.announce("127.0.0.1", &peer(HASH, n, left, event))
            .unwrap()
    };
    let counts = || {
        let stats = site.scrape(HASH);
        (stats.complete, stats.downloaded, stats.incomplete)
    };
    say(1, 9, Event::Stopped);
    assert_eq!(site.stats("")["torrents"], 0, "stopped never creates");
    say(1, 0, Event::Started);
    assert_eq!(counts(), (1, 0, 0), "left=0 is a seeder whatever the event");
    say(2, 9, Event::Started);
    assert_eq!(counts(), (1, 0, 1));
    say(2, 0, Event::Completed);
    say(2, 0, Event::Completed);
    assert_eq!(counts(), (2, 1, 0), "completed counts once");
    say(2, 0, Event::None);
    say(1, 0, Event::Stopped);
    assert_eq!(counts(), (1, 1, 0));
    say(2, 0, Event::Stopped);
    assert_eq!(counts(), (0, 1, 0), "the count outlives the peers");
    assert_eq!(site.stats("")["torrents"], 0);
}

#[test]
fn as_many_peers_come_as_are_wanted_and_allowed() {
    let site = Site::start(&["--max-peers", "30"]);
    for n in 0..100 {
        site.announce("127.0.0.1", &peer(HASH, n, 5, Event::Started))
            .unwrap();
    }
    let told = |numwant| {
        let asker = AnnounceRequest {
            numwant,
            ..peer(HASH, 7, 5, Event::None)
        };
        let peers = site.announce("127.0.0.1", &asker).unwrap().peers;
        let distinct: BTreeSet<_> = peers.iter().collect();
        assert_eq!(distinct.len(), peers.len());
        assert!(
            !distinct.contains(&at("127.0.0.1:7007")),
            "the asker gets itself"
        );
        peers.len()
    };
    assert_eq!(
        (told(Some(0)), told(Some(3)), told(None), told(Some(500))),
        (0, 3, 30, 30)
    );
}

#[test]
fn ipv4_and_ipv6_of_a_peer_are_one_peer() {
    let site = Site::listening(&["127.0.0.1:0", "[::1]:0"], &[]);
    site.announce("127.0.0.1", &peer(HASH, 1, 9, Event::Started))
        .unwrap();
    site.announce("::1", &peer(HASH, 1, 9, Event::Started))
        .unwrap();
    site.announce("::1", &peer(HASH, 2, 9, Event::Started))
        .unwrap();
    assert_eq!(site.scrape(HASH).incomplete, 2);
    let told = site
        .announce("127.0.0.1", &peer(HASH, 3, 9, Event::Started))
        .unwrap();
    assert_eq!(told.peers, [at("127.0.0.1:7001"), at("[::1]:7002")]);
    let told = site
        .announce("::1", &peer(HASH, 3, 9, Event::Started))
        .unwrap();
    let told: BTreeSet<_> = told.peers.into_iter().collect();
    assert_eq!(told, BTreeSet::from([at("[::1]:7001"), at("[::1]:7002")]));
    assert_eq!(told.len(), 2);
}

#[test]
fn one_listener_serves_both_families() {
    let site = Site::listening(&["[::]:0"], &[]);
    let port = site.at[0].port();
    let both = Site {
        process: site.process,
        at: vec![
            SocketAddr::from(([127, 0, 0, 1], port)),
            at(&format!("[::1]:{port}")),
        ],
    };
    both.announce("::1", &peer(HASH, 1, 0, Event::Started))
        .unwrap();
    let reply = both
        .announce("127.0.0.1", &peer(HASH, 2, 9, Event::Started))
        .unwrap();
    assert_eq!(reply.external_ip, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(reply.peers, [at("[::1]:7001")]);
}

#[test]
fn an_address_that_a_peer_names_counts_only_if_it_is_trusted() {
    let named = |n| AnnounceRequest {
        ip: Some("10.1.1.1".parse().unwrap()),
        ..peer(HASH, n, 9, Event::Started)
    };
    let told = |site: &Site| {
        let asker = AnnounceRequest {
            event: Event::None,
            ..peer(HASH, 99, 9, Event::None)
        };
        site.announce("127.0.0.1", &asker).unwrap().peers
    };
    let site = Site::start(&[]);
    site.announce_with("127.0.0.1", &named(1), "X-Forwarded-For: 10.2.2.2\r\n")
        .unwrap();
    assert_eq!(
        told(&site),
        [at("127.0.0.1:7001")],
        "an undeclared proxy is believed nothing"
    );
    site.announce("127.0.0.1", &named(1)).unwrap();
    assert_eq!(
        told(&site),
        [at("10.1.1.1:7001")],
        "who sits on this host may name an address"
    );

    let site = Site::start(&["--trust-proxy", "127.0.0.0/8"]);
    let forwarded = "X-Forwarded-For: 10.3.3.3, 10.2.2.2\r\n";
    let reply = site
        .announce_with("127.0.0.1", &named(1), forwarded)
        .unwrap();
    assert_eq!(reply.external_ip, Some("10.2.2.2".parse().unwrap()));
    assert_eq!(
        told(&site),
        [at("10.2.2.2:7001")],
        "the last hop that is no proxy, not what it names"
    );
}

#[test]
fn a_peer_behind_a_mapped_address_is_told_of_at_the_other_one() {
    let options = [
        "--map",
        "127.0.0.2=192.0.2.7",
        "--map",
        "127.0.1.0/24=[2001:db8::7]",
    ];
    let site = Site::start(&options);
    for (n, ip) in [(1, "127.0.0.2"), (2, "127.0.1.9"), (3, "127.0.0.3")] {
        site.announce(ip, &peer(HASH, n, 9, Event::Started))
            .unwrap();
    }
    let told = |ip| {
        let asker = peer(HASH, 9, 0, Event::Started);
        let peers = site.announce(ip, &asker).unwrap().peers;
        peers.into_iter().collect::<BTreeSet<_>>()
    };
    let mapped = [at("192.0.2.7:7001"), at("[2001:db8::7]:7002")];
    let all = BTreeSet::from([mapped[0], mapped[1], at("127.0.0.3:7003")]);
    assert_eq!(told("127.0.0.4"), all);
    // One that is mapped itself is elsewhere, where loopback means another host.
    assert_eq!(told("127.0.0.2"), BTreeSet::from(mapped));
}

#[test]
fn the_policy_near_tells_of_the_zone_first_and_reads_zones_again_when_told() {
    let dir = TempDir::new("zones");
    let file = dir.join("zones");
    std::fs::write(&file, "10.0.0.0/16 east # the old hall\n10.1.0.0/16 west\n").unwrap();
    let site = Site::start(&["--policy", "near", "--zones", file.to_str().unwrap()]);
    // Whoever sits on this host may name an address; each has a subnet of its own.
    let ask = |n: u8, left| {
        let request = AnnounceRequest {
            ip: Some([10, n % 4, n, 1].into()),
            numwant: Some(20),
            ..peer(HASH, n, left, Event::None)
        };
        site.announce("127.0.0.1", &request).unwrap().peers
    };
    (0..200).for_each(|n| drop(ask(n, 9)));
    let of_hall = |peers: &[SocketAddr], hall: &str| {
        let told = peers.iter().map(ToString::to_string);
        told.filter(|addr| addr.starts_with(hall)).count()
    };
    assert_eq!(
        of_hall(&ask(4, 9), "10.0."),
        15,
        "and a quarter from elsewhere"
    );
    assert_eq!(of_hall(&ask(5, 9), "10.1."), 15);
    std::fs::write(&file, "10.0.0.0/16 west\n10.3.0.0/16 west\n").unwrap();
    let mark = site.process.mark();
    site.process.signal(Signal::HUP);
    let again = |_, line: &str| line.contains("zones read again").then_some(());
    let what = "the zones to be read again";
    site.process.wait_since(mark, what, LIMIT, again);
    let mut of_other = 0;
    // One stretch of the zone after the other is told.
    for _ in 0..10 {
        let told = ask(4, 9);
        assert_eq!(of_hall(&told, "10.0.") + of_hall(&told, "10.3."), 15);
        of_other += of_hall(&told, "10.3.");
    }
    assert!(of_other > 0, "the other hall is of the zone now");
    std::fs::write(&file, "10.0.0.0/16\n").unwrap();
    let mark = site.process.mark();
    site.process.signal(Signal::HUP);
    let bad = |_, line: &str| line.contains("line 1: no zone").then(|| line.to_owned());
    let line = site
        .process
        .wait_since(mark, "the bad line to be told", LIMIT, bad);
    assert!(line.contains("the old zones stay"), "{line}");
}

#[test]
fn one_address_has_so_many_peers_and_others_are_not_held_up() {
    let site = Site::start(&["--max-per-address", "3"]);
    let ask = |ip: [u8; 4], n| {
        let request = AnnounceRequest {
            ip: Some(ip.into()),
            ..peer(HASH, n, 9, Event::Started)
        };
        site.announce("127.0.0.1", &request)
    };
    for n in 0..3 {
        ask([10, 0, 0, 2], n).unwrap();
    }
    assert!(reason(ask([10, 0, 0, 2], 3)).contains("too many peers"));
    ask([10, 0, 0, 2], 2).unwrap();
    ask([10, 0, 0, 3], 3).unwrap();
    // The tracker's own host may have any number.
    (10..20).for_each(|n| drop(ask([127, 0, 0, 2], n).unwrap()));
}

#[test]
fn a_connection_is_kept_and_requests_may_come_ahead() {
    let site = Site::start(&[]);
    let mut stream = site.connect("127.0.0.1");
    let path = announce_url("/announce", &peer(HASH, 1, 0, Event::Started));
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
    stream.write_all(request.repeat(50).as_bytes()).unwrap();
    let last = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n");
    stream.write_all(last.as_bytes()).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 51);
    assert_eq!(site.stats("")["announces"], 51);
}

#[test]
fn nonsense_is_answered_and_hurts_nobody() {
    let site = Site::start(&[]);
    for (bytes, status) in [
        (&b"\0\xff nonsense\n\n"[..], "400"),
        (b"GET /announce\r\n\r\n", "400"),
        (
            b"GET /announce HTTP/1.1\r\nGET /announce HTTP/1.1\r\n\r\n",
            "400",
        ),
        (b"DELETE /announce HTTP/1.1\r\n\r\n", "405"),
        (
            b"HEAD /announce HTTP/1.1\r\nConnection: close\r\n\r\n",
            "405",
        ),
        (&[b'a'; 20_000], "431"),
    ] {
        let answer = site.exchange("127.0.0.1", bytes);
        let start = format!("HTTP/1.1 {status} ");
        assert!(
            answer.starts_with(start.as_bytes()),
            "{}",
            answer.escape_ascii()
        );
    }
    let half = site.connect("127.0.0.1");
    site.announce("127.0.0.1", &peer(HASH, 1, 0, Event::Started))
        .unwrap();
    drop(half);
    assert_eq!(site.stats("")["announces"], 1);
}

#[test]
fn statistics_are_what_the_contract_says() {
    let site = Site::start(&[]);
    site.announce("127.0.0.1", &peer(HASH, 1, 0, Event::Completed))
        .unwrap();
    site.announce("127.0.0.1", &peer(HASH, 2, 1000, Event::Started))
        .unwrap();
    site.announce("127.0.0.1", &peer(HASH, 2, 250, Event::None))
        .unwrap();
    let mut stats = site.stats("");
    assert!(stats["uptime"].is_u64() && stats["version"] == env!("CARGO_PKG_VERSION"));
    stats["uptime"] = Value::Null;
    stats["version"] = Value::Null;
    let expected = json!({
        "version": null, "uptime": null, "torrents": 1, "peers": 2, "seeders": 1, "leechers": 1,
        "completed": 1, "announces": 3, "scrapes": 0, "errors": 0,
    });
    assert_eq!(stats, expected);
    let swarms = &site.stats("?mode=everything")["swarms"];
    let expected = json!([{
        "info_hash": HASH.to_string(), "name": null, "seeders": 1, "leechers": 1, "completed": 1, "progress": [75],
    }]);
    assert_eq!(*swarms, expected);
}

#[test]
fn the_other_paths_answer_or_do_not_exist() {
    let site = Site::start(&[]);
    let (head, body) = site.get("/healthz");
    assert!(
        head.starts_with("HTTP/1.1 200 OK") && body == b"ok\n",
        "{head}"
    );
    site.announce("127.0.0.1", &peer(HASH, 1, 0, Event::Started))
        .unwrap();
    let (head, body) = site.get("/");
    assert!(
        head.contains(" 200 ") && String::from_utf8(body).unwrap().contains(&HASH.to_string()),
        "{head}"
    );
    for path in [
        "/nowhere",
        "/announce/",
        "/announce/key",
        "/stats/",
        "//",
        "/%00",
        "/metrics/",
        "/page.html",
    ] {
        let (head, _) = site.get(path);
        assert!(head.contains(" 404 "), "{path}: {head}");
    }
}

#[test]
fn lists_say_what_is_served_and_are_read_again_when_told() {
    let dir = TempDir::new("lists");
    let (allow, deny) = (dir.join("allow"), dir.join("deny"));
    let other = InfoHash([0xb2; 20]);
    write_list(&allow, &[HASH]);
    write_list(&deny, &[]);
    let lists = [
        "--allow",
        allow.to_str().unwrap(),
        "--deny",
        deny.to_str().unwrap(),
    ];
    let site = Site::start(&lists);
    let ask = |hash| site.announce("127.0.0.1", &peer(hash, 1, 9, Event::Started));
    assert!(ask(HASH).is_ok());
    let refusal = ask(other).unwrap_err();
    assert!(
        matches!(&refusal, ReplyError::Refused(r) if r.retry == Retry::Unsaid),
        "{refusal:?}"
    );
    assert!(reason(ask(other)).contains("does not serve"));
    assert_eq!(site.scrape(other).incomplete, 0);
    write_list(&allow, &[HASH, other]);
    write_list(&deny, &[HASH]);
    let mark = site.process.mark();
    site.process.signal(Signal::HUP);
    let again = |_, line: &str| line.contains("lists read again").then_some(());
    site.process
        .wait_since(mark, "the lists to be read again", LIMIT, again);
    assert!(ask(other).is_ok());
    assert!(ask(HASH).is_err());
    std::fs::write(&allow, "no hash\n").unwrap();
    let mark = site.process.mark();
    site.process.signal(Signal::HUP);
    let told = |_, line: &str| line.contains("line 1").then(|| line.to_owned());
    let line = site
        .process
        .wait_since(mark, "the bad list to be told", LIMIT, told);
    assert!(line.contains("the old lists stay"), "{line}");
    assert!(ask(other).is_ok());
}

#[test]
fn it_ends_well_when_told_and_starts_again_on_the_same_port() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut site = Site::start(&[]);
        site.announce("127.0.0.1", &peer(HASH, 1, 0, Event::Started))
            .unwrap();
        // A connection that lies open does not hold it up.
        let open = site.connect("127.0.0.1");
        site.process.signal(signal);
        let ended = site.process.wait(LIMIT);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let again = Site::listening(&[&site.at[0].to_string()], &[]);
        assert_eq!(again.stats("")["torrents"], 0);
        let reply = again
            .announce("127.0.0.1", &peer(HASH, 1, 0, Event::None))
            .unwrap();
        assert_eq!(reply.complete, Some(1), "no event is needed to come back");
        drop(open);
    }
}

#[test]
fn running_out_of_descriptors_does_not_end_the_service() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 28 && exec \"$0\" -l 127.0.0.1:0"]);
    command.arg(program("tracker"));
    let site = Site::running(command, 1);
    let idle: Vec<_> = (0..200).map(|_| site.connect("127.0.0.1")).collect();
    for n in 0..20 {
        site.announce("127.0.0.1", &peer(HASH, n, 9, Event::Started))
            .unwrap();
    }
    assert_eq!(site.scrape(HASH).incomplete, 20);
    drop(idle);
    // Pages may fail while there is no descriptor for them, but come back.
    let (end, mut head) = (Instant::now() + LIMIT, String::new());
    while !head.contains(" 200 ") {
        assert!(Instant::now() < end, "{head}");
        head = site.get("/stats").0;
    }
}

//! Other people's clients on our tracker, over UDP and HTTP; and opentracker, which answers as ours does but for what [`Answer::of`] and [`as_ours`] say.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

use hivebt::base::id::{InfoHash, PeerId};
use hivebt::proto::tracker::http::{announce_url, parse_announce};
use hivebt::proto::tracker::{AnnounceReply, AnnounceRequest, Event};

use crate::network;
use crate::pairs::assert_arrived;
use crate::support::announce::{Site, peer};
use crate::support::datagrams::Caller;
use crate::support::foreign::{Client, missing_program, opentracker};
use crate::support::hosts::Network;
use crate::support::ours::{LIMIT, Torrent, Tracker};
use crate::support::process::{run, run_ok};
use crate::support::say::{say, skip};
use crate::support::tempdir::TempDir;
use crate::support::{http, payload};

const HASH: InfoHash = InfoHash([0xa7; 20]);

/// Two of `client` find each other through our tracker, which they know by a UDP URL alone.
fn they_meet_over_udp(client: Client) {
    let Some(network) = network(3, [client.missing()]) else {
        return;
    };
    let dir = TempDir::new("over-udp");
    let tracker = Tracker::start(network.host(0), 8080, &[]);
    let file = dir.join("from/payload.bin");
    payload::file(&file, 1 << 20, 5);
    let url = format!("udp://{}/announce", tracker.address);
    let torrent = Torrent::create(&file, &url, &[]);
    let home = dir.folder("home of the seeder");
    let seeder = client.seed(network.host(1), &torrent.file, &torrent.parent, &home);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder);
    let (to, home) = (dir.folder("to"), dir.folder("home of the leecher"));
    let leecher = client.get(network.host(2), &torrent.file, &to, &home);
    client.finish(leecher, LIMIT);
    assert_arrived(client, &torrent, &to);
}

#[test]
#[ignore = "needs aria2c and root; `make interop` runs it"]
fn aria2_peers_meet_over_udp() {
    they_meet_over_udp(Client::Aria2);
}

#[test]
#[ignore = "needs transmission-daemon and root; `make interop` runs it"]
fn transmission_peers_meet_over_udp() {
    they_meet_over_udp(Client::Transmission);
}

#[test]
#[ignore = "needs libtorrent for Python and root; `make interop` runs it"]
fn libtorrent_peers_meet_over_udp() {
    they_meet_over_udp(Client::Libtorrent);
}

#[test]
#[ignore = "needs node and npm; `make interop` runs it"]
fn the_client_of_npms_bittorrent_tracker_finds_a_seeder() {
    let missing = ["node", "npm"].into_iter().find_map(missing_program);
    if let Some(missing) = missing {
        skip(missing);
        return;
    }
    let dir = TempDir::new("npm");
    let mut install = Command::new("npm");
    // Without what only WebRTC needs, which would be compiled.
    install.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
    install.args(["--omit=optional", "bittorrent-tracker@11", "--prefix"]);
    install.arg(dir.path());
    let installed = run("npm", install, LIMIT);
    if installed.code != 0 {
        say("skipped: npm cannot install bittorrent-tracker");
        return;
    }
    let site = Site::listening(&["127.0.0.1:0", "[::1]:0"], &[]);
    for ip in ["127.0.0.1", "::1"] {
        site.announce(ip, &peer(HASH, 1, 0, Event::Started))
            .unwrap();
    }
    // Its sockets for datagrams are of IPv4 only.
    for (scheme, at) in [
        ("udp", site.at[0]),
        ("http", site.at[0]),
        ("http", site.at[1]),
    ] {
        let url = format!("{scheme}://{at}/announce");
        let mut command = Command::new("node");
        command.arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/support/bittorrent_tracker.mjs"
        ));
        command.arg(dir.path()).args([&url, &HASH.to_string()]);
        let said = run_ok("bittorrent-tracker", command, LIMIT);
        let seeder = SocketAddr::new(at.ip(), 7001);
        assert!(said.contains(&format!("peer {seeder}")), "{url}: {said}");
        assert!(
            said.contains(r#"update {"complete":1,"incomplete":1}"#),
            "{url}: {said}"
        );
    }
}

/// What a tracker says that does not depend on its mood: counts, and who is told of.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    seeders: Option<u32>,
    leechers: Option<u32>,
    peers: BTreeSet<SocketAddr>,
}

impl Answer {
    /// Of the answer to a peer at `asker`, which opentracker tells of itself, too: it knows peers by their addresses, and looks at nobody's when it
    /// chooses.
    fn of(reply: AnnounceReply, asker: SocketAddr) -> Self {
        let others = reply.peers.into_iter().filter(|peer| *peer != asker);
        Self {
            seeders: reply.complete,
            leechers: reply.incomplete,
            peers: others.collect(),
        }
    }
}

/// The life of a small swarm. A peer is its number: it decides its id and its port.
fn life() -> Vec<AnnounceRequest> {
    let with = |n, left, event, numwant| AnnounceRequest {
        numwant,
        peer_id: PeerId([b'a' + n; 20]),
        ..peer(HASH, n, left, event)
    };
    vec![
        with(1, 9, Event::Stopped, None),
        with(1, 0, Event::Started, None),
        with(2, 9, Event::Started, None),
        with(3, 9, Event::Started, Some(50)),
        with(2, 5, Event::None, None),
        with(2, 0, Event::Completed, None),
        with(3, 9, Event::None, Some(10)),
        with(3, 0, Event::None, None),
        with(3, 9, Event::None, None),
        with(1, 0, Event::Stopped, None),
        with(4, 9, Event::Started, None),
        with(4, 9, Event::Stopped, None),
        with(2, 0, Event::Stopped, None),
        with(3, 9, Event::Stopped, None),
    ]
}

/// How a tracker answers the whole of it.
fn answers(network: &Network, tracker: &Tracker, udp: bool) -> Vec<Answer> {
    let (at, ip) = (tracker.address, network.host(1).address);
    network.host(1).within(|| {
        let mut caller = udp.then(|| Caller::new(&ip.to_string(), at));
        let mut answers = Vec::new();
        for request in life() {
            let reply = match &mut caller {
                Some(caller) => caller.announce(&request),
                None => {
                    let (_, body) = http::get(at, &announce_url("/announce", &request)).unwrap();
                    parse_announce(&body)
                }
            };
            let asker = SocketAddr::from((ip, request.port));
            answers.push(Answer::of(reply.unwrap(), asker));
        }
        answers
    })
}

/// Seeders that ask are told of no seeders by ours, unless they may have nothing but a magnet link: then they say no event and have moved nothing.
/// opentracker tells everybody of anybody. Who stops is told of nobody by either.
fn as_ours(mut answer: Answer, request: &AnnounceRequest, seeders: &BTreeSet<u16>) -> Answer {
    let moved = request.uploaded > 0 || request.downloaded > 0;
    if request.left == Some(0) && (moved || request.event != Event::None) {
        answer.peers.retain(|peer| !seeders.contains(&peer.port()));
    }
    answer
}

#[test]
#[ignore = "needs opentracker and root; `make interop` runs it"]
fn opentracker_answers_the_same_announces_the_same_way() {
    let Some(network) = network(2, [missing_program("opentracker")]) else {
        return;
    };
    let dir = TempDir::new("beside-opentracker");
    for udp in [true, false] {
        let ours = Tracker::start(network.host(0), 8080, &[]);
        let hash = HASH.to_string();
        let theirs = opentracker(network.host(0), 6969, &[&hash], &dir);
        let ours = answers(&network, &ours, udp);
        let theirs = answers(&network, &theirs, udp);
        let mut seeders = BTreeSet::new();
        for ((request, ours), theirs) in life().iter().zip(ours).zip(theirs) {
            let carrier = if udp { "UDP" } else { "HTTP" };
            assert_eq!(
                ours,
                as_ours(theirs, request, &seeders),
                "over {carrier}: {:?} of {} who wants {:?}",
                request.event,
                request.port,
                request.left
            );
            if request.left == Some(0) && request.event != Event::Stopped {
                seeders.insert(request.port);
            } else {
                seeders.remove(&request.port);
            }
        }
    }
}

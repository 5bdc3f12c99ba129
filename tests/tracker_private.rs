//! A private tracker as its users and its operator meet it: the real program, over real sockets.

#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::process::Command;

use hivebt::base::id::{InfoHash, PeerId};
use hivebt::proto::tracker::http::{parse_announce, parse_scrape, scrape_url};
use hivebt::proto::tracker::{AnnounceReply, AnnounceRequest, Event, ReplyError, Retry};
use rustix::process::Signal;
use support::announce::{Site, peer};
use support::ours::{LIMIT, program};
use support::process::run;
use support::tempdir::TempDir;

const HASH: InfoHash = InfoHash([0xa1; 20]);
const ALICE: &str = "6f1e0c5ab28d4f7e9a3b5c7d1e2f4a6b";
const BOB: &str = "0d4c2b1a99887766554433221100ffee";

/// A private tracker with this file of keys.
struct Club {
    site: Site,
    dir: TempDir,
}

impl Club {
    fn open(keys: &str, options: &[&str]) -> Self {
        let dir = TempDir::new("private");
        let file = dir.join("keys");
        std::fs::write(&file, keys).unwrap();
        let mut all = vec!["--keys", file.to_str().unwrap()];
        all.extend(options);
        let site = Site::start(&all);
        Self { site, dir }
    }

    fn announce(&self, key: &str, request: &AnnounceRequest) -> Result<AnnounceReply, ReplyError> {
        let url = hivebt::proto::tracker::http::announce_url(&format!("/announce{key}"), request);
        parse_announce(&self.site.get(&url).1)
    }

    fn refusal(&self, key: &str, request: &AnnounceRequest) -> String {
        match self.announce(key, request) {
            Err(ReplyError::Refused(refusal)) => refusal.reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Writes new keys, sends SIGHUP and waits for `told`.
    fn change_keys(&self, keys: &str, told: &str) -> String {
        std::fs::write(self.dir.join("keys"), keys).unwrap();
        let mark = self.site.process.mark();
        self.site.process.signal(Signal::HUP);
        let find = |_, line: &str| line.contains(told).then(|| line.to_owned());
        self.site.process.wait_since(mark, told, LIMIT, find)
    }
}

fn seeder(n: u8) -> AnnounceRequest {
    peer(HASH, n, 0, Event::Started)
}

#[test]
fn only_who_has_a_key_comes_in_and_is_told_why_not() {
    let club = Club::open(&format!("{ALICE} alice\n{BOB} bob disabled\n"), &[]);
    assert!(club.announce(&format!("/{ALICE}"), &seeder(1)).is_ok());
    for (key, reason) in [
        (String::new(), "must end with your key"),
        ("/".into(), "must end with your key"),
        ("/unknown-key".into(), "does not know your key"),
        (format!("/{ALICE}x"), "does not know your key"),
        (format!("/{ALICE}/"), "does not know your key"),
        (format!("/{BOB}"), "your key is disabled"),
    ] {
        let told = club.refusal(&key, &seeder(2));
        assert!(told.contains(reason), "{key}: {told}");
        assert!(!told.contains(ALICE) && !told.contains(BOB), "{told}");
    }
    let scrape = |key: &str| {
        club.site
            .get(&scrape_url(&format!("/scrape{key}"), &[HASH]))
            .1
    };
    let counts = parse_scrape(&scrape(&format!("/{ALICE}"))).unwrap();
    assert_eq!(counts[0].1.complete, 1);
    assert!(parse_scrape(&scrape("")).is_err() && parse_scrape(&scrape("/nobody")).is_err());
    let stats = club.site.stats("?mode=everything").to_string();
    assert!(
        stats.contains("\"errors\":8") && !stats.contains(ALICE),
        "{stats}"
    );
}

#[test]
fn keys_are_read_again_when_told_and_a_bad_file_changes_nothing() {
    let club = Club::open(&format!("{ALICE} alice\n"), &["-v"]);
    let (alice, bob) = (format!("/{ALICE}"), format!("/{BOB}"));
    assert!(club.announce(&bob, &seeder(2)).is_err());
    club.change_keys(&format!("{BOB} bob\n"), "keys read again");
    assert!(club.announce(&bob, &seeder(2)).is_ok());
    assert!(club.announce(&alice, &seeder(1)).is_err());
    let line = club.change_keys(
        &format!("# {ALICE}\n{ALICE} alice max-peers=x\n"),
        "error: ",
    );
    assert!(line.contains("line 2, column 40: "), "{line}");
    assert!(
        line.contains("the old keys stay") && !line.contains(ALICE),
        "{line}"
    );
    assert!(club.announce(&bob, &seeder(2)).is_ok());
    assert!(club.announce(&alice, &seeder(1)).is_err());
}

#[test]
fn what_users_move_is_counted_and_who_is_short_may_only_seed() {
    let keys = format!("{ALICE} alice\n{BOB} bob\n");
    let club = Club::open(
        &keys,
        &[
            "--min-ratio",
            "1",
            "--ratio-grace",
            "1K",
            "--max-speed",
            "100G",
        ],
    );
    let (alice, bob) = (format!("/{ALICE}"), format!("/{BOB}"));
    let say = |key: &str, n, counters: (u64, u64, u64), event| {
        let (uploaded, downloaded, left) = counters;
        let request = AnnounceRequest {
            uploaded,
            downloaded,
            ..peer(HASH, n, left, event)
        };
        club.announce(key, &request)
    };
    say(&alice, 1, (0, 0, 0), Event::Started).unwrap();
    say(&bob, 2, (0, 0, 5000), Event::Started).unwrap();
    say(&bob, 2, (0, 1000, 4000), Event::None).unwrap();
    let short = |outcome| match outcome {
        Err(ReplyError::Refused(refusal)) => {
            assert_eq!(refusal.retry, Retry::Minutes(15));
            refusal.reason
        }
        other => panic!("not refused: {other:?}"),
    };
    let told = short(say(&bob, 2, (0, 3000, 2000), Event::None));
    assert!(
        told.contains("0 bytes uploaded and 3000 bytes downloaded"),
        "{told}"
    );
    let seen = say(&alice, 1, (3000, 0, 0), Event::None).unwrap();
    assert_eq!(
        (seen.peers, seen.incomplete),
        (vec![], Some(0)),
        "who is refused is not found by others"
    );
    let other = InfoHash([0xb2; 20]);
    let elsewhere = AnnounceRequest {
        left: Some(9),
        ..AnnounceRequest::new(other, PeerId([3; 20]), 9)
    };
    short(club.announce(&bob, &elsewhere));
    let seeding = AnnounceRequest {
        left: Some(0),
        ..elsewhere.clone()
    };
    club.announce(&bob, &seeding).unwrap();
    let leeching = AnnounceRequest {
        peer_id: PeerId([4; 20]),
        ..elsewhere.clone()
    };
    club.announce(&alice, &leeching).unwrap();
    let served = AnnounceRequest {
        downloaded: 3000,
        ..leeching
    };
    club.announce(&alice, &served).unwrap();
    // Twice the same, which changes nothing, and then the truth.
    for uploaded in [2000, 2000] {
        club.announce(
            &bob,
            &AnnounceRequest {
                uploaded,
                ..seeding.clone()
            },
        )
        .unwrap();
    }
    short(say(&bob, 2, (0, 3000, 2000), Event::None));
    club.announce(
        &bob,
        &AnnounceRequest {
            uploaded: 3000,
            ..seeding
        },
    )
    .unwrap();
    let back = say(&bob, 2, (0, 3000, 2000), Event::None).unwrap();
    assert_eq!(back.complete, Some(1));
}

#[test]
fn limits_of_a_key_are_told_and_a_farewell_makes_room() {
    let club = Club::open(&format!("{ALICE} alice max-torrents=2 max-peers=3\n"), &[]);
    let key = format!("/{ALICE}");
    club.announce(&key, &peer(InfoHash([2; 20]), 9, 0, Event::Started))
        .unwrap();
    for n in [1, 2, 1] {
        club.announce(&key, &seeder(n)).unwrap();
    }
    assert_eq!(
        club.refusal(&key, &seeder(3)),
        "your key allows 3 peers at once, and has them"
    );
    club.announce(&key, &peer(HASH, 2, 0, Event::Stopped))
        .unwrap();
    let other = peer(InfoHash([3; 20]), 3, 0, Event::Started);
    assert_eq!(
        club.refusal(&key, &other),
        "your key allows 2 torrents at once, and has them"
    );
    club.announce(&key, &seeder(3)).unwrap();
    let scraped = club
        .site
        .get(&scrape_url(&format!("/scrape{key}"), &[HASH]))
        .1;
    assert_eq!(parse_scrape(&scraped).unwrap()[0].1.complete, 2);
}

#[test]
fn a_new_key_is_made_and_works() {
    let tracker = |options: &[&str]| {
        let mut command = Command::new(program("tracker"));
        command.args(options);
        run("hivebt-tracker", command, LIMIT)
    };
    let made = tracker(&["--new-key", "zoe"]);
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    let club = Club::open(&made.stdout, &[]);
    let key = made.stdout.strip_suffix(" zoe\n").unwrap();
    assert!(key.len() == 32 && club.announce(&format!("/{key}"), &seeder(1)).is_ok());
    let refused = tracker(&["--new-key", "two words"]);
    assert!(
        refused.code == 2 && refused.stderr.contains("--new-key"),
        "{}",
        refused.stderr
    );
    let idle = tracker(&["--min-ratio", "0.5"]);
    assert!(
        idle.code == 2 && idle.stderr.contains("without `--keys`"),
        "{}",
        idle.stderr
    );
}

#[test]
fn mistakes_of_the_operator_are_told_with_the_right_code() {
    let dir = TempDir::new("bad-keys");
    let bad = dir.join("keys");
    std::fs::write(&bad, format!("{ALICE} alice\n{ALICE} bob\n")).unwrap();
    let (bad, gone) = (bad.to_str().unwrap(), dir.join("gone"));
    for (options, code, told) in [
        (
            vec!["--keys", bad],
            3,
            "line 2, column 1: the key of line 1 once more",
        ),
        (
            vec!["--keys", gone.to_str().unwrap()],
            6,
            "cannot read the keys `",
        ),
        (vec!["--keys"], 2, "--keys"),
        (vec!["--min-ratio", "-1"], 2, "--min-ratio"),
        (vec!["--ratio-grace", "much"], 2, "--ratio-grace"),
    ] {
        let mut command = Command::new(program("tracker"));
        command.args(["-l", "127.0.0.1:0"]).args(&options);
        let ended = run("hivebt-tracker", command, LIMIT);
        assert_eq!(ended.code, code, "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        assert!(!ended.stderr.contains(ALICE), "{}", ended.stderr);
    }
}

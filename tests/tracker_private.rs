//! A private tracker as its users and its operator meet it: the real program, over real sockets.

#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::process::Command;

use hivebt::base::id::InfoHash;
use hivebt::proto::tracker::http::{parse_announce, parse_scrape, scrape_url};
use hivebt::proto::tracker::{AnnounceReply, AnnounceRequest, Event, ReplyError};
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
    ] {
        let mut command = Command::new(program("tracker"));
        command.args(["-l", "127.0.0.1:0"]).args(&options);
        let ended = run("hivebt-tracker", command, LIMIT);
        assert_eq!(ended.code, code, "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        assert!(!ended.stderr.contains(ALICE), "{}", ended.stderr);
    }
}

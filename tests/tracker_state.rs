//! What a tracker knows outlives it: the real program, stopped, killed and started again.

#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use hivebt::base::id::InfoHash;
use hivebt::proto::tracker::http::{announce_url, parse_announce};
use hivebt::proto::tracker::{AnnounceReply, AnnounceRequest, Event};
use hivebt::proto::tracker_state::TrackerState;
use rustix::process::Signal;
use support::announce::{Site, peer};
use support::ours::{LIMIT, program};
use support::process::{Ended, run};
use support::tempdir::TempDir;

const HASH: InfoHash = InfoHash([0xa1; 20]);
const ALICE: &str = "6f1e0c5ab28d4f7e9a3b5c7d1e2f4a6b";
const BOB: &str = "0d4c2b1a99887766554433221100ffee";

fn start(file: &Path, options: &[&str]) -> Site {
    let mut all = vec!["--state", file.to_str().unwrap()];
    all.extend(options);
    Site::start(&all)
}

fn fails(file: &Path) -> Ended {
    let mut command = Command::new(program("tracker"));
    command.args(["-l", "127.0.0.1:0", "--state"]).arg(file);
    run("hivebt-tracker", command, LIMIT)
}

/// Waits until the file holds a state for which `holds`.
fn wait_saved(file: &Path, holds: impl Fn(&TrackerState) -> bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        // It is replaced as a whole, so every reader sees a whole one.
        let state = TrackerState::parse(&fs::read(file).unwrap()).unwrap();
        if holds(&state) {
            return;
        }
        assert!(Instant::now() < deadline, "never saved: {state:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn complete(site: &Site, n: u8) {
    site.announce("127.0.0.1", &peer(HASH, n, 9, Event::Started))
        .unwrap();
    site.announce("127.0.0.1", &peer(HASH, n, 0, Event::Completed))
        .unwrap();
}

#[test]
fn counts_outlive_an_orderly_end_and_a_kill() {
    let dir = TempDir::new("state");
    let file = dir.join("state");
    let mut site = start(&file, &[]);
    complete(&site, 1);
    let gone = InfoHash([0xb2; 20]);
    site.announce("127.0.0.1", &peer(gone, 2, 0, Event::Completed))
        .unwrap();
    site.announce("127.0.0.1", &peer(gone, 2, 0, Event::Stopped))
        .unwrap();
    let ended = site.process.stop(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let mut site = start(&file, &["--state-every", "1"]);
    assert_eq!(
        (site.scrape(HASH).downloaded, site.scrape(gone).downloaded),
        (1, 1)
    );
    assert_eq!(
        (
            site.scrape(HASH).complete,
            site.stats("")["completed"].as_u64()
        ),
        (0, Some(2))
    );
    complete(&site, 3);
    assert_eq!(site.scrape(HASH).downloaded, 2);
    wait_saved(&file, |state| state.completed.contains(&(HASH, 2)));
    site.process.kill();
    let site = start(&file, &[]);
    assert_eq!(
        (site.scrape(HASH).downloaded, site.scrape(gone).downloaded),
        (2, 1)
    );
    drop(site);
    let names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(names.len() <= 2, "{names:?}");
}

#[test]
fn peers_outlive_a_kill_if_they_should() {
    let dir = TempDir::new("state-peers");
    let file = dir.join("state");
    let options = ["--state-peers", "--state-every", "1"];
    let mut site = Site::listening(
        &["127.0.0.1:0", "[::1]:0"],
        &[&["--state", file.to_str().unwrap()][..], &options].concat(),
    );
    complete(&site, 1);
    site.announce("::1", &peer(HASH, 1, 0, Event::None))
        .unwrap();
    site.announce("127.0.0.1", &peer(HASH, 2, 1000, Event::Started))
        .unwrap();
    site.announce("127.0.0.1", &peer(HASH, 2, 250, Event::None))
        .unwrap();
    wait_saved(&file, |state| {
        let peers = state.swarms.first().map_or(&[][..], |swarm| &swarm.peers);
        peers.len() == 3 && peers.iter().any(|peer| peer.left == Some(250))
    });
    site.process.kill();
    let mut site = start(&file, &options);
    let counts = site.scrape(HASH);
    assert_eq!(
        (counts.complete, counts.downloaded, counts.incomplete),
        (1, 1, 1)
    );
    assert_eq!(
        site.stats("?mode=everything")["swarms"][0]["progress"][0],
        75
    );
    let reply = site
        .announce("127.0.0.1", &peer(HASH, 3, 9, Event::Started))
        .unwrap();
    let told: Vec<_> = reply.peers.iter().map(std::net::SocketAddr::port).collect();
    assert!(told.contains(&7001) && told.contains(&7002), "{told:?}");
    // Its download was counted in another life.
    site.announce("127.0.0.1", &peer(HASH, 1, 0, Event::Completed))
        .unwrap();
    assert_eq!(site.scrape(HASH).downloaded, 1);
    assert_eq!(site.process.stop(LIMIT).code, 0);
    let site = start(&file, &[]);
    assert_eq!(
        site.stats("")["peers"],
        0,
        "without the option there are none"
    );
}

struct Club {
    site: Site,
    file: PathBuf,
}

impl Club {
    fn open(dir: &TempDir) -> Self {
        let (keys, file) = (dir.join("keys"), dir.join("state"));
        fs::write(&keys, format!("{ALICE} alice\n{BOB} bob\n")).unwrap();
        let options = [
            "--keys",
            keys.to_str().unwrap(),
            "--state-every",
            "1",
            "--max-speed",
            "1000G",
        ];
        Self {
            site: start(&file, &options),
            file,
        }
    }

    fn say(&self, key: &str, n: u8, uploaded: u64, downloaded: u64) -> AnnounceReply {
        let request = AnnounceRequest {
            uploaded,
            downloaded,
            ..peer(HASH, n, 0, Event::None)
        };
        let url = announce_url(&format!("/announce/{key}"), &request);
        parse_announce(&self.site.get(&url).1).unwrap()
    }

    fn wait_sums(&self, expected: &[(&str, u64, u64)]) {
        wait_saved(&self.file, |state| {
            let rows = state.users.iter();
            let rows: Vec<_> = rows
                .map(|u| (u.name.as_str(), u.uploaded, u.downloaded))
                .collect();
            rows == expected
        });
    }
}

#[test]
fn accounts_outlive_a_kill_and_nothing_counts_twice_or_is_lost() {
    let dir = TempDir::new("state-accounts");
    let mut club = Club::open(&dir);
    club.say(ALICE, 1, 0, 0);
    club.say(BOB, 2, 0, 0);
    club.say(BOB, 2, 0, 700);
    club.say(ALICE, 1, 1000, 0);
    let sums = [("alice", 700, 0), ("bob", 0, 700)];
    club.wait_sums(&sums);
    club.site.process.kill();
    // A run that is not private leaves the accounts as they are.
    let mut open = start(&club.file, &[]);
    complete(&open, 9);
    assert_eq!(open.process.stop(LIMIT).code, 0);
    let mut club = Club::open(&dir);
    club.say(ALICE, 1, 1000, 0);
    club.say(BOB, 2, 0, 700);
    club.say(BOB, 2, 0, 950);
    club.wait_sums(&[("alice", 950, 0), ("bob", 0, 950)]);
    assert_eq!(club.site.process.stop(LIMIT).code, 0);
    let show = |file: &Path| {
        let mut command = Command::new(program("tracker"));
        command.arg("--accounts").arg(file);
        run("hivebt-tracker", command, LIMIT)
    };
    let shown = show(&club.file);
    let expected = concat!(
        "{\"user\":\"alice\",\"uploaded\":950,\"downloaded\":0}\n",
        "{\"user\":\"bob\",\"uploaded\":0,\"downloaded\":950}\n"
    );
    assert_eq!((shown.code, shown.stdout.as_str()), (0, expected));
    assert_eq!(
        (show(&dir.join("keys")).code, show(&dir.join("gone")).code),
        (3, 6)
    );
    let text = String::from_utf8_lossy(&fs::read(&club.file).unwrap()).into_owned();
    assert!(
        !text.contains(ALICE) && !text.contains(BOB),
        "no keys in it"
    );
}

#[test]
fn a_damaged_file_is_set_aside_with_a_message_and_never_overwritten() {
    let dir = TempDir::new("state-damaged");
    let file = dir.join("state");
    let mut site = start(&file, &[]);
    complete(&site, 1);
    assert_eq!(site.process.stop(LIMIT).code, 0);
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    let middle = good.len() / 2;
    flipped[middle] ^= 1;
    let cases: [(&[u8], &str); 5] = [
        (&good[..good.len() - 5], "bencoding"),
        (&flipped, ""),
        (b"", "bencoding"),
        (b"d14:hivebt trackeri7ee", "version 7"),
        (b"my shopping list", "bencoding"),
    ];
    for (n, (bytes, why)) in (1..).zip(cases) {
        fs::write(&file, bytes).unwrap();
        let mut site = start(&file, &[]);
        let name = if n == 1 {
            "state.damaged".to_owned()
        } else {
            format!("state.damaged-{n}")
        };
        let line = site.process.wait_line("cannot use the state", LIMIT);
        assert!(line.contains(&name) && line.contains(why), "{line}");
        assert_eq!(fs::read(dir.join(&name)).unwrap(), bytes);
        assert_eq!(site.scrape(HASH).downloaded, 0);
        complete(&site, 1);
        assert_eq!(site.process.stop(LIMIT).code, 0);
        assert_eq!(fs::read(dir.join(&name)).unwrap(), bytes);
        let saved = TrackerState::parse(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(saved.completed, [(HASH, 1)]);
    }
}

#[test]
fn a_second_tracker_finds_the_file_locked() {
    let dir = TempDir::new("state-lock");
    let file = dir.join("state");
    let mut site = start(&file, &[]);
    let ended = fails(&file);
    assert_eq!(ended.code, 75, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("another tracker uses it"),
        "{}",
        ended.stderr
    );
    site.process.kill();
    let _site = start(&file, &[]);
}

#[test]
fn what_cannot_be_written_is_told_at_the_start_and_later_again_and_again() {
    let dir = TempDir::new("state-unwritable");
    for file in [dir.join("no/such/folder/state"), dir.path().to_owned()] {
        let ended = fails(&file);
        assert_eq!(ended.code, 6, "{}", ended.stderr);
        assert!(
            ended.stderr.starts_with("error: cannot "),
            "{}",
            ended.stderr
        );
    }
    let folder = dir.folder("here");
    let file = folder.join("state");
    let site = start(&file, &["--state-every", "1"]);
    // A folder where the new file would be: nobody can write that, not even root.
    fs::create_dir(folder.join("state.new")).unwrap();
    for n in 1..3 {
        complete(&site, n);
        let mark = site.process.mark();
        let told = |_, line: &str| line.contains("tried again in 1 s").then(|| line.to_owned());
        let line = site.process.wait_since(mark, "the failure", LIMIT, told);
        assert!(line.starts_with("error: cannot "), "{line}");
    }
    fs::remove_dir(folder.join("state.new")).unwrap();
    wait_saved(&file, |state| state.completed == [(HASH, 2)]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o111, 0);
    let mut site = site;
    site.process.signal(Signal::INT);
    assert_eq!(site.process.wait(LIMIT).code, 0);
}

#[test]
fn options_that_are_of_no_use_alone_are_refused() {
    for option in [&["--state-peers"][..], &["--state-every", "5"]] {
        let mut command = Command::new(program("tracker"));
        command.args(option);
        let ended = run("hivebt-tracker", command, LIMIT);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(
            ended.stderr.contains("without `--state`"),
            "{}",
            ended.stderr
        );
    }
}

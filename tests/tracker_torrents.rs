//! A folder of torrents that the tracker hands out: the real program, over real sockets.

#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use hivebt::base::id::InfoHash;
use hivebt::base::json::{self, Value};
use hivebt::base::sha1;
use hivebt::proto::tracker::Event;
use support::announce::{Site, peer, write_list};
use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, Tracker, program};
use support::payload;
use support::process::run;
use support::tempdir::TempDir;

/// A torrent whose payload has this name and so many bytes, and its info-hash.
fn torrent(name: &str, bytes: u64) -> (Vec<u8>, InfoHash) {
    let piece = 1 << 20;
    let pieces = bytes.div_ceil(piece) * 20;
    let mut info = format!(
        "d6:lengthi{bytes}e4:name{}:{name}12:piece lengthi{piece}e6:pieces{pieces}:",
        name.len()
    )
    .into_bytes();
    info.resize(info.len() + usize::try_from(pieces).unwrap(), b'x');
    info.push(b'e');
    let hash = InfoHash(sha1::digest(&info));
    ([b"d4:info", &info[..], b"e"].concat(), hash)
}

fn start(folder: &Path, options: &[&str]) -> Site {
    let mut all = vec!["--torrents", folder.to_str().unwrap()];
    all.extend(options);
    Site::start(&all)
}

fn list(site: &Site) -> Vec<Value> {
    let (head, body) = site.get("/torrents/?format=json");
    assert!(head.contains("application/json"), "{head}");
    json::parse(&body).unwrap()["torrents"]
        .as_array()
        .unwrap()
        .clone()
}

/// Waits until the names of the payloads in the list are these.
fn wait_listed(site: &Site, names: &[&str]) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let listed = list(site);
        if listed
            .iter()
            .map(|row| row["name"].as_str().unwrap())
            .eq(names.iter().copied())
        {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{listed:?} never became {names:?}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn torrents_are_listed_handed_out_and_alone_served() {
    let dir = TempDir::new("torrents");
    let (one, hash) = torrent("große <Daten> & \"mehr\"", 5 << 20);
    fs::write(dir.join("a b&c.torrent"), &one).unwrap();
    fs::write(dir.join("readme.txt"), "x").unwrap();
    fs::write(dir.join(".secret.torrent"), torrent("secret", 1).0).unwrap();
    let site = start(dir.path(), &[]);
    let rows = list(&site);
    let expected = json::json!([{
        "file": "a b&c.torrent",
        "url": "/torrents/a%20b%26c.torrent",
        "name": "große <Daten> & \"mehr\"",
        "info_hash": hash.to_string(),
        "total_length": 5 << 20,
        "files": 1,
    }]);
    assert_eq!(Value::Array(rows), expected);
    let (head, body) = site.get("/torrents/a%20b%26c.torrent");
    assert!(head.contains("application/x-bittorrent"), "{head}");
    assert_eq!(body, one);
    let (head, body) = site.get("/torrents/");
    let text = String::from_utf8(body).unwrap();
    assert!(
        head.contains("text/html") && !text.contains("<Daten>") && !text.contains("secret"),
        "{text}"
    );
    assert!(
        text.contains("href=\"/torrents/a%20b%26c.torrent\"")
            && text.contains("große &lt;Daten&gt; &amp; &quot;mehr&quot;"),
        "{text}"
    );
    let (head, _) = site.get_with("127.0.0.1", "/torrents/", "Accept: application/json\r\n");
    assert!(head.contains("application/json"), "{head}");
    let (head, _) = site.get_with(
        "127.0.0.1",
        "/torrents",
        "Accept: text/html,application/json;q=0.9\r\n",
    );
    assert!(head.contains("text/html"), "{head}");
    assert_eq!(
        site.get("/torrents/?format=text").1,
        b"/torrents/a%20b%26c.torrent\n"
    );

    site.announce("127.0.0.1", &peer(hash, 1, 5 << 20, Event::Started))
        .unwrap();
    site.announce("127.0.0.1", &peer(hash, 2, 1 << 20, Event::Started))
        .unwrap();
    let swarm = &site.stats("?mode=everything")["swarms"][0];
    assert_eq!(swarm["name"], "große <Daten> & \"mehr\"");
    assert_eq!(
        swarm["progress"],
        json::json!([0, 80]),
        "by the size of the payload"
    );
    assert!(
        site.announce("127.0.0.1", &peer(InfoHash([1; 20]), 1, 0, Event::Started))
            .is_err()
    );
}

#[test]
fn nothing_else_can_be_had_by_any_path() {
    let dir = TempDir::new("traversal");
    let folder = dir.folder("shelf");
    fs::write(dir.join("outside.torrent"), torrent("outside", 1).0).unwrap();
    fs::write(folder.join("in.torrent"), torrent("in", 1).0).unwrap();
    fs::write(folder.join("secret"), "x").unwrap();
    fs::create_dir(folder.join("sub")).unwrap();
    fs::write(folder.join("sub/deep.torrent"), torrent("deep", 1).0).unwrap();
    let site = start(&folder, &[]);
    assert!(site.get("/torrents/in.torrent").0.contains(" 200 "));
    for path in [
        "/torrents/../outside.torrent",
        "/torrents/..%2foutside.torrent",
        "/torrents/%2e%2e/outside.torrent",
        "/torrents/./in.torrent",
        "/torrents//in.torrent",
        "/torrents/sub/deep.torrent",
        "/torrents/sub%2fdeep.torrent",
        "/torrents/secret",
        "/torrents/in.torrent%00",
        "/torrents/in.torrent/",
        "/torrents/%ff.torrent",
        "/torrents/%",
        "/torrentsin.torrent",
    ] {
        let (head, _) = site.get(path);
        assert!(head.contains(" 404 "), "{path}: {head}");
    }
    let absolute = format!("/torrents/{}", dir.join("outside.torrent").display());
    assert!(site.get(&absolute).0.contains(" 404 "));
}

#[test]
fn new_changed_and_removed_files_are_noticed_and_bad_ones_are_named_once() {
    let dir = TempDir::new("torrents-change");
    let ((one, first), (two, second)) = (torrent("one", 1), torrent("two", 2));
    let site = start(dir.path(), &[]);
    wait_listed(&site, &[]);
    assert!(
        site.announce("127.0.0.1", &peer(first, 1, 0, Event::Started))
            .is_err()
    );
    fs::write(dir.join("x.torrent"), &one).unwrap();
    wait_listed(&site, &["one"]);
    site.announce("127.0.0.1", &peer(first, 1, 0, Event::Started))
        .unwrap();
    fs::write(dir.join("half.torrent"), &two[..two.len() - 9]).unwrap();
    fs::write(dir.join("bad.torrent"), "nothing").unwrap();
    let line = site
        .process
        .wait_line("cannot use the torrent `bad.torrent`", LIMIT);
    assert!(line.contains("bencoding"), "{line}");
    fs::write(dir.join("half.torrent"), &two).unwrap();
    wait_listed(&site, &["two", "one"]);
    fs::rename(dir.join("half.torrent"), dir.join("x.torrent")).unwrap();
    wait_listed(&site, &["two"]);
    assert_eq!(site.get("/torrents/x.torrent").1, two);
    site.announce("127.0.0.1", &peer(second, 1, 0, Event::Started))
        .unwrap();
    assert!(
        site.announce("127.0.0.1", &peer(first, 1, 0, Event::Started))
            .is_err()
    );
    fs::remove_file(dir.join("x.torrent")).unwrap();
    wait_listed(&site, &[]);
    assert!(
        site.announce("127.0.0.1", &peer(second, 1, 0, Event::Started))
            .is_err()
    );
    let mut site = site;
    let ended = site.process.stop(LIMIT);
    assert_eq!(
        ended.stderr.matches("`bad.torrent`").count(),
        1,
        "{}",
        ended.stderr
    );
}

#[test]
fn lists_add_to_the_folder_and_take_from_it() {
    let dir = TempDir::new("torrents-lists");
    let folder = dir.folder("shelf");
    let ((one, first), (two, second)) = (torrent("one", 1), torrent("two", 2));
    fs::write(folder.join("1.torrent"), one).unwrap();
    fs::write(folder.join("2.torrent"), two).unwrap();
    let (allow, deny, extra) = (dir.join("allow"), dir.join("deny"), InfoHash([7; 20]));
    write_list(&allow, &[extra]);
    write_list(&deny, &[second]);
    let lists = [
        "--allow",
        allow.to_str().unwrap(),
        "--deny",
        deny.to_str().unwrap(),
    ];
    let site = start(&folder, &lists);
    let ask = |hash| {
        site.announce("127.0.0.1", &peer(hash, 1, 0, Event::Started))
            .is_ok()
    };
    assert_eq!(
        (ask(first), ask(second), ask(extra), ask(InfoHash([8; 20]))),
        (true, false, true, false)
    );
    write_list(&deny, &[first]);
    let mark = site.process.mark();
    site.process.signal(rustix::process::Signal::HUP);
    let again = |_, line: &str| line.contains("lists read again").then_some(());
    site.process
        .wait_since(mark, "the lists to be read again", LIMIT, again);
    assert_eq!((ask(first), ask(second), ask(extra)), (false, true, true));
}

#[test]
fn a_seeder_that_comes_before_the_tracker_has_looked_is_not_turned_away_and_a_stranger_is() {
    let dir = TempDir::new("torrents");
    let shelf = dir.folder("shelf");
    let options = ["--torrents", shelf.to_str().unwrap()];
    let tracker = Tracker::start(&Host::local(1), 0, &options);
    let seed = |folder: &str| {
        let file = dir.join(folder).join("payload.bin");
        payload::file(&file, 100_000, folder.len() as u64);
        let torrent = Torrent::create(&file, &tracker.url(), &[]);
        let seeder = Peer::seed(&Host::local(2), &torrent.file, &torrent.parent, &[]);
        (torrent, seeder)
    };
    let ((torrent, seeder), (_, mut stranger)) = (seed("shelf"), seed("elsewhere"));
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    let ended = stranger.process.wait(LIMIT);
    assert_eq!(ended.code, 7, "{}", ended.stderr);
}

#[test]
fn ten_thousand_torrents_are_no_burden() {
    let dir = TempDir::in_memory("torrents-many");
    for n in 0..10_000 {
        fs::write(
            dir.join(format!("{n:05}.torrent")),
            torrent(&format!("payload {n}"), 1).0,
        )
        .unwrap();
    }
    let site = start(dir.path(), &[]);
    let rows = list(&site);
    assert_eq!(rows.len(), 10_000);
    assert_eq!(rows[9_999]["name"], "payload 9999");
    let (head, body) = site.get("/torrents/");
    assert!(head.contains(" 200 ") && body.len() > 1_000_000);
    assert_eq!(
        site.get("/torrents/07777.torrent").1,
        torrent("payload 7777", 1).0
    );
    fs::remove_file(dir.join("00000.torrent")).unwrap();
    let deadline = Instant::now() + LIMIT;
    while site
        .get("/torrents/?format=text")
        .1
        .starts_with(b"/torrents/00000")
    {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let mut command = Command::new(program("tracker"));
    command.args(["-l", "127.0.0.1:0", "--torrents", "/nonexistent/shelf"]);
    let ended = run("hivebt-tracker", command, LIMIT);
    assert_eq!(ended.code, 6, "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("cannot read the folder `/nonexistent/shelf`"),
        "{}",
        ended.stderr
    );
}

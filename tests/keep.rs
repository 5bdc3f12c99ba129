//! `run --keep-for` and `--keep-size`: what it has downloaded goes by a rule, and nothing else ever does.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, program};
use support::payload;
use support::process::run;
use support::station::Station;
use support::tempdir::TempDir;
use support::tree::assert_same;

const MIB: u64 = 1 << 20;

/// Payloads of 1 MiB in two files each, all of them seeded by one process, and a place for a station that fetches them.
struct Site {
    folder: TempDir,
    torrents: Vec<Torrent>,
    _seeder: Peer,
    seeder: String,
}

impl Site {
    fn new(names: &[&str]) -> Self {
        let folder = TempDir::new("keep");
        let make = |(seed, name): (u64, &&str)| {
            let top = folder.join("from").join(name);
            payload::file(&top.join("a/one.bin"), 700_000, seed);
            payload::file(&top.join("two.bin"), MIB - 700_000, 100 + seed);
            Torrent::create(&top, "http://127.0.0.1:1/announce", &["-l", "64K"])
        };
        let torrents: Vec<_> = (1..).zip(names).map(make).collect();
        let mut command = Peer::command(&Host::local(1), "seed");
        command.args(torrents.iter().map(|torrent| &torrent.file));
        let seeder = Peer {
            process: support::process::Process::start("seed", command),
        };
        let started = seeder.wait_event("started", LIMIT);
        for torrent in &torrents {
            seeder.wait_event_that("complete", LIMIT, |event| {
                event["info_hash"] == *torrent.info_hash
            });
        }
        Self {
            torrents,
            _seeder: seeder,
            seeder: format!("127.0.0.1:{}", started["port"]),
            folder,
        }
    }

    fn station(&self, options: &[&str]) -> Station {
        let mut command = Command::new(program("peer"));
        command.args(["run", "--json", "-p", "0", "--bind", "127.0.0.1"]);
        command.args(["--status", "127.0.0.1:0", "--peer", &self.seeder]);
        command.arg("-o").arg(self.to("")).args(options);
        Station::start(command)
    }

    fn to(&self, name: &str) -> PathBuf {
        self.folder.join("to").join(name)
    }

    fn state(&self, n: usize) -> PathBuf {
        let name = format!(".hivebt/{}.resume", self.torrents[n].info_hash);
        self.to(&name)
    }

    fn add(&self, station: &Station, n: usize) {
        let bytes = fs::read(&self.torrents[n].file).unwrap();
        assert_eq!(station.ask("POST", "/torrents", &bytes).0, 201);
    }

    /// Adds a torrent and waits until it is there; it may be gone by then.
    fn fetch(&self, station: &Station, n: usize) {
        self.add(station, n);
        wait_event(station, "complete", &self.torrents[n]);
    }
}

fn wait_event(station: &Station, name: &str, torrent: &Torrent) -> Value {
    let what = format!("the event `{name}` of {}", torrent.name);
    station.process.wait_for(&what, LIMIT, |_, line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["event"] == name && event["info_hash"] == *torrent.info_hash).then_some(event)
    })
}

fn names(torrents: &[Value]) -> Vec<&str> {
    let names = torrents.iter().map(|t| t["name"].as_str().unwrap());
    names.collect()
}

#[test]
fn what_was_kept_for_long_enough_goes_with_its_data_its_state_and_its_place_on_the_list() {
    let site = Site::new(&["task"]);
    let station = site.station(&["--keep-for", "0"]);
    site.fetch(&station, 0);
    let removed = wait_event(&station, "removed", &site.torrents[0]);
    assert_eq!(removed["reason"], "keep-for");
    assert_eq!(
        (&removed["bytes"], &removed["left"]),
        (&json!(MIB), &json!(null))
    );
    station
        .process
        .wait_line("task: removed, 1.0 MiB are free (--keep-for)", LIMIT);
    station.wait_states(&[]);
    assert!(!site.to("task").exists() && !site.state(0).exists());
    assert_eq!(
        fs::read_dir(site.to(".hivebt/torrents")).unwrap().count(),
        0
    );
    let (_, stats) = station.ask("GET", "/stats", &[]);
    let shown = &stats["removed"][0];
    assert_eq!(
        (&shown["name"], &shown["error"]),
        (&json!("task"), &json!(null))
    );
    let metrics = station.get("/metrics");
    assert!(metrics.contains("\nhivebt_peer_removed_torrents_total 1\n"));
    assert!(metrics.contains(&format!("\nhivebt_peer_removed_bytes_total {MIB}\n")));
    assert!(
        station
            .get("/")
            .contains("<dt>Removed</dt><dd>1 (1.0 MiB)</dd>")
    );
    // It may come back.
    site.add(&station, 0);
    wait_event(&station, "removed", &site.torrents[0]);
}

#[test]
fn of_too_much_the_oldest_go_first() {
    let site = Site::new(&["one", "two", "three"]);
    let station = site.station(&["--keep-size", "2M"]);
    site.fetch(&station, 0);
    site.fetch(&station, 1);
    site.fetch(&station, 2);
    let removed = wait_event(&station, "removed", &site.torrents[0]);
    assert_eq!(removed["reason"], "keep-size");
    let torrents = station.wait_states(&["seeding", "seeding"]);
    assert_eq!(names(&torrents), ["two", "three"]);
    assert!(!site.to("one").exists());
    for n in [1, 2] {
        let name = &site.torrents[n].name;
        assert_same(&site.torrents[n].payload(), &site.to(name));
    }
}

#[test]
fn what_the_user_put_there_or_fetched_himself_stays() {
    let site = Site::new(&["copied", "fetched", "ours"]);
    for file in ["a/one.bin", "two.bin"] {
        let copy = site.to("copied").join(file);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(site.torrents[0].payload().join(file), copy).unwrap();
    }
    let mut get = Peer::command(&Host::local(2), "get");
    get.args(["--peer", &site.seeder, "-o"]).arg(site.to(""));
    get.arg(&site.torrents[1].file);
    let ended = run("get", get, LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let station = site.station(&["--keep-for", "0", "--keep-size", "0", "--keep-strictly"]);
    site.fetch(&station, 0);
    site.fetch(&station, 1);
    site.fetch(&station, 2);
    wait_event(&station, "removed", &site.torrents[2]);
    let torrents = station.wait_states(&["seeding", "seeding"]);
    assert_eq!(names(&torrents), ["copied", "fetched"]);
    for n in [0, 1] {
        let name = &site.torrents[n].name;
        assert_same(&site.torrents[n].payload(), &site.to(name));
    }
}

/// A slow worker that fetches from the station alone.
fn worker(site: &Site, station: &Station, n: usize) -> Peer {
    let (_, stats) = station.ask("GET", "/stats", &[]);
    let to = site.folder.folder("worker");
    let from = format!("127.0.0.1:{}", stats["port"]);
    let options = ["--peer", &from, "--max-download", "20K"];
    let worker = Peer::get(&Host::local(3), &site.torrents[n].file, &to, &options);
    worker.wait_percent(0.1, LIMIT);
    worker
}

#[test]
fn what_others_are_fetching_stays_and_a_younger_one_goes_in_its_stead() {
    let site = Site::new(&["wanted", "other"]);
    let station = site.station(&["--keep-size", "1500K"]);
    site.fetch(&station, 0);
    let _worker = worker(&site, &station, 0);
    site.fetch(&station, 1);
    wait_event(&station, "removed", &site.torrents[1]);
    assert_eq!(names(&station.wait_states(&["seeding"])), ["wanted"]);
}

#[test]
fn strictly_it_goes_all_the_same() {
    let site = Site::new(&["wanted", "other"]);
    let station = site.station(&["--keep-size", "1500K", "--keep-strictly"]);
    site.fetch(&station, 0);
    let _worker = worker(&site, &station, 0);
    site.fetch(&station, 1);
    wait_event(&station, "removed", &site.torrents[0]);
    assert_eq!(names(&station.wait_states(&["seeding"])), ["other"]);
}

#[test]
fn what_somebody_has_put_into_the_folder_or_changed_there_stays() {
    let site = Site::new(&["one", "two"]);
    let station = site.station(&["--keep-size", "1M"]);
    site.fetch(&station, 0);
    fs::write(site.to("one/notes.txt"), "mine").unwrap();
    fs::write(site.to("one/two.bin"), "mine, too").unwrap();
    site.fetch(&station, 1);
    let removed = wait_event(&station, "removed", &site.torrents[0]);
    assert_eq!(removed["bytes"], 700_000);
    assert_eq!(removed["left"], site.to("one/two.bin").to_str().unwrap());
    let there = support::tree::files(&site.to("one"));
    let there: Vec<_> = there.into_iter().collect();
    assert_eq!(there, [Path::new("notes.txt"), Path::new("two.bin")]);
    assert!(!site.to("one/a").exists());
}

#[test]
fn a_later_run_knows_what_an_earlier_one_has_fetched() {
    let site = Site::new(&["task"]);
    let mut first = site.station(&[]);
    site.fetch(&first, 0);
    assert_eq!(first.process.stop(LIMIT).code, 0);
    assert_same(&site.torrents[0].payload(), &site.to("task"));
    // An hour is not over yet; no time at all is.
    let mut second = site.station(&["--keep-for", "1h", "--keep-size", "1M"]);
    second.wait_states(&["seeding"]);
    assert_eq!(second.process.stop(LIMIT).code, 0);
    assert_same(&site.torrents[0].payload(), &site.to("task"));
    let third = site.station(&["--keep-for", "0"]);
    wait_event(&third, "removed", &site.torrents[0]);
    assert!(!site.to("task").exists());
}

#[test]
fn what_cannot_be_removed_is_told_once_and_shown() {
    let site = Site::new(&["one", "two"]);
    let station = site.station(&["--keep-size", "1M"]);
    site.fetch(&station, 0);
    fs::write(site.state(0), "nothing").unwrap();
    site.fetch(&station, 1);
    let error = wait_event(&station, "error", &site.torrents[0]);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("does not say any more that it is ours"),
        "{message}"
    );
    assert_same(&site.torrents[0].payload(), &site.to("one"));
    let (_, stats) = station.ask("GET", "/stats", &[]);
    assert_eq!(stats["removed"][0]["error"], message);
    assert!(
        station
            .get("/")
            .contains("does not say any more that it is ours")
    );
    assert_eq!(names(&station.wait_states(&["seeding"])), ["two"]);
    let mut station = station;
    let said = station.process.stop(Duration::from_secs(30)).stderr;
    assert_eq!(said.matches("does not say").count(), 1, "{said}");
}

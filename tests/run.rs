//! `hivebt-peer run` as operators and programs meet it: the folder, the API, the page, and who is kept out.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, program};
use support::process::{Ended, run};
use support::station::Station;
use support::tempdir::TempDir;
use support::tree::assert_same;
use support::{http, payload};

const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

/// A seeder of one payload, and a place for whoever fetches it.
struct Site {
    folder: TempDir,
    torrent: Torrent,
    _seeder: Peer,
    seeder: String,
}

impl Site {
    fn new(bytes: u64) -> Self {
        let folder = TempDir::new("run");
        let file = folder.join("from/payload.bin");
        payload::file(&file, bytes, 11);
        let torrent = Torrent::create(&file, NO_TRACKER, &["-l", "64K"]);
        let seeder = Peer::seed(&Host::local(1), &torrent.file, &torrent.parent, &[]);
        let started = seeder.wait_event("started", LIMIT);
        seeder.wait_event("complete", LIMIT);
        folder.folder("watch");
        folder.folder("to");
        Self {
            folder,
            torrent,
            _seeder: seeder,
            seeder: format!("127.0.0.1:{}", started["port"]),
        }
    }

    /// `run --watch watch -o to`, which knows the seeder.
    fn station(&self, options: &[&str]) -> Station {
        let mut command = self.command();
        command.arg("--watch").arg(self.folder.join("watch"));
        command.args(options);
        Station::start(command)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("peer"));
        command.args(["run", "--json", "-p", "0", "--bind", "127.0.0.1"]);
        command.args(["--status", "127.0.0.1:0", "--peer", &self.seeder]);
        command.arg("-o").arg(self.folder.join("to"));
        command
    }

    /// Puts the torrent into the folder under this name.
    fn put(&self, name: &str) -> PathBuf {
        let path = self.folder.join("watch").join(name);
        fs::copy(&self.torrent.file, &path).unwrap();
        path
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.torrent.file).unwrap()
    }

    fn fetched(&self) -> PathBuf {
        self.folder.join("to/payload.bin")
    }

    fn of(&self, what: &str) -> String {
        format!("/torrents/{}{what}", self.torrent.info_hash)
    }
}

#[test]
fn a_torrent_put_into_the_folder_runs_and_taken_out_it_stops_and_its_data_stays() {
    let site = Site::new(2 << 20);
    let station = site.station(&[]);
    assert!(station.torrents().is_empty());
    let file = site.put("task.torrent");
    let torrents = station.wait_states(&["seeding"]);
    assert_same(&site.torrent.payload(), &site.fetched());
    let path = site.fetched().display().to_string();
    assert_eq!(torrents[0]["path"], path);
    assert_eq!(torrents[0]["complete"], true);
    assert_eq!(torrents[0]["total_downloaded"], 2 << 20);
    fs::remove_file(file).unwrap();
    station.wait_states(&[]);
    assert_same(&site.torrent.payload(), &site.fetched());
    // What is there is only looked at.
    site.put("again.torrent");
    let torrents = station.wait_states(&["seeding"]);
    assert_eq!(torrents[0]["total_downloaded"], 0);
}

#[test]
fn a_half_written_torrent_waits_for_the_rest_and_a_bad_one_is_named_once() {
    let site = Site::new(100_000);
    let station = site.station(&[]);
    let path = site.folder.join("watch/task.torrent");
    let bytes = site.bytes();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let word = station.process.wait_line("cannot use the torrent", LIMIT);
    assert!(word.contains("`task.torrent`"), "{word}");
    // It looks again meanwhile, and says no more.
    fs::write(site.folder.join("watch/other.torrent"), "nothing").unwrap();
    station.process.wait_line("`other.torrent`", LIMIT);
    fs::write(&path, &bytes).unwrap();
    station.wait_states(&["seeding"]);
    let mut process = station.process;
    let said = process.stop(LIMIT).stderr;
    assert_eq!(said.matches("`task.torrent`").count(), 1, "{said}");
}

#[test]
fn programs_add_and_remove_torrents() {
    let site = Site::new(1 << 20);
    let station = site.station(&[]);
    let (status, told) = station.ask("POST", "/torrents", &site.bytes());
    assert_eq!((status, &told["state"]), (201, &json!("checking")));
    assert_eq!(told["path"], site.fetched().display().to_string());
    assert_eq!(station.ask("POST", "/torrents", &site.bytes()).0, 200);
    station.wait_states(&["seeding"]);
    let (status, one) = station.ask("GET", &format!("/stats/{}", site.torrent.info_hash), &[]);
    assert_eq!((status, &one["name"]), (200, &json!("payload.bin")));
    let (status, told) = station.ask("POST", "/torrents", b"d4:info");
    assert_eq!(status, 400);
    assert!(told["error"].as_str().unwrap().contains("no torrent"));
    let listed = site
        .folder
        .join("watch")
        .join(format!("{}.torrent", site.torrent.info_hash));
    assert!(listed.is_file());
    let (status, told) = station.ask("DELETE", &site.of(""), &[]);
    assert_eq!((status, &told["complete"]), (200, &json!(true)));
    assert!(station.torrents().is_empty() && !listed.exists());
    assert_same(&site.torrent.payload(), &site.fetched());
    assert_eq!(station.ask("DELETE", &site.of(""), &[]).0, 404);
    for (method, path) in [
        ("GET", "/stats/nonsense"),
        ("GET", "/nowhere"),
        ("POST", "/stats"),
    ] {
        assert_eq!(station.ask(method, path, &[]).0, 404, "{method} {path}");
    }
}

#[test]
fn a_file_that_somebody_put_there_is_only_renamed_when_its_torrent_is_removed() {
    let site = Site::new(1000);
    let station = site.station(&[]);
    for n in ["", "-2"] {
        let file = site.put("mine.torrent");
        station.wait_states(&["seeding"]);
        assert_eq!(station.ask("DELETE", &site.of(""), &[]).0, 200);
        assert!(!file.exists());
        let aside = site.folder.join(format!("watch/mine.torrent.removed{n}"));
        assert_eq!(fs::read(aside).unwrap(), site.bytes());
    }
}

#[test]
fn torrents_outlive_a_restart_also_where_no_folder_is_named() {
    let site = Site::new(1 << 20);
    let mut first = Station::start(site.command());
    assert_eq!(first.ask("POST", "/torrents", &site.bytes()).0, 201);
    first.wait_states(&["seeding"]);
    let began = Instant::now();
    let ended = first.process.stop(LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    let second = Station::start(site.command());
    let torrents = second.wait_states(&["seeding"]);
    assert_eq!(torrents[0]["total_downloaded"], 0);
    let hashed = second.process.wait_line("\"checked\"", LIMIT);
    assert!(hashed.contains("\"hashed\":0"), "{hashed}");
}

#[test]
fn a_torrent_rests_and_goes_on_and_its_totals_with_it() {
    let site = Site::new(1 << 20);
    let station = site.station(&["--max-download", "64K"]);
    site.put("task.torrent");
    let some = |torrents: &[Value]| {
        torrents
            .first()
            .is_some_and(|t| t["total_downloaded"].as_u64() > Some(65_536))
    };
    station.wait("some of it", some);
    let (status, told) = station.ask("POST", &site.of("/pause"), &[]);
    assert_eq!((status, &told["state"]), (200, &json!("paused")), "{told}");
    let had = told["total_downloaded"].as_u64().unwrap();
    assert!(had > 65_536 && told["connected_peers"] == 0, "{told}");
    let percent = told["completion_percentage"].as_f64().unwrap();
    assert!(percent > 0.0 && percent < 100.0 && told["complete"] == false);
    assert_eq!(
        station.ask("POST", &site.of("/pause"), &[]).1["state"],
        "paused"
    );
    let (status, told) = station.ask("POST", "/limits", b"{\"max_download\":0}");
    assert_eq!(
        (status, told),
        (200, json!({"max_upload": 0, "max_download": 0}))
    );
    assert_eq!(station.ask("POST", &site.of("/resume"), &[]).0, 200);
    let torrents = station.wait_states(&["seeding"]);
    assert!(
        torrents[0]["total_downloaded"].as_u64().unwrap() >= 1 << 20,
        "{torrents:?}"
    );
    assert_same(&site.torrent.payload(), &site.fetched());
}

#[test]
fn pausing_removing_and_adding_in_any_order_ends_as_the_last_word_says() {
    let site = Site::new(8 << 20);
    let station = site.station(&[]);
    for _ in 0..5 {
        assert_eq!(station.ask("POST", "/torrents", &site.bytes()).0, 201);
        for what in ["/pause", "/resume", "/pause", "/resume"] {
            assert_eq!(station.ask("POST", &site.of(what), &[]).0, 200);
        }
        assert_eq!(station.ask("DELETE", &site.of(""), &[]).0, 200);
    }
    assert!(station.torrents().is_empty());
    station.ask("POST", "/torrents", &site.bytes());
    station.ask("POST", &site.of("/pause"), &[]);
    station.wait_states(&["paused"]);
    station.ask("POST", &site.of("/resume"), &[]);
    station.wait_states(&["seeding"]);
    assert_same(&site.torrent.payload(), &site.fetched());
}

#[test]
fn limits_and_priorities_are_read_with_care() {
    let site = Site::new(1000);
    let station = site.station(&["--max-upload", "1M"]);
    site.put("task.torrent");
    station.wait_states(&["seeding"]);
    let limits = station.ask("GET", "/limits", &[]).1;
    assert_eq!(limits, json!({"max_upload": 1 << 20, "max_download": 0}));
    let (_, limits) = station.ask("POST", "/limits", b"{\"max_download\": 5000000}");
    assert_eq!(
        limits,
        json!({"max_upload": 1 << 20, "max_download": 5_000_000})
    );
    let (_, told) = station.ask("POST", &site.of(""), b"{\"priority\": \"high\"}");
    assert_eq!(told["priority"], "high");
    assert_eq!(station.torrents()[0]["priority"], "high");
    for (path, body, says) in [
        ("/limits", "{\"max_upload\": -1}", "bytes a second"),
        ("/limits", "{\"max_upload\": \"1M\"}", "bytes a second"),
        ("/limits", "{\"max_uplaod\": 1}", "unknown key `max_uplaod`"),
        ("/limits", "{}", "it has no `max_upload`"),
        ("/limits", "[1]", "no JSON object"),
        ("/limits", "", "line 1"),
        (&site.of(""), "{\"priority\": 3}", "low, normal or high"),
        (&site.of(""), "{\"max_upload\": 3}", "POST /limits"),
    ] {
        let (status, told) = station.ask("POST", path, body.as_bytes());
        let error = told["error"].as_str().unwrap();
        assert!(status == 400 && error.contains(says), "{body}: {told}");
    }
}

#[test]
fn one_torrent_that_fails_takes_no_other_down_and_is_tried_again() {
    let site = Site::new(500_000);
    let other = site.folder.join("from/other.bin");
    payload::file(&other, 500_000, 12);
    let other = Torrent::create(&other, NO_TRACKER, &["-l", "64K"]);
    // Somebody's file that happens to have the same name.
    let stranger = site.folder.join("to/payload.bin");
    payload::file(&stranger, 500_000, 13);
    fs::copy(other.payload(), site.folder.join("to/other.bin")).unwrap();
    fs::copy(&other.file, site.folder.join("watch/2.torrent")).unwrap();
    site.put("1.torrent");
    let station = site.station(&[]);
    let states = |torrents: &[Value]| {
        let state = |name: &str| {
            let found = torrents.iter().find(|t| t["name"] == name);
            found.map(|t| t["state"].as_str().unwrap_or_default().to_owned())
        };
        (state("payload.bin"), state("other.bin"))
    };
    let both = |a: &str, b: &str| (Some(a.to_owned()), Some(b.to_owned()));
    let torrents = station.wait("an error", |t| states(t) == both("error", "seeding"));
    let failed = torrents
        .iter()
        .find(|t| t["name"] == "payload.bin")
        .unwrap();
    let message = failed["message"].as_str().unwrap();
    assert!(
        message.contains("nothing in it matches the torrent"),
        "{message}"
    );
    let page = station.get("/");
    assert!(page.contains("class=\"fault\"") && page.contains("nothing in it matches"));
    fs::remove_file(&stranger).unwrap();
    station.process.signal(Signal::HUP);
    station.wait("a recovery", |t| states(t) == both("seeding", "seeding"));
    assert_same(&site.torrent.payload(), &site.fetched());
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told_to_whoever_adds() {
    if rustix::process::geteuid().is_root() {
        // Root may write anywhere; a folder that is gone serves as well.
        let site = Site::new(1000);
        let station = site.station(&[]);
        fs::remove_dir(site.folder.join("watch")).unwrap();
        let (status, told) = station.ask("POST", "/torrents", &site.bytes());
        assert_eq!(status, 500);
        assert!(
            told["error"].as_str().unwrap().contains("cannot write"),
            "{told}"
        );
        assert!(station.torrents().is_empty());
        return;
    }
    let site = Site::new(1000);
    let station = site.station(&[]);
    let watch = site.folder.join("watch");
    fs::set_permissions(&watch, fs::Permissions::from_mode(0o500)).unwrap();
    assert_eq!(station.ask("POST", "/torrents", &site.bytes()).0, 500);
    assert!(station.torrents().is_empty());
    fs::set_permissions(&watch, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn page_statistics_and_metrics_tell_the_same_numbers() {
    let site = Site::new(3 << 20);
    let station = site.station(&[]);
    site.put("task.torrent");
    station.wait_states(&["seeding"]);
    // At rest nothing changes between one question and the next.
    station.ask("POST", &site.of("/pause"), &[]);
    let torrents = station.wait_states(&["paused"]);
    let stats = &torrents[0];
    let metrics = station.get("/metrics");
    let labels = format!(
        "{{info_hash=\"{}\",name=\"payload.bin\"}}",
        site.torrent.info_hash
    );
    for (name, key, scale) in [
        ("uploaded_bytes_total", "total_uploaded", 1.0),
        ("downloaded_bytes_total", "total_downloaded", 1.0),
        ("upload_bytes_per_second", "upload_rate", 1.0),
        ("download_bytes_per_second", "download_rate", 1.0),
        ("connected_peers", "connected_peers", 1.0),
        ("completion_ratio", "completion_percentage", 100.0),
        ("size_bytes", "total_length", 1.0),
    ] {
        let line = format!("hivebt_peer_{name}{labels} ");
        let value = metrics.lines().find_map(|l| l.strip_prefix(&line)).unwrap();
        let value: f64 = value.parse().unwrap();
        assert_eq!(Some(value * scale), stats[key].as_f64(), "{name}");
    }
    assert!(metrics.contains("hivebt_peer_torrents{state=\"paused\"} 1\n"));
    let page = station.get("/");
    for part in [
        "<dt>Received</dt><dd>3.0 MiB</dd>",
        "<strong>paused</strong><span>100.00 % of 3.0 MiB</span>",
        "<bdi>payload.bin</bdi>",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn the_peers_of_a_torrent_are_told() {
    let site = Site::new(1 << 20);
    let station = site.station(&["--max-download", "64K"]);
    site.put("task.torrent");
    station.wait("a peer", |t| {
        t.first()
            .is_some_and(|t| t["total_downloaded"].as_u64() > Some(0))
    });
    let (_, told) = station.ask("GET", &site.of("/peers"), &[]);
    let peer = &told["peers"][0];
    assert_eq!(peer["address"], site.seeder);
    assert_eq!(
        peer["client"],
        concat!("hivebt ", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(
        (&peer["am_interested"], &peer["peer_choking"]),
        (&json!(true), &json!(false))
    );
    assert!(peer["total_downloaded"].as_u64() > Some(0), "{peer}");
    assert!(
        station
            .get("/")
            .contains(&format!("<th scope=\"row\">{}</th>", site.seeder))
    );
}

#[test]
fn strangers_and_their_pages_are_kept_out() {
    let site = Site::new(1000);
    let station = site.station(&[]);
    let status = |method: &str, path: &str, lines: &[&str]| {
        http::ask(station.at, method, path, lines, &[]).unwrap().0
    };
    assert_eq!(status("GET", "/stats", &["Host: localhost"]), 200);
    assert_eq!(status("GET", "/stats", &["Host: evil.example"]), 403);
    assert_eq!(status("POST", "/torrents", &["Host: evil.example"]), 403);
    assert_eq!(
        status("POST", "/limits", &["Origin: http://evil.example"]),
        403
    );
    assert_eq!(status("DELETE", &site.of(""), &["Origin: null"]), 403);
    assert_eq!(status("GET", "/healthz", &[]), 200);
    assert_eq!(status("PUT", "/torrents", &[]), 405);
    let mut command = Command::new(program("peer"));
    command.args(["run", "--status", "0.0.0.0:0"]);
    command.env_remove("HIVEBT_TOKEN");
    let ended = run("run", command, LIMIT);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--token"), "{}", ended.stderr);
}

#[test]
fn with_a_token_who_does_not_know_it_sees_nothing_and_changes_nothing() {
    let site = Site::new(1000);
    let station = site.station(&["--token", "s3cret"]);
    let status = |method: &str, path: &str, lines: &[&str]| {
        http::ask(station.at, method, path, lines, &site.bytes())
            .unwrap()
            .0
    };
    let bearer = "Authorization: Bearer s3cret";
    for path in ["/", "/stats", "/metrics", "/limits"] {
        assert_eq!(http::get(station.at, path).unwrap().0, 401, "{path}");
    }
    assert_eq!(status("POST", "/torrents", &[]), 401);
    assert_eq!(status("POST", "/torrents?token=s3cret", &[]), 401);
    assert_eq!(
        status("POST", "/torrents", &["Authorization: Bearer wrong"]),
        401
    );
    assert_eq!(status("POST", "/torrents", &["Host: worker7", bearer]), 201);
    let (code, page) = http::get(station.at, "/?token=s3cret").unwrap();
    assert_eq!(code, 200);
    assert!(
        String::from_utf8(page)
            .unwrap()
            .contains("href=\"stats?token=s3cret\"")
    );
    let asked = |token: Option<&str>| {
        let mut command = Command::new(program("peer"));
        command.args(["status", "--json", &format!("http://{}", station.at)]);
        command.env_remove("HIVEBT_TOKEN");
        command.envs(token.map(|token| ("HIVEBT_TOKEN", token)));
        run("status", command, LIMIT)
    };
    let ended = asked(None);
    assert_eq!(ended.code, 7);
    assert!(ended.stderr.contains("HIVEBT_TOKEN"), "{}", ended.stderr);
    let ended = asked(Some("s3cret"));
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(told["torrents"][0]["name"], "payload.bin");
}

#[test]
fn bodies_are_bounded_and_slow_clients_hold_nobody_up() {
    let site = Site::new(1000);
    let station = site.station(&[]);
    let mut slow: Vec<_> = (0..20)
        .map(|n| {
            let mut stream = TcpStream::connect(station.at).unwrap();
            let head = format!(
                "POST /torrents HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\nd",
                1000 + n
            );
            // Some stop in the head, some in the body.
            let end = if n % 2 == 0 { 20 } else { head.len() };
            stream.write_all(&head.as_bytes()[..end]).unwrap();
            stream
        })
        .collect();
    let mut large = TcpStream::connect(station.at).unwrap();
    large
        .write_all(
            b"POST /torrents HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n",
        )
        .unwrap();
    let mut told = String::new();
    large.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
    assert_eq!(station.ask("POST", "/torrents", &site.bytes()).0, 201);
    station.wait_states(&["seeding"]);
    // They are still there, and one that goes on is answered.
    let rest = [b'x'; 1000];
    slow[1].write_all(&rest).unwrap();
    let mut told = String::new();
    slow[1].read_to_string(&mut told).unwrap();
    assert!(
        told.starts_with("HTTP/1.0 400 ") || told.starts_with("HTTP/1.1 400 "),
        "{told}"
    );
}

#[test]
fn a_seeder_tells_its_status_and_takes_no_torrents() {
    let site = Site::new(300_000);
    let mut command = Command::new(program("peer"));
    command.args(["get", "--seed", "-p", "0", "--bind", "127.0.0.1"]);
    command.args(["--status", "127.0.0.1:0", "--peer", &site.seeder, "-o"]);
    command.arg(site.folder.join("to")).arg(&site.torrent.file);
    let station = Station::start(command);
    station.wait_states(&["seeding"]);
    let (status, told) = station.ask("POST", "/torrents", &site.bytes());
    assert_eq!(status, 409, "{told}");
    assert_eq!(station.ask("POST", &site.of("/pause"), &[]).0, 409);
    assert_eq!(
        station.ask("POST", "/limits", b"{\"max_upload\": 1}").0,
        200
    );
    let ended = status_of(&[&format!("http://{}/", station.at)]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(
        lines[0].starts_with("STATE ") && lines[0].ends_with("  NAME"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("seeding  100.0 ") && lines[1].ends_with("  payload.bin"));
    drop(station);
}

fn status_of(arguments: &[&str]) -> Ended {
    let mut command = Command::new(program("peer"));
    command.arg("status").args(arguments);
    run("status", command, LIMIT)
}

#[test]
fn status_says_when_nothing_answers_and_when_something_else_does() {
    let ended = status_of(&["http://127.0.0.1:1"]);
    assert_eq!(ended.code, 7);
    assert!(
        ended.stderr.contains("`http://127.0.0.1:1/stats`"),
        "{}",
        ended.stderr
    );
    let (other, _) = http::serve(b"{}".to_vec());
    let ended = status_of(&[&format!("http://{other}")]);
    assert_eq!(ended.code, 7);
    assert!(ended.stderr.contains("no hivebt-peer"), "{}", ended.stderr);
}

#[test]
fn a_folder_that_is_not_there_is_a_mistake() {
    let mut command = Command::new(program("peer"));
    command.args(["run", "-p", "0", "--status", "127.0.0.1:0", "--watch"]);
    let missing = Path::new("/nonexistent/torrents");
    command.arg(missing);
    let ended = run("run", command, LIMIT);
    assert_eq!(ended.code, 6);
    assert!(
        ended.stderr.contains("`/nonexistent/torrents`"),
        "{}",
        ended.stderr
    );
}

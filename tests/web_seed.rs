//! Web seeds: HTTP servers as sources, good ones and bad ones.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hivebt::base::sha1;
use hivebt::proto::percent;
use serde_json::Value;

use support::hosts::Host;
use support::ours::{LIMIT, Peer, Torrent, program};
use support::process::{Ended, Process, run, run_ok};
use support::tempdir::TempDir;
use support::web::{After, Answer, Request, WebServer};
use support::{http, payload, tree};

const BYTES: u64 = 5_000_000;

/// A payload of one file, and a torrent of it that names no tracker and no web seed.
struct Origin {
    dir: TempDir,
    torrent: Torrent,
    data: Vec<u8>,
}

impl Origin {
    fn new(label: &str, options: &[&str]) -> Self {
        let dir = TempDir::new(label);
        let file = dir.join("from/payload.bin");
        payload::file(&file, BYTES, 19);
        let data = fs::read(&file).unwrap();
        let options = [&["-l", "64K"], options].concat();
        let torrent = torrent(&file, &options);
        Self { dir, torrent, data }
    }

    /// `get` into the folder `to`, with these web seeds.
    fn get(&self, web_seeds: &[&str], options: &[&str]) -> Command {
        let mut command = Peer::command(&Host::local(2), "get");
        for url in web_seeds {
            command.args(["--web-seed", url]);
        }
        let to = self.dir.folder("to");
        command.args(options).arg("-v").arg("-o").arg(to);
        command.arg(&self.torrent.file);
        command
    }

    fn run(&self, web_seeds: &[&str], options: &[&str]) -> Ended {
        let ended = run("get", self.get(web_seeds, options), LIMIT);
        assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
        self.assert_arrived();
        ended
    }

    fn assert_arrived(&self) {
        tree::assert_same(&self.torrent.payload(), &self.dir.join("to/payload.bin"));
    }

    /// A peer that has it all, and its address.
    fn seeder(&self, options: &[&str]) -> (Peer, String) {
        let (file, data) = (&self.torrent.file, &self.torrent.parent);
        let seeder = Peer::seed(&Host::local(1), file, data, options);
        let address = seeder.serving_address(&Host::local(1));
        (seeder, address)
    }
}

/// A torrent without a tracker.
fn torrent(payload: &Path, options: &[&str]) -> Torrent {
    let mut command = Command::new(program("create"));
    command.args(["--json", "--quiet", "--force", "--no-announce"]);
    command.args(options).arg(payload);
    let made: Value = serde_json::from_str(&run_ok("create", command, LIMIT)).unwrap();
    Torrent {
        file: made["torrent"].as_str().unwrap().into(),
        info_hash: made["info_hash"].as_str().unwrap().into(),
        parent: payload.parent().unwrap().into(),
        name: made["name"].as_str().unwrap().into(),
        bytes: made["total_length"].as_u64().unwrap(),
    }
}

/// Serves what lies below `root`.
fn serve_folder(root: &Path) -> WebServer {
    let root = root.to_path_buf();
    WebServer::start(move |request| {
        let path = percent::decode(request.path.as_bytes()).unwrap();
        let path = String::from_utf8(path).unwrap();
        match fs::read(root.join(path.trim_start_matches('/'))) {
            Ok(file) => Answer::of(&file, request),
            Err(_) => Answer::status("404 Not Found", &[]),
        }
    })
}

fn asked_bytes(seen: &[Request]) -> usize {
    let ranges = seen.iter().filter_map(|request| request.range);
    ranges.map(|(first, last)| last - first + 1).sum()
}

#[test]
fn a_web_seed_that_the_torrent_names_is_source_enough() {
    let dir = TempDir::new("web-alone");
    let file = dir.join("from/payload.bin");
    payload::file(&file, BYTES, 19);
    let server = WebServer::of_file(fs::read(&file).unwrap());
    for private in [&[][..], &["--private", "-a", "http://127.0.0.1:1/announce"]] {
        let url = server.url("/x.bin");
        let options = [&["-l", "64K", "-f", "-w", &url], private].concat();
        let mut command = Command::new(program("create"));
        let none: &[&str] = if private.is_empty() {
            &["--no-announce"]
        } else {
            &[]
        };
        command.args(["-q"]).args(none).args(&options).arg(&file);
        run_ok("create", command, LIMIT);
        let to = dir.folder(format!("to {}", private.len()));
        let before = server.seen().len();
        let mut command = Peer::command(&Host::local(2), "get");
        command
            .arg("-o")
            .arg(&to)
            .arg(dir.join("from/payload.bin.torrent"));
        let ended = run("get", command, LIMIT);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        tree::assert_same(&file, &to.join("payload.bin"));
        let seen = &server.seen()[before..];
        assert_eq!(asked_bytes(seen) as u64, BYTES, "each byte once: {seen:?}");
        assert!(seen.len() <= 16, "in long ranges: {seen:?}");
        let first = seen[0].connection;
        assert!(seen.iter().all(|request| request.connection == first));
    }
}

#[test]
fn files_of_a_folder_are_found_under_their_names() {
    let dir = TempDir::new("web-folder");
    let folder = payload::odd_folder(&dir.join("from/an odd #1 folder?%"), 3);
    let torrent = torrent(&folder, &["-l", "16K"]);
    let server = serve_folder(&dir.join("from"));
    for url in [server.url("/"), server.url("")] {
        let to = dir.folder("to");
        let mut command = Peer::command(&Host::local(2), "get");
        command
            .args(["--web-seed", &url, "-o"])
            .arg(&to)
            .arg(&torrent.file);
        let ended = run("get", command, LIMIT);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        tree::assert_same(&torrent.payload(), &to.join(&torrent.name));
        fs::remove_dir_all(&to).unwrap();
    }
}

#[test]
fn padding_is_not_asked_for() {
    let dir = TempDir::new("web-pad");
    let from = dir.join("from/padded");
    payload::file(&from.join("a"), 20_000, 1);
    payload::file(&from.join("b"), 30_000, 2);
    let mut bytes = fs::read(from.join("a")).unwrap();
    bytes.resize(32_768, 0);
    bytes.extend(fs::read(from.join("b")).unwrap());
    let pieces: Vec<u8> = bytes.chunks(16_384).flat_map(sha1::digest).collect();
    let mut info = b"d5:filesld6:lengthi20000e4:pathl1:aeed4:attr1:p6:lengthi12768e4:pathl4:.pad5:12768eed6:lengthi30000e4:pathl1:beee4:name6:padded12:piece lengthi16384e6:pieces".to_vec();
    info.extend(format!("{}:", pieces.len()).bytes());
    info.extend(pieces);
    let torrent = [&b"d4:info"[..], &info, b"ee"].concat();
    let file = dir.join("padded.torrent");
    fs::write(&file, torrent).unwrap();
    let server = serve_folder(&dir.join("from"));
    let to = dir.folder("to");
    let mut command = Peer::command(&Host::local(2), "get");
    command
        .args(["--web-seed", &server.url("/"), "-o"])
        .arg(&to)
        .arg(&file);
    let ended = run("get", command, LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    tree::assert_same(&from, &to.join("padded"));
    let asked = |path: &PathBuf| path.to_string_lossy().contains("pad/");
    assert!(!server.seen().iter().any(|r| asked(&PathBuf::from(&r.path))));
    assert_eq!(asked_bytes(&server.seen()), 50_000);
}

#[test]
fn a_server_that_sends_bad_data_is_named_and_what_was_good_stays() {
    let origin = Origin::new("web-bad", &[]);
    let mut bad = origin.data.clone();
    bad[1_000_000] ^= 1;
    let bad = WebServer::of_file(bad);
    let mut get = Process::start("get", origin.get(&[&bad.url("/bad.bin")], &[]));
    let blamed = format!(
        "web seed {} sent bad data in piece 15: ",
        bad.url("/bad.bin")
    );
    get.wait_line(&blamed, LIMIT);
    // It is the only source, and has to be waited for.
    assert_eq!(get.stop(LIMIT).code, 143);
    let good = WebServer::of_file(origin.data.clone());
    let ended = origin.run(&[&good.url("/good.bin")], &[]);
    assert!(!ended.stderr.contains("bad data"), "{}", ended.stderr);
    let asked = good.seen().iter().any(|request| {
        let (first, last) = request.range.unwrap();
        (first..=last).contains(&1_000_000)
    });
    assert!(asked, "{:?}", good.seen());
}

#[test]
fn what_passes_is_tried_again() {
    type Fault = fn(&[u8], &Request) -> Answer;
    let faults: [(&str, Fault); 6] = [
        ("busy (status 503)", |_, _| Answer::status("503 Busy", &[])),
        ("busy for 1 s (status 429)", |_, _| {
            Answer::status("429 Too Many Requests", &["Retry-After: 1"])
        }),
        ("", |file, request| {
            let mut answer = Answer::of(file, request);
            answer.body.truncate(answer.body.len() / 2);
            answer.after = After::Close;
            answer
        }),
        ("", |_, _| Answer {
            head: String::new(),
            body: Vec::new(),
            after: After::Close,
        }),
        ("", |_, _| Answer {
            head: "this is no HTTP\r\n".into(),
            body: Vec::new(),
            after: After::Close,
        }),
        ("sends more than it said", |file, request| {
            // Without a length, what comes is all there is.
            let mut answer = Answer::of(file, request);
            let lines = answer.head.split_inclusive("\r\n");
            answer.head = lines
                .filter(|line| !line.starts_with("Content-Length"))
                .collect();
            answer.head += "Connection: close\r\n";
            answer.body.push(0);
            answer.after = After::Close;
            answer
        }),
    ];
    let origin = Origin::new("web-passing", &[]);
    std::thread::scope(|scope| {
        for (n, (word, fault)) in faults.into_iter().enumerate() {
            let origin = &origin;
            scope.spawn(move || {
                let data = origin.data.clone();
                let server = WebServer::start(move |request| match request.number {
                    0 => fault(&data, request),
                    _ => Answer::of(&data, request),
                });
                let to = origin.dir.folder(format!("to {n}"));
                let mut command = Peer::command(&Host::local(10 + u8::try_from(n).unwrap()), "get");
                command
                    .args(["-v", "--web-seed", &server.url("/x")])
                    .arg("-o")
                    .arg(&to);
                command.arg(&origin.torrent.file);
                let ended = run("get", command, LIMIT);
                assert_eq!(ended.code, 0, "{n}: {}", ended.stderr);
                tree::assert_same(&origin.torrent.payload(), &to.join("payload.bin"));
                let again = ended
                    .stderr
                    .lines()
                    .find(|line| line.contains("; asked again in"));
                assert!(
                    again.is_some_and(|line| line.contains(word)),
                    "{n}: {}",
                    ended.stderr
                );
            });
        }
    });
}

#[test]
fn what_lasts_ends_the_use_of_a_server_and_is_told_once() {
    let origin = Origin::new("web-lasting", &[]);
    let data = origin.data.clone();
    let server = WebServer::start(move |request| {
        let (first, last) = request.range.unwrap_or((0, data.len() - 1));
        let part = data[first..=last].to_vec();
        match request.path.as_str() {
            "/gone" => Answer::status("410 Gone", &[]),
            "/range" => Answer::status("416 Range Not Satisfiable", &[]),
            "/lie" => Answer::part(
                &format!("bytes {}-{}/{}", first + 1, last + 1, data.len()),
                part,
            ),
            "/length" => Answer::part(&format!("bytes {first}-{last}/{}", data.len() + 1), part),
            "/circle" => Answer::status("302 Found", &["Location: /circle"]),
            "/nowhere" => Answer::status("301 Moved", &["Location: ftp://127.0.0.1/x"]),
            "/gzip" => {
                let mut answer = Answer::of(&data, request);
                answer.head += "Content-Encoding: gzip\r\n";
                answer
            }
            _ => Answer::status("404 Not Found", &[]),
        }
    });
    let faults = [
        ("/missing", "status 404"),
        ("/gone", "status 410"),
        ("/range", "status 416"),
        ("/lie", "other bytes than it was asked for"),
        (
            "/length",
            "5000001 bytes, which is not what the torrent says",
        ),
        ("/circle", "too many redirects"),
        ("/nowhere", "neither http:// nor https://"),
        ("/gzip", "in an encoding"),
    ];
    let urls = faults.map(|(path, _)| server.url(path));
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let get = Process::start("get", origin.get(&urls, &[]));
    for (path, why) in faults {
        let start = format!("web seed {} is not used any more: ", server.url(path));
        let line = get.wait_line(&start, LIMIT);
        assert!(line.contains(why), "{line}");
    }
    let asked = |path: &str| server.seen().iter().filter(|r| r.path == path).count();
    assert_eq!(asked("/missing"), 1);
    assert_eq!(asked("/circle"), 6, "five redirects");
}

#[test]
fn a_server_that_ignores_ranges_is_read_once_from_its_start() {
    let origin = Origin::new("web-whole", &[]);
    let data = origin.data.clone();
    let server = WebServer::start(move |_| Answer::whole(&data));
    origin.run(&[&server.url("/payload.bin")], &[]);
    let seen = server.seen();
    let whole = seen
        .iter()
        .filter(|request| request.range.is_none())
        .count();
    assert!(whole == 1 && seen.len() <= 2, "{seen:?}");
}

#[test]
fn redirects_lead_to_other_servers_and_are_asked_anew_for_each_range() {
    let origin = Origin::new("web-redirect", &[]);
    let data = origin.data.clone();
    let there = WebServer::at("127.0.0.2", move |request| Answer::of(&data, request));
    let target = there.url("/deep/payload.bin?key=1");
    let here = WebServer::start(move |request| match request.path.as_str() {
        "/a" => Answer::status("301 Moved", &["Location: b/c?d"]),
        "/b/c?d" => Answer::status("307 Moved", &["Location: ../e"]),
        _ => Answer::status("302 Found", &[&format!("Location: {target}")]),
    });
    origin.run(&[&here.url("/a")], &[]);
    assert_eq!(here.seen().len(), 3 * there.seen().len());
    assert!(
        there
            .seen()
            .iter()
            .all(|r| r.path == "/deep/payload.bin?key=1")
    );
}

#[test]
fn a_server_that_never_answers_holds_nobody_up() {
    let origin = Origin::new("web-silent", &[]);
    let hang = |head: &str| {
        let head = head.to_owned();
        WebServer::start(move |_| Answer {
            head: head.clone(),
            body: vec![1; 20],
            after: After::Hang,
        })
    };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/x", silent.local_addr().unwrap());
    let slow = hang("HTTP/1.1 206 P\r\nContent-Range: bytes 0-1048575/5000000\r\n");
    let (_seeder, at) = origin.seeder(&[]);
    origin.run(&[&silent, &slow.url("/slow")], &["--peer", &at]);
}

#[test]
fn web_seeds_are_left_alone_where_the_operator_says_so() {
    let dir = TempDir::new("web-none");
    let file = dir.join("from/payload.bin");
    payload::file(&file, 100_000, 1);
    let server = WebServer::of_file(fs::read(&file).unwrap());
    let torrent = torrent(&file, &["-w", &server.url("/payload.bin")]);
    let mut command = Peer::command(&Host::local(2), "get");
    command.args(["--no-web-seeds", "--stall-timeout", "1s", "-o"]);
    command.arg(dir.folder("to")).arg(&torrent.file);
    let ended = run("get", command, LIMIT);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    assert!(server.seen().is_empty());
}

#[test]
fn under_a_limit_ranges_are_still_ranges() {
    let origin = Origin::new("web-limit", &[]);
    let server = WebServer::of_file(origin.data.clone());
    origin.run(&[&server.url("/x")], &["--max-download", "2M"]);
    let seen = server.seen();
    assert!(seen.len() <= 60, "{} requests for 306 blocks", seen.len());
}

#[test]
fn a_web_seed_is_seen_where_peers_are() {
    let origin = Origin::new("web-status", &[]);
    let server = WebServer::start(|request| {
        let (first, last) = request.range.unwrap();
        let mut answer = Answer::part(&format!("bytes {first}-{last}/5000000"), Vec::new());
        answer.head = answer.head.replace("Content-Length: 0\r\n", "");
        answer.after = After::Hang;
        answer
    });
    let secret = server
        .url("/x?token=secret")
        .replace("http://", "http://me:word@");
    let get = Process::start("get", origin.get(&[&secret], &["--status", "127.0.0.1:0"]));
    let at = get.status_address(LIMIT);
    get.wait_for("a web seed", LIMIT, |_, line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["web_seeds"] == 1 && event["connected_peers"] == 0).then_some(())
    });
    let page = |path: &str| {
        let (status, body) = http::get(at, path).unwrap();
        assert_eq!(status, 200, "{path}");
        String::from_utf8(body).unwrap()
    };
    let peers = page(&format!("/torrents/{}/peers", origin.torrent.info_hash));
    let peers: Value = serde_json::from_str(&peers).unwrap();
    assert_eq!(peers["peers"][0]["address"], server.url("/x"));
    assert_eq!(peers["peers"][0]["client"], "web seed");
    assert!(page("/").contains("<bdi>web seed</bdi>"));
    let metrics = page("/metrics");
    let gauge = metrics
        .lines()
        .find(|line| line.starts_with("hivebt_peer_web_seeds{"));
    assert!(gauge.is_some_and(|line| line.ends_with(" 1")), "{metrics}");
}

#[test]
#[cfg(not(feature = "tls"))]
fn https_is_told_of_where_it_is_not_built_in() {
    let origin = Origin::new("web-tls", &[]);
    let get = Process::start("get", origin.get(&["https://127.0.0.1:1/x"], &[]));
    let line = get.wait_line("is not used any more", LIMIT);
    assert!(line.contains("`tls` feature"), "{line}");
}

#[test]
fn a_server_of_ipv6_is_as_good() {
    let origin = Origin::new("web-six", &[]);
    let data = origin.data.clone();
    let server = WebServer::at("::1", move |request| Answer::of(&data, request));
    let mut command = Command::new(program("peer"));
    command.args([
        "get",
        "-p",
        "0",
        "--bind",
        "::1",
        "--web-seed",
        &server.url("/x"),
        "-o",
    ]);
    command
        .arg(origin.dir.folder("to"))
        .arg(&origin.torrent.file);
    let ended = run("get", command, LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    origin.assert_arrived();
}

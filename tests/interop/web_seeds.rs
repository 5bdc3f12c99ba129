//! Other people's web servers as web seeds: nginx, which takes ranges, and Python's, which does not.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::network;
use crate::support::foreign::missing_program;
use crate::support::hosts::Host;
use crate::support::links::{self, Link};
use crate::support::ours::{LIMIT, Peer, Torrent, Tracker};
use crate::support::process::Process;
use crate::support::tempdir::TempDir;
use crate::support::{http, payload, say, tree};

const NO_TRACKER: &str = "http://127.0.0.1:1/announce";

#[derive(Clone, Copy, PartialEq)]
enum Server {
    Nginx,
    Python,
}

impl Server {
    fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Python => "python3",
        }
    }

    /// Serves what lies below `root` at port 80 of `host`, and returns when it does.
    fn start(self, host: &Host, root: &Path, home: &Path) -> Process {
        let mut command = host.command(self.program());
        match self {
            Self::Nginx => {
                fs::write(home.join("conf"), nginx(host, root, home)).unwrap();
                command.arg("-p").arg(home).arg("-c").arg(home.join("conf"));
            }
            Self::Python => {
                let address = host.address.to_string();
                command.args(["-m", "http.server", "80", "--bind", &address, "-d"]);
                command.arg(root);
            }
        }
        let process = Process::start(self.program(), command);
        let deadline = Instant::now() + LIMIT;
        let address = (host.address, 80).into();
        while host.within(|| http::get(address, "/")).is_err() {
            let waits = Instant::now() < deadline && !process.has_ended();
            assert!(waits, "{}", process.tail());
            thread::sleep(Duration::from_millis(20));
        }
        process
    }
}

fn nginx(host: &Host, root: &Path, home: &Path) -> String {
    let (root, home) = (root.display(), home.display());
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary
        .iter()
        .map(|of| format!("{of}_temp_path {home}/{of};"))
        .collect();
    format!(
        "daemon off; user root; worker_processes 1; pid {home}/pid; error_log stderr;
         events {{ worker_connections 64; }}
         http {{ access_log {home}/access; {temporary}
             server {{ listen {}:80; location / {{ root \"{root}\"; }} }} }}",
        host.address
    )
}

/// A single file and a folder with odd names, fetched from `server` alone.
fn we_fetch_from(server: Server) {
    let Some(network) = network(2, [missing_program(server.program())]) else {
        return;
    };
    let dir = TempDir::new("web-seeds");
    let root = dir.folder("root");
    let single = root.join("ein großes #1 100% Bild?.img");
    payload::file(&single, (20 << 20) + 12_345, 1);
    let folder = payload::odd_folder(&root.join("Ordner #2 ü"), 2);
    let home = dir.folder("home");
    let _server = server.start(network.host(0), &root, &home);
    for payload in [single, folder] {
        // Beside the payload it would be one more file on the server.
        let torrent = Torrent::create(
            &payload,
            NO_TRACKER,
            &["-l", "64K", "-o", dir.path().to_str().unwrap()],
        );
        let url = format!("http://{}/", network.host(0).address);
        let to = dir.folder("to");
        let options = ["--web-seed", &url, "-v"];
        let mut leecher = Peer::get(network.host(1), &torrent.file, &to, &options);
        let ended = leecher.process.wait(LIMIT);
        assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
        tree::assert_same(&payload, &to.join(payload.file_name().unwrap()));
        say::say(format_args!(
            "{}: {}",
            payload.display(),
            ended.stderr.lines().last().unwrap_or_default()
        ));
    }
    if server == Server::Nginx {
        let access = fs::read_to_string(home.join("access")).unwrap();
        let whole = access
            .lines()
            .filter(|line| line.contains("\" 200 "))
            .count();
        // The one that asked whether it serves was for its root, which it does not list.
        assert_eq!(whole, 0, "{access}");
    }
}

#[test]
#[ignore = "needs nginx and root; `make interop` runs it"]
fn we_fetch_from_nginx() {
    we_fetch_from(Server::Nginx);
}

#[test]
#[ignore = "needs python3 and root; `make interop` runs it"]
fn we_fetch_from_pythons_server_which_takes_no_ranges() {
    we_fetch_from(Server::Python);
}

#[test]
#[ignore = "needs nginx, tc and root; `make interop` runs it"]
fn a_web_server_and_a_peer_share_the_work() {
    let Some(network) = network(3, [missing_program("nginx"), missing_program("tc")]) else {
        return;
    };
    for i in [0, 1] {
        if let Err(why) = links::shape(&network, i, Link::of(40_000_000)) {
            say::skip(why);
            return;
        }
    }
    let dir = TempDir::new("web-shared");
    let file = dir.join("root/payload.bin");
    payload::file(&file, 32 << 20, 4);
    let (server, seeds, leeches) = (network.host(0), network.host(1), network.host(2));
    let _server = Server::Nginx.start(server, &dir.join("root"), &dir.folder("home"));
    let tracker = Tracker::start(leeches, 8080, &[]);
    let url = format!("http://{}/payload.bin", server.address);
    let torrent = Torrent::create(&file, &tracker.url(), &["-w", &url]);
    let seeder = Peer::seed(seeds, &torrent.file, &torrent.parent, &[]);
    tracker.wait_for_seeds(&torrent.info_hash, 1, &seeder.process);
    let before = [server, seeds].map(|host| links::sent(host).bytes);
    let started = Instant::now();
    let mut leecher = Peer::get(leeches, &torrent.file, &dir.folder("to"), &[]);
    let ended = leecher.process.wait(LIMIT);
    let took = started.elapsed();
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    let after = [server, seeds].map(|host| links::sent(host).bytes);
    let sent = [after[0] - before[0], after[1] - before[1]];
    say::say(format_args!(
        "32 MiB over two links of 40 Mbit/s in {took:.1?}; the server sent {} MB, the peer {} MB",
        sent[0] / 1_000_000,
        sent[1] / 1_000_000
    ));
    let share = sent[0] * 100 / (sent[0] + sent[1]);
    assert!((35..=65).contains(&share), "the server sent {share} %");
}

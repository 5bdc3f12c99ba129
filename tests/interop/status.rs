//! The page and the metrics of `hivebt-peer run`, before a real browser and Prometheus' own judge.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use crate::browser::Browser;
use crate::page::{HOSTILE, LIMIT, judge};
use crate::support::foreign::missing_program;
use crate::support::hosts::Host;
use crate::support::ours::{Peer, Torrent, program};
use crate::support::process::Process;
use crate::support::tempdir::TempDir;
use crate::support::{http, payload, say};

/// A torrent with a hostile name that comes slowly from one seeder, and another that cannot be had.
struct Site {
    at: SocketAddr,
    _processes: (Peer, Process),
}

fn site(dir: &TempDir) -> Site {
    let tracker = "http://127.0.0.1:1/announce";
    let file = dir.join("from/payload.bin");
    payload::file(&file, 8 << 20, 5);
    let torrent = Torrent::create(&file, tracker, &["-n", HOSTILE]);
    let seeder = Peer::seed(&Host::local(1), &torrent.file, &file, &[]);
    let port = seeder.wait_event("started", LIMIT)["port"].clone();
    let watch = dir.folder("watch");
    fs::copy(&torrent.file, watch.join("hostile.torrent")).unwrap();
    let other = dir.join("from/other.bin");
    payload::file(&other, 100_000, 6);
    let other = Torrent::create(&other, tracker, &[]);
    fs::copy(&other.file, watch.join("other.torrent")).unwrap();
    payload::file(&dir.join("to/other.bin"), 100_000, 7);
    let mut command = Command::new(program("peer"));
    command.args([
        "run",
        "-p",
        "0",
        "--bind",
        "127.0.0.1",
        "--status",
        "127.0.0.1:0",
    ]);
    command.args([
        "--max-download",
        "200K",
        "--peer",
        &format!("127.0.0.1:{port}"),
        "--watch",
    ]);
    command.arg(watch).arg("-o").arg(dir.join("to"));
    let process = Process::start("hivebt-peer run", command);
    let at = process.status_address(LIMIT);
    // Three samples make a plot.
    let begun = std::time::Instant::now();
    while !text(at, "/").contains("class=\"down\" points=\"97,") {
        assert!(begun.elapsed() < LIMIT, "{}", process.tail());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Site {
        at,
        _processes: (seeder, process),
    }
}

fn text(at: SocketAddr, path: &str) -> String {
    String::from_utf8(http::get(at, path).unwrap().1).unwrap()
}

#[test]
#[ignore = "needs Chromium; `make interop` runs it"]
fn the_page_of_a_peer_is_seen_in_a_browser() {
    if let Some(missing) = missing_program("chromium") {
        say::skip(missing);
        return;
    }
    let dir = TempDir::new("status");
    let site = site(&dir);
    let url = format!("http://{}/", site.at);
    let browser = Browser::new(&dir);
    // The script has renewed the page in place, and only then it says so.
    let dom = browser.dom(&[], &url);
    assert!(dom.contains("role=\"status\">live</p>"), "{dom}");
    assert_eq!(dom.matches("<progress max=\"100\"").count(), 2, "{dom}");
    assert!(dom.contains("<strong>downloading</strong>") && dom.contains("<strong>error</strong>"));
    assert!(
        dom.contains("<polyline class=\"down\"") && dom.contains("<td><bdi>hivebt "),
        "{dom}"
    );
    assert!(!dom.contains("owned</title>") && dom.contains("&lt;script&gt;document.title="));
    assert_eq!(
        (dom.matches("<script").count(), dom.matches("<img").count()),
        (1, 0)
    );
    browser.pictures("peer", &url);
    browser.assert_fits(|path| text(site.at, path));
}

#[test]
#[ignore = "needs promtool; `make interop` runs it"]
fn prometheus_finds_no_fault_in_the_metrics_of_a_peer() {
    if let Some(missing) = missing_program("promtool") {
        say::skip(missing);
        return;
    }
    let dir = TempDir::new("promtool");
    let site = site(&dir);
    judge(&dir, text(site.at, "/metrics").as_bytes());
}

//! The tracker's page in a real browser, and its metrics before Prometheus' own judge.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use hivebt::base::id::InfoHash;
use hivebt::proto::tracker::Event;

use crate::browser::Browser;
use crate::support::announce::{Site, peer};
use crate::support::foreign::missing_program;
use crate::support::ours::Torrent;
use crate::support::process::Process;
use crate::support::tempdir::TempDir;
use crate::support::{payload, say};

pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A name that would do something if it got out of its place.
pub(crate) const HOSTILE: &str =
    "<script>document.title='owned'<!-- <img src=x onerror=document.title='owned'>\u{1b}[31m";

/// A tracker that knows a torrent with a hostile name, and workers at all stages.
fn site(dir: &TempDir) -> Site {
    let data = dir.join("data.bin");
    payload::file(&data, 100_000, 5);
    let torrent = Torrent::create(&data, "http://127.0.0.1:1/announce", &["-n", HOSTILE]);
    let shelf = dir.folder("shelf");
    fs::copy(&torrent.file, shelf.join("hostile.torrent")).unwrap();
    let site = Site::start(&[
        "--torrents",
        shelf.to_str().unwrap(),
        "--show-peers",
        "127.0.0.1",
    ]);
    let hash: InfoHash = torrent.info_hash.parse().unwrap();
    for n in 0..60 {
        let left = torrent.bytes * u64::from(n) / 60;
        for event in [Event::Started, Event::None] {
            site.announce(&format!("127.0.1.{n}"), &peer(hash, n, left, event))
                .unwrap();
        }
    }
    site
}

#[test]
#[ignore = "needs Chromium; `make interop` runs it"]
fn the_page_is_seen_in_a_browser() {
    if let Some(missing) = missing_program("chromium") {
        say::skip(missing);
        return;
    }
    let dir = TempDir::new("browser");
    let site = site(&dir);
    let url = format!("http://{}/", site.at[0]);
    let browser = Browser::new(&dir);

    // The script has renewed the page in place, and only then it says so.
    let dom = browser.dom(&[], &url);
    assert!(dom.contains("role=\"status\">live</p>"), "{dom}");
    assert_eq!(dom.matches("<progress max=\"100\"").count(), 60, "{dom}");
    assert!(dom.contains("127.0.1.59:7059"), "{dom}");
    assert!(!dom.contains("owned</title>") && dom.contains("&lt;script&gt;document.title="));
    assert_eq!(dom.matches("<script").count(), 1);
    assert_eq!(dom.matches("<img").count(), 0);

    let list = browser.dom(&[], &format!("{url}torrents/"));
    assert!(list.contains("hostile.torrent") && !list.contains("owned</title>"));

    browser.pictures("tracker", &url);
    let text = |path: &str| String::from_utf8(site.get(path).1).unwrap();
    browser.assert_fits(text);
}

#[test]
#[ignore = "needs promtool; `make interop` runs it"]
fn prometheus_finds_no_fault_in_the_metrics() {
    if let Some(missing) = missing_program("promtool") {
        say::skip(missing);
        return;
    }
    let dir = TempDir::new("promtool");
    let site = site(&dir);
    judge(&dir, &site.get("/metrics").1);
}

/// Lets Prometheus' own judge look at metrics.
pub(crate) fn judge(dir: &TempDir, metrics: &[u8]) {
    let file = dir.join("metrics");
    fs::write(&file, metrics).unwrap();
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]);
    let input = fs::File::open(&file).unwrap();
    let mut judge = Process::start_reading("promtool", command, Stdio::from(input));
    let ended = judge.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
}

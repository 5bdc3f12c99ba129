//! The tracker's page in a real browser, and its metrics before Prometheus' own judge.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hivebt::base::id::InfoHash;
use hivebt::proto::tracker::Event;

use crate::support::announce::{Site, peer};
use crate::support::foreign::missing_program;
use crate::support::ours::Torrent;
use crate::support::process::{Ended, Process, run};
use crate::support::tempdir::TempDir;
use crate::support::{payload, say};

const LIMIT: Duration = Duration::from_secs(120);

/// A name that would do something if it got out of its place.
const HOSTILE: &str =
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

struct Browser<'a> {
    dir: &'a TempDir,
    sessions: std::cell::Cell<u32>,
}

impl Browser<'_> {
    /// What Chromium does with `url`; its own traffic is switched off.
    fn run(&self, options: &[&str], url: &str) -> Ended {
        let n = self.sessions.replace(self.sessions.get() + 1);
        let mut command = Command::new("chromium");
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--enable-logging=stderr",
            ])
            .args(["--virtual-time-budget=9000"])
            .arg(format!(
                "--user-data-dir={}",
                self.dir.join(format!("profile {n}")).display()
            ))
            .args(options)
            .arg(url);
        let ended = run("chromium", command, LIMIT);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        for word in ["Refused to", "Content Security Policy", "Uncaught"] {
            assert!(!ended.stderr.contains(word), "{}", ended.stderr);
        }
        ended
    }

    /// The page after its scripts have run for a while.
    fn dom(&self, options: &[&str], url: &str) -> String {
        self.run(&[&["--dump-dom"], options].concat(), url).stdout
    }

    fn picture(&self, name: &str, options: &[&str], url: &str) -> PathBuf {
        let folder = std::env::var_os("HIVEBT_SCREENSHOTS");
        let folder = folder.map_or_else(|| self.dir.path().to_owned(), PathBuf::from);
        let file = folder.join(format!("{name}.png"));
        let shot = format!("--screenshot={}", file.display());
        self.run(&[&[shot.as_str()], options].concat(), url);
        file
    }
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
    let browser = Browser {
        dir: &dir,
        sessions: Default::default(),
    };

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

    for (name, width) in [("phone", 390), ("desktop", 1280)] {
        for (scheme, setting) in [("light", 1), ("dark", 0)] {
            let size = format!("--window-size={width},1400");
            let scheme_of = format!("--blink-settings=preferredColorScheme={setting}");
            let file = browser.picture(&format!("{name}-{scheme}"), &[&size, &scheme_of], &url);
            assert!(fs::read(&file).unwrap().starts_with(b"\x89PNG"), "{name}");
        }
    }
    for width in [320, 390, 1280] {
        let wide = scroll_width(&browser, &site, &dir, width);
        assert_eq!(wide, width, "nothing sticks out at the side");
    }
}

/// How wide the page is in a frame of `width` pixels. A browser without a screen may have no narrow windows, but it has frames.
fn scroll_width(browser: &Browser<'_>, site: &Site, dir: &TempDir, width: u32) -> u32 {
    let text = |path| String::from_utf8(site.get(path).1).unwrap();
    let style = format!("<style>{}</style>", text("/page.css"));
    let tell = "<script>addEventListener('load', () => parent.postMessage(document.documentElement.scrollWidth, '*'))</script>";
    let inner = text("/")
        .replace("<link rel=\"stylesheet\" href=\"page.css\">", &style)
        .replace("<script src=\"page.js\" defer></script>", tell);
    let write = |name: &str, content: &str| {
        let file = dir.join(name);
        fs::write(&file, content).unwrap();
        format!("file://{}", Path::new(&file).display())
    };
    write("inner.html", &inner);
    let outer = format!(
        "<title>?</title><script>addEventListener('message', (e) => document.title = e.data)</script><iframe src=\"inner.html\" width=\"{width}\" height=\"900\" style=\"border:0\"></iframe>"
    );
    let dom = browser.dom(&[], &write("outer.html", &outer));
    let title = dom
        .split("<title>")
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    title
        .and_then(|title| title.parse().ok())
        .unwrap_or_else(|| panic!("{dom}"))
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
    let (_, page) = site.get("/metrics");
    let file = dir.join("metrics");
    fs::write(&file, &page).unwrap();
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]);
    let input = fs::File::open(&file).unwrap();
    let mut judge = Process::start_reading("promtool", command, Stdio::from(input));
    let ended = judge.wait(LIMIT);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
}

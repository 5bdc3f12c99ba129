//! What people and monitoring see of the tracker: the page, what belongs to it, the metrics and the statistics.

#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use hivebt::base::id::InfoHash;
use hivebt::proto::tracker::Event;
use support::announce::{Site, peer};

const HASH: InfoHash = InfoHash([0xa1; 20]);

/// A tracker with a seeder and two leechers, of whom one is at a quarter.
fn busy(options: &[&str]) -> Site {
    let site = Site::start(options);
    for (n, left, event) in [
        (1, 0, Event::Completed),
        (2, 1000, Event::Started),
        (3, 1000, Event::Started),
        (2, 750, Event::None),
    ] {
        site.announce(&format!("127.0.0.{n}"), &peer(HASH, n, left, event))
            .unwrap();
    }
    site
}

fn text(site: &Site, path: &str) -> (String, String) {
    let (head, body) = site.get(path);
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn the_page_shows_each_worker_with_the_laggards_first() {
    let (head, page) = text(&busy(&[]), "/");
    assert!(
        head.contains(" 200 ") && head.contains("text/html"),
        "{head}"
    );
    let bars: Vec<_> = page
        .split("<progress max=\"100\" value=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(bars, ["0", "25", "100"]);
    assert!(page.contains(&HASH.to_string()) && page.contains("2 to go"));
    // It works without scripts, too.
    assert!(page.contains("<noscript><meta http-equiv=\"refresh\""));
}

#[test]
fn a_browser_is_told_to_load_nothing_from_elsewhere_and_nothing_inside_the_page() {
    let site = busy(&[]);
    let (head, page) = text(&site, "/");
    let policy = head.split("Content-Security-Policy: ").nth(1).unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
    assert!(!policy.contains("unsafe"));
    assert!(!page.contains("://") && !page.contains(" style=") && !page.contains(" onclick"));
    for (part, kind) in [
        ("page.css", "text/css"),
        ("page.js", "text/javascript"),
        ("page.svg", "image/svg+xml"),
    ] {
        assert!(page.contains(&format!("\"{part}\"")), "{part}");
        let (head, body) = text(&site, &format!("/{part}"));
        assert!(head.contains(" 200 ") && head.contains(kind), "{head}");
        let foreign = body.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains("://") && !foreign.contains("@import"));
    }
}

#[test]
fn strangers_do_not_see_where_peers_are() {
    let seen = |options: &[&str], from: &str, headers: &str| {
        let site = busy(options);
        let pages = ["/", "/stats?mode=everything", "/metrics"].map(|path| {
            let (_, body) = site.get_with(from, path, headers);
            String::from_utf8(body).unwrap()
        });
        pages.concat().contains("127.0.0.3")
    };
    assert!(!seen(&[], "127.0.0.1", ""));
    let shown = ["--show-peers", "127.0.0.1"];
    assert!(seen(&shown, "127.0.0.1", ""));
    assert!(!seen(&shown, "127.0.0.2", ""));
    // Somebody who was sent by a proxy that nobody declared is not that proxy.
    assert!(!seen(&shown, "127.0.0.1", "X-Forwarded-For: 192.0.2.1\r\n"));
    let behind = ["--show-peers", "192.0.2.0/24", "--trust-proxy", "127.0.0.1"];
    assert!(seen(&behind, "127.0.0.1", "X-Forwarded-For: 192.0.2.1\r\n"));
    assert!(!seen(
        &behind,
        "127.0.0.1",
        "X-Forwarded-For: 192.0.2.1, 192.0.3.1\r\n"
    ));
    assert!(!seen(
        &behind,
        "127.0.0.3",
        "X-Forwarded-For: 192.0.2.1\r\n"
    ));
}

#[test]
fn the_metrics_keep_to_the_conventions() {
    let (head, page) = text(&busy(&[]), "/metrics");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let mut kinds = BTreeSet::new();
    for line in page.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", _, help] => assert!(!help.is_empty()),
            ["#", "TYPE", name, kind] => {
                assert!(kinds.insert(name), "{name} twice");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            }
            _ => {
                let name = line.split(['{', ' ']).next().unwrap();
                assert!(kinds.contains(name), "no type before {line}");
                line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
            }
        }
    }
    for line in [
        "hivebt_seeders 1".to_owned(),
        "hivebt_leechers 2".to_owned(),
        "hivebt_announces_total 4".to_owned(),
        format!("hivebt_swarm_leechers{{info_hash=\"{HASH}\",name=\"\"}} 2"),
        format!("hivebt_swarm_slowest_progress_ratio{{info_hash=\"{HASH}\",name=\"\"}} 0"),
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\n{page}");
    }
}

#[test]
fn metrics_and_page_stay_small_however_many_torrents_there_are() {
    let site = Site::start(&[]);
    let mut requests = Vec::new();
    for n in 0..10_000_u32 {
        let mut hash = [0x55; 20];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        let request = peer(InfoHash(hash), 1, u64::from(n % 2), Event::Started);
        let path = hivebt::proto::tracker::http::announce_url("/announce", &request);
        requests.extend(format!("GET {path} HTTP/1.1\r\n\r\n").into_bytes());
    }
    // One connection on which answers are taken while requests are sent.
    let mut stream = site.connect("127.0.0.1");
    let mut reader = stream.try_clone().unwrap();
    let taken = std::thread::spawn(move || {
        let mut answers = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut answers).unwrap();
        answers
            .windows(15)
            .filter(|w| w == b"HTTP/1.1 200 OK")
            .count()
    });
    requests.extend(b"GET /healthz HTTP/1.0\r\n\r\n");
    std::io::Write::write_all(&mut stream, &requests).unwrap();
    assert_eq!(taken.join().unwrap(), 10_001);
    for path in ["/", "/metrics"] {
        let (_, page) = text(&site, path);
        assert!(page.len() < 300_000, "{path}: {}", page.len());
        assert!(page.contains("9900") || page.contains("9,900"), "{path}");
    }
    let everything = site.stats("?mode=everything");
    assert_eq!(everything["swarms"].as_array().unwrap().len(), 10_000);
    assert_eq!(everything["swarms_omitted"], 0);
    assert_eq!(everything["swarms"][0]["leechers"], 1);
}

#[test]
fn only_the_head_comes_where_that_is_asked_for_and_other_methods_are_refused() {
    let site = busy(&[]);
    for path in ["/", "/stats", "/metrics", "/healthz", "/page.css"] {
        let ask = |method: &str| {
            let request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n\r\n");
            let answer = site.exchange("127.0.0.1", request.as_bytes());
            String::from_utf8(answer).unwrap()
        };
        let head = ask("HEAD");
        assert!(
            head.contains(" 200 ") && head.ends_with("\r\n\r\n"),
            "{head}"
        );
        assert!(!head.contains("Content-Length: 0"), "{head}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let refused = ask(method);
            assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
            assert!(refused.contains("\r\nAllow: GET, HEAD\r\n"), "{refused}");
        }
    }
    let refused = site.exchange("127.0.0.1", b"HEAD /announce HTTP/1.0\r\n\r\n");
    let refused = String::from_utf8(refused).unwrap();
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("\r\nAllow: GET\r\n"));
}

#[test]
fn a_private_tracker_shows_neither_keys_nor_users() {
    let dir = support::tempdir::TempDir::new("page-keys");
    let (keys, key) = (dir.join("keys"), "6f1e0c5ab28d4f7e9a3b5c7d1e2f4a6b");
    std::fs::write(&keys, format!("{key} alice-the-user\n")).unwrap();
    let site = Site::start(&["--keys", keys.to_str().unwrap(), "--full-scrape"]);
    let path = hivebt::proto::tracker::http::announce_url(
        &format!("/announce/{key}"),
        &peer(HASH, 1, 9, Event::Started),
    );
    assert!(text_lossy(&site, &path).contains("5:peers"));
    for path in ["/", "/stats", "/stats?mode=everything", "/metrics"] {
        let page = text_lossy(&site, path);
        assert!(!page.contains(key) && !page.contains("alice"), "{path}");
    }
    assert!(text_lossy(&site, &format!("/scrape/{key}")).contains("5:files"));
    for path in ["/scrape", "/scrape/nobody"] {
        assert!(text_lossy(&site, path).contains("failure reason"), "{path}");
    }
}

fn text_lossy(site: &Site, path: &str) -> String {
    String::from_utf8_lossy(&site.get(path).1).into_owned()
}

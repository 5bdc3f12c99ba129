//! The page for people: each torrent, how fast it has been of late, and its peers. It is whole without scripts and without anything from elsewhere; with
//! scripts it renews itself in place.

use std::fmt::Write;
use std::time::Duration;

use super::super::history::{EVERY, SAMPLES};
use super::super::overview::{Overview, Shown, place_and_program};
use super::json::percent;
use crate::app::human;
use crate::app::web;
use crate::app::web::text::{Escaped, Grouped};

/// Torrents on the page; with more, the sums still count all of them.
const TORRENTS: usize = 200;

/// Peers of a torrent in its table, the fastest first.
const PEERS: usize = 50;

/// How high a plot is, in its own units.
const HEIGHT: u64 = 30;

/// Renders the page. `query` is that of the request: links from the page carry it on, for it may hold the token.
pub(super) fn render(overview: &Overview, query: &str) -> String {
    let mut main = String::new();
    totals(overview, &mut main);
    for shown in overview.torrents.iter().take(TORRENTS) {
        torrent(shown, &mut main);
    }
    let omitted = overview.torrents.len().saturating_sub(TORRENTS);
    if overview.torrents.is_empty() {
        main.push_str("<p class=\"none\">No torrents yet.</p>\n");
    } else if omitted > 0 {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(main, "<p class=\"more\">and {omitted} more torrents</p>");
    }
    for failed in overview.removed.iter().filter_map(|one| one.error.as_ref()) {
        let _ = writeln!(main, "<p class=\"fault\">{}</p>", Escaped(failed));
    }
    let unfinished = overview.torrents.iter().filter(|t| !t.complete).count();
    let title = match unfinished {
        0 => "hivebt peer".to_owned(),
        n => format!("{n} to go · hivebt peer"),
    };
    let query = match query {
        "" => String::new(),
        query => format!("?{}", Escaped(query)),
    };
    web::page("peer", &title, [&query, &query], &main)
}

fn totals(overview: &Overview, out: &mut String) {
    let sum = |of: fn(&Shown) -> u64| overview.torrents.iter().map(of).sum::<u64>();
    out.push_str("<dl class=\"totals\">\n");
    let mut put = |name: &str, value: String| {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    };
    put(
        "Torrents",
        Grouped(overview.torrents.len() as u64).to_string(),
    );
    put("Down", human::rate(sum(|t| t.stats.download_rate)));
    put("Up", human::rate(sum(|t| t.stats.upload_rate)));
    put("Received", human::bytes(sum(|t| t.stats.downloaded)));
    put("Sent", human::bytes(sum(|t| t.stats.uploaded)));
    if let Some([v4, v6]) = overview.dht {
        put("DHT nodes", Grouped((v4 + v6) as u64).to_string());
    }
    put(
        "Running for",
        human::span(Duration::from_secs(overview.uptime.as_secs())),
    );
    let (removed, bytes) = overview.removed_totals;
    if removed > 0 {
        put(
            "Removed",
            format!("{} ({})", Grouped(removed), human::bytes(bytes)),
        );
    }
    out.push_str("</dl>\n");
}

fn torrent(shown: &Shown, out: &mut String) {
    let hash = shown.info_hash;
    let percent = format!("{:.2}", shown.snapshot().percentage());
    let done = if shown.complete { " done" } else { "" };
    let _ = write!(
        out,
        "<section class=\"swarm{done}\" id=\"t{hash}\" aria-labelledby=\"n{hash}\">\n<h2 id=\"n{hash}\"><bdi>{}</bdi></h2>\n<p class=\"hash\"><code>{hash}</code></p>\n<p class=\"facts\"><strong>{}</strong>",
        Escaped(&shown.name),
        shown.state
    );
    let mut fact = |text: String| {
        let _ = write!(out, "<span>{text}</span>");
    };
    fact(format!("{percent} % of {}", human::bytes(shown.total)));
    fact(format!("down {}", human::rate(shown.stats.download_rate)));
    fact(format!("up {}", human::rate(shown.stats.upload_rate)));
    fact(format!("sent {}", human::bytes(shown.stats.uploaded)));
    fact(format!("{} peers", Grouped(shown.stats.peers as u64)));
    if shown.stats.web_seeds > 0 {
        fact(format!("{} web seeds", shown.stats.web_seeds));
    }
    if let Some(eta) = shown.snapshot().eta() {
        fact(format!("done in about {}", human::span(eta)));
    }
    let _ = writeln!(
        out,
        "</p>\n<progress max=\"100\" value=\"{percent}\">{percent} %</progress>"
    );
    if let Some(message) = &shown.message {
        let _ = writeln!(out, "<p class=\"fault\">{}</p>", Escaped(message));
    }
    plot(&shown.rates, out);
    peers(shown, out);
    out.push_str("</section>\n");
}

/// The rates of the last minutes as two lines, the latest at the right.
fn plot(rates: &[(u64, u64)], out: &mut String) {
    let most = rates.iter().map(|&(down, up)| down.max(up)).max();
    let Some(most) = most.filter(|&most| most > 0) else {
        return;
    };
    let from = SAMPLES.saturating_sub(rates.len());
    let line = |of: fn(&(u64, u64)) -> u64| {
        let mut points = String::new();
        for (x, rate) in (from..).zip(rates) {
            // Wide enough for whatever a rate may be.
            let height = u128::from(of(rate)) * u128::from(HEIGHT - 1) * 10 / u128::from(most);
            let y = u128::from(HEIGHT * 10 - 5) - height;
            let _ = write!(points, "{x},{}.{} ", y / 10, y % 10);
        }
        points
    };
    let minutes = SAMPLES as u64 * EVERY / 60;
    let most = human::rate(most);
    let _ = writeln!(
        out,
        "<figure class=\"spread rates\"><svg role=\"img\" aria-label=\"Rates over the last {minutes} minutes, {most} at most\" viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\"><polyline class=\"up\" points=\"{}\"/><polyline class=\"down\" points=\"{}\"/></svg><figcaption><span>{minutes} minutes</span><span><b class=\"down\">down</b> <b class=\"up\">up</b></span><span>{most} at most</span></figcaption></figure>",
        SAMPLES - 1,
        line(|rate| rate.1),
        line(|rate| rate.0),
    );
}

fn peers(shown: &Shown, out: &mut String) {
    if shown.peers.is_empty() {
        return;
    }
    out.push_str("<details>\n<summary>Peers</summary>\n<div class=\"scroll\"><table>\n<caption>Peers, the fastest first</caption>\n<thead><tr><th scope=\"col\">Address</th><th scope=\"col\">Program</th><th scope=\"col\" class=\"n\">%</th><th scope=\"col\" class=\"n\">Down</th><th scope=\"col\" class=\"n\">Up</th><th scope=\"col\">Is served</th><th scope=\"col\">Serves</th></tr></thead>\n<tbody>\n");
    for peer in shown.peers.iter().take(PEERS) {
        let (place, program) = place_and_program(peer);
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td><bdi>{}</bdi></td><td class=\"n\">{:.1}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td></tr>",
            Escaped(&place),
            Escaped(program),
            percent(peer.have, shown.pieces),
            human::rate(peer.download_rate),
            human::rate(peer.upload_rate),
            service(peer.am_choking, peer.peer_interested),
            service(peer.peer_choking, peer.am_interested),
        );
    }
    out.push_str("</tbody>\n</table></div>\n");
    let omitted = shown.stats.peers.saturating_sub(PEERS);
    if omitted > 0 {
        let _ = writeln!(out, "<p class=\"more\">and {omitted} more</p>");
    }
    out.push_str("</details>\n");
}

/// How one side treats the other: whether it chokes, and whether that one is interested.
const fn service(chokes: bool, is_interested: bool) -> &'static str {
    match (chokes, is_interested) {
        (false, true) => "yes",
        (true, true) => "waits",
        (_, false) => "wants nothing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{InfoHash, PeerId};
    use crate::core::shares::Priority;
    use crate::core::swarm::event::{PeerKey, PeerStats, Stats};

    fn shown(name: &str) -> Shown {
        Shown {
            info_hash: InfoHash([7; 20]),
            name: name.into(),
            state: "downloading",
            message: None,
            total: 200,
            done: 50,
            stats: Stats {
                peers: 1,
                download_rate: 10,
                ..Stats::default()
            },
            complete: false,
            path: "/x".into(),
            priority: Priority::Normal,
            rates: vec![(0, 0), (10, 5), (u64::MAX, 0)],
            pieces: 4,
            peers: vec![PeerStats {
                utp: false,
                peer: PeerKey(1),
                addr: "10.0.0.7:6881".parse().unwrap(),
                id: PeerId([0; 20]),
                client: "<b>evil</b>".into(),
                have: 1,
                uploaded: 0,
                downloaded: 0,
                upload_rate: 0,
                download_rate: 10,
                am_choking: true,
                am_interested: true,
                peer_choking: false,
                peer_interested: true,
            }],
        }
    }

    fn overview(torrents: Vec<Shown>) -> Overview {
        Overview {
            uptime: Duration::from_secs(61),
            port: 6881,
            max_upload: 0,
            max_download: 0,
            removed: Vec::new(),
            removed_totals: (0, 0),
            dht: Some([41, 1]),
            torrents,
        }
    }

    #[test]
    fn what_others_have_named_stays_text() {
        let mut evil = shown("<script>alert(1)</script>{main}{title}");
        evil.message = Some("cannot read `<i>`".into());
        let page = render(&overview(vec![evil]), "token=\"><script>");
        assert_eq!(page.matches("<script").count(), 1, "our own");
        assert!(
            page.contains("&lt;b&gt;evil") && page.contains("`&lt;i&gt;`"),
            "{page}"
        );
        assert!(page.contains("stats?token=&quot;&gt;&lt;script&gt;"));
        assert!(!page.contains("://") && !page.contains(" style="));
    }

    #[test]
    fn what_goes_on_is_told() {
        let page = render(&overview(vec![shown("task")]), "");
        for part in [
            "<strong>downloading</strong>",
            "25.00 % of 200 B",
            "done in about 0:15",
            "<td>waits</td><td>yes</td>",
            "<dt>DHT nodes</dt><dd>42</dd>",
            "points=\"97,29.5 98,29.5 99,0.5 \"",
            "1 to go · hivebt peer",
            "href=\"stats\"",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(render(&overview(Vec::new()), "").contains("No torrents yet."));
    }
}

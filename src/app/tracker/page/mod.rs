//! The page for people: how each swarm is doing, and who lags behind.
//!
//! It is whole without scripts and without anything from elsewhere. With scripts it renews itself in place: the script asks for the page again and changes what
//! differs. Where peers are is shown only to whom the operator wants to see it; others see numbers.

use std::fmt::Write;
use std::time::Duration;

use super::overview::{Extent, Overview, Shown};
use super::pages::{self, Room};
use super::service::Service;
use crate::app::human;
use crate::app::web;
use crate::app::web::text::{Escaped, Grouped};
use crate::app::web::{HTML, asset, prometheus};
use crate::core::tracker::{PeerView, SwarmView};

/// Swarms on the page, and the peers in their tables. Together they keep it below a megabyte, whatever the tracker holds.
const EXTENT: Extent = Extent {
    swarms: 100,
    each: 100,
    peers: 2_000,
};

/// Seeders of a swarm that has no leechers any more, in its list.
const SEEDERS: usize = 20;

/// Rows of a table that are seen without asking for more.
const OPEN: usize = 12;

/// Leechers from which on they are also drawn by how far they are.
const MANY: u32 = 20;

/// All rooms of the tracker as a program of its own: the page, what belongs to it, the metrics, and what is for programs.
pub(super) fn rooms(path: &str) -> Option<Room> {
    Some(match path {
        "/" => Room::Made(HTML, page),
        "/metrics" => Room::Made(prometheus::CONTENT_TYPE, super::metrics::page),
        other => match asset(other) {
            Some((content_type, content)) => Room::Fixed(content_type, content),
            None => return pages::rooms(other),
        },
    })
}

/// The page; `addresses` tells whether who looks may know where peers are.
fn page(service: &Service, addresses: bool) -> Vec<u8> {
    render(&Overview::of(service, EXTENT), addresses).into_bytes()
}

fn render(overview: &Overview, addresses: bool) -> String {
    let mut main = String::new();
    totals(overview, &mut main);
    for shown in &overview.swarms {
        swarm(shown, addresses, &mut main);
    }
    if overview.swarms.is_empty() {
        main.push_str("<p class=\"none\">No torrents yet: nobody has announced any.</p>\n");
    } else if overview.omitted > 0 {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            main,
            "<p class=\"more\">and {} more torrents with fewer leechers</p>",
            Grouped(overview.omitted)
        );
    }
    let leechers = overview.now.totals.leechers;
    let title = match leechers {
        0 => "hivebt tracker".to_owned(),
        n => format!("{} to go · hivebt tracker", Grouped(n)),
    };
    web::page("tracker", &title, ["?mode=everything", ""], &main)
}

fn totals(overview: &Overview, out: &mut String) {
    let totals = overview.now.totals;
    out.push_str("<dl class=\"totals\">\n");
    let mut put = |name: &str, value: String| {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    };
    put("Torrents", Grouped(totals.swarms).to_string());
    put("Leechers", Grouped(totals.leechers).to_string());
    put("Seeders", Grouped(totals.seeders).to_string());
    put("Completed", Grouped(totals.completed).to_string());
    put("All done in", end(overview));
    let up = overview.now.uptime.as_secs();
    put("Running for", human::span(Duration::from_secs(up)));
    out.push_str("</dl>\n");
}

/// When the last swarm is done, if that is known of all.
fn end(overview: &Overview) -> String {
    let remaining = |shown: &Shown| shown.view.remaining;
    let last = overview.swarms.iter().map(remaining).max().flatten();
    let known = overview
        .swarms
        .iter()
        .all(|shown| remaining(shown).is_some());
    match last {
        _ if overview.now.totals.leechers == 0 => "–".into(),
        Some(seconds) if known => human::span(Duration::from_secs(seconds)),
        _ => "?".into(),
    }
}

fn swarm(shown: &Shown, addresses: bool, out: &mut String) {
    let Shown { view, name } = shown;
    let (hash, stats) = (view.hash, view.stats);
    let named = name.as_deref().map_or_else(
        || format!("torrent {}…", &hash.to_string()[..8]),
        |name| Escaped(name).to_string(),
    );
    let _ = write!(
        out,
        "<section class=\"swarm\" id=\"t{hash}\" aria-labelledby=\"n{hash}\">\n<h2 id=\"n{hash}\"><bdi>{named}</bdi></h2>\n<p class=\"hash\"><code>{hash}</code></p>\n<p class=\"facts\">"
    );
    if stats.incomplete > 0 {
        let _ = write!(
            out,
            "<span>{} to go</span>",
            Grouped(stats.incomplete.into())
        );
    }
    let _ = write!(
        out,
        "<span>{} seeding</span><span>{} completed</span>",
        Grouped(stats.complete.into()),
        Grouped(stats.downloaded.into())
    );
    if stats.incomplete > 0 {
        if let Some(rate) = view.rate {
            let _ = write!(out, "<span>{} each</span>", human::rate(rate));
        }
        let _ = match view.remaining {
            Some(seconds) => write!(
                out,
                "<strong>all done in about {}</strong>",
                human::span(Duration::from_secs(seconds))
            ),
            None if stats.complete == 0 => write!(out, "<strong>nobody has all of it</strong>"),
            None => write!(out, "<span>no estimate yet</span>"),
        };
    }
    out.push_str("</p>\n");
    workers(view, addresses, out);
    out.push_str("</section>\n");
}

fn workers(view: &SwarmView, addresses: bool, out: &mut String) {
    let all = u64::from(view.stats.incomplete) + u64::from(view.stats.complete);
    if view.stats.incomplete > 0 {
        if view.stats.incomplete >= MANY {
            spread(view, out);
        }
        let (first, rest) = view.peers.split_at(view.peers.len().min(OPEN));
        table(first, 1, addresses, out);
        if !rest.is_empty() {
            let _ = writeln!(
                out,
                "<details>\n<summary>{} more workers</summary>",
                rest.len()
            );
            table(rest, OPEN + 1, addresses, out);
            out.push_str("</details>\n");
        }
        more(all, view.peers.len(), out);
    } else if all > 0 && addresses {
        let peers = view.peers.get(..SEEDERS).unwrap_or(&view.peers);
        out.push_str("<details>\n<summary>Who has it</summary>\n");
        table(peers, 1, addresses, out);
        more(all, peers.len(), out);
        out.push_str("</details>\n");
    }
}

fn more(all: u64, shown: usize, out: &mut String) {
    let rest = all.saturating_sub(shown as u64);
    if rest > 0 {
        let _ = writeln!(
            out,
            "<p class=\"more\">and {} more, who are ahead of these</p>",
            Grouped(rest)
        );
    }
}

/// A table of workers, who are numbered from `from` on.
fn table(peers: &[PeerView], from: usize, addresses: bool, out: &mut String) {
    let who = if addresses { "Worker" } else { "#" };
    let _ = writeln!(
        out,
        "<table>\n<caption>Progress of each worker, those who lag behind first</caption>\n<thead><tr><th scope=\"col\">{who}</th><th scope=\"col\" class=\"wide\">Progress</th><th scope=\"col\" class=\"n\">%</th><th scope=\"col\" class=\"heard\">Heard of</th></tr></thead>\n<tbody>"
    );
    for (n, peer) in (from..).zip(peers) {
        let PeerView {
            addr,
            percent,
            silent,
        } = peer;
        let done = if *percent >= 100 {
            " class=\"done\""
        } else {
            ""
        };
        let _ = if addresses {
            write!(out, "<tr{done}><th scope=\"row\" class=\"address\">{addr}")
        } else {
            write!(out, "<tr{done}><th scope=\"row\" class=\"place\">{n}")
        };
        let heard = human::span(Duration::from_secs((*silent).into()));
        let _ = writeln!(
            out,
            "</th><td class=\"wide\"><progress max=\"100\" value=\"{percent}\">{percent} %</progress></td><td class=\"n\">{percent}</td><td class=\"heard\">{heard} ago</td></tr>"
        );
    }
    out.push_str("</tbody>\n</table>\n");
}

/// How many leechers there are in each tenth of the way.
fn spread(view: &SwarmView, out: &mut String) {
    let most = view.tenths.iter().copied().max().unwrap_or(0).max(1);
    let told: Vec<_> = (0..)
        .zip(view.tenths)
        .filter(|(_, n)| *n > 0)
        .map(|(tenth, n)| format!("{} at {}0 to {}9 %", Grouped(n.into()), tenth, tenth))
        .collect();
    // `00 to 09 %` and `10 to 19 %` read alike, but for the first.
    let told = told.join(", ").replace(" 00 to 09 %", " 0 to 9 %");
    let _ = write!(
        out,
        "<figure class=\"spread\"><svg role=\"img\" aria-label=\"Leechers by progress: {told}\" viewBox=\"0 0 100 20\" preserveAspectRatio=\"none\">"
    );
    for (tenth, n) in (0..).zip(view.tenths) {
        // Whoever is there can be seen.
        let height = (u64::from(n) * 19)
            .div_ceil(u64::from(most))
            .max(u64::from(n > 0));
        let (x, y) = (tenth * 10, 19 - height);
        let _ = write!(
            out,
            "<rect x=\"{x}.5\" y=\"{y}\" width=\"9\" height=\"{height}\"/>"
        );
    }
    out.push_str("<line x1=\"0\" y1=\"19.5\" x2=\"100\" y2=\"19.5\"/></svg><figcaption><span>0 %</span><span>leechers by progress</span><span>100 %</span></figcaption></figure>\n");
}

#[cfg(test)]
mod tests;
